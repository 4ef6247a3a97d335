//! A process that finds another of its instance alive: it reads its configuration and waits for its turn.
//!
//! It owns nothing, sweeps nothing, answers nobody. It asks for a takeover as soon as its own configuration is
//! verified; if the other process ends in any other way, it begins alone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};
use vipkeeper_compiler::Severity;

use crate::admin::SOCKET;
use crate::home::{Home, Locks};
use crate::inventory::Inventory;
use crate::source::Desired;
use crate::takeover::taking::{Answer, Heir, Offer, ask};
use crate::takeover::urgently;

/// How often it looks whether the other process is gone.
const LOOK: Duration = Duration::from_millis(100);
/// The pause after a takeover that did not come about; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// How it begins.
#[derive(Debug)]
pub enum Turn {
    /// No other process has this instance any more.
    Alone(Locks),
    /// The other process stands still, ready to give everything.
    Heir(Box<Offer>),
}

/// A process that stands by.
pub struct Standby<'a> {
    /// Whose place it would take.
    pub home: &'a Home,
    /// Who it is.
    pub heir: Heir,
    /// Its configuration.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// Its interfaces.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// The pause before the next attempt.
    pause: Duration,
    next_attempt: Instant,
}

impl<'a> Standby<'a> {
    /// Stands by for `home`.
    #[must_use]
    pub fn new(
        home: &'a Home,
        heir: Heir,
        desired: watch::Receiver<Arc<Desired>>,
        inventory: watch::Receiver<Arc<Inventory>>,
    ) -> Self {
        Self {
            home,
            heir,
            desired,
            inventory,
            pause: FIRST_PAUSE,
            next_attempt: Instant::now(),
        }
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// If the locks cannot be looked at.
    pub async fn turn(&mut self) -> anyhow::Result<Turn> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = 0;
        loop {
            if let Some(locks) = self.home.claim()? {
                return Ok(Turn::Alone(locks));
            }
            if self.is_ready(&mut told)
                && self.next_attempt <= Instant::now()
                && let Some(offer) = self.attempt().await?
            {
                return Ok(Turn::Heir(offer));
            }
            tokio::select! {
                _ = look.tick() => {}
                // Their ends are the process's, which does not depend on us.
                Ok(()) = self.desired.changed() => {}
                Ok(()) = self.inventory.changed() => {}
            }
        }
    }

    /// Another attempt comes after a pause.
    pub fn put_off(&mut self) {
        self.next_attempt = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }

    /// Whether its configuration is verified: it would not refuse what the other process runs.
    fn is_ready(&mut self, told: &mut u64) -> bool {
        let desired = Arc::clone(&self.desired.borrow_and_update());
        let is_error = |severity| severity == Severity::Error;
        let error = desired.findings.iter().find(|f| is_error(f.severity));
        if let Some(error) = error
            && *told != desired.generation
        {
            *told = desired.generation;
            warn!(%error, "no takeover: the configuration has errors, which the running agent may not have");
        }
        let interfaces = !self.inventory.borrow_and_update().interfaces.is_empty();
        error.is_none() && desired.generation > 0 && interfaces
    }

    async fn attempt(&mut self) -> anyhow::Result<Option<Box<Offer>>> {
        let (socket, heir) = (self.home.run_dir.join(SOCKET), self.heir.clone());
        let answer = urgently(move || ask(&socket, &heir)).await;
        match answer.context("asking for a takeover")? {
            Answer::Offer(offer) => Ok(Some(offer)),
            Answer::Leaves(reason) => {
                info!(%reason, "no takeover: the running agent leaves");
                self.put_off();
                Ok(None)
            }
            Answer::NotNow(reason) => {
                let (reason, again) = (format!("{reason:#}"), self.pause);
                warn!(%reason, ?again, "no takeover: the running agent goes on");
                self.put_off();
                Ok(None)
            }
        }
    }
}
