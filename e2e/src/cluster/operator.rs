//! An operator under test: a process on a host of its own, with the arguments and the token of its pod.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::NAMESPACE;
use crate::lab::Node;
use crate::process::Process;
use crate::program;

/// A running operator. Dropping it kills it.
#[derive(Debug)]
pub struct Operator {
    /// Its process.
    pub process: Process,
    name: String,
    host: Node,
}

/// What a process gets that stands for a pod.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) pod: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) kubeconfig: PathBuf,
}

impl Operator {
    pub(crate) fn start(program: &Path, host: &Node, identity: &Identity) -> Result<Self> {
        Ok(Self {
            process: run(program, host, "operator", identity)?,
            name: identity.pod.clone(),
            host: host.clone(),
        })
    }

    /// Its pod's name, which is its identity in the Lease.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host that it runs on.
    #[must_use]
    pub fn host(&self) -> &Node {
        &self.host
    }

    /// Its resident memory in KiB.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resident_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&path).context(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.context("no VmRSS in it")
    }
}

/// Starts the operator's program on `host` as the container of a pod would be.
pub(crate) fn run(program: &Path, host: &Node, log: &str, identity: &Identity) -> Result<Process> {
    let mut command = Command::new(program);
    command
        .args(&identity.arguments)
        .env("KUBECONFIG", &identity.kubeconfig)
        .env("POD_NAME", &identity.pod)
        .env("POD_NAMESPACE", NAMESPACE)
        .env("NO_COLOR", "1")
        .env(
            "RUST_LOG",
            env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()),
        );
    Process::start(log, command, host.namespace(), host.directory())
}

/// Where the operator's program is: `VIPKEEPER_OPERATOR`, or beside this one in cargo's target directory.
///
/// # Errors
/// When it is not there; with the command that builds it.
pub fn program() -> Result<PathBuf> {
    program::built("VIPKEEPER_OPERATOR", "vipkeeper-operator")
}
