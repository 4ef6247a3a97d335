//! Many routers on several nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_crds::VirtualRouter;
use vipkeeper_crds::conditions::ConditionType;
use vipkeeper_e2e::cluster::api::ROUTERS;

use crate::scene::{self};

vipkeeper_e2e::tests! {
    alone two_hundred_routers_on_five_nodes_converge_each_with_one_holder,
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
    let routers = cluster
        .api
        .await_list(ROUTERS, "all Ready", CONVERGED, ready)?;

    let mut held: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    for node in cluster.lab.nodes() {
        for found in node.addresses()? {
            held.entry(found.address).or_default().push(node.name());
        }
    }
    let mut of_node: BTreeMap<&str, usize> = BTreeMap::new();
    for router in &routers {
        let name = router.metadata.name.as_deref().unwrap_or_default();
        let address: IpAddr = router
            .spec
            .addresses
            .first()
            .map(|a| a.address.to_string())
            .unwrap_or_default()
            .parse()?;
        let holders = held.get(&address).map(Vec::as_slice).unwrap_or_default();
        ensure!(holders.len() == 1, "{name}: {address} is on {holders:?}");
        ensure!(
            scene::active(router) == holders.first().copied(),
            "{name}: {holders:?}, {router:?}"
        );
        *of_node.entry(holders[0]).or_insert(0) += 1;
    }
    // Balanced: 40 each, if placement alone decided; who started first may hold what it has.
    ensure!(
        of_node.len() == nodes.len(),
        "not on all nodes: {of_node:?}"
    );
    Ok(())
}
