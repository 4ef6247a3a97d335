//! The rules of how advertisements travel.

use std::net::IpAddr;

use vipkeeper_crds::{
    AddressFamily, NodeAddress, NodePeer, Peer, TransportMode, VirtualRouterSpec,
};

use super::Way;
use crate::address;
use crate::finding::Remarks;

/// The most peers beside the candidates.
const MAX_EXTRA_PEERS: usize = 32;

/// What is left of `spec.transport` when its rules have passed.
pub(super) struct Transport {
    pub(super) way: Way,
    pub(super) extra_peers: Vec<NodePeer>,
    pub(super) source: Option<IpAddr>,
}

pub(super) fn transport(
    spec: &VirtualRouterSpec,
    family: AddressFamily,
    addresses: &[NodeAddress],
    remarks: &mut Remarks,
) -> Transport {
    let mode = spec.transport.mode;
    let extra_peers = extra_peers(&spec.transport.extra_peers, family, addresses, remarks);
    let source = source(spec, family, addresses, remarks);
    let group = group(spec, family, remarks);
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
    family: AddressFamily,
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
        let Some(address) = host(&peer.address, &path, family, addresses, remarks) else {
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
    family: AddressFamily,
    addresses: &[NodeAddress],
    remarks: &mut Remarks,
) -> Option<IpAddr> {
    let path = "spec.transport.source";
    let text = spec.transport.source.as_ref()?;
    let source = host(text, path, family, addresses, remarks)?;
    let multicast = spec.transport.mode == TransportMode::Multicast;
    if multicast && family == AddressFamily::V6 && !address::link_local(source) {
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

fn group(spec: &VirtualRouterSpec, family: AddressFamily, remarks: &mut Remarks) -> Option<IpAddr> {
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
    let (range, default) = match family {
        AddressFamily::V4 => ("224.0.0.0/24", "224.0.0.18"),
        AddressFamily::V6 => ("ff02::/16", "ff02::12"),
    };
    if AddressFamily::of(&group) != family || !address::link_local_group(group) {
        remarks.error(
            path,
            format!("{group} is no {family} multicast group of the link: choose one of {range}, or remove it for {default}"),
        );
    }
    Some(group)
}

/// An address that a host can have and that is not virtual.
fn host(
    text: &str,
    path: &str,
    family: AddressFamily,
    addresses: &[NodeAddress],
    remarks: &mut Remarks,
) -> Option<IpAddr> {
    let wrong = |address: IpAddr| {
        if AddressFamily::of(&address) != family {
            return Some(format!("{address} is not {family}, the router's family"));
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
