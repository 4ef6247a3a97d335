//! How many writes there may be: so many at once, so many a second. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Writes at once, and a second.
const BURST: f64 = 300.0;
const PER_SECOND: f64 = 5.0;

/// See the module.
pub(super) struct Bucket {
    tokens: f64,
    at: Instant,
}

/// What a bucket has.
#[derive(Debug, PartialEq)]
pub(super) enum Granted {
    All,
    Some { count: usize, more_at: Instant },
}

impl Bucket {
    /// A full one.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            at: now,
        }
    }

    /// Takes as many of `wanted` writes as there are.
    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> Granted {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = passed.mul_add(PER_SECOND, self.tokens).min(BURST);
        self.at = now;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and BURST"
        )]
        let there = self.tokens.max(0.0) as usize;
        let count = wanted.min(there);
        #[expect(clippy::cast_precision_loss, reason = "at most BURST")]
        let taken = count as f64;
        self.tokens -= taken;
        if count == wanted {
            Granted::All
        } else {
            let more_at = now + Duration::from_secs(1);
            Granted::Some { count, more_at }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_it_has_and_fills_again() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        assert_eq!(bucket.take(300, now), Granted::All);
        let more_at = now + Duration::from_secs(1);
        assert_eq!(bucket.take(5, now), Granted::Some { count: 0, more_at });
        assert_eq!(bucket.take(5, more_at), Granted::All);
        let long_after = now + Duration::from_secs(3600);
        assert_eq!(bucket.take(300, long_after), Granted::All);
        assert!(matches!(
            bucket.take(1, long_after),
            Granted::Some { count: 0, .. }
        ));
    }
}
