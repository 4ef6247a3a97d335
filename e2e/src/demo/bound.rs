//! What the protocol promises a client, and whether a measured gap kept it.

use std::fmt;
use std::time::Duration;

use crate::manifest::Router;

/// What scheduling, the kernel and the probes may add before the demo calls a gap too long (DESIGN §11).
pub(super) const TOLERANCE: Duration = Duration::from_millis(250);

/// How long an address may be without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    least: Duration,
    most: Duration,
}

impl Bound {
    /// Nothing happens to the address, or it moves as planned: the old holder serves until the new one does.
    pub(super) const NONE: Self = Self {
        least: Duration::ZERO,
        most: Duration::ZERO,
    };

    /// After the death of the Active, with a Backup of `priority`: it had up to one advertisement interval to
    /// live since its last advertisement (RFC 9568 §6.1: Active_Down_Interval).
    pub(super) fn after_death(router: &Router, priority: u8) -> Self {
        let most = router.active_down_interval(priority);
        Self {
            least: most.saturating_sub(router.interval),
            most,
        }
    }

    /// Whether `gap` is within the bound and the tolerance.
    pub(super) fn keeps(self, gap: Duration) -> bool {
        gap <= self.most + TOLERANCE
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (millis(self.least), millis(self.most));
        if self.most.is_zero() {
            f.pad("no gap")
        } else if least == most {
            f.pad(&format!("{most} ms"))
        } else {
            f.pad(&format!("{least} to {most} ms"))
        }
    }
}

/// Whole milliseconds, to the nearest.
pub(super) fn millis(span: Duration) -> u128 {
    (span.as_micros() + 500) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router {
        Router {
            interval: Duration::from_millis(100),
            ..Router::new("web", 51, &[], &[("a", 100), ("b", 90)])
        }
    }

    #[test]
    fn a_death_costs_two_to_three_intervals_and_skew() {
        // Skew of priority 90: 166/256 of 100 ms.
        let bound = Bound::after_death(&router(), 90);
        assert_eq!(bound.least, Duration::from_nanos(264_843_750));
        assert_eq!(bound.most, Duration::from_nanos(364_843_750));
        assert_eq!(bound.to_string(), "265 to 365 ms");
    }

    #[test]
    fn a_gap_is_too_long_beyond_bound_and_tolerance() {
        let bound = Bound::after_death(&router(), 90);
        assert!(bound.keeps(Duration::ZERO));
        assert!(bound.keeps(Duration::from_millis(614)));
        assert!(!bound.keeps(Duration::from_millis(615)));
        assert!(!Bound::NONE.keeps(Duration::from_millis(251)));
        assert_eq!(Bound::NONE.to_string(), "no gap");
    }
}
