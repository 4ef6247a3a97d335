//! Agents among themselves: who holds the addresses when nodes start, die, hang, leave and return.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use vipkeeper_e2e::capture::longest_gap;
use vipkeeper_e2e::manifest::{Preemption, Router, Transport};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Moment, tests};

use crate::machine::SLACK;
use crate::scene::{SOON, Scene, VIP4, VIP6};

tests! {
    alone the_higher_priority_becomes_active_and_answers,
    alone the_death_of_the_active_moves_its_addresses_within_the_bound,
    alone the_death_of_the_active_moves_its_addresses_with_unicast_too,
    alone of_three_the_next_in_priority_follows_each_death,
    alone an_agent_stopped_with_its_guardian_loses_the_election_and_listens_when_it_continues,
    alone a_node_without_carrier_leaves_and_comes_back,
    alone a_planned_stop_hands_over_after_the_skew_time,
    alone a_return_follows_the_preemption_mode,
    alone after_a_partition_one_active_remains_the_higher_address_breaking_the_tie,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];

fn both_families(priorities: &[(&str, u8)]) -> [Router; 2] {
    [
        Router::new("web4", 51, &[VIP4], priorities),
        Router::new("web6", 51, &[VIP6], priorities),
    ]
}

fn the_higher_priority_becomes_active_and_answers() -> Result<()> {
    let routers = both_families(AB);
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    for address in [VIP4, VIP6] {
        scene.lab.meter(address)?.await_answers(SOON)?;
    }
    let sources: [IpAddr; 2] = {
        let a = scene.lab.node("a")?;
        [a.ipv4(0).into(), a.link_local(0).into()]
    };
    for (router, source) in routers.iter().zip(sources) {
        let active = scene.agent("a")?.router(&router.name)?;
        ensure!(active.virtual_router_id == 51, "{active:?}");
        ensure!(active.interface.as_deref() == Some("eth0"), "{active:?}");
        ensure!((active.priority, active.effective_priority) == (110, 110));
        ensure!(active.addresses == router.addresses, "{active:?}");
        // b may have been up a little earlier.
        let reasons = ["NoResponse", "Preempted"];
        ensure!(reasons.contains(&active.last_reason.as_str()), "{active:?}");
        let backup = scene.agent("b")?.router(&router.name)?;
        let heard = backup.last_advertisement.context("b heard nothing")?;
        ensure!(heard.from == source && heard.priority == 110, "{heard:?}");
        ensure!(
            heard.age_ms < 200.0 + SLACK.as_secs_f64() * 1e3,
            "{heard:?}"
        );
    }
    Ok(())
}

fn the_death_of_the_active_moves_its_addresses_within_the_bound() -> Result<()> {
    dies_and_returns(&both_families(AB))
}

fn the_death_of_the_active_moves_its_addresses_with_unicast_too() -> Result<()> {
    let mut routers = both_families(AB);
    for router in &mut routers {
        let extra_peers = Vec::new();
        router.transport = Transport::Unicast { extra_peers };
    }
    dies_and_returns(&routers)
}

/// Node a dies and returns; the addresses move to b and back, each time within the protocol's bound.
fn dies_and_returns(routers: &[Router; 2]) -> Result<()> {
    let mut scene = Scene::start(&["a", "b"], 1, routers)?;
    for router in routers {
        scene.await_active(router, "a")?;
    }
    let meters = [scene.lab.meter(VIP4)?, scene.lab.meter(VIP6)?];
    for meter in &meters {
        meter.await_answers(SOON)?;
    }

    let died = scene.power_off("a")?;
    for (router, meter) in routers.iter().zip(&meters) {
        let bound = router.active_down_interval(100);
        scene.taken_over(router, ("a", "b"), died, bound)?;
        let announced = scene
            .capture
            .await_announcement(router.addresses[0], died, SOON)?;
        ensure!(announced.source_mac == scene.lab.node("b")?.mac(0));
        scene.await_active(router, "b")?;
        meter.await_answers(SOON)?;
        let gaps = meter.gaps(died);
        ensure!(gaps.longest() <= bound + SLACK, "{}: {gaps}", router.name);
    }

    let returned = scene.power_on("a")?;
    for (router, meter) in routers.iter().zip(&meters) {
        scene.await_active(router, "a")?;
        meter.await_answers(SOON)?;
        let gaps = meter.gaps(returned);
        // The old Active answers until it hears the new one.
        ensure!(gaps.longest() <= SLACK, "{}: {gaps}", router.name);
        let state = scene.agent("a")?.router(&router.name)?;
        ensure!(state.last_reason == "Preempted", "{state:?}");
        let state = scene.agent("b")?.router(&router.name)?;
        ensure!(state.last_reason == "HigherPriority", "{state:?}");
    }
    Ok(())
}

fn of_three_the_next_in_priority_follows_each_death() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], &[("a", 120), ("b", 110), ("c", 100)]);
    let mut scene = Scene::start(&["a", "b", "c"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;

    let died = scene.power_off("a")?;
    scene.taken_over(&router, ("a", "b"), died, router.active_down_interval(110))?;
    scene.await_active(&router, "b")?;
    let by_c = scene
        .capture
        .from_sender(51, scene.lab.node("c")?.mac(0), died);
    ensure!(by_c.is_empty(), "{by_c:?}");

    let died = scene.power_off("b")?;
    scene.taken_over(&router, ("b", "c"), died, router.active_down_interval(100))?;
    scene.await_active(&router, "c")
}

fn an_agent_stopped_with_its_guardian_loses_the_election_and_listens_when_it_continues()
-> Result<()> {
    let always = Router::new("always", 51, &[VIP4], AB);
    let never = Router {
        preemption: Preemption::Never,
        ..Router::new("never", 52, &[IpAddr::from([192, 0, 2, 101])], AB)
    };
    let routers = [always, never];
    let mut scene = Scene::start_in_turn(&["a", "b"], &routers)?;
    let [always, never] = &routers;
    for router in &routers {
        scene.await_active(router, "a")?;
    }

    let stopped = Moment::now();
    scene.agent("a")?.process().signal_all(Signal::SIGSTOP)?;
    let bound = always.active_down_interval(100);
    for router in &routers {
        scene.taken_over(router, ("a", "b"), stopped, bound)?;
        scene
            .agent("b")?
            .await_state(&router.name, "Active", SOON)?;
        let b = scene.lab.node("b")?.mac(0);
        wait::until("b well established", SOON, || {
            let sent = scene.capture.from_sender(router.vrid, b, stopped).len();
            Ok(Seen::when(sent, |sent| *sent >= 4).map(|_| ()))
        })?;
    }

    let continued = Moment::now();
    scene.agent("a")?.process().signal_all(Signal::SIGCONT)?;
    scene.await_active(always, "a")?;
    scene.await_active(never, "b")?;
    let a = scene.lab.node("a")?.mac(0);
    let by_a = scene.capture.from_sender(never.vrid, a, continued);
    ensure!(by_a.is_empty(), "it spoke before it listened: {by_a:?}");
    let by_a = scene.capture.from_sender(always.vrid, a, continued);
    let first = by_a
        .first()
        .context("a never returned")?
        .at
        .since(continued);
    ensure!(first >= always.interval, "it spoke after {first:?}");
    Ok(())
}

fn a_node_without_carrier_leaves_and_comes_back() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], AB);
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;

    let unplugged = Moment::now();
    scene.lab.node("a")?.unplug(0)?;
    let bound = router.active_down_interval(100);
    scene.taken_over(&router, ("a", "b"), unplugged, bound)?;
    let left = scene.agent("a")?.await_state("web", "Initialize", SOON)?;
    ensure!(left.last_reason == "InterfaceDown", "{left:?}");
    scene.await_holders(VIP4, &["b"], SOON)?;

    let plugged = Moment::now();
    scene.lab.node("a")?.plug(0)?;
    scene.await_active(&router, "a")?;
    let took = plugged.elapsed();
    let bound = router.active_down_interval(110) + Duration::from_secs(1) + SLACK;
    ensure!(took <= bound, "{took:?}");
    Ok(())
}

fn a_planned_stop_hands_over_after_the_skew_time() -> Result<()> {
    let routers = both_families(AB);
    let mut scene = Scene::start(&["a", "b"], 1, &[])?;
    let before = scene.lab.node("a")?.addresses()?;
    let manifests = crate::scene::manifests(&scene.lab, &routers);
    for agent in &scene.agents {
        agent.edit(&manifests)?;
    }
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let meter = scene.lab.meter(VIP4)?;
    meter.await_answers(SOON)?;

    let stopped = Moment::now();
    let mut agent = scene.agents.remove(0);
    let status = agent.process_mut().stop(SOON)?;
    ensure!(status.code() == Some(0), "{status}");
    ensure!(
        scene.lab.node("a")?.addresses()? == before,
        "something is left"
    );
    for router in &routers {
        scene.taken_over(router, ("a", "b"), stopped, router.skew_time(100))?;
        scene.await_active(router, "b")?;
    }
    let by_a = scene
        .capture
        .from_sender(51, scene.lab.node("a")?.mac(0), stopped);
    for ipv4 in [true, false] {
        let mut of_family = by_a.iter().map(|sent| &sent.advertisement);
        let last = of_family.rfind(|sent| sent.source.is_ipv4() == ipv4);
        ensure!(last.is_some_and(|last| last.priority == 0), "{by_a:?}");
    }
    meter.await_answers(SOON)?;
    let gaps = meter.gaps(stopped);
    ensure!(
        gaps.longest() <= routers[0].skew_time(100) + SLACK,
        "{gaps}"
    );
    let state = scene.agent("b")?.router("web4")?;
    ensure!(state.last_reason == "Released", "{state:?}");
    Ok(())
}

fn a_return_follows_the_preemption_mode() -> Result<()> {
    let delay = Duration::from_secs(1);
    let mode = |name, vrid, last, preemption| Router {
        preemption,
        ..Router::new(name, vrid, &[IpAddr::from([192, 0, 2, last])], AB)
    };
    let routers = [
        mode("always", 51, 101, Preemption::Always),
        mode("never", 52, 102, Preemption::Never),
        mode("delayed", 53, 103, Preemption::Delayed(delay)),
    ];
    let [always, never, delayed] = &routers;
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    scene.agents.remove(0).process_mut().stop(SOON)?;
    for router in &routers {
        scene.await_active(router, "b")?;
    }

    let returned = scene.power_on("a")?;
    let a = scene.lab.node("a")?.clone();
    let by_always = scene.await_sent(always.vrid, &a, returned, SOON)?;
    let by_delayed = scene.await_sent(delayed.vrid, &a, returned, SOON)?;
    // Both begin with the same start: the one waits for three intervals and skew, the other for its delay after
    // the first advertisement it hears.
    let apart = by_delayed.at.since(by_always.at);
    let bound = always.active_down_interval(110);
    let least = delay.saturating_sub(bound);
    ensure!(apart + SLACK >= least, "{apart:?}");
    ensure!(apart <= delay + delayed.interval + SLACK, "{apart:?}");
    scene.await_active(always, "a")?;
    scene.await_active(delayed, "a")?;
    scene.await_active(never, "b")?;
    let by_a = scene.capture.from_sender(never.vrid, a.mac(0), returned);
    ensure!(by_a.is_empty(), "{by_a:?}");
    Ok(())
}

fn after_a_partition_one_active_remains_the_higher_address_breaking_the_tie() -> Result<()> {
    let tie = [("a", 100), ("b", 100)];
    let routers = [
        Router::new("tie4", 51, &[VIP4], &tie),
        Router::new("tie6", 51, &[VIP6], &tie),
        Router::new("priority", 52, &[IpAddr::from([192, 0, 2, 101])], AB),
    ];
    let winners = ["b", "b", "a"];
    let mut scene = Scene::start(&["a", "b"], 1, &[])?;
    for node in ["a", "b"] {
        scene.lab.node(node)?.isolate(0, true)?;
    }
    let manifests = crate::scene::manifests(&scene.lab, &routers);
    for agent in &mut scene.agents {
        agent.edit(&manifests)?;
        for router in &routers {
            agent.await_state(&router.name, "Active", SOON)?;
        }
    }
    for node in ["a", "b"] {
        scene.lab.node(node)?.isolate(0, false)?;
    }
    let healed = Moment::now();
    for (router, winner) in routers.iter().zip(winners) {
        scene.await_active(router, winner)?;
        let winner = scene.lab.node(winner)?.mac(0);
        // What the loser had announced last is corrected.
        wait::until("the winner's announcement is the last", SOON, || {
            let sent = scene.capture.announcements(router.addresses[0], healed);
            let last = sent.last().map(|frame| frame.source_mac);
            Ok(Seen::when(last, |last| *last == Some(winner)).map(|_| ()))
        })?;
    }
    for (vrid, loser) in [(51, "a"), (52, "b")] {
        let loser = scene.lab.node(loser)?.mac(0);
        let sent = scene.capture.from_sender(vrid, loser, healed);
        let last = sent.last().map(|s| s.at.since(healed)).unwrap_or_default();
        ensure!(last <= routers[0].interval + SLACK, "{last:?}");
    }
    let state = scene.agent("a")?.router("tie4")?;
    ensure!(state.last_reason == "HigherAddress", "{state:?}");
    let state = scene.agent("b")?.router("priority")?;
    ensure!(state.last_reason == "HigherPriority", "{state:?}");
    let b = scene.lab.node("b")?.mac(0);
    let quiet = Duration::from_millis(500);
    wait::while_holds("b alone advertises", quiet, || {
        let sent = scene.capture.from_sender(51, b, healed);
        Ok(Seen::when(longest_gap(&sent), |gap| {
            *gap < routers[0].interval * 2 + SLACK
        })
        .map(|_| ()))
    })
}
