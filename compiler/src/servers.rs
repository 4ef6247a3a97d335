//! The VirtualServers and what they need besides routers and Nodes, kept up to date edit by edit: the part of the index
//! that is theirs.
//!
//! What an object alone tells is worked out once, when it changes; what follows from it together with its router and
//! its surroundings is kept until one of these changes.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vipkeeper_crds::VirtualServer;
use vipkeeper_crds::node_server::{NodeServer, ServerName};

use crate::attachment::Attached;
use crate::finding::{ObjectName, Remarks};
use crate::selector::Labels;
use crate::server::{self, Server};

/// A ConfigMap's full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigMapName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a VirtualServer last had nodes do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The router on whose addresses.
    pub router: String,
    /// What.
    pub server: Arc<NodeServer>,
}

/// What a ConfigMap says, by key.
pub(crate) type Data = BTreeMap<String, String>;

/// A VirtualServer as far as it goes alone.
#[derive(Clone, Debug)]
pub(crate) struct ServerEntry {
    age: (Option<Time>, u64),
    pub(crate) remarks: Remarks,
    /// The router it names, refused or not.
    router: String,
    /// `None` if it is refused.
    pub(crate) server: Option<Server>,
    /// What follows from it, its router and the objects around it; worked out when it is first asked for.
    pub(crate) attached: OnceLock<Attached>,
}

/// The VirtualServers, and what they need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers {
    entries: BTreeMap<ServerName, ServerEntry>,
    namespaces: BTreeMap<String, Labels>,
    config_maps: BTreeMap<ConfigMapName, Data>,
    served: BTreeMap<ServerName, Served>,
}

impl Servers {
    /// Adds or replaces a VirtualServer; whether that changed anything.
    pub(crate) fn set(&mut self, object: &VirtualServer, seniority: u64) -> bool {
        let name = server::name_of(object);
        let mut remarks = Remarks::of(ObjectName::of_server(&name));
        let server = server::check(object, &mut remarks);
        let entry = ServerEntry {
            age: (object.metadata.creation_timestamp.clone(), seniority),
            server: server.filter(|_| !remarks.refused()),
            router: object.spec.router_ref.name.clone(),
            remarks,
            attached: OnceLock::new(),
        };
        if self.entries.get(&name).is_some_and(|e| e.says_as(&entry)) {
            return false;
        }
        self.entries.insert(name, entry);
        true
    }

    /// Removes a VirtualServer, and what it had.
    pub(crate) fn remove(&mut self, name: &ServerName) -> bool {
        self.served.remove(name);
        self.entries.remove(name).is_some()
    }

    /// Says what labels a namespace has; `None` if there is no such namespace.
    pub(crate) fn set_namespace(&mut self, name: &str, labels: Option<Labels>) -> bool {
        let changed = super::index::replace(&mut self.namespaces, name.to_owned(), labels);
        if changed {
            self.forget(|server, _| server.namespace == name);
        }
        changed
    }

    /// Says what a ConfigMap has; `None` if there is none.
    pub(crate) fn set_config_map(&mut self, name: ConfigMapName, data: Option<Data>) -> bool {
        let namespace = name.namespace.clone();
        let changed = super::index::replace(&mut self.config_maps, name, data);
        if changed {
            self.forget(|server, entry| server.namespace == namespace && entry.reads());
        }
        changed
    }

    /// Says what a VirtualServer had nodes do; whether that matters, as it does to one that is refused.
    pub(crate) fn set_served(&mut self, name: &ServerName, served: Option<Served>) -> bool {
        let changed = super::index::replace(&mut self.served, name.clone(), served);
        let Some(entry) = self.entries.get_mut(name).filter(|_| changed) else {
            return false;
        };
        let served = self.served.get(name);
        // One that is served as it is written needs no memory; one of which that is not known yet will look.
        let needs = entry.attached.get().is_none_or(|a| !a.writes(served));
        // What was served earlier must not come back when what is written has to give way later.
        if entry.attached.get().is_some_and(|a| !a.is_only(served)) {
            entry.attached.take();
        }
        needs
    }

    /// What was worked out of those that are `concerned` does not hold any more.
    pub(crate) fn forget(&mut self, concerned: impl Fn(&ServerName, &ServerEntry) -> bool) {
        for (name, entry) in &mut self.entries {
            if concerned(name, entry) {
                entry.attached.take();
            }
        }
    }

    /// A router changed, or appeared, or went.
    pub(crate) fn forget_of_router(&mut self, router: &str) {
        let before = |name: &ServerName| self.served.get(name).map(|s| s.router.as_str());
        let concerned: Vec<ServerName> = self
            .entries
            .iter()
            .filter(|(name, entry)| entry.router == router || before(name) == Some(router))
            .map(|(name, _)| name.clone())
            .collect();
        for name in concerned {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.attached.take();
            }
        }
    }

    /// All, the oldest first, with the place of each in the order of names.
    pub(crate) fn by_age(&self) -> Vec<(usize, (&ServerName, &ServerEntry))> {
        let mut all: Vec<_> = self.entries.iter().enumerate().collect();
        // The sort is stable, and the names are in order.
        all.sort_by(|(_, (_, a)), (_, (_, b))| a.age.cmp(&b.age));
        all
    }

    pub(crate) fn served(&self, name: &ServerName) -> Option<&Served> {
        self.served.get(name)
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    pub(crate) fn config_map(&self, name: &ConfigMapName) -> Option<&Data> {
        self.config_maps.get(name)
    }
}

impl ServerEntry {
    /// Whether the object alone says the same.
    fn says_as(&self, other: &Self) -> bool {
        self.age == other.age
            && self.remarks == other.remarks
            && self.router == other.router
            && self.server == other.server
    }

    /// Whether it refers to ConfigMaps.
    fn reads(&self) -> bool {
        self.server
            .as_ref()
            .is_some_and(|s| !s.authorities.is_empty())
    }
}

/// The ConfigMaps that a VirtualServer refers to.
pub fn config_maps(object: &VirtualServer) -> impl Iterator<Item = ConfigMapName> + '_ {
    let namespace = server::name_of(object).namespace;
    let probes = object.spec.probes.iter();
    let keys = probes.filter_map(|p| p.https.as_ref()?.ca_ref.as_ref());
    keys.map(move |key| ConfigMapName {
        namespace: namespace.clone(),
        name: key.name.clone(),
    })
}
