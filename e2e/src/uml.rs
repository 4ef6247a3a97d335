//! The rung `uml`: each test runs inside a User Mode Linux guest of its own, whose kernel has IPVS, tunnels and netem,
//! with keepalived 2.3 and ipvsadm of Debian forky. What a test says and how it ends comes back as on every rung.
//!
//! Owns the way into the guest. Never decides what a test does there, and never runs one on the host.
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

use anyhow::{Context, Result};

use crate::harness::{self, Test};

use guest::{Ended, Guest};

/// What the rung is called.
const RUNG: &str = "uml";
/// Set in the environment inside a guest.
const INSIDE: &str = "VIPKEEPER_UML_INSIDE";
const KERNEL: &str = "VIPKEEPER_UML";
const ROOT: &str = "VIPKEEPER_UML_ROOT";
/// What a guest's tests are told of the host's environment, if it is set there.
const PASSED_ON: [&str; 3] = ["RUST_LOG", "VIPKEEPER_AGENT", "VIPKEEPER_PREVIOUS_AGENT"];

/// Runs `tests` as the command line and the environment ask: the whole rung, one test's guest, or one test in its
/// guest.
#[must_use]
pub fn main(tests: &[Test]) -> ExitCode {
    match env::var(harness::CHILD) {
        Ok(name) if env::var_os(INSIDE).is_none() => in_guest(&name),
        Ok(_) | Err(_) => harness::main(RUNG, tests),
    }
}

/// Runs the test `name` in a guest and ends as it ends there.
fn in_guest(name: &str) -> ExitCode {
    let (kernel, root) = match (told(KERNEL, "kernel"), told(ROOT, "root")) {
        (Ok(kernel), Ok(root)) => (kernel, root),
        (Err(reason), _) | (_, Err(reason)) => {
            harness::say(&reason);
            return ExitCode::from(harness::SKIPPED);
        }
    };
    match run(name, kernel, root) {
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

/// The path in `variable`, or how it is to be had.
fn told(variable: &str, what: &str) -> Result<PathBuf, String> {
    let path = env::var_os(variable).filter(|value| !value.is_empty());
    let path = path.map(PathBuf::from).filter(|path| path.exists());
    path.ok_or_else(|| {
        format!("not told where the guest's {what} is: {variable}=$(scripts/uml-{what})")
    })
}

fn run(name: &str, kernel: PathBuf, root: PathBuf) -> Result<Ended> {
    let mut environment = vec![
        (harness::CHILD.to_owned(), name.to_owned()),
        (INSIDE.to_owned(), "1".to_owned()),
        ("RUST_LIB_BACKTRACE".to_owned(), "0".to_owned()),
    ];
    for variable in PASSED_ON {
        if let Ok(value) = env::var(variable) {
            environment.push((variable.to_owned(), value));
        }
    }
    let own = env::current_exe()?;
    let own_directory = own.parent().context("a program without a directory")?;
    let repository = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut guest = Guest::new(kernel, root)?;
    guest.show(&repository)?;
    // Beside it are the programs that cargo built with it.
    guest.show(own_directory.parent().unwrap_or(own_directory))?;
    for variable in &PASSED_ON[1..] {
        let program = env::var_os(variable).map(PathBuf::from);
        if let Some(directory) = program.as_deref().and_then(|program| program.parent()) {
            guest.show(directory)?;
        }
    }
    guest.run(&environment, &own)
}
