//! What an agent must not believe: another password, VRID, interval or TTL. Refused, counted under its reason,
//! and without effect.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::agent::RouterState;
use vipkeeper_e2e::keepalived::Instance;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Forgery, Keepalived, Moment, Process, Sender, tests};

use crate::machine;
use crate::scene::{SOON, Scene, VIP4, VIP6};

tests! {
    beside a_keepalived_with_another_password_is_refused,
    beside a_keepalived_without_a_password_is_refused,
    beside a_keepalived_with_another_vrid_is_none_of_ours,
    beside a_keepalived_with_another_v2_interval_is_refused,
    beside c04_c09_multicast_with_another_ttl_than_255_is_refused,
    beside c72_a_vrid_counts_on_the_interface_that_received_it,
}

fn v2(password: Option<&str>) -> Router {
    Router {
        version: 2,
        interval: Duration::from_secs(1),
        password: password.map(str::to_owned),
        ..Router::new("web", 51, &[VIP4], &[("a", 100)])
    }
}

/// A keepalived that would win if it were believed.
fn rival() -> Instance {
    Instance {
        priority: 250,
        ..Instance::new(51, &[VIP4])
    }
}

fn a_keepalived_with_another_password_is_refused() -> Result<()> {
    let rival = Instance {
        password: Some("wrong".to_owned()),
        ..rival()
    };
    refused(&v2(Some("s3cret")), rival, "authenticationFailures")
}

fn a_keepalived_without_a_password_is_refused() -> Result<()> {
    refused(&v2(Some("s3cret")), rival(), "authenticationTypeErrors")
}

fn a_keepalived_with_another_v2_interval_is_refused() -> Result<()> {
    let rival = Instance {
        interval: Duration::from_secs(2),
        ..rival()
    };
    refused(&v2(None), rival, "intervalErrors")
}

fn a_keepalived_with_another_vrid_is_none_of_ours() -> Result<()> {
    let (_scene, mut keepalived, mut agent) = rivals(
        &v2(None),
        Instance {
            vrid: 52,
            ..rival()
        },
    )?;
    unmoved(&mut agent, &mut keepalived, |agent| {
        agent.state()?.count("vridErrors")
    })
}

/// The agent is Active for `router` beside `rival`, and stays so while `counter` counts what it refuses.
fn refused(router: &Router, rival: Instance, counter: &str) -> Result<()> {
    let (_scene, mut keepalived, mut agent) = rivals(router, rival)?;
    unmoved(&mut agent, &mut keepalived, |agent| {
        agent.router("web")?.count(counter)
    })
}

/// The scene outlives its daemons, so it comes first.
fn rivals(router: &Router, rival: Instance) -> Result<(Scene, Process, Agent)> {
    machine::need_keepalived()?;
    let mut scene = Scene::start(&["a", "k"], 1, &[])?;
    // On k only keepalived runs.
    drop(scene.agents.pop());
    let mut agent = scene.agents.remove(0);
    agent.edit(&router.yaml())?;
    // First: beside somebody who answers for the address it would not claim it.
    agent.await_state("web", "Active", SOON)?;
    let keepalived = Keepalived::new(2, rival).start(scene.lab.node("k")?)?;
    Ok((scene, keepalived, agent))
}

/// Waits until `count` has counted what keepalived says, and its farewell too, and checks that the agent took its
/// place in its own time and stayed.
///
/// That keepalived advertises once is all one can ask of it: 2.2.7 begins its interval anew with each frame that
/// it refuses, and ours come as often as its own.
fn unmoved(
    agent: &mut Agent,
    keepalived: &mut Process,
    count: impl Fn(&Agent) -> Result<u64>,
) -> Result<()> {
    wait::until("a first refusal", SOON, || {
        Ok(Seen::when(count(agent)?, |count| *count > 0).map(|_| ()))
    })?;
    let before = agent.await_state("web", "Active", SOON)?;
    ensure!(before.last_reason == "NoResponse", "{before:?}");
    let first = count(agent)?;
    keepalived.stop(SOON)?;
    wait::until("its farewell refused", SOON, || {
        Ok(Seen::when(count(agent)?, |count| *count > first).map(|_| ()))
    })?;
    same(&before, &agent.router("web")?)
}

fn same(before: &RouterState, after: &RouterState) -> Result<()> {
    let told = |r: &RouterState| {
        let accepted = r.counters.get("advertisementsReceived").copied();
        (r.state.clone(), r.transitions, accepted)
    };
    ensure!(told(before) == told(after), "{before:?}\n{after:?}");
    Ok(())
}

fn c04_c09_multicast_with_another_ttl_than_255_is_refused() -> Result<()> {
    let routers = [
        Router::new("web4", 51, &[VIP4], &[("a", 100)]),
        Router::new("web6", 51, &[VIP6], &[("a", 100)]),
    ];
    let mut scene = Scene::start(&["a", "x"], 1, &[])?;
    let manifests = crate::scene::manifests(&scene.lab, &routers);
    let x = scene.lab.node("x")?.clone();
    let agent = scene.agent("a")?;
    agent.edit(&manifests)?;
    let sender = Sender::new(&x, 0)?;
    let sources: [IpAddr; 2] = [x.ipv4(0).into(), x.link_local(0).into()];
    for (router, source) in routers.iter().zip(sources) {
        let before = agent.await_state(&router.name, "Active", SOON)?;
        let forgery = Forgery {
            priority: 250,
            ..Forgery::new(x.mac(0), source, 51, &router.addresses)
        };
        for ttl in [254, 1, 0] {
            sender.send(
                &Forgery {
                    ttl,
                    ..forgery.clone()
                }
                .frame()?,
            )?;
        }
        let after = agent.await_router(&router.name, "three TTL errors", SOON, |router| {
            router.counters.get("ipTtlErrors").copied() == Some(3)
        })?;
        same(&before, &after)?;
        // The same with 255 is believed: nothing but the TTL was wrong.
        sender.send(&forgery.frame()?)?;
        agent.await_router(&router.name, "deposed", SOON, |router| {
            router.last_reason == "HigherPriority"
        })?;
    }
    Ok(())
}

fn c72_a_vrid_counts_on_the_interface_that_received_it() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], &[("a", 100)]);
    let mut scene = Scene::start(&["a", "x"], 2, &[])?;
    let manifests = crate::scene::manifests(&scene.lab, std::slice::from_ref(&router));
    // A router on the other interface too, so that there is a socket to receive by.
    let other = Router::new("other", 52, &[[198, 51, 100, 100].into()], &[("a", 100)]);
    let x = scene.lab.node("x")?.clone();
    let agent = scene.agent("a")?;
    agent.edit(&format!("{manifests}---\n{}", other.yaml()))?;
    agent.await_state("other", "Active", SOON)?;
    let before = agent.await_state("web", "Active", SOON)?;
    let forgery = Forgery {
        priority: 250,
        ..Forgery::new(x.mac(1), x.ipv4(1).into(), 51, &[VIP4])
    };
    Sender::new(&x, 1)?.send(&forgery.frame()?)?;
    wait::until("the VRID error counted", SOON, || {
        let errors = agent.state()?.count("vridErrors")?;
        Ok(Seen::when(errors, |errors| *errors == 1).map(|_| ()))
    })?;
    let metric = agent.metric("vipkeeper_datagrams_refused_total{reason=\"Vrid\"}")?;
    ensure!(metric > 0.0, "{metric}");
    same(&before, &agent.router("web")?)?;
    let begun = Moment::now();
    let a = scene.lab.node("a")?.clone();
    scene.await_sent(51, &a, begun, SOON)?;
    Ok(())
}
