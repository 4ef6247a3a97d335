//! How long things took: counts in buckets, filled by a real-time thread with two additions and no lock, and read by
//! anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vipkeeper_vrrp::Reason;

/// The most buckets a distribution has, the one without a bound included.
const MOST: usize = 16;

/// Bounds of how late the election's wake-ups are: 50 µs is a quiet machine, 10 ms the shortest interval.
pub const LATENESS: [Duration; 12] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// Bounds of how long failovers take: from three intervals of 10 ms to those of version 2 and longer.
pub const FAILOVER: [Duration; 15] = [
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(350),
    Duration::from_millis(500),
    Duration::from_millis(800),
    Duration::from_millis(1_200),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(4),
    Duration::from_secs(6),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// Durations, counted up to each of some bounds.
#[derive(Debug)]
pub struct Distribution {
    bounds: &'static [Duration],
    counts: [AtomicU64; MOST],
    nanoseconds: AtomicU64,
}

/// A distribution at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Each bound, with how many took no longer.
    pub cumulative: Vec<(Duration, u64)>,
    /// How many there are.
    pub count: u64,
    /// How long all took together.
    pub sum: Duration,
}

impl Distribution {
    /// An empty one with `bounds`, which rise and are fewer than sixteen.
    #[must_use]
    pub fn new(bounds: &'static [Duration]) -> Self {
        Self {
            bounds,
            counts: Default::default(),
            nanoseconds: AtomicU64::new(0),
        }
    }

    /// Counts one.
    pub fn observe(&self, span: Duration) {
        let place = self.bounds.iter().position(|bound| span <= *bound);
        let place = place.unwrap_or(self.bounds.len());
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Buckets {
        let mut count = 0;
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let mut counts = counts.map(|of_bucket| {
            count += of_bucket;
            count
        });
        let cumulative = self.bounds.iter().copied().zip(counts.by_ref()).collect();
        Buckets {
            cumulative,
            // Those beyond every bound are in the buckets that follow.
            count: counts.last().unwrap_or(0),
            sum: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

/// Failovers by the reason of the promotion.
#[derive(Debug)]
pub struct Failovers([Distribution; Self::REASONS.len()]);

impl Failovers {
    /// The reasons that are told apart; the last is for all others.
    pub const REASONS: [&'static str; 4] = ["NoResponse", "Released", "Preempted", "Other"];

    /// Counts one.
    pub fn observe(&self, reason: Reason, span: Duration) {
        let place = Self::REASONS
            .iter()
            .position(|word| *word == reason.as_str());
        let place = place.unwrap_or(Self::REASONS.len() - 1);
        if let Some(distribution) = self.0.get(place) {
            distribution.observe(span);
        }
    }

    /// What was counted so far, by reason.
    #[must_use]
    pub fn read(&self) -> [(&'static str, Buckets); Self::REASONS.len()] {
        let mut all = Self::REASONS.map(|reason| (reason, Buckets::default()));
        for ((_, buckets), distribution) in all.iter_mut().zip(&self.0) {
            *buckets = distribution.read();
        }
        all
    }
}

impl Default for Failovers {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Distribution::new(&FAILOVER)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_up_to_every_bound_that_it_does_not_exceed() {
        let distribution = Distribution::new(&LATENESS);
        for span in [
            Duration::ZERO,
            Duration::from_micros(50),
            Duration::from_micros(51),
            Duration::from_secs(7),
        ] {
            distribution.observe(span);
        }
        let Buckets {
            cumulative,
            count,
            sum,
        } = distribution.read();
        let counts: Vec<u64> = cumulative.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!(cumulative[0].0, Duration::from_micros(50));
        assert_eq!((count, sum), (4, Duration::from_micros(7_000_101)));
    }

    #[test]
    fn bounds_rise_and_leave_a_bucket_for_what_exceeds_them() {
        for bounds in [&LATENESS[..], &FAILOVER] {
            assert!(bounds.is_sorted());
            assert!(bounds.len() < MOST);
        }
    }

    #[test]
    fn failovers_are_told_apart_by_the_reasons_that_exist() {
        let failovers = Failovers::default();
        for reason in [Reason::NoResponse, Reason::Released, Reason::Preempted] {
            failovers.observe(reason, Duration::from_millis(310));
        }
        failovers.observe(Reason::AddressOwner, Duration::from_millis(1));
        let counts = failovers
            .read()
            .map(|(reason, buckets)| (reason, buckets.count));
        assert_eq!(counts, Failovers::REASONS.map(|reason| (reason, 1)));
    }
}
