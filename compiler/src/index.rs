//! Everything that allocation looks at, kept up to date edit by edit: what an object alone tells is worked out once,
//! when it changes.
//!
//! What depends on what:
//! - a router's rules: the router;
//! - whether a node matches a router, and how much it is preferred: the two, so one Node looks at each router once;
//! - everything between objects: looked up by `allocation` in the maps here, never remembered.
//!
//! Each setter says whether anything changed that counts: a Node's heartbeat does not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vipkeeper_crds::node_server::ServerName;
use vipkeeper_crds::{AddressFamily, VirtualRouter, VirtualServer};

use crate::SecretName;
use crate::entry::{Derived, Entry};
use crate::finding::{Finding, Remarks};
use crate::interface::ReportedInterface;
use crate::node::{NodeFacts, Readiness, Withdrawal};
use crate::router::{self, Router};
use crate::servers::{ConfigMapName, Served, Servers};

/// Who compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Each node for itself, from manifests: nothing is remembered, so VRIDs are written, and placement is a function
    /// of names.
    Standalone,
    /// One operator for all nodes.
    Cluster,
}

/// What a router had before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Previous {
    /// Its VRID.
    pub virtual_router_id: Option<u8>,
    /// Its candidates, the highest priority first.
    pub nodes: Vec<String>,
    /// Who holds its addresses, as far as that is known: one node for each family, mostly the same.
    pub holders: BTreeSet<String>,
}

/// A VRID that somebody advertises who is not ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    /// The VRID.
    pub virtual_router_id: u8,
    /// Its family.
    pub family: AddressFamily,
    /// Who advertises it.
    pub source: IpAddr,
    /// The [`list_hash`](crate::list_hash) of what it advertises, if that is known. Who advertises a router's own list
    /// is a peer of that router, such as a keepalived during a migration.
    pub addresses_hash: Option<u64>,
    /// A prefix of the interface on which it was heard, if that is known.
    pub heard_on: Option<(IpAddr, u8)>,
}

/// All objects, and what is known beside them.
#[derive(Clone, Debug)]
pub struct Index {
    pub(crate) setting: Setting,
    routers: BTreeMap<String, Entry>,
    pub(crate) nodes: BTreeMap<String, NodeFacts>,
    secrets: BTreeMap<SecretName, BTreeSet<String>>,
    pub(crate) servers: Servers,
    previous: BTreeMap<String, Previous>,
    pub(crate) interfaces: BTreeMap<String, Vec<ReportedInterface>>,
    /// By VRID.
    pub(crate) foreign: BTreeMap<u8, BTreeSet<Foreign>>,
    now: Option<Time>,
    /// The nodes that have each internal address.
    owners: BTreeMap<IpAddr, BTreeSet<String>>,
    /// Routers that changed since somebody asked.
    changed: BTreeSet<String>,
    /// Whether anything changed since.
    stale: bool,
}

impl Index {
    /// Without any object.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        Self {
            setting,
            routers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            secrets: BTreeMap::new(),
            servers: Servers::default(),
            previous: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            foreign: BTreeMap::new(),
            now: None,
            owners: BTreeMap::new(),
            changed: BTreeSet::new(),
            stale: true,
        }
    }

    /// Adds or replaces a router. The older of two has precedence: by creation time, then by `seniority` (smaller is
    /// older), then by name.
    pub fn set_router(&mut self, object: &VirtualRouter, seniority: u64) -> bool {
        let name = object.metadata.name.clone().unwrap_or_default();
        let mut remarks = Remarks::about(object);
        let router = router::check(object, self.setting, &mut remarks);
        let mut entry = Entry {
            age: (object.metadata.creation_timestamp.clone(), seniority),
            router: router.filter(|_| !remarks.refused()),
            remarks,
            matching: BTreeMap::new(),
            derived: Derived::default(),
        };
        for (name, node) in &self.nodes {
            entry.match_node(name, Some(node));
        }
        if self.routers.get(&name).is_some_and(|e| e.says_as(&entry)) {
            return false;
        }
        self.servers.forget_of_router(&name);
        self.changed.insert(name.clone());
        self.routers.insert(name, entry);
        self.stale = true;
        true
    }

    /// Removes a router; what it had before is forgotten too.
    pub fn remove_router(&mut self, name: &str) -> bool {
        self.previous.remove(name);
        let removed = self.routers.remove(name).is_some();
        if removed {
            self.servers.forget_of_router(name);
            self.changed.insert(name.to_owned());
            self.stale = true;
        }
        removed
    }

    /// Adds or replaces a Node.
    pub fn set_node(&mut self, node: &Node) -> bool {
        let name = node.metadata.name.clone().unwrap_or_default();
        let facts = NodeFacts::of(node);
        if self.nodes.get(&name) == Some(&facts) {
            return false;
        }
        self.disown(&name);
        for address in &facts.addresses {
            let owners = self.owners.entry(*address).or_default();
            owners.insert(name.clone());
        }
        for entry in self.routers.values_mut() {
            entry.match_node(&name, Some(&facts));
        }
        self.forget_derived();
        self.servers.forget(|_, _| true);
        self.nodes.insert(name, facts);
        true
    }

    /// Removes a Node.
    pub fn remove_node(&mut self, name: &str) -> bool {
        self.disown(name);
        for entry in self.routers.values_mut() {
            entry.match_node(name, None);
        }
        self.forget_derived();
        self.servers.forget(|_, _| true);
        self.nodes.remove(name).is_some()
    }

    /// Adds or replaces a VirtualServer. The older of two has precedence, as with routers.
    pub fn set_server(&mut self, object: &VirtualServer, seniority: u64) -> bool {
        let changed = self.servers.set(object, seniority);
        self.stale |= changed;
        changed
    }

    /// Removes a VirtualServer; what it had before is forgotten too.
    pub fn remove_server(&mut self, name: &ServerName) -> bool {
        let changed = self.servers.remove(name);
        self.stale |= changed;
        changed
    }

    /// Says what a VirtualServer last had nodes do, as [`Allocations::served`](crate::Allocations::served) tells, or
    /// their NodeConfigs. One that an edit makes wrong goes on with it; to others it is nothing.
    pub fn set_served(&mut self, name: &ServerName, served: Option<Served>) -> bool {
        let changed = self.servers.set_served(name, served);
        self.stale |= changed;
        changed
    }

    /// Adds or replaces a namespace. One that is not known has the label of its name alone.
    pub fn set_namespace(&mut self, namespace: &Namespace) -> bool {
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        let changed = self.servers.set_namespace(name, Some(labels));
        self.stale |= changed;
        changed
    }

    /// Removes a namespace.
    pub fn remove_namespace(&mut self, name: &str) -> bool {
        let changed = self.servers.set_namespace(name, None);
        self.stale |= changed;
        changed
    }

    /// Says what a ConfigMap has; `None` if there is none. Those count that
    /// [`config_maps`](crate::config_maps) of a VirtualServer names.
    pub fn set_config_map(
        &mut self,
        name: ConfigMapName,
        data: Option<BTreeMap<String, String>>,
    ) -> bool {
        let changed = self.servers.set_config_map(name, data);
        self.stale |= changed;
        changed
    }

    /// Says which keys a Secret has; `None` if there is no such Secret.
    pub fn set_secret(&mut self, name: SecretName, keys: Option<BTreeSet<String>>) -> bool {
        let changed = replace(&mut self.secrets, name, keys);
        if changed {
            self.forget_derived();
        }
        changed
    }

    /// Says what `router` had before; `None` if nothing is known.
    pub fn set_previous(&mut self, router: &str, previous: Option<Previous>) -> bool {
        let changed = replace(&mut self.previous, router.to_owned(), previous);
        if changed && let Some(entry) = self.routers.get_mut(router) {
            entry.derived.candidates.take();
            entry.derived.lacking.take();
            self.stale = true;
        }
        changed
    }

    /// Says which interfaces the agent of `node` reports; `None` if it did not.
    pub fn set_interfaces(&mut self, node: &str, all: Option<Vec<ReportedInterface>>) -> bool {
        let changed = replace(&mut self.interfaces, node.to_owned(), all);
        if changed {
            self.forget_derived();
        }
        changed
    }

    /// Says which VRIDs are advertised by others.
    pub fn set_foreign(&mut self, all: BTreeSet<Foreign>) -> bool {
        let mut by_vrid: BTreeMap<u8, BTreeSet<Foreign>> = BTreeMap::new();
        for foreign in all {
            let alike = by_vrid.entry(foreign.virtual_router_id).or_default();
            alike.insert(foreign);
        }
        let changed = self.foreign != by_vrid;
        self.foreign = by_vrid;
        self.stale |= changed;
        changed
    }

    /// Says what time it is. Without it no Node is ever taken for not ready.
    pub fn set_time(&mut self, now: Option<Time>) -> bool {
        let names = |all: Vec<&str>| all.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let before = names(self.long_not_ready());
        self.now = now;
        let changed = self.long_not_ready() != before;
        if changed {
            self.forget_derived();
        }
        changed
    }

    /// Whether a node was not ready for so long that it counts, as far as time was said.
    #[must_use]
    pub fn is_long_not_ready(&self, node: &str) -> bool {
        self.long_not_ready().contains(&node)
    }

    /// The names of all routers, the oldest first.
    #[must_use]
    pub fn routers(&self) -> Vec<&str> {
        let entries = self.by_age();
        entries.into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn by_age(&self) -> Vec<(&str, &Entry)> {
        let mut all: Vec<(&str, &Entry)> =
            self.routers.iter().map(|(n, e)| (n.as_str(), e)).collect();
        // The sort is stable, and the names are in order.
        all.sort_by(|(_, a), (_, b)| a.age.cmp(&b.age));
        all
    }

    pub(crate) fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.routers
    }

    pub(crate) fn router(&self, name: &str) -> Option<&Router> {
        self.routers.get(name)?.router.as_ref()
    }

    /// What is said about Nodes.
    pub(crate) fn node_findings(&self) -> impl Iterator<Item = &Finding> {
        self.nodes.values().flat_map(|node| &node.findings)
    }

    /// A node whose internal address this is.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<&str> {
        let owners = self.owners.get(&address)?;
        owners.first().map(String::as_str)
    }

    pub(crate) fn secret(&self, name: &SecretName) -> Option<&BTreeSet<String>> {
        self.secrets.get(name)
    }

    pub(crate) fn previous(&self, router: &str) -> Option<&Previous> {
        self.previous.get(router)
    }

    /// The nodes that come below all others, with the reason.
    pub(crate) fn withdrawn(&self) -> BTreeMap<&str, Withdrawal> {
        let mut all: BTreeMap<&str, Withdrawal> = self
            .long_not_ready()
            .into_iter()
            .map(|name| (name, Withdrawal::NotReady))
            .collect();
        for (name, node) in &self.nodes {
            all.extend(node.withdrawal.map(|why| (name.as_str(), why)));
        }
        all
    }

    /// The routers that were added, replaced or removed since this was last asked; `None` if nothing at all changed.
    pub(crate) fn take_changed(&mut self) -> Option<BTreeSet<String>> {
        let stale = std::mem::take(&mut self.stale);
        stale.then(|| std::mem::take(&mut self.changed))
    }

    /// The nodes that were not ready for long; none while more than a third is not, because then it is the cluster
    /// that is ill, and not the nodes.
    fn long_not_ready(&self) -> Vec<&str> {
        let unready = |node: &&NodeFacts| node.readiness != Readiness::Ready;
        let count = self.nodes.values().filter(unready).count();
        let Some(now) = &self.now else {
            return Vec::new();
        };
        if count.saturating_mul(3) > self.nodes.len() {
            return Vec::new();
        }
        let long = self
            .nodes
            .iter()
            .filter(|(_, node)| node.long_not_ready(now));
        long.map(|(name, _)| name.as_str()).collect()
    }

    /// What was worked out of several objects does not hold any more.
    fn forget_derived(&mut self) {
        self.stale = true;
        for entry in self.routers.values_mut() {
            entry.derived = Derived::default();
        }
    }

    fn disown(&mut self, node: &str) {
        let addresses = self.nodes.get(node).map(|n| n.addresses.clone());
        for address in addresses.unwrap_or_default() {
            if let Some(owners) = self.owners.get_mut(&address) {
                owners.remove(node);
                if owners.is_empty() {
                    self.owners.remove(&address);
                }
            }
        }
    }
}

/// Sets or removes an entry; whether that changed anything.
pub(crate) fn replace<K: Ord, V: PartialEq>(
    map: &mut BTreeMap<K, V>,
    key: K,
    value: Option<V>,
) -> bool {
    let changed = map.get(&key) != value.as_ref();
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
    changed
}
