//! The API of vipkeeper: the types of its objects with their defaults and bounds.
//!
//! Owns what an object looks like. Never decides whether an object makes sense: those rules are the compiler's.
//! An unknown field is no error here, so that an older reader survives a newer object; who reads manifests
//! reports it with its place.

pub mod conditions;
mod definitions;
mod duration;
pub mod features;
mod node_config;
mod router;
mod rules;
mod selector;
pub mod server;
mod settings;
pub mod status;

pub use definitions::definitions;
pub use duration::{AddressLifetime, Duration, InvalidDuration};
pub use node_config::{
    AddressFamily, Authentication as NodeAuthentication, InterfaceChoice, NodeAddress,
    NodeCandidate, NodeConfig, NodeConfigObjectSpec, NodeConfigShard, NodeConfigSpec, NodeFamily,
    NodePeer, Preemption as NodePreemption, ProtocolVersion, SecretKey, ShardSet,
    Transport as NodeTransport, server as node_server,
};
pub use router::{
    Attach, AttachFrom, AttachNamespaces, Authentication, AuthenticationType, Checksum, Election,
    Families, Handover, Interface, InterfaceType, Nodes, Password, Peer, Preemption,
    PreemptionMode, Priority, RouterAddress, SecretRef, Transport, TransportMode, VirtualRouter,
    VirtualRouterSpec,
};
pub use selector::{LabelOperator, LabelRequirement, LabelSelector, PreferredNodes};
pub use server::{VirtualServer, VirtualServerSpec};
pub use settings::{Announcements, Heartbeat, NodeSettings, SETTINGS_NAME, Settings, SettingsSpec};

/// The API group of every object of ours.
pub const GROUP: &str = "vipkeeper.io";
/// Where a Secret lives if its reference names no namespace.
pub const KEY_NAMESPACE: &str = "vipkeeper-keys";
