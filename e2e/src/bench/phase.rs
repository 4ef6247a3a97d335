//! The moments at which nodes die: uniform over an advertisement interval, the same in every run of a seed.

use std::time::Duration;

/// A sequence of moments (SplitMix64).
#[derive(Debug)]
pub(super) struct Phases {
    state: u64,
}

impl Phases {
    /// The sequence of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next one: at least zero, less than `interval`.
    pub(super) fn next_within(&mut self, interval: Duration) -> Duration {
        const STEPS: u32 = 1 << 16;
        // The highest bits are the best mixed ones.
        let step = u32::try_from(self.next() >> 48).unwrap_or(0);
        interval * step / STEPS
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    fn first(seed: u64, count: usize) -> Vec<Duration> {
        let mut phases = Phases::new(seed);
        (0..count).map(|_| phases.next_within(INTERVAL)).collect()
    }

    #[test]
    fn a_seed_always_gives_the_same_moments_and_another_seed_others() {
        assert_eq!(first(1, 20), first(1, 20));
        assert_ne!(first(1, 20), first(2, 20));
    }

    #[test]
    fn moments_spread_over_the_whole_interval() {
        let mut tenths = [0; 10];
        for moment in first(1, 1_000) {
            assert!(moment < INTERVAL);
            tenths[(moment.as_millis() / 10) as usize] += 1;
        }
        assert!(
            tenths.iter().all(|count| (60..150).contains(count)),
            "{tenths:?}"
        );
    }

    #[test]
    fn the_generator_is_the_published_one() {
        // First outputs of SplitMix64 for seed 1234567.
        let mut phases = Phases::new(1_234_567);
        assert_eq!(phases.next(), 6_457_827_717_110_365_317);
        assert_eq!(phases.next(), 3_203_168_211_198_807_973);
    }
}
