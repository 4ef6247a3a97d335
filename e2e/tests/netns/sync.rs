//! Routers that move together: the two sides of a gateway on two segments, and the two families of a router;
//! among agents, and beside a `vrrp_sync_group` of keepalived.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::agent::RouterState;
use vipkeeper_e2e::keepalived::Instance;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Keepalived, Lab, Moment, Process, tests};

use crate::machine::{self, SLACK};
use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};

tests! {
    alone the_loss_of_one_carrier_moves_both_sides_of_a_gateway,
    alone a_router_of_both_families_moves_when_ipv6_has_no_source,
    alone a_keepalived_group_relieves_ours_after_a_fault_and_a_crash,
    alone our_group_relieves_a_keepalived_group_after_a_fault_and_a_crash,
}

/// The gateway's address on the second segment.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 100));
const HIGH: u8 = 120;
const LOW: u8 = 100;
/// What both sides of a gateway have, a router each.
const SIDES: [(&str, u8, IpAddr); 2] = [("inside", 51, VIP4), ("outside", 52, OUTSIDE)];

fn gateway(priorities: &[(&str, u8)]) -> [Router; 2] {
    SIDES.map(|(name, vrid, address)| Router {
        sync_group: Some("gateway".to_owned()),
        ..Router::new(name, vrid, &[address], priorities)
    })
}

fn the_loss_of_one_carrier_moves_both_sides_of_a_gateway() -> Result<()> {
    let routers = gateway(&[("a", HIGH), ("b", LOW)]);
    let mut scene = Scene::start(&["a", "b"], 2, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let before = transitions(&scene)?;

    let unplugged = Moment::now();
    scene.lab.node("a")?.unplug(1)?;
    // The outer link carries no priority 0: the group goes when its Active_Down_Timer ends there.
    let bound = routers[1].active_down_interval(LOW);
    held_within(&scene.lab, "b", unplugged, bound)?;
    let left = scene
        .agent("a")?
        .await_state("inside", "Initialize", SOON)?;
    blames(&left, "outside", "IPv4")?;
    let down = scene
        .agent("a")?
        .await_state("outside", "Initialize", SOON)?;
    ensure!(down.last_reason == "InterfaceDown", "{down:?}");

    scene.lab.node("a")?.plug(1)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    // a: Initialize, Backup, Active; b: Active, Backup. Nothing flapped on the way.
    let after = transitions(&scene)?;
    let more: Vec<_> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
    ensure!(more == [3, 3, 2, 2], "{before:?} {after:?}");
    Ok(())
}

fn a_router_of_both_families_moves_when_ipv6_has_no_source() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4, VIP6], &[("a", HIGH), ("b", LOW)]);
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    families_on(&scene.lab, "a")?;
    let before = transitions(&scene)?;

    let a = scene.lab.node("a")?.clone();
    let source = format!("{}/64 dev eth0", a.link_local(0));
    a.namespace().ip(&format!("addr del {source}\n"))?;
    families_on(&scene.lab, "b")?;
    let ipv4 = await_family(scene.agent("a")?, "IPv4", "Initialize")?;
    blames(&ipv4, "web", "IPv6")?;
    let ipv6 = await_family(scene.agent("a")?, "IPv6", "Initialize")?;
    ensure!(ipv6.last_reason == "SourceMissing", "{ipv6:?}");

    a.namespace().ip(&format!("addr add {source} nodad\n"))?;
    families_on(&scene.lab, "a")?;
    await_family(scene.agent("b")?, "IPv4", "Backup")?;
    await_family(scene.agent("b")?, "IPv6", "Backup")?;
    let after = transitions(&scene)?;
    let more: Vec<_> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
    ensure!(more == [3, 3, 2, 2], "{before:?} {after:?}");
    Ok(())
}

fn a_keepalived_group_relieves_ours_after_a_fault_and_a_crash() -> Result<()> {
    let mut pair = Pair::start(HIGH, LOW)?;
    pair.both_on("a")?;

    pair.lab.node("a")?.unplug(1)?;
    pair.both_on("k")?;
    let left = pair.agent.await_state("inside", "Initialize", SOON)?;
    blames(&left, "outside", "IPv4")?;
    pair.lab.node("a")?.plug(1)?;
    pair.both_on("a")?;
    // Backup and Active at the start, then Initialize, Backup, Active.
    pair.changed_state(5)?;

    let a = pair.lab.node("a")?.clone();
    pair.lab.power_off(&a, &mut [pair.agent.process_mut()])?;
    wait::until("both sides at k", SOON, || {
        let k = pair.lab.node("k")?;
        Ok(Seen::when((k.holds(VIP4)?, k.holds(OUTSIDE)?), |held| {
            *held == (true, true)
        })
        .map(drop))
    })?;
    a.power_on()?;
    pair.agent = Agent::restart(&a)?;
    pair.both_on("a")?;
    pair.changed_state(2)?;
    // Each side of keepalived was Active twice, once for each of our absences.
    pair.was_master(2)
}

fn our_group_relieves_a_keepalived_group_after_a_fault_and_a_crash() -> Result<()> {
    let mut pair = Pair::start(LOW, HIGH)?;
    pair.both_on("k")?;
    let before = pair.agent.router("inside")?.transitions;

    pair.lab.node("k")?.unplug(1)?;
    pair.both_on("a")?;
    pair.lab.node("k")?.plug(1)?;
    pair.both_on("k")?;
    let left = pair.agent.await_state("inside", "Backup", SOON)?;
    ensure!(
        ["SyncGroup", "HigherPriority"].contains(&&*left.last_reason),
        "{left:?}"
    );
    pair.changed_state(before + 2)?;

    let k = pair.lab.node("k")?.clone();
    pair.lab.power_off(&k, &mut [&mut pair.keepalived])?;
    for (name, _, _) in SIDES {
        pair.agent.await_state(name, "Active", SOON)?;
    }
    k.power_on()?;
    pair.keepalived = keepalived(&pair.lab, HIGH)?;
    pair.both_on("k")?;
    pair.changed_state(before + 4)
}

/// An agent on a and a keepalived on k, candidates of the same gateway.
struct Pair {
    agent: Agent,
    keepalived: Process,
    lab: Lab,
}

impl Pair {
    fn start(ours: u8, theirs: u8) -> Result<Self> {
        machine::need_agent()?;
        machine::need_keepalived()?;
        let lab = machine::lab(&["a", "k"], 2)?;
        let manifests = manifests(&lab, &gateway(&[("a", ours)]));
        let mut agent = Agent::start(lab.node("a")?, &manifests)?;
        for (name, _, _) in SIDES {
            agent.await_state(name, "Active", SOON)?;
        }
        let keepalived = keepalived(&lab, theirs)?;
        Ok(Self {
            agent,
            keepalived,
            lab,
        })
    }

    /// Waits until `node` alone holds both addresses.
    fn both_on(&mut self, node: &str) -> Result<()> {
        both_on(&self.lab, node, [VIP4, OUTSIDE], SOON)?;
        let state = if node == "a" { "Active" } else { "Backup" };
        for (name, _, _) in SIDES {
            let is_out =
                |r: &RouterState| r.state == state || node != "a" && r.state == "Initialize";
            self.agent.await_router(name, state, SOON, is_out)?;
        }
        Ok(())
    }

    /// Both of the agent's routers changed their state so many times, and no more.
    fn changed_state(&self, times: u64) -> Result<()> {
        for (name, _, _) in SIDES {
            let router = self.agent.router(name)?;
            ensure!(router.transitions == times, "not {times}: {router:?}");
        }
        Ok(())
    }

    /// Each instance of keepalived became MASTER so many times, and no more.
    fn was_master(&self, times: usize) -> Result<()> {
        for number in 0..SIDES.len() {
            let line = format!("(i{number}) Entering MASTER STATE");
            let count = self.keepalived.log().matches(&line).count();
            ensure!(count == times, "{line} {count} times");
        }
        Ok(())
    }
}

/// On k, in one `vrrp_sync_group`.
fn keepalived(lab: &Lab, priority: u8) -> Result<Process> {
    let mut sides = SIDES
        .iter()
        .enumerate()
        .map(|(segment, (_, vrid, address))| Instance {
            interface: format!("eth{segment}"),
            priority,
            interval: Duration::from_millis(100),
            ..Instance::new(*vrid, &[*address])
        });
    let first = sides.next().context("no side")?;
    let mut keepalived = Keepalived::new(3, first);
    keepalived.instances.extend(sides);
    keepalived.sync = true;
    keepalived.start(lab.node("k")?)
}

/// The family's addresses are on `node` alone.
fn families_on(lab: &Lab, node: &str) -> Result<()> {
    both_on(lab, node, [VIP4, VIP6], SOON)
}

fn held_within(lab: &Lab, node: &str, since: Moment, bound: Duration) -> Result<()> {
    both_on(lab, node, [VIP4, OUTSIDE], SOON)?;
    let took = since.elapsed();
    ensure!(took <= bound + SLACK, "{took:?}, expected {bound:?}");
    Ok(())
}

fn both_on(lab: &Lab, node: &str, addresses: [IpAddr; 2], within: Duration) -> Result<()> {
    wait::until(&format!("{addresses:?} on {node} alone"), within, || {
        let mut holders = Vec::new();
        for one in lab.nodes() {
            for address in addresses {
                if one.holds(address)? {
                    holders.push(one.name());
                }
            }
        }
        Ok(Seen::when(holders, |held| held == &[node, node]).map(drop))
    })
}

fn await_family(agent: &mut Agent, family: &str, state: &str) -> Result<RouterState> {
    wait::until(&format!("{family} {state}"), SOON, || {
        let routers = agent.state()?.routers;
        let router = routers.into_iter().find(|r| r.family == family);
        let router = router.context("no router of this family")?;
        Ok(Seen::when(router, |r| r.state == state))
    })
}

/// Of every router of every agent.
fn transitions(scene: &Scene) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for agent in &scene.agents {
        all.extend(agent.state()?.routers.iter().map(|r| r.transitions));
    }
    Ok(all)
}

fn blames(router: &RouterState, name: &str, family: &str) -> Result<()> {
    let member = router.member.as_ref();
    ensure!(
        router.last_reason == "SyncGroup"
            && member.is_some_and(|m| m.name == name && m.family == family),
        "{router:?}"
    );
    Ok(())
}
