//! How the servers on a router's addresses travel where they are too many for its own NodeConfig: in shards, NodeConfigs
//! of the same node and router that carry servers alone.
//!
//! Which shard a server is in follows from the hash of its namespace and name: a shard is the servers whose hash begins
//! with its bits, and the shards of a set together have every hash. An edit of a server changes its shard alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::NodeServer;

/// The shards in which the servers of a NodeConfig are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardSet {
    /// The set's name, 16 hexadecimal digits: another one for other shards. Every shard says to which it belongs.
    #[schemars(length(max = 16), regex(pattern = "^[0-9a-f]{16}$"))]
    pub name: String,
    /// The first bits of the hashes, a word of 0 and 1 for each shard, in order.
    #[schemars(
        length(min = 2, max = 4096),
        inner(length(max = 12), regex(pattern = "^[01]{1,12}$")),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub shards: Vec<String>,
}

/// Some of the servers on a router's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfigShard {
    /// The set that it belongs to.
    #[schemars(length(max = 16), regex(pattern = "^[0-9a-f]{16}$"))]
    pub set: String,
    /// With which bits the hashes of its servers begin.
    #[schemars(length(max = 12), regex(pattern = "^[01]{1,12}$"))]
    pub bits: String,
    /// What an agent must be able to do to run this, by the names in [`crate::features`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub requires: Vec<String>,
    /// The servers, by namespace and name.
    #[schemars(length(max = 4096), extend("x-kubernetes-list-type" = "atomic"))]
    pub servers: Vec<NodeServer>,
}
