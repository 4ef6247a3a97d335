//! What an agent lets an observer know: records that replay, logs, metrics, the state as a table.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{agent, tests};

use crate::scene::{SOON, Scene, VIP4, VIP6};

tests! {
    alone a_record_of_a_failover_replays_to_the_same_outputs_and_has_no_secret,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];
/// A password, which no output of the agent may have in any form.
const PASSWORD: &str = "swordfis";
/// Where to copy the record to, for the simulator's own replay.
const RECORD_TO: &str = "VIPKEEPER_RECORD_TO";

/// A router of each version; that of version 2 has a password.
fn routers() -> [Router; 2] {
    let old = Router {
        version: 2,
        interval: Duration::from_secs(1),
        password: Some(PASSWORD.to_owned()),
        ..Router::new("old", 52, &[VIP4], AB)
    };
    [old, Router::new("web6", 51, &[VIP6], AB)]
}

fn a_record_of_a_failover_replays_to_the_same_outputs_and_has_no_secret() -> Result<()> {
    let routers = routers();
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let directory = scene.lab.node("b")?.directory().to_owned();
    let file = directory.join("record.out");
    let mut recording = scene
        .agent("b")?
        .spawn("record", &["record", "--seconds", "6"])?;
    wait::until("the record's first input", SOON, || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        Ok(Seen::when(text.lines().count(), |lines| *lines >= 2))
    })?;
    let second = scene
        .agent("b")?
        .run(&["record", "--seconds", "1", "--output", "/dev/null"])?;
    let why = String::from_utf8_lossy(&second.stderr);
    ensure!(
        !second.status.success() && why.contains("already"),
        "a second record at a time: {why}"
    );
    scene.power_off("a")?;
    for router in &routers {
        scene.await_active(router, "b")?;
    }
    let status = recording.ended(SOON)?;
    ensure!(status.success(), "record: {status}");

    let text = fs::read_to_string(&file)?;
    ensure!(!text.contains(r#"{"gap""#), "the record has a gap");
    for word in [r#""reason":"NoResponse""#, r#""Announce""#, r#""end""#] {
        ensure!(text.contains(word), "no {word} in the record");
    }
    for secret in secret_forms() {
        ensure!(!text.contains(&secret), "{secret} is in the record");
    }
    let said = replay(&file)?;
    ensure!(
        said.contains(" 0 gaps") && !said.contains("cut off"),
        "{said}"
    );
    if let Some(path) = std::env::var_os(RECORD_TO) {
        fs::copy(&file, path)?;
    }

    // The proof that the replay compares: another priority in one advertisement.
    let broken = directory.join("broken");
    let sent = text.rfind(r#"{"out":{"Send""#).context("nothing sent")?;
    let (before, after) = text.split_at(sent);
    let number = before.lines().count() + 1;
    let after = after.replacen("\"payload\":\"", "\"payload\":\"00", 1);
    fs::write(&broken, format!("{before}{after}"))?;
    let error = replay(&broken).err().context("a broken record replays")?;
    let place = format!("line {number}: recorded was");
    ensure!(format!("{error:#}").contains(&place), "{error:#}");
    Ok(())
}

/// The ways in which a record or a log could have the password.
fn secret_forms() -> [String; 3] {
    let bytes = PASSWORD.as_bytes();
    let hexadecimal = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    [PASSWORD.to_owned(), hexadecimal, list.join(",")]
}

/// What `replay` says of a record, if it is content.
fn replay(record: &Path) -> Result<String> {
    let output = Command::new(agent::program()?)
        .arg("replay")
        .arg(record)
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "replay: {error}");
    Ok(String::from_utf8(output.stdout)?)
}
