//! A NodeConfig as the API server tells it. One that cannot be read is told as well: it must not hide the others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use vipkeeper_crds::status::NodeConfigStatus;
use vipkeeper_crds::{NodeConfigObjectSpec, NodeConfigSpec, NodeSettings};

/// An object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) created: Option<Time>,
    /// The router, or none for the node's own object; empty if not even that can be read.
    pub(super) router: Option<String>,
    pub(super) confirm: Option<String>,
    /// What it says, or why that cannot be read.
    pub(super) content: Result<Content, String>,
    /// What this node reported last.
    pub(super) status: Option<NodeConfigStatus>,
}

/// What a NodeConfig is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// One router.
    Router(Box<NodeConfigSpec>),
    /// The node.
    Node(NodeSettings),
}

impl Told {
    /// Reads `object`, which was written for `node`.
    pub(super) fn read(object: &DynamicObject, node: &str) -> Self {
        let field = |name: &str| object.data.get(name).cloned().unwrap_or_default();
        let spec = field("spec");
        let text = |name: &str| spec.get(name)?.as_str().map(str::to_owned);
        Self {
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            created: object.creation_timestamp(),
            router: text("router"),
            confirm: text("confirm"),
            content: serde_path_to_error::deserialize(&spec)
                .map_err(|error| format!("spec.{}: {}", error.path(), error.inner()))
                .and_then(|spec| content(spec, node)),
            status: serde_json::from_value(field("status")).ok(),
        }
    }
}

fn content(spec: NodeConfigObjectSpec, node: &str) -> Result<Content, String> {
    let NodeConfigObjectSpec {
        node_name,
        router,
        confirm: _,
        config,
        shard_set: _,
        shard: _,
        settings,
    } = spec;
    if node_name != node {
        return Err(format!("spec.nodeName: it is for {node_name}"));
    }
    let Some(router) = router else {
        return Ok(Content::Node(settings.unwrap_or_default()));
    };
    let config = config.ok_or("spec.config: it is missing")?;
    if config.router != router || config.node_name != node_name {
        return Err("spec.config: it is for another router or node".to_owned());
    }
    Ok(Content::Router(Box::new(config)))
}
