//! What was measured with: versions, kernel, processor. Figures without them say nothing.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::utsname::uname;

use crate::{agent, keepalived};

/// Versions and the machine.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// As `vipkeeper-agent --version` says, with the commit where git knows it.
    pub(super) vipkeeper: String,
    pub(super) keepalived: String,
    pub(super) kernel: String,
    pub(super) processor: String,
    /// Processors that this process may use.
    pub(super) cores: usize,
    /// Runnable threads before the run, averaged over a minute: what else the machine did.
    pub(super) load: String,
}

impl Surroundings {
    /// Looks at programs and machine.
    ///
    /// # Errors
    /// When a program is missing.
    pub(super) fn look() -> Result<Self> {
        let kernel = uname()?;
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Self {
            vipkeeper: vipkeeper()?,
            keepalived: keepalived::version().context(
                "bench needs keepalived: apt-get install --no-install-recommends keepalived",
            )?,
            kernel: format!(
                "{} {}",
                kernel.sysname().to_string_lossy(),
                kernel.release().to_string_lossy()
            ),
            processor: model(&processor).unwrap_or("unknown processor").to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            load: load(),
        })
    }
}

/// The load average of the last minute, `unknown` without /proc.
pub(super) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.unwrap_or("unknown").to_owned()
}

fn vipkeeper() -> Result<String> {
    let program = agent::program()?;
    let output = Command::new(&program).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().last();
    ensure!(
        output.status.success() && version.is_some(),
        "{} names no version",
        program.display()
    );
    let version = version.unwrap_or_default();
    let commit = commit().map_or_else(String::new, |commit| format!(" ({commit})"));
    Ok(format!("{version}{commit}"))
}

/// The commit of the working tree, marked if files that git knows were changed.
fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR")])
        .args(["describe", "--always", "--dirty"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}

/// The first processor's name in the text of /proc/cpuinfo.
fn model(cpuinfo: &str) -> Option<&str> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let (_, name) = fields.find(|(key, _)| key.trim() == "model name")?;
    Some(name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_by_its_model() {
        let text =
            "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.00GHz\nprocessor\t: 1\n";
        assert_eq!(model(text), Some("Some CPU @ 2.00GHz"));
        assert_eq!(model("processor : 0\n"), None);
    }
}
