//! What is in force: the objects of all files, and for each that went bad its last good state.
//!
//! - A file that cannot be read or is no YAML keeps the objects it had.
//! - An object that cannot be read keeps what it was; a router that breaks a rule keeps what it last ran.
//! - What a running router needs (the Node of a peer, a password) is kept when it disappears, and said.
//! - A file or object that is gone is gone.
//!
//! Routers that run have precedence over what is new, so that no edit takes an address or a VRID from another.

mod gathering;
mod review;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use vipkeeper_compiler::{Compiled, Finding, Objects, SecretName, Severity};
use vipkeeper_crds::{
    AuthenticationType, KEY_NAMESPACE, NodeSettings, SETTINGS_NAME, SecretKey, TransportMode,
    VirtualRouter, VirtualRouterSpec,
};

use crate::diagnosis::Diagnosis;
use crate::manifest::{Body, File, Kind, ObjectId};
use crate::yaml::{Places, Position};
use crate::{Keys, Loaded};
use gathering::Gathering;

pub use review::review;

/// The fewest bytes of a heartbeat's key that cannot be guessed.
const LEAST_KEY: usize = 16;

/// All that is known of the manifests.
#[derive(Debug, Default)]
pub struct Store {
    /// Counts updates.
    round: u64,
    objects: BTreeMap<ObjectId, Known>,
    /// What each router runs.
    running: BTreeMap<ObjectId, Running>,
    /// The nodes that take part in a router that runs.
    candidates: BTreeSet<String>,
    /// The Nodes and keys of the last round, those that were kept included.
    nodes: BTreeMap<String, Node>,
    keys: Keys,
    /// What holds for all routers.
    settings: NodeSettings,
}

/// An object that could be read once.
#[derive(Clone, Debug)]
struct Known {
    file: String,
    body: Body,
    /// Where its text is, if that text is still there.
    places: Option<Places>,
}

/// What a router runs.
#[derive(Clone, Debug)]
struct Running {
    router: VirtualRouter,
    /// The round since which it runs like this.
    since: u64,
}

impl Store {
    /// What `files`, which are all there are, mean for `node`.
    pub fn update(&mut self, files: &[File], node: &str) -> Loaded {
        self.round = self.round.saturating_add(1);
        let mut findings = Vec::new();
        let mut gathering = Gathering::default();
        for file in files {
            gathering.file(file, &mut findings);
        }
        self.objects = gathering.finish(&self.objects, &mut findings);
        let environment = self.environment(&mut findings);
        self.settings(&environment.secrets, &mut findings);
        let compiled = self.compile(environment, node, &mut findings);
        self.passwords(&mut findings);
        findings.sort();
        findings.dedup();
        Loaded {
            configs: compiled.configs,
            settings: self.settings.clone(),
            keys: self.keys.clone(),
            findings,
        }
    }

    /// The names of all nodes that take part in a running router.
    #[must_use]
    pub const fn candidates(&self) -> &BTreeSet<String> {
        &self.candidates
    }

    /// Nodes and keys, with what is gone and still needed. Remembers them.
    fn environment(&mut self, findings: &mut Vec<Diagnosis>) -> Objects {
        let mut nodes = BTreeMap::new();
        let mut keys = Keys::default();
        for (id, known) in &self.objects {
            match &known.body {
                Body::Router(_) | Body::Settings(_) => {}
                Body::Node(node) => {
                    nodes.insert(id.name.clone(), (**node).clone());
                }
                Body::Secret(values) => {
                    for (key, value) in values {
                        keys.insert(secret_key(id, key), value.clone());
                    }
                }
            }
        }
        self.keep_what_is_needed(&mut nodes, &mut keys, findings);
        let secrets = self.secrets(&keys);
        self.nodes = nodes;
        self.keys = keys;
        Objects {
            routers: Vec::new(),
            nodes: self.nodes.values().cloned().collect(),
            secrets,
        }
    }

    /// Takes from the last round what a running router needs and nobody describes any more.
    fn keep_what_is_needed(
        &self,
        nodes: &mut BTreeMap<String, Node>,
        keys: &mut Keys,
        findings: &mut Vec<Diagnosis>,
    ) {
        let (given_nodes, given_keys) = (nodes.clone(), keys.clone());
        if let Some(key) = &self.settings.heartbeat_key
            && given_keys.get(key).is_none()
            && let Some(value) = self.keys.get(key)
            && let Some(known) = self.default_settings()
        {
            let path = "spec.heartbeat.secretRef";
            let message = gone(&format!("Secret key {key}"));
            findings.push(known.diagnosis(Severity::Error, path, message));
            keys.insert(key.clone(), value);
        }
        for (id, running) in &self.running {
            let Some(known) = self.objects.get(id) else {
                continue;
            };
            let mut say = |path: &str, what: String| {
                findings.push(known.diagnosis(Severity::Error, path, gone(&what)));
            };
            for (path, name) in needed_nodes(&running.router.spec) {
                if !given_nodes.contains_key(&name)
                    && let Some(node) = self.nodes.get(&name)
                {
                    say(&path, format!("Node {name}"));
                    nodes.insert(name, node.clone());
                }
            }
            if let Some(key) = needed_key(&running.router.spec)
                && given_keys.get(&key).is_none()
                && let Some(value) = self.keys.get(&key)
            {
                let path = "spec.authentication.password.secretRef";
                say(path, format!("Secret key {key}"));
                keys.insert(key, value);
            }
        }
    }

    /// The names of all Secrets, the empty ones too, and of their keys.
    fn secrets(&self, keys: &Keys) -> BTreeMap<SecretName, BTreeSet<String>> {
        let name = |namespace: &str, name: &str| SecretName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let described = self.objects.keys().filter(|id| id.kind == Kind::Secret);
        let mut secrets: BTreeMap<SecretName, BTreeSet<String>> = described
            .map(|id| (name(&id.namespace, &id.name), BTreeSet::new()))
            .collect();
        for key in keys.names() {
            let of_secret = secrets.entry(name(&key.namespace, &key.name)).or_default();
            of_secret.insert(key.key.clone());
        }
        secrets
    }

    /// The Settings that count, if they are described.
    fn default_settings(&self) -> Option<&Known> {
        let id = ObjectId {
            kind: Kind::Settings,
            namespace: String::new(),
            name: SETTINGS_NAME.to_owned(),
        };
        self.objects.get(&id)
    }

    /// Takes what Settings say; what they said before while they break a rule.
    fn settings(
        &mut self,
        secrets: &BTreeMap<SecretName, BTreeSet<String>>,
        findings: &mut Vec<Diagnosis>,
    ) {
        let mut now = NodeSettings::default();
        for (id, known) in &self.objects {
            let Body::Settings(object) = &known.body else {
                continue;
            };
            let (settings, found) = vipkeeper_compiler::settings(object, secrets);
            for finding in found {
                findings.push(known.diagnosis(finding.severity, &finding.path, finding.message));
            }
            let counts = id.name == SETTINGS_NAME;
            match settings {
                Some(settings) if counts => now = settings,
                None if counts => {
                    now = self.settings.clone();
                    let message = format!("{id} keeps its last good state");
                    findings.push(known.diagnosis(Severity::Warning, "metadata.name", message));
                }
                Some(_) | None => {}
            }
        }
        if let (Some(key), Some(known)) = (&now.heartbeat_key, self.default_settings())
            && let Some(value) = self.keys.get(key)
            && value.len() < LEAST_KEY
        {
            let message = format!(
                "Secret key {key} has {} bytes: write {LEAST_KEY} random bytes or more",
                value.len()
            );
            let path = "spec.heartbeat.secretRef.key";
            findings.push(known.diagnosis(Severity::Warning, path, message));
        }
        self.settings = now;
    }

    /// Whether the passwords of the routers that run can be sent.
    fn passwords(&self, findings: &mut Vec<Diagnosis>) {
        for (id, running) in &self.running {
            let key = needed_key(&running.router.spec);
            let value = key.as_ref().and_then(|key| self.keys.get(key));
            let (Some(known), Some(key), Some(value)) = (self.objects.get(id), key, value) else {
                continue;
            };
            let (severity, what) = match value.trim_ascii_end().len() {
                0 => (
                    Severity::Error,
                    "is empty, and the router cannot run: write 1 to 8 bytes",
                ),
                1..=8 => continue,
                9.. => (
                    Severity::Warning,
                    "has more than 8 bytes, and only the first 8 count",
                ),
            };
            let path = "spec.authentication.password.secretRef.key";
            findings.push(known.diagnosis(severity, path, format!("Secret key {key} {what}")));
        }
    }

    /// Compiles what is wanted; where that is refused, what ran. A router that goes back may be in the way of
    /// another's edit, which then goes back too: each does so once, so this ends.
    fn compile(
        &mut self,
        mut objects: Objects,
        node: &str,
        findings: &mut Vec<Diagnosis>,
    ) -> Compiled {
        let mut back: BTreeSet<ObjectId> = BTreeSet::new();
        loop {
            let wanted = self.wanted(&back);
            objects.routers = wanted.iter().map(|(_, r)| r.router.clone()).collect();
            let compiled = vipkeeper_compiler::compile(&objects, node);
            let refused: BTreeSet<&str> = compiled.findings.iter().filter_map(refused).collect();
            let ran = |id: &ObjectId, now: &Running| {
                let running = self.running.get(id);
                running.is_some_and(|running| running.router != now.router)
            };
            let mut again: BTreeSet<ObjectId> = wanted
                .iter()
                .filter(|(id, now)| refused.contains(id.name.as_str()) && ran(id, now))
                .map(|(id, _)| id.clone())
                .collect();
            // What is said about a router is what made it go back, or else what is said in the end.
            for finding in &compiled.findings {
                if let Some((id, known)) = self.about(finding)
                    && (again.is_empty() || again.contains(id))
                {
                    let written = known.places.is_some() && !back.contains(id);
                    // About a text that is not there any more only errors are of interest.
                    if written || finding.severity == Severity::Error {
                        let message = finding.message.clone();
                        findings.push(known.diagnosis(finding.severity, &finding.path, message));
                    }
                }
            }
            if again.is_empty() {
                self.running = wanted
                    .into_iter()
                    .filter(|(id, _)| !refused.contains(id.name.as_str()))
                    .collect();
                self.candidates.clone_from(&compiled.candidates);
                return compiled;
            }
            for id in &again {
                if let Some(known) = self.objects.get(id) {
                    let message = format!("{id} keeps its last good state");
                    findings.push(known.diagnosis(Severity::Warning, "metadata.name", message));
                }
            }
            back.append(&mut again);
        }
    }

    /// Every router, those that run longest first; of those in `back` what runs, of the others what is written.
    fn wanted(&self, back: &BTreeSet<ObjectId>) -> Vec<(ObjectId, Running)> {
        let mut wanted = Vec::new();
        for (id, known) in &self.objects {
            let Body::Router(router) = &known.body else {
                continue;
            };
            let running = self.running.get(id);
            let same = running.filter(|r| r.router == **router || back.contains(id));
            let now = same.cloned().unwrap_or_else(|| Running {
                router: (**router).clone(),
                since: self.round,
            });
            let start = known.places.as_ref().map(Places::start);
            wanted.push(((now.since, known.file.clone(), start), (id.clone(), now)));
        }
        wanted.sort_by(|(a, _), (b, _)| a.cmp(b));
        wanted.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The object that a finding is about.
    fn about(&self, finding: &Finding) -> Option<(&ObjectId, &Known)> {
        let object = &finding.object;
        let alike = |id: &ObjectId| id.kind.as_str() == object.kind && id.name == object.name;
        self.objects.iter().find(|(id, _)| alike(id))
    }
}

impl Known {
    fn diagnosis(&self, severity: Severity, path: &str, message: String) -> Diagnosis {
        let position = self.places.as_ref().map(|places| places.value(path));
        Diagnosis {
            file: self.file.clone(),
            position: position.unwrap_or(Position::START),
            severity,
            path: path.to_owned(),
            message,
        }
    }
}

fn gone(what: &str) -> String {
    format!("{what} is gone: its last state stays in force here until the agent starts again")
}

/// The name of the router that a finding refuses.
fn refused(finding: &Finding) -> Option<&str> {
    let error = finding.severity == Severity::Error;
    (error && finding.object.kind == Kind::Router.as_str()).then_some(finding.object.name.as_str())
}

fn secret_key(id: &ObjectId, key: &str) -> SecretKey {
    SecretKey {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        key: key.to_owned(),
    }
}

/// The nodes whose addresses a router needs, with the fields that name them.
fn needed_nodes(spec: &VirtualRouterSpec) -> Vec<(String, String)> {
    match spec.transport.mode {
        TransportMode::Multicast => Vec::new(),
        TransportMode::Unicast => {
            let entries = spec.nodes.priorities.iter().enumerate();
            let named = |i| format!("spec.nodes.priorities[{i}].node");
            entries.map(|(i, p)| (named(i), p.node.clone())).collect()
        }
    }
}

/// The key of a Secret that a router needs.
fn needed_key(spec: &VirtualRouterSpec) -> Option<SecretKey> {
    match spec.authentication.kind {
        AuthenticationType::None => None,
        AuthenticationType::Password => {
            let reference = &spec.authentication.password.as_ref()?.secret_ref;
            let namespace = reference.namespace.as_deref().unwrap_or(KEY_NAMESPACE);
            Some(SecretKey {
                namespace: namespace.to_owned(),
                name: reference.name.clone(),
                key: reference.key.clone(),
            })
        }
    }
}
