//! Takeovers that do not come about: whatever the successor does, one process elects, and never two.

use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::successor::{PROTOCOL, Successor};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Moment, tests};

use crate::scene::{SOON, Scene, VIP4};
use crate::takeover::{await_advertisements, ensure_uninterrupted, ours, router};

tests! {
    alone a_successor_that_stops_at_any_step_changes_nothing,
    alone a_successor_that_has_everything_and_hangs_costs_the_addresses_and_makes_no_second_holder,
    beside a_successor_of_another_protocol_makes_the_running_one_leave,
    beside only_an_agent_can_ask_for_a_takeover,
}

/// How far a successor goes, and how it ends there.
#[derive(Clone, Copy, Debug)]
enum Step {
    Asked,
    Begun,
    HeardTheEstate,
    SaidReady,
    ToldToGo,
    SaidNo,
    SilentAfterTheEstate,
    SaidNonsense,
}

const STEPS: [Step; 8] = [
    Step::Asked,
    Step::Begun,
    Step::HeardTheEstate,
    Step::SaidReady,
    Step::ToldToGo,
    Step::SaidNo,
    Step::SilentAfterTheEstate,
    Step::SaidNonsense,
];

fn pair() -> Result<(Scene, Router)> {
    let router = router("web", 51, VIP4);
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    Ok((scene, router))
}

/// A successor that was let in; the one before it may be on its way out.
fn successor(scene: &Scene) -> Result<Successor> {
    let node = scene.lab.node("a")?;
    wait::until("a successor is let in", SOON, || {
        let (status, _, successor) = Successor::ask(node, PROTOCOL)?;
        Ok(if status == 101 {
            Seen::Yes(successor)
        } else {
            Seen::NotYet(status.to_string())
        })
    })
}

fn a_successor_that_stops_at_any_step_changes_nothing() -> Result<()> {
    let (mut scene, router) = pair()?;
    let meter = scene.lab.meter(VIP4)?;
    meter.await_answers(SOON)?;
    let transitions = scene.agent("a")?.router("web")?.transitions;
    let (before, begun) = (ours(&scene, "a")?, Moment::now());
    for step in STEPS {
        let mut successor = successor(&scene)?;
        act(&mut successor, step)?;
        let stays = matches!(step, Step::SilentAfterTheEstate | Step::SaidNonsense);
        // The others are dropped, which is what a death looks like.
        let kept = stays.then_some(successor);
        await_advertisements(&scene, 51, "a", Moment::now(), 3)?;
        drop(kept);
        ensure_uninterrupted(&scene, &router, "a", begun)?;
        ensure!(
            scene.agent("a")?.process_mut().exit_status()?.is_none(),
            "{step:?} ended it"
        );
    }
    ensure!(ours(&scene, "a")? == before, "an address was touched");
    let state = scene.agent("a")?.router("web")?;
    ensure!(
        state.state == "Active" && state.transitions == transitions,
        "{state:?}"
    );
    let gaps = meter.gaps(begun);
    ensure!(gaps.lost == 0, "{gaps}");
    Ok(())
}

/// Goes as far as `step` says.
fn act(successor: &mut Successor, step: Step) -> Result<()> {
    if matches!(step, Step::Asked) {
        return Ok(());
    }
    successor.say(r#""Begin""#)?;
    if matches!(step, Step::Begun) {
        return Ok(());
    }
    successor.estate()?;
    match step {
        Step::Asked | Step::Begun | Step::HeardTheEstate | Step::SilentAfterTheEstate => Ok(()),
        Step::SaidReady => successor.say(r#""Ready""#),
        Step::ToldToGo => {
            successor.say(r#""Ready""#)?;
            successor.go()
        }
        Step::SaidNo => successor.say(r#"{"No":{"reason":"not today","leave":false}}"#),
        Step::SaidNonsense => successor.say("[42]"),
    }
}

fn a_successor_that_has_everything_and_hangs_costs_the_addresses_and_makes_no_second_holder()
-> Result<()> {
    let (mut scene, router) = pair()?;
    let mut successor = successor(&scene)?;
    act(&mut successor, Step::ToldToGo)?;
    let hung = Moment::now();
    let status = scene.agent("a")?.process_mut().ended(SOON)?;
    ensure!(!status.success(), "it says that nothing was wrong");
    // Nobody spoke for it, so b is Active by the protocol's rule.
    let bound = router.active_down_interval(100);
    scene.taken_over(&router, ("a", "b"), hung, bound)?;
    scene.await_holders(VIP4, &["b"], Duration::from_secs(3))?;
    drop(successor);
    Ok(())
}

fn a_successor_of_another_protocol_makes_the_running_one_leave() -> Result<()> {
    let (mut scene, _) = pair()?;
    let node = scene.lab.node("a")?.clone();
    let (status, speaks, _) = Successor::ask(&node, "vipkeeper-takeover/999.1")?;
    ensure!(
        (status, speaks.as_str()) == (426, PROTOCOL),
        "{status} {speaks}"
    );
    let status = scene.agent("a")?.process_mut().ended(SOON)?;
    ensure!(status.success(), "{status}");
    scene.agents.remove(0);
    scene.await_holders(VIP4, &["b"], SOON)?;
    // And whoever waits begins as usual.
    scene.restart("a")?;
    scene.agent("a")?.await_state("web", "Active", SOON)?;
    Ok(())
}

fn only_an_agent_can_ask_for_a_takeover() -> Result<()> {
    let (mut scene, _) = pair()?;
    let node = scene.lab.node("a")?.clone();
    let (status, _, _) = Successor::ask(&node, "websocket")?;
    ensure!(status == 400, "{status}");
    let (status, _) = scene.agent("a")?.get("/takeover")?;
    ensure!(status == 404, "--listen knows of takeovers: {status}");
    ensure!(scene.agent("a")?.router("web")?.state == "Active");
    Ok(())
}
