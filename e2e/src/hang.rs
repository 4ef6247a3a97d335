//! A thread that hangs while its process goes on: held as a debugger holds it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::sys;
use crate::wait::{self, Seen};

/// A held thread. Dropping it lets the thread run on. Stays with the thread that made it.
#[derive(Debug)]
pub struct Hang {
    thread: Pid,
}

impl Hang {
    /// Holds the thread called `name` of `process`.
    ///
    /// # Errors
    /// When there is none, or the kernel refuses.
    pub fn of(process: Pid, name: &str) -> Result<Self> {
        let thread = thread_of(process, name)?;
        sys::hold(thread).with_context(|| format!("hold thread {name} of {process}"))?;
        Ok(Self { thread })
    }

    /// Waits until its process was killed: a held thread leaves only when its holder has looked.
    ///
    /// # Errors
    /// When it is not `within`.
    pub fn await_death(&self, within: Duration) -> Result<()> {
        wait::until("death of a held thread", within, || {
            let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
            let status = waitpid(self.thread, Some(flags))?;
            let is_dead = |status: &WaitStatus| {
                matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..))
            };
            Ok(Seen::when(status, is_dead).map(|_| ()))
        })
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        // It may be dead.
        sys::release(self.thread).ok();
    }
}

fn thread_of(process: Pid, name: &str) -> Result<Pid> {
    let tasks = format!("/proc/{process}/task");
    for task in fs::read_dir(&tasks).context(tasks.clone())? {
        let path = task?.path();
        let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
        let id = path.file_name().and_then(|id| id.to_str()?.parse().ok());
        if let Some(id) = id
            && comm.trim_end() == name
        {
            return Ok(Pid::from_raw(id));
        }
    }
    anyhow::bail!("no thread {name} in {tasks}")
}
