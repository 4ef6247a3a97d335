//! Objects to per-node configurations and findings. Pure: the same objects give the same answer.
//!
//! The rules here are the authority on what a VirtualRouter may say. An object that breaks one is refused as a
//! whole, with a finding that names the field and the way out; no other object notices, except that a refused
//! router claims nothing.
//!
//! - `router`: the rules of one object, in the order of its fields.
//! - `address`: the rules of addresses, subnets and names.
//! - `conflict`: the rules between routers: addresses and VRIDs are given to the oldest.
//! - `render`: an accepted router for one node.

mod address;
mod conflict;
mod finding;
mod render;
mod router;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;
use vipkeeper_crds::{NodeConfigSpec, VirtualRouter};

pub use finding::{Finding, ObjectName, Severity};

/// Everything a compilation looks at.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The routers, oldest first; where objects have a creation time, that counts instead.
    pub routers: Vec<VirtualRouter>,
    /// The nodes that are known, for their internal addresses.
    pub nodes: Vec<Node>,
    /// The keys of each Secret that is known. Never their values.
    pub secrets: BTreeMap<SecretName, BTreeSet<String>>,
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
}

/// What `node` does with `objects`.
#[must_use]
pub fn compile(objects: &Objects, node: &str) -> Compiled {
    let mut findings = Vec::new();
    let nodes = internal_addresses(&objects.nodes, &mut findings);
    let mut claims = conflict::Claims::default();
    let mut configs = Vec::new();
    for object in by_age(&objects.routers) {
        let mut remarks = finding::Remarks::about(object);
        let router = router::check(object, &nodes, &objects.secrets, &mut remarks);
        let accepted = router.filter(|_| !remarks.refused());
        if let Some(router) = accepted
            && claims.claim(&router, &mut remarks)
        {
            configs.extend(render::render(&router, node));
            claims.add(router);
        }
        findings.extend(remarks.into_findings());
    }
    Compiled { configs, findings }
}

/// The names of all nodes that a router of `objects` lists.
#[must_use]
pub fn candidates(objects: &Objects) -> BTreeSet<String> {
    let listed = |router: &VirtualRouter| router.spec.nodes.priorities.clone();
    let entries = objects.routers.iter().flat_map(listed);
    entries.map(|entry| entry.node).collect()
}

/// The routers, oldest first. The sort is stable: without creation times the given order stays.
fn by_age(routers: &[VirtualRouter]) -> Vec<&VirtualRouter> {
    let mut sorted: Vec<&VirtualRouter> = routers.iter().collect();
    sorted.sort_by(|a, b| {
        let age = |r: &VirtualRouter| r.metadata.creation_timestamp.clone();
        age(a).cmp(&age(b))
    });
    sorted
}

/// The internal addresses of each node; one that cannot be read is a warning.
fn internal_addresses(
    nodes: &[Node],
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, Vec<IpAddr>> {
    let mut known: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for node in nodes {
        let name = node.metadata.name.clone().unwrap_or_default();
        let listed = node
            .status
            .iter()
            .flat_map(|s| s.addresses.iter().flatten());
        let internal = listed.enumerate().filter(|(_, a)| a.type_ == "InternalIP");
        for (i, entry) in internal {
            match entry.address.parse() {
                Ok(address) => known.entry(name.clone()).or_default().push(address),
                Err(_) => findings.push(Finding {
                    severity: Severity::Warning,
                    object: ObjectName::new("Node", &name),
                    path: format!("status.addresses[{i}].address"),
                    message: format!(
                        "`{}` is not an IP address and is passed over",
                        entry.address
                    ),
                }),
            }
        }
    }
    known
}
