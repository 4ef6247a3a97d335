//! The tasks of the runtime: made of what the threads left, none ends by itself.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::serving::Serving;
use super::{Senses, Workers};
use crate::admin::{Admin, Sources, Successor};
use crate::drain::Drains;
use crate::election::Link;
use crate::home::Home;
use crate::source::{Source, Watch};
use crate::status;
use crate::supply::{Served, Supplied, Supply};
use crate::telling;

/// The tasks, none of which ends by itself.
pub(super) struct Tasks {
    pub(super) supply: JoinHandle<anyhow::Result<Supply>>,
    others: JoinSet<anyhow::Result<()>>,
    /// They are read for as long as this is here.
    _manifests: Option<Watch>,
}

/// What the tasks are made of.
pub(super) struct Setup {
    pub(super) home: Home,
    pub(super) workers: Workers,
    pub(super) serving: Serving,
    pub(super) scripts_dir: PathBuf,
    pub(super) source: Source,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) listener: TcpListener,
    pub(super) socket: UnixListener,
    pub(super) memory: Result<(), String>,
    pub(super) successor: mpsc::Sender<Successor>,
    /// The sockets that a takeover gave.
    pub(super) links: Option<Arc<[Arc<Link>]>>,
}

impl Tasks {
    pub(super) fn start(setup: Setup) -> anyhow::Result<(Self, Arc<Mutex<Supplied>>)> {
        let speaker = setup.home.speaker();
        let (served, serving) = watch::channel(Arc::new(Served::default()));
        let Workers {
            senses,
            network,
            notices,
        } = setup.workers;
        let Senses {
            ports,
            planned,
            inventory,
        } = senses;
        let drains = Drains::open(&setup.home.state_dir);
        let drained = drains.watch();
        let desired = setup.source.desired();
        let mut others = JoinSet::new();
        let probes = Arc::default();
        let reports = setup.serving.direct(
            desired.clone(),
            inventory.clone(),
            setup.home.verdicts_file(),
            setup.scripts_dir,
            Arc::clone(&probes),
            &mut others,
        );
        let admin = Admin::new(Sources {
            node: setup.home.node,
            instance: setup.home.instance,
            ports: Arc::clone(&ports),
            network,
            probes,
            inventory: inventory.clone(),
            desired: desired.clone(),
            reports: reports.clone(),
            observed: setup.serving.observed.clone(),
            drains,
            served: serving.clone(),
            memory: setup.memory,
            successors: setup.successor,
        })?;
        let mut supply = Supply::new(
            Arc::clone(&ports),
            planned,
            desired.clone(),
            inventory.clone(),
            drained,
            served,
            speaker,
        );
        if let Some(links) = &setup.links {
            supply.take_over(links);
        }
        let gate = supply.gate();
        let (tell, news) = watch::channel(0);
        others.spawn(telling::tell_events(
            ports,
            inventory.clone(),
            Arc::clone(&admin),
            tell,
        ));
        others.spawn(telling::tell_notices(notices, inventory.clone()));
        let mut manifests = None;
        match setup.source {
            Source::Manifests(watched) => manifests = Some(watched),
            Source::Cluster(cluster) => {
                cluster.in_charge.send_replace(true);
                let writer = status::Writer::new(status::Sources {
                    client: cluster.client,
                    roster: cluster.roster,
                    desired,
                    served: serving,
                    inventory,
                    reports,
                    observed: setup.serving.observed,
                    news,
                    admin: Arc::clone(&admin),
                });
                others.spawn(writer.run());
                let task = cluster.task;
                others.spawn(async move { task.await? });
            }
        }
        others.spawn(Arc::clone(&admin).serve_socket(setup.socket));
        others.spawn(admin.serve_tcp(setup.listener));
        let tasks = Self {
            supply: tokio::spawn(supply.run(setup.stopping)),
            others,
            _manifests: manifests,
        };
        Ok((tasks, gate))
    }

    pub(super) async fn first_end(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            ended = &mut self.supply => ended.map(|end| end.map(drop)),
            ended = self.others.join_next() => ended.unwrap_or_else(|| Ok(Ok(()))),
        };
        match ended {
            Ok(Ok(())) => anyhow!("a task ended"),
            Ok(Err(reason)) => reason,
            Err(reason) => reason.into(),
        }
    }
}
