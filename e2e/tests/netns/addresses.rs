//! What the kernel says of virtual addresses: flags, lifetimes, origin; who answers for them; what is left behind.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::addresses::KernelAddress;
use vipkeeper_e2e::frame::Content;
use vipkeeper_e2e::manifest::{Preemption, Router};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Moment, Node, tests};

use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};

tests! {
    beside a_virtual_address_has_its_flags_its_origin_and_a_finite_lifetime_that_is_renewed,
    beside c42_c43_c55_only_the_active_answers_arp_and_nd_for_a_virtual_address,
    beside c46_a_backup_does_not_accept_packets_to_a_virtual_address,
    beside c56_the_active_alone_is_in_the_solicited_node_group,
    beside leftovers_of_an_earlier_run_are_swept_at_start_and_nothing_else,
    beside an_address_that_is_there_already_is_not_taken,
    beside nothing_is_left_of_a_router_that_is_no_longer_configured,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];

fn pair() -> [Router; 2] {
    [
        Router::new("web4", 51, &[VIP4], AB),
        Router::new("web6", 52, &[VIP6], AB),
    ]
}

fn found(node: &Node, address: IpAddr) -> Result<KernelAddress> {
    let all = node.addresses()?;
    let one = all.iter().find(|a| a.address == address).cloned();
    one.with_context(|| format!("{address} not in {all:?}"))
}

fn a_virtual_address_has_its_flags_its_origin_and_a_finite_lifetime_that_is_renewed() -> Result<()>
{
    let mut routers = pair();
    for router in &mut routers {
        router.lifetime = Some(Duration::from_secs(10));
    }
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for (router, bits) in routers.iter().zip([32, 128]) {
        scene.await_active(router, "a")?;
        let address = found(scene.lab.node("a")?, router.addresses[0])?;
        ensure!(address.interface == "eth0", "{address:?}");
        ensure!(address.prefix_length == bits, "{address:?}");
        ensure!(
            address.flags & KernelAddress::NOPREFIXROUTE != 0,
            "{address:?}"
        );
        ensure!(address.flags & KernelAddress::TENTATIVE == 0, "{address:?}");
        ensure!((1..=10).contains(&address.valid_lifetime), "{address:?}");
        ensure!(address.protocol == Some(0x56), "{address:?}");
    }
    let address = found(scene.lab.node("a")?, VIP6)?;
    ensure!(address.flags & KernelAddress::NODAD != 0, "{address:?}");
    // Deprecated: never chosen as a source.
    ensure!(address.preferred_lifetime == 0, "{address:?}");
    for address in [VIP4, VIP6] {
        // Renewed at a third: after that long it must never be seen below what is left then.
        let begun = Moment::now();
        wait::until("a renewal", SOON, || {
            let left = found(scene.lab.node("a")?, address)?.valid_lifetime;
            ensure!(left >= 5, "{address} has {left} s left");
            Ok(Seen::when(begun.elapsed(), |past| *past >= Duration::from_secs(6)).map(|_| ()))
        })?;
    }
    Ok(())
}

fn c42_c43_c55_only_the_active_answers_arp_and_nd_for_a_virtual_address() -> Result<()> {
    let routers = pair();
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let a = scene.lab.node("a")?.mac(0);
    for address in [VIP4, VIP6] {
        // The client forgets, asks again, and may believe whoever answers.
        for _ in 0..3 {
            scene.lab.client().namespace().ip("neigh flush all\n")?;
            scene.lab.meter(address)?.await_answers(SOON)?;
        }
        let frames = scene.capture.frames();
        let answers = frames
            .iter()
            .filter(|frame| answers_for(&frame.content, address));
        let by: Vec<[u8; 6]> = answers.map(|frame| frame.source_mac).collect();
        ensure!(by.len() >= 3, "{address}: {} answers", by.len());
        ensure!(by.iter().all(|mac| *mac == a), "{address}: {by:?}");
    }
    Ok(())
}

/// Whether this is an answer to the question where `address` is, not an announcement.
fn answers_for(content: &Content, address: IpAddr) -> bool {
    match content {
        Content::Arp(arp) => {
            arp.operation == 2 && arp.sender != arp.target && IpAddr::from(arp.sender) == address
        }
        Content::NeighbourAdvertisement(na) => na.solicited && IpAddr::from(na.target) == address,
        Content::Advertisement(_) | Content::Other => false,
    }
}

fn c46_a_backup_does_not_accept_packets_to_a_virtual_address() -> Result<()> {
    let routers = pair();
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    // The client is led to the Backup.
    scene.lab.client().namespace().ip(&format!(
        "neigh replace {VIP4} lladdr 02:00:00:00:00:02 dev eth0 nud permanent\n\
         neigh replace {VIP6} lladdr 02:00:00:00:00:02 dev eth0 nud permanent\n"
    ))?;
    for address in [VIP4, VIP6] {
        let since = Moment::now();
        let meter = scene.lab.meter(address)?;
        let gaps = wait::until("a hundred probes", SOON, || {
            Ok(Seen::when(meter.gaps(since), |gaps| gaps.sent >= 100))
        })?;
        ensure!(gaps.lost == gaps.sent, "{address}: {gaps}");
    }
    Ok(())
}

fn c56_the_active_alone_is_in_the_solicited_node_group() -> Result<()> {
    let routers = pair();
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x100);
    scene.await_active(&routers[1], "a")?;
    ensure!(is_member(scene.lab.node("a")?, group)?);
    ensure!(!is_member(scene.lab.node("b")?, group)?);
    scene.agents.remove(0).process_mut().stop(SOON)?;
    scene.await_active(&routers[1], "b")?;
    ensure!(!is_member(scene.lab.node("a")?, group)?);
    ensure!(is_member(scene.lab.node("b")?, group)?);
    Ok(())
}

fn is_member(node: &Node, group: Ipv6Addr) -> Result<bool> {
    let wanted: String = group.octets().iter().map(|b| format!("{b:02x}")).collect();
    let groups = node
        .namespace()
        .run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/igmp6")?))?;
    let mut lines = groups.lines().map(|line| line.split_whitespace());
    Ok(lines.any(|mut words| words.nth(1) == Some("eth0") && words.next() == Some(&wanted)))
}

fn leftovers_of_an_earlier_run_are_swept_at_start_and_nothing_else() -> Result<()> {
    let mut routers = pair();
    for router in &mut routers {
        router.preemption = Preemption::Never;
        // Its expiry is not what removes it here.
        router.lifetime = Some(Duration::from_secs(600));
    }
    let mut scene = Scene::start_in_turn(&["a", "b"], &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let a = scene.lab.node("a")?.clone();
    a.namespace()
        .ip("addr add 192.0.2.200/32 dev eth0 noprefixroute\n\
         addr add 2001:db8::200/128 dev eth0 nodad noprefixroute\n\
         addr add 192.0.2.201/32 dev lo\n")?;
    scene.agents.remove(0).process_mut().kill()?;
    let mut expected = a.addresses()?;
    expected.retain(|address| ![VIP4, VIP6].contains(&address.address));
    for router in &routers {
        scene
            .agent("b")?
            .await_state(&router.name, "Active", SOON)?;
    }
    ensure!(scene.holders(VIP4)? == ["a", "b"], "nothing to sweep");

    scene.restart("a")?;
    for router in &routers {
        scene.await_active(router, "b")?;
    }
    let left = a.addresses()?;
    ensure!(left == expected, "{left:?}\n{expected:?}");
    Ok(())
}

fn an_address_that_is_there_already_is_not_taken() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], &[("a", 110)]);
    let mut scene = Scene::start(&["a"], 1, &[])?;
    let a = scene.lab.node("a")?.clone();
    // Somebody else's, for ever.
    a.namespace()
        .ip(&format!("addr add {VIP4}/32 dev eth0\n"))?;
    let before = a.addresses()?;
    let text = manifests(&scene.lab, std::slice::from_ref(&router));
    let agent = scene.agent("a")?;
    agent.edit(&text)?;
    agent.await_router("web", "a decision", SOON, |router| {
        router.last_reason == "AddressConflict"
    })?;
    let status = agent.process_mut().stop(SOON)?;
    ensure!(status.code() == Some(0), "{status}");
    ensure!(a.addresses()? == before, "{:?}", a.addresses()?);
    Ok(())
}

fn nothing_is_left_of_a_router_that_is_no_longer_configured() -> Result<()> {
    let routers = pair();
    let mut scene = Scene::start(&["a", "b"], 1, &[])?;
    let before = scene.lab.node("a")?.addresses()?;
    let (with, without) = (manifests(&scene.lab, &routers), manifests(&scene.lab, &[]));
    for agent in &scene.agents {
        agent.edit(&with)?;
    }
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let removed = Moment::now();
    scene.agent("a")?.edit(&without)?;
    for router in &routers {
        scene
            .agent("b")?
            .await_state(&router.name, "Active", SOON)?;
        scene.await_holders(router.addresses[0], &["b"], SOON)?;
        let a = scene.lab.node("a")?.mac(0);
        let sent = scene.capture.from_sender(router.vrid, a, removed);
        let last = sent.last().context("no farewell")?;
        ensure!(last.advertisement.priority == 0, "{last:?}");
    }
    ensure!(scene.lab.node("a")?.addresses()? == before);
    ensure!(scene.agent("a")?.state()?.routers.is_empty());
    Ok(())
}
