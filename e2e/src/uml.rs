//! The rung `uml`: each test runs inside a User Mode Linux guest of its own, whose kernel has IPVS, tunnels and netem,
//! with keepalived 2.3 and ipvsadm of Debian forky. What a test says and how it ends comes back as on every rung.
//!
//! Owns the way into the guest. Never decides what a test does there.
//!
//! # How a test is written
//!
//! As on the rung `netns`: a function in a module under `tests/uml/`, listed by [`tests!`](crate::tests), the module
//! in `tests/uml.rs`. It is root in a machine of its own, with 512 MiB, one processor and no network but what it makes:
//! [`Lab`](crate::Lab), [`Agent`](crate::Agent), [`Keepalived`](crate::Keepalived), captures and meters work as they do
//! there, [`DirectorLan`](crate::DirectorLan) has directors, real servers and a client. It sees this repository and the
//! directories of the programs under test at the host's paths, read-only; what it writes elsewhere is gone afterwards.
//! There is no `Skip` for what the guest has in any case.
//!
//! ```sh
//! export VIPKEEPER_UML=$(scripts/uml-kernel) VIPKEEPER_UML_ROOT=$(scripts/uml-root)
//! cargo build -p vipkeeper-agent && cargo test -p vipkeeper-e2e --test uml -- PART_OF_A_NAME
//! ```

mod guest;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::harness::{self, Test};

pub use guest::{Ended, Guest};

/// What the rung is called.
const RUNG: &str = "uml";
/// Set in the environment inside a guest.
const INSIDE: &str = "VIPKEEPER_UML_INSIDE";
/// Of a test in its guest: below the harness's own, which would kill without showing the console.
const LIMIT: Duration = Duration::from_secs(110);
/// Where the programs under test are, if cargo did not put them beside the tests.
const PROGRAMS: [&str; 3] = [
    "VIPKEEPER_AGENT",
    "VIPKEEPER_AGENT_TESTS",
    "VIPKEEPER_PREVIOUS_AGENT",
];

/// Runs the rung as the command line and the environment ask, or one of its tests: those of `on_host` here, those of
/// `in_guest` in a guest of their own.
#[must_use]
pub fn main(on_host: &[Test], in_guest: &[Test]) -> ExitCode {
    if let Ok(name) = env::var(harness::CHILD)
        && env::var_os(INSIDE).is_none()
        && in_guest.iter().any(|test| test.name == name)
    {
        return run_in_guest(&name);
    }
    harness::main(RUNG, &[on_host, in_guest].concat())
}

/// Runs the test `name` in a guest and ends as it ends there.
fn run_in_guest(name: &str) -> ExitCode {
    let guest = match Guest::new() {
        Ok(guest) => guest,
        Err(error) => {
            harness::say(&format!("{error:#}"));
            return ExitCode::from(harness::SKIPPED);
        }
    };
    match script(name).and_then(|script| guest.run(&script, LIMIT)) {
        Ok(Ended::With(status)) => ExitCode::from(status),
        Ok(Ended::Without(how)) => {
            harness::say(&how);
            ExitCode::FAILURE
        }
        Err(error) => {
            harness::say(&format!("{error:?}"));
            ExitCode::FAILURE
        }
    }
}

/// What runs this program for the test `name` there.
fn script(name: &str) -> Result<String> {
    let own = env::current_exe().context("find this program")?;
    let mut environment = vec![
        (harness::CHILD, name.to_owned()),
        (INSIDE, "1".to_owned()),
        ("RUST_LIB_BACKTRACE", "0".to_owned()),
    ];
    for variable in PROGRAMS.into_iter().chain(["RUST_LOG"]) {
        if let Ok(value) = env::var(variable) {
            environment.push((variable, value));
        }
    }
    let mut script = String::new();
    for (variable, value) in environment {
        script.push_str(&format!("export {variable}={}\n", quoted(&value)));
    }
    script.push_str(&format!("exec {}\n", quoted(&own.to_string_lossy())));
    Ok(script)
}

/// The directories of the host that a guest sees: this repository, and the programs.
fn shown() -> Result<Vec<PathBuf>> {
    let own = env::current_exe().context("find this program")?;
    let mut shown = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))];
    // Beside the directory of tests are the programs that cargo built with them.
    shown.extend(own.ancestors().nth(2).map(PathBuf::from));
    for variable in PROGRAMS {
        let program = env::var_os(variable).map(PathBuf::from);
        let directory = program.as_deref().and_then(|program| program.parent());
        shown.extend(directory.map(PathBuf::from));
    }
    Ok(shown)
}

/// As one word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
