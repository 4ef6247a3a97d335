//! `Moment`: the one time line on which frames, probes and events of a lab are compared.

use std::ops::{Add, Sub};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Before everything that a lab sees.
    pub const BOOT: Self = Self(0);

    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self(read(ClockId::CLOCK_MONOTONIC))
    }

    /// The moment of a kernel time stamp, which is of CLOCK_REALTIME, through the difference of the clocks
    /// right now: a stamp must be converted soon after it was taken.
    #[must_use]
    pub fn from_realtime(stamp: Duration) -> Self {
        /// Two readings further apart were interrupted, and the difference of the clocks with them.
        const TOGETHER: u64 = 10_000;
        const ATTEMPTS: usize = 20;
        let mut closest = (u64::MAX, 0, 0);
        for _ in 0..ATTEMPTS {
            let before = read(ClockId::CLOCK_MONOTONIC);
            let realtime = read(ClockId::CLOCK_REALTIME);
            let apart = read(ClockId::CLOCK_MONOTONIC).saturating_sub(before);
            closest = closest.min((apart, before, realtime));
            if apart < TOGETHER {
                break;
            }
        }
        let (_, monotonic, realtime) = closest;
        let age = realtime.saturating_sub(nanos(stamp));
        Self(monotonic.saturating_sub(age))
    }

    /// How long after `earlier` this is; zero if it is not after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How long ago this was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }
}

fn read(clock: ClockId) -> u64 {
    // Both clocks exist on every Linux; the call cannot fail with a valid one.
    clock_gettime(clock).map_or(0, |t| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000_000
            + u64::try_from(t.tv_nsec()).unwrap_or(0)
    })
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
