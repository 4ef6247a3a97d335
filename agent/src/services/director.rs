//! The director: brings configuration, endpoints, probes and kernel together.
//!
//! One task of the runtime. Owns the [`Model`] and offers what it says to the services thread, to the prober and to
//! status. Never talks to the kernel, and decides nothing itself.

use std::collections::{BTreeSet, HashMap};
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
use crate::probe::{Judgement, Prober, Settings, Statistics, Target, Targets};
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
    /// What the prober is asked. The model forgets the judgements of all that leave, and so it is one set for each
    /// configuration, though the prober may look at the last of several alone.
    targets: watch::Sender<Arc<Targets>>,
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
            let next = last.followed_by(targets);
            let differs = next.is_some();
            if let Some(next) = next {
                *last = Arc::new(next);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scratch::Directory;

    struct Bench {
        director: Director,
        desired: watch::Sender<Arc<Desired>>,
        _directory: Directory,
    }

    impl Bench {
        fn new() -> Self {
            let directory = Directory::new();
            let (desired, hear) = watch::channel(Arc::default());
            let channels = Channels {
                desired: hear,
                inventory: watch::channel(Arc::default()).1,
                observed: watch::channel(Arc::default()).1,
                mailbox: Arc::new(Mailbox::new().unwrap()),
                reports: watch::channel(Arc::default()).0,
            };
            Self {
                director: Director::new(channels, directory.path().join("verdicts")),
                desired,
                _directory: directory,
            }
        }

        /// A server with the real servers 10.0.0.`numbers`; gives the targets.
        fn configure(&mut self, numbers: &[u8]) -> Arc<Targets> {
            let mut config = crate::plan::tests::config("web", "192.0.2.1");
            config.servers = vec![serde_json::from_value(server(numbers)).unwrap()];
            let desired = Desired {
                configs: vec![config].into(),
                ..Desired::default()
            };
            self.desired.send_replace(Arc::new(desired));
            self.director.configure();
            self.director.targets.borrow().clone()
        }
    }

    fn server(numbers: &[u8]) -> serde_json::Value {
        let real = |n| json!({"address": format!("10.0.0.{n}"), "port": 8080, "weight": 1});
        let real_servers: Vec<_> = numbers.iter().map(real).collect();
        let probe = json!({
            "name": "tcp", "kind": {"type": "TCP"}, "interval": "1s", "timeout": "1s", "rise": 1, "fall": 3,
            "delayAfterFailure": "1s",
        });
        json!({
            "namespace": "default", "name": "web",
            "listeners": [{
                "type": "Address", "address": "192.0.2.1", "port": 80, "protocol": "TCP", "targetPort": 80,
            }],
            "scheduler": {"name": "rr"},
            "forwarding": {"method": "NAT"},
            "members": {"type": "Static", "realServers": real_servers},
            "quorum": {"weight": 1, "hysteresis": 0, "sorry": true},
            "probes": [probe],
            "initialState": "Down", "onFailure": "Remove", "drainTimeout": "60s",
        })
    }

    fn target(number: u8) -> Target {
        let probe = server(&[])["probes"][0].clone();
        let probe = serde_json::from_value(probe).unwrap();
        Target::of(&probe, ([10, 0, 0, number], 8080).into())
    }

    #[test]
    fn who_returns_is_asked_about_anew_for_what_was_thought_of_it_is_forgotten() {
        let mut bench = Bench::new();
        let before = bench.configure(&[1, 2]);
        let judgement = Judgement {
            healthy: true,
            weight: None,
            reason: "".into(),
        };
        let mut judged = vec![(target(1), judgement.clone()), (target(2), judgement)];
        bench.director.judge(&mut judged);
        bench.configure(&[1]);
        let after = bench.configure(&[1, 2]);
        let remembered: Vec<_> = bench.director.model.judgements().keys().collect();
        assert_eq!(remembered, [&target(1)]);
        assert!(before.entered(&target(1)).is_some());
        assert_eq!(after.entered(&target(1)), before.entered(&target(1)));
        assert!(after.entered(&target(2)) > before.entered(&target(2)));
    }
}
