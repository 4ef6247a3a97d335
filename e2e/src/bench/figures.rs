//! The arithmetic of samples: signed differences of times, order statistics, and how they are printed.

use std::fmt;
use std::ops::Sub;
use std::time::Duration;

/// A signed span of time in nanoseconds: how far something was past its bound, or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Excess(i64);

impl Excess {
    /// `taken` minus `bound`.
    pub(super) fn over(taken: Duration, bound: Duration) -> Self {
        Self(nanos(taken) - nanos(bound))
    }

    /// No shorter or longer than the bound by more than this.
    pub(super) const fn millis(millis: i64) -> Self {
        Self(millis * 1_000_000)
    }
}

impl Sub for Excess {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl fmt::Display for Excess {
    /// Milliseconds, two decimals, always with its sign.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.2} ms", self.0 as f64 / 1e6)
    }
}

/// Milliseconds, one decimal.
pub(super) fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1e3)
}

/// Samples in order of size.
#[derive(Clone, Debug)]
pub(super) struct Sorted<T>(Vec<T>);

impl<T: Ord + Copy> Sorted<T> {
    /// Sorts `samples`.
    pub(super) fn new(samples: impl IntoIterator<Item = T>) -> Self {
        let mut sorted: Vec<T> = samples.into_iter().collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// The smallest sample that at least `percent` of 100 samples do not exceed (nearest rank), so always one
    /// that was measured; `None` without samples.
    pub(super) fn percentile(&self, percent: usize) -> Option<T> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    /// The 50th percentile.
    pub(super) fn median(&self) -> Option<T> {
        self.percentile(50)
    }

    /// The smallest.
    pub(super) fn minimum(&self) -> Option<T> {
        self.0.first().copied()
    }

    /// The largest.
    pub(super) fn maximum(&self) -> Option<T> {
        self.0.last().copied()
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let hundred = Sorted::new((1..=100).rev());
        assert_eq!(hundred.median(), Some(50));
        assert_eq!(hundred.percentile(99), Some(99));
        assert_eq!(hundred.percentile(100), Some(100));
        assert_eq!((hundred.minimum(), hundred.maximum()), (Some(1), Some(100)));
        let twenty = Sorted::new(1..=20);
        assert_eq!(twenty.percentile(99), Some(20));
        assert_eq!(twenty.median(), Some(10));
        let three = Sorted::new([5, 1, 9]);
        assert_eq!(three.median(), Some(5));
        assert_eq!(three.percentile(0), Some(1));
    }

    #[test]
    fn no_samples_have_no_percentile() {
        let none = Sorted::<u8>::new([]);
        assert_eq!((none.median(), none.maximum()), (None, None));
    }

    #[test]
    fn an_excess_keeps_its_sign() {
        let bound = Duration::from_nanos(360_937_500);
        let late = Excess::over(Duration::from_nanos(361_500_000), bound);
        let early = Excess::over(Duration::from_millis(360), bound);
        assert_eq!(late.to_string(), "+0.56 ms");
        assert_eq!(early.to_string(), "-0.94 ms");
        assert_eq!((late - early).to_string(), "+1.50 ms");
        assert!(early < late && late < Excess::millis(1));
    }

    #[test]
    fn spans_print_as_milliseconds() {
        assert_eq!(millis(Duration::from_micros(60_938)), "60.9 ms");
    }
}
