//! How guests end, seen from the host: only a script that ran to its end has a status.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::tests;
use vipkeeper_e2e::uml::{Ended, Guest};

tests! {
    beside a_scripts_status_is_the_guests,
    beside a_guest_that_panics_has_no_status,
    beside a_guest_that_is_powered_off_has_no_status,
    beside a_guest_that_hangs_is_killed_and_its_console_shown,
    beside a_guest_writes_neither_to_its_root_nor_to_the_repository,
}

const LIMIT: Duration = Duration::from_secs(30);

fn a_scripts_status_is_the_guests() -> Result<()> {
    for status in [0, 7, 77] {
        let ended = guest()?.run(&format!("exit {status}"), LIMIT)?;
        ensure!(ended == Ended::With(status), "{ended:?}");
    }
    Ok(())
}

fn a_guest_that_panics_has_no_status() -> Result<()> {
    let how = without("echo c >/proc/sysrq-trigger; exit 0", LIMIT)?;
    ensure!(how.contains("Kernel panic"), "{how}");
    Ok(())
}

fn a_guest_that_is_powered_off_has_no_status() -> Result<()> {
    let how = without(
        "echo half-way; echo o >/proc/sysrq-trigger; sleep 60",
        LIMIT,
    )?;
    ensure!(how.contains("half-way"), "{how}");
    ensure!(how.contains("ended before its script"), "{how}");
    Ok(())
}

fn a_guest_that_hangs_is_killed_and_its_console_shown() -> Result<()> {
    let limit = Duration::from_secs(20);
    let how = without("echo half-way; sleep 600", limit)?;
    ensure!(how.contains("killed after 20s"), "{how}");
    ensure!(how.contains("half-way"), "{how}");
    Ok(())
}

fn a_guest_writes_neither_to_its_root_nor_to_the_repository() -> Result<()> {
    let own = std::env::current_exe()?;
    let beside = own.parent().context("no directory")?.join("uml-was-here");
    let script = format!(
        "touch uml-was-here && exit 1; touch {} && exit 2; touch /usr/uml-was-here || exit 3",
        beside.display()
    );
    let ended = guest()?.run(&script, LIMIT)?;
    ensure!(ended == Ended::With(0), "{ended:?}");
    let root = std::env::var("VIPKEEPER_UML_ROOT")?;
    for trace in [beside, format!("{root}/usr/uml-was-here").into()] {
        ensure!(!trace.exists(), "{}", trace.display());
    }
    Ok(())
}

/// Why a guest with `script` ended without a status.
fn without(script: &str, limit: Duration) -> Result<String> {
    match guest()?.run(script, limit)? {
        Ended::Without(how) => Ok(how),
        Ended::With(status) => bail!("status {status}"),
    }
}

fn guest() -> Result<Guest> {
    Guest::new().map_err(|error| Skip::because(format!("{error:#}")))
}
