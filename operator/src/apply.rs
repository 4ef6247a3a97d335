//! Carries writes out: server-side apply, several at a time, and what fails is looked at again later.
//!
//! Never decides what to write. A write that fails, or hangs, concerns its own object alone. The queue holds one write
//! for each object, the newest; two of one object are never on their way together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::pending;
use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};
use vipkeeper_crds::{NodeConfig, VirtualRouter, VirtualServer};

use crate::change::{Change, Owner, Subject, SubjectKind, Write};
use crate::metrics::Metrics;
use crate::news::News;

/// The name under which our fields are kept.
pub const MANAGER: &str = "vipkeeper-operator";
/// Writes that are on their way at once.
const AT_ONCE: usize = 16;
/// Between two writes of one router, or VirtualServer. What its agents report after an edit comes within a moment, and is shown together;
/// no address waits for it.
const REST: Duration = Duration::from_millis(250);
/// For how long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause after a failure; doubled each time up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// What is to be written, what is on its way, and what failed lately.
pub struct Writer {
    client: Client,
    metrics: Metrics,
    queue: BTreeMap<Subject, (Owner, Write)>,
    flying: BTreeSet<Subject>,
    /// Until when routers and VirtualServers that were written rest.
    resting: BTreeMap<Subject, Instant>,
    tasks: JoinSet<(Subject, Owner, Write, Outcome)>,
    failures: BTreeMap<Subject, Failure>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("queue", &self.queue)
            .field("flying", &self.flying)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

type Outcome = Result<Option<Change>, Error>;

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no answer within {0:?}")]
    Silence(Duration),
    #[error("{0}")]
    Refused(#[from] kube::Error),
}

#[derive(Clone, Debug)]
struct Failure {
    owner: Owner,
    count: u32,
    again_at: Instant,
    told: bool,
}

/// What came of a write.
#[derive(Debug)]
pub struct Done {
    /// What the API server says that the object is now; `None` if it did not say, or if the write failed.
    pub change: Option<Change>,
    /// What is worth telling, and of whom.
    pub news: Option<(Owner, Vec<News>)>,
}

impl Writer {
    /// With nothing to do.
    #[must_use]
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            metrics,
            queue: BTreeMap::new(),
            flying: BTreeSet::new(),
            resting: BTreeMap::new(),
            tasks: JoinSet::new(),
            failures: BTreeMap::new(),
        }
    }

    /// `writes` take the place of what was to be written for `owner`.
    pub fn plan(&mut self, owner: &Owner, writes: Vec<Write>) {
        self.queue.retain(|_, (other, _)| other != owner);
        let subjects: BTreeSet<Subject> = writes.iter().map(Write::subject).collect();
        self.failures
            .retain(|subject, failure| failure.owner != *owner || subjects.contains(subject));
        for write in writes {
            self.queue.insert(write.subject(), (owner.clone(), write));
        }
    }

    /// Forgets everything but what is on its way.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.failures.clear();
    }

    /// Sends what may be sent.
    pub fn start(&mut self) {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        while self.tasks.len() < AT_ONCE {
            let free = |subject: &&Subject| {
                let failure = self.failures.get(*subject);
                !self.flying.contains(*subject)
                    && !self.resting.contains_key(*subject)
                    && failure.is_none_or(|f| f.told || f.again_at <= now)
            };
            let Some(subject) = self.queue.keys().find(free).cloned() else {
                break;
            };
            if let Some((owner, write)) = self.queue.remove(&subject) {
                self.flying.insert(subject.clone());
                if matches!(subject.kind, SubjectKind::Router | SubjectKind::Server) {
                    self.resting.insert(subject.clone(), now + REST);
                }
                let client = self.client.clone();
                self.tasks.spawn(async move {
                    let outcome = match timeout(PATIENCE, carry_out(&client, &write)).await {
                        Ok(outcome) => outcome.map_err(Error::from),
                        Err(_) => Err(Error::Silence(PATIENCE)),
                    };
                    (subject, owner, write, outcome)
                });
            }
        }
        self.metrics.set_queue(self.queue.len() + self.tasks.len());
    }

    /// The next write that ends; never, if none is on its way.
    pub async fn next(&mut self) -> Done {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(ended)) => return self.end(ended),
                // A task that panicked is our own bug, and said so; its object waits for the next full pass.
                Some(Err(error)) => warn!(%error, "a write ended by itself"),
                None => return pending().await,
            }
        }
    }

    /// The next write that has ended already.
    pub fn try_next(&mut self) -> Option<Done> {
        let ended = self.tasks.try_join_next()?.ok()?;
        Some(self.end(ended))
    }

    /// Whose failed writes may be decided upon again.
    pub fn due(&mut self) -> Vec<Owner> {
        let now = Instant::now();
        let due = self.failures.values_mut();
        let due = due.filter(|f| !f.told && f.again_at <= now);
        due.map(|failure| {
            failure.told = true;
            failure.owner.clone()
        })
        .collect()
    }

    /// When something may be tried again, or has rested.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        let waiting = self.failures.values().filter(|f| !f.told);
        let waiting = waiting.map(|f| f.again_at);
        let resting = self.resting.iter();
        let rested = resting.filter(|(subject, _)| self.queue.contains_key(*subject));
        waiting.chain(rested.map(|(_, until)| *until)).min()
    }

    fn end(&mut self, ended: (Subject, Owner, Write, Outcome)) -> Done {
        let (subject, owner, write, outcome) = ended;
        self.flying.remove(&subject);
        let word = write.word();
        match outcome {
            Ok(change) => {
                self.metrics.wrote(word, "ok");
                if self.failures.remove(&subject).is_some() {
                    info!(?subject, "written after all");
                }
                let news = match write {
                    Write::Status { news, .. } | Write::ServerStatus { news, .. }
                        if !news.is_empty() =>
                    {
                        Some((owner, news))
                    }
                    Write::Status { .. }
                    | Write::ServerStatus { .. }
                    | Write::Config(_)
                    | Write::Remove { .. }
                    | Write::Annotations { .. } => None,
                };
                Done { change, news }
            }
            Err(error) => {
                self.metrics.wrote(word, error.word());
                self.fail(subject, owner, &error);
                Done {
                    change: None,
                    news: None,
                }
            }
        }
    }

    fn fail(&mut self, subject: Subject, owner: Owner, error: &Error) {
        let before = self.failures.get(&subject).map_or(0, |f| f.count);
        let count = before.saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << before.min(10));
        let pause = pause.min(LAST_PAUSE);
        if error.is_a_race() && count == 1 {
            debug!(?subject, %error, "not written yet");
        } else {
            warn!(?subject, %error, ?pause, "not written");
        }
        let again_at = Instant::now() + pause;
        let failure = Failure {
            owner,
            count,
            again_at,
            told: false,
        };
        self.failures.insert(subject, failure);
    }
}

impl Error {
    /// Whether another writer was faster, which heals by itself.
    fn is_a_race(&self) -> bool {
        self.code() == Some(409)
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(kube::Error::Api(status)) => Some(status.code),
            Self::Refused(_) | Self::Silence(_) => None,
        }
    }

    /// In one word, for a metric.
    fn word(&self) -> &'static str {
        match (self, self.code()) {
            (Self::Silence(_), _) => "timeout",
            (_, Some(409)) => "conflict",
            (_, Some(404)) => "gone",
            (_, Some(401 | 403)) => "forbidden",
            (_, Some(400 | 422)) => "invalid",
            (_, Some(429)) => "throttled",
            (_, Some(_)) => "error",
            (_, None) => "unreachable",
        }
    }
}

async fn carry_out(client: &Client, write: &Write) -> kube::Result<Option<Change>> {
    let parameters = PatchParams::apply(MANAGER).force();
    let routers: Api<VirtualRouter> = Api::all(client.clone());
    let configs: Api<NodeConfig> = Api::all(client.clone());
    debug!(subject = ?write.subject(), "write");
    match write {
        Write::Config(config) => {
            let name = config.metadata.name.as_deref().unwrap_or_default();
            let mut metadata = json!({
                "name": name,
                "ownerReferences": config.metadata.owner_references,
            });
            if let Some(version) = &config.metadata.resource_version {
                metadata["resourceVersion"] = json!(version);
            }
            let object = json!({
                "apiVersion": "vipkeeper.io/v1alpha1",
                "kind": "NodeConfig",
                "metadata": metadata,
                "spec": config.spec,
            });
            let now = configs
                .patch(name, &parameters, &Patch::Apply(object))
                .await?;
            Ok(Some(Change::Config(Box::new(now))))
        }
        Write::Remove { name, uid } => {
            let parameters = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            match configs.delete(name, &parameters).await {
                Ok(_) => Ok(Some(Change::Removed(name.clone(), uid.clone()))),
                // It has gone already, or another has its name: the watch tells.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
                Err(error) => Err(error),
            }
        }
        Write::Status {
            router,
            version,
            status,
            news: _,
        } => {
            let object = json!({
                "apiVersion": "vipkeeper.io/v1alpha1",
                "kind": "VirtualRouter",
                "metadata": {"name": router, "resourceVersion": version},
                "status": status,
            });
            let patch = Patch::Apply(object);
            let now = routers.patch_status(router, &parameters, &patch).await?;
            Ok(Some(Change::Router(Box::new(now))))
        }
        Write::ServerStatus {
            server,
            version,
            status,
            news: _,
        } => {
            let servers: Api<VirtualServer> = Api::namespaced(client.clone(), &server.namespace);
            let object = json!({
                "apiVersion": "vipkeeper.io/v1alpha1",
                "kind": "VirtualServer",
                "metadata": {
                    "name": server.name,
                    "namespace": server.namespace,
                    "resourceVersion": version,
                },
                "status": status,
            });
            let patch = Patch::Apply(object);
            let name = &server.name;
            let now = servers.patch_status(name, &parameters, &patch).await?;
            Ok(Some(Change::Server(Box::new(now))))
        }
        Write::Annotations {
            router,
            version,
            annotations,
        } => {
            // Merged, not applied: nobody may be told of a conflict over what only remembers.
            let parameters = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let metadata = json!({"annotations": annotations, "resourceVersion": version});
            let patch = Patch::Merge(json!({ "metadata": metadata }));
            let now = routers.patch(router, &parameters, &patch).await?;
            Ok(Some(Change::Router(Box::new(now))))
        }
    }
}
