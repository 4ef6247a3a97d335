//! What a cluster assigns to this node: its NodeConfigs, each with its last good state. Pure.
//!
//! - One that cannot be read, needs what this agent cannot do, or a key that is not known, keeps what it ran.
//! - One that the API server deleted is gone, if the definitions of our objects are still there.
//! - What disappears together, or with the definitions, is kept for a while: somebody made a mistake.
//! - Servers that are in shards are gathered; what is in force has no shards.
//!
//! Routers that run have precedence over what is new, in the order in which they came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vipkeeper_crds::node_server::ServerName;
use vipkeeper_crds::status::{Acceptance, NodeConfigStatus};
use vipkeeper_crds::{NodeConfigSpec, NodeSettings, SecretKey};
use vipkeeper_vrrp::Time;

use super::gathering::{Gathering, Source};
use super::object::{Gone, KEPT, Object, finding, key_of};
use super::saved::Saved;
use super::told::{Content, Told};
use crate::source::{Desired, Diagnosis, Keys, Severity};

/// Of so many more than half, and of fewer only all, look like a mistake.
const MANY: usize = 4;

/// A NodeConfig of this node, as its status is to report it.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The router; `None` for the node's own object.
    pub router: Option<String>,
    /// Whether it is about servers of the router alone, and its elections are reported elsewhere.
    pub is_shard: bool,
    /// The servers that it has in force.
    pub servers: Arc<BTreeSet<ServerName>>,
    /// What a node that is Active is to give back.
    pub confirm: Option<String>,
    /// Whether what it says runs.
    pub acceptance: Option<Acceptance>,
    /// What was reported last.
    pub status: Option<Arc<NodeConfigStatus>>,
}

/// Whether the definitions of our objects are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Definitions {
    /// All of them.
    Present,
    /// At least one is gone, or about to go with all its objects.
    Missing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Assignment {
    /// The uid of kube-system, as far as it is known.
    cluster: Option<String>,
    objects: BTreeMap<String, Object>,
    /// What the routers run, by the name of their NodeConfig.
    gatherings: BTreeMap<String, Gathering>,
    /// The same in order, and as it is offered: made anew only where something changed.
    running: Vec<Arc<NodeConfigSpec>>,
    configs: Arc<[NodeConfigSpec]>,
    /// The value of every key that was ever found and is still wanted.
    keys: Keys,
    /// The keys that the API server does not have, and why.
    missing_keys: BTreeMap<SecretKey, String>,
    /// Something was verified: by the API server, or before by way of the cache.
    verified: bool,
    next: u64,
}

impl Assignment {
    /// Begins with what was verified last, if that is known.
    pub(super) fn new(saved: Option<Saved>) -> Self {
        let mut assignment = Self {
            cluster: None,
            objects: BTreeMap::new(),
            gatherings: BTreeMap::new(),
            running: Vec::new(),
            configs: Arc::default(),
            keys: Keys::default(),
            missing_keys: BTreeMap::new(),
            verified: saved.is_some(),
            next: 0,
        };
        if let Some(saved) = saved {
            assignment.restore(saved);
        }
        assignment
    }

    fn restore(&mut self, saved: Saved) {
        let restored = saved.restore();
        self.cluster = Some(restored.cluster);
        self.keys = restored.keys;
        for (name, uid, content) in restored.objects {
            let order = self.turn();
            self.objects
                .insert(name, Object::restored(order, uid, content));
        }
        self.gatherings = restored.gatherings;
        // A shard that this agent cannot run is not in force either.
        for (name, object) in &self.objects {
            if object.lost {
                self.gatherings.values_mut().for_each(|g| g.lose(name));
            }
        }
    }

    /// The cluster that all this is of, as far as it is known.
    pub(super) fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// The API server says whose cluster it is; false if it is another than before.
    pub(super) fn identify(&mut self, cluster: String) -> bool {
        *self.cluster.get_or_insert_with(|| cluster.clone()) == cluster
    }

    /// Whether there is anything to go by.
    pub(super) const fn is_verified(&self) -> bool {
        self.verified
    }

    /// These are all objects of this node at `now`.
    pub(super) fn list(&mut self, mut all: Vec<Told>, now: Time) {
        self.verified = true;
        let listed: BTreeSet<&str> = all.iter().map(|t| t.name.as_str()).collect();
        let here = |(_, object): &(&String, &Object)| object.gone.is_none();
        let vanished: Vec<String> = self
            .objects
            .iter()
            .filter(here)
            .map(|(name, _)| name.clone())
            .filter(|name| !listed.contains(name.as_str()))
            .collect();
        let plain = !self.looks_like_a_mistake(&vanished);
        for name in vanished {
            self.go(&name, Gone { since: now, plain });
        }
        // Those that come together: the oldest first.
        all.sort_by(|a, b| (&a.created, &a.name).cmp(&(&b.created, &b.name)));
        for told in all {
            self.apply(told);
        }
    }

    /// Whether so many of the routers vanished that somebody may not have meant it.
    fn looks_like_a_mistake(&self, vanished: &[String]) -> bool {
        let here = |object: &&Object| object.gone.is_none() && object.is_router();
        let count = self.objects.values().filter(here).count();
        let gone = vanished.iter().filter_map(|name| self.objects.get(name));
        let gone = gone.filter(|object| object.is_router()).count();
        gone > 0 && (gone == count || (count >= MANY && gone * 2 > count))
    }

    /// An object is so.
    pub(super) fn apply(&mut self, told: Told) {
        let order = self.turn();
        let known = self.objects.entry(told.name.clone());
        known.or_insert_with(|| Object::new(order)).tell(told);
    }

    /// The API server tells that an object was deleted.
    pub(super) fn deleted(&mut self, name: &str, now: Time) {
        let gone = Gone {
            since: now,
            plain: true,
        };
        self.go(name, gone);
    }

    /// The API server does not know such objects at all.
    pub(super) fn unknown(&mut self, now: Time) {
        let names: Vec<String> = self.objects.keys().cloned().collect();
        for name in names {
            let gone = Gone {
                since: now,
                plain: false,
            };
            self.go(&name, gone);
        }
    }

    fn go(&mut self, name: &str, gone: Gone) {
        if let Some(object) = self.objects.get_mut(name) {
            object.gone.get_or_insert(gone);
        }
    }

    /// Whether something disappeared and it depends on the definitions what that means.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.objects
            .values()
            .any(|o| o.gone.is_some_and(|g| g.plain))
    }

    /// Removes what was deleted while the definitions are there; without them it is kept for a while.
    pub(super) fn decide(&mut self, definitions: Definitions) {
        for object in self.objects.values_mut() {
            if let (Some(gone), Definitions::Missing) = (&mut object.gone, definitions) {
                gone.plain = false;
            }
        }
        self.lose(|gone| gone.plain);
    }

    /// Removes what was kept for long enough.
    pub(super) fn expire(&mut self, now: Time) {
        let over = |gone: Gone| !gone.plain && now.since(gone.since) >= KEPT;
        self.lose(over);
    }

    fn lose(&mut self, is_over: impl Fn(Gone) -> bool) {
        let before = self.objects.len();
        self.objects
            .retain(|_, object| object.gone.is_none_or(|gone| !is_over(gone)));
        if self.objects.len() < before {
            self.gather();
        }
    }

    /// When something that is kept is kept no longer.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        let kept = self.objects.values().filter_map(|o| o.gone);
        kept.filter(|g| !g.plain).map(|g| g.since + KEPT).min()
    }

    /// The keys that objects refer to.
    pub(super) fn wanted_keys(&self) -> BTreeSet<SecretKey> {
        let told = self.objects.values().filter_map(|o| o.told.as_ref());
        let told = told.filter_map(|t| t.content.as_ref().ok());
        let good = self.objects.values().filter_map(|o| o.good.as_ref());
        told.chain(good).filter_map(key_of).cloned().collect()
    }

    /// The API server has this value for a key, or says why there is none.
    pub(super) fn set_key(&mut self, key: SecretKey, value: Result<Vec<u8>, String>) {
        match value {
            Ok(value) => {
                self.missing_keys.remove(&key);
                self.keys.insert(key, value);
            }
            Err(why) => {
                self.missing_keys.insert(key, why);
            }
        }
    }

    /// Takes over what can run. What cannot keeps what it ran.
    pub(super) fn settle(&mut self) {
        let wanted = self.wanted_keys();
        self.missing_keys.retain(|key, _| wanted.contains(key));
        self.keys.retain(|key| wanted.contains(key));
        for object in self.objects.values_mut() {
            object.settle(&self.keys, &self.missing_keys);
        }
        self.gather();
    }

    /// Finds for every router what it runs with all its servers. Where nothing changed, nothing is made.
    fn gather(&mut self) {
        let mut shards: BTreeMap<&str, Vec<Source>> = BTreeMap::new();
        for (name, object) in &self.objects {
            if let Some(Content::Shard(shard)) = &object.good {
                shards.entry(&shard.router).or_default().push(Source {
                    object: name.clone(),
                    shard: Arc::clone(shard),
                    is_current: object.is_current(),
                });
            }
        }
        self.gatherings
            .retain(|name, _| self.objects.get(name).is_some_and(Object::is_router));
        for (name, object) in &self.objects {
            let Some(Content::Router(main)) = &object.good else {
                continue;
            };
            let own = shards.get(main.config.router.as_str());
            let own = own.cloned().unwrap_or_default();
            let before = self.gatherings.get(name);
            if before.is_some_and(|before| before.is_of(main, &own)) {
                continue;
            }
            let gathering = Gathering::new(name, main, own, before);
            self.gatherings.insert(name.clone(), gathering);
        }
        let all = self.by_age().into_iter();
        let running = all.filter_map(|(name, _)| self.gatherings.get(name));
        let running: Vec<_> = running.map(|g| Arc::clone(g.config())).collect();
        if running != self.running {
            self.configs = running.iter().map(|config| (**config).clone()).collect();
            self.running = running;
        }
    }

    /// In the order in which they came.
    fn by_age(&self) -> Vec<(&String, &Object)> {
        let mut all: Vec<(&String, &Object)> = self.objects.iter().collect();
        all.sort_by_key(|(_, object)| object.order);
        all
    }

    /// What is in force, but for endpoints.
    pub(super) fn in_force(&self) -> Desired {
        let settings = self.by_age().into_iter().rev();
        let mut settings = settings.filter_map(|(_, object)| match &object.good {
            Some(Content::Node(settings)) => Some(settings.clone()),
            Some(Content::Router(_) | Content::Shard(_)) | None => None,
        });
        Desired {
            configs: Arc::clone(&self.configs),
            settings: settings.next().unwrap_or_else(NodeSettings::default),
            keys: self.keys.clone(),
            findings: self.findings(),
            ..Desired::default()
        }
    }

    fn findings(&self) -> Vec<Diagnosis> {
        let about = |(name, object): (&String, &Object)| {
            let own = object.finding(name);
            let here = object.gone.is_none();
            let set = self.gatherings.get(name).filter(|_| here);
            let set = set.and_then(|gathering| {
                let missing = gathering.missing()?.to_owned();
                Some(finding(name, Severity::Warning, missing))
            });
            own.into_iter().chain(set)
        };
        self.objects.iter().flat_map(about).collect()
    }

    /// What there is to report on. Of the shards of a router that is not here, nothing.
    pub(super) fn roster(&self) -> Vec<Assigned> {
        let here = self.objects.values().filter(|o| o.gone.is_none());
        let here = here.filter_map(|object| Some((object, object.told.as_ref()?)));
        let routers = here.clone().filter(|(object, _)| !object.is_shard());
        let routers: BTreeSet<&str> = routers.filter_map(|(_, t)| t.router.as_deref()).collect();
        let shares = self.gatherings.values().flat_map(Gathering::shares);
        let shares: BTreeMap<&String, &Arc<BTreeSet<ServerName>>> = shares.collect();
        let is_reported = |(object, told): &(&Object, &Told)| {
            let router = told.router.as_deref();
            !object.is_shard() || router.is_some_and(|router| routers.contains(router))
        };
        here.filter(is_reported)
            .map(|(object, told)| Assigned {
                name: told.name.clone(),
                uid: told.uid.clone(),
                router: told.router.clone(),
                is_shard: object.is_shard(),
                servers: shares.get(&told.name).copied().cloned().unwrap_or_default(),
                confirm: told.confirm.clone(),
                acceptance: object.acceptance(told),
                status: told.status.clone(),
            })
            .collect()
    }

    /// What to begin with after a restart; `None` before anything is verified.
    pub(super) fn saved(&self, node: &str) -> Option<Saved> {
        let cluster = self.cluster.clone().filter(|_| self.verified)?;
        let mut saved = Saved::new(node, cluster, &self.keys);
        let shares = self.gatherings.values().flat_map(Gathering::shares);
        let shares: BTreeMap<&String, &Arc<BTreeSet<ServerName>>> = shares.collect();
        for (name, object) in self.by_age() {
            let uid = &object.uid;
            match &object.good {
                Some(Content::Router(main)) => {
                    if let Some(gathering) = self.gatherings.get(name) {
                        saved.keep_router(name, uid, main, gathering.config());
                    }
                }
                Some(Content::Shard(shard)) => {
                    let servers = shares.get(name).copied().cloned().unwrap_or_default();
                    saved.keep_shard(name, uid, shard, servers);
                }
                Some(Content::Node(settings)) => saved.keep_node(name, uid, settings),
                None => {}
            }
        }
        Some(saved)
    }

    fn turn(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }
}
