//! What happens under a running agent: interfaces that go, come back and change their name, addresses that somebody
//! takes away or puts in the way, and events that come too fast.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use vipkeeper_e2e::capture::longest_gap;
use vipkeeper_e2e::hang::Hang;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Moment, Node, tests};

use crate::machine::SLACK;
use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};

tests! {
    beside an_interface_that_is_deleted_and_made_again_serves_again_by_new_sockets,
    alone a_renamed_interface_is_followed_by_subnet_and_left_by_name,
    beside without_its_primary_address_a_node_leaves_and_with_another_it_stays,
    beside an_address_that_somebody_removes_is_put_back_and_announced_once_a_second_at_most,
    beside after_lost_events_everything_is_listed_anew_and_compared,
    beside another_ethernet_address_or_mtu_or_a_new_carrier_is_announced,
    alone an_address_of_the_host_is_a_conflict_for_which_nobody_contends,
    beside one_address_of_the_host_among_several_is_done_without,
    beside a_node_whose_kernel_never_answers_leaves_and_comes_back,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];

fn pair() -> [Router; 2] {
    [
        Router::new("web4", 51, &[VIP4], AB),
        Router::new("web6", 52, &[VIP6], AB),
    ]
}

fn an_interface_that_is_deleted_and_made_again_serves_again_by_new_sockets() -> Result<()> {
    let routers = pair();
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let a = scene.lab.node("a")?.clone();
    a.delete_interface(0)?;
    for router in &routers {
        scene
            .agent("b")?
            .await_state(&router.name, "Active", SOON)?;
        let what = "out, for want of an interface";
        scene
            .agent("a")?
            .await_router(&router.name, what, SOON, |r| {
                r.state == "Initialize" && r.last_reason == "InterfaceMissing"
            })?;
    }
    a.make_interface(0)?;
    for router in &routers {
        scene.await_active(router, "a")?;
        let state = scene.agent("a")?.router(&router.name)?;
        // It heard b, so it receives by sockets of the new interface.
        ensure!(state.last_reason == "Preempted", "{state:?}");
        scene.lab.meter(router.addresses[0])?.await_answers(SOON)?;
    }
    Ok(())
}

fn a_renamed_interface_is_followed_by_subnet_and_left_by_name() -> Result<()> {
    let subnet = Router::new("subnet", 51, &[VIP4], AB);
    let named = Router {
        interface: Some("eth0".to_owned()),
        ..Router::new("named", 52, &[IpAddr::from([192, 0, 2, 101])], AB)
    };
    let routers = [subnet, named];
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    let [subnet, named] = &routers;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let a = scene.lab.node("a")?.clone();
    let before = scene.agent("a")?.router("subnet")?;
    let renamed = Moment::now();
    a.namespace().ip("link set eth0 name lan0\n")?;
    scene.taken_over(named, ("a", "b"), renamed, named.skew_time(100))?;
    let state = scene.agent("a")?.await_state("named", "Initialize", SOON)?;
    ensure!(
        ["InterfaceMissing", "Reconfigured"].contains(&state.last_reason.as_str()),
        "{state:?}"
    );
    scene.await_holders(named.addresses[0], &["b"], SOON)?;
    let by_a = scene.capture.from_sender(52, a.mac(0), renamed);
    let last = by_a.last().context("no farewell")?;
    ensure!(last.advertisement.priority == 0, "{last:?}");

    let what = "the interface under its new name";
    let after = scene.agent("a")?.await_router("subnet", what, SOON, |r| {
        r.interface.as_deref() == Some("lan0")
    })?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    a.namespace().ip("link set lan0 name eth0\n")?;
    scene.await_active(named, "a")?;
    scene.await_active(subnet, "a")?;
    let sent = scene.capture.from_sender(51, a.mac(0), renamed);
    let gap = longest_gap(&sent);
    ensure!(gap < subnet.interval * 2, "{gap:?}");
    let after = scene.agent("a")?.router("subnet")?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    Ok(())
}

fn without_its_primary_address_a_node_leaves_and_with_another_it_stays() -> Result<()> {
    let router = Router {
        interface: Some("eth0".to_owned()),
        ..Router::new("web", 51, &[VIP4], AB)
    };
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let a = scene.lab.node("a")?.clone();
    a.namespace().ip("addr del 192.0.2.1/24 dev eth0\n")?;
    let left = scene.agent("a")?.await_state("web", "Initialize", SOON)?;
    ensure!(left.last_reason == "SourceMissing", "{left:?}");
    scene.agent("b")?.await_state("web", "Active", SOON)?;
    scene.await_holders(VIP4, &["b"], SOON)?;

    a.namespace().ip("addr add 192.0.2.1/24 brd + dev eth0\n")?;
    scene.await_active(&router, "a")?;
    let before = scene.agent("a")?.router("web")?;
    a.namespace()
        .sysctl(&[("ipv4/conf/eth0/promote_secondaries", "1")])?;
    a.namespace()
        .ip("addr add 192.0.2.201/24 brd + dev eth0\n")?;
    let replaced = Moment::now();
    a.namespace().ip("addr del 192.0.2.1/24 dev eth0\n")?;
    let other = IpAddr::from([192, 0, 2, 201]);
    let from_other = |sent: &vipkeeper_e2e::capture::Sent| sent.advertisement.source == other;
    scene.capture.await_advertisement(
        "an advertisement from the other address",
        51,
        replaced,
        SOON,
        from_other,
    )?;
    let after = scene.agent("a")?.router("web")?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    Ok(())
}

fn an_address_that_somebody_removes_is_put_back_and_announced_once_a_second_at_most() -> Result<()>
{
    let mut routers = pair();
    for router in &mut routers {
        // A renewal is not what puts it back.
        router.lifetime = Some(Duration::MAX);
    }
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let a = scene.lab.node("a")?.clone();
    let restored = "vipkeeper_addresses_restored_total";
    ensure!(scene.agent("a")?.metric(restored)? == 0.0);
    for (router, length) in routers.iter().zip([32, 128]) {
        let address = router.addresses[0];
        let before = scene.agent("a")?.router(&router.name)?;
        let removed = scene.removed_and_back(&a, "eth0", (address, length))?;
        let announced = scene.capture.await_announcement(address, removed, SOON)?;
        ensure!(announced.source_mac == a.mac(0), "{announced:?}");
        let after = scene.agent("a")?.router(&router.name)?;
        ensure!(after.transitions == before.transitions, "{after:?}");
    }
    wait::until("two put back, and told", SOON, || {
        let count = scene.agents[0].metric(restored)?;
        let log = scene.agents[0].process().log();
        let told = log.matches("it is back").count();
        Ok(Seen::when((count, told), |seen| *seen == (2.0, 2)).map(|_| ()))
    })?;

    let begun = Moment::now();
    let mut removed = 0;
    wait::until("three more removals", SOON, || {
        if a.holds(VIP4)? {
            a.namespace()
                .ip(&format!("addr del {VIP4}/32 dev eth0\n"))?;
            removed += 1;
        }
        Ok(Seen::when(removed, |removed| *removed >= 3).map(|_| ()))
    })?;
    scene.await_holders(VIP4, &["a"], SOON)?;
    let took = begun.elapsed();
    ensure!(took >= Duration::from_secs(2), "three within {took:?}");
    Ok(())
}

fn after_lost_events_everything_is_listed_anew_and_compared() -> Result<()> {
    let fast = Router {
        lifetime: Some(Duration::MAX),
        ..Router::new("web", 51, &[VIP4], &[("a", 110)])
    };
    // Slow enough not to notice that it stands still for some seconds.
    let slow = Router {
        interval: Duration::from_secs(20),
        ..fast.clone()
    };
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&fast))?;
    scene.await_active(&fast, "a")?;
    let text = manifests(&scene.lab, &[slow]);
    let agent = scene.agent("a")?;
    agent.edit(&text)?;
    // It is 20 seconds from now that it advertises: what comes back was not installed anew.
    let log = |agent: &vipkeeper_e2e::Agent| agent.process().log();
    let down = |agent: &vipkeeper_e2e::Agent| -> Result<f64> {
        agent.metric("vipkeeper_router_active_down_interval_seconds")
    };
    wait::until("the slow interval", SOON, || {
        Ok(Seen::when(down(agent)?, |seconds| *seconds > 60.0).map(|_| ()))
    })?;
    let before = agent.router("web")?;
    let a = scene.lab.node("a")?.clone();
    scene.agent("a")?.process().signal_all(Signal::SIGSTOP)?;
    flood(&a)?;
    a.namespace()
        .ip(&format!("addr del {VIP4}/32 dev eth0\n"))?;
    scene.agent("a")?.process().signal_all(Signal::SIGCONT)?;
    scene.await_holders(VIP4, &["a"], SOON)?;
    let agent = scene.agent("a")?;
    ensure!(agent.metric("vipkeeper_event_overruns_total")? >= 1.0);
    wait::until("told", SOON, || {
        let told = log(agent).contains("everything was listed anew");
        Ok(Seen::when(told, |told| *told).map(|_| ()))
    })?;
    let after = agent.router("web")?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    ensure!(agent.metric("vipkeeper_addresses_restored_total")? == 1.0);
    Ok(())
}

/// More address events than the monitor's socket has room for.
fn flood(node: &Node) -> Result<()> {
    let mut lines = String::new();
    for number in 0..12_000_u32 {
        let [_, _, high, low] = (number / 2).to_be_bytes();
        let verb = if number % 2 == 0 { "add" } else { "del" };
        writeln!(lines, "addr {verb} 198.18.{high}.{low}/32 dev lo")?;
    }
    node.namespace().ip(&lines)
}

fn another_ethernet_address_or_mtu_or_a_new_carrier_is_announced() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], &[("a", 110)]);
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let a = scene.lab.node("a")?.clone();
    let mac = [2, 0, 0, 0, 0, 0x99];
    for (change, by) in [
        ("link set eth0 mtu 1400\n", a.mac(0)),
        ("link set eth0 address 02:00:00:00:00:99\n", mac),
    ] {
        let before = scene.agent("a")?.router("web")?;
        // The announcements of the promotion go on for five seconds; this is counted from the change on.
        let sent = |since| scene.capture.announcements(VIP4, since).len();
        let quiet = Moment::now();
        wait::until("the end of the announcements before", SOON, || {
            let silent = quiet.elapsed() >= Duration::from_secs(6) || sent(quiet) >= 2;
            Ok(Seen::when(silent, |silent| *silent).map(|_| ()))
        })?;
        let changed = Moment::now();
        a.namespace().ip(change)?;
        wait::until("a burst of announcements", SOON, || {
            let frames = scene.capture.announcements(VIP4, changed);
            let by_it = frames.iter().filter(|f| f.source_mac == by);
            let early = by_it.filter(|f| f.at.since(changed) < Duration::from_secs(1));
            Ok(Seen::when(early.count(), |count| *count >= 3).map(|_| ()))
        })
        .with_context(|| format!("after {change}"))?;
        let after = scene.agent("a")?.router("web")?;
        ensure!(after.transitions == before.transitions, "{after:?}");
    }
    a.unplug(0)?;
    scene.agent("a")?.await_state("web", "Initialize", SOON)?;
    let plugged = Moment::now();
    a.plug(0)?;
    scene.capture.await_announcement(VIP4, plugged, SOON)?;
    Ok(())
}

fn an_address_of_the_host_is_a_conflict_for_which_nobody_contends() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], AB);
    let mut scene = Scene::start(&["a", "b"], 1, &[])?;
    let a = scene.lab.node("a")?.clone();
    let text = manifests(&scene.lab, std::slice::from_ref(&router));
    // b first: it would not claim at all what a host of the link answers for.
    scene.agent("b")?.edit(&text)?;
    scene.agent("b")?.await_state("web", "Active", SOON)?;
    a.namespace()
        .ip(&format!("addr add {VIP4}/32 dev eth0\n"))?;
    let before = a.addresses()?;
    let settled = Moment::now();
    scene.agent("a")?.edit(&text)?;
    let why = "out, with its reason";
    let out = scene
        .agent("a")?
        .await_router("web", why, SOON, |r| r.last_reason == "AddressConflict")?;
    ensure!(out.state == "Initialize", "{out:?}");
    ensure!(out.conflicts == [VIP4], "{out:?}");
    let findings = scene.agent("a")?.state()?.findings();
    let expected = format!("web IPv4: AddressConflict: {VIP4} on eth0");
    ensure!(
        findings.iter().any(|f| f.starts_with(&expected)),
        "{findings:?}"
    );
    let conflicts = "vipkeeper_router_address_conflicts{";
    ensure!(scene.agent("a")?.metric(conflicts)? == 1.0);
    // For longer than the first three attempts of a router that gave up would take: 1 s and 2 s and 300 ms each.
    let quiet = Duration::from_secs(4);
    let b = scene.lab.node("b")?.mac(0);
    wait::while_holds("b alone and without a gap", quiet, || {
        let by_a = scene.capture.from_sender(51, a.mac(0), Moment::BOOT).len();
        let gap = longest_gap(&scene.capture.from_sender(51, b, settled));
        Ok(Seen::when((by_a, gap), |seen| {
            seen.0 == 0 && seen.1 < router.interval * 2 + SLACK
        })
        .map(|_| ()))
    })?;
    ensure!(a.addresses()? == before, "{:?}", a.addresses()?);

    let freed = Moment::now();
    a.namespace()
        .ip(&format!("addr del {VIP4}/32 dev eth0\n"))?;
    scene.agent("a")?.await_state("web", "Active", SOON)?;
    let took = freed.elapsed();
    ensure!(
        took <= router.active_down_interval(110) + SLACK,
        "it started {took:?} later"
    );
    // What b held lingers, parked where it answers nobody.
    scene.await_active(&router, "a")?;
    ensure!(scene.agent("a")?.router("web")?.conflicts.is_empty());

    // The host's own beside ours, which the kernel allows with another prefix.
    let taken = Moment::now();
    a.namespace()
        .ip(&format!("addr add {VIP4}/24 dev eth0\n"))?;
    scene.agent("b")?.await_state("web", "Active", SOON)?;
    let by_a = scene.capture.from_sender(51, a.mac(0), taken);
    let last = by_a.last().context("no farewell")?;
    ensure!(last.advertisement.priority == 0, "{last:?}");
    let what = "the host's address alone";
    wait::until(what, SOON, || {
        let mut left = a.addresses()?;
        left.retain(|found| found.address == VIP4);
        Ok(Seen::when(left, |left| {
            left.len() == 1 && left[0].prefix_length == 24 && left[0].protocol != Some(0x56)
        })
        .map(|_| ()))
    })
}

fn one_address_of_the_host_among_several_is_done_without() -> Result<()> {
    let other = IpAddr::from([192, 0, 2, 101]);
    let router = Router::new("web", 51, &[VIP4, other], &[("a", 110)]);
    let mut scene = Scene::start(&["a"], 1, &[])?;
    let a = scene.lab.node("a")?.clone();
    a.namespace()
        .ip(&format!("addr add {other}/32 dev eth0\n"))?;
    let text = manifests(&scene.lab, std::slice::from_ref(&router));
    scene.agent("a")?.edit(&text)?;
    let agent = scene.agent("a")?;
    let state = agent.await_router("web", "one held", SOON, |r| r.installed == 1)?;
    ensure!(state.state == "Active", "{state:?}");
    ensure!(state.conflicts == [other], "{state:?}");
    a.namespace()
        .ip(&format!("addr del {other}/32 dev eth0\n"))?;
    let state = agent.await_router("web", "both held", SOON, |r| r.installed == 2)?;
    ensure!(state.conflicts.is_empty(), "{state:?}");
    ensure!(state.counters["activeTransitions"] == 1, "{state:?}");
    Ok(())
}

/// The thread that sets addresses is held, as by a kernel that keeps its lock.
fn a_node_whose_kernel_never_answers_leaves_and_comes_back() -> Result<()> {
    let patience = Duration::from_secs(3);
    let router = Router::new("web", 51, &[VIP4], &[("a", 110), ("b", 100)]);
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let hang = Hang::of(scene.agent("b")?.agent_id()?, "network")?;
    let died = scene.power_off("a")?;
    let b = scene.lab.node("b")?.mac(0);
    let said = |zero: bool| {
        let sent = scene.capture.from_sender(51, b, died);
        let mut sent = sent.iter();
        let found = sent.find(|s| (s.advertisement.priority == 0) == zero);
        found.map(|s| s.at)
    };
    let claimed = wait::until("a claim by b", SOON, || {
        Ok(said(false).map_or(Seen::NotYet("none".to_owned()), Seen::Yes))
    })?;
    let left = wait::until("priority 0 by b", SOON, || {
        Ok(said(true).map_or(Seen::NotYet("none".to_owned()), Seen::Yes))
    })?;
    let held_out = left.since(claimed);
    // Its patience counts from the decision, and the claim was captured somewhat later.
    ensure!(
        held_out + SLACK >= patience && held_out <= patience + SLACK,
        "it left after {held_out:?}"
    );
    let state = scene.agent("b")?.await_state("web", "Initialize", SOON)?;
    ensure!(state.last_reason == "InstallTimeout", "{state:?}");
    ensure!(scene.capture.announcements(VIP4, died).is_empty());
    drop(hang);
    scene.await_active(&router, "b")
}
