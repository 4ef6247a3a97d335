//! Network namespaces with a name under /run/netns, so that `ip netns exec` reaches them while a lab runs.
//!
//! Owns what it creates until dropped. Enters a namespace only with threads that were made for it.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::sys;

/// Where iproute2 keeps the names.
const NAMES: &str = "/run/netns";

/// A network namespace of this lab's own.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    file: Arc<File>,
}

impl Namespace {
    /// Makes a namespace.
    ///
    /// # Errors
    /// When `ip` is missing, refuses, or the name is taken.
    pub fn create(name: &str) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]), None)?;
        let path = path_of(name);
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self {
            name: name.into(),
            file: Arc::new(file),
        })
    }

    /// Its name under /run/netns.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread inside the namespace. Sockets made there stay in it.
    ///
    /// # Errors
    /// When the namespace cannot be entered, when `work` fails or panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.take_thread()?;
                work()
            });
            match inside.join() {
                Ok(result) => result,
                Err(_panic) => bail!("a panic inside namespace {}", self.name),
            }
        })
    }

    /// Puts the calling thread inside for the rest of its life: for the workers of a runtime of its own.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub(crate) fn take_thread(&self) -> Result<()> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("enter namespace {}", self.name))
    }

    /// Makes `command` start inside, in a process group of its own. It is killed when the thread that spawns
    /// it ends.
    pub fn enter(&self, command: &mut Command) {
        sys::enter_on_exec(command, Arc::clone(&self.file));
    }

    /// Runs lines of iproute2 commands inside.
    ///
    /// # Errors
    /// With iproute2's own words and line number.
    pub fn ip(&self, lines: &str) -> Result<()> {
        run(
            Command::new("ip").args(["-n", &self.name, "-batch", "-"]),
            Some(lines),
        )
        .with_context(|| format!("in namespace {}:\n{lines}", self.name))?;
        Ok(())
    }

    /// Writes sysctls of the namespace, each `path under /proc/sys/net` and value.
    ///
    /// # Errors
    /// Naming the one that could not be written.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (key, value) in settings {
                fs::write(format!("/proc/sys/net/{key}"), value)
                    .with_context(|| format!("set net/{key} to {value}"))?;
            }
            Ok(())
        })
    }
}

/// Removes the namespace `name` with every process inside. Nothing happens if it does not exist.
pub fn remove(name: &str) {
    let path = path_of(name);
    if let Ok(metadata) = fs::metadata(&path) {
        kill_inside(metadata.ino());
        // What remains after a failure here is found by the next sweep.
        umount2(&path, MntFlags::MNT_DETACH).ok();
        drop(fs::remove_file(&path));
    }
}

/// The names that begin with `prefix`.
#[must_use]
pub fn named(prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(NAMES) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// Kills every process whose main thread is in the namespace with this inode.
fn kill_inside(inode: u64) {
    for pid in processes() {
        if pid != Pid::this()
            && fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| m.ino() == inode)
        {
            // A process that is gone by now is what was wanted.
            kill(pid, Signal::SIGKILL).ok();
        }
    }
}

/// All processes of the machine.
pub(crate) fn processes() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
}

fn path_of(name: &str) -> PathBuf {
    [NAMES, name].iter().collect()
}

/// Runs a command to its end, with `input` on its standard input, and returns its standard output.
///
/// # Errors
/// When it cannot start or does not succeed; with what it wrote to its standard error.
pub(crate) fn run(command: &mut Command, input: Option<&str>) -> Result<String> {
    let description = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {description}"))?;
    if let (Some(input), Some(stdin)) = (input, child.stdin.take().as_mut()) {
        std::io::Write::write_all(stdin, input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{description}: {}: {}", output.status, error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
