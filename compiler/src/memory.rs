//! What a router was given, where it is kept: in its status, and as annotations, because a backup has those alone.

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper_crds::VirtualRouter;

use crate::{Allocation, Previous};

/// Where the VRID that a router was given is kept.
pub const VRID_ANNOTATION: &str = "vipkeeper.io/virtual-router-id";
/// Where its candidates are kept, the highest priority first, with commas.
pub const CANDIDATES_ANNOTATION: &str = "vipkeeper.io/candidates";

/// What a router was given earlier, by its status, or else by its annotations.
#[must_use]
pub fn remembered(router: &VirtualRouter) -> Option<Previous> {
    let annotation = |key| router.metadata.annotations.as_ref()?.get(key);
    let virtual_router_id =
        given(router).or_else(|| annotation(VRID_ANNOTATION).and_then(|id| id.parse().ok()));
    let nodes = annotation(CANDIDATES_ANNOTATION)
        .map(String::as_str)
        .unwrap_or_default();
    let nodes = nodes.split(',').filter(|n| !n.is_empty());
    let previous = Previous {
        virtual_router_id: virtual_router_id.filter(|id| *id > 0),
        nodes: nodes.map(str::to_owned).collect(),
        holders: holders(router),
    };
    (previous != Previous::default()).then_some(previous)
}

/// The VRID that a router has by its status.
#[must_use]
pub fn given(router: &VirtualRouter) -> Option<u8> {
    let id = router.status.as_ref()?.virtual_router_id?;
    u8::try_from(id).ok()
}

/// Which of two routers of one second is the older, smaller is older: one that was given something before, then the
/// one that was told first.
#[must_use]
pub fn seniority(previous: Option<&Previous>, told: u64) -> u64 {
    match previous.and_then(|p| p.virtual_router_id) {
        Some(_) => 0,
        None => told,
    }
}

/// Who holds the addresses by the router's status.
#[must_use]
pub fn holders(router: &VirtualRouter) -> BTreeSet<String> {
    let families = router.status.iter().flat_map(|s| &s.families);
    families.filter_map(|f| f.active_node.clone()).collect()
}

/// The annotations that `router` lacks to remember `allocation`; none if it has them.
#[must_use]
pub fn lacking(
    router: &VirtualRouter,
    allocation: &Allocation,
) -> Option<BTreeMap<String, String>> {
    let given = allocation.remember(BTreeSet::new());
    let annotations = BTreeMap::from([
        (
            VRID_ANNOTATION.to_owned(),
            allocation.virtual_router_id.to_string(),
        ),
        (CANDIDATES_ANNOTATION.to_owned(), given.nodes.join(",")),
    ]);
    let actual = router.metadata.annotations.as_ref();
    let is_so = |(key, value)| actual.and_then(|a| a.get(key)) == Some(value);
    (!annotations.iter().all(is_so)).then_some(annotations)
}
