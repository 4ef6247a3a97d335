//! An agent beside a real keepalived, in every mode that both have: as its Active, as its Backup, and through
//! both directions of a takeover.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::keepalived::Instance;
use vipkeeper_e2e::manifest::{Router, Transport, documents, node};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Capture, Keepalived, Lab, Moment, Process, tests};

use crate::machine::{self, SLACK};
use crate::scene::SOON;

tests! {
    beside v2_multicast_with_keepalived_as_active_and_as_backup,
    beside v2_unicast_with_keepalived_as_active_and_as_backup,
    beside v2_password_multicast_with_keepalived_as_active_and_as_backup,
    beside v2_password_unicast_with_keepalived_as_active_and_as_backup,
    beside v3_ipv4_multicast_with_keepalived_as_active_and_as_backup,
    beside v3_ipv4_unicast_with_keepalived_as_active_and_as_backup,
    beside v3_ipv6_multicast_with_keepalived_as_active_and_as_backup,
    beside v3_ipv6_unicast_with_keepalived_as_active_and_as_backup,
}

/// What both sides are configured with.
struct Mode {
    version: u8,
    ipv6: bool,
    unicast: bool,
    password: Option<&'static str>,
}

const V2: Mode = Mode {
    version: 2,
    ipv6: false,
    unicast: false,
    password: None,
};
const V3: Mode = Mode { version: 3, ..V2 };

fn v2_multicast_with_keepalived_as_active_and_as_backup() -> Result<()> {
    meet(&V2)
}

fn v2_unicast_with_keepalived_as_active_and_as_backup() -> Result<()> {
    meet(&Mode {
        unicast: true,
        ..V2
    })
}

fn v2_password_multicast_with_keepalived_as_active_and_as_backup() -> Result<()> {
    meet(&Mode {
        password: Some("s3cret"),
        ..V2
    })
}

fn v2_password_unicast_with_keepalived_as_active_and_as_backup() -> Result<()> {
    meet(&Mode {
        password: Some("s3cret"),
        unicast: true,
        ..V2
    })
}

fn v3_ipv4_multicast_with_keepalived_as_active_and_as_backup() -> Result<()> {
    meet(&V3)
}

fn v3_ipv4_unicast_with_keepalived_as_active_and_as_backup() -> Result<()> {
    meet(&Mode {
        unicast: true,
        ..V3
    })
}

fn v3_ipv6_multicast_with_keepalived_as_active_and_as_backup() -> Result<()> {
    meet(&Mode { ipv6: true, ..V3 })
}

fn v3_ipv6_unicast_with_keepalived_as_active_and_as_backup() -> Result<()> {
    meet(&Mode {
        ipv6: true,
        unicast: true,
        ..V3
    })
}

/// The router in which the agent has the higher priority, and the one in which keepalived has.
const OURS: u8 = 61;
const THEIRS: u8 = 62;
const HIGH: u8 = 120;
const LOW: u8 = 90;

/// Agent on a, keepalived on k. Each is Active for one router; then each leaves in turn and returns.
fn meet(mode: &Mode) -> Result<()> {
    machine::need_agent()?;
    machine::need_keepalived()?;
    let lab = machine::lab(&["a", "k"], 1)?;
    let capture = lab.capture(0)?;
    let mut agent = Agent::start(lab.node("a")?, &mode.manifests(&lab)?)?;
    agent.await_state("ours", "Active", SOON)?;
    let mut keepalived = mode.keepalived(&lab)?;
    divided(mode, &lab, &mut agent)?;
    steady(mode, &lab, &capture, &mut agent)?;

    let left = Moment::now();
    keepalived.stop(SOON)?;
    agent.await_state("theirs", "Active", SOON)?;
    let k = lab.node("k")?.mac(0);
    let by_k = capture.from_sender(THEIRS, k, left);
    ensure!(by_k.iter().any(|sent| sent.advertisement.priority == 0));
    let took = capture.from_sender(THEIRS, lab.node("a")?.mac(0), left)[0].at;
    let bound = mode.router(THEIRS, LOW).skew_time(LOW) + SLACK;
    ensure!(
        took.since(by_k[0].at) <= bound,
        "{:?}",
        took.since(by_k[0].at)
    );

    let _keepalived = mode.keepalived(&lab)?;
    divided(mode, &lab, &mut agent)?;

    let status = agent.process_mut().stop(SOON)?;
    ensure!(status.code() == Some(0), "{status}");
    holds(&lab, mode.address(OURS), "k")?;
    holds(&lab, mode.address(THEIRS), "k")
}

/// Waits until each side holds its own address alone.
fn divided(mode: &Mode, lab: &Lab, agent: &mut Agent) -> Result<()> {
    agent.await_state("ours", "Active", SOON)?;
    let backup = agent.await_router("theirs", "Backup that hears keepalived", SOON, |router| {
        router.state == "Backup" && router.last_advertisement.is_some()
    })?;
    let heard = backup.last_advertisement.map(|heard| heard.from);
    ensure!(heard == Some(mode.source(lab, "k")?), "{heard:?}");
    holds(lab, mode.address(OURS), "a")?;
    holds(lab, mode.address(THEIRS), "k")
}

/// For three intervals nobody else speaks, nothing changes and nothing is refused; and keepalived never took for
/// itself what the agent was Active for when it started.
fn steady(mode: &Mode, lab: &Lab, capture: &Capture, agent: &mut Agent) -> Result<()> {
    let since = Moment::now();
    let before = [agent.router("ours")?, agent.router("theirs")?];
    let (a, k) = (lab.node("a")?.mac(0), lab.node("k")?.mac(0));
    wait::until("three intervals", mode.interval() * 3 + SOON, || {
        let sent = capture.from_sender(THEIRS, k, since).len();
        Ok(Seen::when(sent, |sent| *sent >= 4).map(|_| ()))
    })?;
    for (vrid, other, since) in [(OURS, k, Moment::BOOT), (THEIRS, a, since)] {
        let foreign = capture.from_sender(vrid, other, since);
        ensure!(
            foreign.is_empty(),
            "two Actives of VRID {vrid}: {foreign:?}"
        );
    }
    let after = [agent.router("ours")?, agent.router("theirs")?];
    for (before, after) in before.iter().zip(&after) {
        ensure!(
            before.transitions == after.transitions,
            "{before:?} {after:?}"
        );
    }
    for (counter, count) in &after[1].counters {
        let refusal = counter.contains("rror") || counter.contains("ailure");
        // keepalived sends no link-local address first, which is accepted and counted.
        let remark = mode.ipv6 && counter == "linkLocalErrors";
        ensure!(!refusal || remark || *count == 0, "{counter}: {count}");
    }
    Ok(())
}

fn holds(lab: &Lab, address: IpAddr, node: &str) -> Result<()> {
    wait::until(&format!("{address} on {node} alone"), SOON, || {
        let mut holders = Vec::new();
        for one in lab.nodes() {
            if one.holds(address)? {
                holders.push(one.name());
            }
        }
        Ok(Seen::when(holders, |held| held == &[node]).map(|_| ()))
    })
}

impl Mode {
    fn interval(&self) -> Duration {
        if self.version == 2 {
            Duration::from_secs(1)
        } else {
            Duration::from_millis(100)
        }
    }

    fn address(&self, vrid: u8) -> IpAddr {
        if self.ipv6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, vrid.into()).into()
        } else {
            Ipv4Addr::new(192, 0, 2, vrid).into()
        }
    }

    /// What `node` sends from.
    fn source(&self, lab: &Lab, node: &str) -> Result<IpAddr> {
        let node = lab.node(node)?;
        Ok(match (self.ipv6, self.unicast) {
            (false, _) => node.ipv4(0).into(),
            (true, false) => node.link_local(0).into(),
            (true, true) => node.ipv6(0).into(),
        })
    }

    fn router(&self, vrid: u8, priority: u8) -> Router {
        let name = if vrid == OURS { "ours" } else { "theirs" };
        Router {
            version: self.version,
            interval: self.interval(),
            password: self.password.map(str::to_owned),
            ..Router::new(name, vrid, &[self.address(vrid)], &[("a", priority)])
        }
    }

    fn manifests(&self, lab: &Lab) -> Result<String> {
        let peer = self.source(lab, "k")?;
        let router = |vrid, priority| {
            let mut router = self.router(vrid, priority);
            if self.unicast {
                let extra_peers = vec![peer];
                router.transport = Transport::Unicast { extra_peers };
            }
            router.yaml()
        };
        let own = node("a", &[self.source(lab, "a")?]);
        Ok(documents(&[own, router(OURS, HIGH), router(THEIRS, LOW)]))
    }

    fn keepalived(&self, lab: &Lab) -> Result<Process> {
        let (own, peer) = (self.source(lab, "k")?, self.source(lab, "a")?);
        let instance = |vrid, priority| Instance {
            priority,
            interval: self.interval(),
            password: self.password.map(str::to_owned),
            unicast: self.unicast.then(|| (own, vec![peer])),
            ..Instance::new(vrid, &[self.address(vrid)])
        };
        let mut keepalived = Keepalived::new(self.version, instance(OURS, LOW));
        keepalived.instances.push(instance(THEIRS, HIGH));
        keepalived.start(lab.node("k")?)
    }
}
