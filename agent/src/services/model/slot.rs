//! A listener: a service of the kernel with its real servers, and whether enough of them are healthy. Pure.
//!
//! Owns who is a member, who leaves and until when. What nobody has judged since this process began is taken for what
//! the kernel had.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use vipkeeper_crds::node_server::{
    Listener, NodeForwarding, NodeServer, NodeSorryServer, ServerName,
};
use vipkeeper_crds::server::InitialState;
use vipkeeper_ipvs as ipvs;
use vipkeeper_ipvs::{Destination, DestinationCounters, DestinationKey, ServiceKey};
use vipkeeper_vrrp::Time;

use super::member::{Health, Leaving, Listed, Member, Place};
use super::quorum::{self, Weights};
use super::{listing, words};
use crate::probe::{Judgement, Target};
use crate::services::{Entry, PresentService};

/// A real server that leaves is looked at no earlier than this: connections that were on their way have arrived by then.
const SETTLING: Duration = Duration::from_secs(2);
/// The weight of a sorry server, which has no rivals but those that keep healthy.
const SORRY_WEIGHT: u32 = 1;

/// What the kernel had of a listener when this process began.
pub(super) type Inherited = BTreeMap<DestinationKey, Destination>;

/// A listener: a service of the kernel.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) server: ServerName,
    pub(super) listener: Listener,
    pub(super) members: BTreeMap<DestinationKey, Member>,
    /// Whether enough are healthy; `None` while that cannot be told.
    pub(super) quorum: Option<bool>,
}

/// What a configuration says of a listener.
pub(super) struct Listing<'a> {
    pub(super) server: &'a NodeServer,
    /// Its real servers.
    pub(super) listed: BTreeMap<DestinationKey, Listed>,
    /// Empty but for the first configuration of a process.
    pub(super) inherited: Inherited,
    /// What the probes said until now.
    pub(super) judgements: &'a HashMap<Target, Judgement>,
    pub(super) now: Time,
}

impl Slot {
    /// One of `server`, that goes on where it was `before`.
    pub(super) fn new(server: &ServerName, listener: &Listener, before: Option<Self>) -> Self {
        let (members, quorum) = before.map_or_else(Default::default, |b| (b.members, b.quorum));
        Self {
            server: server.clone(),
            listener: listener.clone(),
            members,
            quorum,
        }
    }

    /// Takes in who should be there.
    pub(super) fn list(&mut self, listing: Listing<'_>) {
        let Listing {
            server,
            listed: mut wanted,
            inherited,
            judgements,
            now,
        } = listing;
        let leaving = Leaving {
            since: now,
            until: now + server.drain_timeout.into(),
        };
        self.take_over(server, &wanted, &inherited, leaving);
        self.members.retain(|key, member| {
            match wanted.remove(key) {
                Some(listed) => member.list(listed, judgements),
                None => member.leaving = member.leaving.or(Some(leaving)),
            }
            let is_gone = member.listed.place == Place::Gone;
            !is_gone && member.leaving.is_none_or(|leaving| now < leaving.until)
        });
        let (ending, serving): (BTreeMap<_, _>, BTreeMap<_, _>) = wanted
            .into_iter()
            .filter(|(_, listed)| listed.place != Place::Gone)
            .partition(|(_, listed)| listed.place == Place::Ends);
        self.add(server, serving, &inherited);
        // One that ends has connections only if it was there before this process; and is needed while nobody else serves.
        let is_relieved = self.is_relieved(judgements);
        let is_of_use = |key: &DestinationKey| !is_relieved || inherited.contains_key(key);
        let ending = ending.into_iter().filter(|(key, _)| is_of_use(key));
        self.add(server, ending.collect(), &inherited);
    }

    /// Who leaves because somebody else is healthy, and whether there is a quorum.
    pub(super) fn settle(
        &mut self,
        server: &NodeServer,
        judgements: &HashMap<Target, Judgement>,
        now: Time,
    ) {
        if self.is_relieved(judgements) {
            let leaving = Leaving {
                since: now,
                until: now + server.drain_timeout.into(),
            };
            let ending = self.members.values_mut();
            for member in ending.filter(|m| m.listed.place == Place::Ends) {
                member.leaving = member.leaving.or(Some(leaving));
            }
        }
        self.quorum = quorum::next(self.quorum, &server.quorum, self.weights(judgements));
    }

    /// Takes in what the kernel has, as it is `known`; whether one that left has gone.
    pub(super) fn observe(
        &mut self,
        key: &ServiceKey,
        known: Option<&PresentService>,
        now: Time,
    ) -> bool {
        let before = self.members.len();
        self.members.retain(|destination, member| {
            let Some(leaving) = member.leaving else {
                return true;
            };
            let counted = known.and_then(|s| s.destinations.get(destination));
            let idle =
                counted.is_some_and(|d| d.destination.weight == 0 && is_idle(key, &d.counters));
            now < leaving.until && !(idle && now >= leaving.since + SETTLING)
        });
        self.members.len() != before
    }

    /// Goes on where a process before this one was: those that it took off the list, or that were taken off it since,
    /// leave; and who served says whether there was a quorum.
    fn take_over(
        &mut self,
        server: &NodeServer,
        wanted: &BTreeMap<DestinationKey, Listed>,
        inherited: &Inherited,
        leaving: Leaving,
    ) {
        let sorry = server.sorry.as_ref();
        let sorry = sorry.map(|sorry| sorry_destination(&self.listener, server, sorry).key);
        let sorry = sorry.filter(|sorry| !wanted.contains_key(sorry));
        let serves = |d: &Destination| d.weight > 0;
        if sorry
            .and_then(|sorry| inherited.get(&sorry))
            .is_some_and(serves)
        {
            self.quorum = Some(false);
        } else if inherited.values().any(serves) {
            self.quorum = Some(true);
        }
        let left = inherited
            .iter()
            .filter(|(key, _)| !wanted.contains_key(key) && sorry != Some(**key));
        for (key, destination) in left {
            let member = Member {
                listed: Listed {
                    weight: destination.weight,
                    upper_threshold: destination.upper_threshold,
                    lower_threshold: destination.lower_threshold,
                    // Its connections keep the way that they have.
                    forwarding: server.forwarding,
                    place: Place::Ends,
                    barred: None,
                    targets: Arc::default(),
                },
                presumed: InitialState::Down,
                leaving: Some(leaving),
            };
            self.members.insert(*key, member);
        }
    }

    fn add(
        &mut self,
        server: &NodeServer,
        listed: BTreeMap<DestinationKey, Listed>,
        inherited: &Inherited,
    ) {
        for (key, listed) in listed {
            let member = Member {
                presumed: presumed(server, inherited, &key),
                listed,
                leaving: None,
            };
            self.members.insert(key, member);
        }
    }

    /// Whether somebody who does not end is healthy, so that those who end may.
    fn is_relieved(&self, judgements: &HashMap<Target, Judgement>) -> bool {
        self.members.values().any(|member| {
            let stays = member.leaving.is_none() && member.listed.place == Place::Serves;
            stays && matches!(member.health(judgements), Health::Up(1..))
        })
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
    pub(super) fn sorry<'a>(&self, server: &'a NodeServer) -> Option<&'a NodeSorryServer> {
        let serves = self.quorum == Some(false) && server.quorum.sorry;
        server.sorry.as_ref().filter(|_| serves)
    }

    /// Whether packets go out with an address of this node as source, which IPVS does not do.
    pub(super) fn masquerades(&self, server: &NodeServer) -> bool {
        let full = |way: NodeForwarding| way == NodeForwarding::FullNat;
        full(server.forwarding) || self.ways(server).any(|(_, way)| full(way))
    }

    /// The real servers that get packets with the client's address as source, though others of the listener do not.
    pub(super) fn see_clients(&self, server: &NodeServer) -> BTreeSet<SocketAddr> {
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

    pub(super) fn entry(
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
fn presumed(server: &NodeServer, inherited: &Inherited, key: &DestinationKey) -> InitialState {
    match inherited.get(key) {
        Some(destination) if destination.weight > 0 => InitialState::Up,
        // It was kept without weight, because it had failed.
        Some(_) => InitialState::Down,
        None => server.initial_state,
    }
}

pub(super) fn sorry_destination(
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
