//! What labs leave in the machine, and its removal: at the end, on SIGINT and SIGTERM, and at the next start
//! after a process that could not clean up.
//!
//! Everything carries the process id in its name: namespaces `vk-PID-LAB-NODE`, directories `vk-PID-LAB` under
//! the temporary directory. Nothing else is ever removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal};

use crate::namespace;

static PREPARED: Once = Once::new();
static NEXT_LAB: AtomicU32 = AtomicU32::new(0);

/// The name and the directory of one lab. Dropping it removes what carries the name.
#[derive(Debug)]
pub(crate) struct Remains {
    name: String,
    directory: PathBuf,
}

impl Remains {
    /// A name of this process's own, and its directory. The first call of a process sweeps what dead processes
    /// left and takes over SIGINT, SIGTERM and SIGHUP of the calling thread and those it starts later.
    pub(crate) fn claim() -> Result<Self> {
        PREPARED.call_once(prepare);
        let lab = NEXT_LAB.fetch_add(1, Ordering::Relaxed);
        let name = format!("vk-{}-{lab}", process::id());
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("make directory {}", directory.display()))?;
        Ok(Self { name, directory })
    }

    /// `vk-PID-LAB`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where configurations and logs go.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        remove(&format!("{}-", self.name));
        // What remains after a failure here is found by the next sweep.
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn prepare() {
    sweep();
    // keepalived's children outlive it when it is killed; as their reaper we can wait for them.
    set_child_subreaper(true).ok();
    let mut ending = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ending.add(signal);
    }
    if ending.thread_block().is_ok() {
        thread::spawn(move || clean_up_on(&ending));
    }
}

fn clean_up_on(ending: &SigSet) {
    if let Ok(signal) = ending.wait() {
        let own = format!("vk-{}-", process::id());
        remove(&own);
        for directory in directories(&own) {
            drop(fs::remove_dir_all(directory));
        }
        process::exit(128 + signal as i32);
    }
}

/// Removes the namespaces and directories of processes that are gone.
fn sweep() {
    for name in namespace::named("vk-") {
        if owner(&name).is_some_and(is_gone) {
            namespace::remove(&name);
        }
    }
    for directory in directories("vk-") {
        let name = directory.file_name().and_then(|name| name.to_str());
        if name.and_then(owner).is_some_and(is_gone) {
            drop(fs::remove_dir_all(directory));
        }
    }
}

fn remove(prefix: &str) {
    for name in namespace::named(prefix) {
        namespace::remove(&name);
    }
}

fn directories(prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(prefix))
        })
        .collect()
}

/// The process id in a name of the form `vk-PID-…`.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("vk-")?.split('-').next()?.parse().ok()
}

fn is_gone(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_process_made_it() {
        assert_eq!(owner("vk-4711-0-a"), Some(4711));
        assert_eq!(owner("vk-4711-0"), Some(4711));
        assert_eq!(owner("vk-demo-a"), None);
        assert_eq!(owner("br-4711-0"), None);
    }

    #[test]
    fn only_a_dead_process_leaves_remains() {
        assert!(!is_gone(process::id()));
        // Above the largest pid a 64-bit kernel gives out.
        assert!(is_gone(1 << 23));
    }
}
