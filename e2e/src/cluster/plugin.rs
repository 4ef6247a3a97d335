//! The plugin of kubectl, run as people run it: kubectl finds it on the path.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::Cluster;
use crate::program;

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub error: String,
}

/// The plugin under test: `VIPKEEPER_PLUGIN`, or the one beside this program.
///
/// # Errors
/// When it is not there; with the command that builds it.
pub fn program() -> Result<PathBuf> {
    program::built("VIPKEEPER_PLUGIN", "kubectl-vipkeeper")
}

impl Cluster {
    /// Runs `kubectl vipkeeper` as an administrator, with `input` on its standard input.
    ///
    /// # Errors
    /// When there is no plugin, or it cannot be started.
    pub fn plugin(&self, arguments: &[&str], input: Option<&str>) -> Result<Said> {
        let plugin = program()?;
        let home = plugin.parent().unwrap_or(Path::new("."));
        let path = env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(home.to_owned()).chain(env::split_paths(&path));
        let mut command = Command::new(self.programs.join("kubectl"));
        command.arg("vipkeeper").args(arguments);
        command.env("PATH", env::join_paths(path)?);
        self.enter(&mut command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl")?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            std::io::Write::write_all(&mut stdin, input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        Ok(Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
