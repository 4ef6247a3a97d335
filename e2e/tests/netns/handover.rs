//! Planned moves: a client that asks a thousand times a second loses nothing when a node stops, is drained, gets
//! another priority or gives a router away; and with a keepalived on one side no more than between two of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::keepalived::Instance;
use vipkeeper_e2e::manifest::{Preemption, Router};
use vipkeeper_e2e::meter::{ANSWER, Gaps};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Keepalived, Lab, Meter, Moment, Node, Process, tests};

use crate::machine::{self, SLACK};
use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};

tests! {
    alone of_twenty_planned_moves_none_loses_a_packet,
    alone a_client_that_asks_anew_while_both_hold_the_address_is_not_misled,
    alone without_preemption_a_drain_moves_the_addresses_and_a_lone_node_keeps_them,
    alone a_stop_without_a_peer_ends_in_time_and_leaves_nothing,
    alone a_drain_outlives_a_restart_and_what_cannot_be_drained_is_refused,
    alone beside_keepalived_a_planned_stop_loses_no_more_than_between_two_of_them,
}

/// What the loss of a single probe makes of a gap, with room.
const RACE: Duration = Duration::from_millis(5);
const AB: &[(&str, u8)] = &[("a", 200), ("b", 100)];
/// A priority below b's.
const LOWERED: &[(&str, u8)] = &[("a", 50), ("b", 100)];

fn both_families(priorities: &[(&str, u8)]) -> [Router; 2] {
    [
        Router::new("web4", 51, &[VIP4], priorities),
        Router::new("web6", 51, &[VIP6], priorities),
    ]
}

/// A scene in which a serves both families, and the client's meters, all steady.
fn steady(routers: &[Router]) -> Result<(Scene, Vec<Meter>)> {
    let mut scene = Scene::start(&["a", "b"], 1, routers)?;
    for router in routers {
        scene.await_active(router, "a")?;
    }
    let meters: Vec<_> = routers
        .iter()
        .map(|router| scene.lab.meter(router.addresses[0]))
        .collect::<Result<_>>()?;
    for meter in &meters {
        meter.await_answers(SOON)?;
    }
    Ok((scene, meters))
}

/// What happens to node a, and where the addresses are then.
const MOVES: &[(&str, &str)] = &[
    ("stop", "b"),
    ("start", "a"),
    ("drain", "b"),
    ("undrain", "a"),
    ("lower the priority", "b"),
    ("raise the priority", "a"),
    ("failover", "b"),
    ("take the failover back", "a"),
];

fn of_twenty_planned_moves_none_loses_a_packet() -> Result<()> {
    let routers = both_families(AB);
    let (mut scene, meters) = steady(&routers)?;
    let mut lost = Vec::new();
    for (number, (what, to)) in (1..=20).zip(MOVES.iter().cycle()) {
        let begun = Moment::now();
        carry_out(&mut scene, what)?;
        for router in &routers {
            scene.await_active(router, to)?;
        }
        for (router, meter) in routers.iter().zip(&meters) {
            let gaps = settled(meter, begun)?;
            if gaps.lost > 0 {
                lost.push(format!("{number}: {what}: {}: {gaps}", router.name));
            }
        }
    }
    ensure!(lost.is_empty(), "packets lost:\n{}", lost.join("\n"));
    nothing_on_loopback(&scene.lab)
}

fn carry_out(scene: &mut Scene, what: &str) -> Result<()> {
    let edit = |scene: &Scene, priorities| -> Result<()> {
        let text = manifests(&scene.lab, &both_families(priorities));
        scene.agents.iter().try_for_each(|agent| agent.edit(&text))
    };
    match what {
        "stop" => {
            let mut agent = take_agent(scene, "a")?;
            let status = agent.process_mut().stop(SOON)?;
            ensure!(
                status.code() == Some(0),
                "{status}\n{}",
                agent.process().log()
            );
            Ok(())
        }
        "start" => scene.restart("a"),
        "drain" | "undrain" => ask(scene.agent("a")?, &[what]),
        "lower the priority" => edit(scene, LOWERED),
        "raise the priority" => edit(scene, AB),
        "failover" => {
            ask(scene.agent("a")?, &["failover", "web4"])?;
            ask(scene.agent("a")?, &["failover", "web6"])
        }
        _ => {
            ask(scene.agent("a")?, &["undrain", "web4"])?;
            ask(scene.agent("a")?, &["undrain", "web6"])
        }
    }
}

fn take_agent(scene: &mut Scene, node: &str) -> Result<Agent> {
    let mut agents = scene.agents.iter();
    let position = agents.position(|agent| agent.node().name() == node);
    match position {
        Some(position) => Ok(scene.agents.remove(position)),
        None => anyhow::bail!("no agent on {node}"),
    }
}

/// Runs a verb that must be obeyed.
fn ask(agent: &Agent, verb: &[&str]) -> Result<()> {
    let output = agent.run(verb)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{verb:?}: {said}");
    Ok(())
}

/// Runs a verb that must be refused; what it says.
fn refused(agent: &Agent, verb: &[&str]) -> Result<String> {
    let output = agent.run(verb)?;
    ensure!(
        output.status.code() == Some(1),
        "{verb:?}: {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What the client saw since `begun`, once the probes that were on their way are answered or lost.
fn settled(meter: &Meter, begun: Moment) -> Result<Gaps> {
    let until = Moment::now();
    wait::until("the last probes settled", SOON, || {
        Ok(Seen::when(until.elapsed(), |passed| *passed > ANSWER).map(|_| ()))
    })?;
    Ok(meter.gaps(begun))
}

fn nothing_on_loopback(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        let addresses = node.addresses()?;
        let mut left = addresses
            .iter()
            .filter(|a| a.interface == "lo" && [VIP4, VIP6].contains(&a.address));
        ensure!(left.next().is_none(), "{}: {addresses:?}", node.name());
    }
    Ok(())
}

/// Both nodes answer for a moment, and the first answer counts: it may be that of the node that leaves.
fn a_client_that_asks_anew_while_both_hold_the_address_is_not_misled() -> Result<()> {
    let routers = both_families(AB);
    let (mut scene, meters) = steady(&routers)?;
    for (what, to) in &MOVES[..4] {
        let begun = Moment::now();
        let client = scene.lab.client().clone();
        forgetting(&client, || {
            carry_out(&mut scene, what)?;
            routers
                .iter()
                .try_for_each(|router| scene.await_active(router, to))
        })?;
        for (router, meter) in routers.iter().zip(&meters) {
            let gaps = settled(meter, begun)?;
            // An entry that begins to be resolved between its listing and its deletion takes the packet that waits in
            // it along: one now and then. What this is about, a client that believes the wrong node, lasts seconds.
            let longest = gaps.longest();
            ensure!(longest < RACE, "{what}: {}: {gaps}", router.name);
        }
    }
    Ok(())
}

/// Does `work` while the client's entries of the virtual addresses are deleted over and over.
fn forgetting(client: &Node, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let forget = scope.spawn(|| -> Result<u32> {
            let interface = client.interface(0);
            let mut times = 0;
            while !done.load(Ordering::Relaxed) {
                for address in [VIP4, VIP6] {
                    // Not one that is being resolved: packets wait in it, and would be deleted as well.
                    let line = format!(
                        "neighbour flush to {address} dev {interface} nud reachable nud stale nud delay nud probe\n"
                    );
                    times += u32::from(client.namespace().ip(&line).is_ok());
                }
            }
            Ok(times)
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        let times = forget.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        ensure!(times >= 20, "the client forgot {times} times");
        outcome
    })
}

fn without_preemption_a_drain_moves_the_addresses_and_a_lone_node_keeps_them() -> Result<()> {
    let router = Router {
        preemption: Preemption::Never,
        ..Router::new("web", 51, &[VIP4], AB)
    };
    let mut scene = Scene::start_in_turn(&["a", "b"], std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let meter = scene.lab.meter(VIP4)?;
    meter.await_answers(SOON)?;

    let begun = Moment::now();
    ask(scene.agent("a")?, &["drain"])?;
    scene.await_active(&router, "b")?;
    let gaps = settled(&meter, begun)?;
    ensure!(gaps.lost == 0, "{gaps}");

    take_agent(&mut scene, "b")?.process_mut().stop(SOON)?;
    let alone = scene.agent("a")?.await_state("web", "Active", SOON)?;
    ensure!(
        (alone.priority, alone.effective_priority) == (200, 1),
        "{alone:?}"
    );
    ask(scene.agent("a")?, &["undrain"])?;
    meter.await_answers(SOON)?;

    // Nobody is there to take over: it says priority 0, waits, and serves all the while.
    let begun = Moment::now();
    ask(scene.agent("a")?, &["failover"])?;
    let agent = scene.agent("a")?;
    let back = agent.await_router("web", "back", SOON, |r| r.last_reason == "NoSuccessor")?;
    ensure!(back.state == "Active" && back.drained, "{back:?}");
    let gaps = settled(&meter, begun)?;
    ensure!(gaps.lost == 0, "{gaps}");
    Ok(())
}

fn a_stop_without_a_peer_ends_in_time_and_leaves_nothing() -> Result<()> {
    let routers = both_families(&[("a", 200)]);
    let mut scene = Scene::start(&["a"], 1, &[])?;
    let before = scene.lab.node("a")?.addresses()?;
    scene.agents[0].edit(&manifests(&scene.lab, &routers))?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let begun = Moment::now();
    let mut agent = scene.agents.remove(0);
    let status = agent.process_mut().stop(SOON)?;
    ensure!(
        status.code() == Some(0),
        "{status}\n{}",
        agent.process().log()
    );
    // Three intervals and the largest skew, 200 ms, and the linger.
    let bound = routers[0].interval * 4 + Duration::from_millis(1_200) + SLACK;
    ensure!(begun.elapsed() <= bound, "{:?}", begun.elapsed());
    ensure!(
        scene.lab.node("a")?.addresses()? == before,
        "something is left"
    );
    Ok(())
}

fn a_drain_outlives_a_restart_and_what_cannot_be_drained_is_refused() -> Result<()> {
    let routers = both_families(AB);
    let (mut scene, _meters) = steady(&routers)?;
    let said = refused(scene.agent("a")?, &["failover", "wbe4"])?;
    ensure!(
        said.contains("no router `wbe4`") && said.contains("`web4`, `web6`"),
        "{said}"
    );
    let said = refused(scene.agent("a")?, &["failover"])?;
    ensure!(said.contains("which router?"), "{said}");
    let said = refused(scene.agent("a")?, &["undrain", "web4"])?;
    ensure!(said.contains("router `web4` is not drained"), "{said}");

    ask(scene.agent("a")?, &["failover", "web4"])?;
    scene.await_active(&routers[0], "b")?;
    scene.await_active(&routers[1], "a")?;
    take_agent(&mut scene, "a")?.process_mut().kill()?;
    for router in &routers {
        scene.await_active(router, "b")?;
    }
    scene.restart("a")?;
    // What is not drained comes back; what is, stays.
    scene.await_active(&routers[1], "a")?;
    let drained = scene.agent("a")?.router("web4")?;
    ensure!(drained.drained && drained.state == "Backup", "{drained:?}");
    ensure!(drained.effective_priority == 1, "{drained:?}");
    let table = scene.agent("a")?.run(&["state"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    ensure!(
        table.contains("until `vipkeeper-agent undrain web4`"),
        "{table}"
    );

    ask(scene.agent("a")?, &["undrain"])?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    Ok(())
}

const INTERVAL: Duration = Duration::from_secs(1);
const VRID: u8 = 51;

/// Who runs on a node.
#[derive(Clone, Copy)]
enum Daemon {
    Ours,
    Theirs,
}

fn beside_keepalived_a_planned_stop_loses_no_more_than_between_two_of_them() -> Result<()> {
    machine::need_agent()?;
    machine::need_keepalived()?;
    let lab = machine::lab(&["a", "b"], 1)?;
    let theirs = planned_stop(&lab, Daemon::Theirs, Daemon::Theirs)?;
    ensure!(
        theirs.longest() >= INTERVAL / 2,
        "keepalived waits its skew: {theirs}"
    );
    let succeeded = planned_stop(&lab, Daemon::Ours, Daemon::Theirs)?;
    ensure!(succeeded.lost == 0, "keepalived after us: {succeeded}");
    let succeeds = planned_stop(&lab, Daemon::Theirs, Daemon::Ours)?;
    ensure!(
        succeeds.longest() <= theirs.longest() + SLACK / 5,
        "we after keepalived: {succeeds}, keepalived after keepalived: {theirs}"
    );
    nothing_on_loopback(&lab)
}

/// `first` on a serves, `second` on b waits, and `first` is stopped in order: what the client saw.
fn planned_stop(lab: &Lab, first: Daemon, second: Daemon) -> Result<Gaps> {
    let start = |node: &str, daemon, priority| -> Result<Running> {
        let node = lab.node(node)?;
        match daemon {
            Daemon::Ours => {
                let router = Router {
                    version: 2,
                    interval: INTERVAL,
                    ..Router::new("web", VRID, &[VIP4], &[(node.name(), priority)])
                };
                let text = manifests(lab, &[router]);
                Ok(Running::Ours(Agent::start(node, &text)?))
            }
            Daemon::Theirs => {
                let instance = Instance {
                    interface: node.interface(0),
                    vrid: VRID,
                    priority,
                    interval: INTERVAL,
                    addresses: vec![VIP4],
                    password: None,
                    unicast: None,
                    preempt: true,
                };
                Ok(Running::Theirs(Keepalived::new(2, instance).start(node)?))
            }
        }
    };
    let mut active = start("a", first, 200)?;
    let meter = lab.meter(VIP4)?;
    meter.await_answers(SOON)?;
    let capture = lab.capture(0)?;
    let mut backup = start("b", second, 100)?;
    if let Running::Ours(agent) = &mut backup {
        agent.await_state("web", "Backup", SOON)?;
    }
    // The other one has heard at least one advertisement.
    let ready = Moment::now();
    let a = lab.node("a")?.mac(0);
    wait::until("two more advertisements of a", SOON, || {
        let sent = capture.from_sender(VRID, a, ready).len();
        Ok(Seen::when(sent, |sent| *sent >= 2).map(|_| ()))
    })?;

    let begun = Moment::now();
    active.process().stop(SOON)?;
    meter.await_answers(SOON)?;
    let what = "the address on b alone";
    wait::until(what, SOON, || {
        let held = (lab.node("a")?.holds(VIP4)?, lab.node("b")?.holds(VIP4)?);
        Ok(Seen::when(held, |held| *held == (false, true)).map(|_| ()))
    })?;
    let gaps = settled(&meter, begun)?;
    backup.process().stop(SOON)?;
    Ok(gaps)
}

enum Running {
    Ours(Agent),
    Theirs(Process),
}

impl Running {
    fn process(&mut self) -> &mut Process {
        match self {
            Self::Ours(agent) => agent.process_mut(),
            Self::Theirs(process) => process,
        }
    }
}
