//! An accepted router for one of its nodes. Decides nothing: the rules have passed.

use vipkeeper_crds::{NodeConfigSpec, NodeTransport};

use crate::router::{Router, Way};

/// What `node` does for `router`, if it is a candidate.
pub(crate) fn render(router: &Router, node: &str) -> Option<NodeConfigSpec> {
    let candidate = router.candidates.iter().find(|c| c.node == node)?;
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
                peers: router.peers_of(candidate),
            },
            // The peers know this node by this address and refuse any other.
            router.source.or(candidate.address),
        ),
    };
    Some(NodeConfigSpec {
        node_name: node.to_owned(),
        router: router.name.clone(),
        family: router.family,
        virtual_router_id: router.vrid,
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
