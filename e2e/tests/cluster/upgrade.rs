//! Versions beside each other: definitions of before and today's programs, operators and agents of neighbouring builds.

use std::env;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_e2e::cluster::{Cluster, chart, operator};
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::{Moment, agent};

use crate::scene::{self, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    beside definitions_of_before_are_upgraded_and_taken_back_under_a_running_cluster,
    alone todays_operator_serves_agents_of_before_until_they_are_replaced,
    beside an_operator_of_before_serves_todays_agents_until_it_is_replaced,
}

/// The committed copy.
const BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/previous-crds");

fn definitions_of_before_are_upgraded_and_taken_back_under_a_running_cluster() -> Result<()> {
    scene::need()?;
    let mut cluster = Cluster::install_over(&["a", "b"], BEFORE)?;
    cluster.start_operator()?;
    for node in ["a", "b"] {
        cluster.start_agent(node)?;
    }
    let holder = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let before = cluster.transitions("web")?;
    let definitions = [chart("vipkeeper-crds"), BEFORE.to_owned()];
    for (last, definitions) in (101..).zip(&definitions) {
        cluster.helm(&["upgrade", "vipkeeper-crds", definitions])?;
        let name = format!("after-{last}");
        let address = IpAddr::from([192, 0, 2, last]);
        cluster.serve(&scene::router(&name, address, &json!({})))?;
        cluster.await_active("web", |node| node == holder)?;
        ensure!(
            cluster.transitions("web")? == before,
            "web moved with {definitions}"
        );
    }
    Ok(())
}

fn todays_operator_serves_agents_of_before_until_they_are_replaced() -> Result<()> {
    scene::need()?;
    let before = previous("VIPKEEPER_PREVIOUS_AGENT")?;
    let mut cluster = Cluster::install(&["a", "b"])?;
    cluster.start_operator()?;
    for node in ["a", "b"] {
        cluster.start_agent_as(node, &before)?;
    }
    let holder = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let meter = cluster.lab.meter(VIP)?;
    meter.await_answers(SOON)?;
    let begun = Moment::now();
    for node in ["a", "b"] {
        cluster.replace_agent(node, &agent::program()?)?;
    }
    cluster.await_active("web", |node| node == holder)?;
    let gaps = meter.stop(begun);
    ensure!(gaps.lost == 0, "{gaps}");
    let late = "192.0.2.101".parse()?;
    cluster.serve(&scene::router("late", late, &json!({})))?;
    cluster.await_holder(late, |_| true)?;
    Ok(())
}

fn an_operator_of_before_serves_todays_agents_until_it_is_replaced() -> Result<()> {
    scene::need()?;
    let before = previous("VIPKEEPER_PREVIOUS_OPERATOR")?;
    let mut cluster = Cluster::install(&["a", "b"])?;
    cluster.start_operator_as(&before)?;
    for node in ["a", "b"] {
        cluster.start_agent(node)?;
    }
    let holder = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let transitions = cluster.transitions("web")?;
    cluster.operators.remove(0).process.stop(SOON)?;
    cluster.start_operator_as(&operator::program()?)?;
    let late = "192.0.2.101".parse()?;
    cluster.serve(&scene::router("late", late, &json!({})))?;
    cluster.await_active("web", |node| node == holder)?;
    ensure!(cluster.transitions("web")? == transitions, "web moved");
    Ok(())
}

/// The build of an earlier commit, or the reason why there is none.
fn previous(variable: &str) -> Result<PathBuf> {
    let path = env::var_os(variable).filter(|path| !path.is_empty());
    match path.map(PathBuf::from) {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(Skip::because(format!("no program at {}", path.display()))),
        None => Err(Skip::because(format!(
            "{variable} names no build of an earlier commit"
        ))),
    }
}
