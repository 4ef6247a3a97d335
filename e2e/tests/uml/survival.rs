//! What established connections survive: the death of the agent, its upgrade, the death of the director.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::json;
use vipkeeper_e2e::client::Course;
use vipkeeper_e2e::harness;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Load, tests};

use crate::directors::{Directors, Method};
use crate::scene::SOON;

tests! {
    alone a_killed_agent_without_a_peer_resets_nothing,
    alone an_upgrade_by_takeover_resets_nothing,
    alone the_death_of_a_director_resets_nothing_with_mh_over_dr,
    alone the_death_of_a_director_with_mh_over_nat_resets_nobody_who_speaks_next,
    alone the_death_of_a_director_with_nat_loses_no_new_connection_afterwards,
}

const SERVERS: u8 = 3;
const CONNECTIONS: usize = 40;
const DOWNLOADS: usize = 6;
/// What a connection bears: an election and the retransmissions that it waits for.
const PATIENCE: Duration = Duration::from_secs(10);

fn a_killed_agent_without_a_peer_resets_nothing() -> Result<()> {
    for method in [Method::Nat, Method::Direct] {
        let mut scene = Directors::start(1, SERVERS, method, &json!({}))?;
        let load = load(&scene)?;
        let mut dead = scene.agents.remove(0);
        dead.process_mut().kill()?;
        let mut agent = Agent::restart(&scene.lan.directors()[0])?;
        agent.await_state("web", "Active", SOON)?;
        scene.agents.push(agent);
        scene.connect(10)?;
        unbroken(load)?;
    }
    Ok(())
}

fn an_upgrade_by_takeover_resets_nothing() -> Result<()> {
    let mut scene = Directors::start(1, SERVERS, Method::Nat, &json!({}))?;
    let load = load(&scene)?;
    let new = Agent::restart(&scene.lan.directors()[0])?;
    let mut old = std::mem::replace(&mut scene.agents[0], new);
    let status = old.process_mut().ended(SOON)?;
    ensure!(status.success(), "{status}");
    scene.agents[0].await_state("web", "Active", SOON)?;
    scene.await_serving(0, &[0, 1, 2])?;
    scene.connect(10)?;
    let course = unbroken(load)?;
    ensure!(course.longest < Duration::from_secs(1), "{course:?}");
    Ok(())
}

fn the_death_of_a_director_resets_nothing_with_mh_over_dr() -> Result<()> {
    let mut scene = alike(Method::Direct)?;
    let load = load(&scene)?;
    power_off_the_active(&mut scene)?;
    unbroken(load)?;
    Ok(())
}

/// Of the answers the successor knows nothing until the client has spoken again: NAT does not change them back, and the
/// client drops them.
fn the_death_of_a_director_with_mh_over_nat_resets_nobody_who_speaks_next() -> Result<()> {
    let mut scene = alike(Method::Nat)?;
    let load = load(&scene)?;
    let downloads = downloads(&scene);
    // Until all are under way.
    scene.await_connections(0, CONNECTIONS + DOWNLOADS)?;
    power_off_the_active(&mut scene)?;
    let tally = scene.connect(30)?;
    ensure!(tally.failed() == 0, "{tally}");
    let course = unbroken(load)?;
    let mut cut = 0;
    for download in downloads {
        match download.join() {
            Ok(outcome) => cut += usize::from(outcome.is_err()),
            Err(_panic) => bail!("a download panicked"),
        }
    }
    let longest = course.longest;
    harness::figure(&format!(
        "the death of a director with NAT and mh: 0 of {CONNECTIONS} connections broke whose clients speak, the longest \
         silence {longest:?}; {cut} of {DOWNLOADS} downloads did, whose clients only listen"
    ));
    Ok(())
}

/// Downloads that take longer than an election.
fn downloads(scene: &Directors) -> Vec<JoinHandle<Result<usize>>> {
    let targets = scene.targets().into_iter().cycle().take(DOWNLOADS);
    let download = |target| {
        let client = scene.client().with_patience(PATIENCE);
        thread::spawn(move || client.get(target, "/download/307200/4000"))
    };
    targets.map(download).collect()
}

fn the_death_of_a_director_with_nat_loses_no_new_connection_afterwards() -> Result<()> {
    let mut scene = Directors::start(2, SERVERS, Method::Nat, &json!({}))?;
    let load = load(&scene)?;
    power_off_the_active(&mut scene)?;
    let tally = scene.connect(30)?;
    ensure!(tally.failed() == 0, "{tally}");
    let course = load.stop()?;
    let (reset, longest) = (course.broken.len(), course.longest);
    harness::figure(&format!(
        "the death of a director with NAT and rr: {reset} of {CONNECTIONS} connections broke, the longest silence {longest:?}"
    ));
    Ok(())
}

/// Two directors that choose the same real server for a connection, and take one whose beginning they have not seen.
fn alike(method: Method) -> Result<Directors> {
    let more = json!({"scheduler": {"name": "mh", "flags": ["Fallback", "Port"]}});
    let scene = Directors::start(2, SERVERS, method, &more)?;
    for director in scene.lan.directors() {
        director
            .namespace()
            .sysctl(&[("ipv4/vs/sloppy_tcp", "1")])?;
    }
    Ok(scene)
}

/// The first director dies, the second serves.
fn power_off_the_active(scene: &mut Directors) -> Result<()> {
    let mut dead = scene.agents.remove(0);
    let lab = scene.lan.lab();
    lab.power_off(&lab.nodes()[0], &mut [dead.process_mut()])?;
    let [successor] = &mut scene.agents[..] else {
        bail!("not one agent is left");
    };
    successor.await_state("web", "Active", SOON)?;
    let client = scene.client().with_patience(Duration::from_millis(200));
    let [target, _] = scene.targets();
    wait::until("the successor serves", SOON, || {
        Ok(Seen::when(client.tcp(target, 1)?, |tally| tally.failed() == 0).map(|_| ()))
    })
}

/// Connections to both families that are asked all the time.
fn load(scene: &Directors) -> Result<Load> {
    let client = scene.client().with_patience(PATIENCE);
    let mut connections = Vec::new();
    for target in scene.targets() {
        connections.extend(client.open(target, CONNECTIONS / 2)?);
    }
    Ok(Load::on(connections))
}

/// Every connection goes on: each has answered once more since now.
fn unbroken(load: Load) -> Result<Course> {
    let before = load.answers();
    wait::until("each is asked again", PATIENCE * 2, || {
        Ok(Seen::when(load.answers(), |now| *now >= before + 2 * CONNECTIONS).map(|_| ()))
    })?;
    let course = load.stop()?;
    ensure!(course.broken.is_empty(), "{course:?}");
    Ok(course)
}
