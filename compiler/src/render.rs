//! An accepted router for one of its nodes. Decides nothing: the rules have passed, and everything is shared out.

use vipkeeper_crds::{NodeConfigSpec, NodePeer, NodeTransport};

use crate::allocation::{Allocation, Allocations, Candidate};
use crate::index::Index;
use crate::router::{Router, Way};

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
    let allocation = allocations.routers.get(&key.router)?;
    let router = index.router(&key.router)?;
    let mut candidates = allocation.candidates.iter();
    let candidate = candidates.find(|c| c.node == key.node)?;
    let (transport, source) = match &router.way {
        Way::Multicast { group } => (
            NodeTransport::Multicast {
                group: *group,
                extra_peers: router.extra_peers.clone(),
            },
            router.source,
        ),
        Way::Unicast => (
            NodeTransport::Unicast {
                peers: peers(router, allocation, candidate),
            },
            // The peers know this node by this address and refuse any other.
            router.source.or(candidate.address),
        ),
    };
    Some(NodeConfigSpec {
        node_name: key.node.clone(),
        router: router.name.clone(),
        family: router.family,
        virtual_router_id: allocation.virtual_router_id,
        version: router.version,
        advertisement_interval: router.interval,
        priority: candidate.priority,
        addresses: router.addresses.clone(),
        interface: router.interface.clone(),
        transport,
        source,
        authentication: router.authentication.clone(),
        preemption: router.preemption,
        election: router.election.clone(),
        checksum: router.checksum,
        address_lifetime: router.address_lifetime,
    })
}

/// Whom `candidate` speaks to: the other candidates, then the extra peers, each once and never itself.
fn peers(router: &Router, allocation: &Allocation, candidate: &Candidate) -> Vec<NodePeer> {
    let extra = &router.extra_peers;
    let others = allocation.candidates.iter();
    let others = others.filter(|c| c.node != candidate.node);
    let mut peers: Vec<NodePeer> = others
        .filter_map(|c| c.address)
        .filter(|a| !extra.iter().any(|p| p.address == *a))
        .map(|address| NodePeer {
            address,
            min_ttl: 0,
        })
        .collect();
    // By address, so that a new order of the candidates is no news to the peers.
    peers.sort_by_key(|p| p.address);
    peers.extend(extra);
    peers.retain(|p| Some(p.address) != candidate.address);
    peers
}
