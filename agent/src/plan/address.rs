//! Which interface each address of a router is put on.
//!
//! A router one of whose addresses has no interface on this node, or one that is down, takes no part: it would tell
//! its peers that it has all of them, and nobody would serve that one.

use std::sync::Arc;

use vipkeeper_crds::{InterfaceChoice, NodeAddress, NodeFamily};
use vipkeeper_vrrp::{Ifindex, VirtualAddress};

use super::interface::{self, Named};
use crate::inventory::{Interface, Inventory};

/// The addresses of one election.
pub(super) struct Addresses {
    /// In their order.
    pub(super) resolved: Arc<[VirtualAddress]>,
    /// Whether every one has an interface on this node.
    pub(super) have_interfaces: bool,
}

/// The addresses of `own`, whose router runs on `router`. Says what is missing or down, once for each choice.
pub(super) fn resolve(
    own: &NodeFamily,
    router: Option<Named<'_>>,
    inventory: &Inventory,
    notes: &mut Vec<String>,
) -> Addresses {
    let mut known: Vec<(&InterfaceChoice, Option<Ifindex>)> = Vec::new();
    let mut resolved = Vec::with_capacity(own.addresses.len());
    for address in &own.addresses {
        let interface = address.interface.as_ref().and_then(|choice| {
            if let Some((_, found)) = known.iter().find(|(known, _)| *known == choice) {
                return *found;
            }
            let found = find(address, choice, inventory, notes);
            known.push((choice, found));
            found
        });
        resolved.push(VirtualAddress {
            address: address.address,
            prefix_length: address.prefix_length,
            // The router's own, said in another way, is nothing else.
            interface: interface.filter(|found| router.is_none_or(|(_, own)| own.index != *found)),
        });
    }
    Addresses {
        resolved: resolved.into(),
        have_interfaces: known.iter().all(|(_, found)| found.is_some()),
    }
}

fn find(
    address: &NodeAddress,
    choice: &InterfaceChoice,
    inventory: &Inventory,
    notes: &mut Vec<String>,
) -> Option<Ifindex> {
    let address = address.address;
    match interface::find(choice, false, inventory) {
        Ok(found) => {
            let (name, interface) = found.named;
            notes.extend(found.doubt.map(|doubt| format!("{address} is on {doubt}")));
            if !interface.running {
                notes.push(format!(
                    "waits: {name}, the interface of {address}, is down or has no carrier"
                ));
            }
            Some(interface.index)
        }
        Err(missing) => {
            notes.push(format!("waits: {address} has no place: {missing}"));
            None
        }
    }
}

/// What to say of the owner's addresses that their interfaces lack, for each interface that lacks any.
pub(super) fn lacking(
    addresses: &[VirtualAddress],
    router: &Interface,
    inventory: &Inventory,
) -> Vec<String> {
    let of = |index: Ifindex| {
        let addresses = addresses.iter();
        addresses.filter(move |a| a.on(router.index) == index)
    };
    let all = inventory.interfaces.iter();
    all.filter_map(|(name, interface)| lacks(of(interface.index), name, interface))
        .collect()
}

fn lacks<'a>(
    addresses: impl Iterator<Item = &'a VirtualAddress>,
    name: &str,
    interface: &Interface,
) -> Option<String> {
    let lacks = |a: &&VirtualAddress| interface::own(interface).all(|own| own.address != a.address);
    let lacking: Vec<String> = addresses
        .filter(lacks)
        .map(|a| a.address.to_string())
        .collect();
    (!lacking.is_empty()).then(|| {
        format!(
            "waits: priority 255 is the address owner's, and {name} has no {} of its own, but {}: add it to {name} \
             in the host's own configuration, or choose a priority of 1 to 254",
            lacking.join(", "),
            interface::addresses(interface)
        )
    })
}
