//! The director: brings configuration, endpoints, probes and kernel together.
//!
//! One task of the runtime. Owns the [`Model`] and offers what it says to the services thread, to the prober and to
//! status. Never talks to the kernel, and decides nothing itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep};
use tracing::info;

use super::model::{Model, Report};
use super::verdicts::Verdicts;
use super::{Mailbox, Observed, Table};
use crate::clock;
use crate::inventory::Inventory;
use crate::probe::{Judgement, Prober, Settings, Statistics, Target};
use crate::source::Desired;

/// How many judgements are taken in at once; one table follows from all of them.
const BATCH: usize = 1_024;
/// How often verdicts are saved, if they changed.
const SAVING: Duration = Duration::from_secs(1);

/// Whom the director hears and tells.
#[derive(Debug)]
pub struct Channels {
    /// The configuration.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// The node's interfaces.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// What the kernel has.
    pub observed: watch::Receiver<Arc<Observed>>,
    /// The services thread.
    pub mailbox: Arc<Mailbox>,
    /// How each server stands.
    pub reports: watch::Sender<Arc<Vec<Report>>>,
}

/// The task.
#[derive(Debug)]
pub struct Director {
    channels: Channels,
    /// What the prober is asked.
    targets: watch::Sender<Arc<HashSet<Target>>>,
    model: Model,
    verdicts: Verdicts,
    /// The node's own addresses.
    own: BTreeSet<IpAddr>,
    /// What was offered last.
    table: Option<Arc<Table>>,
    /// Whether verdicts changed since they were saved.
    is_news: bool,
}

impl Director {
    /// One that begins with the verdicts in the file at `verdicts`.
    #[must_use]
    pub fn new(channels: Channels, verdicts: PathBuf) -> Self {
        Self {
            channels,
            targets: watch::channel(Arc::default()).0,
            model: Model::default(),
            verdicts: Verdicts::open(verdicts, SystemTime::now()),
            own: BTreeSet::new(),
            table: None,
            is_news: false,
        }
    }

    /// Runs until the process ends; scripts of probes are in `scripts_dir`, and probes are counted in `statistics`.
    ///
    /// # Errors
    /// If one of those it hears is gone, which ends the process.
    pub async fn run(
        mut self,
        scripts_dir: PathBuf,
        statistics: Arc<Statistics>,
    ) -> anyhow::Result<()> {
        let known = self.begin().await?;
        let prober = Prober::new(Settings {
            scripts_dir,
            seed: RandomState::new().build_hasher().finish(),
            known,
            statistics,
        });
        // Bounded: the prober keeps the latest of each target until there is room.
        let (changes, mut judgements) = mpsc::channel(BATCH);
        let mut prober = tokio::spawn(prober.run(self.targets.subscribe(), changes));
        let mut judged = Vec::with_capacity(BATCH);
        let mut saving = interval(SAVING);
        loop {
            let Channels {
                desired,
                inventory,
                observed,
                ..
            } = &mut self.channels;
            tokio::select! {
                changed = desired.changed() => {
                    changed.context("the source ended")?;
                    self.configure();
                }
                changed = inventory.changed() => {
                    changed.context("the monitor ended")?;
                    if self.look_around() {
                        self.configure();
                    }
                }
                count = judgements.recv_many(&mut judged, BATCH) => {
                    if count == 0 {
                        bail!("the prober ended");
                    }
                    self.judge(&mut judged);
                }
                ended = &mut prober => {
                    ended.context("the prober")?;
                    bail!("the prober ended");
                }
                changed = observed.changed() => {
                    changed.context("the services thread ended")?;
                    self.observe();
                }
                () = until(self.model.next_deadline()) => self.observe(),
                _ = saving.tick() => {
                    let news = std::mem::take(&mut self.is_news);
                    self.verdicts.save(self.model.judgements(), news, SystemTime::now());
                }
            }
        }
    }

    /// Waits until it is known what the kernel has, and what it should have; gives what is known of the targets.
    async fn begin(&mut self) -> anyhow::Result<HashMap<Target, Judgement>> {
        let observed = &mut self.channels.observed;
        let known = |o: &Arc<Observed>| o.at.is_some() || o.trouble.is_some();
        let kernel = observed.wait_for(known).await;
        self.model
            .inherit(&*kernel.context("the services thread ended")?);
        let desired = &mut self.channels.desired;
        let verified = |d: &Arc<Desired>| d.generation > 0;
        desired
            .wait_for(verified)
            .await
            .context("the source ended")?;
        let inventory = &mut self.channels.inventory;
        let seen = |i: &Arc<Inventory>| !i.interfaces.is_empty();
        inventory
            .wait_for(seen)
            .await
            .context("the monitor ended")?;
        self.look_around();
        self.configure();
        Ok(self.model.judgements().clone())
    }

    /// Learns the node's own addresses; whether they are others now.
    fn look_around(&mut self) -> bool {
        let own = self.channels.inventory.borrow_and_update().host_addresses();
        let differs = own != self.own;
        self.own = own;
        differs
    }

    fn configure(&mut self) {
        let desired = Arc::clone(&self.channels.desired.borrow_and_update());
        let now = clock::now();
        self.model
            .configure(&desired.configs, &desired.endpoints, &self.own, now);
        let targets = self.model.targets();
        let known = self.verdicts.of(&targets, SystemTime::now());
        self.model.judge(known, now);
        self.targets.send_if_modified(|last| {
            let differs = **last != targets;
            if differs {
                *last = Arc::new(targets);
            }
            differs
        });
        self.publish();
    }

    fn judge(&mut self, judged: &mut Vec<(Target, Judgement)>) {
        for (target, judgement) in judged.iter() {
            let (address, port) = (target.address(), target.port());
            let Judgement {
                healthy, reason, ..
            } = judgement;
            info!(%address, port, healthy, %reason, "real server judged");
        }
        self.model.judge(judged.drain(..), clock::now());
        self.is_news = true;
        self.publish();
    }

    fn observe(&mut self) {
        let observed = Arc::clone(&self.channels.observed.borrow_and_update());
        if self.model.observe(&observed, clock::now()) {
            self.publish();
        }
    }

    /// Tells what follows.
    fn publish(&mut self) {
        let table = self.model.table();
        if self.table.as_deref() != Some(&table) {
            let table = Arc::new(table);
            self.channels.mailbox.offer(Arc::clone(&table));
            self.table = Some(table);
        }
        let reports = self.model.reports();
        self.channels.reports.send_if_modified(|last| {
            let differs = **last != reports;
            if differs {
                *last = Arc::new(reports);
            }
            differs
        });
    }
}

/// Waits until `deadline`; for ever without one.
async fn until(deadline: Option<vipkeeper_vrrp::Time>) {
    match deadline {
        Some(deadline) => sleep(deadline.since(clock::now())).await,
        None => std::future::pending().await,
    }
}
