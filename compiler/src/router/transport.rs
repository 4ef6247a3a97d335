//! The rules of how advertisements travel.

use std::net::IpAddr;

use vipkeeper_crds::{
    AddressFamily, NodeAddress, NodePeer, Peer, TransportMode, VirtualRouterSpec,
};

use crate::address;
use crate::finding::Remarks;

/// The most peers beside the candidates.
const MAX_EXTRA_PEERS: usize = 32;

/// What is left of `spec.transport` when its rules have passed. Each address belongs to the election of its family.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transport {
    pub(crate) way: Way,
    pub(crate) extra_peers: Vec<NodePeer>,
    source: Option<IpAddr>,
}

/// How advertisements travel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Multicast { group: Option<IpAddr> },
    Unicast,
}

impl Transport {
    /// The peers of `family` beside the candidates.
    pub(crate) fn extra_peers(&self, family: AddressFamily) -> Vec<NodePeer> {
        let all = self.extra_peers.iter();
        let own = all.filter(|p| AddressFamily::of(&p.address) == family);
        own.copied().collect()
    }

    /// The source that is written for `family`.
    pub(crate) fn source(&self, family: AddressFamily) -> Option<IpAddr> {
        self.source.filter(|a| AddressFamily::of(a) == family)
    }
}

pub(super) fn transport(
    spec: &VirtualRouterSpec,
    families: &[AddressFamily],
    addresses: &[NodeAddress],
    remarks: &mut Remarks,
) -> Transport {
    let mode = spec.transport.mode;
    let extra_peers = extra_peers(&spec.transport.extra_peers, families, addresses, remarks);
    let source = source(spec, families, addresses, remarks);
    let group = group(spec, families, remarks);
    let way = match mode {
        TransportMode::Multicast => Way::Multicast { group },
        TransportMode::Unicast => Way::Unicast,
    };
    Transport {
        way,
        extra_peers,
        source,
    }
}

fn extra_peers(
    given: &[Peer],
    families: &[AddressFamily],
    addresses: &[NodeAddress],
    remarks: &mut Remarks,
) -> Vec<NodePeer> {
    if given.len() > MAX_EXTRA_PEERS {
        let message = format!("{} peers: at most {MAX_EXTRA_PEERS}", given.len());
        remarks.error("spec.transport.extraPeers", message);
    }
    let mut good: Vec<NodePeer> = Vec::with_capacity(given.len());
    for (i, peer) in given.iter().enumerate() {
        let path = format!("spec.transport.extraPeers[{i}]");
        let min_ttl = u8::try_from(peer.min_ttl).ok();
        if min_ttl.is_none() {
            let message = format!("{}: choose 0 to 255", peer.min_ttl);
            remarks.error(format!("{path}.minTTL"), message);
        }
        let path = format!("{path}.address");
        let Some(address) = host(&peer.address, &path, families, addresses, remarks) else {
            continue;
        };
        if good.iter().any(|p| p.address == address) {
            remarks.error(path, format!("{address} is listed twice: remove one"));
            continue;
        }
        good.extend(min_ttl.map(|min_ttl| NodePeer { address, min_ttl }));
    }
    good
}

fn source(
    spec: &VirtualRouterSpec,
    families: &[AddressFamily],
    addresses: &[NodeAddress],
    remarks: &mut Remarks,
) -> Option<IpAddr> {
    let path = "spec.transport.source";
    let text = spec.transport.source.as_ref()?;
    let source = host(text, path, families, addresses, remarks)?;
    let multicast = spec.transport.mode == TransportMode::Multicast;
    if multicast && source.is_ipv6() && !address::link_local(source) {
        remarks.error(
            path,
            format!("{source} is not link-local, as IPv6 multicast demands (RFC 9568 §5.1.2.1): remove it, or choose the interface's fe80:: address"),
        );
    }
    let several = match spec.nodes.priorities.len() {
        0 => spec.nodes.max_candidates != Some(1),
        listed => listed > 1,
    };
    if several {
        remarks.warn(
            path,
            "one address cannot be the source on several nodes: those that do not have it take no part; remove it if the manifests are the same everywhere",
        );
    }
    Some(source)
}

fn group(
    spec: &VirtualRouterSpec,
    families: &[AddressFamily],
    remarks: &mut Remarks,
) -> Option<IpAddr> {
    let path = "spec.transport.group";
    let text = spec.transport.group.as_ref()?;
    match spec.transport.mode {
        TransportMode::Unicast => {
            remarks.error(
                path,
                "belongs to `mode: Multicast`: remove it, or change the mode",
            );
            return None;
        }
        TransportMode::Multicast => {}
    }
    let group = match address::parse(text) {
        Ok(group) => group,
        Err(message) => {
            remarks.error(path, message);
            return None;
        }
    };
    let own = families.contains(&AddressFamily::of(&group));
    if !own || !address::link_local_group(group) {
        let (wanted, range, default) = match families {
            [AddressFamily::V4] => ("IPv4", "224.0.0.0/24", "224.0.0.18"),
            [AddressFamily::V6] => ("IPv6", "ff02::/16", "ff02::12"),
            _ => ("IPv4 or IPv6", "224.0.0.0/24 or ff02::/16", "the default"),
        };
        remarks.error(
            path,
            format!("{group} is no {wanted} multicast group of the link: choose one of {range}, or remove it for {default}"),
        );
    }
    Some(group)
}

/// An address that a host can have and that is not virtual.
fn host(
    text: &str,
    path: &str,
    families: &[AddressFamily],
    addresses: &[NodeAddress],
    remarks: &mut Remarks,
) -> Option<IpAddr> {
    let wrong = |address: IpAddr| {
        let own = AddressFamily::of(&address);
        if !families.contains(&own) {
            return Some(format!(
                "{address} is {own}, of which the router has no address"
            ));
        }
        if addresses.iter().any(|a| a.address == address) {
            return Some(format!(
                "{address} is a virtual address of this router, which moves: give an address that stays"
            ));
        }
        address::unusable(address)
    };
    let address = address::parse(text).and_then(|a| wrong(a).map_or(Ok(a), Err));
    match address {
        Ok(address) => Some(address),
        Err(message) => {
            remarks.error(path, message);
            None
        }
    }
}
