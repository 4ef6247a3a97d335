//! Who serves: from the configuration, the endpoints of Services, what the probes say and what the kernel counts, to the
//! table that the kernel should have.
//!
//! Owns the standing of every real server: whether it is healthy, whether it leaves and how long it may, and whether each
//! listener has its quorum. Pure: time and everything seen are arguments, the table is a value. Never talks to the
//! kernel, and never asks a real server.
//!
//! - `gate`: which endpoints may not serve.
//! - `listing`: which real servers a listener should have.
//! - `slot`: one listener; `member`: one of its real servers.
//! - `quorum`: whether enough of them are healthy.
//! - `report`: what is said of each server.
//! - `words`: the API's words in the kernel's.

mod gate;
mod listing;
mod member;
mod quorum;
mod report;
mod slot;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipkeeper_compiler::{Endpoints, ServiceName};
use vipkeeper_crds::NodeConfigSpec;
use vipkeeper_crds::node_server::{NodeServer, ServerName};
use vipkeeper_ipvs::ServiceKey;
use vipkeeper_nft::Ruleset;
use vipkeeper_vrrp::Time;

use super::{Observed, Table};
use crate::probe::{Judgement, Target};
use gate::{Gate, Nodes};
use slot::{Inherited, Listing, Slot};

pub use report::{MemberStanding, Report, Standing};
pub(super) use words::{FirewallKey, firewall_key};

/// All virtual servers of the node.
#[derive(Debug, Default)]
pub struct Model {
    servers: BTreeMap<ServerName, Server>,
    slots: BTreeMap<ServiceKey, Slot>,
    judgements: HashMap<Target, Judgement>,
    /// What the kernel had when this process began: what nobody has judged since is taken for that.
    inherited: BTreeMap<ServiceKey, Inherited>,
}

/// A virtual server.
#[derive(Clone, Debug)]
struct Server {
    router: Arc<str>,
    config: Arc<NodeServer>,
}

impl Model {
    /// Knows what the kernel has of ours already, before the first configuration. What a probe says counts more.
    pub fn inherit(&mut self, observed: &Observed) {
        for (key, service) in &observed.services {
            let present = service.present.iter().flat_map(|p| &p.destinations);
            let destinations = present.map(|(key, present)| (*key, present.destination));
            self.inherited.insert(*key, destinations.collect());
        }
    }

    /// Takes a configuration in, the whole of it, with the endpoints of its Services and the node's `own` addresses. What
    /// stays goes on as it was.
    pub fn configure(
        &mut self,
        configs: &[NodeConfigSpec],
        endpoints: &Endpoints,
        own: &BTreeSet<IpAddr>,
        now: Time,
    ) {
        let nodes = Nodes::of(configs, own);
        let gates = configs.iter().map(|c| (&*c.router, Gate::of(c, &nodes)));
        let gates: BTreeMap<&str, Gate<'_>> = gates.collect();
        self.servers = servers(configs);
        let mut before = std::mem::take(&mut self.slots);
        for (name, server) in &self.servers {
            let Some(gate) = gates.get(&*server.router) else {
                continue;
            };
            let service = ServiceName::of(&server.config);
            let endpoints = service.map_or_else(Vec::new, |service| endpoints.of(&service));
            for listener in &server.config.listeners {
                let key = words::service_key(listener);
                let listed = listing::listed(&server.config, listener, &endpoints, gate);
                let mut slot = Slot::new(name, listener, before.remove(&key));
                slot.list(Listing {
                    server: &server.config,
                    listed,
                    // It tells of the time before this process, once.
                    inherited: self.inherited.remove(&key).unwrap_or_default(),
                    judgements: &self.judgements,
                    now,
                });
                self.slots.insert(key, slot);
            }
        }
        let wanted = self.targets();
        self.judgements.retain(|target, _| wanted.contains(target));
        self.settle(now);
    }

    /// Takes in what the probes say of targets. What nobody asks for any more is forgotten at the next configuration.
    pub fn judge(&mut self, judgements: impl IntoIterator<Item = (Target, Judgement)>, now: Time) {
        self.judgements.extend(judgements);
        self.settle(now);
    }

    /// Takes in what the kernel has: real servers that leave go when they have no connections left, or no time. Whether
    /// one has gone; nothing else follows from it.
    pub fn observe(&mut self, observed: &Observed, now: Time) -> bool {
        let mut is_changed = false;
        for (key, slot) in &mut self.slots {
            let known = observed.services.get(key).and_then(|s| s.present.as_ref());
            is_changed |= slot.observe(key, known, now);
        }
        is_changed
    }

    /// What the probes should ask.
    #[must_use]
    pub fn targets(&self) -> HashSet<Target> {
        let members = self.slots.values().flat_map(|slot| slot.members.values());
        let present = members.filter(|m| m.leaving.is_none());
        let targets = present.flat_map(|m| m.listed.targets.iter().cloned());
        targets.collect()
    }

    /// When the next real server has no time left to leave.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let members = self.slots.values().flat_map(|slot| slot.members.values());
        members.filter_map(|m| m.leaving.map(|l| l.until)).min()
    }

    /// What the probes said last, for whoever comes after this process.
    #[must_use]
    pub const fn judgements(&self) -> &HashMap<Target, Judgement> {
        &self.judgements
    }

    /// What the kernel should have.
    #[must_use]
    pub fn table(&self) -> Table {
        let slots = self.slots.iter();
        let entries = slots.filter_map(|(key, slot)| {
            let server = self.servers.get(&slot.server)?;
            Some(slot.entry(*key, &server.config, &self.judgements))
        });
        let mut table: Table = entries.collect();
        table.set_firewall(self.firewall());
        table
    }

    /// The source translation that FullNAT needs.
    fn firewall(&self) -> Ruleset {
        let mut rules = Ruleset::default();
        for (key, slot) in &self.slots {
            let server = self.servers.get(&slot.server).map(|s| &s.config);
            let Some(server) = server.filter(|server| slot.masquerades(server)) else {
                continue;
            };
            match firewall_key(key) {
                FirewallKey::Traffic(traffic) => {
                    rules.masqueraded.insert(traffic);
                    let see_clients = slot.see_clients(server);
                    if let Some(endpoint) = words::endpoint(traffic)
                        && !see_clients.is_empty()
                    {
                        rules.unmasqueraded.insert(endpoint, see_clients);
                    }
                }
                FirewallKey::Mark(mark) => {
                    rules.masqueraded_marks.insert(mark);
                }
                FirewallKey::None => {}
            }
        }
        rules
    }

    /// Who leaves because somebody else is healthy, and whether each listener has its quorum now.
    fn settle(&mut self, now: Time) {
        for slot in self.slots.values_mut() {
            if let Some(server) = self.servers.get(&slot.server) {
                slot.settle(&server.config, &self.judgements, now);
            }
        }
    }
}

/// The servers of `configs`. One that two routers have, because it moves from one to the other, is the newer one.
fn servers(configs: &[NodeConfigSpec]) -> BTreeMap<ServerName, Server> {
    let mut servers: BTreeMap<ServerName, Server> = BTreeMap::new();
    for config in configs {
        let router: Arc<str> = config.router.as_str().into();
        for server in &config.servers {
            let other = servers.get(&server.name);
            if other.is_none_or(|other| other.config.generation <= server.generation) {
                let (router, config) = (Arc::clone(&router), Arc::new(server.clone()));
                let server = Server { router, config };
                servers.insert(server.config.name.clone(), server);
            }
        }
    }
    servers
}
