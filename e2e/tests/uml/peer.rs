//! keepalived as the other director: the same virtual addresses by VRRP, the same virtual servers in IPVS. Whoever is
//! Active serves new connections, and each takes over from the other.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use vipkeeper_e2e::keepalived::Instance;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, DirectorLan, Keepalived, Process, tests};

use crate::checkers;
use crate::directors::{Directors, Method, PORT, VRIDS};
use crate::scene::SOON;

tests! {
    alone a_keepalived_of_lower_priority_takes_over_and_gives_back,
    alone a_keepalived_of_higher_priority_leaves_to_the_agent_and_comes_back,
}

const SERVERS: u8 = 3;
/// Of each family, each time.
const CONNECTIONS: usize = 9;
/// The agent's director, whose priority is 120, and keepalived's.
const OURS: usize = 0;
const THEIRS: usize = 1;

/// An agent at the first director, keepalived at the second.
struct Pair {
    // It goes before the namespace that it lives in.
    keepalived: Option<Process>,
    priority: u8,
    scene: Directors,
}

fn a_keepalived_of_lower_priority_takes_over_and_gives_back() -> Result<()> {
    let mut pair = Pair::start(90)?;
    pair.is_served_by(OURS)?;
    pair.our_death()?;
    pair.is_served_by(THEIRS)?;
    pair.our_return()?;
    pair.is_served_by(OURS)?;
    pair.their_death()?;
    pair.is_served_by(OURS)
}

fn a_keepalived_of_higher_priority_leaves_to_the_agent_and_comes_back() -> Result<()> {
    let mut pair = Pair::start(150)?;
    pair.is_served_by(THEIRS)?;
    pair.their_death()?;
    pair.is_served_by(OURS)?;
    pair.their_return()?;
    pair.is_served_by(THEIRS)?;
    pair.our_death()?;
    pair.is_served_by(THEIRS)
}

impl Pair {
    fn start(priority: u8) -> Result<Self> {
        let only_tcp = json!({"ports": [{"port": PORT}]});
        let mut scene = Directors::start(2, SERVERS, Method::Nat, &only_tcp)?;
        let mut second = scene.agents.remove(THEIRS);
        let status = second.process_mut().stop(SOON)?;
        ensure!(status.success(), "{status}");
        let mut pair = Self {
            keepalived: None,
            priority,
            scene,
        };
        pair.start_keepalived()?;
        Ok(pair)
    }

    /// Returns when its table is the agent's.
    fn start_keepalived(&mut self) -> Result<()> {
        let lan = &self.scene.lan;
        let node = &lan.directors()[THEIRS];
        let services = self.scene.targets().map(|target| {
            let real = |host| lan.address_of(host, target.ip());
            (target, lan.servers().iter().map(real).collect())
        });
        let mut keepalived = self.vrrp();
        keepalived.servers = checkers::configuration(&services)?;
        self.keepalived = Some(keepalived.start(node)?);
        let ours = self.scene.ipvsadm(OURS).table()?;
        self.scene.await_table(THEIRS, &ours)
    }

    /// Both families at both segments move together, as with the agent.
    fn vrrp(&self) -> Keepalived {
        let mut instances = Vec::new();
        for (segment, vrid) in (0..).zip(VRIDS) {
            let interface = format!("eth{segment}");
            instances.extend(
                DirectorLan::shared(segment).map(|address: IpAddr| Instance {
                    interface: interface.clone(),
                    priority: self.priority,
                    interval: Duration::from_millis(100),
                    ..Instance::new(vrid, &[address])
                }),
            );
        }
        let mut keepalived = Keepalived::new(3, instances.remove(0));
        keepalived.instances.append(&mut instances);
        keepalived.sync = true;
        keepalived
    }

    fn our_death(&mut self) -> Result<()> {
        let mut dead = self.scene.agents.remove(0);
        let lab = self.scene.lan.lab();
        lab.power_off(&lab.nodes()[OURS], &mut [dead.process_mut()])?;
        Ok(())
    }

    fn our_return(&mut self) -> Result<()> {
        let node = &self.scene.lan.directors()[OURS];
        node.power_on()?;
        self.scene.agents.push(Agent::restart(node)?);
        Ok(())
    }

    fn their_death(&mut self) -> Result<()> {
        let mut dead = self.keepalived.take().context("it is dead")?;
        let lab = self.scene.lan.lab();
        lab.power_off(&lab.nodes()[THEIRS], &mut [&mut dead])?;
        Ok(())
    }

    fn their_return(&mut self) -> Result<()> {
        self.scene.ipvsadm(THEIRS).run("-C")?;
        self.scene.lan.directors()[THEIRS].power_on()?;
        self.start_keepalived()
    }

    /// Waits until `director` serves both families by all real servers; then each of many connections is answered, and
    /// known to it alone. A real server that asks for its gateway while the old Active is about to leave believes that one
    /// until the new Active announces itself again: keepalived after five seconds.
    fn is_served_by(&self, director: usize) -> Result<()> {
        let patience = Duration::from_millis(200);
        let client = self.scene.client().with_patience(patience);
        let all = usize::from(SERVERS);
        for target in self.scene.targets() {
            wait::until(&format!("{director} serves {target}"), SOON, || {
                let before = self.known(director)?;
                let tally = client.tcp(target, all)?;
                let new = self.known(director)?.saturating_sub(before);
                Ok(Seen::when((tally, new), |(tally, new)| {
                    tally.failed() == 0 && *new == all
                })
                .map(|_| ()))
            })?;
        }
        let before = [self.known(OURS)?, self.known(THEIRS)?];
        let tally = self.scene.connect(CONNECTIONS)?;
        for server in ["r1", "r2", "r3"] {
            let each = 2 * CONNECTIONS / usize::from(SERVERS);
            ensure!(tally.of(server) == each, "by {director}: {tally}");
        }
        let after = [self.known(OURS)?, self.known(THEIRS)?];
        let all_here = after[director] == before[director] + 2 * CONNECTIONS;
        let none_there = after[1 - director] == before[1 - director];
        ensure!(all_here && none_there, "{director}: {before:?}, {after:?}");
        Ok(())
    }

    /// How many connections the kernel of a director knows. It forgets them after two minutes.
    fn known(&self, director: usize) -> Result<usize> {
        let text = self.scene.ipvsadm(director).run("-L -n -c")?;
        Ok(text.lines().filter(|line| line.starts_with("TCP")).count())
    }
}
