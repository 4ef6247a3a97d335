//! What the node has, as the status of its own NodeConfig shows it. Pure.

use std::net::IpAddr;
use std::time::Duration;

use vipkeeper_crds::status::{
    AgentFacts, ForeignRouter, InterfaceInventory, KernelFacts, NodeCheck, NodeInventory,
};
use vipkeeper_crds::{AddressFamily, features};
use vipkeeper_vrrp::Snapshot;

use super::composition::family;
use crate::inventory::{Interface, InterfaceAddress, Inventory};

/// Bounds of the schema.
const INTERFACES: usize = 256;
const PREFIXES: usize = 64;
const FOREIGN: usize = 64;
/// Somebody else's virtual router counts for so long after it was heard last.
const HEARD: Duration = Duration::from_secs(3600);

/// All of it.
pub(super) fn inventory(
    seen: &Inventory,
    snapshot: &Snapshot,
    kernel: KernelFacts,
    checks: Vec<NodeCheck>,
) -> NodeInventory {
    let carriers = seen.interfaces.iter().filter(|(_, i)| can_carry(i));
    NodeInventory {
        interfaces: carriers
            .take(INTERFACES)
            .map(|(name, interface)| reported(name, interface))
            .collect(),
        kernel,
        agent: AgentFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: features::ALL.map(str::to_owned).to_vec(),
        },
        checks,
        foreign: foreign(seen, snapshot),
    }
}

/// Whether a router can run there. The interfaces of pods, and those that hold nothing but addresses, cannot: a
/// node has many of them, and they come and go.
fn can_carry(interface: &Interface) -> bool {
    let subnet = |a: &InterfaceAddress| {
        let whole = AddressFamily::of(&a.address).bits();
        let is_routable = !a.address.is_loopback() && !is_link_local(a.address);
        !a.virtual_address && is_routable && a.prefix_length < whole
    };
    interface.mac.is_some() && interface.addresses.iter().any(subnet)
}

fn reported(name: &str, interface: &Interface) -> InterfaceInventory {
    let own = || interface.addresses.iter().filter(|a| !a.virtual_address);
    let mut prefixes: Vec<String> = own()
        .filter(|a| !is_link_local(a.address))
        .map(|a| format!("{}/{}", a.address, a.prefix_length))
        .collect();
    prefixes.truncate(PREFIXES);
    let defaults = [
        (interface.default_route_ipv4, AddressFamily::V4),
        (interface.default_route_ipv6, AddressFamily::V6),
    ];
    InterfaceInventory {
        name: name.to_owned(),
        prefixes,
        link_local: own()
            .find(|a| is_link_local(a.address))
            .map(|a| a.address.to_string()),
        mtu: interface.mtu.into(),
        default_routes: defaults.into_iter().filter(|d| d.0).map(|d| d.1).collect(),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn foreign(seen: &Inventory, snapshot: &Snapshot) -> Vec<ForeignRouter> {
    let recent = snapshot.foreign.iter();
    let recent = recent.filter(|row| snapshot.at.since(row.last_heard) < HEARD);
    let mut rows: Vec<ForeignRouter> = recent
        .map(|row| ForeignRouter {
            interface: seen.name_of(row.interface),
            family: family(row.family),
            virtual_router_id: row.vrid.get().into(),
            source: row.source.to_string(),
            addresses_hash: format!("{:016x}", row.addresses_hash),
        })
        .collect();
    rows.sort();
    rows.truncate(FOREIGN);
    rows
}
