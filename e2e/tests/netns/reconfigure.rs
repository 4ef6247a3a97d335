//! Edits under running routers: what an edit does not name notices nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::capture::longest_gap;
use vipkeeper_e2e::harness::note;
use vipkeeper_e2e::manifest::{Preemption, Router, Transport};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Moment, tests};

use crate::scene::{SOON, Scene, manifests};

tests! {
    alone edits_of_other_routers_leave_a_router_its_timers_and_its_entries,
    alone a_storm_of_edits_of_fifty_routers_ends_in_the_last_state,
    beside an_identical_edit_does_nothing,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];
const BA: &[(&str, u8)] = &[("b", 110), ("a", 100)];
/// What an edit may add to the longest pause that was there without one.
const JITTER: Duration = Duration::from_millis(20);

fn vip(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn router(name: &str, vrid: u8) -> Router {
    Router {
        // Nothing is renewed: who writes an entry anew does so because of an edit.
        lifetime: Some(Duration::MAX),
        ..Router::new(name, vrid, &[vip(vrid)], AB)
    }
}

/// When each of the routers' addresses was made and written last on node a.
fn entries(scene: &Scene, routers: &[Router]) -> Result<BTreeMap<IpAddr, [u32; 2]>> {
    let found = scene.lab.node("a")?.addresses()?;
    let ours = |address: &IpAddr| routers.iter().any(|r| r.addresses.contains(address));
    let entry = found.iter().map(|a| (a.address, a.stamps));
    Ok(entry.filter(|(address, _)| ours(address)).collect())
}

/// The longest pause of any of `routers` on node a since `since`.
fn pause(scene: &Scene, routers: &[Router], since: Moment) -> Result<Duration> {
    let a = scene.lab.node("a")?.mac(0);
    let gap = |r: &Router| longest_gap(&scene.capture.from_sender(r.vrid, a, since));
    Ok(routers.iter().map(gap).max().unwrap_or_default())
}

fn transitions(scene: &Scene, routers: &[Router]) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for agent in &scene.agents {
        let state = agent.state()?;
        let named =
            |r: &&vipkeeper_e2e::agent::RouterState| routers.iter().any(|o| o.name == r.name);
        all.extend(state.routers.iter().filter(named).map(|r| r.transitions));
    }
    Ok(all)
}

/// An edit, and what shows on node a that it was taken.
struct Edit {
    what: &'static str,
    routers: Vec<Router>,
    name: &'static str,
    shows: fn(&vipkeeper_e2e::agent::RouterState) -> bool,
}

/// One edit after the other of the routers `e1` and `e2`, each on top of the one before.
fn edits() -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut edit = |what, routers: &[Router], name, shows| {
        edits.push(Edit {
            what,
            routers: routers.to_vec(),
            name,
            shows,
        });
    };
    let mut one = router("e1", 61);
    let two = router("e2", 62);
    edit("add", &[one.clone(), two.clone()], "e2", |r| {
        r.state == "Active"
    });
    one.addresses.push(vip(161));
    edit("add an address", &[one.clone(), two.clone()], "e1", |r| {
        r.installed == 2
    });
    one.addresses.remove(0);
    edit(
        "remove an address",
        &[one.clone(), two.clone()],
        "e1",
        |r| r.addresses == [vip(161)] && r.installed == 1,
    );
    one.interval = Duration::from_millis(200);
    edit("interval", &[one.clone(), two.clone()], "e1", |r| {
        r.advertisement_interval_ms == 200.0
    });
    one.priorities = BA.iter().map(|(n, p)| ((*n).to_owned(), *p)).collect();
    edit("priority", &[one.clone(), two.clone()], "e1", |r| {
        r.state == "Backup" && r.priority == 100
    });
    one.preemption = Preemption::Never;
    one.priorities = AB.iter().map(|(n, p)| ((*n).to_owned(), *p)).collect();
    edit("preemption", &[one.clone(), two.clone()], "e1", |r| {
        r.priority == 110
    });
    let mut other = two.clone();
    other.transport = Transport::Unicast {
        extra_peers: Vec::new(),
    };
    edit("transport", &[one.clone(), other.clone()], "e2", |r| {
        r.state == "Active" && r.last_reason != "Reconfigured" && r.transitions >= 4
    });
    other.version = 2;
    other.interval = Duration::from_secs(1);
    other.password = Some("secret".to_owned());
    other.transport = Transport::Multicast;
    edit(
        "version and password",
        &[one.clone(), other.clone()],
        "e2",
        |r| r.state == "Active" && r.advertisement_interval_ms == 1_000.0,
    );
    other.password = Some("terces".to_owned());
    other.addresses.push(vip(162));
    edit("password", &[one.clone(), other.clone()], "e2", |r| {
        r.installed == 2
    });
    edit("remove", &[other], "e2", |r| r.state == "Active");
    edits
}

fn edits_of_other_routers_leave_a_router_its_timers_and_its_entries() -> Result<()> {
    let stay = [router("s1", 51), router("s2", 52), router("s3", 53)];
    let with = |others: &[Router]| [&stay[..], others].concat();
    let mut scene = Scene::start(&["a", "b"], 1, &with(&[router("e1", 61)]))?;
    for router in &with(&[router("e1", 61)]) {
        scene.await_active(router, "a")?;
    }
    let calm = Moment::now();
    wait::until("a calm that is long enough to compare with", SOON, || {
        let enough = calm.elapsed() >= Duration::from_secs(2);
        Ok(Seen::when(enough, |enough| *enough).map(|_| ()))
    })?;
    let before = pause(&scene, &stay, calm)?;
    let known = (entries(&scene, &stay)?, transitions(&scene, &stay)?);
    ensure!(known.0.len() == 3 && known.1.len() == 6, "{known:?}");

    let begun = Moment::now();
    for edit in edits() {
        let text = manifests(&scene.lab, &with(&edit.routers));
        for agent in &scene.agents {
            agent.edit(&text)?;
        }
        scene
            .agent("a")?
            .await_router(edit.name, edit.what, SOON, edit.shows)?;
        refuse_a_mistake(&mut scene, &text, edit.name)
            .with_context(|| format!("a mistake on top of: {}", edit.what))?;
    }
    let gone = scene.agent("a")?.state()?;
    ensure!(gone.routers.iter().all(|r| r.name != "e1"));
    let after = pause(&scene, &stay, begun)?;
    note(format!(
        "longest pause {before:?} before, {after:?} with edits"
    ));
    ensure!(
        after <= before.max(stay[0].interval) + JITTER,
        "a pause of {after:?}, {before:?} before"
    );
    ensure!(after < stay[0].interval * 2, "{after:?}");
    let now = (entries(&scene, &stay)?, transitions(&scene, &stay)?);
    ensure!(now == known, "{now:?}\n{known:?}");
    for address in stay.iter().flat_map(|r| &r.addresses) {
        // The promotion's own last announcement may fall into the first seconds.
        let frames = scene.capture.announcements(*address, begun);
        ensure!(
            frames.len() <= 2,
            "{address}: {} announcements",
            frames.len()
        );
    }
    Ok(())
}

/// A mistake in the middle: told with its place, and without any effect.
fn refuse_a_mistake(scene: &mut Scene, good: &str, name: &str) -> Result<()> {
    let bad = good.replace("virtualRouterId: 62", "virtualRouterId: 0");
    ensure!(bad != good, "nothing was broken");
    let agent = scene.agent("a")?;
    let before = agent.router(name)?;
    let log = agent.process().log().len();
    agent.edit(&bad)?;
    wait::until("the place of the mistake in the log", SOON, || {
        let all = agent.process().log();
        let new = all.get(log..).unwrap_or_default().to_owned();
        Ok(Seen::when(new, |new| {
            let names = |line: &str| line.contains("/lab.yaml") && line.contains("line=");
            new.lines().any(names)
        })
        .map(|_| ()))
    })?;
    let after = agent.router(name)?;
    ensure!(
        (after.state, after.transitions) == (before.state, before.transitions),
        "a mistake changed something"
    );
    agent.edit(good)
}

fn a_storm_of_edits_of_fifty_routers_ends_in_the_last_state() -> Result<()> {
    const ROUTERS: u8 = 50;
    const EDITS: u8 = 20;
    const FIRST: u8 = 10;
    let all = |edit: u8| -> Vec<Router> {
        let one = |number: u8| {
            let mut router = router(&format!("r{number}"), FIRST + number);
            if number <= EDITS && number <= edit {
                // Each edit adds an address to one more router, takes another priority for all of those, and
                // another router away.
                router.addresses.push(vip(FIRST + number + 100));
                router.priorities[0].1 = 200 + edit;
            }
            router
        };
        (1..=ROUTERS)
            .filter(|number| edit == 0 || *number != EDITS + edit)
            .map(one)
            .collect()
    };
    let untouched: Vec<Router> = all(0)
        .into_iter()
        .filter(|r| r.vrid > FIRST + 2 * EDITS)
        .collect();
    let mut scene = Scene::start(&["a", "b"], 1, &all(0))?;
    for router in all(0).iter().rev().take(15) {
        scene
            .agent("a")?
            .await_state(&router.name, "Active", SOON)?;
    }
    let known = (
        entries(&scene, &untouched)?,
        transitions(&scene, &untouched)?,
    );
    let begun = Moment::now();
    let mut generation = served(&scene)?;
    for edit in 1..=EDITS {
        let text = manifests(&scene.lab, &all(edit));
        for agent in &scene.agents {
            agent.edit(&text)?;
        }
        // Some are overtaken by the next, some are not.
        if edit % 4 == 0 {
            let what = "an edit that is served";
            generation = wait::until(what, SOON, || {
                Ok(Seen::when(served(&scene)?, |now| *now > generation))
            })?;
        }
    }
    let last = all(EDITS);
    wait::until("the last state", SOON, || {
        let state = scene.agents[0].state()?;
        let is_last = |wanted: &Router| {
            let mut found = state.routers.iter().filter(|r| r.name == wanted.name);
            found.next().is_some_and(|r| {
                r.addresses == wanted.addresses
                    && r.priority == wanted.priorities[0].1
                    && r.state == "Active"
                    && r.installed == wanted.addresses.len()
            })
        };
        let missing: Vec<&str> = last
            .iter()
            .filter(|r| !is_last(r))
            .map(|r| r.name.as_str())
            .collect();
        let seen = (missing, state.routers.len());
        Ok(Seen::when(seen, |(missing, count)| {
            missing.is_empty() && *count == last.len()
        })
        .map(|_| ()))
    })?;
    let took = begun.elapsed();
    let longest = pause(&scene, &untouched, begun)?;
    note(format!(
        "20 edits of 50 routers in {took:?}, longest pause {longest:?}"
    ));
    ensure!(longest < untouched[0].interval * 2, "{longest:?}");
    let now = (
        entries(&scene, &untouched)?,
        transitions(&scene, &untouched)?,
    );
    ensure!(now == known, "{now:?}\n{known:?}");
    let expected: usize = last.iter().map(|r| r.addresses.len()).sum();
    let held = |scene: &Scene| -> Result<usize> {
        let found = scene.lab.node("a")?.addresses()?;
        Ok(found.iter().filter(|a| a.protocol == Some(0x56)).count())
    };
    wait::until("exactly the last addresses", SOON, || {
        Ok(Seen::when(held(&scene)?, |held| *held == expected).map(|_| ()))
    })
}

/// The generation that node a serves.
fn served(scene: &Scene) -> Result<u64> {
    let state = scene.agents[0].state()?;
    let generation = state.more.get("generation").and_then(|g| g.as_u64());
    generation.context("no generation is served")
}

fn an_identical_edit_does_nothing() -> Result<()> {
    let routers = [router("s1", 51), router("s2", 52)];
    let mut scene = Scene::start(&["a", "b"], 1, &routers)?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let known = (entries(&scene, &routers)?, transitions(&scene, &routers)?);
    let begun = Moment::now();
    let text = manifests(&scene.lab, &routers);
    for round in 0..5 {
        // A comment is no difference either.
        scene.agents[0].edit(&format!("# {round}\n{text}"))?;
    }
    // What comes after it was taken, so it was taken, too.
    let last = [routers[0].clone(), routers[1].clone(), router("s3", 53)];
    let text = manifests(&scene.lab, &last);
    scene.agents[0].edit(&text)?;
    scene.agent("a")?.await_state("s3", "Active", SOON)?;
    let now = (entries(&scene, &routers)?, transitions(&scene, &routers)?);
    ensure!(now == known, "{now:?}\n{known:?}");
    ensure!(pause(&scene, &routers, begun)? < routers[0].interval * 2);
    Ok(())
}
