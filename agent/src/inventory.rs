//! What the node's network looks like: interfaces with their addresses, as the monitor last saw them.
//!
//! Owns the values alone. Reading them from the kernel is `monitor`'s, changing them `network`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipkeeper_vrrp::{Ifindex, InterfaceState};
use vipkeeper_wire::MacAddr;

/// All interfaces of the node, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// By interface name.
    pub interfaces: BTreeMap<String, Interface>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's index.
    pub index: Ifindex,
    /// Administratively up and with carrier.
    pub running: bool,
    /// Its Ethernet address, if it has one.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses in the kernel's order.
    pub addresses: Vec<InterfaceAddress>,
    /// Whether an IPv4 default route leaves by it.
    pub default_route_ipv4: bool,
    /// Whether an IPv6 default route leaves by it.
    pub default_route_ipv6: bool,
    /// Whether it forwards IPv6.
    pub forwards_ipv6: bool,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_length: u8,
    /// Whether it is a virtual address that this agent holds or held: never a source, never a subnet.
    pub virtual_address: bool,
    /// Whether duplicate address detection still runs, or failed.
    pub tentative: bool,
}

impl Inventory {
    /// The name of interface `index`; for one that is gone, its number.
    #[must_use]
    pub fn name_of(&self, index: Ifindex) -> String {
        self.interfaces
            .iter()
            .find(|(_, interface)| interface.index == index)
            .map_or_else(|| format!("#{index}"), |(name, _)| name.clone())
    }
}

impl Inventory {
    /// The addresses of all interfaces that are not there because of us.
    #[must_use]
    pub fn host_addresses(&self) -> BTreeSet<IpAddr> {
        let all = self.interfaces.values().flat_map(|i| &i.addresses);
        let own = all.filter(|a| !a.virtual_address);
        own.map(|a| a.address).collect()
    }
}

impl Interface {
    /// The addresses that are not there because of us, in order of value. One that duplicate address detection
    /// has not passed is somebody's all the same.
    #[must_use]
    pub fn host_addresses(&self) -> Arc<[IpAddr]> {
        let own = self.addresses.iter().filter(|a| !a.virtual_address);
        let own: BTreeSet<IpAddr> = own.map(|a| a.address).collect();
        own.into_iter().collect()
    }

    /// What the election needs to know of it.
    #[must_use]
    pub fn state(&self) -> InterfaceState {
        let own = || {
            self.addresses
                .iter()
                .filter(|a| !a.virtual_address && !a.tentative)
        };
        InterfaceState {
            running: self.running,
            mac: self.mac,
            mtu: self.mtu,
            ipv4: own().find_map(|a| match a.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            }),
            ipv6: own().find_map(|a| match a.address {
                IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
                IpAddr::V4(_) | IpAddr::V6(_) => None,
            }),
            forwards_ipv6: self.forwards_ipv6,
        }
    }
}
