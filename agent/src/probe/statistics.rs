//! What the probes of a node came to, as numbers.
//!
//! Owns counters that anybody reads at any time. Never resets one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::outcome::{Failure, Kind, Outcome};
use crate::distribution::{Buckets, Distribution};

const KINDS: usize = Kind::ALL.len();

/// Bounds of how long probes take: from a loopback's to the default timeout and beyond.
const BOUNDS: [Duration; 13] = [
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// The words for what a probe came to, in the order of [`Statistics::took`].
pub const RESULTS: [&str; 4] = ["ok", "failed", "timeout", "unable"];

/// Counters of the probes of a node.
#[derive(Debug)]
pub struct Statistics {
    results: [[AtomicU64; RESULTS.len()]; KINDS],
    durations: [Distribution; KINDS],
    targets: [AtomicU64; KINDS],
    running: AtomicU64,
    waiting: AtomicU64,
    delayed: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// The kinds that were or are used.
    pub kinds: Vec<OfKind>,
    /// Probes under way.
    pub running: u64,
    /// Probes that are due and wait for others to end.
    pub waiting: u64,
    /// Probes that had to wait since the start.
    pub delayed: u64,
}

/// What there is to say about one kind of probes.
#[derive(Clone, Debug, PartialEq)]
pub struct OfKind {
    /// Its word in the API.
    pub kind: &'static str,
    /// Targets that are probed.
    pub targets: u64,
    /// How many probes came to each of [`RESULTS`].
    pub results: [u64; RESULTS.len()],
    /// How long those took that were judged.
    pub durations: Buckets,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            results: Default::default(),
            durations: std::array::from_fn(|_| Distribution::new(&BOUNDS)),
            targets: Default::default(),
            running: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        }
    }
}

impl Statistics {
    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Figures {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let kinds = Kind::ALL
            .into_iter()
            .zip(&self.results)
            .zip(&self.durations)
            .zip(&self.targets)
            .map(|(((kind, results), durations), targets)| OfKind {
                kind: kind.as_str(),
                targets: load(targets),
                results: std::array::from_fn(|place| results.get(place).map_or(0, load)),
                durations: durations.read(),
            })
            .filter(|of_kind| of_kind.targets > 0 || of_kind.results.iter().any(|count| *count > 0))
            .collect();
        Figures {
            kinds,
            running: load(&self.running),
            waiting: load(&self.waiting),
            delayed: load(&self.delayed),
        }
    }

    /// Counts a probe that ended.
    pub(super) fn took(&self, kind: Kind, outcome: &Outcome, duration: Duration) {
        let result = match outcome {
            Outcome::Success { .. } => 0,
            Outcome::Failure(Failure::Late { .. }) => 2,
            Outcome::Failure(_) => 1,
            Outcome::Unable(_) => 3,
        };
        let of_kind = self.results.get(kind as usize);
        if let Some(counter) = of_kind.and_then(|results| results.get(result)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let (true, Some(durations)) = (result < 3, self.durations.get(kind as usize)) {
            durations.observe(duration);
        }
    }

    pub(super) fn target_added(&self, kind: Kind) {
        if let Some(targets) = self.targets.get(kind as usize) {
            targets.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn target_removed(&self, kind: Kind) {
        if let Some(targets) = self.targets.get(kind as usize) {
            targets.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn delayed(&self) {
        self.delayed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn occupied(&self, running: usize, waiting: usize) {
        self.running.store(running as u64, Ordering::Relaxed);
        self.waiting.store(waiting as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Lack, Stage};
    use super::*;

    #[test]
    fn each_result_has_its_word_and_what_was_not_asked_no_duration() {
        let statistics = Statistics::default();
        statistics.target_added(Kind::Tcp);
        let late = Failure::Late {
            stage: Stage::Waiting,
            limit: Duration::from_secs(3),
        };
        for outcome in [
            Outcome::Success { weight: None },
            Outcome::Failure(Failure::Refused),
            Outcome::Failure(late),
            Outcome::Unable(Lack::Descriptors),
        ] {
            statistics.took(Kind::Tcp, &outcome, Duration::from_millis(1));
        }
        let figures = statistics.read();
        let [tcp] = &figures.kinds[..] else {
            panic!("{figures:?}");
        };
        assert_eq!((tcp.kind, tcp.targets, tcp.results), ("TCP", 1, [1; 4]));
        assert_eq!(tcp.durations.count, 3);
    }

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS.is_sorted());
    }
}
