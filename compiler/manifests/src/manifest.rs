//! One file to the objects it describes.
//!
//! Owns which kinds exist and how their fields are read: exactly, an unknown field of ours is an error. Never says
//! whether what an object wants makes sense.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vipkeeper_compiler::ObjectName;
use vipkeeper_crds::{GROUP, KEY_NAMESPACE, Settings, VirtualRouter, VirtualServer};

use crate::diagnosis::{DOCUMENT, Diagnosis, Severity};
use crate::places::Places;
use crate::schema;
use crate::yaml::{self, Document, Position};

/// The version of our group that is read.
const API_VERSION: &str = "vipkeeper.io/v1alpha1";
/// Kinds of our group that are read.
const OUR_KINDS: [&str; 3] = ["VirtualRouter", "VirtualServer", "Settings"];
/// Kinds of our group that only a cluster uses.
const CLUSTER_KINDS: [&str; 3] = ["AddressPool", "AddressClaim", "NodeConfig"];
/// The namespace of an object that says none.
const DEFAULT_NAMESPACE: &str = "default";
/// How deep a List may hold Lists.
const MAX_LIST_DEPTH: usize = 4;

/// A file with its text, or why it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in diagnoses.
    pub name: String,
    /// Its text.
    pub text: Result<String, String>,
}

/// The largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// Whether a file of a directory is one of manifests, by its name: `*.yaml`, `*.yml` and `*.json`. Hidden files, which
/// editors and mounted ConfigMaps leave, are not.
#[must_use]
pub fn is_manifest(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|e| e.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The objects it describes, in order.
    pub(crate) entries: Vec<Entry>,
    /// What is wrong with it.
    pub(crate) findings: Vec<Diagnosis>,
    /// Something in it cannot be told: an object that seems to be missing may only be misspelled.
    pub(crate) unclear: bool,
}

/// An object that a file names.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: ObjectId,
    /// How many the file names before it.
    pub(crate) rank: usize,
    /// The object, if it can be read.
    pub(crate) body: Option<Body>,
    pub(crate) places: Places,
}

/// The identity of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectId {
    pub(crate) kind: Kind,
    /// Empty for kinds without a namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ObjectId {
    /// Whether this is the object that the compiler speaks of.
    pub(crate) fn is(&self, object: &ObjectName) -> bool {
        let Self {
            kind,
            namespace,
            name,
        } = self;
        kind.as_str() == object.kind && *namespace == object.namespace && *name == object.name
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        match self.namespace.as_str() {
            "" => write!(f, "{kind} {}", self.name),
            namespace => write!(f, "{kind} {namespace}/{}", self.name),
        }
    }
}

/// The kinds that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Router,
    Server,
    Settings,
    Node,
    Namespace,
    Secret,
    ConfigMap,
    Slice,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Router => "VirtualRouter",
            Self::Server => "VirtualServer",
            Self::Settings => "Settings",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Slice => "EndpointSlice",
        }
    }
}

/// An object.
#[derive(Clone, PartialEq)]
pub(crate) enum Body {
    Router(Arc<VirtualRouter>),
    Server(Arc<VirtualServer>),
    Settings(Box<Settings>),
    Node(Box<Node>),
    Namespace(Box<Namespace>),
    /// The values by key.
    Secret(BTreeMap<String, Arc<[u8]>>),
    /// The texts by key.
    ConfigMap(BTreeMap<String, String>),
    Slice(Box<EndpointSlice>),
}

impl Body {
    /// The router, if it is one.
    pub(crate) fn router(&self) -> Option<&Arc<VirtualRouter>> {
        match self {
            Self::Router(router) => Some(router),
            Self::Server(_)
            | Self::Settings(_)
            | Self::Node(_)
            | Self::Namespace(_)
            | Self::Secret(_)
            | Self::ConfigMap(_)
            | Self::Slice(_) => None,
        }
    }

    /// The VirtualServer, if it is one.
    pub(crate) fn server(&self) -> Option<&Arc<VirtualServer>> {
        match self {
            Self::Server(server) => Some(server),
            Self::Router(_)
            | Self::Settings(_)
            | Self::Node(_)
            | Self::Namespace(_)
            | Self::Secret(_)
            | Self::ConfigMap(_)
            | Self::Slice(_) => None,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router(router) => router.fmt(f),
            Self::Server(server) => server.fmt(f),
            Self::Settings(settings) => settings.fmt(f),
            Self::Node(node) => node.fmt(f),
            Self::Namespace(namespace) => namespace.fmt(f),
            Self::Secret(values) => f.debug_set().entries(values.keys()).finish(),
            Self::ConfigMap(values) => f.debug_set().entries(values.keys()).finish(),
            Self::Slice(slice) => slice.fmt(f),
        }
    }
}

/// The objects of a file; an error if it is no YAML at all.
pub(crate) fn read(name: &str, text: &str) -> Result<Contents, Diagnosis> {
    let documents = yaml::read(text).map_err(|error| Diagnosis {
        file: name.to_owned(),
        position: error.position,
        severity: Severity::Error,
        path: DOCUMENT.to_owned(),
        message: error.message,
    })?;
    let mut reader = Reader {
        file: name,
        contents: Contents::default(),
    };
    for document in documents {
        reader.document(document, 0);
    }
    Ok(reader.contents)
}

struct Reader<'a> {
    file: &'a str,
    contents: Contents,
}

impl Reader<'_> {
    fn document(&mut self, document: Document, depth: usize) {
        let Document { value, places } = document;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            let missing = if text("kind").is_none() {
                "kind"
            } else {
                "apiVersion"
            };
            let message = "required: every object says `apiVersion` and `kind`";
            return self.unclear(&places, missing, message);
        };
        match (api_version, kind) {
            (API_VERSION, "VirtualRouter") => {
                self.ours(Kind::Router, value, places, |r| Body::Router(Arc::new(r)));
            }
            (API_VERSION, "VirtualServer") => {
                self.ours(Kind::Server, value, places, |s| Body::Server(Arc::new(s)));
            }
            (API_VERSION, "Settings") => {
                self.ours(Kind::Settings, value, places, |s| {
                    Body::Settings(Box::new(s))
                });
            }
            ("v1", "Node") => {
                self.foreign(Kind::Node, value, places, |node| Body::Node(Box::new(node)))
            }
            ("v1", "Namespace") => self.foreign(Kind::Namespace, value, places, |namespace| {
                Body::Namespace(Box::new(namespace))
            }),
            ("v1", "ConfigMap") => {
                self.foreign(Kind::ConfigMap, value, places, |map: ConfigMap| {
                    Body::ConfigMap(map.data.unwrap_or_default())
                })
            }
            ("discovery.k8s.io/v1", "EndpointSlice") => {
                self.foreign(Kind::Slice, value, places, |slice| {
                    Body::Slice(Box::new(slice))
                });
            }
            ("v1", "Secret") => self.secret(value, places),
            ("v1", "List") => self.list(value, &places, depth),
            _ => self.other(api_version, kind, &places),
        }
    }

    /// A kind that is not read.
    fn other(&mut self, api_version: &str, kind: &str, places: &Places) {
        let ours = api_version.split('/').next() == Some(GROUP);
        if ours && OUR_KINDS.contains(&kind) {
            let message = format!("`{api_version}` is not known here: write `{API_VERSION}`");
            self.unclear(places, "apiVersion", &message);
        } else if ours && !CLUSTER_KINDS.contains(&kind) {
            let message = format!(
                "{GROUP} has no kind {kind}: write `VirtualRouter`, `VirtualServer` or `Settings`"
            );
            self.unclear(places, "kind", &message);
        } else {
            let message = format!("kind {kind} is not used by the standalone agent");
            self.say(Severity::Warning, places.value("kind"), "kind", message);
        }
    }

    fn list(&mut self, value: Value, places: &Places, depth: usize) {
        if depth >= MAX_LIST_DEPTH {
            return self.unclear(
                places,
                "kind",
                "Lists of Lists of Lists: put the objects into one",
            );
        }
        let Value::Object(mut fields) = value else {
            return;
        };
        let Some(Value::Array(items)) = fields.remove("items") else {
            return self.unclear(places, "items", "required: a List has a list of `items`");
        };
        for (i, value) in items.into_iter().enumerate() {
            let places = places.below(&format!("items[{i}]"));
            self.document(Document { value, places }, depth.saturating_add(1));
        }
    }

    fn ours<T: DeserializeOwned>(
        &mut self,
        kind: Kind,
        mut value: Value,
        places: Places,
        body: impl Fn(T) -> Body,
    ) {
        let Some(id) = self.identity(kind, &value, &places) else {
            return;
        };
        if let Value::Object(fields) = &mut value {
            // The type is known; the rest must be of the type.
            fields.remove("apiVersion");
            fields.remove("kind");
            if fields.remove("status").is_some() {
                let message = "is written by the operator and not read here";
                self.say(Severity::Warning, places.key("status"), "status", message);
            }
        }
        let object = self.typed::<T>(kind, value, &places, Severity::Error, None);
        self.entry(id, object.map(body), places);
    }

    /// A kind of Kubernetes, of which unknown fields are only said.
    fn foreign<T: DeserializeOwned>(
        &mut self,
        kind: Kind,
        value: Value,
        places: Places,
        body: impl Fn(T) -> Body,
    ) {
        let Some(id) = self.identity(kind, &value, &places) else {
            return;
        };
        let object = self.typed::<T>(kind, value, &places, Severity::Warning, None);
        self.entry(id, object.map(body), places);
    }

    fn secret(&mut self, value: Value, places: Places) {
        let Some(id) = self.identity(Kind::Secret, &value, &places) else {
            return;
        };
        // Messages of the reader quote values.
        let why = "cannot be read: `data` holds base64 text, `stringData` plain strings";
        let secret =
            self.typed::<Secret>(Kind::Secret, value, &places, Severity::Warning, Some(why));
        let body = secret.map(|secret| {
            let data = secret.data.into_iter().flatten();
            let data = data.map(|(key, value)| (key, Arc::from(value.0)));
            let plain = secret.string_data.into_iter().flatten();
            let plain = plain.map(|(key, value)| (key, Arc::from(value.into_bytes())));
            Body::Secret(data.chain(plain).collect())
        });
        self.entry(id, body, places);
    }

    fn identity(&mut self, kind: Kind, value: &Value, places: &Places) -> Option<ObjectId> {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str);
        let Some(name) = text("/metadata/name").filter(|name| !name.is_empty()) else {
            self.unclear(places, "metadata.name", "required: every object has a name");
            return None;
        };
        let namespace = match kind {
            Kind::Router | Kind::Settings | Kind::Node | Kind::Namespace => "",
            Kind::Secret => text("/metadata/namespace").unwrap_or(KEY_NAMESPACE),
            Kind::Server | Kind::ConfigMap | Kind::Slice => {
                text("/metadata/namespace").unwrap_or(DEFAULT_NAMESPACE)
            }
        };
        Some(ObjectId {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// `value` as a `T`. Fields that `T` does not have are said with severity `unknown`, and if that is an error, as it
    /// is with our own kind, there
    /// is no `T`; `instead` replaces what is said about a value that does not fit.
    fn typed<T: DeserializeOwned>(
        &mut self,
        kind: Kind,
        value: Value,
        places: &Places,
        unknown: Severity,
        instead: Option<&str>,
    ) -> Option<T> {
        let hidden = match kind {
            Kind::Server => schema::hidden_strangers(&value),
            Kind::Router
            | Kind::Settings
            | Kind::Node
            | Kind::Namespace
            | Kind::Secret
            | Kind::ConfigMap
            | Kind::Slice => Vec::new(),
        };
        let mut track = serde_path_to_error::Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(value, &mut track);
        let mut strangers = hidden;
        let result =
            serde_ignored::deserialize(deserializer, |path| strangers.push(written(&path)));
        let refused = !strangers.is_empty() && unknown == Severity::Error;
        for path in strangers {
            let message = match unknown {
                Severity::Error => schema::no_such_field(kind, &path),
                Severity::Warning => "no such field: check its spelling and its indentation".into(),
            };
            self.say(unknown, places.key(&path), &path, message);
        }
        match result {
            Ok(value) => (!refused).then_some(value),
            Err(error) => {
                let path = track.path().to_string();
                let path = if path == "." { DOCUMENT } else { &path };
                let message = instead.map_or_else(|| error.to_string(), str::to_owned);
                self.say(Severity::Error, places.value(path), path, message);
                None
            }
        }
    }

    fn entry(&mut self, id: ObjectId, body: Option<Body>, places: Places) {
        let entries = &mut self.contents.entries;
        entries.push(Entry {
            id,
            rank: entries.len(),
            body,
            places,
        });
    }

    fn unclear(&mut self, places: &Places, path: &str, message: &str) {
        self.contents.unclear = true;
        self.say(Severity::Error, places.value(path), path, message);
    }

    fn say(
        &mut self,
        severity: Severity,
        position: Position,
        path: &str,
        message: impl Into<String>,
    ) {
        self.contents.findings.push(Diagnosis {
            file: self.file.to_owned(),
            position,
            severity,
            path: path.to_owned(),
            message: message.into(),
        });
    }
}

/// A path in the form of all others.
fn written(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", written(parent)),
        Path::Map { parent, key } => match written(parent).as_str() {
            "" => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => written(parent),
    }
}
