//! Upgrades: a process beside a running one of the same instance takes everything over, and nobody notices.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::addresses::KernelAddress;
use vipkeeper_e2e::capture::longest_gap;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Moment, tests};

use crate::machine::SLACK;
use crate::scene::{SOON, Scene, VIP4, VIP6};

tests! {
    alone an_active_is_taken_over_and_nobody_notices,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];

/// Addresses that are not renewed while a test lasts: whoever touches one leaves a stamp.
fn router(name: &str, vrid: u8, address: IpAddr) -> Router {
    Router {
        lifetime: Some(Duration::from_secs(3_600)),
        ..Router::new(name, vrid, &[address], AB)
    }
}

/// An address with who made it, and when it was made and changed.
type Stamped = (IpAddr, Option<u8>, [u32; 2]);

/// What a takeover must not change on a node: of our addresses, who made them and when.
fn ours(scene: &Scene, node: &str) -> Result<Vec<Stamped>> {
    let all = scene.lab.node(node)?.addresses()?;
    let of = |a: KernelAddress| (a.address, a.protocol, a.stamps);
    Ok(all.into_iter().map(of).collect())
}

/// Starts a process beside the one on `node` and waits until it has taken that one's place.
fn upgrade(scene: &mut Scene, node: &str) -> Result<()> {
    let new = Agent::restart(scene.lab.node(node)?)?;
    let mut old = std::mem::replace(scene.agent(node)?, new);
    let status = old.process_mut().ended(SOON)?;
    ensure!(status.success(), "{status}");
    let log = old.process().log();
    ensure!(log.contains("taken over"), "it left in another way");
    Ok(())
}

/// Lets `node` advertise `count` times more.
fn await_advertisements(
    scene: &Scene,
    vrid: u8,
    node: &str,
    since: Moment,
    count: usize,
) -> Result<()> {
    let mac = scene.lab.node(node)?.mac(0);
    wait::until("advertisements", SOON, || {
        let sent = scene.capture.from_sender(vrid, mac, since).len();
        Ok(Seen::when(sent, |sent| *sent >= count).map(|_| ()))
    })
}

/// `node` has advertised all the time, within an interval and what a busy machine adds, and never left.
fn ensure_uninterrupted(scene: &Scene, router: &Router, node: &str, since: Moment) -> Result<()> {
    let sent = scene.capture.advertisements(router.vrid);
    let mac = scene.lab.node(node)?.mac(0);
    let since: Vec<_> = sent.into_iter().filter(|s| s.at >= since).collect();
    ensure!(
        since.iter().all(|s| s.source_mac == mac),
        "another advertised {}",
        router.name
    );
    ensure!(
        since.iter().all(|s| s.advertisement.priority > 0),
        "{} was released",
        router.name
    );
    let gap = longest_gap(&since);
    ensure!(
        gap <= router.interval + SLACK,
        "{}: a gap of {gap:?}",
        router.name
    );
    Ok(())
}

fn an_active_is_taken_over_and_nobody_notices() -> Result<()> {
    let routers = [router("web4", 51, VIP4), router("web6", 52, VIP6)];
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let meters = [scene.lab.meter(VIP4)?, scene.lab.meter(VIP6)?];
    for meter in &meters {
        meter.await_answers(SOON)?;
    }
    let before = ours(&scene, "a")?;
    let transitions = scene.agent("a")?.router("web4")?.transitions;
    let begun = Moment::now();
    await_advertisements(&scene, 51, "a", begun, 3)?;

    upgrade(&mut scene, "a")?;
    let taken_over = Moment::now();

    for router in &routers {
        await_advertisements(&scene, router.vrid, "a", taken_over, 10)?;
        ensure_uninterrupted(&scene, router, "a", begun)?;
    }
    ensure!(ours(&scene, "a")? == before, "an address was touched");
    for meter in &meters {
        let gaps = meter.gaps(begun);
        ensure!(gaps.lost == 0, "{gaps}");
    }
    let state = scene.agent("a")?.router("web4")?;
    ensure!(
        state.state == "Active" && state.transitions == transitions,
        "{state:?}"
    );
    // Its own: the socket and the port are the new process's.
    scene.agent("a")?.run(&["health"])?;
    ensure!(scene.agent("a")?.get("/readyz")?.0 == 200);
    Ok(())
}
