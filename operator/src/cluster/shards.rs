//! The shards of a router's servers: what they should be beside what they are, and where an agent reports a server.
//!
//! A shard is written before the NodeConfig that names its set, and goes after that has ceased to: an agent that sees
//! half of it keeps what it had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt as _;
use vipkeeper_compiler::{MOST_BITS, Shards, shard_hash};
use vipkeeper_crds::node_server::{NodeServer, ServerName};
use vipkeeper_crds::{NodeConfig, NodeConfigObjectSpec, NodeConfigShard, features};

use super::{Cluster, proper_name};
use crate::change::Write;
use crate::name;

/// The servers that a NodeConfig has the node serve.
pub(super) fn servers(config: &NodeConfig) -> impl Iterator<Item = &NodeServer> {
    let here = config.spec.config.iter().flat_map(|c| &c.servers);
    here.chain(config.spec.shard.iter().flat_map(|s| &s.servers))
}

/// Whether two specs differ in nothing but where the servers are.
pub(super) fn moves_servers_alone(
    actual: &NodeConfigObjectSpec,
    desired: &NodeConfigObjectSpec,
) -> bool {
    let without = |spec: &NodeConfigObjectSpec| {
        let mut spec = spec.clone();
        spec.shard_set = None;
        if let Some(config) = &mut spec.config {
            config.servers.clear();
            let about_servers = [features::VIRTUAL_SERVERS, features::SHARDS];
            config
                .requires
                .retain(|r| !about_servers.contains(&r.as_str()));
        }
        spec
    };
    without(actual) == without(desired)
}

/// The shards that there are under the names they should have, by router, node and bits.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, BTreeMap<String, OfNode>>);

/// The shards of a router on a node, by bits.
type OfNode = BTreeMap<String, Shard>;

/// A shard that there is.
#[derive(Debug)]
struct Shard {
    /// The NodeConfig's name.
    name: String,
    owners: Option<Vec<OwnerReference>>,
    /// Whether the agent refuses it.
    refused: bool,
    /// What it was found to say, and nothing beside.
    says: Option<Arc<NodeConfigShard>>,
}

impl Known {
    /// Takes a NodeConfig in, if it is a shard of the name that it should have.
    pub(super) fn add(&mut self, config: &NodeConfig) -> bool {
        let (Some(router), Some(shard)) = (&config.spec.router, &config.spec.shard) else {
            return false;
        };
        let name = config.name_any();
        if proper_name(config) != name {
            return false;
        }
        let acceptance = config.status.as_ref().and_then(|s| s.acceptance.as_ref());
        let nodes = self.0.entry(router.clone()).or_default();
        let shards = nodes.entry(config.spec.node_name.clone()).or_default();
        let known = Shard {
            name,
            owners: config.metadata.owner_references.clone(),
            refused: acceptance.is_some_and(|a| !a.accepted),
            says: None,
        };
        shards.insert(shard.bits.clone(), known);
        true
    }

    /// Forgets a NodeConfig.
    pub(super) fn remove(&mut self, config: &NodeConfig) {
        let (Some(router), Some(shard)) = (&config.spec.router, &config.spec.shard) else {
            return;
        };
        let node = &config.spec.node_name;
        let Some(nodes) = self.0.get_mut(router) else {
            return;
        };
        if let Some(shards) = nodes.get_mut(node) {
            if shards.get(&shard.bits).map(|s| &s.name) == config.metadata.name.as_ref() {
                shards.remove(&shard.bits);
            }
            if shards.is_empty() {
                nodes.remove(node);
            }
        }
        if nodes.is_empty() {
            self.0.remove(router);
        }
    }

    /// The routers that have shards.
    pub(super) fn routers(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    fn of_node(&self, router: &str, node: &str) -> Option<&OfNode> {
        self.0.get(router)?.get(node)
    }

    /// The shards of a router, with node and bits.
    fn of_router(&self, router: &str) -> impl Iterator<Item = (&str, &str, &Shard)> {
        let nodes = self.0.get(router).into_iter().flatten();
        nodes.flat_map(|(node, shards)| {
            let shards = shards.iter();
            shards.map(move |(bits, shard)| (node.as_str(), bits.as_str(), shard))
        })
    }
}

/// Whether a NodeConfig is a shard that says this, and nothing else.
fn says(config: &NodeConfig, desired: &NodeConfigShard) -> bool {
    let NodeConfigObjectSpec {
        // The name follows from these.
        node_name: _,
        router: _,
        confirm,
        config,
        shard_set,
        shard,
        settings,
    } = &config.spec;
    confirm.is_none()
        && config.is_none()
        && shard_set.is_none()
        && settings.is_none()
        && shard.as_ref() == Some(desired)
}

impl Cluster {
    /// Compares the shards of a router with what they should say: each once, until one of the two changes.
    pub(super) fn recognise(&mut self, router: &str) {
        let Some(shards) = self.configurations.shards(router) else {
            return;
        };
        let nodes = self.shards.0.get_mut(router).into_iter().flatten();
        for (bits, known) in nodes.flat_map(|(_, all)| all) {
            let Some(desired) = shards.get(bits) else {
                continue;
            };
            if !known.says.as_ref().is_some_and(|s| Arc::ptr_eq(s, desired)) {
                let config = self.configs.get(&known.name);
                let is_so = config.is_some_and(|config| says(config, desired));
                known.says = is_so.then(|| Arc::clone(desired));
            }
        }
    }

    /// What makes the shards of a node what they should be.
    pub(super) fn shard_writes(
        &self,
        router: &str,
        node: &str,
        shards: &Shards,
        owner: &OwnerReference,
    ) -> Vec<Write> {
        let known = self.shards.of_node(router, node);
        let shards = shards.shards.iter();
        let writes = shards.filter_map(|shard| {
            let known = known.and_then(|known| known.get(&shard.bits));
            let is_so = known.is_some_and(|known| {
                known.says.as_ref().is_some_and(|s| Arc::ptr_eq(s, shard))
                    && known.owners.as_deref() == Some(std::slice::from_ref(owner))
            });
            if is_so {
                return None;
            }
            let name = name::of_shard(router, node, &shard.bits);
            let spec = NodeConfigObjectSpec {
                node_name: node.to_owned(),
                router: Some(router.to_owned()),
                confirm: None,
                config: None,
                shard_set: None,
                shard: Some((**shard).clone()),
                settings: None,
            };
            Some(self.writing(name, spec, owner.clone()))
        });
        writes.collect()
    }

    /// The shards of a router on `nodes`.
    pub(super) fn shards_on(&self, router: &str, nodes: &BTreeSet<String>) -> Vec<&NodeConfig> {
        let shards = self.shards.of_router(router);
        let shards = shards.filter(|(node, ..)| nodes.contains(*node));
        let configs = shards.filter_map(|(_, _, shard)| self.configs.get(&shard.name));
        configs.collect()
    }

    /// The shards of a router that its agents refuse, with the node.
    pub(super) fn refused_shards(&self, router: &str) -> impl Iterator<Item = (&str, &NodeConfig)> {
        let refused = self.shards.of_router(router).filter(|(.., s)| s.refused);
        refused.filter_map(|(node, _, shard)| Some((node, self.configs.get(&shard.name)?)))
    }

    /// The shards of a router that nobody needs, if these nodes take part. A node has all of its own until its
    /// NodeConfig names the present ones.
    pub(super) fn superfluous_shards(
        &self,
        router: &str,
        takes_part: impl Fn(&str) -> bool,
    ) -> Vec<&NodeConfig> {
        let desired = self.configurations.shards(router);
        let nodes = self.shards.0.get(router).into_iter().flatten();
        let superfluous = nodes.flat_map(|(node, shards)| {
            let main = self.configs.get(&name::of_router(router, node));
            let named = main.and_then(|main| main.spec.shard_set.as_ref());
            let in_use = main.is_some() && named != desired.map(|d| &d.set);
            let takes_part = takes_part(node);
            let shards = shards.iter().filter(move |(bits, _)| {
                let is_one = || in_use || desired.is_some_and(|d| d.get(bits).is_some());
                !(takes_part && is_one())
            });
            shards.filter_map(|(_, shard)| self.configs.get(&shard.name))
        });
        superfluous.collect()
    }

    /// The shards in which a node may have been told of a server: one, but while they are split or joined.
    pub(super) fn shards_around(
        &self,
        router: &str,
        node: &str,
        server: &ServerName,
    ) -> impl Iterator<Item = &NodeConfig> {
        let known = self.shards.of_node(router, node);
        let bits = known.map(|_| format!("{:064b}", shard_hash(server)));
        let lengths = 1..=MOST_BITS as usize;
        lengths.filter_map(move |length| {
            let shard = known?.get(bits.as_ref()?.get(..length)?)?;
            self.configs.get(&shard.name)
        })
    }
}
