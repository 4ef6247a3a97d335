//! The node's network as netlink messages describe it: a value, changed message by message.
//!
//! Pure: knows no socket. A message that it cannot apply by itself makes it say what must be listed again.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink messages are an open set: what we did not ask for does not concern us"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkFlags, LinkLayerType, LinkMessage,
};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use vipkeeper_vrrp::Ifindex;
use vipkeeper_wire::{Family, MacAddr};

use crate::inventory::{Interface, InterfaceAddress, Inventory};
use crate::network::kernel::{PARKED_TAG, Present, TAG};
use crate::network::rtnetlink::present_of;

/// Interfaces, addresses and default routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    links: BTreeMap<Ifindex, Link>,
    /// In the kernel's order.
    addresses: BTreeMap<Ifindex, Vec<Address>>,
    default_routes: BTreeSet<(Family, Ifindex)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    name: String,
    running: bool,
    mac: Option<MacAddr>,
    mtu: u32,
    forwards_ipv6: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    present: Present,
    tentative: bool,
}

/// What a message leaves unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    /// Nothing.
    Nothing,
    /// The default routes.
    Routes,
    /// The order of addresses, or more.
    Everything,
}

/// How a virtual address of ours is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Virtual {
    /// By the tag that the kernel keeps.
    Tagged,
    /// The kernel keeps none: by the plan.
    Listed(BTreeSet<IpAddr>),
}

impl Virtual {
    fn is(&self, present: &Present) -> bool {
        match self {
            Self::Tagged => matches!(present.tag, Some(TAG | PARKED_TAG)),
            Self::Listed(addresses) => addresses.contains(&present.address),
        }
    }
}

impl Model {
    /// Takes in what `message` says of links and addresses.
    pub(super) fn apply(&mut self, message: &RouteNetlinkMessage) -> Stale {
        match message {
            RouteNetlinkMessage::NewLink(link) => self.set_link(link),
            RouteNetlinkMessage::DelLink(link) => self.remove_link(link),
            RouteNetlinkMessage::NewAddress(address) => self.set_address(address),
            RouteNetlinkMessage::DelAddress(address) => self.remove_address(address),
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route)
                if is_default(route) =>
            {
                Stale::Routes
            }
            _ => Stale::Nothing,
        }
    }

    /// Forgets the default routes.
    pub(super) fn forget_routes(&mut self) {
        self.default_routes.clear();
    }

    /// Takes in one route of a list.
    pub(super) fn add_route(&mut self, message: &RouteNetlinkMessage) {
        let RouteNetlinkMessage::NewRoute(route) = message else {
            return;
        };
        let family = match route.header.address_family {
            AddressFamily::Inet => Family::V4,
            AddressFamily::Inet6 => Family::V6,
            _ => return,
        };
        if !is_default(route) {
            return;
        }
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Oif(index) => {
                    self.default_routes
                        .extend(Ifindex::new(*index).map(|index| (family, index)));
                }
                RouteAttribute::MultiPath(hops) => {
                    let hops = hops
                        .iter()
                        .filter_map(|hop| Ifindex::new(hop.interface_index));
                    self.default_routes
                        .extend(hops.map(|index| (family, index)));
                }
                _ => {}
            }
        }
    }

    /// The inventory; `ours` says which addresses are virtual.
    pub(super) fn inventory(&self, ours: &Virtual) -> Inventory {
        let interface = |(&index, link): (&Ifindex, &Link)| {
            let addresses = self.addresses.get(&index).into_iter().flatten();
            let interface = Interface {
                index,
                running: link.running,
                mac: link.mac,
                mtu: link.mtu,
                addresses: addresses
                    .map(|address| InterfaceAddress {
                        address: address.present.address,
                        prefix_length: address.present.prefix_length,
                        virtual_address: ours.is(&address.present),
                        tentative: address.tentative,
                    })
                    .collect(),
                default_route_ipv4: self.default_routes.contains(&(Family::V4, index)),
                default_route_ipv6: self.default_routes.contains(&(Family::V6, index)),
                forwards_ipv6: link.forwards_ipv6,
            };
            (link.name.clone(), interface)
        };
        Inventory {
            interfaces: self.links.iter().map(interface).collect(),
        }
    }

    fn set_link(&mut self, message: &LinkMessage) -> Stale {
        // A bridge tells of its ports in messages of its own family, which lack most of the rest.
        if message.header.interface_family != AddressFamily::Unspec {
            return Stale::Nothing;
        }
        let Some(index) = Ifindex::new(message.header.index) else {
            return Stale::Nothing;
        };
        let known = self.links.get(&index);
        let link = link_of(message, known);
        let went_down = known.is_some_and(|known| known.running && !link.running);
        self.links.insert(index, link);
        // The kernel drops IPv4 routes of a link that goes down without a word.
        if went_down {
            Stale::Routes
        } else {
            Stale::Nothing
        }
    }

    fn remove_link(&mut self, message: &LinkMessage) -> Stale {
        if message.header.interface_family != AddressFamily::Unspec {
            return Stale::Nothing;
        }
        if let Some(index) = Ifindex::new(message.header.index) {
            self.links.remove(&index);
            self.addresses.remove(&index);
            self.default_routes.retain(|(_, i)| *i != index);
        }
        Stale::Nothing
    }

    fn set_address(&mut self, message: &AddressMessage) -> Stale {
        let Some(present) = present_of(message) else {
            return Stale::Nothing;
        };
        let address = Address {
            present,
            tentative: is_tentative(message),
        };
        let addresses = self.addresses.entry(present.interface).or_default();
        match addresses.iter_mut().find(|a| is_same(a, &present)) {
            Some(known) => {
                *known = address;
                Stale::Nothing
            }
            None => {
                addresses.push(address);
                // The kernel may have put it before others; of virtual ones the order means nothing.
                let first = addresses.len() == 1;
                if matches!(present.tag, Some(TAG | PARKED_TAG)) || first {
                    Stale::Nothing
                } else {
                    Stale::Everything
                }
            }
        }
    }

    fn remove_address(&mut self, message: &AddressMessage) -> Stale {
        if let Some(present) = present_of(message)
            && let Some(addresses) = self.addresses.get_mut(&present.interface)
        {
            addresses.retain(|known| !is_same(known, &present));
        }
        Stale::Nothing
    }
}

/// The virtual address that `event` says is gone.
pub(super) fn removed_address(
    event: &RouteNetlinkMessage,
    ours: &Virtual,
) -> Option<(Ifindex, IpAddr)> {
    match event {
        RouteNetlinkMessage::DelAddress(message) => present_of(message)
            .filter(|present| ours.is(present))
            .map(|present| (present.interface, present.address)),
        _ => None,
    }
}

fn is_same(known: &Address, present: &Present) -> bool {
    known.present.address == present.address && known.present.prefix_length == present.prefix_length
}

fn link_of(message: &LinkMessage, known: Option<&Link>) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        name: String::new(),
        running: flags.contains(LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp),
        mac: None,
        mtu: 0,
        forwards_ipv6: known.is_some_and(|known| known.forwards_ipv6),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes)
                if message.header.link_layer_type == LinkLayerType::Ether =>
            {
                link.mac = bytes.as_slice().try_into().ok().map(MacAddr);
            }
            LinkAttribute::AfSpecUnspec(families) => {
                if let Some(forwards) = forwarding_of(families) {
                    link.forwards_ipv6 = forwards;
                }
            }
            _ => {}
        }
    }
    link
}

fn forwarding_of(families: &[AfSpecUnspec]) -> Option<bool> {
    families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(settings) => settings.iter().find_map(|setting| match setting {
            AfSpecInet6::DevConf(conf) => Some(conf.forwarding != 0),
            _ => None,
        }),
        _ => None,
    })
}

fn is_tentative(message: &AddressMessage) -> bool {
    let flags = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
    let header = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    let flags = flags.unwrap_or(header);
    // An optimistic address may be used while detection runs.
    flags.contains(AddressFlags::Dadfailed)
        || flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic)
}

/// Whether `route` is a default route of the main table.
fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0
        && route.header.table == RouteHeader::RT_TABLE_MAIN
        && route.header.kind == RouteType::Unicast
}

#[cfg(test)]
mod tests;
