//! What the tests need of the machine, and what they say when it is missing.

use anyhow::Result;
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::{Lab, keepalived};

/// A lab, or the reason why there can be none here.
pub(crate) fn lab(nodes: &[&str], segments: u8) -> Result<Lab> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Skip::because("network namespaces need root"));
    }
    Lab::new(nodes, segments)
}

/// Skips where keepalived is not installed.
pub(crate) fn need_keepalived() -> Result<()> {
    if keepalived::is_installed() {
        Ok(())
    } else {
        Err(Skip::because("keepalived is not installed"))
    }
}
