//! The task that follows a cluster: what the API server tells goes into the assignment, what is in force comes out.
//!
//! Never ends by itself, and never lets go of anything because the API server does not answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::{Backoff as _, ResetTimerBackoff};
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};
use vipkeeper_crds::SecretKey;

use super::Roster;
use super::assignment::{Assignment, Definitions};
use super::cache::Cache;
use super::pauses::Pauses;
use super::saved::Saved;
use super::server::{Server, Unanswered};
use super::slices::{SavedEndpoints, Slices};
use super::told::Told;
use crate::clock;
use crate::source::{DOCUMENT, Desired, Diagnosis, Position, Severity, desired};

/// Events that come together are taken together: so long after the last, so long at most.
const QUIET: Duration = Duration::from_millis(5);
const TOGETHER: Duration = Duration::from_millis(100);
/// Secrets are read again after this: nobody tells when they change.
const REFRESH: Duration = Duration::from_secs(60);
/// Questions that got no answer are asked again after this, and keys that are missing looked for.
const AGAIN: Duration = Duration::from_secs(3);
/// Pauses between attempts are short again after a time without failure that is so long.
const CALM: Duration = Duration::from_secs(30);
/// An API server of another cluster is asked again after this.
const FOREIGN_PAUSE: Duration = Duration::from_secs(30);
/// The same trouble is a warning once in this time.
const LOUD: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Follower {
    node: String,
    server: Server,
    cache: Cache,
    assignment: Assignment,
    offer: watch::Sender<Arc<Desired>>,
    roster: watch::Sender<Arc<Roster>>,
    in_charge: watch::Receiver<bool>,
    /// What the cache holds, as far as it was written or read by this process.
    saved: Option<Saved>,
    slices: Slices,
    /// When each Secret is to be read, by namespace and name.
    secrets: BTreeMap<(String, String), Instant>,
    /// When the definitions are to be asked for again.
    ask_again: Option<Instant>,
    told_at: Option<Instant>,
    /// Why the API server is not followed.
    trouble: Option<String>,
    /// Between sessions.
    pauses: Pauses,
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(
        "the API server is of another cluster (kube-system has uid {found}, not {known}); if that is meant, \
         delete {} and start the agent again",
        path.display()
    )]
    Foreign {
        found: String,
        known: String,
        path: PathBuf,
    },
    #[error("the API server does not say whose it is")]
    Unidentified(#[source] Unanswered),
    #[error("the watch was interrupted")]
    Interrupted(#[source] watcher::Error),
    #[error("the watch ended")]
    Ended,
}

impl Follower {
    /// Follows what `server` has for `node`, beginning with what `cache` holds.
    pub(super) fn new(
        node: String,
        server: Server,
        cache: Cache,
        in_charge: watch::Receiver<bool>,
    ) -> (
        Self,
        watch::Receiver<Arc<Desired>>,
        watch::Receiver<Arc<Roster>>,
    ) {
        let saved = cache.read();
        let mut assignment = Assignment::new(saved.clone());
        assignment.settle();
        let cluster = assignment.cluster();
        let endpoints = cluster.and_then(|c| SavedEndpoints::read(&cache.endpoints(), &node, c));
        let mut slices = Slices::new(server.clone(), endpoints);
        let mut in_force = assignment.in_force();
        slices.follow(&in_force.configs, cluster);
        in_force.endpoints = Arc::clone(slices.endpoints());
        let waits = slices.waits_until(Instant::now()).is_some();
        let verified = assignment.is_verified() && !waits;
        let first = if waits {
            Desired::default()
        } else {
            in_force.numbered(verified.into())
        };
        if verified {
            info!(routers = first.configs.len(), path = %cache.path().display(), "serving what was verified before");
        }
        let (offer, desired) = watch::channel(Arc::new(first));
        let (roster, rosters) = watch::channel(Arc::default());
        let follower = Self {
            node,
            server,
            cache,
            assignment,
            offer,
            roster,
            in_charge,
            saved,
            slices,
            secrets: BTreeMap::new(),
            ask_again: None,
            told_at: None,
            trouble: None,
            pauses: Pauses::new(),
        };
        (follower, desired, rosters)
    }

    /// Follows until the process ends.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let end = self.session().await;
            let pause = match &end {
                End::Foreign { .. } => FOREIGN_PAUSE,
                End::Unidentified(_) | End::Interrupted(_) | End::Ended => {
                    self.pauses.next().unwrap_or_default()
                }
            };
            self.tell(&end);
            self.settle().await;
            let begin = Instant::now() + pause;
            while Instant::now() < begin {
                let wake = self.slices.waits_until(Instant::now());
                self.idle(wake.map_or(begin, |wake| wake.min(begin))).await;
                self.settle().await;
            }
        }
    }

    /// One list and the changes after it, for as long as the API server is to be believed.
    async fn session(&mut self) -> End {
        let selector = format!("spec.nodeName={}", self.node);
        let config = watcher::Config::default().fields(&selector);
        let stream = watcher::watcher(self.server.node_configs(), config);
        let stream = stream.backoff(ResetTimerBackoff::new(Pauses::new(), CALM));
        let mut stream = std::pin::pin!(stream);
        let mut listing = Vec::new();
        loop {
            let wake = self.next_wake();
            let event = tokio::select! {
                event = stream.next() => event,
                () = self.idle(wake) => {
                    self.settle().await;
                    continue;
                }
            };
            let Some(event) = event else {
                return End::Ended;
            };
            if let Err(end) = self.take(event, &mut listing).await {
                return end;
            }
            if let Err(end) = self.take_together(&mut stream, &mut listing).await {
                return end;
            }
            self.settle().await;
        }
    }

    /// Takes what comes right after.
    async fn take_together(
        &mut self,
        stream: &mut (impl Stream<Item = watcher::Result<Event<DynamicObject>>> + Unpin),
        listing: &mut Vec<Told>,
    ) -> Result<(), End> {
        let begun = Instant::now();
        while begun.elapsed() < TOGETHER {
            match timeout(QUIET, stream.next()).await {
                Ok(Some(event)) => self.take(event, listing).await?,
                Ok(None) => return Err(End::Ended),
                Err(_) => break,
            }
        }
        Ok(())
    }

    async fn take(
        &mut self,
        event: watcher::Result<Event<DynamicObject>>,
        listing: &mut Vec<Told>,
    ) -> Result<(), End> {
        let now = clock::now();
        match event {
            Ok(Event::Init) => listing.clear(),
            Ok(Event::InitApply(object)) => listing.push(Told::read(&object, &self.node)),
            Ok(Event::InitDone) => {
                self.identify().await?;
                self.assignment.list(std::mem::take(listing), now);
            }
            Ok(Event::Apply(object)) => self.assignment.apply(Told::read(&object, &self.node)),
            Ok(Event::Delete(object)) => self.assignment.deleted(&object.name_any(), now),
            Err(error) => {
                if is_unknown_kind(&error) {
                    self.assignment.unknown(now);
                }
                return self.fail(error);
            }
        }
        Ok(())
    }

    /// After an interruption everything is listed anew: what was restored from a backup meanwhile has versions that a
    /// watch from the last one known would pass over in silence.
    fn fail(&mut self, error: watcher::Error) -> Result<(), End> {
        match &error {
            watcher::Error::WatchError(status) if status.code == 410 => {
                debug!(%error, "listing anew");
                Ok(())
            }
            watcher::Error::InitialListFailed(_) => {
                self.tell(&error);
                Ok(())
            }
            watcher::Error::WatchError(_)
            | watcher::Error::WatchStartFailed(_)
            | watcher::Error::WatchFailed(_)
            | watcher::Error::NoResourceVersion => Err(End::Interrupted(error)),
        }
    }

    /// Nothing that a list says counts before it is known whose it is.
    async fn identify(&mut self) -> Result<(), End> {
        let found = self.server.identity().await.map_err(End::Unidentified)?;
        if self.assignment.identify(found.clone()) {
            self.told_at = None;
            self.trouble = None;
            self.pauses.reset();
            return Ok(());
        }
        Err(End::Foreign {
            found,
            known: self.assignment.cluster().unwrap_or_default().to_owned(),
            path: self.cache.path().to_owned(),
        })
    }

    /// Waits until `wake`, or until endpoints change, or until this process may write the cache.
    async fn idle(&mut self, wake: Instant) {
        let in_charge = *self.in_charge.borrow_and_update();
        tokio::select! {
            () = sleep_until(wake) => {}
            () = self.slices.changed() => {}
            Ok(()) = self.in_charge.changed(), if !in_charge => {}
        }
    }

    fn next_wake(&self) -> Instant {
        let expiry = self.assignment.next_expiry().map(|at| {
            let left = at.since(clock::now());
            Instant::now() + left
        });
        let secrets = self.secrets.values().copied().min();
        let waits = self.slices.waits_until(Instant::now());
        let in_charge = *self.in_charge.borrow();
        let save = self.slices.next_save().filter(|_| in_charge);
        let next = [expiry, secrets, self.ask_again, waits, save];
        let next = next.into_iter().flatten().min();
        next.unwrap_or_else(|| Instant::now() + REFRESH)
    }

    /// Asks what there is to ask, and offers what is in force then.
    async fn settle(&mut self) {
        self.assignment.expire(clock::now());
        if self.assignment.is_in_doubt() && self.ask_again.is_none_or(|at| at <= Instant::now()) {
            self.ask_for_definitions().await;
        }
        self.read_secrets().await;
        self.assignment.settle();
        self.publish();
        self.save().await;
    }

    async fn ask_for_definitions(&mut self) {
        self.ask_again = Some(Instant::now() + AGAIN);
        if let Err(end) = self.identify().await {
            self.tell(&end);
            return;
        }
        match self.server.definitions().await {
            Ok(definitions) => {
                if definitions == Definitions::Missing {
                    warn!(
                        "the definitions of vipkeeper's objects are missing: everything is kept for a while"
                    );
                }
                self.assignment.decide(definitions);
                self.ask_again = None;
            }
            Err(error) => self.tell(&error),
        }
    }

    /// Reads the Secrets that are due, all at once.
    async fn read_secrets(&mut self) {
        let now = Instant::now();
        let mut wanted: BTreeMap<(String, String), Vec<SecretKey>> = BTreeMap::new();
        for key in self.assignment.wanted_keys() {
            let secret = (key.namespace.clone(), key.name.clone());
            wanted.entry(secret).or_default().push(key);
        }
        self.secrets.retain(|secret, _| wanted.contains_key(secret));
        let is_due =
            |secret: &(String, String)| self.secrets.get(secret).is_none_or(|at| *at <= now);
        wanted.retain(|secret, _| is_due(secret));
        let server = &self.server;
        let questions = wanted.into_iter().map(|(secret, keys)| async move {
            let answer = server.keys(&keys).await;
            (secret, answer)
        });
        for (secret, answer) in futures::future::join_all(questions).await {
            let mut again = REFRESH;
            match answer {
                Ok(values) => {
                    for (key, value) in values {
                        if value.is_err() {
                            again = AGAIN;
                        }
                        self.assignment.set_key(key, value);
                    }
                }
                Err(error) => {
                    again = AGAIN;
                    self.tell(&error);
                }
            }
            self.secrets.insert(secret, Instant::now() + again);
        }
    }

    fn publish(&mut self) {
        if !self.assignment.is_verified() {
            return;
        }
        let mut in_force = self.assignment.in_force();
        self.slices
            .follow(&in_force.configs, self.assignment.cluster());
        if self.slices.waits_until(Instant::now()).is_some() {
            return;
        }
        in_force.endpoints = Arc::clone(self.slices.endpoints());
        let trouble = self.trouble.iter().map(|reason| Diagnosis {
            file: "API server".to_owned(),
            position: Position::START,
            severity: Severity::Warning,
            path: DOCUMENT.to_owned(),
            message: format!("it is not followed, and everything goes on as it is: {reason}"),
        });
        in_force.findings.extend(trouble);
        desired::offer(&self.offer, in_force, log);
        let roster = self.assignment.roster();
        self.roster.send_if_modified(|last| {
            let is_news = **last != roster;
            if is_news {
                *last = Arc::new(roster);
            }
            is_news
        });
    }

    /// Writes the cache, if this process may and there is news.
    async fn save(&mut self) {
        if !*self.in_charge.borrow() {
            return;
        }
        if let Some(cluster) = self.assignment.cluster() {
            let path = self.cache.endpoints();
            self.slices.save(&path, &self.node, cluster).await;
        }
        let saved = self.assignment.saved(&self.node);
        if saved.is_none() || saved == self.saved {
            return;
        }
        let cache = self.cache.clone();
        let written = tokio::task::spawn_blocking(move || {
            let outcome = saved.as_ref().map_or(Ok(()), |saved| cache.write(saved));
            (saved, outcome)
        });
        match written.await {
            Ok((saved, Ok(()))) => self.saved = saved,
            Ok((_, Err(error))) => {
                let path = self.cache.path().display();
                warn!(%path, %error, "what is in force cannot be kept: a restart without the API server would not find it");
            }
            Err(error) => warn!(%error, "what is in force was not kept"),
        }
    }

    /// Trouble with the API server is a finding, and a warning now and then; everything goes on.
    fn tell(&mut self, error: &dyn std::error::Error) {
        let reason = reason_of(error);
        if self.told_at.is_none_or(|at| at.elapsed() >= LOUD) {
            self.told_at = Some(Instant::now());
            warn!(%reason, "the API server is not followed; everything goes on as it is");
        }
        // The first reason stays until it is over: another word for the same is no news.
        self.trouble.get_or_insert(reason);
    }
}

/// An error with what caused it, each said once.
fn reason_of(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = cause.source();
    }
    reason
}

/// Whether the API server does not know NodeConfigs at all.
fn is_unknown_kind(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchError(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

/// Says what is in force, and what is wrong that was not before.
fn log(now: &Desired, before: &Desired) {
    for finding in now.findings.iter().filter(|f| !before.findings.contains(f)) {
        warn!(about = %finding.file, severity = %finding.severity, "{}", finding.message);
    }
    if before.generation == 0 || now.configs != before.configs || now.settings != before.settings {
        info!(routers = now.configs.len(), "configuration taken");
    }
}
