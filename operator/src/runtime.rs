//! The loop: changes in, writes out, for as long as this operator leads.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Resource as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use vipkeeper_compiler::Finding;

use crate::apply::{Done, Writer};
use crate::change::{Change, Now, Owner};
use crate::cli::Cli;
use crate::cluster::Cluster;
use crate::lease::Claim;
use crate::listen::{self, Pulse};
use crate::metrics::Metrics;
use crate::news::News;
use crate::publish::Publisher;
use crate::watch::{self as streams, Wanted};

/// Changes that come together are taken together.
const TOGETHER: Duration = Duration::from_millis(20);
/// Everything is looked at after this: Nodes become long not ready by the clock alone, and whatever was missed heals.
const PASS: Duration = Duration::from_secs(600);
/// The loop shows that it is alive at least so often.
const TICK: Duration = Duration::from_secs(10);
/// The Lease that says who writes.
pub(crate) const LEASE: &str = "vipkeeper-operator";

/// Runs until it is told to stop.
///
/// # Errors
/// When there is no way to the API server, or a part of it ended by itself.
pub async fn run(cli: &Cli) -> anyhow::Result<()> {
    let metrics = Metrics::new().context("the metrics")?;
    let pulse = Pulse::default();
    let listener = listen::listen(&cli.listen).await?;
    let served = listen::serve(listener, pulse.clone(), metrics.clone());
    let client = Client::try_default()
        .await
        .context("the way to the API server")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let identity = cli.identity();
    let (mut claim, leads) = Claim::new(client.clone(), &cli.namespace, LEASE, &identity);
    let (wanted, config_maps) = watch::channel(Wanted::new());
    let (changes, mut tasks) = streams::start(&client, config_maps);
    let publisher = Publisher::start(client.clone(), &identity, metrics.clone());
    let writer = Writer::new(client, metrics.clone());
    let mut reconciler = Reconciler::new(writer, metrics, pulse, publisher, wanted);
    let outcome = tokio::select! {
        () = claim.keep() => Ok(()),
        outcome = reconciler.run(changes, leads) => outcome,
        outcome = served => outcome,
        ended = tasks.join_next() => Err(anyhow::anyhow!("a watch ended: {ended:?}")),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // Whatever was being written is done or was never begun; the next leader finds the same to do.
    drop(reconciler);
    claim.release().await;
    info!("ended");
    outcome
}

/// What the loop works with.
#[derive(Debug)]
pub struct Reconciler {
    cluster: Cluster,
    writer: Writer,
    metrics: Metrics,
    pulse: Pulse,
    publisher: Publisher,
    /// The ConfigMaps that are to be read.
    wanted: watch::Sender<Wanted>,
    began: Instant,
    passed: Instant,
    leads: bool,
    /// What was said about objects without a status; `None` before the first look.
    said: Option<BTreeSet<String>>,
}

impl Reconciler {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(
        writer: Writer,
        metrics: Metrics,
        pulse: Pulse,
        publisher: Publisher,
        wanted: watch::Sender<Wanted>,
    ) -> Self {
        Self {
            cluster: Cluster::default(),
            writer,
            metrics,
            pulse,
            publisher,
            wanted,
            began: Instant::now(),
            passed: Instant::now(),
            leads: false,
            said: None,
        }
    }

    /// Takes `changes` in, and writes while it leads.
    ///
    /// # Errors
    /// When one of the two channels ends.
    pub async fn run(
        &mut self,
        mut changes: mpsc::Receiver<Change>,
        mut leads: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        loop {
            let pause = self.pause();
            tokio::select! {
                change = changes.recv() => {
                    self.cluster.take(change.context("the watches ended")?);
                    self.take_together(&mut changes).await;
                }
                done = self.writer.next() => {
                    self.take_done(done);
                    while let Some(done) = self.writer.try_next() {
                        self.take_done(done);
                    }
                }
                changed = leads.changed() => changed.context("the Lease's task ended")?,
                () = sleep(pause) => {}
            }
            self.ask_for_config_maps();
            self.pulse.tick(self.cluster.is_complete());
            self.metrics.show(&self.cluster);
            let leads_now = *leads.borrow_and_update();
            self.metrics.set_leader(leads_now);
            if leads_now {
                self.look();
            } else {
                self.writer.clear();
            }
            self.leads = leads_now;
        }
    }

    fn look(&mut self) {
        if !self.leads {
            self.passed = Instant::now();
            self.cluster.begin_to_write();
        } else if self.passed.elapsed() >= PASS {
            self.passed = Instant::now();
            self.cluster.look_at_everything();
        }
        for owner in self.writer.due() {
            self.cluster.look_at(owner);
        }
        let begun = Instant::now();
        let now = self.now();
        let writes = self.cluster.writes(&now);
        if !writes.is_empty() {
            let took = begun.elapsed();
            self.metrics.compiled(took);
            if took > Duration::from_secs(1) {
                warn!(?took, "compiling takes long");
            }
        }
        for (owner, writes) in writes {
            self.writer.plan(&owner, writes);
        }
        self.writer.start();
        self.say_elsewhere();
    }

    fn take_done(&mut self, done: Done) {
        if let Some(change) = done.change {
            self.cluster.take(change);
        }
        let Some((owner, news)) = done.news else {
            return;
        };
        let about = match &owner {
            Owner::Router(router) => self.cluster.router(router).map(|r| r.object_ref(&())),
            Owner::Server(server) => self.cluster.server(server).map(|s| s.object_ref(&())),
            Owner::Node(_) => None,
        };
        if let Some(about) = about {
            self.publisher.tell(&about, news);
        }
    }

    fn ask_for_config_maps(&self) {
        self.wanted.send_if_modified(|wanted| {
            let differs = !wanted.iter().eq(self.cluster.wanted_config_maps());
            if differs {
                *wanted = self.cluster.wanted_config_maps().cloned().collect();
            }
            differs
        });
    }

    /// What is found out about objects that have no status: in the log, and as Events from the second look on, so that
    /// an operator that begins repeats nothing.
    fn say_elsewhere(&mut self) {
        if !self.cluster.is_complete() {
            return;
        }
        let findings = self.cluster.findings_elsewhere();
        let text = |f: &Finding| format!("{} {}: {}", f.object, f.path, f.message);
        let now: BTreeSet<String> = findings.iter().map(|f| text(f)).collect();
        let before = self.said.as_ref();
        for finding in findings {
            let text = text(finding);
            if before.is_some_and(|before| before.contains(&text)) {
                continue;
            }
            let (object, path) = (&finding.object, &finding.path);
            warn!(%object, path, message = finding.message, "found");
            if before.is_some() {
                let news = News {
                    warning: true,
                    reason: "Invalid".to_owned(),
                    note: format!("{path}: {}", finding.message),
                };
                self.publisher.tell(&reference(finding), vec![news]);
            }
        }
        self.said = Some(now);
    }

    fn pause(&self) -> Duration {
        let by_clock = self.cluster.wake();
        let by_clock = by_clock.map(|at| at.saturating_sub(self.began.elapsed()));
        let again = self.writer.wake();
        let again = again.map(|at| at.saturating_duration_since(Instant::now()));
        let pauses = by_clock.filter(|_| self.leads).into_iter().chain(again);
        pauses.min().unwrap_or(TICK).min(TICK)
    }

    fn now(&self) -> Now {
        let now = Timestamp::now();
        Now {
            // In whole seconds, as the API server writes times.
            date: Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
            clock: self.began.elapsed(),
        }
    }

    async fn take_together(&mut self, changes: &mut mpsc::Receiver<Change>) {
        let end = Instant::now() + TOGETHER;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match timeout(left, changes.recv()).await {
                Ok(Some(change)) => self.cluster.take(change),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

fn reference(finding: &Finding) -> ObjectReference {
    let ours = finding.object.kind != "Node";
    ObjectReference {
        api_version: Some(if ours { "vipkeeper.io/v1alpha1" } else { "v1" }.to_owned()),
        kind: Some(finding.object.kind.clone()),
        name: Some(finding.object.name.clone()),
        ..ObjectReference::default()
    }
}
