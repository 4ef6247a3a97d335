//! One guest: its kernel as a process of the host, its console as lines, its end by an exit status that only its first
//! process writes.
//!
//! Owns the directory that it shares with the guest, and ends the guest at a deadline or with itself.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::harness;
use crate::remains::Remains;
use crate::sys;

const KERNEL: &str = "VIPKEEPER_UML";
const ROOT: &str = "VIPKEEPER_UML_ROOT";
/// A guest's memory; the host gives it page by page as the guest touches it.
const MEMORY: &str = "512M";
/// What the guest's first process says before and after the script.
const BEGIN: &str = "== run";
const END: &str = "== end";

/// A guest to be.
#[derive(Debug)]
pub struct Guest {
    kernel: PathBuf,
    root: PathBuf,
    share: Remains,
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its script ended with this status.
    With(u8),
    /// Its script did not end: why the guest did, with what its console showed.
    Without(String),
}

impl Guest {
    /// A guest of the kernel and the root that `VIPKEEPER_UML` and `VIPKEEPER_UML_ROOT` name.
    ///
    /// # Errors
    /// When one of them is not there; with the command that makes it.
    pub fn new() -> Result<Self> {
        Ok(Self {
            kernel: told(KERNEL, "kernel")?,
            root: told(ROOT, "root")?,
            share: Remains::claim()?,
        })
    }

    /// Boots it, runs `script` in it by its shell, and waits for the end; after `limit` it is killed. What the script
    /// says goes to standard output as it comes. The script sees this repository, where it starts, and the directories
    /// of the programs under test at the host's paths, read-only.
    ///
    /// # Errors
    /// When the guest cannot be started.
    pub fn run(self, script: &str, limit: Duration) -> Result<Ended> {
        self.prepare(script)?;
        let (console, output) = std::io::pipe()?;
        let mut kernel = self.command();
        kernel
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        sys::die_with_parent(&mut kernel);
        let child = kernel
            .spawn()
            .with_context(|| format!("start {}", self.kernel.display()))?;
        // The command holds the pipe's other end.
        drop(kernel);
        let reader = thread::spawn(move || pass_on(console));
        let ended = end_of(child, limit)?;
        let console = reader.join().unwrap_or_default();
        let status = fs::read_to_string(self.share.directory().join("status"));
        let status = status.ok().and_then(|text| text.trim().parse().ok());
        Ok(match status {
            Some(status) => Ended::With(status),
            None => Ended::Without(format!("{ended}; its console:\n{}", console.join("\n"))),
        })
    }

    /// Writes into the share what its first process reads.
    fn prepare(&self, script: &str) -> Result<()> {
        let share = self.share.directory();
        fs::write(share.join("init"), include_str!("../../uml/init"))?;
        let mut mounts: Vec<PathBuf> = Vec::new();
        for directory in super::shown()? {
            let real = directory.canonicalize();
            let real = real.with_context(|| format!("find {}", directory.display()))?;
            if !mounts.iter().any(|shown| real.starts_with(shown)) {
                mounts.push(real);
            }
        }
        let lines = mounts.iter().map(|shown| format!("{}\n", shown.display()));
        fs::write(share.join("mounts"), lines.collect::<String>())?;
        let place = super::quoted(env!("CARGO_MANIFEST_DIR"));
        fs::write(share.join("run"), format!("cd {place}\n{script}"))?;
        Ok(())
    }

    fn command(&self) -> Command {
        let share = self.share.directory().display();
        let init = format!(
            "\"mount -t proc proc /proc && mount -t hostfs -o hostfs={share} none /mnt && exec sh /mnt/init {share}\""
        );
        let mut command = Command::new(&self.kernel);
        command
            .arg(format!("mem={MEMORY}"))
            .arg(format!("uml_dir={share}/"))
            .arg("rootfstype=hostfs")
            .arg(format!("rootflags={}", self.root.display()))
            .args(["ro", "con=null", "con0=null,fd:1", "seccomp=on", "quiet"])
            // The kernel joins its arguments by spaces: the quotes are for the guest's.
            .args(["init=/bin/sh", "--", "-c", &init]);
        command
    }
}

/// The path in `variable`.
fn told(variable: &str, what: &str) -> Result<PathBuf> {
    let how = || format!("not told where the guest's {what} is: {variable}=$(scripts/uml-{what})");
    let path = env::var_os(variable).filter(|value| !value.is_empty());
    let path = PathBuf::from(path.with_context(how)?);
    path.canonicalize().with_context(how)
}

/// Waits for the end of a guest, kills it at the deadline, and says how it ended.
fn end_of(mut child: Child, limit: Duration) -> Result<String> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let (finished, running) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late = running.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if late {
            // One that is gone by now is no matter.
            killpg(pid, Signal::SIGKILL).ok();
        }
        late
    });
    let status = child.wait()?;
    drop(finished);
    Ok(if watchdog.join().unwrap_or(false) {
        format!("the guest was killed after {limit:?}")
    } else {
        format!("the guest ended before its script: {status}")
    })
}

/// Writes what comes between the two marks to standard output, and returns every line of the console.
fn pass_on(console: impl Read) -> Vec<String> {
    let mut lines = Vec::new();
    let mut passing = false;
    for line in BufReader::new(console).split(b'\n') {
        // A console that cannot be read has ended.
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        match line {
            BEGIN => passing = true,
            END => passing = false,
            line if passing => harness::say(line),
            _ => {}
        }
        lines.push(line.to_owned());
    }
    lines
}
