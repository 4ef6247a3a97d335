//! The usual scene: agents on one segment with the same manifests, a capture, and what is asserted of them over
//! and over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::agent::RouterState;
use vipkeeper_e2e::capture::Sent;
use vipkeeper_e2e::manifest::{self, Router};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Capture, Lab, Moment, Node};

use crate::machine::{self, SLACK};

/// The IPv4 virtual address of most tests.
pub(crate) const VIP4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
/// The IPv6 virtual address of most tests.
pub(crate) const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100));
/// Time for what has no bound of its own: a start, an edit, a protocol's three seconds.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How much earlier than its receiver's clock a capture may have seen a frame.
const CLOCKS: Duration = Duration::from_millis(5);

/// A lab with an agent on each node, all with the same manifests.
pub(crate) struct Scene {
    // The agents go before the namespaces they live in.
    pub(crate) agents: Vec<Agent>,
    pub(crate) capture: Capture,
    pub(crate) lab: Lab,
}

impl Scene {
    /// Agents on `nodes`, started in their order, with `routers`.
    pub(crate) fn start(nodes: &[&str], segments: u8, routers: &[Router]) -> Result<Self> {
        machine::need_agent()?;
        let lab = machine::lab(nodes, segments)?;
        let capture = lab.capture(0)?;
        let manifests = manifests(&lab, routers);
        let agents = lab
            .nodes()
            .iter()
            .map(|node| Agent::start(node, &manifests))
            .collect::<Result<_>>()?;
        Ok(Self {
            agents,
            capture,
            lab,
        })
    }

    /// As [`start`](Self::start), but the first node is Active for every router before the others hear of one.
    pub(crate) fn start_in_turn(nodes: &[&str], routers: &[Router]) -> Result<Self> {
        let mut scene = Self::start(nodes, 1, &[])?;
        let text = manifests(&scene.lab, routers);
        for agent in &mut scene.agents {
            agent.edit(&text)?;
            for router in routers {
                if agent.node().name() == nodes[0] {
                    agent.await_state(&router.name, "Active", SOON)?;
                } else {
                    // Whoever never heard an Active takes one that dies now, and whose kernel goes on to answer for
                    // the address, for a stranger.
                    let heard = |state: &RouterState| state.last_advertisement.is_some();
                    agent.await_router(&router.name, "has heard the Active", SOON, heard)?;
                }
            }
        }
        Ok(scene)
    }

    /// The agent of a node.
    pub(crate) fn agent(&mut self, node: &str) -> Result<&mut Agent> {
        let mut agents = self.agents.iter_mut();
        let found = agents.find(|agent| agent.node().name() == node);
        found.with_context(|| format!("no agent on {node}"))
    }

    /// Waits until `node` alone is Active for `router`, the other agents are Backup, and of the nodes with an
    /// agent that one alone has the addresses: a dead node keeps them where nobody sees it.
    pub(crate) fn await_active(&mut self, router: &Router, node: &str) -> Result<()> {
        for agent in &mut self.agents {
            let state = if agent.node().name() == node {
                "Active"
            } else {
                "Backup"
            };
            agent.await_state(&router.name, state, SOON)?;
        }
        for address in &router.addresses {
            let what = format!("{address} on {node} alone");
            wait::until(&what, SOON, || {
                let mut held = self.holders(*address)?;
                held.retain(|held| self.agents.iter().any(|a| a.node().name() == *held));
                Ok(Seen::when(held, |held| held == &[node]).map(|_| ()))
            })?;
        }
        Ok(())
    }

    /// Waits until exactly `nodes` have `address`.
    pub(crate) fn await_holders(
        &self,
        address: IpAddr,
        nodes: &[&str],
        within: Duration,
    ) -> Result<()> {
        let what = format!("{address} on {nodes:?} alone");
        wait::until(&what, within, || {
            Ok(Seen::when(self.holders(address)?, |held| held == nodes).map(|_| ()))
        })
    }

    /// Takes `address` off `interface` of `node`, as somebody might, and waits until it is back within [`SLACK`]; when
    /// it was taken off.
    pub(crate) fn removed_and_back(
        &self,
        node: &Node,
        interface: &str,
        (address, length): (IpAddr, u8),
    ) -> Result<Moment> {
        let removed = Moment::now();
        node.namespace()
            .ip(&format!("addr del {address}/{length} dev {interface}\n"))?;
        self.await_holders(address, &[node.name()], SOON)?;
        let took = removed.elapsed();
        ensure!(took <= SLACK, "{address} was back after {took:?}");
        Ok(removed)
    }

    /// The nodes that have `address`.
    pub(crate) fn holders(&self, address: IpAddr) -> Result<Vec<&str>> {
        let mut holders = Vec::new();
        for node in self.lab.nodes() {
            if node.holds(address)? {
                holders.push(node.name());
            }
        }
        Ok(holders)
    }

    /// The death of a node: its daemon and its links at once.
    pub(crate) fn power_off(&mut self, node: &str) -> Result<Moment> {
        let position = self.agents.iter().position(|a| a.node().name() == node);
        let mut agent = self
            .agents
            .remove(position.with_context(|| format!("no agent on {node}"))?);
        self.lab
            .power_off(self.lab.node(node)?, &mut [agent.process_mut()])
    }

    /// The start of an agent on a node where one was killed: what that one left is still there.
    pub(crate) fn restart(&mut self, node: &str) -> Result<()> {
        let node = self.lab.node(node)?;
        self.agents.push(Agent::restart(node)?);
        Ok(())
    }

    /// The return of a node after its death.
    pub(crate) fn power_on(&mut self, node: &str) -> Result<Moment> {
        let node = self.lab.node(node)?;
        node.power_on()?;
        let begun = Moment::now();
        self.agents.push(Agent::restart(node)?);
        Ok(begun)
    }

    /// Waits for the first advertisement of `router` by `to` after `since`, and checks that it came after
    /// `expected`, counted from the last one of `from`, and not much later. Returns when.
    pub(crate) fn taken_over(
        &self,
        router: &Router,
        (from, to): (&str, &str),
        since: Moment,
        expected: Duration,
    ) -> Result<Moment> {
        let (from, to) = (self.lab.node(from)?, self.lab.node(to)?);
        let first = self.await_sent(router.vrid, to, since, expected + SOON)?;
        let sent = self
            .capture
            .from_sender(router.vrid, from.mac(0), Moment::BOOT);
        let of_family = |sent: &&Sent| sent.advertisement.source.is_ipv4() == is_ipv4(router);
        let last = sent.iter().rfind(of_family);
        let last = last.context("no advertisement before")?;
        let took = first.at.since(last.at);
        ensure!(
            took + CLOCKS >= expected && took <= expected + SLACK,
            "{} took over {} after {took:?}, expected {expected:?}\nlast: {last:?}\nfirst: {first:?}",
            to.name(),
            router.name
        );
        Ok(first.at)
    }

    /// Waits for an advertisement of a virtual router by `node`.
    pub(crate) fn await_sent(
        &self,
        vrid: u8,
        node: &Node,
        since: Moment,
        within: Duration,
    ) -> Result<Sent> {
        let what = format!("advertisement of VRID {vrid} by {}", node.name());
        let by_node = |sent: &Sent| sent.source_mac == node.mac(0);
        self.capture
            .await_advertisement(&what, vrid, since, within, by_node)
    }
}

/// The manifests of a lab: a Node for each of its nodes, and the routers.
pub(crate) fn manifests(lab: &Lab, routers: &[Router]) -> String {
    let nodes = lab.nodes().iter().map(|node| {
        let addresses = [node.ipv4(0).into(), node.ipv6(0).into()];
        manifest::node(node.name(), &addresses)
    });
    let documents: Vec<String> = nodes.chain(routers.iter().map(Router::yaml)).collect();
    manifest::documents(&documents)
}

fn is_ipv4(router: &Router) -> bool {
    router.addresses.iter().all(IpAddr::is_ipv4)
}
