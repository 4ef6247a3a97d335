//! What comes in and what goes out: changes of objects, and writes.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt as _};
use vipkeeper_compiler::ConfigMapName;
use vipkeeper_crds::node_server::ServerName;
use vipkeeper_crds::status::{VirtualRouterStatus, VirtualServerStatus};
use vipkeeper_crds::{NodeConfig, Settings, VirtualRouter, VirtualServer};

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
    /// VirtualServers.
    Server,
    /// Namespaces.
    Namespace,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Router,
        Self::Node,
        Self::Config,
        Self::Settings,
        Self::Server,
        Self::Namespace,
    ];

    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Router => "VirtualRouter",
            Self::Node => "Node",
            Self::Config => "NodeConfig",
            Self::Settings => "Settings",
            Self::Server => "VirtualServer",
            Self::Namespace => "Namespace",
        }
    }
}

/// The name of an object among those of its kind: `name`, or `namespace/name`.
#[must_use]
pub fn full_name<K: Resource>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

/// The VirtualServer that has this full name.
#[must_use]
pub fn server_name(full: &str) -> ServerName {
    let (namespace, name) = full.split_once('/').unwrap_or(("default", full));
    ServerName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
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
    /// A VirtualServer is so.
    Server(Box<VirtualServer>),
    /// A namespace is so.
    Namespace(Box<Namespace>),
    /// A ConfigMap says this, by key; `None` if there is none.
    ConfigMap(ConfigMapName, Option<BTreeMap<String, String>>),
    /// An object is not there any more: the one of this [full name](full_name).
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
    /// A VirtualServer.
    Server(ServerName),
}

/// What a write is about: two writes with one subject are never on their way together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// What is written, the most urgent first.
    pub kind: SubjectKind,
    /// The object's [full name](full_name).
    pub name: String,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A NodeConfig.
    Config,
    /// A VirtualRouter, its status or its annotations.
    Router,
    /// The status of a VirtualServer.
    Server,
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
    /// The status of a VirtualServer shall be so.
    ServerStatus {
        /// The VirtualServer.
        server: ServerName,
        /// Its version.
        version: Option<String>,
        /// The whole status.
        status: Box<VirtualServerStatus>,
        /// What is worth telling once it is written.
        news: Vec<News>,
    },
}

impl Write {
    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let (kind, name) = match self {
            Self::Config(config) => (SubjectKind::Config, config.name_any()),
            Self::Remove { name, .. } => (SubjectKind::Config, name.clone()),
            Self::Status { router, .. } | Self::Annotations { router, .. } => {
                (SubjectKind::Router, router.clone())
            }
            Self::ServerStatus { server, .. } => (SubjectKind::Server, server.to_string()),
        };
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
            Self::ServerStatus { .. } => "server",
        }
    }
}
