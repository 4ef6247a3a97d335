//! A NodeConfig as the API server tells it. One that cannot be read is told as well: it must not hide the others.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::Value;
use vipkeeper_crds::conditions::Reason;
use vipkeeper_crds::status::NodeConfigStatus;
use vipkeeper_crds::{
    NodeConfigObjectSpec, NodeConfigShard, NodeConfigSpec, NodeSettings, ShardSet,
};

use crate::plan;

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) created: Option<Time>,
    /// The router, or none for the node's own object; empty if not even that can be read.
    pub(super) router: Option<String>,
    /// Whether it has servers of the router alone, also where they cannot be read.
    pub(super) is_shard: bool,
    pub(super) confirm: Option<String>,
    /// Of which generation of the router it was made, also where it cannot be read; 0 if it does not say so.
    pub(super) generation: i64,
    /// What it says, or why this agent cannot take it.
    pub(super) content: Result<Content, (Reason, String)>,
    /// What this node reported last.
    pub(super) status: Option<Arc<NodeConfigStatus>>,
}

/// What a NodeConfig is about. Shared, so that nothing is copied where nothing changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// One router.
    Router(Arc<Main>),
    /// Some of the servers of one.
    Shard(Arc<Shard>),
    /// The node.
    Node(NodeSettings),
}

/// What the node does for a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Main {
    pub(super) config: Arc<NodeConfigSpec>,
    /// Where its servers are; in itself without one.
    pub(super) set: Option<ShardSet>,
}

/// Some of the servers of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) router: String,
    pub(super) shard: NodeConfigShard,
}

impl Told {
    /// Reads `object`, which was written for `node`.
    pub(super) fn read(object: &DynamicObject, node: &str) -> Self {
        let field = |name: &str| object.data.get(name).cloned().unwrap_or_default();
        let spec = field("spec");
        let text = |name: &str| spec.get(name)?.as_str().map(str::to_owned);
        let generation = spec
            .get("config")
            .and_then(|c| c.get("generation")?.as_i64());
        let status: Option<NodeConfigStatus> = serde_json::from_value(field("status")).ok();
        Self {
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            created: object.creation_timestamp(),
            router: text("router"),
            is_shard: spec.get("shard").is_some(),
            confirm: text("confirm"),
            generation: generation.unwrap_or_default(),
            content: content(&spec, node),
            status: status.map(Arc::new),
        }
    }
}

fn content(spec: &Value, node: &str) -> Result<Content, (Reason, String)> {
    // First: what needs a newer agent may say things that this one cannot even read.
    if let Some(lacking) = plan::unsupported(&requires(spec)) {
        return Err((Reason::UnsupportedFeature, lacking));
    }
    serde_path_to_error::deserialize(spec)
        .map_err(|error| format!("spec.{}: {}", error.path(), error.inner()))
        .and_then(|spec| readable(spec, node))
        .map_err(|why| (Reason::Invalid, why))
}

/// What an agent must be able to do, however the rest looks.
fn requires(spec: &Value) -> Vec<String> {
    let parts = ["config", "shard"].into_iter();
    let lists = parts.filter_map(|part| spec.get(part)?.get("requires")?.as_array());
    let features = lists.flatten().filter_map(Value::as_str);
    features.map(str::to_owned).collect()
}

fn readable(spec: NodeConfigObjectSpec, node: &str) -> Result<Content, String> {
    let NodeConfigObjectSpec {
        node_name,
        router,
        confirm: _,
        config,
        shard_set,
        shard,
        settings,
    } = spec;
    if node_name != node {
        return Err(format!("spec.nodeName: it is for {node_name}"));
    }
    let Some(router) = router else {
        return Ok(Content::Node(settings.unwrap_or_default()));
    };
    let config = match (config, shard) {
        (Some(config), None) => config,
        (None, Some(shard)) => return Ok(Content::Shard(Arc::new(Shard { router, shard }))),
        (Some(_), Some(_)) => return Err("spec.shard: there is spec.config as well".to_owned()),
        (None, None) => return Err("spec.config: it is missing".to_owned()),
    };
    if config.router != router || config.node_name != node_name {
        return Err("spec.config: it is for another router or node".to_owned());
    }
    Ok(Content::Router(Arc::new(Main {
        config: Arc::new(config),
        set: shard_set,
    })))
}
