//! Two Actives, strangers with our addresses, and what heartbeats and probes do about them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipkeeper_e2e::agent::RouterState;
use vipkeeper_e2e::manifest::{self, Router};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Moment, Node, Sender, tests};
use vipkeeper_wire::heartbeat::{Heartbeat, Key, PORT, Row, State, hash};
use vipkeeper_wire::{Family, MacAddr, Vrid, arp};

use crate::machine;
use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};

tests! {
    alone with_a_key_multicast_lost_one_way_leaves_one_holder,
    alone with_a_key_multicast_lost_both_ways_leaves_one_holder,
    beside without_a_key_two_holders_are_told_of_and_healing_announces_again,
    beside heartbeats_that_prove_nothing_change_nothing,
    alone a_failover_with_a_key_is_as_fast_as_the_protocol,
    alone a_stranger_that_claims_an_address_is_told_of_and_answered_rarely,
    beside a_first_claim_waits_for_a_stranger_to_leave,
}

const SECRET: &str = "the installation's key in a lab";
const BEAT: Duration = Duration::from_millis(100);
/// How long a settled state is watched.
const WATCHED: Duration = Duration::from_secs(3);

fn web() -> Router {
    Router::new("web", 51, &[VIP4], &[("a", 110), ("b", 100)])
}

fn settings() -> String {
    format!(
        "apiVersion: vipkeeper.io/v1alpha1\nkind: Settings\nmetadata:\n  name: default\nspec:\n  heartbeat:\n    \
         secretRef: {{name: installation, key: key}}\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  \
         name: installation\n  namespace: vipkeeper-keys\nstringData:\n  key: \"{SECRET}\"\n"
    )
}

/// `a` Active and `b` Backup, and each believes the other's heartbeat, or hears it where there is no key.
fn settled(nodes: &[&str], keyed: bool) -> Result<Scene> {
    let mut scene = Scene::start(nodes, 1, &[])?;
    let mut text = manifests(&scene.lab, &[web()]);
    if keyed {
        text = manifest::documents(&[text, settings()]);
    }
    // Further nodes have no agent.
    scene.agents.truncate(2);
    for agent in &mut scene.agents {
        agent.edit(&text)?;
        if agent.node().name() == "a" {
            agent.await_state("web", "Active", SOON)?;
        }
    }
    scene.await_active(&web(), "a")?;
    for agent in &scene.agents {
        await_heartbeats(agent, keyed)?;
    }
    Ok(scene)
}

fn heartbeat(agent: &Agent) -> Result<Value> {
    let state = agent.state()?;
    state.more.get("heartbeat").cloned().context("heartbeat")
}

/// Waits until it has heard ten that were meant for it.
fn await_heartbeats(agent: &Agent, authenticated: bool) -> Result<()> {
    wait::until("heartbeats of the other", SOON, || {
        let heartbeat = heartbeat(agent)?;
        let number = |name: &str| heartbeat[name].as_u64().unwrap_or(0);
        let enough = number("received") > number("stale") + 10;
        let seen = enough && heartbeat["authenticated"] == authenticated;
        Ok(Seen::when(heartbeat, |_| seen).map(|_| ()))
    })
}

fn has(router: &RouterState, condition: &str) -> bool {
    router.evidence.iter().any(|e| e["condition"] == condition)
}

/// From the loss on: `b` is held back, becomes Active for a moment at most, and then follows `a` by its heartbeat.
fn one_remains(deaf: &[&str]) -> Result<()> {
    let router = web();
    let mut scene = settled(&["a", "b"], true)?;
    let (a, b) = (scene.lab.node("a")?.clone(), scene.lab.node("b")?.clone());
    let before = scene.agent("a")?.router("web")?;
    let lost = Moment::now();
    for node in deaf {
        scene.lab.node(node)?.lose_multicast(0, true)?;
    }
    let yields = |r: &RouterState| r.last_reason == "PeerActive" && r.state == "Backup";
    scene
        .agent("b")?
        .await_router("web", "it yields", SOON, yields)?;
    // What b held lingers, parked where it answers nobody.
    scene.await_holders(VIP4, &["a"], SOON)?;
    wait::while_holds("a alone has the address", WATCHED, || {
        Ok(Seen::when(scene.holders(VIP4)?, |held| held == &["a"]).map(|_| ()))
    })?;
    // Held for twice Active_Down_Interval; Active for two intervals and what it takes to hear a heartbeat.
    let of_b = scene.capture.from_sender(router.vrid, b.mac(0), lost);
    let (first, last) = of_b.first().zip(of_b.last()).context("b never spoke")?;
    let down = router.active_down_interval(100);
    let waited = first.at.since(lost);
    let least = down * 3 - router.interval;
    ensure!(waited >= least, "promoted after {waited:?}, not {least:?}");
    ensure!(waited <= down * 3 + machine::SLACK, "held for {waited:?}");
    let double = last.at.since(first.at);
    let most = router.interval * 3 + BEAT + machine::SLACK;
    ensure!(double <= most, "two Actives for {double:?}, not {most:?}");
    let after = scene.agent("a")?.router("web")?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    // The winner's word is the last that neighbours hear.
    let announced = scene.capture.announcements(VIP4, lost);
    let last = announced.last().context("nothing was announced")?;
    ensure!(last.source_mac == a.mac(0), "b announced last");

    for node in deaf {
        scene.lab.node(node)?.lose_multicast(0, false)?;
    }
    let hears = |r: &RouterState| {
        r.last_advertisement
            .as_ref()
            .is_some_and(|l| l.age_ms < 300.0)
    };
    scene
        .agent("b")?
        .await_router("web", "it hears", SOON, hears)?;
    scene.await_active(&router, "a")
}

fn with_a_key_multicast_lost_one_way_leaves_one_holder() -> Result<()> {
    one_remains(&["b"])
}

fn with_a_key_multicast_lost_both_ways_leaves_one_holder() -> Result<()> {
    one_remains(&["a", "b"])
}

fn without_a_key_two_holders_are_told_of_and_healing_announces_again() -> Result<()> {
    let mut scene = settled(&["a", "b"], false)?;
    let a = scene.lab.node("a")?.clone();
    for node in ["a", "b"] {
        scene.lab.node(node)?.lose_multicast(0, true)?;
    }
    for (node, peer) in [("a", "b"), ("b", "a")] {
        let peer = scene.lab.node(peer)?.ipv4(0).to_string();
        let split = |r: &RouterState| {
            let told = |e: &&Value| e["condition"] == "SplitBrain" && e["peer"] == *peer;
            r.state == "Active"
                && r.evidence
                    .iter()
                    .find(told)
                    .is_some_and(|e| e["authenticated"] == false)
        };
        let agent = scene.agent(node)?;
        agent.await_router("web", "a split brain", SOON, split)?;
        let series = "vipkeeper_router_condition{condition=\"SplitBrain\",family=\"IPv4\"";
        ensure!(agent.metric(series)? == 1.0);
    }
    let healed = Moment::now();
    for node in ["a", "b"] {
        scene.lab.node(node)?.lose_multicast(0, false)?;
    }
    scene.await_active(&web(), "a")?;
    let over = |r: &RouterState| !has(r, "SplitBrain");
    scene
        .agent("a")?
        .await_router("web", "healed", SOON, over)?;
    wait::until("the winner's announcement is the last", SOON, || {
        let announced = scene.capture.announcements(VIP4, healed);
        let last = announced.last().map(|frame| frame.source_mac);
        Ok(Seen::when(last, |last| *last == Some(a.mac(0))).map(|_| ()))
    })?;
    scene.lab.meter(VIP4)?.await_answers(SOON)
}

/// `b` is deaf to advertisements of nobody: what is forged here would make it hold, and `a` yield.
fn heartbeats_that_prove_nothing_change_nothing() -> Result<()> {
    let mut scene = settled(&["a", "b", "x"], true)?;
    let (a, x) = (scene.lab.node("a")?.clone(), scene.lab.node("x")?.clone());
    let before = scene.agent("a")?.router("web")?;
    let counted = heartbeat(scene.agent("a")?)?;
    let vrid = Vrid::new(51).context("VRID")?;
    let source = scene.lab.node("b")?.ipv4(0).into();
    let forged = |sequence| Heartbeat {
        node: hash("b"),
        incarnation: 1,
        sequence,
        echo: 1,
        interval_ms: 100,
        rows: vec![Row {
            router: hash("web"),
            family: Family::V4,
            vrid,
            state: State::Active,
            priority: 254,
            heard_ms: None,
            interval_ms: 100,
            mac: None,
            source: Some(source),
        }],
    };
    let wrong = Key::new(b"a guess of sixteen bytes or more").context("key")?;
    let right = Key::new(SECRET.as_bytes()).context("key")?;
    // Not signed, signed by a guess, spoilt; then signed, as what was recorded before the agents started is.
    let mut spoilt = forged(3).to_bytes(Some(&right))?;
    spoilt[60] ^= 1;
    let datagrams = [
        forged(1).to_bytes(None)?,
        forged(2).to_bytes(Some(&wrong))?,
        spoilt,
        forged(4).to_bytes(Some(&right))?,
    ];
    x.namespace().run(|| {
        let socket = UdpSocket::bind((x.ipv4(0), 0))?;
        for _ in 0..25 {
            for datagram in &datagrams {
                socket.send_to(datagram, SocketAddr::new(a.ipv4(0).into(), PORT))?;
            }
        }
        Ok(())
    })?;
    wait::until("75 refused, 25 replayed", SOON, || {
        let now = heartbeat(scene.agent("a")?)?;
        let more = |name: &str| {
            let number = |of: &Value| of[name].as_u64().unwrap_or(0);
            number(&now).saturating_sub(number(&counted))
        };
        let seen = (more("refused"), more("replayed"));
        Ok(Seen::when(seen, |seen| *seen == (75, 25)).map(|_| ()))
    })?;
    let after = scene.agent("a")?.router("web")?;
    ensure!(
        after.transitions == before.transitions && after.evidence.is_empty(),
        "{after:?}"
    );
    let log = scene.agent("a")?.process().log();
    ensure!(log.contains("heartbeat refused"), "{log}");
    ensure!(!log.contains(SECRET), "the key is in the log");
    scene.await_active(&web(), "a")
}

fn a_failover_with_a_key_is_as_fast_as_the_protocol() -> Result<()> {
    let router = web();
    let mut scene = settled(&["a", "b"], true)?;
    let died = scene.power_off("a")?;
    let expected = router.active_down_interval(100);
    scene.taken_over(&router, ("a", "b"), died, expected)?;
    let state = scene.agent("b")?.await_state("web", "Active", SOON)?;
    ensure!(state.last_reason == "NoResponse", "{state:?}");
    Ok(())
}

fn a_stranger_that_claims_an_address_is_told_of_and_answered_rarely() -> Result<()> {
    let router = web();
    let mut scene = settled(&["a", "b"], false)?;
    let a = scene.lab.node("a")?.clone();
    let client = scene.lab.client().clone();
    let before = scene.agent("a")?.router("web")?;
    // Its own announcements after the promotion are over: the last comes after five seconds.
    let first = scene.capture.announcements(VIP4, Moment::BOOT);
    let first = first.first().context("nothing was announced")?.at;
    wait::until("announcements are over", SOON, || {
        let passed = Moment::now().since(first);
        Ok(Seen::when(passed, |passed| *passed > Duration::from_millis(5_500)).map(|_| ()))
    })?;
    let begun = Moment::now();
    let IpAddr::V4(vip) = VIP4 else {
        anyhow::bail!("not IPv4")
    };
    let claim = arp::gratuitous(MacAddr(client.mac(0)), vip, arp::GratuitousForm::Request);
    Sender::new(&client, 0)?.flood(&[claim.to_vec()], 100, Duration::from_secs(2))?;
    let mac = MacAddr(client.mac(0)).to_string();
    let told = |r: &RouterState| {
        let told = |e: &Value| e["condition"] == "AddressConflict" && e["mac"] == *mac;
        r.evidence.iter().any(told)
    };
    let after = scene
        .agent("a")?
        .await_router("web", "an address conflict", SOON, told)?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    let counted = after.count("addressConflicts")?;
    ensure!(counted >= 150, "{counted} of 200 counted");
    let defences = scene.capture.announcements(VIP4, begun);
    let own = defences.iter().filter(|f| f.source_mac == a.mac(0)).count();
    ensure!(own == 1, "{own} defences in two seconds");
    let received = |scene: &mut Scene| -> Result<u64> {
        let state = scene.agent("a")?.router("web")?;
        state.count("addressConflicts")
    };
    // Nobody is woken by what others ask about the address, or say about theirs.
    let question = arp::probe(MacAddr(client.mac(0)), vip);
    Sender::new(&client, 0)?.flood(&[question.to_vec()], 100, Duration::from_secs(1))?;
    ensure!(received(&mut scene)? == counted);
    scene.await_active(&router, "a")
}

fn a_first_claim_waits_for_a_stranger_to_leave() -> Result<()> {
    let four = Router::new("four", 51, &[VIP4], &[("a", 110)]);
    let six = Router::new("six", 52, &[VIP6], &[("a", 110)]);
    let free = Router::new("free", 53, &[IpAddr::from([192, 0, 2, 103])], &[("a", 110)]);
    let mut scene = Scene::start(&["a"], 1, &[])?;
    let client = scene.lab.client().clone();
    has_address(&client, "add")?;
    let text = manifests(&scene.lab, &[four, six, free.clone()]);
    let mac = MacAddr(client.mac(0)).to_string();
    let agent = scene.agent("a")?;
    agent.edit(&text)?;
    agent.await_state("free", "Active", SOON)?;
    for (name, vip) in [("four", VIP4), ("six", VIP6)] {
        let held = |r: &RouterState| {
            let told = |e: &Value| {
                e["condition"] == "ClaimHeld"
                    && e["mac"] == *mac
                    && e["address"] == *vip.to_string()
            };
            r.state == "Backup" && r.evidence.iter().any(told)
        };
        agent.await_router(name, "held back", SOON, held)?;
        ensure!(!agent.node().holds(vip)?, "{vip} was taken");
    }
    has_address(&client, "del")?;
    for name in ["four", "six"] {
        let agent = scene.agent("a")?;
        let state = agent.await_state(name, "Active", SOON)?;
        ensure!(state.evidence.is_empty(), "{state:?}");
    }
    scene.lab.meter(VIP4)?.await_answers(SOON)
}

fn has_address(node: &Node, verb: &str) -> Result<()> {
    let interface = node.interface(0);
    node.namespace().ip(&format!(
        "addr {verb} {VIP4}/32 dev {interface}\naddr {verb} {VIP6}/128 dev {interface} {}\n",
        if verb == "add" { "nodad" } else { "" }
    ))
}
