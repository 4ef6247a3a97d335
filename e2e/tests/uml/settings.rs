//! Settings of the network namespace: told, or written where that was asked for and put back in the end.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_e2e::agent::State;
use vipkeeper_e2e::{Agent, Node, tests};

use crate::directors::{Directors, Method, PORT};
use crate::scene::SOON;

tests! {
    beside what_virtual_servers_need_is_told_or_written_and_put_back,
}

/// Below /proc/sys/net.
const NEEDED: [&str; 3] = [
    "ipv4/vs/conntrack",
    "ipv4/ip_forward",
    "ipv6/conf/all/forwarding",
];
const ADVISED: [&str; 3] = [
    "ipv4/vs/expire_nodest_conn",
    "ipv4/vs/expire_quiescent_template",
    "ipv4/vs/sloppy_sctp",
];
/// Is as it should be before.
const RIGHT: &str = "ipv4/vs/sloppy_tcp";
const WRITE: [&str; 2] = ["--system-settings", "write"];

fn what_virtual_servers_need_is_told_or_written_and_put_back() -> Result<()> {
    let port = |protocol: &str| json!({"port": PORT, "protocol": protocol});
    let more = json!({
        "ports": [port("TCP"), port("UDP"), port("SCTP")],
        "persistence": {"timeout": "300s"},
    });
    let mut scene = Directors::start(1, 3, Method::FullNat, &more)?;
    stop(scene.agents.remove(0))?;
    let director = scene.lan.directors()[0].clone();
    let mut before: BTreeMap<&str, u32> = NEEDED
        .into_iter()
        .chain(ADVISED)
        .map(|key| (key, 0))
        .collect();
    before.insert(RIGHT, 1);
    for (key, value) in &before {
        let value = value.to_string();
        director.namespace().sysctl(&[(key, &value)])?;
    }

    let told = serving(&scene, &[], |state| {
        lacks(state, true) == NEEDED.len() && lacks(state, false) == ADVISED.len()
    })?;
    ensure!(values(&director)? == before, "{:?}", values(&director)?);
    let [target, _] = scene.targets();
    let tally = scene.client().tcp(target, 1)?;
    ensure!(tally.answered() == 0, "with nothing written: {tally}");
    stop(told)?;

    let mut written = serving(&scene, &WRITE, nothing_lacks)?;
    let now = values(&director)?;
    ensure!(now.values().all(|value| *value == 1), "{now:?}");
    scene.connect(6)?;
    // Its successor knows from the ledger what there was.
    written.process_mut().kill()?;
    ensure!(values(&director)? == now, "{:?}", values(&director)?);
    let written = serving(&scene, &WRITE, nothing_lacks)?;
    scene.connect(6)?;
    stop(written)?;
    ensure!(values(&director)? == before, "{:?}", values(&director)?);
    Ok(())
}

/// An agent at the director that serves by all real servers, and whose state is as `wanted`.
fn serving(
    scene: &Directors,
    arguments: &[&str],
    wanted: impl Fn(&State) -> bool,
) -> Result<Agent> {
    let mut agent = Agent::restart_with(&scene.lan.directors()[0], arguments)?;
    agent.await_state("web", "Active", SOON)?;
    scene.await_serving(0, &[0, 1, 2])?;
    agent.await_whole("its settings", SOON, wanted)?;
    Ok(agent)
}

fn stop(mut agent: Agent) -> Result<()> {
    let status = agent.process_mut().stop(SOON)?;
    ensure!(status.success(), "{status}");
    Ok(())
}

fn nothing_lacks(state: &State) -> bool {
    lacks(state, true) == 0 && lacks(state, false) == 0
}

/// How many settings the state says are not as they should be, of those that are needed or the others.
fn lacks(state: &State, needed: bool) -> usize {
    let such = |lack: &&serde_json::Value| lack["needed"] == needed;
    // A state without a list has nothing to say.
    let lacks = state.more["ipvs"]["lacks"].as_array();
    lacks.map_or(0, |lacks| lacks.iter().filter(such).count())
}

/// All of the settings as they are.
fn values(director: &Node) -> Result<BTreeMap<&'static str, u32>> {
    let all = NEEDED.into_iter().chain(ADVISED).chain([RIGHT]);
    director.namespace().run(|| {
        all.map(|key| {
            let text = fs::read_to_string(format!("/proc/sys/net/{key}"))?;
            Ok((key, text.trim().parse()?))
        })
        .collect()
    })
}
