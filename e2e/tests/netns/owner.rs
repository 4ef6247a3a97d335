//! The address owner of priority 255: among agents, and against keepalived in either role.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::addresses::KernelAddress;
use vipkeeper_e2e::keepalived::{Instance, Keepalived};
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Moment, Node, tests};

use crate::machine::{self, SLACK};
use crate::scene::{SOON, Scene, VIP4, manifests};

tests! {
    alone the_owner_is_active_at_once_and_never_touches_its_address,
    beside priority_255_without_the_address_waits_and_says_what_is_missing,
    beside we_are_the_backup_of_a_keepalived_that_owns_the_address,
    beside a_keepalived_is_the_backup_of_us_who_own_the_address,
}

const OWNER: &[(&str, u8)] = &[("a", 255), ("b", 100)];

/// The VIP as the host of `node` has it.
fn give(node: &Node) -> Result<()> {
    node.namespace()
        .ip(&format!("addr add {VIP4}/24 dev eth0\n"))
}

fn take(node: &Node) -> Result<()> {
    node.namespace()
        .ip(&format!("addr del {VIP4}/24 dev eth0\n"))
}

fn found(node: &Node) -> Result<Vec<KernelAddress>> {
    let mut all = node.addresses()?;
    all.retain(|a| a.address == VIP4);
    Ok(all)
}

fn the_owner_is_active_at_once_and_never_touches_its_address() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], OWNER);
    let mut scene = Scene::start(&["a", "b"], 1, &[])?;
    let a = scene.lab.node("a")?.clone();
    let text = manifests(&scene.lab, std::slice::from_ref(&router));
    // b first: it would not claim at all what a host of the link answers for.
    scene.agent("b")?.edit(&text)?;
    scene.agent("b")?.await_state("web", "Active", SOON)?;
    give(&a)?;
    let before = found(&a)?;

    let edited = Moment::now();
    scene.agents[0].edit(&text)?;
    let state = scene.agent("a")?.await_state("web", "Active", SOON)?;
    ensure!(state.last_reason == "AddressOwner", "{state:?}");
    ensure!(state.installed == 1 && state.effective_priority == 255);
    scene.await_active(&router, "a")?;
    wait::until("its announcement", SOON, || {
        let frames = scene.capture.announcements(VIP4, edited);
        let by_a = frames.iter().any(|frame| frame.source_mac == a.mac(0));
        Ok(Seen::when(by_a, |by_a| *by_a).map(|_| ()))
    })?;
    let by_a = scene.capture.from_sender(51, a.mac(0), edited);
    ensure!(by_a[0].advertisement.priority == 255, "{by_a:?}");
    let findings = scene.agent("a")?.state()?.findings();
    ensure!(findings.is_empty(), "{findings:?}");
    scene.lab.meter(VIP4)?.await_answers(SOON)?;

    // It loses what it owns, and gets it back.
    let lost = Moment::now();
    take(&a)?;
    scene.taken_over(&router, ("a", "b"), lost, router.skew_time(100))?;
    let state = scene.agent("a")?.await_state("web", "Initialize", SOON)?;
    ensure!(state.last_reason == "NotAddressOwner", "{state:?}");
    let back = Moment::now();
    give(&a)?;
    let sent = scene.await_sent(51, &a, back, SOON)?;
    let took = sent.at.since(back);
    ensure!(took <= SLACK, "{took:?}");
    scene.await_active(&router, "a")?;

    // A stop leaves the host what is the host's.
    let given = found(&a)?;
    let stopped = Moment::now();
    let status = scene.agents[0].process_mut().stop(SOON)?;
    ensure!(status.code() == Some(0), "{status}");
    let by_a = scene.capture.from_sender(51, a.mac(0), stopped);
    let last = by_a.last().context("no farewell")?;
    ensure!(last.advertisement.priority == 0, "{last:?}");
    ensure!(found(&a)? == given);
    let shape = |found: &[KernelAddress]| -> Vec<_> {
        let shape = |a: &KernelAddress| (a.prefix_length, a.flags, a.protocol, a.valid_lifetime);
        found.iter().map(shape).collect()
    };
    ensure!(shape(&given) == shape(&before));
    Ok(())
}

fn priority_255_without_the_address_waits_and_says_what_is_missing() -> Result<()> {
    let both = Router::new("both", 51, &[VIP4, [192, 0, 2, 101].into()], OWNER);
    let mut scene = Scene::start(&["a"], 1, &[])?;
    let a = scene.lab.node("a")?.clone();
    // One of two is not enough.
    give(&a)?;
    let text = manifests(&scene.lab, &[both]);
    let agent = scene.agent("a")?;
    agent.edit(&text)?;
    let why = "out, with its reason";
    agent.await_router("both", why, SOON, |r| r.last_reason == "NotAddressOwner")?;
    let findings = agent.state()?.findings();
    let names = |f: &String| f.contains("priority 255") && f.contains("no 192.0.2.101 of its own");
    ensure!(findings.iter().any(names), "{findings:?}");
    a.namespace().ip("addr add 192.0.2.101/24 dev eth0\n")?;
    agent.await_state("both", "Active", SOON)?;
    let findings = agent.state()?.findings();
    ensure!(!findings.iter().any(names), "{findings:?}");
    Ok(())
}

/// keepalived's instance of the owner's router.
fn instance(priority: u8) -> Instance {
    Instance {
        priority,
        interval: Duration::from_millis(100),
        ..Instance::new(51, &[VIP4])
    }
}

fn we_are_the_backup_of_a_keepalived_that_owns_the_address() -> Result<()> {
    machine::need_keepalived()?;
    let router = Router::new("web", 51, &[VIP4], &[("b", 254)]);
    let mut scene = Scene::start(&["a", "b"], 1, &[])?;
    let a = scene.lab.node("a")?.clone();
    give(&a)?;
    let mut owner = Keepalived::new(3, instance(255)).start(&a)?;
    scene.await_sent(51, &a, Moment::BOOT, SOON)?;
    let text = manifests(&scene.lab, std::slice::from_ref(&router));
    scene.agent("b")?.edit(&text)?;
    let state = scene
        .agent("b")?
        .await_router("web", "an owner heard", SOON, |r| {
            let heard = r.last_advertisement.as_ref();
            r.state == "Backup" && heard.is_some_and(|heard| heard.priority == 255)
        })?;
    let long = router.active_down_interval(254) * 2;
    wait::while_holds("Backup", long, || {
        let now = scene.agents[1].router("web")?;
        Ok(Seen::when(now.transitions, |t| *t == state.transitions).map(|_| ()))
    })?;
    owner.stop(SOON)?;
    scene.agent("b")?.await_state("web", "Active", SOON)?;
    scene.lab.meter(VIP4)?.await_answers(SOON)?;
    let _owner = Keepalived::new(3, instance(255)).start(&a)?;
    let state = scene.agent("b")?.await_state("web", "Backup", SOON)?;
    ensure!(state.last_reason == "HigherPriority", "{state:?}");
    // It lingers, parked where it answers nobody.
    scene.await_holders(VIP4, &["a"], SOON)
}

fn a_keepalived_is_the_backup_of_us_who_own_the_address() -> Result<()> {
    machine::need_keepalived()?;
    let router = Router::new("web", 51, &[VIP4], &[("a", 255)]);
    let mut scene = Scene::start(&["a", "b"], 1, &[])?;
    let (a, b) = (scene.lab.node("a")?.clone(), scene.lab.node("b")?.clone());
    give(&a)?;
    let _backup = Keepalived::new(3, instance(254)).start(&b)?;
    scene.await_holders(VIP4, &["a", "b"], SOON)?;
    let text = manifests(&scene.lab, std::slice::from_ref(&router));
    scene.agent("a")?.edit(&text)?;
    scene.agent("a")?.await_state("web", "Active", SOON)?;
    scene.await_holders(VIP4, &["a"], SOON)?;
    let settled = Moment::now();
    let by_a = |scene: &Scene| scene.capture.from_sender(51, a.mac(0), settled).len();
    wait::until("ten advertisements of the owner", SOON, || {
        Ok(Seen::when(by_a(&scene), |sent| *sent >= 10).map(|_| ()))
    })?;
    ensure!(
        scene.capture.from_sender(51, b.mac(0), settled).is_empty(),
        "keepalived spoke beside its owner"
    );
    // It takes over when we leave, and gives back at once when we return.
    scene.agents.remove(0).process_mut().stop(SOON)?;
    scene.await_holders(VIP4, &["a", "b"], SOON)?;
    scene.agents.push(Agent::restart(&a)?);
    scene.agent("a")?.await_state("web", "Active", SOON)?;
    scene.await_holders(VIP4, &["a"], SOON)
}
