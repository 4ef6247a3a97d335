//! Exec: a script of the node says whether a server is healthy.
//!
//! Owns the process: without privileges, in a group of its own, with nothing of our environment and nowhere to write. When
//! it ends, takes too long, or its target is no longer wanted, what is left of the group is killed.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};
use tokio::process::{Child, Command};

use super::engine::Asked;
use super::outcome::{Answer, Failure, Lack, Stage, Stop};

/// The user and the group `nobody`: who a script of an agent that is root runs as.
const NOBODY: u32 = 65_534;
/// Why there is no script where the agent is root and may not be anybody else.
const UNDROPPABLE: &str = "is not run: it would be root, for the agent lacks the capabilities SETUID and SETGID, as in the \
                           chart's container; use another type of probe";
/// Where a script's programs are found.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which script, and whether it says a weight.
#[derive(Debug)]
pub(super) struct Question {
    script: PathBuf,
    dynamic_weight: bool,
}

impl Question {
    pub(super) fn of(
        directory: &Path,
        script: &str,
        dynamic_weight: bool,
    ) -> Result<Self, Failure> {
        // A name and not a path, so that nothing outside the directory can be run.
        if script.is_empty() || script.contains(['/', '\0']) || script == "." || script == ".." {
            return Err(Failure::Unaskable("the script is no name of a file"));
        }
        Ok(Self {
            script: directory.join(script),
            dynamic_weight,
        })
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Answer {
        asked.progress.reach(Stage::Running);
        let child = self
            .command(asked)
            .spawn()
            .map_err(|error| failure(&error, geteuid().is_root()))?;
        let mut group = Group::of(child);
        let status = group.child.wait().await?;
        judge(status, self.dynamic_weight)
    }

    fn command(&self, asked: &Asked<'_>) -> Command {
        let mut command = Command::new(&self.script);
        command
            .arg(asked.address.ip().to_string())
            .arg(asked.address.port().to_string())
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if geteuid().is_root() {
            // The supplementary groups go with the user.
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

/// A process and whatever it started; what still runs when this goes is killed.
struct Group {
    child: Child,
    /// Of the group. The process has the same, but does not tell it any more once it was waited for.
    id: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            child,
            id: id.map(Pid::from_raw),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Also after the process was waited for: nobody gets the number while the group has a member, and of an empty
        // one the kernel would have to go through all its numbers between that wait and this line.
        if let Some(id) = self.id {
            let _gone = killpg(id, Signal::SIGKILL);
        }
    }
}

fn failure(error: &io::Error, is_root: bool) -> Stop {
    match (error.kind(), error.raw_os_error()) {
        (_, Some(libc::EMFILE | libc::ENFILE)) => Stop::Lack(Lack::Descriptors),
        (_, Some(libc::ENOMEM)) => Stop::Lack(Lack::Memory),
        (_, Some(libc::EAGAIN)) => Stop::Lack(Lack::Processes),
        // Of another user's scripts it is EACCES. Never as root instead: its privileges are those of the whole node.
        (_, Some(libc::EPERM)) if is_root => Failure::Script(UNDROPPABLE).into(),
        (io::ErrorKind::NotFound, _) => Failure::Script("is not there").into(),
        (io::ErrorKind::PermissionDenied, _) => Failure::Script("may not be run").into(),
        _ => Failure::Script("cannot be run").into(),
    }
}

fn judge(status: ExitStatus, dynamic_weight: bool) -> Answer {
    if let Some(signal) = status.signal() {
        return Err(Failure::Signal(signal).into());
    }
    let code = status.code().unwrap_or(1);
    match (code, dynamic_weight) {
        (0, _) => Ok(None),
        (2..=255, true) => Ok(u32::try_from(code - 2).ok()),
        _ => Err(Failure::Exit(code).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_health_or_weight() {
        let exit =
            |code: i32, dynamic_weight| judge(ExitStatus::from_raw(code << 8), dynamic_weight);
        assert_eq!(exit(0, false), Ok(None));
        assert_eq!(exit(0, true), Ok(None));
        assert_eq!(exit(1, false), Err(Failure::Exit(1).into()));
        assert_eq!(exit(1, true), Err(Failure::Exit(1).into()));
        assert_eq!(exit(2, false), Err(Failure::Exit(2).into()));
        assert_eq!(exit(2, true), Ok(Some(0)));
        assert_eq!(exit(255, true), Ok(Some(253)));
        assert_eq!(
            judge(ExitStatus::from_raw(9), true),
            Err(Failure::Signal(9).into())
        );
    }

    #[test]
    fn a_root_that_may_not_be_nobody_is_told_apart_from_a_script_that_nobody_may_run() {
        let words = |errno, is_root| match failure(&io::Error::from_raw_os_error(errno), is_root) {
            Stop::Failure(failure) => failure.to_string(),
            Stop::Lack(lack) => lack.as_str().to_owned(),
        };
        assert!(words(libc::EPERM, true).contains("SETUID and SETGID"));
        assert!(
            words(libc::EPERM, true).len() < 200,
            "a status has room for 256"
        );
        for (errno, is_root) in [(libc::EPERM, false), (libc::EACCES, true)] {
            assert_eq!(words(errno, is_root), "the script may not be run");
        }
    }

    #[test]
    fn a_script_is_a_name_and_no_path() {
        let directory = Path::new("/etc/vipkeeper/scripts");
        for script in ["", ".", "..", "a/b", "../../bin/sh", "/bin/sh", "a\0b"] {
            assert!(
                Question::of(directory, script, false).is_err(),
                "{script:?}"
            );
        }
        let question = Question::of(directory, "check-web.sh", false).unwrap();
        assert_eq!(question.script, directory.join("check-web.sh"));
    }
}
