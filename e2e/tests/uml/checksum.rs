//! Version 3 over IPv4 beside keepalived 2.3, which has both checksums: with that of RFC 9568 (`v3_checksum_as_v2`) and
//! with its default, which covers a pseudo-header. Failover goes both ways, and the frames have the checksum that was
//! asked for.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::keepalived::Instance;
use vipkeeper_e2e::manifest::{Router, documents};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Capture, Keepalived, Lab, Moment, Node, Process, tests};

use crate::machine;
use crate::scene::SOON;

tests! {
    beside v3_rfc9568_checksum_fails_over_both_ways_with_keepalived,
    beside v3_auto_checksum_fails_over_both_ways_with_keepalived_of_rfc9568,
    beside v3_auto_checksum_fails_over_both_ways_with_keepalived_of_its_default,
}

/// The router in which the agent has the higher priority, and the one in which keepalived has.
const OURS: u8 = 61;
const THEIRS: u8 = 62;
const HIGH: u8 = 120;
const LOW: u8 = 90;

/// The RFC 9568 checksums of the routers' messages, `31 VRID PRIORITY 01 000a CHECKSUM c0 00 02 VRID`.
const OURS_HIGH: u16 = 0x9479;
const OURS_LOW: u16 = 0xb279;
const THEIRS_HIGH: u16 = 0x9477;
const THEIRS_LOW: u16 = 0xb277;

fn v3_rfc9568_checksum_fails_over_both_ways_with_keepalived() -> Result<()> {
    meet(Some("RFC9568"), true)
}

fn v3_auto_checksum_fails_over_both_ways_with_keepalived_of_rfc9568() -> Result<()> {
    meet(None, true)
}

fn v3_auto_checksum_fails_over_both_ways_with_keepalived_of_its_default() -> Result<()> {
    meet(None, false)
}

/// The agent on a, keepalived on k: each is Active for one router, dies in turn, and returns.
fn meet(policy: Option<&'static str>, rfc9568: bool) -> Result<()> {
    machine::need_agent()?;
    let lab = machine::lab(&["a", "k"], 1)?;
    let (a, k) = (lab.node("a")?, lab.node("k")?);
    let capture = lab.capture(0)?;
    let routers = [(OURS, HIGH), (THEIRS, LOW)].map(|(vrid, priority)| Router {
        checksum: policy,
        ..Router::new(name(vrid), vrid, &[address(vrid)], &[("a", priority)])
    });
    let mut agent = Agent::start(a, &documents(&routers.map(|router| router.yaml())))?;
    agent.await_state("ours", "Active", SOON)?;
    let mut keepalived = start(&lab, rfc9568)?;
    divided(&mut agent)?;
    await_sent(&capture, OURS, a, Moment::BOOT, |sum| sum == OURS_HIGH)?;
    await_sent(&capture, THEIRS, k, Moment::BOOT, |sum| {
        (sum == THEIRS_HIGH) == rfc9568
    })?;

    let died = Moment::now();
    keepalived.kill()?;
    agent.await_state("theirs", "Active", SOON)?;
    // What keepalived has taught is sent from the first one on.
    let first = await_sent(&capture, THEIRS, a, died, |_| true)?;
    ensure!((first == THEIRS_LOW) == rfc9568, "{first:04x}");

    let _keepalived = start(&lab, rfc9568)?;
    divided(&mut agent)?;

    let died = Moment::now();
    agent.process_mut().kill()?;
    await_sent(&capture, OURS, k, died, |sum| (sum == OURS_LOW) == rfc9568)?;

    let mut agent = Agent::restart(a)?;
    divided(&mut agent)
}

/// Waits until each side is Active for its own router and hears the other.
fn divided(agent: &mut Agent) -> Result<()> {
    agent.await_state("ours", "Active", SOON)?;
    agent.await_router("theirs", "Backup that hears keepalived", SOON, |router| {
        router.state == "Backup" && router.last_advertisement.is_some()
    })?;
    wait::while_holds("one Active each", Duration::from_secs(1), || {
        let states = [agent.router("ours")?.state, agent.router("theirs")?.state];
        Ok(Seen::when(states, |states| states == &["Active", "Backup"]).map(|_| ()))
    })
}

/// Waits for an advertisement of `vrid` by `node` whose checksum is as `wanted`, and returns it.
fn await_sent(
    capture: &Capture,
    vrid: u8,
    node: &Node,
    since: Moment,
    wanted: impl Fn(u16) -> bool,
) -> Result<u16> {
    let what = format!("advertisement of VRID {vrid} by {}", node.name());
    let sent = capture.await_advertisement(&what, vrid, since, SOON, |sent| {
        sent.source_mac == node.mac(0) && wanted(sent.advertisement.checksum)
    })?;
    Ok(sent.advertisement.checksum)
}

fn start(lab: &Lab, rfc9568: bool) -> Result<Process> {
    let instance = |vrid, priority| Instance {
        priority,
        interval: Duration::from_millis(100),
        ..Instance::new(vrid, &[address(vrid)])
    };
    let mut keepalived = Keepalived::new(3, instance(OURS, LOW));
    keepalived.rfc9568 = rfc9568;
    keepalived.instances.push(instance(THEIRS, HIGH));
    keepalived.start(lab.node("k")?)
}

fn name(vrid: u8) -> &'static str {
    if vrid == OURS { "ours" } else { "theirs" }
}

fn address(vrid: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, vrid).into()
}
