//! How much is written, counted by the API server itself.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_e2e::Cluster;
use vipkeeper_e2e::cluster::audit::{Mark, Write, writes_counted};
use vipkeeper_e2e::wait::{self, Seen};

use crate::scene::{self, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    alone an_idle_cluster_makes_no_writes_but_leases,
    alone one_edit_costs_the_operator_at_most_candidates_and_two_writes_and_an_agent_one,
}

/// So long nothing may be written.
const IDLE: Duration = Duration::from_secs(5);

fn an_idle_cluster_makes_no_writes_but_leases() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b", "c"])?;
    cluster.start_operator()?;
    for (number, name) in ["web", "dns", "mail"].into_iter().enumerate() {
        let address = [192, 0, 2, 100 + u8::try_from(number)?];
        cluster.serve(&scene::router(name, address.into(), &json!({})))?;
    }
    settle(&cluster)?;
    let (mark, before) = (cluster.audit.mark()?, counted(&cluster)?);
    wait::while_holds("nothing but leases is written", IDLE, || {
        Ok(Seen::when(written(&cluster, mark)?, Vec::is_empty).map(|_| ()))
    })?;
    let after = counted(&cluster)?;
    ensure!(after == before, "before: {before:?}\nafter: {after:?}");
    // And the log does show who writes.
    let renewed = |write: &Write| write.resource == "leases" && write.user == "vipkeeper-operator";
    ensure!(
        cluster.audit.since(mark)?.iter().any(renewed),
        "no renewal of the leader's Lease"
    );
    Ok(())
}

fn one_edit_costs_the_operator_at_most_candidates_and_two_writes_and_an_agent_one() -> Result<()> {
    let cluster = scene::cluster(&["a", "b", "c"])?;
    cluster.serve(&scene::router("web", VIP, &json!({})))?;
    // With the first edit an agent also tells what it learnt of its node since its start.
    let learning = json!({"advertisementInterval": "110ms"});
    cluster.serve(&scene::router("web", VIP, &learning))?;
    settle(&cluster)?;
    let mark = cluster.audit.mark()?;
    let other = "192.0.2.101".parse()?;
    cluster.api.apply(
        &scene::path("web"),
        &scene::router("web", other, &json!({})),
    )?;
    cluster.await_holder(other, |_| true)?;
    cluster.await_active("web", |_| true)?;
    settle(&cluster)?;

    let writes = written(&cluster, mark)?;
    let by = |user: &'static str| writes.iter().filter(move |write| write.user == user);
    let of_operator = by("vipkeeper-operator").count();
    ensure!(
        (1..=3 + 2).contains(&of_operator),
        "{of_operator} by the operator: {writes:#?}"
    );
    // A NodeConfig is of one node.
    let mut of_agents = BTreeMap::new();
    by("vipkeeper-agent").for_each(|write| *of_agents.entry(&write.name).or_insert(0) += 1);
    ensure!(
        of_agents.len() == 3 && of_agents.values().all(|count| *count == 1),
        "by the agents: {of_agents:?}: {writes:#?}"
    );
    Ok(())
}

/// Waits until nothing but leases has been written for a while.
fn settle(cluster: &Cluster) -> Result<()> {
    let mut mark = cluster.audit.mark()?;
    let mut since = vipkeeper_e2e::Moment::now();
    wait::until("a cluster that is idle", SOON, || {
        let writes = written(cluster, mark)?;
        if !writes.is_empty() {
            mark = cluster.audit.mark()?;
            since = vipkeeper_e2e::Moment::now();
        }
        Ok(if since.elapsed() > Duration::from_secs(2) {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!("{writes:?}"))
        })
    })
}

/// What operators and agents wrote since `mark`, leases left out.
fn written(cluster: &Cluster, mark: Mark) -> Result<Vec<Write>> {
    let mut writes = cluster.audit.since(mark)?;
    writes.retain(|write| write.user.starts_with("vipkeeper-") && write.resource != "leases");
    Ok(writes)
}

/// The API server's own count of writes to our objects and Events, by verb and resource.
fn counted(cluster: &Cluster) -> Result<BTreeMap<(String, String), u64>> {
    let mut counted = writes_counted(&cluster.api.text("/metrics")?);
    let ours = [
        "virtualrouters",
        "nodeconfigs",
        "settings",
        "events",
        "nodes",
        "secrets",
    ];
    counted.retain(|(_, resource), _| ours.contains(&resource.as_str()));
    ensure!(!counted.is_empty(), "the metrics count nothing of ours");
    Ok(counted)
}
