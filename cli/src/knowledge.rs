//! The objects of a cluster as the compiler takes them: with what the operator remembers of each router.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use vipkeeper_compiler::{
    Allocation, Allocations, Finding, Foreign, Index, Setting, allocate, inventory, memory,
};

use crate::objects::Objects;

/// What the compiler makes of the objects.
#[derive(Debug)]
pub(crate) struct Knowledge {
    pub(crate) index: Index,
    pub(crate) allocations: Allocations,
}

impl Knowledge {
    /// Of `objects` at `now`.
    pub(crate) fn of(objects: &Objects, now: &Time) -> Self {
        Self::with(objects, now, |node| node.clone())
    }

    /// As [`Knowledge::of`], where each Node is as `change` makes it.
    pub(crate) fn with(objects: &Objects, now: &Time, change: impl Fn(&Node) -> Node) -> Self {
        let mut index = Index::new(Setting::Cluster);
        for node in &objects.nodes {
            index.set_node(&change(node));
            let name = node.name_any();
            if let Some(inventory) = objects.inventory(&name) {
                index.set_interfaces(&name, Some(inventory::interfaces(inventory)));
            }
        }
        for (told, router) in (1..).zip(&objects.routers) {
            let previous = memory::remembered(router);
            let seniority = memory::seniority(previous.as_ref(), told);
            index.set_previous(&router.name_any(), previous);
            index.set_router(router, seniority);
        }
        index.set_foreign(strangers(objects));
        index.set_time(Some(now.clone()));
        let allocations = allocate(&index);
        Self { index, allocations }
    }

    /// What `router` gets; `None` if it is refused.
    pub(crate) fn allocation(&self, router: &str) -> Option<&Allocation> {
        self.allocations.routers.get(router)
    }

    /// What is said about `router`.
    pub(crate) fn findings(&self, router: &str) -> Vec<&Finding> {
        let about = |f: &&Finding| f.object.kind == "VirtualRouter" && f.object.name == router;
        self.allocations.findings.iter().filter(about).collect()
    }
}

/// The VRIDs that others advertise.
fn strangers(objects: &Objects) -> BTreeSet<Foreign> {
    let inventories = objects
        .configs
        .iter()
        .filter(|c| c.spec.router.is_none())
        .filter_map(|c| c.status.as_ref()?.inventory.as_ref());
    let inventories: Vec<_> = inventories.collect();
    let own = inventories.iter().flat_map(|i| inventory::own_addresses(i));
    let heard = inventories.iter().flat_map(|i| inventory::foreign(i));
    inventory::strangers(heard, &own.collect(), &objects.routers)
}
