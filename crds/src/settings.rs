//! Settings: what holds for the whole installation.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::node_config::SecretKey;
use crate::router::SecretRef;
use crate::rules;

/// The one name that Settings have.
pub const SETTINGS_NAME: &str = "default";

/// What holds for all routers of the installation. There is one object, and its name is `default`; without it
/// everything has its default.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "vipkeeper.io",
    version = "v1alpha1",
    kind = "Settings",
    plural = "settings",
    singular = "settings",
    category = "vip",
    derive = "PartialEq",
    doc = "What holds for all routers of the installation. There is one object, and its name is `default`; without it everything has its default.",
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SettingsSpec {
    /// How many announcements of new places of addresses (gratuitous ARP, unsolicited neighbour advertisements) an
    /// agent sends on one interface. Default: `framesPerSecond: 1000`, `burst: 1024`.
    #[serde(default)]
    pub announcements: Announcements,
    /// What the candidates of a router tell each other beside VRRP, from node to node by UDP port 9651: evidence
    /// against two holders where advertisements are lost. Default: as often as advertisements, and without a key.
    #[serde(default)]
    pub heartbeat: Heartbeat,
}

/// The limit of announcements on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Announcements {
    /// Frames a second in the long run, 10 to 100000. Default: 1000.
    #[serde(default = "default_frames_per_second")]
    #[schemars(range(min = 10, max = 100_000))]
    pub frames_per_second: i64,
    /// Frames that may go at once after a quiet time, 1 to 100000. Default: 1024, a node's worth of addresses.
    #[serde(default = "default_burst")]
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: i64,
}

fn default_frames_per_second() -> i64 {
    1_000
}

fn default_burst() -> i64 {
    1_024
}

impl Default for Announcements {
    fn default() -> Self {
        Self {
            frames_per_second: default_frames_per_second(),
            burst: default_burst(),
        }
    }
}

/// The heartbeat between candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::heartbeat()))]
pub struct Heartbeat {
    /// The time between two heartbeats, `100ms` to `10s`. Default: the shortest advertisement interval of the routers
    /// that two nodes share, and at least `100ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Where the installation's key is: at least 16 random bytes, equal on all nodes. Default: none; heartbeats are
    /// then not believed, only reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// Settings as an agent gets them: checked, and with every default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSettings {
    /// Announcements a second on each interface, 10..=100,000.
    #[schemars(range(min = 10, max = 100_000))]
    pub announcements_per_second: u32,
    /// Announcements at once on each interface, 1..=100,000.
    #[schemars(range(min = 1, max = 100_000))]
    pub announcement_burst: u32,
    /// The time between two heartbeats to a node, 100 ms to 10 s; `None` for the shortest advertisement interval of
    /// the routers shared with it, at least 100 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval: Option<Duration>,
    /// The key of heartbeats; without one they only report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_key: Option<SecretKey>,
}

impl Default for NodeSettings {
    /// What holds without Settings.
    fn default() -> Self {
        Self {
            announcements_per_second: 1_000,
            announcement_burst: 1_024,
            heartbeat_interval: None,
            heartbeat_key: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_say_nothing_have_the_documented_defaults() {
        let spec: SettingsSpec = serde_json::from_str("{}").unwrap();
        assert_eq!(spec, SettingsSpec::default());
        let defaults = NodeSettings::default();
        assert_eq!(
            spec.announcements.frames_per_second,
            i64::from(defaults.announcements_per_second)
        );
        assert_eq!(
            spec.announcements.burst,
            i64::from(defaults.announcement_burst)
        );
        assert_eq!(spec.heartbeat, Heartbeat::default());
    }
}
