//! Whom the node's heartbeat tells, and of which routers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vipkeeper_crds::{NodeCandidate, NodeConfigSpec, NodeSettings};
use vipkeeper_vrrp::{HeartbeatPeer, HeartbeatPlan, HeartbeatRouter, RouterConfig, SHORTEST_BEAT};
use vipkeeper_wire::heartbeat::hash;

use super::interface;
use crate::inventory::{Interface, Inventory};

/// Who speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    /// The node's name.
    pub node: String,
    /// Greater after each start of the agent.
    pub incarnation: u64,
}

/// The heartbeat between this node and those that take part in `routers`, which `configs` made. `None` where nobody
/// else takes part whose address is known.
pub(super) fn heartbeat(
    speaker: &Speaker,
    configs: &[NodeConfigSpec],
    routers: &[RouterConfig],
    settings: &NodeSettings,
    inventory: &Inventory,
) -> Option<HeartbeatPlan> {
    let mut peers: BTreeMap<(&str, IpAddr), Vec<HeartbeatRouter>> = BTreeMap::new();
    let mut shortest: Option<Duration> = None;
    for router in routers {
        let config = configs
            .iter()
            .find(|config| config.router == *router.name)?;
        let link = inventory
            .interfaces
            .values()
            .find(|i| Some(i.index) == router.interface);
        for other in &config.others {
            let Some((address, on_link)) = reached(other, link) else {
                continue;
            };
            let interval = router.protocol.interval();
            shortest = Some(shortest.map_or(interval, |known| known.min(interval)));
            let shared = peers.entry((other.node.as_str(), address)).or_default();
            shared.push(HeartbeatRouter {
                router: hash(&router.name),
                family: router.family,
                on_link,
            });
        }
    }
    let interval = settings.heartbeat_interval.map(Duration::from);
    let interval = interval.or(shortest)?.max(SHORTEST_BEAT);
    let peers: Vec<_> = peers
        .into_iter()
        .map(|((node, address), routers)| HeartbeatPeer {
            node: hash(node),
            address,
            routers,
        })
        .collect();
    (!peers.is_empty()).then(|| HeartbeatPlan {
        node: hash(&speaker.node),
        incarnation: speaker.incarnation,
        interval,
        peers,
    })
}

/// Where a candidate is reached: on the router's own link if it has an address there, for what arrives by that link
/// proves more; else at the first.
fn reached(candidate: &NodeCandidate, link: Option<&Interface>) -> Option<(IpAddr, bool)> {
    // A link-local address is no address without its interface.
    let usable = |address: &&IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    let mut near = candidate.addresses.iter().filter(usable);
    let near = link.and_then(|link| near.find(|a| interface::around(link, **a, false).is_some()));
    let first = candidate.addresses.iter().find(usable);
    near.map(|address| (*address, true))
        .or_else(|| first.map(|address| (*address, false)))
}
