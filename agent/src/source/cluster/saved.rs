//! What was verified last, in the form in which it is kept. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use vipkeeper_crds::node_server::{NodeServer, ServerName};
use vipkeeper_crds::{NodeConfigShard, NodeConfigSpec, NodeSettings, SecretKey, ShardSet};

use super::gathering::{Gathering, Shares};
use super::told::{Content, Main, Shard};
use crate::source::Keys;

/// The form of the file; another is not read.
///
/// A router is kept with all its servers, as if there were no shards, and what shards there are beside it: an agent that
/// knows none passes them over, and serves the same.
pub(super) const FORMAT: u32 = 1;

/// Everything that an agent needs to serve what it served before. Shared with what is in force.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Saved {
    pub(super) format: u32,
    pub(super) node: String,
    /// The uid of kube-system.
    cluster: String,
    /// In the order in which they came.
    pub(super) objects: Vec<SavedObject>,
    keys: Vec<SavedKey>,
}

/// A NodeConfig as it is in force: of a router, of some of its servers, or the node's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SavedObject {
    pub(super) name: String,
    uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<Arc<NodeConfigSpec>>,
    /// With `config`, if it has servers in shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharding: Option<SavedSharding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<SavedShard>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<NodeSettings>,
}

/// What a router's NodeConfig says of its shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedSharding {
    set: ShardSet,
    /// What it requires by itself.
    requires: Vec<String>,
}

/// A shard. Its servers are in the router's `config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedShard {
    router: String,
    set: String,
    bits: String,
    requires: Vec<String>,
    /// Those that are in force.
    servers: Arc<BTreeSet<ServerName>>,
}

/// A key with its value, which is why nothing here can be printed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct SavedKey {
    #[serde(flatten)]
    key: SecretKey,
    value: ByteString,
}

/// What an agent begins with.
pub(super) struct Restored {
    pub(super) cluster: String,
    /// By name and uid, in the order in which they came.
    pub(super) objects: Vec<(String, String, Content)>,
    /// What routers with shards ran.
    pub(super) gatherings: BTreeMap<String, Gathering>,
    pub(super) keys: Keys,
}

impl Saved {
    /// With no objects yet.
    pub(super) fn new(node: &str, cluster: String, keys: &Keys) -> Self {
        let keys = keys.iter().map(|(key, value)| SavedKey {
            key: key.clone(),
            value: ByteString(value.to_vec()),
        });
        Self {
            format: FORMAT,
            node: node.to_owned(),
            cluster,
            objects: Vec::new(),
            keys: keys.collect(),
        }
    }

    /// The node's own object.
    pub(super) fn keep_node(&mut self, name: &str, uid: &str, settings: &NodeSettings) {
        self.objects.push(SavedObject {
            settings: Some(settings.clone()),
            ..SavedObject::new(name, uid)
        });
    }

    /// A router's object, which is `main`; with all servers it runs `config`.
    pub(super) fn keep_router(
        &mut self,
        name: &str,
        uid: &str,
        main: &Main,
        config: &Arc<NodeConfigSpec>,
    ) {
        let sharding = main.set.as_ref().map(|set| SavedSharding {
            set: set.clone(),
            requires: main.config.requires.clone(),
        });
        self.objects.push(SavedObject {
            config: Some(Arc::clone(config)),
            sharding,
            ..SavedObject::new(name, uid)
        });
    }

    /// A shard's object, which has `servers` in force.
    pub(super) fn keep_shard(
        &mut self,
        name: &str,
        uid: &str,
        shard: &Shard,
        servers: Arc<BTreeSet<ServerName>>,
    ) {
        let Shard { router, shard } = shard;
        self.objects.push(SavedObject {
            shard: Some(SavedShard {
                router: router.clone(),
                set: shard.set.clone(),
                bits: shard.bits.clone(),
                requires: shard.requires.clone(),
                servers,
            }),
            ..SavedObject::new(name, uid)
        });
    }

    /// As it was in force.
    pub(super) fn restore(self) -> Restored {
        let mut shares: BTreeMap<String, Shares> = BTreeMap::new();
        for object in &self.objects {
            if let Some(shard) = &object.shard {
                let own = shares.entry(shard.router.clone()).or_default();
                own.insert(object.name.clone(), Arc::clone(&shard.servers));
            }
        }
        let sharded = |o: &SavedObject| o.sharding.as_ref().and(o.config.clone());
        let sharded: Vec<_> = self.objects.iter().filter_map(sharded).collect();
        let servers = sharded.iter().flat_map(|config| {
            let servers = config.servers.iter();
            servers.map(|server| ((config.router.as_str(), &server.name), server))
        });
        let servers: HashMap<(&str, &ServerName), &NodeServer> = servers.collect();
        let mut restored = Restored {
            cluster: self.cluster,
            objects: Vec::new(),
            gatherings: BTreeMap::new(),
            keys: Keys::default(),
        };
        for SavedKey { key, value } in self.keys {
            restored.keys.insert(key, value.0);
        }
        for object in self.objects {
            let SavedObject {
                name,
                uid,
                config,
                sharding,
                shard,
                settings,
            } = object;
            let content = match (config, shard, settings) {
                (Some(config), _, _) => {
                    if sharding.is_some() {
                        let own = shares.get(&config.router).cloned().unwrap_or_default();
                        let gathering = Gathering::restored(Arc::clone(&config), own);
                        restored.gatherings.insert(name.clone(), gathering);
                    }
                    main(config, sharding)
                }
                (None, Some(shard), _) => shard.restore(&servers),
                (None, None, Some(settings)) => Content::Node(settings),
                (None, None, None) => continue,
            };
            restored.objects.push((name, uid, content));
        }
        restored
    }
}

impl SavedObject {
    fn new(name: &str, uid: &str) -> Self {
        Self {
            name: name.to_owned(),
            uid: uid.to_owned(),
            config: None,
            sharding: None,
            shard: None,
            settings: None,
        }
    }
}

impl SavedShard {
    fn restore(self, servers: &HashMap<(&str, &ServerName), &NodeServer>) -> Content {
        let own = self.servers.iter();
        let own = own.filter_map(|name| servers.get(&(self.router.as_str(), name)));
        let servers = own.map(|server| (*server).clone()).collect();
        Content::Shard(Arc::new(Shard {
            router: self.router,
            shard: NodeConfigShard {
                set: self.set,
                bits: self.bits,
                requires: self.requires,
                servers,
            },
        }))
    }
}

/// A router's NodeConfig as it says itself.
fn main(config: Arc<NodeConfigSpec>, sharding: Option<SavedSharding>) -> Content {
    let Some(SavedSharding { set, requires }) = sharding else {
        return Content::Router(Arc::new(Main { config, set: None }));
    };
    let config = NodeConfigSpec {
        requires,
        servers: Vec::new(),
        ..(*config).clone()
    };
    Content::Router(Arc::new(Main {
        config: Arc::new(config),
        set: Some(set),
    }))
}
