//! When the first probes of targets begin, so that those of many do not begin together.
//!
//! Pure: owns two rules, both of a hash of the target. Later probes follow at their interval.

use std::time::Duration;

/// Room for each of several targets that appear together.
const ROOM: Duration = Duration::from_millis(1);

/// How long after its appearance, as one of `count`, a target is probed first: few soon, many over one interval.
pub(super) fn first(hash: u64, count: usize, interval: Duration) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    within(hash, interval.min(ROOM.saturating_mul(count)))
}

/// From the beginning of the first probe to that of the second: between half an interval and a whole one, so that targets
/// that were first probed soon after each other drift apart.
pub(super) fn second(hash: u64, interval: Duration) -> Duration {
    let half = interval / 2;
    // Other bits than those of the first.
    half + within(hash.rotate_left(32), interval - half)
}

fn within(hash: u64, span: Duration) -> Duration {
    let nanoseconds = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(hash.checked_rem(nanoseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn hashes(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|number| {
            let mut hasher = DefaultHasher::new();
            number.hash(&mut hasher);
            hasher.finish()
        })
    }

    #[test]
    fn one_target_is_probed_at_once() {
        assert!(hashes(100).all(|hash| first(hash, 1, INTERVAL) < ROOM));
    }

    #[test]
    fn ten_thousand_are_spread_evenly_over_their_interval() {
        let mut per_tenth = [0; 10];
        for hash in hashes(10_000) {
            let start = first(hash, 10_000, INTERVAL);
            per_tenth[start.as_millis() as usize / 500] += 1;
        }
        assert!(
            per_tenth.iter().all(|count| (850..1150).contains(count)),
            "{per_tenth:?}"
        );
    }

    #[test]
    fn the_second_is_never_later_than_an_interval_nor_sooner_than_half() {
        for hash in hashes(1_000) {
            let span = second(hash, INTERVAL);
            assert!((INTERVAL / 2..=INTERVAL).contains(&span), "{span:?}");
        }
    }
}
