//! What is in force: the objects of all files, and for each that went bad its last good state.
//!
//! - A file that cannot be read or is no YAML keeps the objects it had.
//! - An object that cannot be read keeps what it was; a router or VirtualServer that breaks a rule keeps what it last
//!   ran.
//! - What a running one needs (the Node of a peer, a password, authorities) is kept when it disappears, and said.
//! - A file or object that is gone is gone.
//!
//! Those that run have precedence over what is new, so that no edit takes an address, a VRID or a port from another.

mod environment;
mod gathering;
mod review;

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper_compiler::{Compiled, Finding, ObjectName, SecretName, Severity};
use vipkeeper_crds::{NodeSettings, SETTINGS_NAME};

use crate::Loaded;
use crate::diagnosis::Diagnosis;
use crate::manifest::{Body, File, Kind, ObjectId};
use crate::places::Places;
use crate::yaml::Position;
use environment::{Environment, needed_key};
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
    /// What each router and each VirtualServer runs.
    running: BTreeMap<ObjectId, Running>,
    /// The nodes that take part in a router that runs.
    candidates: BTreeSet<String>,
    /// What surrounded them in the last round, with what was kept.
    environment: Environment,
    /// What holds for all routers.
    settings: NodeSettings,
}

/// An object that could be read once.
#[derive(Clone, Debug)]
struct Known {
    file: String,
    /// How many its file names, or named, before it.
    rank: usize,
    body: Body,
    /// Where its text is, if that text is still there.
    places: Option<Places>,
}

/// What a router or a VirtualServer runs.
#[derive(Clone, Debug)]
struct Running {
    body: Body,
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
        self.environment = Environment::of(self, &mut findings);
        let objects = self.environment.objects(self);
        self.settings(&objects.secrets, &mut findings);
        let compiled = self.compile(objects, node, &mut findings);
        self.passwords(&mut findings);
        self.environment
            .endpoints_are_described(self, &mut findings);
        findings.sort();
        findings.dedup();
        Loaded {
            configs: compiled.configs,
            settings: self.settings.clone(),
            keys: self.environment.keys.clone(),
            endpoints: self.environment.endpoints.clone(),
            findings,
        }
    }

    /// The names of all nodes that take part in a running router.
    #[must_use]
    pub const fn candidates(&self) -> &BTreeSet<String> {
        &self.candidates
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
            && let Some(value) = self.environment.keys.get(key)
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
            let Some(router) = running.body.router() else {
                continue;
            };
            let key = needed_key(&router.spec);
            let value = key.as_ref().and_then(|key| self.environment.keys.get(key));
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

    /// Compiles what is wanted; where that is refused, what ran. One that goes back may be in the way of
    /// another's edit, which then goes back too: each does so once, so this ends.
    fn compile(
        &mut self,
        mut objects: vipkeeper_compiler::Objects,
        node: &str,
        findings: &mut Vec<Diagnosis>,
    ) -> Compiled {
        let mut back: BTreeSet<ObjectId> = BTreeSet::new();
        loop {
            let wanted = self.wanted(&back);
            let bodies = || wanted.iter().map(|(_, now)| &now.body);
            objects.routers = bodies().filter_map(Body::router).cloned().collect();
            objects.servers = bodies().filter_map(Body::server).cloned().collect();
            let compiled = vipkeeper_compiler::compile(&objects, node);
            let said: BTreeSet<&ObjectName> =
                compiled.findings.iter().filter_map(refused).collect();
            let refused = |id: &ObjectId| said.iter().any(|object| id.is(object));
            let ran = |id: &ObjectId, now: &Running| {
                let running = self.running.get(id);
                running.is_some_and(|running| running.body != now.body)
            };
            let mut again: BTreeSet<ObjectId> = wanted
                .iter()
                .filter(|(id, now)| refused(id) && ran(id, now))
                .map(|(id, _)| id.clone())
                .collect();
            // What is said about one is what made it go back, or else what is said in the end.
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
                self.running = wanted.into_iter().filter(|(id, _)| !refused(id)).collect();
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

    /// Every router and VirtualServer, those that run longest first; of those in `back` what runs, of the others what
    /// is written.
    fn wanted(&self, back: &BTreeSet<ObjectId>) -> Vec<(ObjectId, Running)> {
        let mut wanted = Vec::new();
        for (id, known) in &self.objects {
            match &known.body {
                Body::Router(_) | Body::Server(_) => {}
                Body::Settings(_)
                | Body::Node(_)
                | Body::Namespace(_)
                | Body::Secret(_)
                | Body::ConfigMap(_)
                | Body::Slice(_) => continue,
            }
            let running = self.running.get(id);
            let same = running.filter(|r| r.body == known.body || back.contains(id));
            let now = same.cloned().unwrap_or_else(|| Running {
                body: known.body.clone(),
                since: self.round,
            });
            let is_written = known.places.is_some();
            let order = (now.since, known.file.clone(), is_written, known.rank);
            wanted.push((order, (id.clone(), now)));
        }
        wanted.sort_by(|(a, _), (b, _)| a.cmp(b));
        wanted.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The object that a finding is about.
    fn about(&self, finding: &Finding) -> Option<(&ObjectId, &Known)> {
        self.objects.iter().find(|(id, _)| id.is(&finding.object))
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

/// The router or VirtualServer that a finding refuses.
fn refused(finding: &Finding) -> Option<&ObjectName> {
    let kinds = [Kind::Router, Kind::Server].map(Kind::as_str);
    let refuses = finding.severity == Severity::Error;
    (refuses && kinds.contains(&finding.object.kind.as_str())).then_some(&finding.object)
}
