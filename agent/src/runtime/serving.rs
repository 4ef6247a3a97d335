//! Virtual servers in the agent's life: how the services thread, the director and the prober begin and end.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Threads;
use crate::cli::RunArgs;
use crate::home::Home;
use crate::inventory::Inventory;
use crate::network::ledger::Identity;
use crate::probe::Statistics;
use crate::services::ledger::Ledger;
use crate::services::{self, Director, Mailbox, Netlink, Observed, Report};
use crate::source::Desired;

/// The services thread, and where it is told and heard.
#[derive(Clone, Debug)]
pub(super) struct Serving {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) observed: watch::Receiver<Arc<Observed>>,
}

impl Serving {
    /// Starts the thread. Whoever had the services before has let go of them.
    pub(super) fn start(
        threads: &Threads,
        args: &RunArgs,
        home: &Home,
        identity: Identity,
    ) -> anyhow::Result<Self> {
        let (ledger, discarded) = Ledger::open(home.services_file(), identity);
        if let Some(reason) = discarded {
            info!(%reason, "the ledger of services is discarded");
        }
        let mailbox = Arc::new(Mailbox::new().context("channels")?);
        let (tell, observed) = watch::channel(Arc::default());
        let context = services::Context {
            mailbox: Arc::clone(&mailbox),
            observed: tell,
        };
        let kernel = Netlink::with_settings(args.system_settings());
        threads.start("services", move || services::run(kernel, ledger, context))?;
        Ok(Self { mailbox, observed })
    }

    /// Starts the director, with the prober that it asks, which counts in `statistics`; tells how each server stands.
    pub(super) fn direct(
        &self,
        desired: watch::Receiver<Arc<Desired>>,
        inventory: watch::Receiver<Arc<Inventory>>,
        verdicts: PathBuf,
        scripts_dir: PathBuf,
        statistics: Arc<Statistics>,
        tasks: &mut JoinSet<anyhow::Result<()>>,
    ) -> watch::Receiver<Arc<Vec<Report>>> {
        let (tell, reports) = watch::channel(Arc::default());
        let channels = services::Channels {
            desired,
            inventory,
            observed: self.observed.clone(),
            mailbox: Arc::clone(&self.mailbox),
            reports: tell,
        };
        tasks.spawn(Director::new(channels, verdicts).run(scripts_dir, statistics));
        reports
    }

    /// Lets go of everything, for the process that takes over.
    pub(super) async fn release(&self) -> anyhow::Result<()> {
        self.mailbox.release().await.context("the services thread")
    }

    /// Goes on: nobody took over.
    pub(super) fn resume(&self) {
        if let Err(error) = self.mailbox.resume() {
            warn!(%error, "virtual servers are not followed any more");
        }
    }

    /// Takes everything out of the kernel. Their addresses are gone by now.
    pub(super) async fn finish(&self) {
        match self.mailbox.finish().await {
            Ok(finished) => {
                for (service, trouble) in &finished.left {
                    warn!(%service, %trouble, "a service stays in the kernel");
                }
                if finished.removed > 0 {
                    info!(services = finished.removed, "services removed");
                }
            }
            Err(error) => warn!(%error, "services stay in the kernel"),
        }
    }
}
