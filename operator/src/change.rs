//! What comes in and what goes out: changes of objects, and writes.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vipkeeper_crds::status::VirtualRouterStatus;
use vipkeeper_crds::{NodeConfig, Settings, VirtualRouter};

use crate::news::News;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// VirtualRouters.
    Router,
    /// Nodes.
    Node,
    /// NodeConfigs.
    Config,
    /// Settings.
    Settings,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Router, Self::Node, Self::Config, Self::Settings];

    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Router => "VirtualRouter",
            Self::Node => "Node",
            Self::Config => "NodeConfig",
            Self::Settings => "Settings",
        }
    }
}

/// Something changed at the API server.
#[derive(Clone, Debug)]
pub enum Change {
    /// A VirtualRouter is so.
    Router(Box<VirtualRouter>),
    /// A Node is so.
    Node(Box<Node>),
    /// A NodeConfig is so.
    Config(Box<NodeConfig>),
    /// Settings are so.
    Settings(Box<Settings>),
    /// An object is not there any more.
    Gone(Kind, String),
    /// We removed a NodeConfig: the one of this name and uid, not one that was made since.
    Removed(String, String),
    /// All objects of a kind are about to be told, as they are: also those that are older than what was told before,
    /// because the cluster was restored from a backup.
    Listing(Kind),
    /// All objects of a kind have been told.
    Listed(Kind),
}

/// What time it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Now {
    /// In whole seconds, as the API server writes times.
    pub date: Time,
    /// By this process's own clock, from any moment on: only differences count.
    pub clock: Duration,
}

/// For whom something is written: what is written for one is decided together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A VirtualRouter.
    Router(String),
    /// A Node.
    Node(String),
}

/// What a write is about: two writes with one subject are never on their way together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// What is written, the most urgent first.
    pub kind: SubjectKind,
    /// The object's name.
    pub name: String,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A NodeConfig.
    Config,
    /// A VirtualRouter, its status or its annotations.
    Router,
}

/// Something to write. Each names the version of the object that it was decided upon: if there is another meanwhile,
/// it is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A NodeConfig shall be so; new if it has no version.
    Config(Box<NodeConfig>),
    /// A NodeConfig shall go, if it is still the one with this uid.
    Remove {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// A router's status shall be so.
    Status {
        /// The router.
        router: String,
        /// The version of the router.
        version: Option<String>,
        /// The whole status.
        status: Box<VirtualRouterStatus>,
        /// What is worth telling once it is written.
        news: Vec<News>,
    },
    /// A router shall remember what it was given.
    Annotations {
        /// The router.
        router: String,
        /// The version of the router.
        version: Option<String>,
        /// These annotations.
        annotations: BTreeMap<String, String>,
    },
}

impl Write {
    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let (kind, name) = match self {
            Self::Config(config) => (
                SubjectKind::Config,
                config.metadata.name.as_deref().unwrap_or_default(),
            ),
            Self::Remove { name, .. } => (SubjectKind::Config, name.as_str()),
            Self::Status { router, .. } | Self::Annotations { router, .. } => {
                (SubjectKind::Router, router.as_str())
            }
        };
        let name = name.to_owned();
        Subject { kind, name }
    }

    /// What is done, in one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Remove { .. } => "remove",
            Self::Status { .. } => "status",
            Self::Annotations { .. } => "annotations",
        }
    }
}
