//! Who serves: from the configuration, the endpoints of Services, what the probes say and what the kernel counts, to the
//! table that the kernel should have.
//!
//! Owns the standing of every real server: whether it is healthy, whether it leaves and how long it may, and whether each
//! listener has its quorum. Pure: time and everything seen are arguments, the table is a value. Never talks to the
//! kernel, and never asks a real server.
//!
//! - `gate`: which endpoints may not serve.
//! - `listing`: which real servers a listener should have.
//! - `member`: one real server of one listener.
//! - `quorum`: whether enough of them are healthy.
//! - `report`: what is said of each server.
//! - `words`: the API's words in the kernel's.

mod gate;
mod listing;
mod member;
mod quorum;
mod report;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use vipkeeper_compiler::{Endpoints, ServiceName};
use vipkeeper_crds::NodeConfigSpec;
use vipkeeper_crds::node_server::{
    Listener, NodeForwarding, NodeServer, NodeSorryServer, ServerName,
};
use vipkeeper_crds::server::InitialState;
use vipkeeper_ipvs as ipvs;
use vipkeeper_ipvs::{Destination, DestinationCounters, DestinationKey, ServiceKey};
use vipkeeper_nft::Ruleset;
use vipkeeper_vrrp::Time;

use super::{Entry, Observed, Table};
use crate::probe::{Judgement, Target};
use gate::{Gate, Nodes};
use member::{Health, Leaving, Listed, Member, Place};
use quorum::Weights;

pub use report::{MemberStanding, Report, Standing};
pub(super) use words::{FirewallKey, firewall_key};

/// A real server that leaves is looked at no earlier than this: connections that were on their way have arrived by then.
const SETTLING: Duration = Duration::from_secs(2);
/// The weight of a sorry server, which has no rivals but those that keep healthy.
const SORRY_WEIGHT: u32 = 1;

/// All virtual servers of the node.
#[derive(Debug, Default)]
pub struct Model {
    servers: BTreeMap<ServerName, Server>,
    slots: BTreeMap<ServiceKey, Slot>,
    judgements: HashMap<Target, Judgement>,
    /// What the kernel had when this process began: what nobody has judged since is taken for that.
    inherited: BTreeMap<ServiceKey, BTreeMap<DestinationKey, u32>>,
}

/// A virtual server.
#[derive(Clone, Debug)]
struct Server {
    router: Arc<str>,
    config: Arc<NodeServer>,
}

/// A listener: a service of the kernel.
#[derive(Debug)]
struct Slot {
    server: ServerName,
    listener: Listener,
    members: BTreeMap<DestinationKey, Member>,
    /// Whether enough are healthy; `None` while that cannot be told.
    quorum: Option<bool>,
}

impl Model {
    /// Knows what the kernel has of ours already, before the first configuration. What a probe says counts more.
    pub fn inherit(&mut self, observed: &Observed) {
        for (key, service) in &observed.services {
            let present = service.present.iter().flat_map(|p| &p.destinations);
            let weights = present.map(|(key, present)| (*key, present.destination.weight));
            self.inherited.insert(*key, weights.collect());
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
        self.servers = configs
            .iter()
            .flat_map(|config| {
                let router: Arc<str> = config.router.as_str().into();
                config.servers.iter().map(move |server| {
                    let router = Arc::clone(&router);
                    let config = Arc::new(server.clone());
                    (server.name.clone(), Server { router, config })
                })
            })
            .collect();
        let mut before = std::mem::take(&mut self.slots);
        for (name, server) in &self.servers {
            let Some(gate) = gates.get(&*server.router) else {
                continue;
            };
            let service = ServiceName::of(&server.config);
            let endpoints = service.map_or_else(Vec::new, |service| endpoints.of(&service));
            for listener in &server.config.listeners {
                let key = words::service_key(listener);
                let mut slot = before.remove(&key).unwrap_or_else(|| Slot {
                    server: name.clone(),
                    listener: listener.clone(),
                    members: BTreeMap::new(),
                    quorum: None,
                });
                slot.server = name.clone();
                slot.listener = listener.clone();
                // It tells of the time before this process, once.
                let inherited = self.inherited.remove(&key);
                let wanted = listing::listed(&server.config, listener, &endpoints, gate);
                slot.list(&server.config, wanted, inherited.as_ref(), now);
                self.slots.insert(key, slot);
            }
        }
        let wanted = self.targets();
        self.judgements.retain(|target, _| wanted.contains(target));
        self.settle();
    }

    /// Takes in what the probes say of targets. What nobody asks for any more is forgotten at the next configuration.
    pub fn judge(&mut self, judgements: impl IntoIterator<Item = (Target, Judgement)>) {
        self.judgements.extend(judgements);
        self.settle();
    }

    /// Takes in what the kernel has: real servers that leave go when they have no connections left, or no time. Whether
    /// one has gone; nothing else follows from it.
    pub fn observe(&mut self, observed: &Observed, now: Time) -> bool {
        let mut is_changed = false;
        for (key, slot) in &mut self.slots {
            let before = slot.members.len();
            let known = observed.services.get(key).and_then(|s| s.present.as_ref());
            slot.members.retain(|destination, member| {
                let Some(leaving) = member.leaving else {
                    return true;
                };
                let counted = known.and_then(|s| s.destinations.get(destination));
                let idle =
                    counted.is_some_and(|d| d.destination.weight == 0 && is_idle(key, &d.counters));
                now < leaving.until && !(idle && now >= leaving.since + SETTLING)
            });
            is_changed |= slot.members.len() != before;
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

    /// Whether each listener has its quorum now.
    fn settle(&mut self) {
        for slot in self.slots.values_mut() {
            if let Some(server) = self.servers.get(&slot.server) {
                let weights = slot.weights(&self.judgements);
                slot.quorum = quorum::next(slot.quorum, &server.config.quorum, weights);
            }
        }
    }
}

impl Slot {
    /// Takes in who should be there.
    fn list(
        &mut self,
        server: &NodeServer,
        mut wanted: BTreeMap<DestinationKey, Listed>,
        inherited: Option<&BTreeMap<DestinationKey, u32>>,
        now: Time,
    ) {
        let until = now + server.drain_timeout.into();
        self.members.retain(|key, member| {
            let listed = wanted.remove(key);
            let place = listed.as_ref().map_or(Place::Ends, |l| l.place);
            if let Some(listed) = listed {
                member.listed = listed;
            }
            member.leaving = match place {
                Place::Serves => None,
                Place::Ends => Some(member.leaving.unwrap_or(Leaving { since: now, until })),
                Place::Gone => return false,
            };
            member.leaving.is_none_or(|leaving| now < leaving.until)
        });
        for (key, listed) in wanted {
            let leaving = match listed.place {
                Place::Serves => None,
                // It has connections only if it was there before this process.
                Place::Ends if inherited.is_some_and(|i| i.contains_key(&key)) => {
                    Some(Leaving { since: now, until })
                }
                Place::Ends | Place::Gone => continue,
            };
            let member = Member {
                presumed: presumed(server, inherited, &key),
                listed,
                leaving,
            };
            self.members.insert(key, member);
        }
    }

    fn weights(&self, judgements: &HashMap<Target, Judgement>) -> Weights {
        let mut weights = Weights::default();
        for member in self.members.values().filter(|m| m.leaving.is_none()) {
            match member.health(judgements) {
                Health::Up(weight) => weights.healthy += u64::from(weight),
                Health::Unjudged => weights.unjudged += u64::from(member.listed.weight),
                Health::Down(_) => {}
            }
        }
        weights
    }

    /// The sorry server, while it serves.
    fn sorry<'a>(&self, server: &'a NodeServer) -> Option<&'a NodeSorryServer> {
        let serves = self.quorum == Some(false) && server.quorum.sorry;
        server.sorry.as_ref().filter(|_| serves)
    }

    /// Whether packets go out with an address of this node as source, which IPVS does not do.
    fn masquerades(&self, server: &NodeServer) -> bool {
        let full = |way: NodeForwarding| way == NodeForwarding::FullNat;
        full(server.forwarding) || self.ways(server).any(|(_, way)| full(way))
    }

    /// The real servers that get packets with the client's address as source, though others of the listener do not.
    fn see_clients(&self, server: &NodeServer) -> BTreeSet<SocketAddr> {
        let by = |wanted: NodeForwarding| {
            let some = self.ways(server).filter(move |(_, way)| *way == wanted);
            some.map(|(at, _)| SocketAddr::new(at.address, at.port))
        };
        let mut all: BTreeSet<SocketAddr> = by(NodeForwarding::Nat).collect();
        // A sorry server may be an endpoint as well: what is masqueraded works in any case.
        for masqueraded in by(NodeForwarding::FullNat) {
            all.remove(&masqueraded);
        }
        all
    }

    /// How packets reach everybody who may ever get some.
    fn ways<'a>(
        &'a self,
        server: &'a NodeServer,
    ) -> impl Iterator<Item = (DestinationKey, NodeForwarding)> + 'a {
        let sorry = server.sorry.iter().map(|sorry| {
            let at = sorry_destination(&self.listener, server, sorry).key;
            (at, sorry.forwarding.unwrap_or(server.forwarding))
        });
        let members = self.members.iter();
        members
            .map(|(at, member)| (*at, member.listed.forwarding))
            .chain(sorry)
    }

    fn entry(
        &self,
        key: ServiceKey,
        server: &NodeServer,
        judgements: &HashMap<Target, Judgement>,
    ) -> Entry {
        let sorry = self.sorry(server);
        let mut entry = Entry::new(words::service(key, server));
        for (at, member) in &self.members {
            let health = member.health(judgements);
            let Some(weight) = member.weight(&health, server.on_failure) else {
                continue;
            };
            // What it has it keeps; what is new goes to the sorry server.
            let replaced = sorry.is_some_and(|sorry| !sorry.keep_healthy);
            let weight = if replaced { 0 } else { weight };
            entry.insert(member.destination(*at, weight));
        }
        if let Some(sorry) = sorry {
            entry.insert(sorry_destination(&self.listener, server, sorry));
        }
        entry
    }
}

/// Whether a real server has no connections that end by themselves.
fn is_idle(service: &ServiceKey, counters: &DestinationCounters) -> bool {
    let DestinationCounters {
        active, inactive, ..
    } = *counters;
    match service {
        // TCP and SCTP tell the connections that live from those that closed.
        ServiceKey::Address {
            protocol: ipvs::Protocol::Tcp | ipvs::Protocol::Sctp,
            ..
        } => active == 0,
        ServiceKey::Address {
            protocol: ipvs::Protocol::Udp | ipvs::Protocol::Other(_),
            ..
        }
        | ServiceKey::Mark { .. } => active == 0 && inactive == 0,
    }
}

/// What a real server is taken for that nobody has judged: what the kernel of this node says, or the configuration.
fn presumed(
    server: &NodeServer,
    inherited: Option<&BTreeMap<DestinationKey, u32>>,
    key: &DestinationKey,
) -> InitialState {
    match inherited.map(|known| known.get(key)) {
        Some(Some(weight)) if *weight > 0 => InitialState::Up,
        // It was taken out, or kept without weight, because it had failed; or is new beside the others.
        Some(Some(_)) => InitialState::Down,
        Some(None) | None => server.initial_state,
    }
}

fn sorry_destination(
    listener: &Listener,
    server: &NodeServer,
    sorry: &NodeSorryServer,
) -> Destination {
    let way = sorry.forwarding.unwrap_or(server.forwarding);
    Destination {
        key: DestinationKey {
            address: sorry.address,
            port: listing::port_of(listener, sorry.port, way),
        },
        forwarding: words::forwarding(way),
        weight: SORRY_WEIGHT,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}
