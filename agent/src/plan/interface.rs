//! Which interface a router runs on, or one of its addresses is put on.
//!
//! Addresses that we hold ourselves are no evidence: a virtual address must not pull its router along.

use std::net::IpAddr;

use vipkeeper_crds::{AddressFamily, InterfaceChoice, NodeConfigSpec};
use vipkeeper_vrrp::Ifindex;

use crate::inventory::{Interface, InterfaceAddress, Inventory};

/// The most interfaces that a note lists.
const LISTED: usize = 16;

pub(super) type Named<'a> = (&'a str, &'a Interface);

/// The interface that `config` asks for. Says what was looked for if there is none, and which one it is if there
/// are several.
pub(super) fn of_router<'a>(
    config: &NodeConfigSpec,
    inventory: &'a Inventory,
    notes: &mut Vec<String>,
) -> Option<Named<'a>> {
    let is_owner = config.priority == u8::MAX;
    match find(&config.interface, is_owner, inventory) {
        Ok(found) => {
            notes.extend(found.doubt.map(|doubt| format!("runs on {doubt}")));
            Some(found.named)
        }
        Err(missing) => {
            notes.push(format!("waits: {missing}"));
            None
        }
    }
}

/// An interface that fits a choice.
pub(super) struct Found<'a> {
    pub(super) named: Named<'a>,
    /// Which one it is, and which others fit as well, if there are any.
    pub(super) doubt: Option<String>,
}

/// The interface that `choice` asks for, or what was looked for and what there is.
pub(super) fn find<'a>(
    choice: &InterfaceChoice,
    is_owner: bool,
    inventory: &'a Inventory,
) -> Result<Found<'a>, String> {
    let named = || inventory.interfaces.iter().map(|(n, i)| (n.as_str(), i));
    let (mut found, wanted): (Vec<(u8, Named<'_>)>, String) = match choice {
        InterfaceChoice::Name { name } => (
            named().filter(|(n, _)| n == name).map(|n| (0, n)).collect(),
            format!("is called {name}"),
        ),
        InterfaceChoice::Subnet {
            network,
            prefix_length,
        } => (
            named()
                .filter_map(|n| Some((inside(n.1, *network, *prefix_length)?, n)))
                .collect(),
            format!("has an address in {network}/{prefix_length}"),
        ),
        InterfaceChoice::DefaultRoute { family } => (
            named()
                .filter(|(_, i)| default_route(i, *family))
                .map(|n| (0, n))
                .collect(),
            format!("has the {family} default route"),
        ),
        InterfaceChoice::Around { address } => (
            named()
                .filter_map(|n| Some((around(n.1, *address, is_owner)?, n)))
                .collect(),
            format!("has a subnet with {address}"),
        ),
    };
    // The most specific subnet, then the lowest index: the same answer as long as nothing changes.
    found.sort_by_key(|(length, (_, i))| (std::cmp::Reverse(*length), i.index));
    let Some(&(length, named)) = found.first() else {
        return Err(format!("no interface {wanted}; {}", describe(inventory)));
    };
    let equal = found.iter().skip(1).filter(|(l, _)| *l == length);
    let others: Vec<&str> = equal.map(|(_, (name, _))| *name).collect();
    let doubt = (!others.is_empty()).then(|| {
        format!(
            "{}; {} also {wanted}: say `interface: {{type: Name, name: …}}` to choose",
            named.0,
            others.join(", ")
        )
    });
    Ok(Found { named, doubt })
}

/// The name of the interface with `index`.
pub(super) fn name_of(index: Ifindex, inventory: &Inventory) -> String {
    let mut all = inventory.interfaces.iter();
    let found = all.find(|(_, i)| i.index == index);
    found.map_or_else(|| format!("interface {index}"), |(name, _)| name.clone())
}

/// The addresses of `interface` that are its own, for a note.
pub(super) fn addresses(interface: &Interface) -> String {
    let text = |a: &InterfaceAddress| format!("{}/{}", a.address, a.prefix_length);
    let all: Vec<String> = own(interface).map(text).collect();
    match all.is_empty() {
        true => "no address".to_owned(),
        false => all.join(", "),
    }
}

pub(super) fn own(interface: &Interface) -> impl Iterator<Item = &InterfaceAddress> {
    interface.addresses.iter().filter(|a| !a.virtual_address)
}

/// The longest prefix of an own address that lies in a subnet.
fn inside(interface: &Interface, network: IpAddr, prefix_length: u8) -> Option<u8> {
    let subnet = (network, prefix_length);
    own(interface)
        .filter(|a| holds(subnet, a.address))
        .map(|a| a.prefix_length)
        .max()
}

/// The longest prefix of an own subnet that holds `address`. The address itself, put on an interface by somebody
/// else (real servers have it on `lo`), is no subnet; with a subnet of its own it is where its owner runs.
pub(super) fn around(interface: &Interface, address: IpAddr, is_owner: bool) -> Option<u8> {
    own(interface)
        .filter(|a| a.address != address || (is_owner && !is_host(a)))
        .filter(|a| holds((a.address, a.prefix_length), address))
        .map(|a| a.prefix_length)
        .max()
}

/// Whether an address stands for itself alone: /32 or /128.
fn is_host(address: &InterfaceAddress) -> bool {
    let bits = if address.address.is_ipv4() { 32 } else { 128 };
    address.prefix_length == bits
}

fn default_route(interface: &Interface, family: AddressFamily) -> bool {
    match family {
        AddressFamily::V4 => interface.default_route_ipv4,
        AddressFamily::V6 => interface.default_route_ipv6,
    }
}

fn holds((first, prefix_length): (IpAddr, u8), address: IpAddr) -> bool {
    let (first, address, bits) = match (first, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128_u32),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let host_bits = bits.saturating_sub(u32::from(prefix_length));
    (first ^ address).checked_shr(host_bits).unwrap_or(0) == 0
}

/// The interfaces that there are, for a note.
fn describe(inventory: &Inventory) -> String {
    let total = inventory.interfaces.len();
    if total == 0 {
        return "there is none at all yet".to_owned();
    }
    let text = |(name, i): (&String, &Interface)| format!("{name} ({})", addresses(i));
    let listed: Vec<String> = inventory.interfaces.iter().map(text).take(LISTED).collect();
    let listed = listed.join("; ");
    match total.checked_sub(LISTED) {
        None | Some(0) => format!("there are {listed}"),
        Some(more) => format!("there are {listed}; and {more} more"),
    }
}
