//! The clocks: what the pure crates are told instead of reading them.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use vipkeeper_vrrp::Time;

/// Now, by CLOCK_BOOTTIME.
#[must_use]
pub fn now() -> Time {
    Time::from_nanos(u64::try_from(read(ClockId::CLOCK_BOOTTIME).as_nanos()).unwrap_or(u64::MAX))
}

/// Now, since the epoch, by CLOCK_REALTIME, which people and kernel timestamps use and which may jump.
#[must_use]
pub fn wall() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// What a moment of `wall` was in boot time, seen from a moment at which both clocks were read.
#[must_use]
pub fn since_boot(stamp: Duration, wall: Duration, now: Time) -> Time {
    if stamp <= wall {
        now - (wall - stamp)
    } else {
        now + (stamp - wall)
    }
}

fn read(clock: ClockId) -> Duration {
    // Both clocks exist on every Linux, so there is no error but a broken seccomp filter's.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_moved_by_the_distance_of_the_clocks() {
        let wall = Duration::from_secs(1_000);
        let now = Time::from_nanos(5_000_000_000);
        let earlier = since_boot(Duration::from_millis(999_500), wall, now);
        assert_eq!(earlier, Time::from_nanos(4_500_000_000));
        let later = since_boot(Duration::from_millis(1_000_250), wall, now);
        assert_eq!(later, Time::from_nanos(5_250_000_000));
    }

    #[test]
    fn the_clock_goes_forward() {
        let first = now();
        assert!(first > Time::ZERO);
        assert!(now() >= first);
    }
}
