//! Objects to per-node configurations and findings. Pure: the same objects give the same answer.
//!
//! The rules here are the authority on what a VirtualRouter and a VirtualServer may say. An object that breaks one is refused as a
//! whole, with a finding that names the field and the way out; no other object notices, except that a refused
//! router claims nothing.
//!
//! Two stages over an [`Index`] of all objects: [`allocate`] shares out what routers must not both have, and [`render`]
//! writes what one node does for one router. [`Configurations`] renders only what changed; [`compile`] does all at
//! once for one node, as the standalone agent needs it.
//!
//! - `index`, `entry`: all objects, each worked out as far as it goes alone; what was worked out of one router.
//! - `router`, `node`: the rules of one object, in the order of its fields.
//! - `address`, `selector`: the rules of addresses, subnets and names; of labels.
//! - `allocation`: who gets what, the oldest router first.
//! - `conflict`, `pool`, `vrid`, `placement`: the rules between routers; between a router and the Nodes; VRIDs;
//!   the order of nodes and their priorities.
//! - `server`, `servers`, `attachment`: the rules of one VirtualServer; all, and what they need; between one, its
//!   router and the others.
//! - `settings`, `secret`: the rules of Settings; of references to Secrets.
//! - `interface`: which interfaces of a node a router would choose.
//! - `group`: routers that move together are one unit of placement.
//! - `memory`, `inventory`: what is kept in objects of what was given; what an agent reports, as it is taken here.
//! - `endpoints`: the endpoints of Services, by their EndpointSlices.
//! - `absence`: why a node takes no part, for people.
//! - `render`, `configurations`: an accepted router for one node; all, kept up to date.
//! - `shards`: the servers of a router, split where they are too many for one object.

mod absence;
mod address;
mod allocation;
mod attachment;
mod configurations;
mod conflict;
mod endpoints;
mod entry;
mod finding;
mod group;
mod index;
mod interface;
pub mod inventory;
pub mod memory;
mod node;
mod placement;
mod pool;
mod render;
mod router;
mod secret;
mod selector;
mod server;
mod servers;
mod settings;
mod shards;
#[cfg(test)]
mod tests;
mod vrid;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use vipkeeper_crds::{NodeConfigSpec, VirtualRouter, VirtualServer};

pub use absence::{Absence, absences};
pub use allocation::{Allocation, Allocations, Candidate, allocate};
pub use configurations::{Changed, Configurations};
pub use endpoints::{
    Endpoint, EndpointCondition, EndpointPort, Endpoints, Locality, SERVICE_LABEL, ServiceName,
};
pub use finding::{Cause, Finding, ObjectName, Severity};
pub use index::{Foreign, Index, Previous, Setting};
pub use interface::ReportedInterface;
pub use node::{DRAIN_ANNOTATION, Withdrawal};
pub use placement::Reason;
pub use render::{ConfigKey, render};
pub use router::ACTIVE_NODE_ANNOTATION;
pub use server::BODY_REGEX_SIZE;
pub use servers::{ConfigMapName, Served, config_maps};
pub use settings::{settings, settings_of_cluster};
pub use shards::{MOST_BITS, MOST_SIZE, SHARD_SIZE, Shards, Weighed, shard_hash};
pub use vrid::list_hash;

/// Everything a compilation looks at.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The routers, oldest first; where objects have a creation time, that counts instead.
    pub routers: Vec<Arc<VirtualRouter>>,
    /// The VirtualServers, in the same order.
    pub servers: Vec<Arc<VirtualServer>>,
    /// The nodes that are known: with their labels candidates of routers that list none, and their internal addresses.
    pub nodes: Vec<Node>,
    /// The keys of each Secret that is known. Never their values.
    pub secrets: BTreeMap<SecretName, BTreeSet<String>>,
    /// The namespaces that are known, with their labels.
    pub namespaces: Vec<Namespace>,
    /// What ConfigMaps have, by key.
    pub config_maps: BTreeMap<ConfigMapName, BTreeMap<String, String>>,
}

/// A Secret's full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a compilation says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// One for each accepted router of which the node is a candidate, oldest first.
    pub configs: Vec<NodeConfigSpec>,
    /// About all objects, whichever node they concern: the oldest object first, in the order of its fields.
    pub findings: Vec<Finding>,
    /// The names of all nodes that take part in an accepted router.
    pub candidates: BTreeSet<String>,
}

/// What `node` does with `objects`, which nodes that share nothing but these compile each for itself: the same objects
/// give all of them the same VRIDs and the same order of candidates.
#[must_use]
pub fn compile(objects: &Objects, node: &str) -> Compiled {
    let mut index = Index::new(Setting::Standalone);
    let mut twice = Vec::new();
    for object in &objects.nodes {
        index.set_node(object);
    }
    for (name, keys) in &objects.secrets {
        index.set_secret(name.clone(), Some(keys.clone()));
    }
    for object in &objects.namespaces {
        index.set_namespace(object);
    }
    for (name, data) in &objects.config_maps {
        index.set_config_map(name.clone(), Some(data.clone()));
    }
    let mut names = BTreeSet::new();
    for (seniority, object) in (0..).zip(by_age(&objects.routers, |r| &r.metadata)) {
        if names.insert(object.metadata.name.clone().unwrap_or_default()) {
            index.set_router(object, seniority);
        } else {
            let mut remarks = finding::Remarks::about(object);
            let message = "another VirtualRouter has this name: rename one";
            remarks.error("metadata.name", message);
            twice.extend(remarks.into_findings());
        }
    }
    let mut names = BTreeSet::new();
    for (seniority, object) in (0..).zip(by_age(&objects.servers, |s| &s.metadata)) {
        let name = server::name_of(object);
        if names.insert(name.clone()) {
            index.set_server(object, seniority);
        } else {
            let mut remarks = finding::Remarks::of(ObjectName::of_server(&name));
            let message = "another VirtualServer has this name: rename one";
            remarks.error("metadata.name", message);
            twice.extend(remarks.into_findings());
        }
    }
    let mut allocations = allocate(&index);
    allocations.findings.append(&mut twice);
    let configs = index.routers().into_iter().filter_map(|router| {
        let key = ConfigKey {
            router: router.to_owned(),
            node: node.to_owned(),
        };
        render(&index, &allocations, &key)
    });
    Compiled {
        configs: configs.collect(),
        candidates: candidates(&allocations),
        findings: allocations.findings,
    }
}

fn candidates(allocations: &Allocations) -> BTreeSet<String> {
    let all = allocations.routers.values().flat_map(|a| &*a.candidates);
    all.map(|c| c.node.clone()).collect()
}

/// The objects, oldest first. The sort is stable: without creation times the given order stays.
fn by_age<T>(objects: &[Arc<T>], metadata: impl Fn(&T) -> &ObjectMeta) -> Vec<&T> {
    let mut sorted: Vec<&T> = objects.iter().map(|object| &**object).collect();
    let age = |object: &T| metadata(object).creation_timestamp.clone();
    sorted.sort_by_key(|object| age(object));
    sorted
}
