//! An accepted router for one of its nodes. Decides nothing: the rules have passed, and everything is shared out.

use vipkeeper_crds::node_server::NodeServer;
use vipkeeper_crds::{
    AddressFamily, Families, NodeCandidate, NodeConfigSpec, NodeFamily, NodePeer, NodeTransport,
    features,
};

use crate::allocation::{Allocation, Allocations, Candidate};
use crate::index::Index;
use crate::placement::Reason;
use crate::router::{OWNER, Router, Way};

/// Names what one node does for one router.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigKey {
    /// The VirtualRouter.
    pub router: String,
    /// The node.
    pub node: String,
}

/// What a node does for a router, if the router is accepted and the node takes part.
#[must_use]
pub fn render(index: &Index, allocations: &Allocations, key: &ConfigKey) -> Option<NodeConfigSpec> {
    rendered(index, allocations, key, Place::Here)
}

/// Where the servers on a router's addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its configuration.
    Here,
    /// In shards beside it.
    Shards,
}

/// The same, with its servers or without.
pub(crate) fn rendered(
    index: &Index,
    allocations: &Allocations,
    key: &ConfigKey,
    place: Place,
) -> Option<NodeConfigSpec> {
    let allocation = allocations.routers.get(&key.router)?;
    let router = index.router(&key.router)?;
    let mut candidates = allocation.candidates.iter();
    let candidate = candidates.find(|c| c.node == key.node)?;
    let servers = allocations.servers.get(&key.router);
    let serves = servers.is_some_and(|all| !all.is_empty());
    let here = servers.filter(|_| place == Place::Here);
    let here = here.into_iter().flat_map(|all| all.iter());
    let servers: Vec<NodeServer> = here.map(|s| (*s.server).clone()).collect();
    Some(NodeConfigSpec {
        node_name: key.node.clone(),
        router: router.name.clone(),
        generation: router.generation,
        requires: requires(router, candidate, serves, place),
        movement: router.movement,
        sync_group: router.sync_group.clone(),
        virtual_router_id: allocation.virtual_router_id,
        version: router.version,
        advertisement_interval: router.interval,
        priority: candidate.priority,
        gives_way: gives_way(allocation, candidate),
        others: others(allocation, candidate),
        interface: router.interface.clone(),
        families: router
            .families
            .iter()
            .map(|f| family(*f, router, allocation, candidate))
            .collect(),
        authentication: router.authentication.clone(),
        preemption: router.preemption,
        election: router.election.clone(),
        checksum: router.checksum,
        address_lifetime: router.address_lifetime,
        linger: router.linger,
        servers,
    })
}

/// The election of one family.
fn family(
    family: AddressFamily,
    router: &Router,
    allocation: &Allocation,
    candidate: &Candidate,
) -> NodeFamily {
    let extra_peers = router.transport.extra_peers(family);
    let source = router.transport.source(family);
    let (transport, source) = match &router.transport.way {
        Way::Multicast { group } => (
            NodeTransport::Multicast {
                group: group.filter(|g| AddressFamily::of(g) == family),
                extra_peers,
            },
            source,
        ),
        Way::Unicast => (
            NodeTransport::Unicast {
                peers: peers(family, &extra_peers, allocation, candidate),
            },
            // The peers know this node by this address and refuse any other.
            source.or(candidate.address(family)),
        ),
    };
    NodeFamily {
        family,
        addresses: router.addresses_of(family),
        transport,
        source,
    }
}

/// What an agent must be able to do.
fn requires(router: &Router, candidate: &Candidate, serves: bool, place: Place) -> Vec<String> {
    let together = match router.movement {
        Families::Together => router.families.len() > 1,
        Families::Independent => false,
    };
    let needed = [
        (
            together || router.sync_group.is_some(),
            features::MOVE_TOGETHER,
        ),
        (candidate.priority == OWNER, features::ADDRESS_OWNER),
        (
            router.addresses.iter().any(|a| a.interface.is_some()),
            features::ADDRESS_INTERFACE,
        ),
        (serves, features::VIRTUAL_SERVERS),
        (serves && place == Place::Shards, features::SHARDS),
    ];
    let needed = needed.into_iter().filter(|(needed, _)| *needed);
    needed.map(|(_, feature)| feature.to_owned()).collect()
}

/// Whether a node that is not to be used has somebody to leave the addresses to.
fn gives_way(allocation: &Allocation, candidate: &Candidate) -> bool {
    let withdrawn = |c: &Candidate| matches!(c.reason, Reason::Withdrawn(_));
    withdrawn(candidate) && !allocation.candidates.iter().all(withdrawn)
}

/// The other candidates, by name, so that a new order is no news.
fn others(allocation: &Allocation, candidate: &Candidate) -> Vec<NodeCandidate> {
    let others = allocation.candidates.iter();
    let others = others.filter(|c| c.node != candidate.node);
    let mut others: Vec<NodeCandidate> = others
        .map(|c| NodeCandidate {
            node: c.node.clone(),
            addresses: c.addresses.clone(),
        })
        .collect();
    others.sort_by(|a, b| a.node.cmp(&b.node));
    others
}

/// Whom `candidate` speaks to: the other candidates, then the extra peers, each once and never itself.
fn peers(
    family: AddressFamily,
    extra: &[NodePeer],
    allocation: &Allocation,
    candidate: &Candidate,
) -> Vec<NodePeer> {
    let own = candidate.address(family);
    let others = allocation.candidates.iter();
    let others = others.filter(|c| c.node != candidate.node);
    let mut peers: Vec<NodePeer> = others
        .filter_map(|c| c.address(family))
        .filter(|a| !extra.iter().any(|p| p.address == *a))
        .map(|address| NodePeer {
            address,
            min_ttl: 0,
        })
        .collect();
    // By address, so that a new order of the candidates is no news to the peers.
    peers.sort_by_key(|p| p.address);
    peers.extend(extra);
    peers.retain(|p| Some(p.address) != own);
    peers
}
