//! What is written about a VirtualRouter, and by an agent about a NodeConfig.
//!
//! The operator alone writes the first, each agent the second of its own node.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::{Condition, Reason};
use crate::node_config::AddressFamily;
use crate::node_config::server::ServerName;

/// What is known about a VirtualRouter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualRouterStatus {
    /// The `metadata.generation` that this is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// Who holds the addresses of each family.
    #[serde(default)]
    #[schemars(
        length(max = 2),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["family"])
    )]
    pub families: Vec<FamilyStatus>,
    /// How each candidate stands, by node and family, at most 128.
    #[serde(default)]
    #[schemars(
        length(max = 128),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name", "family"])
    )]
    pub nodes: Vec<CandidateStatus>,
    /// Who is Active: `node-a`, or `node-a (v4), node-b (v6)`.
    #[serde(default)]
    #[schemars(length(max = 600))]
    pub active_summary: String,
    /// The status of the condition `Ready`: `True`, `False` or `Unknown`.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub ready_summary: String,
    /// The VRID of all families, 1 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub virtual_router_id: Option<i64>,
    /// The first address and how many more: `192.0.2.1 +3`.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub address_summary: String,
    /// How many candidates report of how many: `3/3`.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub node_summary: String,
    /// The conditions, by type.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// Who holds the addresses of a family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FamilyStatus {
    /// The family.
    pub family: AddressFamily,
    /// The VRID on the link, 1 to 255.
    #[schemars(range(min = 1, max = 255))]
    pub virtual_router_id: i64,
    /// The node that is Active, if exactly one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub active_node: Option<String>,
    /// Since when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// How a candidate stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// The node.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The family of the election.
    pub family: AddressFamily,
    /// Its state, as far as it is confirmed.
    pub state: ElectionState,
    /// The priority it was given, 1 to 255.
    #[schemars(range(min = 0, max = 255))]
    pub priority: i64,
    /// The priority it takes part with, 0 to 255.
    #[schemars(range(min = 0, max = 255))]
    pub effective_priority: i64,
    /// Since when it is in its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Why it changed to its state, in one word.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The interface it takes part on; empty without one.
    #[serde(default)]
    #[schemars(length(max = 15))]
    pub interface: String,
    /// How often it changed its state since its agent started.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub transitions: i64,
}

/// The state of an election on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ElectionState {
    /// Takes no part.
    Initialize,
    /// Listens to the Active.
    Backup,
    /// Holds the addresses.
    Active,
    /// Claims to be Active and did not confirm it.
    Unknown,
}

/// What an agent reports of a NodeConfig.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfigStatus {
    /// Whether the agent took the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Acceptance>,
    /// The `confirm` of the spec, given back by a node that is Active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub confirm: Option<String>,
    /// The elections, one for each family.
    #[serde(default)]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "atomic"))]
    pub families: Vec<InstanceStatus>,
    /// The servers on the router's addresses, by namespace and name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), extend("x-kubernetes-list-type" = "atomic"))]
    pub servers: Vec<ServerStatus>,
    /// What the node has; in the object without a router alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<NodeInventory>,
}

/// A VirtualServer on a node, as its agent reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Which.
    #[serde(flatten)]
    pub server: ServerName,
    /// The `generation` that is served.
    #[serde(default)]
    pub generation: i64,
    /// How it stands.
    #[serde(flatten)]
    pub health: ServerHealth,
    /// What is abnormal, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub conditions: Vec<Condition>,
}

/// How a VirtualServer stands on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerHealth {
    /// Whether the kernel has what it should have.
    #[serde(default)]
    pub programmed: bool,
    /// Whether enough real servers are healthy.
    #[serde(default)]
    pub quorum: bool,
    /// Whether the sorry server serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sorry: bool,
    /// How many real servers are healthy.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub healthy: i64,
    /// How many there are; those that are leaving do not count.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub total: i64,
    /// The first 16 that are not healthy, by address and port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub unhealthy: Vec<UnhealthyServer>,
}

/// A real server that is not healthy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnhealthyServer {
    /// Its address.
    #[schemars(length(max = 45))]
    pub address: String,
    /// Its port; 0 for that of each listener.
    #[schemars(range(min = 0, max = 65_535))]
    pub port: i64,
    /// Which probe failed and how; never what was answered.
    #[schemars(length(max = 256))]
    pub reason: String,
}

/// What is known about a VirtualServer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServerStatus {
    /// The `metadata.generation` that this is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// Healthy real servers of all, as the node that holds the addresses sees it: `4/5`.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub ready_summary: String,
    /// The status of the condition `Accepted`.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub accepted_summary: String,
    /// How each node of the router sees it, at most 32.
    #[serde(default)]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub nodes: Vec<ServerNodeStatus>,
    /// The conditions, by type.
    #[serde(default)]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// How a node sees a VirtualServer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerNodeStatus {
    /// The node.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// How it stands there.
    #[serde(flatten)]
    pub health: ServerHealth,
}

impl NodeConfigStatus {
    /// Whether the node says that it is Active for a family.
    #[must_use]
    pub fn is_active(&self) -> bool {
        let mut families = self.families.iter();
        families.any(|instance| instance.state == ElectionState::Active)
    }
}

/// Whether an agent took a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acceptance {
    /// The `generation` of the VirtualRouter that the agent runs, or refused.
    #[serde(default)]
    pub generation: i64,
    /// Whether it runs; otherwise the configuration before it does.
    pub accepted: bool,
    /// Why not, in one word; `Valid` if it runs.
    pub reason: Reason,
    /// Why not, in a sentence.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// An election on a node, as its agent reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The family.
    pub family: AddressFamily,
    /// The state.
    pub state: ElectionState,
    /// The priority it takes part with, 0 to 255.
    #[schemars(range(min = 0, max = 255))]
    pub effective_priority: i64,
    /// Since when it is in its state, by the node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Why it changed to its state, in one word.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The interface; empty without one.
    #[serde(default)]
    #[schemars(length(max = 15))]
    pub interface: String,
    /// How often it changed its state since the agent started.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub transitions: i64,
    /// Whether every address is on the interface.
    #[serde(default)]
    pub programmed: bool,
    /// What is abnormal, by type.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub conditions: Vec<Condition>,
}

/// What a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeInventory {
    /// Its interfaces that can carry a router, by name, at most 256.
    #[serde(default)]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub interfaces: Vec<InterfaceInventory>,
    /// What its kernel can do.
    #[serde(default)]
    pub kernel: KernelFacts,
    /// The agent that reports.
    #[serde(default)]
    pub agent: AgentFacts,
    /// What the agent looked at on the node, by name, at most 32.
    #[serde(default)]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub checks: Vec<NodeCheck>,
    /// Virtual routers that others advertise on the node's links, at most 64.
    #[serde(default)]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub foreign: Vec<ForeignRouter>,
}

/// An agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentFacts {
    /// Its version.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub version: String,
    /// What it can do of what a configuration may require.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub features: Vec<String>,
}

/// Something about a node that matters for its routers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCheck {
    /// What was looked at, in one word, such as `Capabilities`.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// How it is.
    pub status: CheckStatus,
    /// How it is in a sentence, with the command that mends it.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub message: String,
}

/// How something about a node is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum CheckStatus {
    /// As it should be.
    Pass,
    /// It works, but less well.
    Warning,
    /// Something does not work.
    Failure,
}

/// A virtual router of somebody else, as a node hears it.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ForeignRouter {
    /// Where it was heard.
    #[schemars(length(min = 1, max = 15))]
    pub interface: String,
    /// Its family.
    pub family: AddressFamily,
    /// Its VRID, 1 to 255.
    #[schemars(range(min = 1, max = 255))]
    pub virtual_router_id: i64,
    /// Who advertises it.
    #[schemars(length(max = 45))]
    pub source: String,
    /// Equal for equal lists of addresses: 16 hexadecimal digits.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub addresses_hash: String,
}

/// An interface of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceInventory {
    /// Its name.
    #[schemars(length(min = 1, max = 15))]
    pub name: String,
    /// Its own addresses with their prefix lengths, such as `192.0.2.1/24`, at most 64.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        inner(length(max = 49)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub prefixes: Vec<String>,
    /// Its link-local IPv6 address, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 45))]
    pub link_local: Option<String>,
    /// Its MTU in bytes.
    #[schemars(range(min = 0))]
    pub mtu: i64,
    /// The families whose default route leaves here.
    #[serde(default)]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "atomic"))]
    pub default_routes: Vec<AddressFamily>,
}

/// What the kernel of a node can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KernelFacts {
    /// Its release, such as `6.12.0`.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub release: String,
    /// Whether it keeps who added an address (IFA_PROTO, Linux 5.18): an agent finds its own again without its ledger.
    #[serde(default)]
    pub tags_addresses: bool,
}
