//! What one node does for one VirtualServer: everything resolved but the endpoints of a Service.
//!
//! Made by the compiler alone. Every virtual address, port and rule was checked; a list of a Service's endpoints is
//! the agent's to follow.

mod probe;
mod schema;

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AddressFamily;
use crate::duration::Duration;
use crate::server::{
    InitialState, OnFailure, PersistenceEngine, Protocol, SchedulerName, TunnelChecksum,
};

pub use probe::{NodeProbe, NodeTls, ProbeKind, StatusRange};

/// What one node does for one VirtualServer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeServer {
    /// Its namespace and name.
    #[serde(flatten)]
    pub name: ServerName,
    /// Its `metadata.generation` of which this was made; 0 in manifests.
    #[serde(default)]
    pub generation: i64,
    /// What is served, a service of the kernel each; at least one, none twice on the node.
    #[schemars(schema_with = "schema::listeners")]
    pub listeners: Vec<Listener>,
    /// Which real server gets the next connection.
    pub scheduler: NodeScheduler,
    /// Connections of one client go to one real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<NodePersistence>,
    /// Every datagram by itself. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_packet: bool,
    /// How packets reach real servers that say nothing else.
    #[schemars(schema_with = "schema::forwarding")]
    pub forwarding: NodeForwarding,
    /// Who the real servers are.
    #[schemars(schema_with = "schema::members")]
    pub members: Members,
    /// Who serves without a quorum; `None` if nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorry: Option<NodeSorryServer>,
    /// How many real servers are enough.
    pub quorum: NodeQuorum,
    /// How real servers are judged; without any, all are healthy.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub probes: Vec<NodeProbe>,
    /// What a real server is that was never judged.
    pub initial_state: InitialState,
    /// What becomes of one that fails.
    pub on_failure: OnFailure,
    /// How long one that leaves keeps its connections: 0 s to 24 h.
    pub drain_timeout: Duration,
}

/// A VirtualServer's full name.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ServerName {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What one service of the kernel takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Listener {
    /// An address and a port.
    Address {
        /// One of the router's addresses.
        address: IpAddr,
        /// The port; 0 for all that have no service of their own, with persistence alone.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// The port's name: which of a Service's ports it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The port of real servers that have none of their own; equal to `port` unless it says otherwise.
        target_port: u16,
    },
    /// A firewall mark.
    Mark {
        /// The mark.
        mark: NonZeroU32,
        /// The family of the packets.
        family: AddressFamily,
    },
}

impl Listener {
    /// The family of what it takes.
    #[must_use]
    pub const fn family(&self) -> AddressFamily {
        match self {
            Self::Address { address, .. } => AddressFamily::of(address),
            Self::Mark { family, .. } => *family,
        }
    }
}

/// A scheduler of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeScheduler {
    /// Its name.
    pub name: SchedulerName,
    /// With `sh` and `mh`: where the chosen real server does not take connections, another is. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// With `sh` and `mh`: the client's port counts, too. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_port: bool,
}

/// Connections of one client go to one real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePersistence {
    /// How long after its last connection a client is remembered, in whole seconds.
    #[schemars(range(min = 1, max = 2_678_400))]
    pub seconds: u32,
    /// How many leading bits of an IPv4 address make a client.
    #[schemars(range(min = 1, max = 32))]
    pub ipv4_prefix_length: u8,
    /// How many leading bits of an IPv6 address make a client.
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix_length: u8,
    /// What makes a client instead of its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<PersistenceEngine>,
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "method", rename_all_fields = "camelCase")]
pub enum NodeForwarding {
    /// Destination address and port are changed.
    #[serde(rename = "NAT")]
    Nat,
    /// The source as well.
    #[serde(rename = "FullNAT")]
    FullNat,
    /// Only the MAC address is changed.
    #[serde(rename = "DR")]
    DirectRouting,
    /// Within IP packets.
    #[serde(rename = "IPIP")]
    Ipip,
    /// Within GRE packets.
    #[serde(rename = "GRE")]
    Gre {
        /// Never `Remote`.
        checksum: TunnelChecksum,
    },
    /// Within UDP datagrams.
    #[serde(rename = "GUE")]
    Gue {
        /// The UDP port.
        port: NonZeroU16,
        /// Of the datagrams.
        checksum: TunnelChecksum,
    },
}

impl NodeForwarding {
    /// Whether a real server may have another port than the listener.
    #[must_use]
    pub const fn changes_port(self) -> bool {
        match self {
            Self::Nat | Self::FullNat => true,
            Self::DirectRouting | Self::Ipip | Self::Gre { .. } | Self::Gue { .. } => false,
        }
    }

    /// Whether a real server may be of another family than the listener.
    #[must_use]
    pub const fn crosses_families(self) -> bool {
        match self {
            Self::Nat | Self::FullNat | Self::DirectRouting => false,
            Self::Ipip | Self::Gre { .. } | Self::Gue { .. } => true,
        }
    }
}

/// Who the real servers are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Members {
    /// Those listed.
    Static {
        /// At most 1024; none with address and port of another.
        real_servers: Vec<NodeRealServer>,
    },
    /// The endpoints of a Service in the VirtualServer's namespace.
    Service {
        /// The Service's name.
        service: String,
        /// The name of its port for all listeners; `None` for that of each listener, or the only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<String>,
        /// Whether an endpoint may be a node, or of loopback or link-local scope. Default: false.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        trusted: bool,
    },
}

/// A real server. It serves the listeners of its family; with a tunnel, those of the other family that no real server
/// has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeRealServer {
    /// Its address.
    #[schemars(extend("maxLength" = 45))]
    pub address: IpAddr,
    /// Its port; 0 for the target port of each listener.
    #[serde(default)]
    pub port: u16,
    /// 0..=65,535.
    #[schemars(range(min = 0, max = 65_535))]
    pub weight: u32,
    /// How many connections are too many; 0 for never.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65_535))]
    pub upper_threshold: u32,
    /// How few are few enough again; at most the upper one.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65_535))]
    pub lower_threshold: u32,
    /// How packets reach it; `None` for the server's way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::forwarding")]
    pub forwarding: Option<NodeForwarding>,
}

/// Who serves without a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSorryServer {
    /// Its address.
    #[schemars(extend("maxLength" = 45))]
    pub address: IpAddr,
    /// Its port; 0 for the target port of each listener.
    #[serde(default)]
    pub port: u16,
    /// Healthy real servers go on beside it. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_healthy: bool,
    /// How packets reach it; `None` for the server's way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::forwarding")]
    pub forwarding: Option<NodeForwarding>,
}

/// How many real servers are enough: lost below `weight - hysteresis` or with nobody healthy, regained at
/// `weight + hysteresis`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeQuorum {
    /// Of the weights of the healthy, at least 1.
    #[schemars(range(min = 1, max = 67_107_840))]
    pub weight: u32,
    /// Less than `weight`.
    #[schemars(range(min = 0, max = 67_107_839))]
    pub hysteresis: u32,
    /// Whether the sorry server takes over without it; of no account without one.
    pub sorry: bool,
}
