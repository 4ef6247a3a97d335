//! The pauses between attempts to reach the API server: each twice the one before, up to a bound that is short enough
//! for configurations to flow again soon, and spread, so that many agents do not come at once.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_millis(500);
const LAST: Duration = Duration::from_secs(8);

/// See the module.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    /// Each process has its own.
    random: RandomState,
    drawn: u64,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self {
            next: FIRST,
            random: RandomState::new(),
            drawn: 0,
        }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    /// Between half of the pause and all of it.
    fn next(&mut self) -> Option<Duration> {
        self.drawn = self.drawn.wrapping_add(1);
        let thousandths = self.random.hash_one(self.drawn) % 500 + 500;
        let thousandths = u32::try_from(thousandths).unwrap_or(1_000);
        let pause = self.next * thousandths / 1_000;
        self.next = (self.next * 2).min(LAST);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_again() {
        let mut pauses = Pauses::new();
        let first = pauses.next().unwrap();
        assert!(first >= FIRST / 2 && first <= FIRST, "{first:?}");
        let last = pauses.by_ref().nth(20).unwrap();
        assert!(last >= LAST / 2 && last <= LAST, "{last:?}");
        pauses.reset();
        assert!(pauses.next().unwrap() <= FIRST);
    }
}
