//! What dies: a node, an agent, an operator.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use vipkeeper_crds::conditions::ConditionType;
use vipkeeper_crds::status::ElectionState;
use vipkeeper_e2e::Moment;
use vipkeeper_e2e::cluster::Observer;
use vipkeeper_e2e::wait::{self, Seen};

use crate::scene::{self, BOUND, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    alone a_dead_node_is_followed_by_one_active_and_never_shown_as_split_brain,
    alone an_agent_that_is_killed_is_followed_within_the_bound_and_comes_back_as_backup,
    beside the_second_operator_goes_on_when_the_first_is_killed,
}

fn a_dead_node_is_followed_by_one_active_and_never_shown_as_split_brain() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b", "c"])?;
    let dead = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let meter = cluster.lab.meter(VIP)?;
    meter.await_answers(SOON)?;
    let observer = Observer::start(&cluster.api)?;
    wait::until("the observer's first look", SOON, || {
        Ok(Seen::when(observer.seen().len(), |seen| *seen > 0).map(|_| ()))
    })?;

    let mut agent = cluster.take_agent(&dead)?;
    let node = cluster.lab.node(&dead)?.clone();
    let begun = cluster.lab.power_off(&node, &mut [agent.process_mut()])?;
    meter.await_answers(SOON)?;
    let gaps = meter.stop(begun);
    ensure!(gaps.longest() <= BOUND, "{gaps}");
    let after = cluster.await_active("web", |node| node != dead)?;

    // The dead node's last word is that it is Active. It confirms that no more, within five seconds.
    let dropped = |router: &vipkeeper_crds::VirtualRouter| {
        let nodes = router.status.iter().flat_map(|status| &status.nodes);
        nodes.filter(|n| n.state == ElectionState::Active).count() == 1
    };
    cluster
        .api
        .await_object(&scene::path("web"), "one that says Active", SOON, dropped)?;
    let settled = cluster.await_active("web", |node| node != dead)?;
    ensure!(
        scene::active(&settled) == scene::active(&after),
        "{settled:?}"
    );
    for router in observer.seen() {
        ensure!(!scene::is(&router, ConditionType::SplitBrain), "{router:?}");
        let status = router.status.unwrap_or_default();
        ensure!(
            !status.active_summary.contains(','),
            "two are shown: {status:?}"
        );
    }
    Ok(())
}

fn an_agent_that_is_killed_is_followed_within_the_bound_and_comes_back_as_backup() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b"])?;
    // Whoever comes back does not take the address again: one move is enough to look at.
    let never = json!({"preemption": {"mode": "Never"}});
    let first = cluster.serve(&scene::router("web", VIP, &never))?;
    let meter = cluster.lab.meter(VIP)?;
    meter.await_answers(SOON)?;

    let mut agent = cluster.take_agent(&first)?;
    let begun = Moment::now();
    kill(agent.agent_id()?, Signal::SIGKILL)?;
    meter.await_answers(SOON)?;
    let gaps = meter.stop(begun);
    ensure!(gaps.longest() <= BOUND, "{gaps}");
    let second = cluster.await_holder(VIP, |node| node != first)?;
    cluster.await_active("web", |node| node == second)?;

    agent.process_mut().ended(SOON)?;
    let mut again = agent.again()?;
    again.await_state("web", "Backup", SOON)?;
    cluster.agents.push(again);
    cluster.await_active("web", |node| node == second)?;
    cluster.await_holders(VIP, &[&second])
}

fn the_second_operator_goes_on_when_the_first_is_killed() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b"])?;
    cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let second = cluster.start_operator()?.name().to_owned();
    let mut first = cluster.operators.remove(0);
    first.process.kill()?;

    let lease =
        "/apis/coordination.k8s.io/v1/namespaces/vipkeeper-system/leases/vipkeeper-operator";
    let holder = |lease: &serde_json::Value| lease["spec"]["holderIdentity"] == second.as_str();
    // The Lease of a dead holder lasts 15 s.
    let within = Duration::from_secs(15) + SOON;
    cluster
        .api
        .await_object(lease, "the second operator's", within, holder)?;
    let other = "192.0.2.101".parse()?;
    cluster.serve(&scene::router("late", other, &json!({})))?;
    cluster.await_holder(other, |_| true)?;
    cluster.await_active("web", |_| true)?;
    Ok(())
}
