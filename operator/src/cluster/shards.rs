//! The shards of a router's servers: what they should be beside what they are, and where an agent reports a server.
//!
//! A shard is written before the NodeConfig that names its set, and goes after that has ceased to: an agent that sees
//! half of it keeps what it had.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use vipkeeper_compiler::{MOST_BITS, Shards, shard_hash};
use vipkeeper_crds::node_server::{NodeServer, ServerName};
use vipkeeper_crds::{NodeConfig, NodeConfigObjectSpec, NodeConfigShard, features};

use super::{Cluster, proper_name};
use crate::change::{Owner, Write};
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

impl Cluster {
    /// Compares the shards of a router with what they should say: each once, until one of the two changes.
    pub(super) fn recognise(&mut self, router: &str) {
        let Some(shards) = self.configurations.shards(router) else {
            return;
        };
        let owned = self.shards.get(&Owner::Router(router.to_owned()));
        for name in owned.into_iter().flatten() {
            let config = self.configs.get(name);
            let Some(actual) = config.and_then(|c| c.spec.shard.as_ref()) else {
                continue;
            };
            let Some(desired) = shards.get(&actual.bits) else {
                continue;
            };
            let known = self.recognised.get(name);
            if !known.is_some_and(|known| Arc::ptr_eq(known, desired)) && *actual == **desired {
                self.recognised.insert(name.clone(), Arc::clone(desired));
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
        let shards = shards.shards.iter();
        let writes = shards.filter_map(|shard| {
            let name = name::of_shard(router, node, &shard.bits);
            if self.is_shard(&name, (router, node), shard, owner) {
                return None;
            }
            let actual = self.configs.get(&name);
            let config = NodeConfig {
                metadata: ObjectMeta {
                    resource_version: actual.and_then(|a| a.metadata.resource_version.clone()),
                    name: Some(name),
                    owner_references: Some(vec![owner.clone()]),
                    ..ObjectMeta::default()
                },
                spec: NodeConfigObjectSpec {
                    node_name: node.to_owned(),
                    router: Some(router.to_owned()),
                    confirm: None,
                    config: None,
                    shard_set: None,
                    shard: Some((**shard).clone()),
                    settings: None,
                },
                status: None,
            };
            Some(Write::Config(Box::new(config)))
        });
        writes.collect()
    }

    /// Whether a NodeConfig is this shard.
    fn is_shard(
        &self,
        name: &str,
        (router, node): (&str, &str),
        shard: &Arc<NodeConfigShard>,
        owner: &OwnerReference,
    ) -> bool {
        let Some(actual) = self.configs.get(name) else {
            return false;
        };
        let NodeConfigObjectSpec {
            node_name,
            router: of,
            confirm,
            config,
            shard_set,
            // That is recognised.
            shard: _,
            settings,
        } = &actual.spec;
        let recognised = self.recognised.get(name);
        recognised.is_some_and(|known| Arc::ptr_eq(known, shard))
            && node_name == node
            && of.as_deref() == Some(router)
            && confirm.is_none()
            && config.is_none()
            && shard_set.is_none()
            && settings.is_none()
            && actual.metadata.owner_references.as_deref() == Some(std::slice::from_ref(owner))
    }

    /// The shards of a router that have the names they should have, with their nodes.
    pub(super) fn actual_shards(&self, router: &str) -> impl Iterator<Item = (&str, &NodeConfig)> {
        let owned = self.shards.get(&Owner::Router(router.to_owned()));
        owned.into_iter().flatten().filter_map(|name| {
            let config = self.configs.get(name)?;
            (proper_name(config) == *name).then_some((config.spec.node_name.as_str(), config))
        })
    }

    /// The names of the shards that a node should have; all that it has until its NodeConfig says so.
    pub(super) fn shard_names(&self, router: &str, node: &str) -> BTreeSet<String> {
        let set = self.configurations.shards(router).map(|s| &s.set);
        let bits = set.into_iter().flat_map(|set| &set.shards);
        let mut names: BTreeSet<String> = bits
            .map(|bits| name::of_shard(router, node, bits))
            .collect();
        let main = self.configs.get(&name::of_router(router, node));
        if main.is_some_and(|main| main.spec.shard_set.as_ref() != set) {
            let actual = self.actual_shards(router).filter(|(n, _)| *n == node);
            names.extend(actual.filter_map(|(_, shard)| shard.metadata.name.clone()));
        }
        names
    }

    /// The shards in which a node may have been told of a server: one, but while they are split or joined.
    pub(super) fn shards_around(
        &self,
        router: &str,
        node: &str,
        server: &ServerName,
    ) -> impl Iterator<Item = &NodeConfig> {
        let has_shards = self.shards.contains_key(&Owner::Router(router.to_owned()));
        let most = if has_shards { MOST_BITS as usize } else { 0 };
        let bits = format!("{:064b}", shard_hash(server));
        let name = name::of_router(router, node);
        let lengths = 1..=most;
        lengths.filter_map(move |length| self.configs.get(&format!("{name}-{}", &bits[..length])))
    }
}
