//! One target among those that are probed.
//!
//! Owns its verdict, what was told of it, and when it is due. Asks nothing and sends nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{Kind, Outcome};
use super::prober::{Change, Underway};
use super::{Judgement, Target, Verdict, schedule};

/// The longest reason, in bytes.
const REASON: usize = 256;
/// The shortest time from one probe to the next, whatever `delayAfterFailure` says.
const SHORTEST: Duration = Duration::from_millis(10);

/// A target that is probed.
#[derive(Debug)]
pub(super) struct Slot<E> {
    target: Target,
    /// The number of the set in which it entered.
    entered: u64,
    kind: Kind,
    engine: E,
    verdict: Verdict,
    /// What is thought of it, if anything is.
    judgement: Option<Judgement>,
    /// What was told last, which is nothing before the first probe and after it entered anew.
    told: Option<Judgement>,
    /// Whether it is among those to be told.
    queued: bool,
    hash: u64,
    probes: u64,
    started: Option<Instant>,
    underway: Option<Underway>,
}

impl<E: Clone> Slot<E> {
    pub(super) fn new(
        target: Target,
        entered: u64,
        engine: E,
        known: Option<Judgement>,
        hash: u64,
    ) -> Self {
        let shape = target.shape();
        let verdict = known.as_ref().map_or_else(
            || Verdict::unknown(shape.rise, shape.fall),
            |known| Verdict::known(shape.rise, shape.fall, known.healthy),
        );
        Self {
            kind: Kind::of(shape.kind()),
            target,
            entered,
            engine,
            verdict,
            judgement: known,
            told: None,
            queued: false,
            hash,
            probes: 0,
            started: None,
            underway: None,
        }
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn engine(&self) -> E {
        self.engine.clone()
    }

    pub(super) fn interval(&self) -> Duration {
        self.target.shape().interval()
    }

    /// It is in the set since that of number `entered`. Says whether the slot is to be put among those to be told: if it
    /// left meanwhile, whoever was told has forgotten.
    pub(super) fn enter(&mut self, entered: u64) -> bool {
        let is_same = std::mem::replace(&mut self.entered, entered) == entered;
        // What was never told waits for its first probe, or to be told.
        if is_same || self.told.take().is_none() {
            return false;
        }
        self.enqueue()
    }

    /// A probe began.
    pub(super) fn begin(&mut self, now: Instant, underway: Underway) {
        self.started = Some(now);
        self.probes += 1;
        self.underway = Some(underway);
    }

    /// The probe came to `outcome`. Says whether the slot is to be put among those to be told.
    pub(super) fn take(&mut self, outcome: Outcome) -> bool {
        self.underway = None;
        let (success, weight, reason) = match outcome {
            Outcome::Success { weight } => (true, weight, None),
            Outcome::Failure(failure) => {
                (false, None, Some(reason(self.kind, &failure.to_string())))
            }
            // Nobody was asked: what was thought before is thought still.
            Outcome::Unable(_) => return false,
        };
        self.verdict.observe(success);
        let before = self.judgement.take();
        self.judgement = self.verdict.healthy().map(|healthy| Judgement {
            healthy,
            weight: match (healthy, success) {
                (true, true) => weight,
                (true, false) => before.as_ref().and_then(|before| before.weight),
                (false, _) => None,
            },
            reason: if healthy {
                "".into()
            } else {
                reason.unwrap_or_else(|| before.map_or_else(|| "".into(), |before| before.reason))
            },
        });
        self.enqueue()
    }

    /// Says whether it is to be put among those to be told, where it is from then on.
    fn enqueue(&mut self) -> bool {
        let news = self.judgement != self.told && self.judgement.is_some();
        let enqueue = news && !self.queued;
        self.queued |= news;
        enqueue
    }

    /// What is to be told, if it is still news.
    pub(super) fn tell(&mut self) -> Option<Change> {
        self.queued = false;
        if self.judgement == self.told {
            return None;
        }
        self.told = self.judgement.clone();
        Some((self.target.clone(), self.told.clone()?))
    }

    /// When the next probe is due.
    pub(super) fn next(&self) -> Instant {
        let shape = self.target.shape();
        let span = if self.verdict.falling() {
            shape.delay_after_failure
        } else if self.probes <= 1 {
            schedule::second(self.hash, shape.interval)
        } else {
            shape.interval
        };
        self.started.unwrap_or_else(Instant::now) + span.max(SHORTEST)
    }
}

fn reason(kind: Kind, what: &str) -> Arc<str> {
    let mut text = format!("{}: {what}", kind.as_str());
    let end = (0..=REASON).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text.into()
}
