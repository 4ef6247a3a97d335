//! Why a node takes no part in a router. For people: nothing is decided here.

use std::collections::BTreeMap;
use std::fmt;

use vipkeeper_crds::AddressFamily;

use crate::allocation::Allocations;
use crate::index::Index;
use crate::node::NodeFacts;
use crate::router::{Balance, Candidates, Router, Way};
use crate::selector;

/// Why a node takes no part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// `spec.nodes.priorities` lists others.
    NotListed,
    /// Its label `kubernetes.io/os` names this system.
    NotLinux(String),
    /// No selector matches: what each of them misses, in their order.
    NotSelected(Vec<String>),
    /// Unicast needs an internal address of this family.
    NoAddress(AddressFamily),
    /// It cannot take part in another router of the same `syncGroup`.
    NotInGroup(String),
    /// So many take part already, `spec.nodes.maxCandidates`.
    Surplus(usize),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => f.write_str("spec.nodes.priorities does not list it"),
            Self::NotLinux(system) => write!(f, "its label kubernetes.io/os says {system}"),
            Self::NotSelected(missing) => {
                let each = missing.iter().enumerate();
                let each =
                    each.map(|(i, what)| format!("spec.nodes.selectors[{i}] asks for {what}"));
                f.write_str(&each.collect::<Vec<_>>().join(", "))
            }
            Self::NoAddress(family) => {
                write!(
                    f,
                    "unicast needs an {family} InternalIP of its Node, which says none"
                )
            }
            Self::NotInGroup(group) => {
                write!(f, "it cannot take part in all routers of syncGroup {group}")
            }
            Self::Surplus(most) => write!(
                f,
                "matches, and stands by: {most} of those that match take part (spec.nodes.maxCandidates)"
            ),
        }
    }
}

/// The nodes that `index` knows and that take no part in `router`, as `allocations` of the same index shared it out;
/// none if it is refused.
#[must_use]
pub fn absences(
    index: &Index,
    allocations: &Allocations,
    router: &str,
) -> BTreeMap<String, Absence> {
    let (Some(checked), Some(allocation)) = (index.router(router), allocations.routers.get(router))
    else {
        return BTreeMap::new();
    };
    let takes_part = |node: &String| allocation.candidates.iter().any(|c| c.node == *node);
    let others = index.nodes.iter().filter(|(name, _)| !takes_part(name));
    others
        .map(|(name, facts)| (name.clone(), absence(checked, name, facts)))
        .collect()
}

fn absence(router: &Router, name: &str, node: &NodeFacts) -> Absence {
    let most = match &router.candidates {
        Candidates::Listed(list) if list.iter().all(|l| l.node != name) => {
            return Absence::NotListed;
        }
        Candidates::Listed(list) => list.len(),
        Candidates::Balanced(balance) => {
            if let Some(system) = selector::other_system(&node.labels) {
                return Absence::NotLinux(system.to_owned());
            }
            if let Some(missing) = unselected(balance, node) {
                return Absence::NotSelected(missing);
            }
            balance.most
        }
    };
    let reached = |family: &&AddressFamily| {
        let mut addresses = node.addresses.iter();
        addresses.any(|a| AddressFamily::of(a) == **family)
    };
    match router.transport.way {
        Way::Multicast { .. } => {}
        Way::Unicast => {
            if let Some(family) = router.families.iter().find(|f| !reached(f)) {
                return Absence::NoAddress(*family);
            }
        }
    }
    match &router.sync_group {
        Some(group) => Absence::NotInGroup(group.clone()),
        None => Absence::Surplus(most),
    }
}

/// What each selector misses, if there are some and none matches.
fn unselected(balance: &Balance, node: &NodeFacts) -> Option<Vec<String>> {
    let missing = balance.selectors.iter();
    let missing: Vec<Option<String>> = missing
        .map(|s| selector::missing(s, &node.labels))
        .collect();
    let all: Option<Vec<String>> = missing.into_iter().collect();
    all.filter(|missing| !missing.is_empty())
}
