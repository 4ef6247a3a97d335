//! One guest: its kernel as a process of the host, its console as lines, its end by an exit status that only its first
//! process writes.
//!
//! Owns the directory that it shares with the guest, and ends the guest at a deadline or with itself.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
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

/// A guest's memory; the host gives it page by page as the guest touches it.
const MEMORY: &str = "512M";
/// Below the harness's own limit, which would kill without showing the console.
const LIMIT: Duration = Duration::from_secs(110);
/// What the guest's first process says before and after the test.
const BEGIN: &str = "== run";
const END: &str = "== end";

/// A guest to be.
pub(super) struct Guest {
    kernel: PathBuf,
    root: PathBuf,
    /// Directories of the host that it sees.
    shown: Vec<PathBuf>,
    share: Remains,
}

/// How a guest ended.
pub(super) enum Ended {
    /// Its program ended with this status.
    With(u8),
    /// Its program did not end: why the guest did, with what its console showed.
    Without(String),
}

impl Guest {
    pub(super) fn new(kernel: PathBuf, root: PathBuf) -> Result<Self> {
        Ok(Self {
            kernel,
            root: root.canonicalize()?,
            shown: Vec::new(),
            share: Remains::claim()?,
        })
    }

    /// Lets it see `directory` and what is below at the same path, read-only.
    pub(super) fn show(&mut self, directory: &Path) -> Result<()> {
        let real = directory.canonicalize();
        let real = real.with_context(|| format!("find {}", directory.display()))?;
        if !self.shown.iter().any(|shown| real.starts_with(shown)) {
            self.shown.push(real);
        }
        Ok(())
    }

    /// Boots it, runs `program` in it with `environment`, and waits for the end. What the program says goes to
    /// standard output as it comes.
    pub(super) fn run(self, environment: &[(String, String)], program: &Path) -> Result<Ended> {
        self.prepare(environment, program)?;
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
        let ended = end_of(child)?;
        let console = reader.join().unwrap_or_default();
        let status = fs::read_to_string(self.share.directory().join("status"));
        let status = status.ok().and_then(|text| text.trim().parse().ok());
        Ok(match status {
            Some(status) => Ended::With(status),
            None => Ended::Without(format!("{ended}; its console:\n{}", console.join("\n"))),
        })
    }

    /// Writes into the share what its first process reads.
    fn prepare(&self, environment: &[(String, String)], program: &Path) -> Result<()> {
        let share = self.share.directory();
        fs::write(share.join("init"), include_str!("../../uml/init"))?;
        let mounts = self
            .shown
            .iter()
            .map(|shown| format!("{}\n", shown.display()));
        fs::write(share.join("mounts"), mounts.collect::<String>())?;
        let mut run = String::new();
        for (name, value) in environment {
            run.push_str(&format!("export {name}={}\n", quoted(value)));
        }
        run.push_str(&format!("cd {}\n", quoted(env!("CARGO_MANIFEST_DIR"))));
        run.push_str(&format!("exec {}\n", quoted(&program.to_string_lossy())));
        fs::write(share.join("run"), run)?;
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

/// Waits for the end of a guest, kills it at the deadline, and says how it ended.
fn end_of(mut child: Child) -> Result<String> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let (finished, running) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late = running.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        if late {
            // One that is gone by now is no matter.
            killpg(pid, Signal::SIGKILL).ok();
        }
        late
    });
    let status = child.wait()?;
    drop(finished);
    Ok(if watchdog.join().unwrap_or(false) {
        format!("the guest was killed after {LIMIT:?}")
    } else {
        format!("the guest ended before its test: {status}")
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

/// As one word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
