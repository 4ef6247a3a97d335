//! Who an agent is on its node, and the directories that are its alone while it holds their locks.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use tracing::warn;

use crate::cli::RunArgs;
use crate::plan::Speaker;
use crate::{clock, incarnation};

/// An agent's names and directories.
#[derive(Clone, Debug)]
pub struct Home {
    /// `--node`.
    pub node: String,
    /// `--instance`.
    pub instance: String,
    /// Where the ledger is.
    pub state_dir: PathBuf,
    /// Where the socket is.
    pub run_dir: PathBuf,
}

/// Of the state directory and the run directory. Locked as long as one process has them open: two agents on one
/// ledger would take each other's addresses off.
pub type Locks = [File; 2];

impl Home {
    /// As the command line says; makes the directories.
    ///
    /// # Errors
    /// If they cannot be made, or the host has no name.
    pub fn of(args: &RunArgs) -> anyhow::Result<Self> {
        let (state_dir, run_dir) = (args.state_dir(), args.place.run_dir());
        for directory in [&state_dir, &run_dir] {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        Ok(Self {
            node: match &args.node {
                Some(node) => node.clone(),
                None => host_name()?,
            },
            instance: args.place.instance.clone(),
            state_dir,
            run_dir,
        })
    }

    /// The files that are locked.
    #[must_use]
    pub fn lock_files(&self) -> [PathBuf; 2] {
        [self.state_dir.join("lock"), self.run_dir.join("lock")]
    }

    /// Who speaks in heartbeats from now on.
    #[must_use]
    pub fn speaker(&self) -> Speaker {
        let (incarnation, written) = incarnation::next(&self.state_dir, clock::wall());
        if let Err(error) = written {
            warn!(%error, "the incarnation cannot be kept: after a clock that went back, peers do not believe this node's heartbeats");
        }
        Speaker {
            node: self.node.clone(),
            incarnation,
        }
    }

    /// The ledger's file.
    #[must_use]
    pub fn ledger_file(&self) -> PathBuf {
        self.state_dir.join("ledger")
    }

    /// The file that says which services of the kernel are ours.
    #[must_use]
    pub fn services_file(&self) -> PathBuf {
        self.state_dir.join("services")
    }

    /// The file of the verdicts of probes.
    #[must_use]
    pub fn verdicts_file(&self) -> PathBuf {
        self.state_dir.join("verdicts")
    }

    /// Locks both directories; `None` while another process has one of them.
    ///
    /// # Errors
    /// If a lock file cannot be made.
    pub fn claim(&self) -> anyhow::Result<Option<Locks>> {
        let [state, run] = self.lock_files();
        let Some(state) = lock(&state)? else {
            return Ok(None);
        };
        Ok(lock(&run)?.map(|run| [state, run]))
    }
}

/// Locks the file at `path`, which it makes if it is not there; `None` while another process has it.
///
/// # Errors
/// If it cannot be made.
pub fn lock(path: &Path) -> anyhow::Result<Option<File>> {
    let lock = || -> io::Result<Option<File>> {
        let file = File::create(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    };
    lock().with_context(|| path.display().to_string())
}

fn host_name() -> anyhow::Result<String> {
    nix::unistd::gethostname()
        .context("the host's name")?
        .into_string()
        .map_err(|name| anyhow!("the host's name {} is not text", name.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Directory;

    fn home(directory: &Directory, instance: &str) -> Home {
        let below = |name: &str| directory.path().join(name).join(instance);
        let home = Home {
            node: "a".into(),
            instance: instance.into(),
            state_dir: below("state"),
            run_dir: below("run"),
        };
        for directory in [&home.state_dir, &home.run_dir] {
            fs::create_dir_all(directory).unwrap();
        }
        home
    }

    #[test]
    fn one_process_of_an_instance_has_the_locks_until_it_lets_go() {
        let directory = Directory::new();
        let home = home(&directory, "default");
        let locks = home.claim().unwrap().unwrap();
        assert!(home.claim().unwrap().is_none());
        drop(locks);
        assert!(home.claim().unwrap().is_some());
    }

    #[test]
    fn a_copy_of_the_locks_keeps_them_when_the_first_holder_is_gone() {
        let directory = Directory::new();
        let home = home(&directory, "default");
        let locks = home.claim().unwrap().unwrap();
        let heirs = locks.each_ref().map(|lock| lock.try_clone().unwrap());
        drop(locks);
        assert!(home.claim().unwrap().is_none());
        drop(heirs);
        assert!(home.claim().unwrap().is_some());
    }

    #[test]
    fn instances_have_locks_of_their_own() {
        let directory = Directory::new();
        let one = home(&directory, "one").claim().unwrap();
        let other = home(&directory, "other").claim().unwrap();
        assert!(one.is_some() && other.is_some());
    }
}
