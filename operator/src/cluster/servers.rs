//! The VirtualServers, and what has to be written for them: their status.
//!
//! What they have nodes do is written for their routers. One that refers to a ConfigMap waits until the API server has
//! told of that: for what is not known yet, nobody is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt as _;
use vipkeeper_compiler::{ConfigMapName, ObjectName, Served, Weighed, config_maps};
use vipkeeper_crds::conditions::{ConditionStatus, ConditionType};
use vipkeeper_crds::node_server::{NodeServer, ServerName};
use vipkeeper_crds::status::{ServerStatus, VirtualRouterStatus};
use vipkeeper_crds::{AddressFamily, NodeConfig, VirtualServer};

use super::{Cluster, shards};
use crate::change::{Kind, Now, Owner, Write, full_name, server_name};
use crate::lag::Lag;
use crate::news::server_news;
use crate::projection::{self, ServerSources};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Servers {
    objects: BTreeMap<ServerName, VirtualServer>,
    /// When each was first told; 0 if it was accepted before that.
    seniority: BTreeMap<ServerName, u64>,
    /// Those that name each router.
    naming: BTreeMap<String, BTreeSet<ServerName>>,
    /// Those that refer to each ConfigMap.
    readers: BTreeMap<ConfigMapName, BTreeSet<ServerName>>,
    /// The ConfigMaps of which the API server has told.
    told: BTreeSet<ConfigMapName>,
    /// Those that wait for a ConfigMap.
    waiting: BTreeSet<ServerName>,
    /// What is served on the addresses of each router, by name.
    shares: BTreeMap<String, Arc<Vec<Weighed>>>,
    /// Those whose holder reports on an earlier edit than it was told of.
    lags: BTreeMap<ServerName, Lag>,
    /// The router on whose addresses each is served.
    served: BTreeMap<ServerName, String>,
    /// Whether it is known what was served before this operator began to write.
    recalled: bool,
}

impl Servers {
    fn link(&mut self, name: &ServerName, object: &VirtualServer) {
        let router = object.spec.router_ref.name.clone();
        self.naming.entry(router).or_default().insert(name.clone());
        for map in config_maps(object) {
            self.readers.entry(map).or_default().insert(name.clone());
        }
    }

    /// Takes an object out, and gives it back: when it is known who takes its place, its ConfigMaps are to be
    /// [forgotten](Self::forget_unread).
    fn unlink(&mut self, name: &ServerName) -> Option<VirtualServer> {
        let object = self.objects.remove(name)?;
        remove(&mut self.naming, &object.spec.router_ref.name, name);
        for map in config_maps(&object) {
            remove(&mut self.readers, &map, name);
        }
        self.waiting.remove(name);
        Some(object)
    }

    /// What nobody refers to any more is not asked for, so that it is not known any more. What somebody does is not
    /// asked for anew, and stays known.
    fn forget_unread(&mut self, before: Option<&VirtualServer>) {
        for map in before.into_iter().flat_map(config_maps) {
            if !self.readers.contains_key(&map) {
                self.told.remove(&map);
            }
        }
    }

    /// Whether the API server has told of all ConfigMaps that `object` refers to.
    fn is_ready(&self, object: &VirtualServer) -> bool {
        config_maps(object).all(|map| self.told.contains(&map))
    }

    /// Those that may have something to do with a router.
    fn around(&self, router: &str) -> BTreeSet<ServerName> {
        let named = self.naming.get(router).into_iter().flatten();
        let share = self.shares.get(router).into_iter().flat_map(|s| s.iter());
        named
            .chain(share.map(|s| &s.server.name))
            .cloned()
            .collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }
}

fn remove<K: Ord>(map: &mut BTreeMap<K, BTreeSet<ServerName>>, key: &K, name: &ServerName) {
    if let Some(names) = map.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            map.remove(key);
        }
    }
}

impl Cluster {
    pub(super) fn take_server(&mut self, mut server: VirtualServer) {
        let name = server_name(&full_name(&server));
        let known = self.servers.objects.get(&name);
        if self.is_gone(&server) || self.is_older(Kind::Server, &server, known) {
            return;
        }
        if known.is_none() {
            self.told = self.told.saturating_add(1);
            let seniority = if is_accepted(&server) { 0 } else { self.told };
            self.servers.seniority.insert(name.clone(), seniority);
        }
        server.metadata.managed_fields = None;
        let before = self.servers.unlink(&name);
        self.servers.link(&name, &server);
        self.servers.forget_unread(before.as_ref());
        if self.servers.is_ready(&server) {
            let seniority = self.servers.seniority.get(&name).copied();
            self.index.set_server(&server, seniority.unwrap_or(0));
        } else {
            self.servers.waiting.insert(name.clone());
        }
        self.servers.objects.insert(name.clone(), server);
        self.dirty.insert(Owner::Server(name));
    }

    pub(super) fn lose_server(&mut self, full: &str) {
        let name = server_name(full);
        let before = self.servers.unlink(&name);
        self.servers.forget_unread(before.as_ref());
        self.gone.extend(before.and_then(|s| s.uid()));
        self.servers.seniority.remove(&name);
        self.servers.lags.remove(&name);
        self.index.remove_server(&name);
        self.dirty.insert(Owner::Server(name));
    }

    pub(super) fn take_config_map(
        &mut self,
        map: ConfigMapName,
        data: Option<BTreeMap<String, String>>,
    ) {
        if !self.servers.readers.contains_key(&map) {
            return;
        }
        self.index.set_config_map(map.clone(), data);
        self.servers.told.insert(map);
        let waiting = std::mem::take(&mut self.servers.waiting);
        for name in waiting {
            let Some(object) = self.servers.objects.get(&name) else {
                continue;
            };
            if self.servers.is_ready(object) {
                let seniority = self.servers.seniority.get(&name).copied();
                self.index.set_server(object, seniority.unwrap_or(0));
                self.dirty.insert(Owner::Server(name));
            } else {
                self.servers.waiting.insert(name);
            }
        }
    }

    /// The ConfigMaps that VirtualServers refer to.
    pub fn wanted_config_maps(&self) -> impl Iterator<Item = &ConfigMapName> {
        self.servers.readers.keys()
    }

    /// All VirtualServers.
    pub fn servers(&self) -> impl Iterator<Item = &VirtualServer> {
        self.servers.objects.values()
    }

    /// The VirtualServer of this name.
    #[must_use]
    pub fn server(&self, name: &ServerName) -> Option<&VirtualServer> {
        self.servers.objects.get(name)
    }

    /// Another operator may have written since this one did: what is served is what the NodeConfigs say.
    pub fn begin_to_write(&mut self) {
        self.servers.recalled = false;
        self.look_at_everything();
    }

    /// Whether it is known what every VirtualServer says, or this operator writes already.
    pub(super) fn servers_are_known(&self) -> bool {
        self.servers.recalled || self.servers.waiting.is_empty()
    }

    /// Takes what the NodeConfigs say for what was served before, once; whether it did. What is served now is to be
    /// [noted](Self::note_served) of every router then.
    pub(super) fn recall(&mut self) -> bool {
        if std::mem::replace(&mut self.servers.recalled, true) {
            return false;
        }
        self.servers.shares.clear();
        self.servers.served.clear();
        let mut latest: BTreeMap<&ServerName, (&str, &NodeServer)> = BTreeMap::new();
        for config in self.configs.values() {
            let Some(router) = &config.spec.router else {
                continue;
            };
            for server in shards::servers(config) {
                let last = latest.entry(&server.name);
                let last = last.or_insert((router, server));
                if last.1.generation < server.generation {
                    *last = (router, server);
                }
            }
        }
        for name in self.servers.objects.keys() {
            if !latest.contains_key(name) {
                self.index.set_served(name, None);
            }
        }
        for (name, (router, server)) in latest {
            let served = Served {
                router: router.to_owned(),
                server: Arc::new(server.clone()),
            };
            self.index.set_served(name, Some(served));
        }
        true
    }

    /// Notes what `routers` have nodes serve now.
    pub(super) fn note_served(&mut self, routers: &BTreeSet<String>) {
        for router in routers {
            let now = self.configurations.allocations().servers.get(router);
            let now = now.map(Arc::clone).unwrap_or_default();
            let before = self.servers.shares.remove(router).unwrap_or_default();
            for server in differing(&before, &now) {
                if self.servers.served.get(&server.name) == Some(router) {
                    self.servers.served.remove(&server.name);
                }
                self.dirty.insert(Owner::Server(server.name.clone()));
            }
            for server in differing(&now, &before) {
                let name = &server.name;
                self.servers.served.insert(name.clone(), router.clone());
                self.dirty.insert(Owner::Server(name.clone()));
                let served = Served {
                    router: router.clone(),
                    server: Arc::clone(server),
                };
                self.index.set_served(name, Some(served));
            }
            if !now.is_empty() {
                self.servers.shares.insert(router.clone(), now);
            }
        }
    }

    /// Has those looked at that are served on a router's addresses, or shall be.
    pub(super) fn look_around(&mut self, router: &str) {
        let around = self.servers.around(router);
        self.dirty.extend(around.into_iter().map(Owner::Server));
    }

    /// What is to be written for a VirtualServer.
    pub(super) fn server_writes(&mut self, name: &ServerName, now: &Now) -> Vec<Write> {
        let Some(mut sources) = self.server_sources(name) else {
            return Vec::new();
        };
        let before = self.servers.lags.get(name).copied();
        let lag = sources.lag().map(|of| Lag::of(of, before, now));
        let passing = lag.and_then(|lag| lag.passing(now));
        sources.passing = passing.is_some();
        let write = server_status_write(name, &sources, now);
        match lag {
            Some(lag) => self.servers.lags.insert(name.clone(), lag),
            None => self.servers.lags.remove(name),
        };
        if let Some(until) = passing {
            self.wakes.insert(Owner::Server(name.clone()), until);
        }
        write.into_iter().collect()
    }

    /// What the status of a VirtualServer is made of; `None` while it waits.
    fn server_sources(&self, name: &ServerName) -> Option<ServerSources<'_>> {
        let server = self.servers.objects.get(name)?;
        if self.servers.waiting.contains(name) {
            return None;
        }
        let on = self.servers.served.get(name);
        let router = on.unwrap_or(&server.spec.router_ref.name);
        let share = self.servers.shares.get(router).filter(|_| on.is_some());
        let runs = share.and_then(|share| find(share, name));
        let object = ObjectName::of_server(name);
        Some(ServerSources {
            server,
            findings: self.configurations.findings(&object),
            runs,
            router: self.routers.get(router).and_then(|r| r.status.as_ref()),
            reports: self.reports(router, name),
            passing: false,
        })
    }

    /// What the agents of a router's candidates say of a VirtualServer, by node.
    fn reports(&self, router: &str, name: &ServerName) -> BTreeMap<&str, &ServerStatus> {
        let nodes = self.actual(router).into_iter();
        let reports = nodes.filter_map(|(node, config)| {
            let shards = self.shards_around(router, node, name);
            let all = std::iter::once(config).chain(shards);
            // While it moves from one object to another, the old one goes on to say what was.
            let latest = all.filter_map(|c| report(c, name));
            Some((node, latest.max_by_key(|r| r.generation)?))
        });
        reports.collect()
    }
}

/// The write that makes the status of a VirtualServer what it should be, if it is not.
fn server_status_write(name: &ServerName, sources: &ServerSources<'_>, now: &Now) -> Option<Write> {
    let server = sources.server;
    let status = projection::server_status(sources, &now.date);
    (server.status.as_ref() != Some(&status)).then(|| Write::ServerStatus {
        server: name.clone(),
        version: server.metadata.resource_version.clone(),
        news: server_news(server.status.as_ref(), &status),
        status: Box::new(status),
    })
}

/// What an agent says of a VirtualServer in the status of a NodeConfig.
fn report<'a>(config: &'a NodeConfig, name: &ServerName) -> Option<&'a ServerStatus> {
    let servers = &config.status.as_ref()?.servers;
    // They are in the order of their names.
    let at = servers.binary_search_by(|s| s.server.cmp(name)).ok()?;
    servers.get(at)
}

/// What a router has nodes do for a VirtualServer.
fn find<'a>(share: &'a [Weighed], name: &ServerName) -> Option<&'a NodeServer> {
    let at = share.binary_search_by(|s| s.server.name.cmp(name)).ok()?;
    share.get(at).map(|s| &*s.server)
}

/// Those of `these` that are not among `others` as they are. Both are by name.
fn differing<'a>(
    these: &'a [Weighed],
    others: &'a [Weighed],
) -> impl Iterator<Item = &'a Arc<NodeServer>> {
    let mut others = others.iter().peekable();
    let all = these.iter().filter(move |this| {
        // Most are the same in memory, too.
        let same = |o: &&Weighed| Arc::ptr_eq(&o.server, &this.server);
        if others.next_if(same).is_some() {
            return false;
        }
        let name = &this.server.name;
        while others.next_if(|o| o.server.name < *name).is_some() {}
        others.next_if_eq(this).is_none()
    });
    all.map(|this| &this.server)
}

/// Whether other nodes hold the addresses.
pub(super) fn holders_differ(
    before: Option<&VirtualRouterStatus>,
    now: Option<&VirtualRouterStatus>,
) -> bool {
    fn holders(
        status: Option<&VirtualRouterStatus>,
    ) -> impl Iterator<Item = (AddressFamily, Option<&str>)> {
        let families = status.into_iter().flat_map(|s| &s.families);
        families.map(|f| (f.family, f.active_node.as_deref()))
    }
    !holders(before).eq(holders(now))
}

/// The VirtualServers of which an agent says something else.
pub(super) fn told_otherwise(
    before: Option<&NodeConfig>,
    now: Option<&NodeConfig>,
) -> impl Iterator<Item = ServerName> {
    fn reports(config: Option<&NodeConfig>) -> BTreeMap<&ServerName, &ServerStatus> {
        let servers = config.and_then(|c| c.status.as_ref());
        let servers = servers.into_iter().flat_map(|s| &s.servers);
        servers.map(|s| (&s.server, s)).collect()
    }
    let (before, now) = (reports(before), reports(now));
    let names = before.keys().chain(now.keys());
    let differs = |name: &&&ServerName| before.get(**name) != now.get(**name);
    let names: BTreeSet<ServerName> = names.filter(differs).map(|name| (*name).clone()).collect();
    names.into_iter()
}

fn is_accepted(server: &VirtualServer) -> bool {
    let mut conditions = server.status.iter().flat_map(|s| &s.conditions);
    conditions.any(|c| c.kind == ConditionType::Accepted && c.status == ConditionStatus::True)
}
