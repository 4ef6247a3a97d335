//! What a node that gave an address away still keeps on its loopback: neither the death of its agent nor the next
//! process changes when it goes.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use vipkeeper_e2e::addresses::KernelAddress;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Moment, Node, tests};

use crate::machine::SLACK;
use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};

tests! {
    alone what_is_parked_goes_with_its_agent,
    alone what_is_parked_passes_to_the_next_process_and_goes_in_time,
}

/// IFA_PROTO of what is parked (DESIGN §7).
const PARKED: Option<u8> = Some(0x57);
const LINGER: Duration = Duration::from_secs(8);
const HIGH: &[(&str, u8)] = &[("a", 200), ("b", 100)];
const LOW: &[(&str, u8)] = &[("a", 50), ("b", 100)];

fn routers(priorities: &[(&str, u8)]) -> [Router; 2] {
    let router = |name, vrid, address| Router {
        linger: Some(LINGER),
        ..Router::new(name, vrid, &[address], priorities)
    };
    [router("web4", 51, VIP4), router("web6", 52, VIP6)]
}

/// What is parked on a node.
fn parked(node: &Node) -> Result<Vec<IpAddr>> {
    let all = node.addresses()?;
    let is_parked = |a: &&KernelAddress| a.interface == "lo" && a.protocol == PARKED;
    Ok(all.iter().filter(is_parked).map(|a| a.address).collect())
}

/// Node a gave both addresses to b a moment ago and has them parked.
fn given_away() -> Result<Scene> {
    let mut scene = Scene::start(&["a", "b"], 1, &routers(HIGH))?;
    for router in &routers(HIGH) {
        scene.await_active(router, "a")?;
    }
    let text = manifests(&scene.lab, &routers(LOW));
    scene
        .agents
        .iter()
        .try_for_each(|agent| agent.edit(&text))?;
    let a = scene.lab.node("a")?.clone();
    wait::until("both addresses parked on a", SOON, || {
        let parked = parked(&a)?;
        Ok(Seen::when(parked, |parked| parked.len() == 2).map(|_| ()))
    })?;
    Ok(scene)
}

fn what_is_parked_goes_with_its_agent() -> Result<()> {
    let mut scene = given_away()?;
    let a = scene.lab.node("a")?.clone();
    let killed = Moment::now();
    kill(scene.agent("a")?.agent_id()?, Signal::SIGKILL)?;
    wait::until("nothing parked on a", LINGER / 2, || {
        Ok(Seen::when(parked(&a)?, Vec::is_empty).map(|_| ()))
    })?;
    let took = killed.elapsed();
    ensure!(took <= SLACK, "it took {took:?}");
    scene.await_holders(VIP4, &["b"], SOON)
}

fn what_is_parked_passes_to_the_next_process_and_goes_in_time() -> Result<()> {
    let mut scene = given_away()?;
    let begun = Moment::now();
    let new = Agent::restart(scene.lab.node("a")?)?;
    let mut old = std::mem::replace(scene.agent("a")?, new);
    let status = old.process_mut().ended(SOON)?;
    ensure!(status.success(), "{status}");
    ensure!(old.process().log().contains("taken over"));
    let a = scene.lab.node("a")?.clone();
    let kept = parked(&a)?;
    ensure!(
        kept.len() == 2 || begun.elapsed() > LINGER / 2,
        "the takeover removed what was parked: {kept:?}"
    );
    wait::until("nothing parked on a", LINGER + SLACK, || {
        Ok(Seen::when(parked(&a)?, Vec::is_empty).map(|_| ()))
    })?;
    let took = begun.elapsed();
    ensure!(took >= LINGER / 2, "after {took:?} already");
    scene.await_holders(VIP4, &["b"], SOON)
}
