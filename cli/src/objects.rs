//! What is read from the API server: all objects at one time, as nearly as lists allow.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;
use vipkeeper_crds::status::{CandidateStatus, ElectionState, NodeConfigStatus, NodeInventory};
use vipkeeper_crds::{NodeConfig, VirtualRouter, VirtualServer};

use crate::client::{Unanswered, answer};

/// The names of resources in questions and errors.
pub(crate) const ROUTERS: &str = "virtualrouters.vipkeeper.io";
pub(crate) const CONFIGS: &str = "nodeconfigs.vipkeeper.io";
pub(crate) const SERVERS: &str = "virtualservers.vipkeeper.io";
pub(crate) const NODES: &str = "nodes";
/// The field manager of everything that is written here.
const MANAGER: &str = "kubectl-vipkeeper";

/// The objects of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    /// By name.
    pub(crate) routers: Vec<VirtualRouter>,
    /// By name.
    pub(crate) nodes: Vec<Node>,
    /// Of routers and of nodes.
    pub(crate) configs: Vec<NodeConfig>,
}

impl Objects {
    /// Reads all of them.
    pub(crate) async fn read(client: &Client) -> Result<Self, Unanswered> {
        Ok(Self {
            routers: routers(client).await?,
            nodes: {
                let api: Api<Node> = Api::all(client.clone());
                answer("list", NODES, api.list(&ListParams::default()))
                    .await?
                    .items
            },
            configs: configs(client, None).await?,
        })
    }

    pub(crate) fn router(&self, name: &str) -> Option<&VirtualRouter> {
        self.routers.iter().find(|r| r.name_any() == name)
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.name_any() == name)
    }

    /// What `node` does for `router`.
    pub(crate) fn config(&self, router: &str, node: &str) -> Option<&NodeConfig> {
        let mut configs = self.configs.iter();
        configs.find(|c| {
            c.spec.router.as_deref() == Some(router)
                && c.spec.node_name == node
                && c.spec.shard.is_none()
        })
    }

    /// The NodeConfig of `node` itself.
    pub(crate) fn own_config(&self, node: &str) -> Option<&NodeConfig> {
        let mut configs = self.configs.iter();
        configs.find(|c| c.spec.router.is_none() && c.spec.node_name == node)
    }

    /// What the agent of `node` reported of it.
    pub(crate) fn inventory(&self, node: &str) -> Option<&NodeInventory> {
        self.own_config(node)?.status.as_ref()?.inventory.as_ref()
    }
}

/// All VirtualRouters.
pub(crate) async fn routers(client: &Client) -> Result<Vec<VirtualRouter>, Unanswered> {
    let api: Api<VirtualRouter> = Api::all(client.clone());
    let list = answer("list", ROUTERS, api.list(&ListParams::default())).await?;
    Ok(list.items)
}

/// All VirtualServers; none where the definitions are older than they.
pub(crate) async fn servers(client: &Client) -> Result<Vec<VirtualServer>, Unanswered> {
    let api: Api<VirtualServer> = Api::all(client.clone());
    match answer("list", SERVERS, api.list(&ListParams::default())).await {
        Ok(list) => Ok(list.items),
        Err(Unanswered::NotInstalled(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The NodeConfigs of `node`, or without one all.
pub(crate) async fn configs(
    client: &Client,
    node: Option<&str>,
) -> Result<Vec<NodeConfig>, Unanswered> {
    let api: Api<NodeConfig> = Api::all(client.clone());
    let params = match node {
        Some(node) => ListParams::default().fields(&format!("spec.nodeName={node}")),
        None => ListParams::default(),
    };
    Ok(answer("list", CONFIGS, api.list(&params)).await?.items)
}

/// Sets an annotation of an object, or removes it.
pub(crate) async fn annotate<K: Clone + DeserializeOwned + Debug>(
    api: &Api<K>,
    resource: &'static str,
    name: &str,
    (key, value): (&str, Option<&str>),
) -> Result<(), Unanswered> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    answer("patch", resource, api.patch_metadata(name, &params, &patch)).await?;
    Ok(())
}

/// The rows of the nodes that are Active.
pub(crate) fn actives(router: &VirtualRouter) -> impl Iterator<Item = &CandidateStatus> {
    let rows = router.status.iter().flat_map(|s| &s.nodes);
    rows.filter(|row| row.state == ElectionState::Active)
}

/// Whether the agent of a NodeConfig's node says that it is Active.
pub(crate) fn is_active(config: &NodeConfig) -> bool {
    config
        .status
        .as_ref()
        .is_some_and(NodeConfigStatus::is_active)
}
