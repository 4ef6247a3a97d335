//! Upgrades: a process beside a running one of the same instance takes everything over, and nobody notices.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use vipkeeper_e2e::addresses::KernelAddress;
use vipkeeper_e2e::capture::longest_gap;
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Moment, agent, tests};

use crate::machine::{self, SLACK};
use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};

tests! {
    alone an_active_is_taken_over_and_nobody_notices,
    alone a_backup_is_taken_over_and_stays_one,
    alone five_takeovers_in_a_row_go_unnoticed,
    alone two_hundred_and_fifty_routers_are_taken_over_together,
    alone one_that_shall_stay_after_it_was_replaced_waits_to_be_told_to_end,
    beside who_stands_by_in_another_container_is_not_ready,
    alone the_build_of_an_earlier_commit_is_taken_over,
    alone a_process_whose_manifests_have_errors_stands_by,
    beside beside_a_process_that_hangs_the_new_one_waits_for_its_end,
    beside instances_side_by_side_never_touch_what_the_other_has,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];

/// Addresses that are not renewed while a test lasts: whoever touches one leaves a stamp.
pub(crate) fn router(name: &str, vrid: u8, address: IpAddr) -> Router {
    Router {
        lifetime: Some(Duration::from_secs(3_600)),
        ..Router::new(name, vrid, &[address], AB)
    }
}

/// An address with who made it, and when it was made and changed.
pub(crate) type Stamped = (IpAddr, Option<u8>, [u32; 2]);

/// What a takeover must not change on a node: of our addresses, who made them and when.
pub(crate) fn ours(scene: &Scene, node: &str) -> Result<Vec<Stamped>> {
    let all = scene.lab.node(node)?.addresses()?;
    let of = |a: KernelAddress| (a.address, a.protocol, a.stamps);
    Ok(all.into_iter().map(of).collect())
}

/// Starts a process beside the one on `node` and waits until it has taken that one's place.
fn upgrade(scene: &mut Scene, node: &str) -> Result<()> {
    let new = Agent::restart(scene.lab.node(node)?)?;
    succeed(scene, node, new)
}

/// Waits until `new` has taken the place of the process on `node`.
fn succeed(scene: &mut Scene, node: &str, new: Agent) -> Result<()> {
    let mut old = std::mem::replace(scene.agent(node)?, new);
    let status = old.process_mut().ended(SOON)?;
    ensure!(status.success(), "{status}");
    let log = old.process().log();
    ensure!(log.contains("taken over"), "it left in another way");
    Ok(())
}

/// Lets `node` advertise `count` times more.
pub(crate) fn await_advertisements(
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
pub(crate) fn ensure_uninterrupted(
    scene: &Scene,
    router: &Router,
    node: &str,
    since: Moment,
) -> Result<()> {
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

fn one_that_shall_stay_after_it_was_replaced_waits_to_be_told_to_end() -> Result<()> {
    let router = router("web", 51, VIP4);
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let staying = Agent::restart_with(scene.lab.node("a")?, &["--stay-when-replaced"])?;
    succeed(&mut scene, "a", staying)?;
    let since = Moment::now();
    let new = Agent::restart(scene.lab.node("a")?)?;
    let mut old = std::mem::replace(scene.agent("a")?, new);
    wait::until("only the guardian is left", SOON, || {
        let is_alone = old.process().children().is_empty();
        Ok(Seen::when(is_alone, |alone| *alone).map(|_| ()))
    })?;
    ensure!(old.process().log().contains("taken over"));
    await_advertisements(&scene, 51, "a", Moment::now(), 5)?;
    let ended = old.process_mut().exit_status()?;
    ensure!(ended.is_none(), "it ended by itself: {ended:?}");
    let status = old.process_mut().stop(SOON)?;
    ensure!(status.success(), "{status}");
    await_advertisements(&scene, 51, "a", Moment::now(), 5)?;
    ensure_uninterrupted(&scene, &router, "a", since)
}

fn who_stands_by_in_another_container_is_not_ready() -> Result<()> {
    let router = router("web", 51, VIP4);
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let own = scene.agent("a")?.run(&["ready"])?;
    ensure!(own.status.success(), "{own:?}");
    // Another container has a PID namespace of its own and the same run directory.
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork"]).arg(agent::program()?);
    command.arg("ready").arg("--run-dir");
    command.arg(scene.lab.node("a")?.directory().join("run"));
    let other = command.output().context("unshare, of util-linux")?;
    let said = String::from_utf8_lossy(&other.stderr);
    ensure!(!other.status.success(), "it is ready");
    ensure!(said.contains("this one stands by"), "{said}");
    Ok(())
}

fn a_backup_is_taken_over_and_stays_one() -> Result<()> {
    let router = router("web", 51, VIP4);
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let before = scene.agent("b")?.router("web")?;
    let begun = Moment::now();
    upgrade(&mut scene, "b")?;
    let after = scene.agent("b")?.await_state("web", "Backup", SOON)?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    let heard = |state: &agent::RouterState| state.count("advertisementsReceived");
    ensure!(
        heard(&after)? >= heard(&before)?,
        "it forgot what it had heard"
    );
    await_advertisements(&scene, 51, "a", Moment::now(), 10)?;
    ensure_uninterrupted(&scene, &router, "a", begun)?;
    // Its timer still runs: it takes over when it has to.
    let died = scene.power_off("a")?;
    scene.taken_over(&router, ("a", "b"), died, router.active_down_interval(100))?;
    Ok(())
}

fn five_takeovers_in_a_row_go_unnoticed() -> Result<()> {
    let router = router("web", 51, VIP4);
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let meter = scene.lab.meter(VIP4)?;
    meter.await_answers(SOON)?;
    let (before, begun) = (ours(&scene, "a")?, Moment::now());
    for _ in 0..5 {
        upgrade(&mut scene, "a")?;
        scene.agent("a")?.await_state("web", "Active", SOON)?;
    }
    await_advertisements(&scene, 51, "a", Moment::now(), 5)?;
    ensure_uninterrupted(&scene, &router, "a", begun)?;
    ensure!(ours(&scene, "a")? == before, "an address was touched");
    let gaps = meter.gaps(begun);
    ensure!(gaps.lost == 0, "{gaps}");
    // The last of them knows how to leave.
    let status = scene.agent("a")?.process_mut().stop(SOON)?;
    ensure!(status.success(), "{status}");
    scene.await_holders(VIP4, &["b"], SOON)
}

fn two_hundred_and_fifty_routers_are_taken_over_together() -> Result<()> {
    let routers: Vec<Router> = (1..=250)
        .map(|vrid| Router {
            interface: Some("eth0".to_owned()),
            ..router(&format!("vip-{vrid}"), vrid, [203, 0, 113, vrid].into())
        })
        .collect();
    let mut scene = Scene::start(&["a"], 1, &routers)?;
    let what = "250 addresses";
    wait::until(what, SOON, || {
        let all = scene.lab.node("a")?.addresses()?;
        let held = all.iter().filter(|a| a.protocol == Some(0x56)).count();
        Ok(Seen::when(held, |held| *held == 250).map(|_| ()))
    })?;
    let (before, begun) = (ours(&scene, "a")?, Moment::now());
    await_advertisements(&scene, 250, "a", begun, 3)?;
    upgrade(&mut scene, "a")?;
    let taken_over = Moment::now();
    for router in [&routers[0], &routers[249]] {
        await_advertisements(&scene, router.vrid, "a", taken_over, 10)?;
    }
    for router in &routers {
        ensure_uninterrupted(&scene, router, "a", begun)?;
    }
    ensure!(ours(&scene, "a")? == before, "an address was touched");
    Ok(())
}

/// `VIPKEEPER_PREVIOUS_AGENT` is the program that `scripts/previous-agent` builds.
fn the_build_of_an_earlier_commit_is_taken_over() -> Result<()> {
    machine::need_root()?;
    let previous = std::env::var_os("VIPKEEPER_PREVIOUS_AGENT").filter(|path| !path.is_empty());
    let previous = previous.ok_or_else(|| {
        Skip::because("VIPKEEPER_PREVIOUS_AGENT is not set: scripts/previous-agent builds one")
    })?;
    let router = router("web", 51, VIP4);
    let mut scene = Scene::start(&["a", "b"], 1, &[])?;
    let text = manifests(&scene.lab, std::slice::from_ref(&router));
    for agent in &scene.agents {
        agent.edit(&text)?;
    }
    scene.await_active(&router, "a")?;
    let status = scene.agent("a")?.process_mut().stop(SOON)?;
    ensure!(status.success(), "{status}");
    let old = Agent::restart_as(scene.lab.node("a")?, previous.as_ref())?;
    *scene.agent("a")? = old;
    scene.await_active(&router, "a")?;
    let meter = scene.lab.meter(VIP4)?;
    meter.await_answers(SOON)?;
    let (before, begun) = (ours(&scene, "a")?, Moment::now());
    let new = Agent::restart(scene.lab.node("a")?)?;
    let mut old = std::mem::replace(scene.agent("a")?, new);
    let status = old.process_mut().ended(SOON)?;
    ensure!(status.success(), "{status}");
    scene.agent("a")?.await_state("web", "Active", SOON)?;
    let log = old.process().log();
    if log.contains("it speaks vipkeeper-takeover/") {
        // Its protocol differs: then it leaves in the ordinary way, and no more is promised.
        return Ok(());
    }
    ensure!(
        log.contains("taken over"),
        "it speaks the same protocol and was not taken over: what is frozen has changed, so raise \
         vipkeeper_vrrp::FORMAT, or the words of takeover::PROTOCOL"
    );
    await_advertisements(&scene, 51, "a", Moment::now(), 10)?;
    ensure_uninterrupted(&scene, &router, "a", begun)?;
    ensure!(ours(&scene, "a")? == before, "an address was touched");
    let gaps = meter.gaps(begun);
    ensure!(gaps.lost == 0, "{gaps}");
    Ok(())
}

fn a_process_whose_manifests_have_errors_stands_by() -> Result<()> {
    let router = router("web", 51, VIP4);
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let good = manifests(&scene.lab, std::slice::from_ref(&router));
    let begun = Moment::now();
    scene.agent("a")?.edit(
        &good
            .replace("203.0.113", "300.0.113")
            .replace("192.0.2.100", "300.0.2.100"),
    )?;
    let new = Agent::restart(scene.lab.node("a")?)?;
    await_log(&new, "no takeover: the configuration has errors")?;
    // Whoever asks is answered by the one that runs.
    ensure!(scene.agent("a")?.run(&["health"])?.status.success());
    ensure!(scene.agent("a")?.process_mut().exit_status()?.is_none());
    scene.agent("a")?.edit(&good)?;
    succeed(&mut scene, "a", new)?;
    await_advertisements(&scene, 51, "a", Moment::now(), 5)?;
    ensure_uninterrupted(&scene, &router, "a", begun)
}

fn beside_a_process_that_hangs_the_new_one_waits_for_its_end() -> Result<()> {
    let router = router("web", 51, VIP4);
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    scene.agent("a")?.process().signal_all(Signal::SIGSTOP)?;
    let new = Agent::restart(scene.lab.node("a")?)?;
    await_log(&new, "no takeover: the running agent goes on")?;
    let hung = Moment::now();
    let mut old = std::mem::replace(scene.agent("a")?, new);
    ensure!(
        scene.holders(VIP4)? == ["a"],
        "the address is still the old one's"
    );
    old.process_mut().kill()?;
    scene.await_active(&router, "a")?;
    await_advertisements(&scene, 51, "a", hung, 3)
}

fn instances_side_by_side_never_touch_what_the_other_has() -> Result<()> {
    let (one, other) = (
        router("one", 51, VIP4),
        router("other", 52, [192, 0, 2, 101].into()),
    );
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&one))?;
    scene.await_active(&one, "a")?;
    let node = scene.lab.node("a")?.clone();
    let text = manifests(&scene.lab, std::slice::from_ref(&other));
    let start = || Agent::start_instance(&node, "other", 9651, &text);
    let mut second = start()?;
    second.await_state("other", "Active", SOON)?;
    scene.await_holders(other.addresses[0], &["a"], SOON)?;
    let of = |address: IpAddr| -> Result<Stamped> {
        let all = ours(&scene, "a")?;
        let found = all.into_iter().find(|found| found.0 == address);
        found.with_context(|| format!("{address} is gone"))
    };
    let (ones, others) = (of(VIP4)?, of(other.addresses[0])?);

    // A crash and a start of the one are nothing to the other.
    second.process_mut().kill()?;
    let mut second = start()?;
    second.await_state("other", "Active", SOON)?;
    ensure!(
        of(VIP4)? == ones,
        "the first instance's address was touched"
    );
    let others_again = wait::until("the second instance's address", SOON, || {
        Ok(match of(other.addresses[0]) {
            Ok(found) => Seen::when(found, |found| *found != others),
            Err(error) => Seen::NotYet(error.to_string()),
        })
    })?;
    let mut first = scene.agents.remove(0);
    first.process_mut().kill()?;
    scene.restart("a")?;
    scene.agent("a")?.await_state("one", "Active", SOON)?;
    let all = ours(&scene, "a")?;
    ensure!(
        all.contains(&others_again),
        "the second instance's address was touched: {all:?}"
    );

    // A takeover stays within its instance.
    let status = {
        let mut next = start()?;
        let status = second.process_mut().ended(SOON)?;
        next.await_state("other", "Active", SOON)?;
        second = next;
        status
    };
    ensure!(status.success(), "{status}");
    ensure!(scene.agent("a")?.process_mut().exit_status()?.is_none());
    let status = second.process_mut().stop(SOON)?;
    ensure!(status.success(), "{status}");
    ensure!(
        scene.lab.node("a")?.holds(VIP4)?,
        "the first instance's address is gone"
    );
    ensure!(!scene.lab.node("a")?.holds(other.addresses[0])?);
    Ok(())
}

fn await_log(agent: &Agent, text: &str) -> Result<()> {
    wait::until(text, SOON, || {
        Ok(Seen::when(agent.process().log(), |log| log.contains(text)).map(|_| ()))
    })
}
