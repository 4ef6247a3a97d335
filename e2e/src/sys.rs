//! The calls that no crate wraps safely: running a child inside a namespace, packet sockets, batched sending,
//! one interface flag, scheduling, and holding a thread as a debugger does.
//!
//! Owns every `unsafe` block of this crate. Decides nothing.
#![expect(
    unsafe_code,
    reason = "the one file of this crate where it is allowed; each block is argued"
)]

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::Arc;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Makes `command` start inside `namespace`, as leader of a process group of its own, with no signal blocked,
/// and end when the thread that spawns it ends.
pub(crate) fn enter_on_exec(command: &mut Command, namespace: Arc<File>) {
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec and only makes system calls (setns, sigprocmask, prctl)
    // on values made before the fork; it neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(move || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            SigSet::all().thread_unblock()?;
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        });
    }
}

/// Makes `command` get SIGTERM when the thread that spawns it ends, so that it can clean up.
pub(crate) fn end_with_parent(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and makes one system call on constants.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?));
    }
}

/// Makes `command` start as leader of a process group of its own and be killed when the thread that spawns it ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec and makes one system call on constants.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
}

/// An AF_PACKET socket bound to the interface of index `interface` in the calling thread's namespace. With
/// `protocol` 0 it only sends. Frames it sends skip the queueing discipline.
///
/// # Errors
/// What the kernel answers, `EPERM` without CAP_NET_RAW.
pub(crate) fn packet_socket(interface: u32, protocol: u16) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // Protocol 0 until bound: a socket made with a protocol collects frames of all interfaces at once.
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, flags, 0) })?;
    // SAFETY: `socket` returned this descriptor, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all-zero bytes are a valid sockaddr_ll, which is plain data.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = interface as i32;
    // SAFETY: the pointer is to a live sockaddr_ll and the length is its size.
    check(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    })?;
    if protocol == 0 {
        set_option(
            fd.as_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            &1i32,
        )?;
    }
    Ok(fd)
}

/// Lets a packet socket see the frames for other hosts too.
///
/// # Errors
/// What the kernel answers.
pub(crate) fn promiscuous(fd: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: interface as i32,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_option(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// Sends `frames` with as few system calls as the kernel allows and returns how many it took.
///
/// # Errors
/// What the kernel answers if it took none.
pub(crate) fn send_batch(fd: BorrowedFd<'_>, frames: &[&[u8]]) -> io::Result<usize> {
    let mut pieces: Vec<libc::iovec> = frames
        .iter()
        .map(|frame| libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = pieces
        .iter_mut()
        .map(|piece| {
            // SAFETY: all-zero bytes are a valid mmsghdr: null pointers with zero lengths.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_iov = ptr::from_mut(piece);
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    // SAFETY: every header points at one element of `pieces`, which points at a frame that outlives this
    // call; sendmmsg reads the frames and writes only `msg_len` of `messages`.
    let sent = check(unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as u32,
            0,
        )
    })?;
    Ok(sent as usize)
}

/// Schedules the calling thread as SCHED_FIFO of `priority`, or, for 0, as usual again.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE.
pub(crate) fn schedule(priority: i32) -> io::Result<()> {
    let policy = if priority == 0 {
        libc::SCHED_OTHER
    } else {
        libc::SCHED_FIFO
    };
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: 0 is the calling thread, and the pointer is to a live sched_param.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) })?;
    Ok(())
}

/// Sets the interface `name` of the namespace of `socket` up or down: one system call, for the moment at which
/// a node dies.
///
/// # Errors
/// What the kernel answers, `EINVAL` for a name that is too long.
pub(crate) fn set_link(socket: BorrowedFd<'_>, name: &str, up: bool) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid ifreq, which is plain data.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = if up { libc::IFF_UP as i16 } else { 0 };
    // SAFETY: SIOCSIFFLAGS reads an ifreq through the pointer, which is to a live one.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })?;
    Ok(())
}

/// Puts the calling thread under SCHED_FIFO with `priority`, 1 to 99.
///
/// # Errors
/// What the kernel answers, `EPERM` without CAP_SYS_NICE.
pub(crate) fn real_time(priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority.into(),
    };
    // SAFETY: 0 is the calling thread, and the pointer is to a live sched_param that the call only reads.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) })?;
    Ok(())
}

/// Becomes the tracer of the thread `thread` and lets it stop where it is. Until [`release`] the calling thread
/// alone can talk about it to the kernel.
///
/// # Errors
/// `EPERM` without CAP_SYS_PTRACE.
pub(crate) fn hold(thread: Pid) -> io::Result<()> {
    trace(libc::PTRACE_SEIZE, thread)?;
    trace(libc::PTRACE_INTERRUPT, thread)?;
    waitpid(thread, Some(WaitPidFlag::__WALL))?;
    Ok(())
}

/// Lets a thread run on that [`hold`] stopped.
///
/// # Errors
/// `ESRCH` when it is gone.
pub(crate) fn release(thread: Pid) -> io::Result<()> {
    trace(libc::PTRACE_DETACH, thread)
}

fn trace(request: libc::c_uint, thread: Pid) -> io::Result<()> {
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: these requests take a thread id and no memory of ours: address and data are null.
    let result = unsafe { libc::ptrace(request, thread.as_raw(), nothing, nothing) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn set_option<T>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is to a live value of plain data and the length is its size.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    })?;
    Ok(())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
