//! Addresses on an interface of their own: elected on one segment, served on another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use vipkeeper_e2e::capture::Frame;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Capture, Moment, Node, tests};

use crate::machine::SLACK;
use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};
use crate::takeover::ours;

tests! {
    alone an_address_on_its_own_interface_moves_with_the_others_and_is_announced_there,
    beside what_somebody_takes_off_the_interface_of_an_address_is_put_back_there,
    alone without_the_interface_of_an_address_a_node_leaves_both_and_comes_back,
    beside an_edit_of_the_interface_alone_moves_the_address_and_nothing_else,
    beside a_successor_takes_over_and_a_guardian_takes_off_what_is_on_either_interface,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];
/// Of the second segment, whose interface is eth1.
const SIDE4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 100));
const SIDE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100));

fn router(name: &str, vrid: u8, own: IpAddr, side: IpAddr) -> Router {
    Router {
        address_interfaces: vec![(side, "eth1".to_owned())],
        ..Router::new(name, vrid, &[own, side], AB)
    }
}

fn pair() -> [Router; 2] {
    [
        router("web4", 51, VIP4, SIDE4),
        router("web6", 52, VIP6, SIDE6),
    ]
}

/// What is done to a node.
type Change = fn(&Node) -> Result<()>;

/// `a` is Active, and so is what captures the second segment.
fn scene(routers: &[Router]) -> Result<(Scene, Capture)> {
    let mut scene = Scene::start(&["a", "b"], 2, &[])?;
    let side = scene.lab.capture(1)?;
    let text = manifests(&scene.lab, routers);
    for agent in &scene.agents {
        agent.edit(&text)?;
    }
    for router in routers {
        scene.await_active(router, "a")?;
    }
    Ok((scene, side))
}

/// Where a node has an address.
fn interface_of(node: &Node, address: IpAddr) -> Result<String> {
    let all = node.addresses()?;
    let found = all.iter().find(|a| a.address == address);
    let found = found.with_context(|| format!("{address} not in {all:?}"))?;
    Ok(found.interface.clone())
}

/// `node` has each address where it belongs, and told so there alone, after `since`.
fn serves(
    scene: &Scene,
    side: &Capture,
    routers: &[Router],
    name: &str,
    since: Moment,
) -> Result<()> {
    let node = scene.lab.node(name)?;
    for router in routers {
        for (segment, capture, address) in [
            (0, &scene.capture, router.addresses[0]),
            (1, side, router.addresses[1]),
        ] {
            let interface = interface_of(node, address)?;
            ensure!(interface == node.interface(segment), "{interface}");
            // The one before may have announced until it was beaten.
            wait::until("an announcement by the new holder", SOON, || {
                let told = capture.announcements(address, since);
                let by_node =
                    |told: &Vec<Frame>| told.iter().any(|t| t.source_mac == node.mac(segment));
                Ok(Seen::when(told, by_node).map(|_| ()))
            })?;
            scene.lab.meter(address)?.await_answers(SOON)?;
        }
        let [own, other] = [router.addresses[0], router.addresses[1]];
        ensure!(scene.capture.announcements(other, since).is_empty());
        ensure!(side.announcements(own, since).is_empty());
        ensure!(side.advertisements(router.vrid).is_empty());
    }
    Ok(())
}

fn an_address_on_its_own_interface_moves_with_the_others_and_is_announced_there() -> Result<()> {
    let routers = pair();
    let begun = Moment::now();
    let (mut scene, side) = scene(&routers)?;
    serves(&scene, &side, &routers, "a", begun)?;
    for router in &routers {
        let sent = scene.capture.advertisements(router.vrid);
        let sent = sent.last().context("no advertisement")?;
        ensure!(sent.advertisement.addresses == router.addresses, "{sent:?}");
    }
    let died = scene.power_off("a")?;
    for router in &routers {
        scene.await_active(router, "b")?;
    }
    serves(&scene, &side, &routers, "b", died)?;

    let b = scene.lab.node("b")?.clone();
    let status = scene.agent("b")?.process_mut().stop(SOON)?;
    ensure!(status.code() == Some(0), "{status}");
    for router in &routers {
        for address in &router.addresses {
            ensure!(!b.holds(*address)?, "{address} is left");
        }
    }
    for interface in ["eth0", "eth1"] {
        let path = format!("/proc/sys/net/ipv4/conf/{interface}/arp_ignore");
        let value = b.namespace().run(|| Ok(std::fs::read_to_string(path)?))?;
        ensure!(value.trim() == "0", "arp_ignore of {interface}: {value}");
    }
    Ok(())
}

fn what_somebody_takes_off_the_interface_of_an_address_is_put_back_there() -> Result<()> {
    let routers = pair();
    let (scene, side) = scene(&routers)?;
    let a = scene.lab.node("a")?.clone();
    for (address, length) in [(SIDE4, 32), (SIDE6, 128)] {
        let removed = scene.removed_and_back(&a, "eth1", (address, length))?;
        ensure!(interface_of(&a, address)? == "eth1");
        let told = side.await_announcement(address, removed, SOON)?;
        ensure!(told.source_mac == a.mac(1), "{told:?}");
    }
    Ok(())
}

fn without_the_interface_of_an_address_a_node_leaves_both_and_comes_back() -> Result<()> {
    let router = router("web", 51, VIP4, SIDE4);
    let routers = std::slice::from_ref(&router);
    let (mut scene, side) = scene(routers)?;
    let a = scene.lab.node("a")?.clone();
    let faults: [(&str, Change, Change); 2] = [
        ("InterfaceDown", |a| a.unplug(1), |a| a.plug(1)),
        (
            "InterfaceMissing",
            |a| a.delete_interface(1),
            |a| a.make_interface(1),
        ),
    ];
    for (reason, fault, cure) in faults {
        let since = Moment::now();
        fault(&a)?;
        scene.agent("b")?.await_state("web", "Active", SOON)?;
        for address in &router.addresses {
            scene.await_holders(*address, &["b"], SOON)?;
        }
        let sent = scene.capture.from_sender(51, a.mac(0), since);
        let last = sent.last().context("no farewell")?;
        ensure!(last.advertisement.priority == 0, "{last:?}");
        serves(&scene, &side, routers, "b", since)?;
        scene.agent("a")?.await_router("web", reason, SOON, |r| {
            r.state == "Initialize" && r.last_reason == reason
        })?;
        wait::until("a word about eth1", SOON, || {
            let findings = scene.agents[0].state()?.findings();
            let told = |all: &Vec<String>| all.iter().any(|f| f.contains("eth1"));
            Ok(Seen::when(findings, told).map(|_| ()))
        })?;
        let since = Moment::now();
        cure(&a)?;
        scene.await_active(&router, "a")?;
        serves(&scene, &side, routers, "a", since)?;
    }
    Ok(())
}

fn an_edit_of_the_interface_alone_moves_the_address_and_nothing_else() -> Result<()> {
    let there = router("web", 51, VIP4, SIDE4);
    let here = Router {
        address_interfaces: Vec::new(),
        ..there.clone()
    };
    let (mut scene, side) = scene(std::slice::from_ref(&here))?;
    let a = scene.lab.node("a")?.clone();
    ensure!(interface_of(&a, SIDE4)? == "eth0");
    let before = scene.agent("a")?.router("web")?;
    for (router, interface) in [(&there, "eth1"), (&here, "eth0")] {
        let text = manifests(&scene.lab, std::slice::from_ref(router));
        let edited = Moment::now();
        for agent in &scene.agents {
            agent.edit(&text)?;
        }
        wait::until("another place", SOON, || {
            let all = a.addresses()?;
            let of = all.into_iter().filter(|found| found.address == SIDE4);
            let places: Vec<String> = of.map(|found| found.interface).collect();
            Ok(Seen::when(places, |all| all == &[interface]).map(|_| ()))
        })?;
        let (capture, segment) = match interface {
            "eth1" => (&side, 1),
            _ => (&scene.capture, 0),
        };
        let told = capture.await_announcement(SIDE4, edited, SOON)?;
        ensure!(told.source_mac == a.mac(segment), "{told:?}");
    }
    let after = scene.agent("a")?.router("web")?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    ensure!(interface_of(&a, VIP4)? == "eth0");
    Ok(())
}

fn a_successor_takes_over_and_a_guardian_takes_off_what_is_on_either_interface() -> Result<()> {
    let mut router = router("web", 51, VIP4, SIDE4);
    router.lifetime = Some(std::time::Duration::from_secs(600));
    let (mut scene, _) = scene(std::slice::from_ref(&router))?;
    let before = ours(&scene, "a")?;
    let new = Agent::restart(scene.lab.node("a")?)?;
    let mut old = std::mem::replace(scene.agent("a")?, new);
    let status = old.process_mut().ended(SOON)?;
    ensure!(status.success(), "{status}");
    ensure!(old.process().log().contains("taken over"));
    scene.agent("a")?.await_state("web", "Active", SOON)?;
    ensure!(ours(&scene, "a")? == before, "an address was touched");

    let killed = scene.agents.remove(0);
    kill(killed.agent_id()?, Signal::SIGKILL)?;
    for address in &router.addresses {
        let what = format!("no {address} on a");
        wait::until(&what, SLACK, || {
            let held = scene.lab.node("a")?.holds(*address)?;
            Ok(Seen::when(held, |held| !held).map(|_| ()))
        })?;
    }
    Ok(())
}
