//! NodeConfigSpec: one router on one node with everything resolved. The only thing an agent consumes.
//!
//! Made by the compiler alone, which has checked every rule: what cannot run cannot be written in these types,
//! or is not written by the compiler. Holds references to Secrets, never what is in them.
#![expect(
    clippy::duplicated_attributes,
    reason = "several columns have one type"
)]

mod schema;
pub mod server;
mod shard;

use std::fmt;
use std::net::IpAddr;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::{AddressLifetime, Duration};
use crate::router::{Checksum, Election, Families};
use crate::rules;
use crate::settings::NodeSettings;
use crate::status::NodeConfigStatus;
use server::NodeServer;

pub use shard::{NodeConfigShard, ShardSet};

/// What one node does for one VirtualRouter, or, without a router, what holds for the node as a whole. Made by the
/// operator, read by the node's agent, which writes the status; nobody edits it.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "vipkeeper.io",
    version = "v1alpha1",
    kind = "NodeConfig",
    plural = "nodeconfigs",
    shortname = "vkc",
    derive = "PartialEq",
    doc = "What one node does for one VirtualRouter, or, without a router, what holds for the node as a whole. Made by the operator, read by the node's agent, which writes the status; nobody edits it.",
    status = "NodeConfigStatus",
    selectable = ".spec.nodeName",
    selectable = ".spec.router",
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.nodeName"),
    printcolumn(name = "Router", type_ = "string", json_path = ".spec.router"),
    printcolumn(
        name = "Accepted",
        type_ = "boolean",
        json_path = ".status.acceptance.accepted"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::node_config()))]
pub struct NodeConfigObjectSpec {
    /// The node, here for field selectors.
    #[schemars(length(min = 1, max = 253))]
    pub node_name: String,
    /// The VirtualRouter, here for field selectors. Without it this is the node's own object: its settings, and in
    /// its status its inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub router: Option<String>,
    /// A word that a node which is Active writes into its status, at most 64 characters: then its claim is not an old
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub confirm: Option<String>,
    /// What the node does for the router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<NodeConfigSpec>,
    /// Where the servers of `config` are if they are too many for it, which then has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_set: Option<ShardSet>,
    /// Instead of `config`: some of the servers on the addresses of the router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<NodeConfigShard>,
    /// What holds for all routers of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<NodeSettings>,
}

/// What one node does for one virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfigSpec {
    /// The node.
    #[schemars(length(min = 1, max = 253))]
    pub node_name: String,
    /// The VirtualRouter's name; with a family the identity of a router instance.
    #[schemars(length(min = 1, max = 253))]
    pub router: String,
    /// The VirtualRouter's `metadata.generation` of which this was made; 0 in manifests.
    #[serde(default)]
    pub generation: i64,
    /// What an agent must be able to do to run this, by the names in [`crate::features`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    pub requires: Vec<String>,
    /// How the elections of two families belong together; of no account with one.
    pub movement: Families,
    /// The group of VirtualRouters that move together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub sync_group: Option<String>,
    /// 1..=255, of every family here.
    #[schemars(range(min = 1, max = 255))]
    pub virtual_router_id: u8,
    /// The version of VRRP.
    pub version: ProtocolVersion,
    /// Valid for the version: 10 ms steps up to 40,950 ms, or whole seconds up to 255.
    pub advertisement_interval: Duration,
    /// 1..=255; 255 if this node is the address owner, whose own configuration has every address.
    #[schemars(range(min = 1, max = 255))]
    pub priority: u8,
    /// Another node is to have the addresses: this one takes part with priority 1 whatever `priority` says, and gives
    /// them away also to those that do not preempt. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gives_way: bool,
    /// The other nodes that take part, by name.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub others: Vec<NodeCandidate>,
    /// How this node finds its interface, which serves all families.
    #[schemars(schema_with = "schema::interface")]
    pub interface: InterfaceChoice,
    /// An election each, IPv4 first; one or two, of different families.
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "atomic"))]
    pub families: Vec<NodeFamily>,
    /// A password only with version 2.
    #[schemars(schema_with = "schema::authentication")]
    pub authentication: Authentication,
    /// Who takes over from a lower priority, and when.
    #[schemars(schema_with = "schema::preemption")]
    pub preemption: Preemption,
    /// As in the VirtualRouter; `downAdvertisements` is 1..=10.
    pub election: Election,
    /// Other than `Auto` only with version 3 over IPv4.
    pub checksum: Checksum,
    /// How long the kernel keeps an address that nobody renews.
    pub address_lifetime: AddressLifetime,
    /// How long the addresses stay, parked, after a planned move: 0 s to 1 min.
    pub linger: Duration,
    /// What is served on the addresses, by namespace and name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), extend("x-kubernetes-list-type" = "atomic"))]
    pub servers: Vec<NodeServer>,
}

/// One election: the part of a router that belongs to a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFamily {
    /// The family of every address here.
    pub family: AddressFamily,
    /// 1 to 255 addresses in the order in which they are advertised.
    #[schemars(length(min = 1, max = 255), extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<NodeAddress>,
    /// How advertisements travel.
    #[schemars(schema_with = "schema::transport")]
    pub transport: Transport,
    /// The source of advertisements; `None` for the interface's primary IPv4 or link-local IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 45))]
    pub source: Option<IpAddr>,
}

/// Another node that takes part in the router: where its heartbeat comes from and goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCandidate {
    /// The node's name.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
    /// The internal addresses of its Node, of both families; none if no Node says them.
    #[schemars(length(max = 16), extend("items" = {"type": "string", "maxLength": 45}, "x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<IpAddr>,
}

/// An address family.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum AddressFamily {
    /// IPv4.
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
}

impl AddressFamily {
    /// The family of `address`.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The prefix length of a single address: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A version of VRRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProtocolVersion {
    /// RFC 3768.
    V2,
    /// RFC 9568.
    V3,
}

/// A virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeAddress {
    /// The address.
    #[schemars(extend("maxLength" = 45))]
    pub address: IpAddr,
    /// 1..=32 or 1..=128.
    #[schemars(range(min = 1, max = 128))]
    pub prefix_length: u8,
    /// How this node finds the address's interface; `None` for the router's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::address_interface")]
    pub interface: Option<InterfaceChoice>,
}

/// How a node finds the interface of a router, or of one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum InterfaceChoice {
    /// By its name.
    Name {
        /// 1 to 15 bytes.
        name: String,
    },
    /// By an address of its own in a subnet.
    Subnet {
        /// The subnet's first address.
        network: IpAddr,
        /// Its prefix length.
        prefix_length: u8,
    },
    /// By the default route.
    DefaultRoute {
        /// Which one: of the family of the router's first address, or of the address itself.
        family: AddressFamily,
    },
    /// By a subnet of its own that holds an address.
    Around {
        /// The router's first address that is not link-local.
        address: IpAddr,
    },
}

/// How advertisements travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all_fields = "camelCase")]
pub enum Transport {
    /// To a group of the link.
    Multicast {
        /// `None` for 224.0.0.18 or ff02::12.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<IpAddr>,
        /// Peers that are also spoken to by unicast.
        extra_peers: Vec<NodePeer>,
    },
    /// To each peer.
    Unicast {
        /// Empty while nobody else takes part.
        peers: Vec<NodePeer>,
    },
}

/// A unicast peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePeer {
    /// Its address.
    #[schemars(extend("maxLength" = 45))]
    pub address: IpAddr,
    /// The lowest TTL or hop limit accepted from it; 0 for any.
    #[schemars(range(min = 0, max = 255))]
    pub min_ttl: u8,
}

/// How advertisements are authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Authentication {
    /// They are not.
    None,
    /// By the simple text password of version 2.
    Password {
        /// Where it is.
        secret: SecretKey,
    },
}

/// A key of a Secret, in full.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret's namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// The Secret's name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(max = 253))]
    pub key: String,
}

impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}[{}]", self.namespace, self.name, self.key)
    }
}

/// Who takes over from a lower priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all_fields = "camelCase")]
pub enum Preemption {
    /// At once.
    Always,
    /// Not at all.
    Never,
    /// After a delay.
    Delayed {
        /// Not zero.
        delay: Duration,
    },
}
