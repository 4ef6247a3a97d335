//! What an agent lets an observer know: records that replay, logs, metrics, the state as a table.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Node, agent, tests};

use crate::machine::SLACK;
use crate::scene::{SOON, Scene, VIP4, VIP6};

tests! {
    alone a_record_of_a_failover_replays_to_the_same_outputs_and_has_no_secret,
    alone a_failover_is_told_by_log_metrics_and_state,
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

fn a_failover_is_told_by_log_metrics_and_state() -> Result<()> {
    let routers = routers();
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    let node = scene.lab.node("b")?.clone();
    scene.agents.remove(1).process_mut().stop(SOON)?;
    let before = fs::read_to_string(log_of(&node))?.len();
    let agent = Agent::restart_with(&node, &["--log-format", "json"])?;
    scene.agents.push(agent);
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    scene.power_off("a")?;
    for router in &routers {
        scene.await_active(router, "b")?;
    }

    let b = scene.agent("b")?;
    let series = r#"vipkeeper_failover_duration_seconds_count{reason="NoResponse"}"#;
    wait::until("both failovers in the histogram", SOON, || {
        Ok(Seen::when(b.metric(series)?, |count| *count >= 2.0))
    })?;
    let sum = b.metric(r#"vipkeeper_failover_duration_seconds_sum{reason="NoResponse"}"#)?;
    // The one is known within a millisecond by the protocol alone, and so is the other.
    let least: Duration = routers.iter().map(|r| r.active_down_interval(100)).sum();
    let (least, most) = (least.as_secs_f64(), (least + 2 * SLACK).as_secs_f64());
    ensure!((least..=most).contains(&sum), "{least} <= {sum} <= {most}");
    let kinds = r#"{family="IPv6",from="Backup",interface="eth0",reason="NoResponse",router="web6",to="Active"}"#;
    ensure!(b.metric(&format!("vipkeeper_router_transitions_total{kinds}"))? >= 1.0);
    let lateness = "vipkeeper_election_wakeup_lateness_seconds_count";
    ensure!(b.metric(lateness)? > 10.0);
    let silence = r#"vipkeeper_router_last_advertisement_age_seconds{family="IPv6""#;
    ensure!(b.metric(silence)? >= 0.3, "a has been silent since");
    ensure!(b.metric("vipkeeper_ledger_rows")? >= 2.0);

    let table = b.run(&["state"])?;
    let table = String::from_utf8(table.stdout)?;
    let row = table.lines().find(|line| line.starts_with("web6"));
    let row: Vec<_> = row.context("no row")?.split_whitespace().collect();
    ensure!(
        row[..7]
            == [
                "web6",
                "IPv6",
                "51",
                "eth0",
                "Active",
                "100",
                "2001:db8::100"
            ]
    );
    ensure!(row[8] == "NoResponse", "{row:?}");

    let log = fs::read_to_string(log_of(&node))?;
    let log = log.get(before..).context("the log shrank")?;
    ensure!(!secret_forms().iter().any(|secret| log.contains(secret)));
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect::<Result<_>>()?;
    for line in &lines {
        ensure!(line["timestamp"].is_string() && line["level"].is_string());
        ensure!(line["fields"]["message"].is_string(), "{line}");
    }
    let told = |message: &str, fields: &Value| {
        lines.iter().any(|line| {
            let all = fields.as_object().into_iter().flatten();
            line["level"] == "INFO"
                && line["fields"]["message"] == message
                && all
                    .clone()
                    .all(|(name, value)| line["fields"][name] == *value)
        })
    };
    ensure!(told(
        "running",
        &json!({"node": "b", "instance": "default"})
    ));
    let took_over = json!({
        "router": "web6", "family": "IPv6", "interface": "eth0",
        "from": "Backup", "to": "Active", "reason": "NoResponse",
    });
    ensure!(told("transition", &took_over), "{log}");
    let announced = json!({"router": "web6", "family": "IPv6", "reason": "NoResponse"});
    ensure!(told("announced", &announced), "{log}");
    Ok(())
}

/// Where the agent of a node logs.
fn log_of(node: &Node) -> std::path::PathBuf {
    node.directory().join(format!("agent-{}.err", node.name()))
}
