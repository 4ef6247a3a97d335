//! The life of nodes: drained, cordoned, not heard of, deleted.

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_e2e::cluster::api::NODES;
use vipkeeper_e2e::{Cluster, Moment};

use crate::scene::{self, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    alone a_drained_node_gives_its_addresses_away_without_a_lost_packet,
    alone a_drained_node_gives_way_to_those_that_do_not_preempt,
    alone a_cordoned_node_gives_its_addresses_away_without_a_lost_packet,
    beside neither_a_cordon_of_all_nodes_nor_the_silence_of_most_takes_an_address_away,
    beside a_deleted_node_is_no_candidate_any_more,
}

fn a_drained_node_gives_its_addresses_away_without_a_lost_packet() -> Result<()> {
    let annotation = json!({"metadata": {"annotations": {"vipkeeper.io/drain": "true"}}});
    moves_without_loss(&annotation, &json!({}))
}

fn a_drained_node_gives_way_to_those_that_do_not_preempt() -> Result<()> {
    let annotation = json!({"metadata": {"annotations": {"vipkeeper.io/drain": "true"}}});
    moves_without_loss(&annotation, &json!({"preemption": {"mode": "Never"}}))
}

fn a_cordoned_node_gives_its_addresses_away_without_a_lost_packet() -> Result<()> {
    moves_without_loss(&json!({"spec": {"unschedulable": true}}), &json!({}))
}

/// What `patch` makes of the Active node moves the address of a router that says `more`, and loses nothing.
fn moves_without_loss(patch: &serde_json::Value, more: &serde_json::Value) -> Result<()> {
    let cluster = scene::cluster(&["a", "b", "c"])?;
    let first = cluster.serve(&scene::router("web", VIP, more))?;
    let meter = cluster.lab.meter(VIP)?;
    meter.await_answers(SOON)?;
    let begun = Moment::now();
    cluster.api.merge(&format!("{NODES}/{first}"), patch)?;
    let next = cluster.await_active("web", |node| node != first)?;
    let next = scene::active(&next).unwrap_or_default().to_owned();
    // Until the old holder has served the linger out.
    cluster.await_holders(VIP, &[&next])?;
    let gaps = meter.stop(begun);
    ensure!(gaps.lost == 0 && gaps.sent > 0, "{gaps}");
    Ok(())
}

fn neither_a_cordon_of_all_nodes_nor_the_silence_of_most_takes_an_address_away() -> Result<()> {
    let cluster = scene::cluster(&["a", "b", "c"])?;
    let holder = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let before = cluster.transitions("web")?;
    for node in ["a", "b", "c"].into_iter().filter(|node| *node != holder) {
        cluster.set_ready(node, false)?;
    }
    cluster.set_ready(&holder, false)?;
    still_works(&cluster, "after-silence", [192, 0, 2, 101])?;
    ensure!(cluster.transitions("web")? == before, "web moved");

    for node in ["a", "b", "c"] {
        cluster.set_ready(node, true)?;
        let cordon = json!({"spec": {"unschedulable": true}});
        cluster.api.merge(&format!("{NODES}/{node}"), &cordon)?;
    }
    still_works(&cluster, "after-cordon", [192, 0, 2, 102])?;
    cluster.await_active("web", |_| true)?;
    cluster.await_holder(VIP, |_| true)?;
    Ok(())
}

fn still_works(cluster: &Cluster, name: &str, address: [u8; 4]) -> Result<()> {
    cluster.serve(&scene::router(name, address.into(), &json!({})))?;
    cluster.await_holder(address.into(), |_| true)?;
    Ok(())
}

fn a_deleted_node_is_no_candidate_any_more() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b"])?;
    let first = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    // Its machine is gone with it.
    let mut agent = cluster.take_agent(&first)?;
    let node = cluster.lab.node(&first)?.clone();
    cluster.lab.power_off(&node, &mut [agent.process_mut()])?;
    cluster.api.delete(&format!("{NODES}/{first}"))?;
    let alone = |router: &vipkeeper_crds::VirtualRouter| {
        let nodes = router.status.as_ref().map(|status| status.nodes.as_slice());
        nodes.is_some_and(|nodes| nodes.len() == 1 && nodes.iter().all(|node| node.name != first))
    };
    cluster
        .api
        .await_object(&scene::path("web"), "one candidate", SOON, alone)?;
    cluster.await_active("web", |node| node != first)?;
    Ok(())
}
