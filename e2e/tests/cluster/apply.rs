//! Objects of a user come, change and go.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_crds::conditions::{ConditionStatus, ConditionType};
use vipkeeper_crds::{NodeConfig, VirtualRouter};
use vipkeeper_e2e::Moment;
use vipkeeper_e2e::cluster::api::CONFIGS;

use crate::scene::{self, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    alone an_applied_router_answers_on_three_nodes_within_two_seconds_of_the_protocols_start,
    beside an_edit_moves_the_address_to_its_new_value_and_a_deletion_leaves_nothing,
    beside three_broken_routers_among_good_ones_are_told_apart,
}

fn an_applied_router_answers_on_three_nodes_within_two_seconds_of_the_protocols_start() -> Result<()>
{
    let cluster = scene::cluster(&["a", "b", "c"])?;
    let meter = cluster.lab.meter(VIP)?;
    let manifest = scene::router("web", VIP, &json!({})).to_string();
    // A server that has just started makes its descriptions of objects when it is first asked for them, and so does kubectl.
    cluster.kubectl(&["apply", "--dry-run=server", "-f", "-"], Some(&manifest))?;
    let begun = Moment::now();
    cluster.kubectl(&["apply", "-f", "-"], Some(&manifest))?;
    let applied = begun.elapsed();
    meter.await_answers(SOON)?;
    let took = begun.elapsed();
    // Three intervals of silence and less than one of skew, then the meter's 20 answers in a row.
    let protocol = Duration::from_millis(400 + 20);
    ensure!(
        took <= protocol + Duration::from_secs(2),
        "it answered after {took:?}, of which kubectl took {applied:?}"
    );
    let ready = cluster.await_active("web", |_| true)?;
    let holder = cluster.await_holder(VIP, |node| scene::active(&ready) == Some(node))?;
    let table = cluster.kubectl(&["get", "virtualrouters"], None)?;
    ensure!(
        table.contains(&holder) && table.contains("3/3"),
        "kubectl does not show who is Active, {holder}:\n{table}"
    );
    Ok(())
}

fn an_edit_moves_the_address_to_its_new_value_and_a_deletion_leaves_nothing() -> Result<()> {
    let cluster = scene::cluster(&["a", "b"])?;
    let holder = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    cluster.await_holder(VIP, |node| node == holder)?;

    let other = IpAddr::from([192, 0, 2, 101]);
    let edited = scene::router("web", other, &json!({}));
    cluster.api.apply(&scene::path("web"), &edited)?;
    cluster.await_holder(other, |node| node == holder)?;
    cluster.await_holders(VIP, &[])?;

    cluster.kubectl(&["delete", "virtualrouter", "web"], None)?;
    cluster.await_holders(other, &[])?;
    let none = |all: &[NodeConfig]| all.iter().all(|config| config.spec.router.is_none());
    cluster
        .api
        .await_list(CONFIGS, "none of a router", SOON, none)?;
    Ok(())
}

fn three_broken_routers_among_good_ones_are_told_apart() -> Result<()> {
    let cluster = scene::cluster(&["a", "b"])?;
    let address = |last| IpAddr::from([192, 0, 2, last]);
    cluster.serve(&scene::router("good", VIP, &json!({})))?;
    let nowhere = json!({"nodes": {"selectors": [{"matchLabels": {"rack": "none"}}]}});
    let broken = [
        ("nowhere", scene::router("nowhere", address(111), &nowhere)),
        ("twice", scene::router("twice", VIP, &json!({}))),
        (
            "old",
            scene::router(
                "old",
                "2001:db8::111".parse()?,
                &json!({"version": 2, "advertisementInterval": "1s"}),
            ),
        ),
    ];
    for (name, router) in &broken {
        cluster.api.try_apply(&scene::path(name), router)?.ok();
    }
    cluster.serve(&scene::router("late", address(112), &json!({})))?;
    for (name, _) in &broken {
        let Some(router) = cluster.api.find::<VirtualRouter>(&scene::path(name))? else {
            // The API server itself refused it.
            continue;
        };
        ensure!(
            !scene::is(&router, ConditionType::Ready),
            "{name} is ready: {router:?}"
        );
        let refused = |router: &VirtualRouter| {
            scene::condition(router, ConditionType::Accepted)
                .is_some_and(|c| c.status == ConditionStatus::False && !c.message.is_empty())
        };
        cluster
            .api
            .await_object(&scene::path(name), "refused with a reason", SOON, refused)?;
    }
    cluster.await_active("good", |_| true)?;
    cluster.await_holder(VIP, |_| true)?;
    cluster.await_holder(address(112), |_| true)?;
    cluster.await_holders(address(111), &[])?;
    Ok(())
}
