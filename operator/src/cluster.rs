//! All objects as the API server has them, and what has to be written so that they are as they should be. Pure.
//!
//! Owns the compiler's index and what it rendered. Never talks to anybody: changes come in, writes go out, and a
//! write counts as done when it comes back as a change. Only what an edit concerns is looked at again; a look at
//! everything finds the same.

mod desired;
mod servers;
mod shards;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use kube::api::Resource;
use vipkeeper_compiler::{
    Configurations, Finding, Foreign, Index, ObjectName, Setting, inventory, memory,
};
use vipkeeper_crds::node_server::ServerName;
use vipkeeper_crds::{NodeConfig, NodeSettings, SETTINGS_NAME, Settings, VirtualRouter};

use self::desired::Course;
use self::servers::Servers;
use self::shards::Known;
use crate::change::{Change, Kind, Now, Owner, Write};
use crate::name;

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    index: Index,
    configurations: Configurations,
    routers: BTreeMap<String, VirtualRouter>,
    servers: Servers,
    /// As [`memory::seniority`] says, when each was first told.
    seniority: BTreeMap<String, u64>,
    told: u64,
    /// The uid of each Node.
    nodes: BTreeMap<String, String>,
    configs: BTreeMap<String, NodeConfig>,
    /// The names of the NodeConfigs of each owner, but for those below.
    owned: BTreeMap<Owner, BTreeSet<String>>,
    shards: Known,
    settings: NodeSettings,
    settings_findings: Vec<Finding>,
    /// What each node reports of others.
    heard: BTreeMap<String, BTreeSet<Foreign>>,
    /// The addresses that each node speaks from.
    speakers: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The uids of what went since the last list began: an answer or a stream that lags brings none of it back.
    gone: BTreeSet<String>,
    listed: BTreeSet<Kind>,
    /// The kinds that are being listed.
    listing: BTreeSet<Kind>,
    /// Who has to be looked at.
    dirty: BTreeSet<Owner>,
    /// Who has to be looked at when its time has come.
    wakes: BTreeMap<Owner, Duration>,
    courses: BTreeMap<String, Course>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            index: Index::new(Setting::Cluster),
            configurations: Configurations::default(),
            routers: BTreeMap::new(),
            servers: Servers::default(),
            seniority: BTreeMap::new(),
            told: 0,
            nodes: BTreeMap::new(),
            configs: BTreeMap::new(),
            owned: BTreeMap::new(),
            shards: Known::default(),
            settings: NodeSettings::default(),
            settings_findings: Vec::new(),
            heard: BTreeMap::new(),
            speakers: BTreeMap::new(),
            gone: BTreeSet::new(),
            listed: BTreeSet::new(),
            listing: BTreeSet::new(),
            dirty: BTreeSet::new(),
            wakes: BTreeMap::new(),
            courses: BTreeMap::new(),
        }
    }
}

impl Cluster {
    /// Takes in a change.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::Router(router) => self.take_router(*router),
            Change::Node(node) => self.take_node(&node),
            Change::Config(config) => self.take_config(*config),
            Change::Settings(settings) => self.take_settings(&settings),
            Change::Server(server) => self.take_server(*server),
            Change::Gone(Kind::Server, name) => self.lose_server(&name),
            Change::Namespace(namespace) => {
                self.index.set_namespace(&namespace);
            }
            Change::Gone(Kind::Namespace, name) => {
                self.index.remove_namespace(&name);
            }
            Change::ConfigMap(name, data) => self.take_config_map(name, data),
            Change::Gone(Kind::Router, name) => {
                self.index.remove_router(&name);
                let router = self.routers.remove(&name);
                self.look_around(&name);
                self.gone.extend(router.and_then(|r| r.metadata.uid));
                self.seniority.remove(&name);
                self.dirty.insert(Owner::Router(name));
            }
            Change::Gone(Kind::Node, name) => {
                self.index.remove_node(&name);
                self.index.set_interfaces(&name, None);
                self.nodes.remove(&name);
                self.look_at_routers_of(&name);
                self.hear(&name, BTreeSet::new(), BTreeSet::new());
                self.dirty.insert(Owner::Node(name));
            }
            Change::Gone(Kind::Config, name) => {
                if let Some(config) = self.configs.remove(&name) {
                    self.gone.extend(config.metadata.uid.clone());
                    let told = servers::told_otherwise(Some(&config), None);
                    self.dirty.extend(told.map(Owner::Server));
                    self.disown(&config);
                }
            }
            Change::Removed(name, uid) => {
                let known = self.configs.get(&name);
                if known.is_some_and(|c| c.metadata.uid.as_ref() == Some(&uid)) {
                    self.take(Change::Gone(Kind::Config, name));
                }
            }
            Change::Gone(Kind::Settings, name) => {
                if name == SETTINGS_NAME {
                    self.settings_findings.clear();
                    self.settle_settings(NodeSettings::default());
                }
            }
            Change::Listing(kind) => {
                self.listing.insert(kind);
                self.gone.clear();
            }
            Change::Listed(kind) => {
                self.listing.remove(&kind);
                self.listed.insert(kind);
                self.look_at_everything();
            }
        }
    }

    fn take_router(&mut self, mut router: VirtualRouter) {
        let name = router.name_any();
        if self.is_gone(&router) || self.is_older(Kind::Router, &router, self.routers.get(&name)) {
            return;
        }
        if !self.routers.contains_key(&name) {
            let previous = memory::remembered(&router);
            self.told = self.told.saturating_add(1);
            let seniority = memory::seniority(previous.as_ref(), self.told);
            self.seniority.insert(name.clone(), seniority);
            self.index.set_previous(&name, previous);
        }
        let seniority = self.seniority.get(&name).copied().unwrap_or(0);
        self.index.set_router(&router, seniority);
        let before = self.routers.get(&name).and_then(|r| r.status.as_ref());
        if servers::holders_differ(before, router.status.as_ref()) {
            self.look_around(&name);
        }
        router.metadata.managed_fields = None;
        self.routers.insert(name.clone(), router);
        self.dirty.insert(Owner::Router(name));
    }

    fn take_node(&mut self, node: &Node) {
        self.index.set_node(node);
        let name = node.name_any();
        let uid = node.uid().unwrap_or_default();
        if self.nodes.insert(name.clone(), uid.clone()) != Some(uid) {
            self.look_at_routers_of(&name);
            self.dirty.insert(Owner::Node(name));
        }
    }

    /// What a node claims counts less while there is no such Node, also for a router that goes on though it is refused.
    fn look_at_routers_of(&mut self, node: &str) {
        let configs = self.configs.values();
        let own = configs.filter(|c| c.spec.node_name == node);
        let routers = own.filter_map(|c| c.spec.router.clone());
        self.dirty.extend(routers.map(Owner::Router));
    }

    fn take_config(&mut self, mut config: NodeConfig) {
        let name = config.name_any();
        if self.is_gone(&config) || self.is_older(Kind::Config, &config, self.configs.get(&name)) {
            return;
        }
        if config.spec.router.is_none()
            && let Some(inventory) = config.status.as_ref().and_then(|s| s.inventory.as_ref())
        {
            let interfaces = inventory::interfaces(inventory);
            let node = &config.spec.node_name;
            self.index.set_interfaces(node, Some(interfaces));
            let speakers = inventory::own_addresses(inventory).collect();
            self.hear(node, inventory::foreign(inventory), speakers);
        }
        config.metadata.managed_fields = None;
        let owner = owner_of(&config);
        let told = servers::told_otherwise(self.configs.get(&name), Some(&config));
        self.dirty.extend(told.map(Owner::Server));
        if let Some(before) = self.configs.remove(&name) {
            self.disown(&before);
        }
        if !self.shards.add(&config) {
            let owned = self.owned.entry(owner.clone()).or_default();
            owned.insert(name.clone());
        }
        self.configs.insert(name, config);
        self.dirty.insert(owner);
    }

    fn take_settings(&mut self, settings: &Settings) {
        if settings.metadata.name.as_deref() != Some(SETTINGS_NAME) {
            return;
        }
        let (good, findings) = vipkeeper_compiler::settings_of_cluster(settings);
        self.settings_findings = findings;
        self.settle_settings(good.unwrap_or_else(|| self.settings.clone()));
    }

    fn settle_settings(&mut self, settings: NodeSettings) {
        if self.settings != settings {
            self.settings = settings;
            let nodes = self.nodes.keys().cloned();
            self.dirty.extend(nodes.map(Owner::Node));
        }
    }

    /// Takes in whom `node` hears, and where it speaks from.
    fn hear(&mut self, node: &str, heard: BTreeSet<Foreign>, speakers: BTreeSet<IpAddr>) {
        let same = self
            .heard
            .get(node)
            .map_or(heard.is_empty(), |h| *h == heard)
            && self
                .speakers
                .get(node)
                .map_or(speakers.is_empty(), |s| *s == speakers);
        if same {
            return;
        }
        self.heard.insert(node.to_owned(), heard);
        self.speakers.insert(node.to_owned(), speakers);
        let speakers = self.speakers.values().flatten().copied().collect();
        let heard = self.heard.values().flatten().cloned();
        let all = inventory::strangers(heard, &speakers, self.routers.values());
        self.index.set_foreign(all);
    }

    fn is_gone<K: Resource>(&self, object: &K) -> bool {
        let uid = object.meta().uid.as_ref();
        uid.is_some_and(|uid| self.gone.contains(uid))
    }

    fn disown(&mut self, config: &NodeConfig) {
        let owner = owner_of(config);
        let name = config.name_any();
        self.shards.remove(config);
        if let Some(owned) = self.owned.get_mut(&owner) {
            owned.remove(&name);
            if owned.is_empty() {
                self.owned.remove(&owner);
            }
        }
        self.dirty.insert(owner);
    }

    /// Whether every kind has been told as a whole: before that nothing is written.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.listed.contains(kind)) && self.servers_are_known()
    }

    /// Has everything looked at again.
    pub fn look_at_everything(&mut self) {
        let routers = self.routers.keys().cloned().map(Owner::Router);
        let nodes = self.nodes.keys().cloned().map(Owner::Node);
        let servers = self.servers().filter_map(|s| {
            let namespace = s.metadata.namespace.clone()?;
            let name = s.name_any();
            Some(Owner::Server(ServerName { namespace, name }))
        });
        let all: Vec<Owner> = routers
            .chain(nodes)
            .chain(servers)
            .chain(self.owned.keys().cloned())
            .chain(self.shards.routers().cloned().map(Owner::Router))
            .collect();
        self.dirty.extend(all);
    }

    /// Has one looked at again.
    pub fn look_at(&mut self, owner: Owner) {
        self.dirty.insert(owner);
    }

    /// When to ask for writes again although nothing changed, by the clock.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        self.wakes.values().copied().min()
    }

    /// What is not as it should be at `now`, of all owners that were to be looked at: what is written for one takes the
    /// place of what was to be written for it before.
    pub fn writes(&mut self, now: &Now) -> Vec<(Owner, Vec<Write>)> {
        if !self.is_complete() {
            return Vec::new();
        }
        self.index.set_time(Some(now.date.clone()));
        let recalled = self.recall();
        let changed = self.configurations.refresh(&mut self.index);
        if recalled {
            let serving = self.configurations.allocations().servers.keys();
            let serving = serving.cloned().collect();
            self.note_served(&serving);
        }
        self.note_served(&changed.routers);
        self.dirty
            .extend(changed.routers.into_iter().map(Owner::Router));
        let objects = changed.objects.into_iter();
        self.dirty.extend(objects.filter_map(owner_called));
        let due = self.wakes.iter().filter(|(_, at)| **at <= now.clock);
        let due: Vec<Owner> = due.map(|(owner, _)| owner.clone()).collect();
        self.dirty.extend(due);
        let dirty = std::mem::take(&mut self.dirty);
        let writes = dirty.into_iter().map(|owner| {
            self.wakes.remove(&owner);
            let writes = match &owner {
                Owner::Router(router) => self.router_writes(router, now),
                Owner::Node(node) => self.node_writes(node),
                Owner::Server(server) => self.server_writes(server, now),
            };
            (owner, writes)
        });
        writes.collect()
    }

    /// What is said about objects that have no status to show it in.
    #[must_use]
    pub fn findings_elsewhere(&self) -> Vec<&Finding> {
        let all = self.configurations.allocations().findings.iter();
        let nodes = all.filter(|f| f.object.kind == Kind::Node.as_str());
        nodes.chain(&self.settings_findings).collect()
    }

    /// How many objects there are of each kind.
    #[must_use]
    pub fn counts(&self) -> [(Kind, usize); 4] {
        [
            (Kind::Router, self.routers.len()),
            (Kind::Node, self.nodes.len()),
            (Kind::Config, self.configs.len()),
            (Kind::Server, self.servers.len()),
        ]
    }

    /// All routers.
    pub fn routers(&self) -> impl Iterator<Item = &VirtualRouter> {
        self.routers.values()
    }

    /// The router of this name.
    #[must_use]
    pub fn router(&self, name: &str) -> Option<&VirtualRouter> {
        self.routers.get(name)
    }

    /// Whether `told` is an earlier state of the object `known`: a stream may tell it after the answer to a write of
    /// ours. In a list nothing is.
    fn is_older<K: Resource>(&self, kind: Kind, told: &K, known: Option<&K>) -> bool {
        // Versions of one object are numbers that grow (KEP-5504).
        let version = |object: &K| object.meta().resource_version.as_ref()?.parse::<u64>().ok();
        !self.listing.contains(&kind)
            && known.is_some_and(|known| {
                told.meta().uid == known.meta().uid
                    && version(told)
                        .zip(version(known))
                        .is_some_and(|(told, known)| told < known)
            })
    }

    fn findings(&self, router: &str) -> &[Finding] {
        let object = ObjectName::new(Kind::Router.as_str(), router);
        self.configurations.findings(&object)
    }
}

/// Who has a status to say in what is found out about an object.
fn owner_called(object: ObjectName) -> Option<Owner> {
    let ObjectName {
        kind,
        namespace,
        name,
    } = object;
    if kind == Kind::Router.as_str() {
        return Some(Owner::Router(name));
    }
    (kind == Kind::Server.as_str()).then_some(Owner::Server(ServerName { namespace, name }))
}

/// For whom a NodeConfig is.
fn owner_of(config: &NodeConfig) -> Owner {
    match &config.spec.router {
        Some(router) => Owner::Router(router.clone()),
        None => Owner::Node(config.spec.node_name.clone()),
    }
}

/// The name that the NodeConfig of this content has.
fn proper_name(config: &NodeConfig) -> String {
    let node = &config.spec.node_name;
    match (&config.spec.router, &config.spec.shard) {
        (Some(router), Some(shard)) => name::of_shard(router, node, &shard.bits),
        (Some(router), None) => name::of_router(router, node),
        (None, _) => name::of_node(node),
    }
}
