//! The process's memory: what is locked, what is let go of, what is shared with a process that is forked.
//!
//! The part of [`sys`](super) that deals with memory; it never decides when.
#![expect(
    unsafe_code,
    reason = "the kernel's interfaces below have no safe wrapper"
)]

use std::io;

/// Locks every page of the process once it is touched, present and future mappings alike.
///
/// # Errors
/// EPERM or ENOMEM without CAP_IPC_LOCK.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: takes flags alone and changes no memory's contents.
    let outcome =
        unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Memory that this process shares with all that it forks: a `T` of zeroes, never freed.
///
/// # Errors
/// ENOMEM.
pub fn share<T: Zeroed>() -> io::Result<&'static T> {
    const { assert!(align_of::<T>() <= 4_096 && size_of::<T>() > 0) };
    // SAFETY: a new anonymous mapping touches no memory that exists.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<T>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is as long as a `T`, aligned to a page, zeroed, which is a valid `T`, and never unmapped.
    // Other processes change it, and `T` is made of atomics alone.
    Ok(unsafe { &*page.cast::<T>() })
}

/// What may live in memory that processes share.
///
/// # Safety
/// Made of atomics of integers alone: any bytes are a valid value, and others may change it at any time.
pub unsafe trait Zeroed: Sync {}

// SAFETY: its fields are atomic integers.
unsafe impl Zeroed for crate::guardian::Page {}

/// Lets go of the program's instructions that are mapped: what is run again comes back by itself.
///
/// # Errors
/// EINVAL when memory is locked already; or if /proc is not there.
pub fn forget_instructions() -> io::Result<()> {
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some("r-xp"), Some(path)) = (words.next(), words.next(), words.nth(3))
        else {
            continue;
        };
        let Some((from, to)) = range.split_once('-').filter(|_| path.starts_with('/')) else {
            continue;
        };
        let address = |text| usize::from_str_radix(text, 16).map_err(io::Error::other);
        let (from, to) = (address(from)?, address(to)?);
        // SAFETY: the kernel says that this is a mapping of a file that nobody can write to, so it has no page that
        // the file does not have; a page that is touched again is read again.
        let outcome = unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(from),
                to.saturating_sub(from),
                libc::MADV_DONTNEED,
            )
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Has the allocator give large pieces back to the kernel as soon as they are free, in this process from now on: what
/// reads manifests needs megabytes for a moment, and by itself glibc would keep as much for ever. Where the C library
/// is another, nothing.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    {
        /// glibc's own first value for both; setting it keeps it from growing.
        const LARGE: libc::c_int = 128 << 10;
        // SAFETY: takes numbers alone; no other thread exists that could allocate meanwhile, and none would mind.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
        }
    }
}

/// Gives back to the kernel what the allocator keeps and nobody uses. Where the C library is not glibc, nothing.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number alone, under the allocator's own locks; it touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
