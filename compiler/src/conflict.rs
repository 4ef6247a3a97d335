//! The rules between routers: an address, or a VRID on a link, belongs to the first that asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipkeeper_crds::{InterfaceChoice, NodeAddress};

use crate::address;
use crate::finding::Remarks;
use crate::router::Router;

/// What the routers accepted so far have.
#[derive(Default)]
pub(crate) struct Claims {
    addresses: BTreeMap<IpAddr, String>,
    routers: Vec<Router>,
}

impl Claims {
    /// Whether `router` may have what it asks for; says why if not.
    pub(crate) fn claim(&self, router: &Router, remarks: &mut Remarks) -> bool {
        self.name_is_free(router, remarks);
        self.addresses_are_free(router, remarks);
        self.vrid_is_free(router, remarks);
        !remarks.refused()
    }

    /// Gives `router` what it asked for.
    pub(crate) fn add(&mut self, router: Router) {
        for entry in &router.addresses {
            self.addresses.insert(entry.address, router.name.clone());
        }
        self.routers.push(router);
    }

    fn name_is_free(&self, router: &Router, remarks: &mut Remarks) {
        if self.routers.iter().any(|r| r.name == router.name) {
            remarks.error(
                "metadata.name",
                "another VirtualRouter has this name: rename one",
            );
        }
    }

    fn addresses_are_free(&self, router: &Router, remarks: &mut Remarks) {
        for (i, entry) in router.addresses.iter().enumerate() {
            if let Some(other) = self.addresses.get(&entry.address) {
                let message = format!(
                    "{} belongs to VirtualRouter {other}: remove it from one of the two",
                    entry.address
                );
                remarks.error(format!("spec.addresses[{i}].address"), message);
            }
        }
    }

    fn vrid_is_free(&self, router: &Router, remarks: &mut Remarks) {
        let alike = |r: &&Router| r.vrid == router.vrid && r.family == router.family;
        let path = "spec.virtualRouterId";
        for other in self.routers.iter().filter(alike) {
            match same_link(router, other) {
                SameLink::Yes => remarks.error(
                    path,
                    format!(
                        "VRID {} is used by VirtualRouter {} on the same link and family: choose another",
                        router.vrid, other.name
                    ),
                ),
                SameLink::Perhaps => remarks.warn(
                    path,
                    format!(
                        "VRID {} is also used by VirtualRouter {}: if both are on one link only one of them runs; choose another, or give both the same form of `interface`",
                        router.vrid, other.name
                    ),
                ),
                SameLink::No => {}
            }
        }
    }
}

/// Whether two routers run on one link, as far as their objects tell.
enum SameLink {
    Yes,
    No,
    Perhaps,
}

fn same_link(a: &Router, b: &Router) -> SameLink {
    use InterfaceChoice::{DefaultRoute, FirstAddress, Name, Subnet};
    let either = |yes: bool, otherwise: SameLink| if yes { SameLink::Yes } else { otherwise };
    match (&a.interface, &b.interface) {
        (Name { name: a }, Name { name: b }) => either(a == b, SameLink::No),
        (DefaultRoute, DefaultRoute) => SameLink::Yes,
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
            FirstAddress,
        ) => either(anchored_in(b, *network, *prefix_length), SameLink::Perhaps),
        (
            FirstAddress,
            Subnet {
                network,
                prefix_length,
            },
        ) => either(anchored_in(a, *network, *prefix_length), SameLink::Perhaps),
        (FirstAddress, FirstAddress) => {
            let shared =
                matches!((a.anchor(), b.anchor()), (Some(a), Some(b)) if share_subnet(a, b));
            either(shared, SameLink::Perhaps)
        }
        (Name { .. }, DefaultRoute | Subnet { .. } | FirstAddress)
        | (DefaultRoute, Name { .. } | Subnet { .. } | FirstAddress)
        | (Subnet { .. } | FirstAddress, Name { .. } | DefaultRoute) => SameLink::Perhaps,
    }
}

/// Whether the address by which `router` finds its interface lies in a subnet.
fn anchored_in(router: &Router, network: IpAddr, prefix_length: u8) -> bool {
    router
        .anchor()
        .is_some_and(|a| address::holds(network, prefix_length, a.address))
}

fn share_subnet(a: NodeAddress, b: NodeAddress) -> bool {
    address::holds(a.address, a.prefix_length, b.address)
        || address::holds(b.address, b.prefix_length, a.address)
}
