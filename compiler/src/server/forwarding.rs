//! The rules of forwarding: what a tunnel is made of, and what each way can do with ports.

use std::num::NonZeroU16;

use vipkeeper_crds::VirtualServerSpec;
use vipkeeper_crds::node_server::NodeForwarding;
use vipkeeper_crds::server::{Forwarding, ForwardingMethod, Tunnel, TunnelChecksum, TunnelType};

use super::Wanted;
use crate::finding::Remarks;

/// The way to real servers that say nothing else.
pub(super) fn of_server(
    spec: &VirtualServerSpec,
    wanted: Option<&Wanted>,
    remarks: &mut Remarks,
) -> Option<NodeForwarding> {
    let forwarding = forwarding(&spec.forwarding, "spec.forwarding", wanted, remarks)?;
    if forwarding.changes_port() {
        return Some(forwarding);
    }
    for (i, port) in spec.ports.iter().enumerate() {
        if let Some(target) = port.target_port
            && target != port.port
        {
            let message = format!(
                "{target}: {} cannot change the port {}; remove this, or choose NAT",
                word(forwarding),
                port.port
            );
            remarks.error(format!("spec.ports[{i}].targetPort"), message);
        }
    }
    Some(forwarding)
}

/// The way that is written at `path`.
pub(super) fn forwarding(
    given: &Forwarding,
    path: &str,
    wanted: Option<&Wanted>,
    remarks: &mut Remarks,
) -> Option<NodeForwarding> {
    if given.tunnel.is_some() && given.method != ForwardingMethod::Tunnel {
        let message = "belongs to `method: Tunnel`: remove it, or change the method";
        remarks.error(format!("{path}.tunnel"), message);
        return None;
    }
    match given.method {
        ForwardingMethod::Nat => Some(NodeForwarding::Nat),
        ForwardingMethod::FullNat => {
            if let Some(wanted) = wanted.filter(|w| w.portless()) {
                let what = match wanted {
                    Wanted::Mark { .. } => "a firewall mark",
                    Wanted::Ports { .. } => "`all: true`",
                };
                let message = format!(
                    "FullNAT tells its connections by virtual address and port, and {what} has none: choose NAT, or list `ports`"
                );
                remarks.error(format!("{path}.method"), message);
                return None;
            }
            Some(NodeForwarding::FullNat)
        }
        ForwardingMethod::DirectRouting => Some(NodeForwarding::DirectRouting),
        ForwardingMethod::Tunnel => {
            let path = format!("{path}.tunnel");
            tunnel(given.tunnel.unwrap_or_default(), &path, remarks)
        }
    }
}

fn tunnel(given: Tunnel, path: &str, remarks: &mut Remarks) -> Option<NodeForwarding> {
    let checksum = given.checksum;
    let port = format!("{path}.port");
    let message = match (given.kind, checksum) {
        (TunnelType::Ipip, TunnelChecksum::None) => {
            return no_port(given, &port, remarks).map(|()| NodeForwarding::Ipip);
        }
        (TunnelType::Gre, TunnelChecksum::None | TunnelChecksum::Full) => {
            let gre = NodeForwarding::Gre { checksum };
            return no_port(given, &port, remarks).map(|()| gre);
        }
        (TunnelType::Gue, TunnelChecksum::None | TunnelChecksum::Full | TunnelChecksum::Remote) => {
            let Some(given) = given.port else {
                remarks.error(port, "required with `type: GUE`");
                return None;
            };
            let port = NonZeroU16::new(super::port(given, &port, remarks)?)?;
            return Some(NodeForwarding::Gue { port, checksum });
        }
        (TunnelType::Ipip, TunnelChecksum::Full | TunnelChecksum::Remote) => {
            "IPIP has no checksum: remove this, or choose `type: GRE` or `GUE`"
        }
        (TunnelType::Gre, TunnelChecksum::Remote) => {
            "GRE has no `Remote`: choose `None` or `Full`, or `type: GUE`"
        }
    };
    remarks.error(format!("{path}.checksum"), message);
    no_port(given, &port, remarks);
    None
}

/// Says if there is a port where none belongs.
fn no_port(given: Tunnel, path: &str, remarks: &mut Remarks) -> Option<()> {
    if given.port.is_some() {
        let message = "belongs to `type: GUE`: remove it, or change the type";
        remarks.error(path, message);
        return None;
    }
    Some(())
}

/// The word for a way in messages.
pub(super) const fn word(forwarding: NodeForwarding) -> &'static str {
    match forwarding {
        NodeForwarding::Nat => "NAT",
        NodeForwarding::FullNat => "FullNAT",
        NodeForwarding::DirectRouting => "DR",
        NodeForwarding::Ipip | NodeForwarding::Gre { .. } | NodeForwarding::Gue { .. } => "Tunnel",
    }
}
