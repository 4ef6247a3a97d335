//! A daemon under test: started inside a namespace, its output in files, ended with everything it started.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::harness;
use crate::namespace::{Namespace, processes};
use crate::wait::{self, Seen};

/// A running daemon. Dropping it kills it and leaves the end of its log as a note to a failing test.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
    /// Its first process is a guardian of the others: it dies first, or it would clean up.
    guarded: bool,
}

impl Process {
    /// Starts `command` inside `namespace`; its output goes to `NAME.out` and `NAME.err` in `directory`,
    /// appended to what an earlier run left there. It ends with the calling thread at the latest.
    ///
    /// # Errors
    /// When the files or the process cannot be made.
    pub fn start(
        name: &str,
        mut command: Command,
        namespace: &Namespace,
        directory: &Path,
    ) -> Result<Self> {
        let output = directory.join(format!("{name}.out"));
        let errors = directory.join(format!("{name}.err"));
        command
            .stdin(Stdio::null())
            .stdout(append(&output)?)
            .stderr(append(&errors)?);
        namespace.enter(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            output,
            errors,
            guarded: false,
        })
    }

    /// Its first process notices the death of the others and acts on it: whoever kills all must kill it first.
    #[must_use]
    pub fn guarded(mut self) -> Self {
        self.guarded = true;
        self
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends `signal` to the first process alone, as a service supervisor does.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.id(), signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Sends `signal` to every process of the daemon.
    ///
    /// # Errors
    /// What the kernel answers for the first process.
    pub fn signal_all(&self, signal: Signal) -> Result<()> {
        for pid in descendants(self.id()) {
            kill(pid, signal).ok();
        }
        self.signal(signal)
    }

    /// Every process of the daemon, in the order in which they can be killed without one of them acting on the
    /// death of another: children before parents, but a guardian before what it guards.
    #[must_use]
    pub fn all(&self) -> Vec<Pid> {
        let mut pids = descendants(self.id());
        pids.push(self.id());
        if self.guarded {
            pids.reverse();
        }
        pids
    }

    /// The processes that its first one started.
    #[must_use]
    pub fn children(&self) -> Vec<Pid> {
        let mut pids = descendants(self.id());
        pids.retain(|pid| parent(*pid) == Some(self.id()));
        pids
    }

    /// Kills every process of the daemon and waits until none is left.
    ///
    /// # Errors
    /// When one survives for five seconds.
    pub fn kill(&mut self) -> Result<()> {
        let pids = self.all();
        kill_at_once(&pids);
        self.bury(&pids)
    }

    /// Waits until `pids`, killed before, are gone, and takes their exit status from the kernel.
    ///
    /// # Errors
    /// When one survives for five seconds.
    pub fn bury(&mut self, pids: &[Pid]) -> Result<()> {
        wait::until("killed processes gone", Duration::from_secs(5), || {
            self.child.try_wait()?;
            // Grandchildren became ours when their parent died; a daemon's own child may not be ours yet.
            let left: Vec<_> = pids
                .iter()
                .filter(|pid| **pid != self.id())
                .filter(|pid| {
                    waitpid(**pid, Some(WaitPidFlag::WNOHANG)).ok();
                    kill(**pid, None) != Err(Errno::ESRCH)
                })
                .collect();
            Ok(Seen::when(left, Vec::is_empty))
        })?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When it has not ended `within`.
    pub fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.ended(within)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it has not ended `within`.
    pub fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("end of {}", self.name);
        wait::until(&what, within, || {
            Ok(match self.child.try_wait()? {
                Some(status) => Seen::Yes(status),
                None => Seen::NotYet("it runs".to_owned()),
            })
        })
    }

    /// How it ended, if it ended.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Everything it wrote, to its standard output first.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |path| fs::read(path).unwrap_or_default();
        let mut log = String::from_utf8_lossy(&read(&self.output)).into_owned();
        log.push_str(&String::from_utf8_lossy(&read(&self.errors)));
        log
    }

    /// The last lines it wrote, under its name: for error messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const LINES: usize = 30;
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LINES)..);
        format!(
            "log of {}:\n  {}",
            self.name,
            tail.unwrap_or_default().join("\n  ")
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nobody is left to tell; the namespace's removal kills what survives.
            drop(self.kill());
        }
        harness::note(self.log_tail());
    }
}

/// Kills `pids` with nothing between one and the next. None of them acts on the death of another: all are stopped
/// first, or on one processor a supervisor could start again what was just killed.
pub fn kill_at_once(pids: &[Pid]) {
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for pid in pids {
            // A process that is gone by now is what was wanted.
            kill(*pid, signal).ok();
        }
    }
}

/// All descendants of `root`, deepest first.
fn descendants(root: Pid) -> Vec<Pid> {
    let parents: Vec<(Pid, Pid)> = processes()
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&current) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == current)
                .map(|(c, _)| c),
        );
        next += 1;
    }
    found.remove(0);
    found.reverse();
    found
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name in parentheses may contain anything; the state and the parent follow the last one.
    let (_, fields) = stat.rsplit_once(')')?;
    fields
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
        .map(Pid::from_raw)
}

fn append(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}
