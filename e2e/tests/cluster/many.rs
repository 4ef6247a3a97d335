//! Many routers on several nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use vipkeeper_crds::conditions::ConditionType;
use vipkeeper_crds::{NodeConfig, VirtualRouter};
use vipkeeper_e2e::Cluster;
use vipkeeper_e2e::cluster::api::{CONFIGS, ROUTERS};
use vipkeeper_e2e::wait::{self, Seen};

use crate::scene::{self, SOON};

vipkeeper_e2e::tests! {
    alone two_hundred_routers_on_five_nodes_converge_each_with_one_holder,
    alone an_operator_with_a_thousand_routers_stays_within_100_mib,
}

/// Of a debug build on a loaded machine.
const CONVERGED: Duration = Duration::from_secs(60);

fn two_hundred_routers_on_five_nodes_converge_each_with_one_holder() -> Result<()> {
    const COUNT: u8 = 200;
    let nodes = ["a", "b", "c", "d", "e"];
    let cluster = scene::cluster(&nodes)?;
    // Beside the nodes' own addresses, on the same link.
    let address = |number: u8| IpAddr::from([192, 0, 2, 20 + number]);
    let more = json!({"advertisementInterval": "250ms"});
    for number in 0..COUNT {
        let name = format!("router-{number}");
        let object = scene::router(&name, address(number), &more);
        cluster.api.apply(&scene::path(&name), &object)?;
    }
    let ready = |all: &[VirtualRouter]| {
        let ready = all
            .iter()
            .filter(|router| scene::is(router, ConditionType::Ready));
        ready.count() == usize::from(COUNT)
    };
    cluster
        .api
        .await_list(ROUTERS, "all Ready", CONVERGED, ready)?;

    // Nodes that were told later take what is theirs, without a loss: both have an address for a moment.
    let of_node = wait::until("one holder of each address, which is shown", SOON, || {
        let routers: Vec<VirtualRouter> = cluster.api.list(ROUTERS)?;
        let mut held: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for node in cluster.lab.nodes() {
            for found in node.addresses()? {
                let holders = held.entry(found.address.to_string()).or_default();
                holders.push(node.name());
            }
        }
        let mut of_node: BTreeMap<String, usize> = BTreeMap::new();
        for router in &routers {
            let address = router.spec.addresses.first().map(|a| a.address.as_str());
            let holders = address.and_then(|address| held.get(address));
            let holders = holders.map(Vec::as_slice).unwrap_or_default();
            match (holders, scene::active(router)) {
                ([one], Some(active)) if *one == active => {
                    *of_node.entry(active.to_owned()).or_insert(0) += 1;
                }
                (holders, active) => {
                    return Ok(Seen::NotYet(format!(
                        "{address:?}: {holders:?}, {active:?}"
                    )));
                }
            }
        }
        Ok(Seen::Yes(of_node))
    })?;
    ensure!(
        of_node.len() == nodes.len(),
        "not on all nodes: {of_node:?}"
    );
    Ok(())
}

fn an_operator_with_a_thousand_routers_stays_within_100_mib() -> Result<()> {
    const SEGMENTS: u8 = 5;
    const ON_EACH: u8 = 200;
    const LIMIT_KIB: u64 = 100 * 1024;
    scene::need()?;
    let nodes = ["a", "b", "c", "d", "e"];
    let mut cluster = Cluster::install(&nodes)?;
    cluster.start_operator()?;
    report_segments(&cluster, nodes.len(), SEGMENTS)?;
    for segment in 0..SEGMENTS {
        for number in 0..ON_EACH {
            let name = format!("router-{segment}-{number}");
            let address = IpAddr::from([10, segment, 1, number]);
            let object = scene::router(&name, address, &json!({}));
            cluster.api.apply(&scene::path(&name), &object)?;
        }
    }
    let count = usize::from(SEGMENTS) * usize::from(ON_EACH);
    let all = |configs: &[NodeConfig]| {
        let of_routers = configs.iter().filter(|c| c.spec.router.is_some());
        of_routers.count() == count * nodes.len()
    };
    cluster
        .api
        .await_list(CONFIGS, "five for each router", CONVERGED, all)?;
    let operator = cluster.operators.first().context("no operator")?;
    let resident = operator.resident_kib()?;
    ensure!(resident <= LIMIT_KIB, "{resident} KiB are resident");
    Ok(())
}

/// What agents would report of nodes with an interface in each of several subnets: a subnet has 255 VRIDs.
fn report_segments(cluster: &Cluster, nodes: usize, segments: u8) -> Result<()> {
    let is_node = |config: &&NodeConfig| config.spec.router.is_none();
    let configs = cluster.api.await_list(
        CONFIGS,
        "one for each node",
        SOON,
        |all: &[NodeConfig]| all.iter().filter(is_node).count() == nodes,
    )?;
    for (number, config) in (1..).zip(configs.iter().filter(is_node)) {
        let interfaces: Vec<_> = (0..segments)
            .map(|segment| {
                let prefix = format!("10.{segment}.0.{number}/16");
                json!({"name": format!("eth{segment}"), "prefixes": [prefix], "mtu": 1500})
            })
            .collect();
        let name = config.metadata.name.as_deref().unwrap_or_default();
        let status = json!({"status": {"inventory": {"interfaces": interfaces}}});
        cluster
            .api
            .merge(&format!("{CONFIGS}/{name}/status"), &status)?;
    }
    Ok(())
}
