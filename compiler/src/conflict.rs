//! The rules between routers: an address, or a VRID on a link, belongs to the first that asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipkeeper_crds::{InterfaceChoice, NodeAddress};

use crate::address;
use crate::finding::{Cause, Remarks, Severity};
use crate::router::Router;
use crate::vrid::Segment;

/// What the routers accepted so far have.
#[derive(Default)]
pub(crate) struct Claims<'a> {
    addresses: BTreeMap<IpAddr, &'a str>,
    /// By VRID.
    held: BTreeMap<u8, Vec<Held<'a>>>,
}

/// A VRID that is in use.
struct Held<'a> {
    router: &'a Router,
    segment: &'a Segment,
}

impl<'a> Claims<'a> {
    /// Says which addresses of `router` belong to another.
    pub(crate) fn addresses_are_free(&self, router: &Router, remarks: &mut Remarks) {
        for (i, entry) in router.addresses.iter().enumerate() {
            if let Some(other) = self.addresses.get(&entry.address) {
                let message = format!(
                    "{} belongs to VirtualRouter {other}: remove it from one of the two",
                    entry.address
                );
                let path = format!("spec.addresses[{i}].address");
                remarks.say(Severity::Error, Cause::Taken, path, message);
            }
        }
    }

    /// Says which routers have the VRID that `router` asks for.
    pub(crate) fn vrid_is_free(
        &self,
        router: &Router,
        vrid: u8,
        segment: &Segment,
        remarks: &mut Remarks,
    ) {
        let path = "spec.virtualRouterId";
        for held in self.alike(router, vrid) {
            let other = held.router;
            let same_link = match segment.meets(held.segment) {
                Some(true) => SameLink::Yes,
                Some(false) => SameLink::No,
                None => same_link(router, other),
            };
            match same_link {
                SameLink::Yes => remarks.say(
                    Severity::Error,
                    Cause::Taken,
                    path,
                    format!(
                        "VRID {vrid} is used by VirtualRouter {} on the same link and family: choose another",
                        other.name
                    ),
                ),
                SameLink::Perhaps => remarks.warn(
                    path,
                    format!(
                        "VRID {vrid} is also used by VirtualRouter {}: if both are on one link only one of them runs; choose another, or give both the same form of `interface`",
                        other.name
                    ),
                ),
                SameLink::No => {}
            }
        }
    }

    /// The VRIDs that may be in use on `segment` by elections of a family that `router` has.
    pub(crate) fn vrids(&self, router: &Router, segment: &Segment) -> BTreeSet<u8> {
        let all = self.held.keys().copied();
        all.filter(|vrid| self.has(router, *vrid, segment))
            .collect()
    }

    /// Whether `vrid` may be in use on `segment` by elections of a family that `router` has.
    pub(crate) fn has(&self, router: &Router, vrid: u8, segment: &Segment) -> bool {
        self.alike(router, vrid)
            .any(|held| !segment.apart(held.segment))
    }

    /// Who has `vrid` for a family that `router` has.
    fn alike(&self, router: &Router, vrid: u8) -> impl Iterator<Item = &Held<'a>> {
        let all = self.held.get(&vrid).into_iter().flatten();
        all.filter(|held| held.router.meets(router))
    }

    /// Gives `router` its addresses and a VRID.
    pub(crate) fn add(&mut self, router: &'a Router, vrid: u8, segment: &'a Segment) {
        for entry in &router.addresses {
            self.addresses.insert(entry.address, &router.name);
        }
        let held = self.held.entry(vrid).or_default();
        held.push(Held { router, segment });
    }
}

/// Whether two routers run on one link, as far as their objects tell.
enum SameLink {
    Yes,
    No,
    Perhaps,
}

fn same_link(a: &Router, b: &Router) -> SameLink {
    use InterfaceChoice::{Around, DefaultRoute, Name, Subnet};
    let either = |yes: bool, otherwise: SameLink| if yes { SameLink::Yes } else { otherwise };
    match (&a.interface, &b.interface) {
        (Name { name: a }, Name { name: b }) => either(a == b, SameLink::No),
        (DefaultRoute { family: a }, DefaultRoute { family: b }) => {
            either(a == b, SameLink::Perhaps)
        }
        (
            Subnet {
                network: a,
                prefix_length: p,
            },
            Subnet {
                network: b,
                prefix_length: q,
            },
        ) => {
            let overlap = address::holds(*a, *p, *b) || address::holds(*b, *q, *a);
            let comparable = a.is_ipv4() == b.is_ipv4();
            let otherwise = if comparable {
                SameLink::No
            } else {
                SameLink::Perhaps
            };
            either(overlap, otherwise)
        }
        (
            Subnet {
                network,
                prefix_length,
            },
            Around { .. },
        ) => either(anchored_in(b, *network, *prefix_length), SameLink::Perhaps),
        (
            Around { .. },
            Subnet {
                network,
                prefix_length,
            },
        ) => either(anchored_in(a, *network, *prefix_length), SameLink::Perhaps),
        (Around { .. }, Around { .. }) => {
            let shared =
                matches!((a.anchor(), b.anchor()), (Some(a), Some(b)) if share_subnet(a, b));
            either(shared, SameLink::Perhaps)
        }
        (Name { .. }, DefaultRoute { .. } | Subnet { .. } | Around { .. })
        | (DefaultRoute { .. }, Name { .. } | Subnet { .. } | Around { .. })
        | (Subnet { .. } | Around { .. }, Name { .. } | DefaultRoute { .. }) => SameLink::Perhaps,
    }
}

/// Whether the address by which `router` finds its interface lies in a subnet.
fn anchored_in(router: &Router, network: IpAddr, prefix_length: u8) -> bool {
    router
        .anchor()
        .is_some_and(|a| address::holds(network, prefix_length, a.address))
}

fn share_subnet(a: &NodeAddress, b: &NodeAddress) -> bool {
    address::holds(a.address, a.prefix_length, b.address)
        || address::holds(b.address, b.prefix_length, a.address)
}
