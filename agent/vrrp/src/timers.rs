//! All the protocol's arithmetic of time, in nanoseconds: multiply first, divide last.
//!
//! In whole centiseconds the skew of a 10 ms router would be zero for every priority and ties would never be
//! broken.

use std::time::Duration;

use crate::config::Protocol;
use crate::time::nanos;

/// Between two advertisements that answer somebody: a flood of lower priorities costs a hundred a second.
pub(crate) const REASSERTION_PAUSE: Duration = Duration::from_millis(10);

/// For so many intervals after a promotion, a sync group leaves ties to the link of its first member.
pub(crate) const TIE_GRACE: u32 = 2;
/// Between the two priority 0 of a lame duck. A successor that heard the first only begins its skew again.
pub(crate) const RELEASE_REPETITION: Duration = Duration::from_millis(5);

/// What delays a successor and its advertisement beyond the protocol's own timers.
pub(crate) const HANDOVER_MARGIN: Duration = Duration::from_millis(200);

/// Before a drained router that nobody relieved asks again.
pub(crate) const DRAIN_RETRY: Duration = Duration::from_secs(60);

/// How long an Active waits to learn what became of its addresses. A thousand routers that are promoted together
/// wait a second for each other.
pub const INSTALL_PATIENCE: Duration = Duration::from_secs(3);

/// The first wait after the kernel refused an interface's addresses; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest such wait.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Skew_Time: what a router of `priority` waits longer than one of 256 would. Version 3 scales it with the
/// Active's interval (RFC 9568 §6.1), version 2 with one second (RFC 3768 §6.1).
pub(crate) fn skew_time(protocol: &Protocol, priority: u8, adver_interval: Duration) -> Duration {
    let scale = match protocol {
        Protocol::V2 { .. } => Duration::from_secs(1),
        Protocol::V3 { .. } => adver_interval,
    };
    Duration::from_nanos((256 - u64::from(priority)) * nanos(scale) / 256)
}

/// Active_Down_Interval: `missed` intervals of the Active and the skew (RFC 9568 §6.1).
pub(crate) fn active_down_interval(
    missed: u8,
    adver_interval: Duration,
    skew: Duration,
) -> Duration {
    adver_interval
        .saturating_mul(u32::from(missed))
        .saturating_add(skew)
}

/// The wait before addresses are tried again that were refused `failures` times in a row.
pub(crate) fn retry_delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(6);
    FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;
    use crate::config::{Centiseconds, ChecksumPolicy};

    fn v3(centiseconds: u16) -> Protocol {
        let interval = Centiseconds::new(centiseconds).unwrap();
        Protocol::V3 {
            interval,
            checksum: ChecksumPolicy::Auto,
        }
    }

    #[test]
    fn c36_skew_keeps_its_fraction_at_the_shortest_interval() {
        let protocol = v3(1);
        let skew = |priority| skew_time(&protocol, priority, protocol.interval());
        assert_eq!(skew(100), Duration::from_nanos(6_093_750));
        assert_eq!(skew(254), Duration::from_nanos(78_125));
        assert_eq!(skew(255), Duration::from_nanos(39_062));
        assert_eq!(skew(1), Duration::from_nanos(9_960_937));
    }

    #[test]
    fn c36_skew_follows_the_actives_interval() {
        let skew = skew_time(&v3(100), 100, Duration::from_millis(100));
        assert_eq!(skew, Duration::from_nanos(60_937_500));
    }

    #[test]
    fn c37_active_down_interval_is_three_intervals_and_the_skew() {
        let protocol = v3(100);
        let skew = skew_time(&protocol, 100, protocol.interval());
        assert_eq!(skew, Duration::from_nanos(609_375_000));
        let down = active_down_interval(3, protocol.interval(), skew);
        assert_eq!(down, Duration::from_nanos(3_609_375_000));
    }

    #[test]
    fn c107_version_2_skew_is_a_fraction_of_a_second_whatever_the_interval() {
        let protocol = Protocol::V2 {
            seconds: NonZeroU8::new(30).unwrap(),
            password: None,
        };
        let skew = skew_time(&protocol, 100, protocol.interval());
        assert_eq!(skew, Duration::from_nanos(609_375_000));
        let down = active_down_interval(3, protocol.interval(), skew);
        assert_eq!(down, Duration::from_nanos(90_609_375_000));
    }

    #[test]
    fn retries_double_from_one_second_to_a_minute() {
        let seconds: Vec<u64> = (1..=9).map(|n| retry_delay(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
