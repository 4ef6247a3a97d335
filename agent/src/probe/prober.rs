//! The probes of a node: each target's when it is due, and word of every change.
//!
//! Owns the targets with their verdicts, one heap of times for all, and the probes under way. A target that leaves the set
//! is forgotten at once, one that returns starts anew, and the others notice nothing. One that left and returned between
//! two looks goes on, and is told again.

use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use super::engine::Engines;
use super::outcome::{Failure, Kind, Lack, Outcome};
use super::places::{Place, Places};
use super::slot::Slot;
use super::statistics::Statistics;
use super::{Judgement, Shape, Target, Targets, schedule};

/// A judgement from before a start counts for this long after it (DESIGN §7).
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// What the node lacks is logged at most this often.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Word of a change: what is thought of a target from now on.
pub type Change = (Target, Judgement);

/// How a node probes.
#[derive(Debug)]
pub struct Settings {
    /// Where scripts are.
    pub scripts_dir: PathBuf,
    /// A random number, from which the times and the numbers of datagrams are made.
    pub seed: u64,
    /// What was thought of targets before a restart, at most 60 s ago.
    pub known: HashMap<Target, Judgement>,
    /// Where probes are counted, for `/metrics`.
    pub statistics: Arc<Statistics>,
}

/// The probes of a node, not yet begun.
///
/// ```ignore
/// let prober = Prober::new(Settings { scripts_dir, seed, known, statistics });
/// let (changes, mut judgements) = mpsc::channel(256);
/// tokio::spawn(prober.run(targets, changes)); // targets: watch::Receiver<Arc<Targets>>
/// while let Some((target, judgement)) = judgements.recv().await { … }
/// ```
#[derive(Debug)]
pub struct Prober(Settings);

impl Prober {
    /// One that begins with [`Self::run`].
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self(settings)
    }

    /// Probes what is in `targets`, and sends to `changes` the first judgement of each target, and every other one that
    /// differs from the one before, in reasons too. One that entered anew is new, however short it was away. Ends when
    /// either channel is closed.
    ///
    /// A target whose rise is more than 1 has no judgement before it has had as many successes or one failure. A known
    /// one goes on from what was known, and that is sent after its first probe if this changed nothing.
    ///
    /// A receiver that is slow delays no probe: of each target the latest judgement waits. It may yet receive one of a
    /// target that has just left the set.
    pub async fn run(self, targets: watch::Receiver<Arc<Targets>>, changes: mpsc::Sender<Change>) {
        let Settings {
            scripts_dir,
            seed,
            known,
            statistics,
        } = self.0;
        let engines = Engines::new(scripts_dir);
        Course::new(engines, seed, known, statistics, Places::of_process())
            .run(targets, changes)
            .await;
    }
}

/// Who asks. In tests somebody whose answers are known.
pub(super) trait Ask {
    /// What is made once for all targets of a shape.
    type Engine: Clone + Send + 'static;

    /// That of `shape`.
    fn engine(&mut self, shape: &Arc<Shape>) -> Self::Engine;

    /// Asks `target` once, for at most its timeout. `nonce` is another one each time, and nobody else knows it.
    fn ask(
        engine: Self::Engine,
        target: Target,
        nonce: u64,
    ) -> impl Future<Output = Outcome> + Send + 'static;
}

/// Probes under way.
pub(super) struct Course<A: Ask> {
    engines: A,
    seed: u64,
    known: HashMap<Target, Judgement>,
    known_until: Instant,
    statistics: Arc<Statistics>,
    places: Places,
    slots: HashMap<u64, Slot<A::Engine>>,
    index: HashMap<Target, u64>,
    /// One entry for each slot that is neither under way nor waiting for a place.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    attempts: JoinSet<(Outcome, Duration)>,
    running: HashMap<Id, Attempt>,
    /// Slots whose judgement is to be told, oldest first; each at most once.
    untold: VecDeque<u64>,
    last_slot: u64,
    last_attempt: u64,
    complained: Option<Instant>,
}

struct Attempt {
    slot: u64,
    place: Place,
}

impl<A: Ask> Course<A> {
    fn new(
        engines: A,
        seed: u64,
        known: HashMap<Target, Judgement>,
        statistics: Arc<Statistics>,
        places: Places,
    ) -> Self {
        Self {
            engines,
            seed,
            known,
            known_until: Instant::now() + KNOWN_FOR,
            statistics,
            places,
            slots: HashMap::new(),
            index: HashMap::new(),
            due: BinaryHeap::new(),
            attempts: JoinSet::new(),
            running: HashMap::new(),
            untold: VecDeque::new(),
            last_slot: 0,
            last_attempt: 0,
            complained: None,
        }
    }

    async fn run(
        mut self,
        mut targets: watch::Receiver<Arc<Targets>>,
        changes: mpsc::Sender<Change>,
    ) {
        targets.mark_changed();
        loop {
            self.start_due();
            self.statistics
                .occupied(self.running.len(), self.places.waiting());
            let due = self.due.peek().map(|Reverse((when, _))| *when);
            tokio::select! {
                changed = targets.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let wanted = targets.borrow_and_update().clone();
                    self.follow(&wanted);
                }
                Some(ended) = self.attempts.join_next_with_id() => {
                    self.end(ended);
                    while let Some(ended) = self.attempts.try_join_next_with_id() {
                        self.end(ended);
                    }
                }
                permit = changes.reserve(), if !self.untold.is_empty() => match permit {
                    Ok(permit) => self.tell(permit),
                    Err(_) => return,
                },
                () = changes.closed() => return,
                () = until(due) => {}
            }
        }
    }

    /// Begins with what is new in `wanted`, forgets what is not in it, and tells again what entered it anew.
    fn follow(&mut self, wanted: &Targets) {
        let slots = &mut self.slots;
        let statistics = &self.statistics;
        self.index.retain(|target, slot| {
            let stays = wanted.entered(target).is_some();
            if !stays && let Some(slot) = slots.remove(slot) {
                statistics.target_removed(slot.kind());
            }
            stays
        });
        let gone = |slot: u64| !slots.contains_key(&slot);
        self.places.forget(gone);
        self.untold.retain(|slot| !gone(*slot));
        self.due.retain(|Reverse((_, slot))| !gone(*slot));

        let mut new = Vec::new();
        for (target, entered) in wanted.iter() {
            let Some(number) = self.index.get(target) else {
                new.push((target.clone(), entered));
                continue;
            };
            let slot = self.slots.get_mut(number);
            if slot.is_some_and(|slot| slot.enter(entered)) {
                self.untold.push_back(*number);
            }
        }
        let count = new.len();
        if Instant::now() > self.known_until {
            self.known.clear();
        }
        for (target, entered) in new {
            self.add(target, entered, count);
        }
    }

    fn add(&mut self, target: Target, entered: u64, count: usize) {
        self.last_slot += 1;
        let engine = self.engines.engine(target.shape());
        let known = self.known.remove(&target);
        let hash = self.hash(&target);
        let slot = Slot::new(target.clone(), entered, engine, known, hash);
        let start = Instant::now() + schedule::first(hash, count, slot.interval());
        self.statistics.target_added(slot.kind());
        self.due.push(Reverse((start, self.last_slot)));
        self.index.insert(target, self.last_slot);
        self.slots.insert(self.last_slot, slot);
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((when, slot))) = self.due.peek().copied() {
            if when > now {
                return;
            }
            self.due.pop();
            self.start(slot, now);
        }
    }

    /// Begins a probe, or lets it wait for a place.
    fn start(&mut self, number: u64, now: Instant) {
        self.last_attempt += 1;
        let nonce = self.hash(&self.last_attempt);
        let Some(slot) = self.slots.get_mut(&number) else {
            return;
        };
        let Some(place) = self.places.enter(slot.kind(), number) else {
            self.statistics.delayed();
            return;
        };
        let answer = A::ask(slot.engine(), slot.target().clone(), nonce);
        let attempt = self.attempts.spawn(async move {
            let began = Instant::now();
            (answer.await, began.elapsed())
        });
        let running = Attempt {
            slot: number,
            place,
        };
        self.running.insert(attempt.id(), running);
        slot.begin(now, Underway(attempt));
    }

    /// Takes what a probe came to: the verdict, and when the next one is due.
    fn end(&mut self, ended: Result<(Id, (Outcome, Duration)), JoinError>) {
        let now = Instant::now();
        let (id, done) = match ended {
            Ok((id, done)) => (id, Some(done)),
            Err(error) => (error.id(), broken(&error)),
        };
        let Some(Attempt {
            slot: number,
            place,
        }) = self.running.remove(&id)
        else {
            return;
        };
        if let Some(next) = self.places.leave(place) {
            self.start(next, now);
        }
        let (Some((outcome, took)), Some(slot)) = (done, self.slots.get_mut(&number)) else {
            return;
        };
        self.statistics.took(slot.kind(), &outcome, took);
        let lack = match outcome {
            Outcome::Unable(lack) => Some((lack, slot.kind())),
            Outcome::Success { .. } | Outcome::Failure(_) => None,
        };
        if slot.take(outcome) {
            self.untold.push_back(number);
        }
        self.due.push(Reverse((slot.next().max(now), number)));
        if let Some((lack, kind)) = lack {
            self.complain(lack, kind, now);
        }
    }

    /// Sends the oldest judgement that is untold.
    fn tell(&mut self, permit: mpsc::Permit<'_, Change>) {
        while let Some(number) = self.untold.pop_front() {
            if let Some(change) = self.slots.get_mut(&number).and_then(Slot::tell) {
                permit.send(change);
                return;
            }
        }
    }

    fn complain(&mut self, lack: Lack, kind: Kind, now: Instant) {
        if self
            .complained
            .is_none_or(|before| now - before >= COMPLAINT)
        {
            self.complained = Some(now);
            let (lack, kind) = (lack.as_str(), kind.as_str());
            warn!(lack, kind, "probes could not be made and judge nobody");
        }
    }

    fn hash(&self, what: &impl std::hash::Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        what.hash(&mut hasher);
        hasher.finish()
    }
}

/// A probe under way, which ends when this goes.
#[derive(Debug)]
pub(super) struct Underway(AbortHandle);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a probe came to that did not come to an end: nothing if it was ended, a failure if it is broken.
fn broken(error: &JoinError) -> Option<(Outcome, Duration)> {
    error.is_panic().then(|| {
        error!("a probe is broken");
        (Outcome::Failure(Failure::Internal), Duration::ZERO)
    })
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
