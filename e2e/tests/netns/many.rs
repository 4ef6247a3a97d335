//! Many routers on a node: every VRID of both families on one interface, and a thousand on two. Whatever happens
//! to the node that holds them, no virtual router is advertised by two nodes for longer than an interval.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use vipkeeper_e2e::chronicle::Key;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Capture, Chronicle, Moment, Node};

use crate::machine::SLACK;
use crate::scene::Scene;

vipkeeper_e2e::tests! {
    alone every_vrid_of_both_families_starts_moves_and_thaws_without_two_holders,
    alone a_thousand_routers_on_two_interfaces_start_and_move_without_two_holders,
}

const PRIORITIES: &[(&str, u8)] = &[("a", 254), ("b", 240)];
/// What a start, a crash and a return of so many may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// All VRIDs of both families on a segment, each with an address of its own.
fn routers(segment: u8) -> Vec<Router> {
    let on_segment = |name: &str, vrid, address| Router {
        interface: Some(format!("eth{segment}")),
        ..Router::new(
            &format!("{name}-{segment}-{vrid}"),
            vrid,
            &[address],
            PRIORITIES,
        )
    };
    let v4 = |vrid| IpAddr::from(Ipv4Addr::new(198, 18, segment, vrid));
    let v6 = |vrid: u8| {
        IpAddr::from(Ipv6Addr::new(
            0x2001,
            0xdb8,
            0xf,
            segment.into(),
            0,
            0,
            0,
            vrid.into(),
        ))
    };
    (1..=255)
        .flat_map(|vrid| {
            [
                on_segment("v4", vrid, v4(vrid)),
                on_segment("v6", vrid, v6(vrid)),
            ]
        })
        .collect()
}

fn every_vrid_of_both_families_starts_moves_and_thaws_without_two_holders() -> Result<()> {
    let routers = routers(0);
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    await_all(&mut scene, "a", "Active", routers.len())?;
    await_all(&mut scene, "b", "Backup", routers.len())?;
    let started = one_holder_each(&[&scene.capture], &routers, Moment::BOOT)?;
    ensure!(
        started.len() == routers.len(),
        "{} advertised",
        started.len()
    );

    // The peer freezes, as a virtual machine does that moves to another host, and comes back.
    scene.agent("a")?.process().signal_all(Signal::SIGSTOP)?;
    await_all(&mut scene, "b", "Active", routers.len())?;
    let thawed = Moment::now();
    scene.agent("a")?.process().signal_all(Signal::SIGCONT)?;
    await_all(&mut scene, "a", "Active", routers.len())?;
    await_all(&mut scene, "b", "Backup", routers.len())?;
    one_holder_each(&[&scene.capture], &routers, thawed)?;

    let died = scene.power_off("a")?;
    await_all(&mut scene, "b", "Active", routers.len())?;
    taken_over(&scene, &[&scene.capture], &routers, died)
}

fn a_thousand_routers_on_two_interfaces_start_and_move_without_two_holders() -> Result<()> {
    let all: Vec<Router> = (0..2).flat_map(routers).collect();
    ensure!(all.len() >= 1_000, "{} routers", all.len());
    let mut scene = Scene::start(&["a", "b"], 2, &all)?;
    let second = scene.lab.capture(1)?;
    await_all(&mut scene, "a", "Active", all.len())?;
    await_all(&mut scene, "b", "Backup", all.len())?;
    one_holder_each(&[&scene.capture, &second], &all, Moment::BOOT)?;
    let died = scene.power_off("a")?;
    await_all(&mut scene, "b", "Active", all.len())?;
    taken_over(&scene, &[&scene.capture, &second], &all, died)
}

/// Waits until all routers of the agent of `node` are in `state`.
fn await_all(scene: &mut Scene, node: &str, state: &str, count: usize) -> Result<()> {
    let agent = scene.agent(node)?;
    let what = format!("all routers {state} at node {node}");
    wait::until(&what, PATIENCE, || Ok(census(agent, state, count)))
}

fn census(agent: &Agent, state: &str, count: usize) -> Seen<()> {
    match agent.state() {
        Ok(now) => {
            let others = now.routers.iter().filter(|r| r.state != state);
            let others: Vec<&str> = others.map(|r| r.name.as_str()).collect();
            let seen = (now.routers.len(), others.len(), others.first().copied());
            Seen::when(seen, |(all, others, _)| *all == count && *others == 0).map(drop)
        }
        Err(error) => Seen::NotYet(format!("{error:#}")),
    }
}

/// Demands that nothing was advertised by two nodes for longer than an interval from the first promotion on, and
/// gives who was advertised at all.
fn one_holder_each(
    captures: &[&Capture],
    routers: &[Router],
    since: Moment,
) -> Result<BTreeMap<(usize, Key), Moment>> {
    let interval = routers[0].interval;
    let mut seen = BTreeMap::new();
    for (segment, capture) in captures.iter().enumerate() {
        let chronicle = Chronicle::of(&capture.frames(), since);
        for (key, overlap) in chronicle.overlaps() {
            ensure!(
                overlap <= interval,
                "VRID {key:?} of segment {segment} was advertised by two nodes for {overlap:?}"
            );
        }
        let first = chronicle.first();
        seen.extend(first.into_iter().map(|(key, at)| ((segment, key), at)));
    }
    Ok(seen)
}

/// Demands that `b` advertised everything within the protocol's bound after the death of `a`.
fn taken_over(
    scene: &Scene,
    captures: &[&Capture],
    routers: &[Router],
    died: Moment,
) -> Result<()> {
    let (a, b): (&Node, &Node) = (scene.lab.node("a")?, scene.lab.node("b")?);
    let bound = routers[0].active_down_interval(PRIORITIES[1].1) + SLACK;
    for (segment, capture) in captures.iter().enumerate() {
        let segment = u8::try_from(segment)?;
        let frames = capture.frames();
        let last = Chronicle::of(&frames, Moment::BOOT).last_of(a.mac(segment));
        let first = Chronicle::of(&frames, died).first_of(b.mac(segment));
        ensure!(first.len() == 510, "{} of 510 were taken over", first.len());
        for (key, at) in first {
            let silence = at.since(last[&key]);
            ensure!(
                silence <= bound,
                "VRID {key:?}: {silence:?}, bound {bound:?}"
            );
        }
    }
    Ok(())
}
