//! Which interfaces of a node a router would choose, by what the node's agent reports. The agent itself decides.

use std::collections::BTreeSet;
use std::net::IpAddr;

use vipkeeper_crds::{AddressFamily, InterfaceChoice};

use crate::address;
use crate::router::Router;

/// An interface as the agent of a node reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedInterface {
    /// Its name.
    pub name: String,
    /// Its addresses with their prefix lengths; link-local ones do not count.
    pub prefixes: Vec<(IpAddr, u8)>,
    /// The families whose default route leaves here.
    pub default_route: BTreeSet<AddressFamily>,
}

/// Whether a node has the interfaces that a router asks for. Better ones are smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Presence {
    /// It has.
    Present,
    /// Its agent did not report.
    Unreported,
    /// It has not.
    Absent,
}

/// Whether a node with these interfaces has what `router` asks for.
pub(crate) fn presence(router: &Router, reported: Option<&Vec<ReportedInterface>>) -> Presence {
    match reported {
        None => Presence::Unreported,
        Some(all) if missing(router, all).is_some() => Presence::Absent,
        Some(_) => Presence::Present,
    }
}

/// The first field of `router` that asks for an interface which is not among `reported`, and what it asks for.
pub(crate) fn missing(router: &Router, reported: &[ReportedInterface]) -> Option<(String, String)> {
    let own = ("spec.interface".to_owned(), &router.interface);
    let more = router.addresses.iter().enumerate();
    let more = more.filter_map(|(i, address)| {
        let choice = address.interface.as_ref()?;
        Some((format!("spec.addresses[{i}].interface"), choice))
    });
    let mut asked = std::iter::once(own).chain(more);
    let found = |choice: &InterfaceChoice| reported.iter().any(|i| fits(choice, i));
    let (path, choice) = asked.find(|(_, choice)| !found(choice))?;
    Some((path, words(choice)))
}

/// Whether `interface` is of the kind asked for.
pub(crate) fn fits(choice: &InterfaceChoice, interface: &ReportedInterface) -> bool {
    let mut prefixes = interface.prefixes.iter();
    match choice {
        InterfaceChoice::Name { name } => *name == interface.name,
        InterfaceChoice::Subnet {
            network,
            prefix_length,
        } => prefixes.any(|(a, _)| address::holds(*network, *prefix_length, *a)),
        InterfaceChoice::DefaultRoute { family } => interface.default_route.contains(family),
        InterfaceChoice::Around { address } => {
            prefixes.any(|(a, length)| address::holds(*a, *length, *address))
        }
    }
}

fn words(choice: &InterfaceChoice) -> String {
    match choice {
        InterfaceChoice::Name { name } => format!("an interface named {name}"),
        InterfaceChoice::Subnet {
            network,
            prefix_length,
        } => format!("an interface with an address in {network}/{prefix_length}"),
        InterfaceChoice::DefaultRoute { family } => {
            format!("an interface with the default route of {family}")
        }
        InterfaceChoice::Around { address } => {
            format!("an interface whose subnet holds {address}")
        }
    }
}
