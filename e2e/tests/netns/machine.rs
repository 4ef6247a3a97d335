//! What the tests need of the machine, and what they say when it is missing.

use std::time::Duration;

use anyhow::Result;
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::{Lab, agent, keepalived};

/// What a loaded machine may add to a protocol's bound.
pub(crate) const SLACK: Duration = Duration::from_millis(250);

/// A lab, or the reason why there can be none here.
pub(crate) fn lab(nodes: &[&str], segments: u8) -> Result<Lab> {
    need_root()?;
    Lab::new(nodes, segments)
}

/// Skips without the rights to make a namespace.
pub(crate) fn need_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err(Skip::because("network namespaces need root"))
    }
}

/// Skips where keepalived is not installed.
pub(crate) fn need_keepalived() -> Result<()> {
    if keepalived::is_installed() {
        Ok(())
    } else {
        Err(Skip::because("keepalived is not installed"))
    }
}

/// Skips where the agent is not built.
pub(crate) fn need_agent() -> Result<()> {
    match agent::program() {
        Ok(_) => Ok(()),
        Err(error) => Err(Skip::because(error.to_string())),
    }
}
