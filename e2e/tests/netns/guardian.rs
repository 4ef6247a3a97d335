//! What is left of an agent that dies or hangs: nothing, by the time that the next Active has announced, unless its
//! guardian dies with it; and what `cleanup` takes away then.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use vipkeeper_e2e::capture::Frame;
use vipkeeper_e2e::frame::Content;
use vipkeeper_e2e::hang::Hang;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Moment, Node, Sender, tests};
use vipkeeper_wire::{MacAddr, arp, ndp};

use crate::machine::SLACK;
use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};

tests! {
    alone no_orphan_answers_for_a_killed_agent,
    alone no_orphan_answers_for_a_stopped_agent_and_none_when_it_is_continued,
    alone no_orphan_answers_for_an_agent_whose_election_hangs,
    alone an_agent_that_is_stopped_for_less_than_its_down_interval_stays_active,
    beside an_agent_outlives_its_guardian_and_leaves_its_addresses_to_their_lifetime,
    beside signals_reach_the_agent_and_its_exit_status_comes_back,
    beside cleanup_refuses_beside_a_running_agent_and_removes_what_a_dead_one_left,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];
/// From the new Active's first announcement on until nobody else may answer any more.
const AFTERWARDS: Duration = Duration::from_millis(100);
/// Questions a second, for each address.
const RATE: u32 = 200;
/// What a shell makes of SIGKILL.
const KILLED: i32 = 128 + 9;

/// Two routers whose addresses would stay for ten minutes.
fn pair() -> [Router; 2] {
    let router = |name, vrid, address| Router {
        lifetime: Some(Duration::from_secs(600)),
        ..Router::new(name, vrid, &[address], AB)
    };
    [router("web4", 51, VIP4), router("web6", 52, VIP6)]
}

fn no_orphan_answers_for_a_killed_agent() -> Result<()> {
    let mut scene = watched()?;
    let agent = scene.agents.remove(0);
    let killed = Moment::now();
    kill(agent.agent_id()?, Signal::SIGKILL)?;
    // Long before anybody else is Active.
    scene.await_holders(VIP4, &[], SLACK)?;
    taken_over_for_good(&mut scene, killed)?;
    ended_by_its_guardian(agent, Some("was ended by SIGKILL"))?;
    returns(&mut scene)
}

fn no_orphan_answers_for_a_stopped_agent_and_none_when_it_is_continued() -> Result<()> {
    let mut scene = watched()?;
    let agent = scene.agents.remove(0);
    let id = agent.agent_id()?;
    let stopped = Moment::now();
    kill(id, Signal::SIGSTOP)?;
    taken_over_for_good(&mut scene, stopped)?;
    // There is nobody left to continue.
    ensure!(kill(id, Signal::SIGCONT).is_err(), "it still exists");
    ended_by_its_guardian(agent, Some("the agent hung"))?;
    returns(&mut scene)
}

fn no_orphan_answers_for_an_agent_whose_election_hangs() -> Result<()> {
    let mut scene = watched()?;
    let agent = scene.agents.remove(0);
    let begun = Moment::now();
    // Its network thread would put the addresses back, if it lived.
    let hang = Hang::of(agent.agent_id()?, "election")?;
    taken_over_for_good(&mut scene, begun)?;
    hang.await_death(SOON)?;
    ended_by_its_guardian(agent, Some("the agent hung"))?;
    returns(&mut scene)
}

/// Agents on a and b, a Active for both routers, and a client that asks for both addresses all the time. Beside
/// them, on a: addresses of others.
fn watched() -> Result<Scene> {
    let routers = pair();
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    scene
        .lab
        .node("a")?
        .namespace()
        .ip("addr add 192.0.2.200/32 dev eth0 noprefixroute\n\
         addr add 2001:db8::200/128 dev eth0 nodad noprefixroute\n")?;
    let client = scene.lab.client();
    let mac = MacAddr(client.mac(0));
    let questions = [VIP4, VIP6].map(|address| match address {
        IpAddr::V4(address) => arp::probe(mac, address).to_vec(),
        IpAddr::V6(address) => ndp::probe(mac, address).to_vec(),
    });
    let sender = Sender::new(client, 0)?;
    // For longer than any test; it ends with the test's process.
    std::thread::spawn(move || sender.flood(&questions, 2 * RATE, Duration::from_secs(60)));
    let a = scene.lab.node("a")?.mac(0);
    for address in [VIP4, VIP6] {
        wait::until("answers by a", SOON, || {
            let frames = scene.capture.frames();
            let by_a = frames.iter().filter(|f| answers(f, address, a)).count();
            Ok(Seen::when(by_a, |by_a| *by_a >= 10).map(|_| ()))
        })?;
    }
    Ok(scene)
}

/// Whether `frame` says that `address` is at `mac`, and comes from there.
fn answers(frame: &Frame, address: IpAddr, mac: [u8; 6]) -> bool {
    frame.source_mac == mac
        && match &frame.content {
            Content::Arp(arp) => IpAddr::from(arp.sender) == address,
            Content::NeighbourAdvertisement(na) => IpAddr::from(na.target) == address,
            Content::Advertisement(_) | Content::Other => false,
        }
}

/// What happened to a at `since` moves both addresses to b within the bound; 100 ms after b announced one, nobody
/// else answers for it. Nothing else changed on a.
fn taken_over_for_good(scene: &mut Scene, since: Moment) -> Result<()> {
    let (a, b) = (scene.lab.node("a")?.clone(), scene.lab.node("b")?.mac(0));
    for router in &pair() {
        let bound = router.active_down_interval(100);
        scene.taken_over(router, ("a", "b"), since, bound)?;
        let address = router.addresses[0];
        let announced = wait::until("announcement by b", SOON, || {
            let announcements = scene.capture.announcements(address, since);
            let first = announcements.into_iter().find(|f| f.source_mac == b);
            Ok(match first {
                Some(frame) => Seen::Yes(frame.at),
                None => Seen::NotYet("none".to_owned()),
            })
        })?;
        let from = announced + AFTERWARDS;
        wait::until("a hundred answers by b", SOON, || {
            let frames = scene.capture.frames();
            let later = frames.iter().filter(|frame| frame.at >= from);
            let by_b = later.filter(|f| answers(f, address, b)).count();
            Ok(Seen::when(by_b, |by_b| *by_b >= 100).map(|_| ()))
        })?;
        let frames = scene.capture.frames();
        let mut by_a = frames.iter().filter(|f| answers(f, address, a.mac(0)));
        let last = by_a.next_back().context("a never answered")?;
        ensure!(
            last.at < from,
            "a still answers for {address} {:?} after b announced it",
            last.at.since(announced)
        );
    }
    ensure!(
        foreign(&a)? == ["192.0.2.200", "2001:db8::200"],
        "{:?}",
        a.addresses()?
    );
    Ok(())
}

/// The addresses on a node that are neither the lab's own, sorted.
fn foreign(node: &Node) -> Result<Vec<String>> {
    let own = [
        node.ipv4(0).into(),
        node.ipv6(0).into(),
        node.link_local(0).into(),
    ];
    let mut others: Vec<_> = node
        .addresses()?
        .into_iter()
        .map(|found| found.address)
        .filter(|address| !own.contains(address) && !address.is_loopback())
        .map(|address| address.to_string())
        .collect();
    others.sort();
    Ok(others)
}

fn ended_by_its_guardian(mut agent: Agent, word: Option<&str>) -> Result<()> {
    let status = agent.process_mut().ended(SOON)?;
    ensure!(status.code() == Some(KILLED), "{status}");
    if let Some(word) = word {
        let log = agent.process().log();
        ensure!(log.contains(word), "no {word:?} in\n{log}");
    }
    Ok(())
}

/// A supervisor starts it again: a preempts, as configured.
fn returns(scene: &mut Scene) -> Result<()> {
    scene.restart("a")?;
    for router in &pair() {
        scene.await_active(router, "a")?;
    }
    Ok(())
}

fn an_agent_that_is_stopped_for_less_than_its_down_interval_stays_active() -> Result<()> {
    let router = Router {
        interval: Duration::from_secs(1),
        ..Router::new("web", 51, &[VIP4], AB)
    };
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let before = scene.agent("a")?.router("web")?;

    let id = scene.agent("a")?.agent_id()?;
    let stopped = Moment::now();
    kill(id, Signal::SIGSTOP)?;
    wait::until("an advertisement is missing", SOON, || {
        let past = stopped.elapsed();
        Ok(Seen::when(past, |past| *past >= router.interval * 3 / 2).map(|_| ()))
    })?;
    let continued = Moment::now();
    kill(id, Signal::SIGCONT)?;
    let a = scene.lab.node("a")?.clone();
    wait::until("advertisements", SOON, || {
        let sent = scene.capture.from_sender(51, a.mac(0), continued).len();
        Ok(Seen::when(sent, |sent| *sent >= 3).map(|_| ()))
    })?;
    scene.await_active(&router, "a")?;
    let after = scene.agent("a")?.router("web")?;
    ensure!(
        after.transitions == before.transitions,
        "{before:?}\n{after:?}"
    );
    let b = scene.lab.node("b")?.mac(0);
    ensure!(scene.capture.from_sender(51, b, stopped).is_empty());
    Ok(())
}

fn an_agent_outlives_its_guardian_and_leaves_its_addresses_to_their_lifetime() -> Result<()> {
    let lifetime = Duration::from_secs(10);
    let router = Router {
        lifetime: Some(lifetime),
        ..Router::new("web", 51, &[VIP4], AB)
    };
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;

    let mut agent = scene.agents.remove(0);
    let (id, guardian) = (agent.agent_id()?, agent.guardian_id());
    let bereft = Moment::now();
    kill(guardian, Signal::SIGKILL)?;
    wait::until("the agent says so", SOON, || {
        let log = agent.process().log();
        Ok(Seen::when(log, |log| log.contains("the guardian was killed")).map(|_| ()))
    })?;
    agent.process_mut().ended(SOON)?;
    // It goes on: it advertises, and nobody takes over.
    let a = scene.lab.node("a")?.clone();
    let said = Moment::now();
    wait::until("advertisements", SOON, || {
        let sent = scene.capture.from_sender(51, a.mac(0), said).len();
        Ok(Seen::when(sent, |sent| *sent >= 5).map(|_| ()))
    })?;
    let b = scene.lab.node("b")?.mac(0);
    ensure!(scene.capture.from_sender(51, b, bereft).is_empty());

    let killed = Moment::now();
    kill(id, Signal::SIGKILL)?;
    let bound = router.active_down_interval(100);
    scene.taken_over(&router, ("a", "b"), killed, bound)?;
    scene.agent("b")?.await_state("web", "Active", SOON)?;
    ensure!(
        scene.holders(VIP4)? == ["a", "b"],
        "an orphan is left for now"
    );
    let within = (lifetime + Duration::from_secs(2)).saturating_sub(killed.elapsed());
    scene.await_holders(VIP4, &["b"], within)
}

fn signals_reach_the_agent_and_its_exit_status_comes_back() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], &[("a", 110)]);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
        scene.await_active(&router, "a")?;
        let mut agent = scene.agents.remove(0);
        let told = Moment::now();
        agent.process().signal(signal)?;
        let status = agent.process_mut().ended(SOON)?;
        ensure!(status.code() == Some(0), "{signal}: {status}");
        let a = scene.lab.node("a")?.mac(0);
        let sent = scene.capture.from_sender(51, a, told);
        let last = sent.last().context("no farewell")?;
        ensure!(last.advertisement.priority == 0, "{signal}: {last:?}");
        ensure!(scene.holders(VIP4)?.is_empty());
    }
    Ok(())
}

fn cleanup_refuses_beside_a_running_agent_and_removes_what_a_dead_one_left() -> Result<()> {
    let routers = pair();
    let mut scene = Scene::start(&["a"], 1, &[])?;
    let a = scene.lab.node("a")?.clone();
    let before = (a.addresses()?, settings(&a)?);
    let text = manifests(&scene.lab, &routers);
    scene.agent("a")?.edit(&text)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    ensure!(settings(&a)? != before.1, "nothing to restore");

    let (success, said) = cleanup(&scene.agents[0])?;
    ensure!(!success && said.contains("runs"), "{said}");
    scene.await_holders(VIP4, &["a"], SOON)?;

    let mut agent = scene.agents.remove(0);
    agent.process_mut().kill()?;
    ensure!(scene.holders(VIP4)? == ["a"], "nothing to clean up");
    let (success, said) = cleanup(&agent)?;
    ensure!(success, "{said}");
    for line in [
        "192.0.2.100/32",
        "2001:db8::100/128",
        "arp_ignore",
        "arp_announce",
    ] {
        ensure!(said.contains(line), "no {line} in\n{said}");
    }
    ensure!((a.addresses()?, settings(&a)?) == before);

    let (success, said) = cleanup(&agent)?;
    ensure!(success && said.contains("nothing"), "{said}");
    Ok(())
}

/// Whether it succeeded, and what it said.
fn cleanup(agent: &Agent) -> Result<(bool, String)> {
    let mut command = Command::new(vipkeeper_e2e::agent::program()?);
    let state = agent.node().directory().join("state");
    command.arg("cleanup").arg("--state-dir").arg(state);
    agent.node().namespace().enter(&mut command);
    let output = command.output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(said)?))
}

fn settings(node: &Node) -> Result<[String; 2]> {
    node.namespace().run(|| {
        let read = |name: &str| {
            let path = format!("/proc/sys/net/ipv4/conf/eth0/{name}");
            std::fs::read_to_string(&path).context(path)
        };
        Ok([read("arp_ignore")?, read("arp_announce")?])
    })
}
