//! The task that writes: when something happened it looks a moment later, compares, and writes what differs.
//!
//! Coalesced, and limited by a bucket: a node whose routers flap for ever does not burden the API server. What is not
//! written now is compared again later, so that the last state always arrives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};
use vipkeeper_crds::NodeConfig;
use vipkeeper_crds::status::NodeConfigStatus;
use vipkeeper_vrrp::Snapshot;

use super::checks::{Machine, Process};
use super::composition::{Moment, compose};
use super::inventory::inventory;
use super::servers::{self, Standing};
use super::turns::{Due, Turns};
use crate::admin::Admin;
use crate::clock;
use crate::inventory::Inventory;
use crate::services::{Observed, Report};
use crate::source::Desired;
use crate::source::cluster::{Assigned, Roster};
use crate::supply::Served;

/// The name under which our fields are kept.
const MANAGER: &str = "vipkeeper-agent";
/// After something happened: more may follow.
const SETTLING: Duration = Duration::from_millis(50);
/// Without anything having happened, for what has no event of its own.
const PERIOD: Duration = Duration::from_secs(10);
/// How often the machine itself is looked at.
const MACHINE: Duration = Duration::from_secs(60);
/// Writes that are on their way at once.
const AT_ONCE: usize = 8;
/// A write takes at most this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the API server took comes back within this time; after it, what it tells is believed.
const ECHO: Duration = Duration::from_secs(30);
/// After a write that failed.
const PAUSE: Duration = Duration::from_secs(2);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// What the writer looks at.
pub struct Sources {
    /// To the API server.
    pub client: Client,
    /// What this node was assigned.
    pub roster: watch::Receiver<Arc<Roster>>,
    /// What is in force.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// What the election runs of it.
    pub served: watch::Receiver<Arc<Served>>,
    /// The interfaces.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// How the virtual servers stand.
    pub reports: watch::Receiver<Arc<Vec<Report>>>,
    /// What the kernel has of them.
    pub observed: watch::Receiver<Arc<Observed>>,
    /// Counts what the election told.
    pub news: watch::Receiver<u64>,
    /// Where a snapshot is had.
    pub admin: Arc<Admin>,
}

/// See the module.
pub struct Writer {
    sources: Sources,
    api: Api<DynamicObject>,
    machine: Machine,
    machine_due: Instant,
    /// What the kernel had of virtual servers when that was looked at.
    observed: Arc<Observed>,
    /// What was written by us and did not come back yet, by name.
    written: BTreeMap<String, Written>,
    turns: Turns,
    pause: Duration,
}

/// A status that the API server has taken.
struct Written {
    uid: String,
    status: Arc<NodeConfigStatus>,
    at: Instant,
}

impl Writer {
    /// Writes what `sources` show.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        let resource = ApiResource::erase::<NodeConfig>(&());
        Self {
            api: Api::all_with(sources.client.clone(), &resource),
            sources,
            machine: Machine::default(),
            machine_due: Instant::now(),
            observed: Arc::default(),
            written: BTreeMap::new(),
            turns: Turns::new(Instant::now()),
            pause: PAUSE,
        }
    }

    /// Writes until the process ends.
    ///
    /// # Errors
    /// If something that it looks at has ended.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut again = Instant::now();
        loop {
            self.wait(again).await?;
            sleep(SETTLING).await;
            if self.machine_due <= Instant::now() {
                self.machine = Machine::read().await;
                self.machine_due = Instant::now() + MACHINE;
            }
            again = match self.look().await {
                Ok(again) => again,
                Err(error) => {
                    debug!(error = format!("{error:#}"), "no snapshot to report");
                    Instant::now() + PERIOD
                }
            };
        }
    }

    /// Waits until something happens, or until `again`.
    async fn wait(&mut self, again: Instant) -> anyhow::Result<()> {
        let sources = &mut self.sources;
        let changed = loop {
            let changed = tokio::select! {
                () = sleep_until(again) => Ok(()),
                changed = sources.roster.changed() => changed,
                changed = sources.served.changed() => changed,
                changed = sources.inventory.changed() => changed,
                changed = sources.news.changed() => changed,
                changed = sources.reports.changed() => changed,
                // The kernel is read all the time, and its counters are no news.
                changed = sources.observed.changed() => {
                    let now = Arc::clone(&sources.observed.borrow_and_update());
                    if changed.is_ok() && !servers::is_news(&self.observed, &now) {
                        continue;
                    }
                    changed
                }
            };
            break changed;
        };
        changed.context("what is reported has ended")
    }

    /// Compares and writes; when to look again at the latest.
    async fn look(&mut self) -> anyhow::Result<Instant> {
        let period = Instant::now() + PERIOD;
        // The roster first: a claim is confirmed by a snapshot that is younger.
        let roster = Arc::clone(&self.sources.roster.borrow_and_update());
        let served = Arc::clone(&self.sources.served.borrow_and_update());
        let generation = self.sources.desired.borrow().generation;
        if roster.is_empty() || served.generation != Some(generation) {
            return Ok(period);
        }
        let snapshot = self.sources.admin.snapshot().await?;
        let due = self.due(&roster, &served, &snapshot);
        let (due, more_at) = self.turns.grant(due, Instant::now());
        let again = more_at.unwrap_or(period);
        Ok(again.min(self.write(due).await))
    }

    /// What differs from what the API server has.
    fn due(&mut self, roster: &Roster, served: &Served, snapshot: &Snapshot) -> Vec<Due> {
        self.forget(roster);
        let seen = Arc::clone(&self.sources.inventory.borrow_and_update());
        let process = self.process();
        let checks = self.machine.checks(&process, snapshot);
        let inventory = inventory(&seen, snapshot, self.machine.kernel.clone(), checks);
        self.observed = Arc::clone(&self.sources.observed.borrow_and_update());
        let reports = Arc::clone(&self.sources.reports.borrow_and_update());
        let desired = Arc::clone(&self.sources.desired.borrow());
        let moment = Moment {
            snapshot,
            servers: Standing {
                reports: &reports,
                observed: &self.observed,
                desired: &desired,
            },
            wall: clock::wall().saturating_sub(clock::now().since(snapshot.at)),
            notes: &served.notes,
            inventory: &inventory,
            name_of: &|index| seen.name_of(index),
        };
        let known: Vec<Assigned> = roster.iter().map(|a| self.as_written(a)).collect();
        let mut composed = compose(&known, &moment);
        known
            .into_iter()
            .filter_map(|assigned| {
                let status = composed.remove(&assigned.name)?;
                (assigned.status.as_deref() != Some(&status)).then(|| Due {
                    name: assigned.name,
                    uid: assigned.uid,
                    status: Arc::new(status),
                })
            })
            .collect()
    }

    /// With the status that we wrote, if the API server has not told it yet.
    fn as_written(&self, assigned: &Assigned) -> Assigned {
        let written = self.written.get(&assigned.name);
        let written = written.filter(|written| written.uid == assigned.uid);
        let status = written.map(|written| Arc::clone(&written.status));
        Assigned {
            status: status.or_else(|| assigned.status.clone()),
            ..assigned.clone()
        }
    }

    /// What came back, or is gone, is not remembered any longer.
    fn forget(&mut self, roster: &Roster) {
        let told: BTreeMap<&str, &Assigned> = roster.iter().map(|a| (a.name.as_str(), a)).collect();
        self.written.retain(|name, written| {
            let told = told.get(name.as_str()).filter(|a| a.uid == written.uid);
            let is_back = told.is_none_or(|a| a.status.as_ref() == Some(&written.status));
            !is_back && written.at.elapsed() < ECHO
        });
        self.turns.retain(|name| told.contains_key(name));
    }

    fn process(&self) -> Process {
        let realtime = self.sources.admin.realtime();
        let reason = |is_well: bool| {
            let why = realtime.reason.clone();
            (!is_well).then(|| why.unwrap_or_else(|| "refused".to_owned()))
        };
        Process {
            realtime: reason(realtime.scheduling == "SCHED_FIFO"),
            memory: reason(realtime.memory_locked),
        }
    }

    /// Writes; when to look again at the latest.
    async fn write(&mut self, due: Vec<Due>) -> Instant {
        let api = &self.api;
        let outcomes: Vec<_> = futures::stream::iter(due)
            .map(|due| async move {
                let outcome = write(api, &due).await;
                (due, outcome)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut failure = None;
        for (due, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    let Due { name, uid, status } = due;
                    let at = Instant::now();
                    self.written.insert(name, Written { uid, status, at });
                }
                Err(error) => failure = Some((due.name, error)),
            }
        }
        let Some((name, error)) = failure else {
            self.pause = PAUSE;
            return Instant::now() + PERIOD;
        };
        if self.pause == PAUSE {
            warn!(
                name,
                error = format!("{error:#}"),
                "a status is not written; trying again"
            );
        }
        let again = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        again
    }
}

async fn write(api: &Api<DynamicObject>, due: &Due) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "vipkeeper.io/v1alpha1",
        "kind": "NodeConfig",
        // Of another object of this name we know nothing.
        "metadata": {"name": due.name, "uid": due.uid},
        "status": due.status,
    });
    let parameters = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(object);
    let written = api.patch_status(&due.name, &parameters, &patch);
    match timeout(PATIENCE, written).await {
        Ok(Ok(_)) => Ok(()),
        // It is gone, or another has its name: the roster will tell.
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => anyhow::bail!("the API server does not answer within {PATIENCE:?}"),
    }
}
