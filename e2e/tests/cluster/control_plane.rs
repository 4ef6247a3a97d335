//! Nothing in the data path waits for Kubernetes: the API server and etcd go, hang, come back, and go back in time.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_crds::VirtualRouter;
use vipkeeper_e2e::cluster::Cluster;
use vipkeeper_e2e::wait::{self, Seen};

use crate::scene::{self, BOUND, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    alone a_failover_while_the_api_server_hangs_for_a_minute_is_shown_when_it_answers_again,
    beside agents_that_start_without_the_api_server_serve_what_they_knew,
    beside an_etcd_that_restarts_moves_nothing_and_edits_go_on,
    beside an_etcd_that_goes_back_in_time_moves_nothing_and_edits_go_on,
}

fn a_failover_while_the_api_server_hangs_for_a_minute_is_shown_when_it_answers_again() -> Result<()>
{
    let mut cluster = scene::cluster(&["a", "b", "c"])?;
    let first = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let meter = cluster.lab.meter(VIP)?;
    meter.await_answers(SOON)?;

    cluster.plane.pause_server()?;
    let mut agent = cluster.take_agent(&first)?;
    let node = cluster.lab.node(&first)?.clone();
    let begun = cluster.lab.power_off(&node, &mut [agent.process_mut()])?;
    meter.await_answers(SOON)?;
    let gaps = meter.stop(begun);
    ensure!(gaps.longest() <= BOUND, "{gaps}");
    let mut held = cluster.holders(VIP)?;
    held.retain(|node| *node != first);
    ensure!(held.len() == 1, "it is on {held:?}");

    // Longer than every patience: the operator's Lease, its watches and those of the agents.
    let away = Duration::from_secs(60);
    wait::while_holds("the new holder stays", away, || {
        let mut now = cluster.holders(VIP)?;
        now.retain(|node| *node != first);
        Ok(Seen::when(now, |now| *now == held).map(|_| ()))
    })?;
    cluster.plane.resume_server()?;
    let within = Duration::from_secs(30);
    let shown = |router: &VirtualRouter| scene::active(router) == held.first().map(String::as_str);
    cluster
        .api
        .await_object(&scene::path("web"), "the new Active", within, shown)?;
    Ok(())
}

fn agents_that_start_without_the_api_server_serve_what_they_knew() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b"])?;
    cluster.serve(&scene::router("web", VIP, &json!({})))?;
    cluster.plane.kill_server()?;
    for mut agent in std::mem::take(&mut cluster.agents) {
        agent.process_mut().stop(SOON)?;
        cluster.agents.push(agent);
    }
    cluster.await_holders(VIP, &[])?;
    let begun = std::mem::take(&mut cluster.agents);
    for before in &begun {
        cluster.agents.push(before.again()?);
    }
    cluster.await_holder(VIP, |_| true)?;
    cluster.lab.meter(VIP)?.await_answers(SOON)?;

    let Cluster { plane, api, .. } = &mut cluster;
    plane.restart_server(api)?;
    // Not before: both began at once, and for some milliseconds the one that gives way may have held the address.
    let holder = cluster.await_holder(VIP, |_| true)?;
    cluster.await_active("web", |node| node == holder)?;
    let other = IpAddr::from([192, 0, 2, 101]);
    cluster.serve(&scene::router("late", other, &json!({})))?;
    cluster.await_holder(other, |_| true)?;
    Ok(())
}

fn an_etcd_that_restarts_moves_nothing_and_edits_go_on() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b"])?;
    cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let before = cluster.transitions("web")?;
    let Cluster { plane, api, .. } = &mut cluster;
    plane.restart_etcd(api)?;
    let other = IpAddr::from([192, 0, 2, 101]);
    cluster.serve(&scene::router("late", other, &json!({})))?;
    cluster.await_holder(other, |_| true)?;
    ensure!(cluster.transitions("web")? == before, "web moved");
    cluster.await_active("web", |_| true)?;
    Ok(())
}

fn an_etcd_that_goes_back_in_time_moves_nothing_and_edits_go_on() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b"])?;
    let holder = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let (late, later) = (
        IpAddr::from([192, 0, 2, 101]),
        IpAddr::from([192, 0, 2, 102]),
    );
    let Cluster { plane, api, .. } = &mut cluster;
    plane.take_snapshot(api)?;
    // What happens now will never have been.
    cluster.serve(&scene::router("late", late, &json!({})))?;
    for number in 0..20 {
        let label = json!({"metadata": {"labels": {"number": number.to_string()}}});
        cluster.api.merge(&scene::path("late"), &label)?;
    }
    let before = cluster.transitions("web")?;
    let Cluster { plane, api, .. } = &mut cluster;
    plane.restore_snapshot(api)?;

    cluster.await_active("web", |node| node == holder)?;
    let away = Duration::from_secs(5);
    wait::while_holds("web stays where it is", away, || {
        Ok(Seen::when(cluster.holders(VIP)?, |held| *held == [holder.as_str()]).map(|_| ()))
    })?;
    ensure!(cluster.transitions("web")? == before, "web moved");
    cluster.serve(&scene::router("later", later, &json!({})))?;
    cluster.await_holder(later, |_| true)?;
    cluster.await_active("web", |node| node == holder)?;
    cluster.await_holders(VIP, &[&holder])?;
    // The API server does not know it any more, and nobody keeps what nobody knows.
    cluster.await_holders(late, &[])
}
