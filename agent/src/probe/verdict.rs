//! Rise and fall: when a real server counts as up, and when as down.
//!
//! Owns the successes and failures in a row of one target. Never asks anything, and knows no clock.

use std::num::NonZeroU8;

/// What is thought of a target after the answers so far.
///
/// | before | success | failure |
/// |---|---|---|
/// | never judged | up after `rise` in a row | down at once |
/// | up | failures are forgotten | down after `fall` in a row |
/// | down | up after `rise` in a row | successes are forgotten |
///
/// One failure is enough for a target that was never judged: nothing speaks for it, and it gets no connection that
/// would fail while it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    rise: NonZeroU8,
    fall: NonZeroU8,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unknown { successes: u8 },
    Up { failures: u8 },
    Down { successes: u8 },
}

impl Verdict {
    /// Of a target that was never judged. A `rise` or `fall` of 0 counts as 1.
    #[must_use]
    pub fn unknown(rise: u8, fall: u8) -> Self {
        Self::with(rise, fall, State::Unknown { successes: 0 })
    }

    /// Of a target that was judged before, and as `healthy` or not.
    #[must_use]
    pub fn known(rise: u8, fall: u8, healthy: bool) -> Self {
        let state = if healthy {
            State::Up { failures: 0 }
        } else {
            State::Down { successes: 0 }
        };
        Self::with(rise, fall, state)
    }

    fn with(rise: u8, fall: u8, state: State) -> Self {
        Self {
            rise: NonZeroU8::new(rise).unwrap_or(NonZeroU8::MIN),
            fall: NonZeroU8::new(fall).unwrap_or(NonZeroU8::MIN),
            state,
        }
    }

    /// Whether it is healthy; `None` while it was never judged.
    #[must_use]
    pub const fn healthy(&self) -> Option<bool> {
        match self.state {
            State::Unknown { .. } => None,
            State::Up { .. } => Some(true),
            State::Down { .. } => Some(false),
        }
    }

    /// Whether it fails and is not out yet: then `delayAfterFailure` is the interval.
    #[must_use]
    pub const fn falling(&self) -> bool {
        match self.state {
            State::Up { failures } => failures > 0,
            State::Unknown { .. } | State::Down { .. } => false,
        }
    }

    /// Takes the answer to one more probe.
    pub fn observe(&mut self, success: bool) {
        self.state = match (self.state, success) {
            (State::Unknown { successes } | State::Down { successes }, true)
                if successes.saturating_add(1) >= self.rise.get() =>
            {
                State::Up { failures: 0 }
            }
            (State::Unknown { successes }, true) => State::Unknown {
                successes: successes.saturating_add(1),
            },
            (State::Down { successes }, true) => State::Down {
                successes: successes.saturating_add(1),
            },
            (State::Up { .. }, true) => State::Up { failures: 0 },
            (State::Up { failures }, false) if failures.saturating_add(1) < self.fall.get() => {
                State::Up {
                    failures: failures.saturating_add(1),
                }
            }
            (State::Unknown { .. } | State::Up { .. } | State::Down { .. }, false) => {
                State::Down { successes: 0 }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RISE: u8 = 2;
    const FALL: u8 = 3;

    fn after(state: State, success: bool) -> State {
        let mut verdict = Verdict::with(RISE, FALL, state);
        verdict.observe(success);
        verdict.state
    }

    #[test]
    fn every_state_takes_every_answer_as_the_table_says() {
        use State::{Down, Unknown, Up};
        let down = Down { successes: 0 };
        let up = Up { failures: 0 };
        for (before, success, afterwards) in [
            (Unknown { successes: 0 }, true, Unknown { successes: 1 }),
            (Unknown { successes: 1 }, true, up),
            (Unknown { successes: 0 }, false, down),
            (Unknown { successes: 1 }, false, down),
            (up, true, up),
            (Up { failures: 1 }, true, up),
            (Up { failures: 2 }, true, up),
            (up, false, Up { failures: 1 }),
            (Up { failures: 1 }, false, Up { failures: 2 }),
            (Up { failures: 2 }, false, down),
            (down, true, Down { successes: 1 }),
            (Down { successes: 1 }, true, up),
            (down, false, down),
            (Down { successes: 1 }, false, down),
        ] {
            assert_eq!(after(before, success), afterwards, "{before:?} {success}");
        }
    }

    #[test]
    fn only_one_that_is_up_and_has_failed_is_falling() {
        for (state, falling) in [
            (State::Unknown { successes: 1 }, false),
            (State::Up { failures: 0 }, false),
            (State::Up { failures: 1 }, true),
            (State::Down { successes: 0 }, false),
        ] {
            assert_eq!(Verdict::with(RISE, FALL, state).falling(), falling);
        }
    }

    #[test]
    fn what_was_known_goes_on_with_its_whole_rise_and_fall() {
        let mut up = Verdict::known(RISE, FALL, true);
        let answers = [false; 3].map(|success| {
            up.observe(success);
            up.healthy()
        });
        assert_eq!(answers, [Some(true), Some(true), Some(false)]);
        let mut down = Verdict::known(RISE, FALL, false);
        let answers = [true; 2].map(|success| {
            down.observe(success);
            down.healthy()
        });
        assert_eq!(answers, [Some(false), Some(true)]);
    }

    /// The same from the whole history: the last change is where a run of successes or failures got long enough.
    fn from_history(rise: u8, fall: u8, answers: &[bool]) -> Option<bool> {
        let mut healthy = None;
        for (place, success) in answers.iter().enumerate() {
            let past = answers.get(..=place).unwrap_or_default();
            let run = past
                .iter()
                .rev()
                .take_while(|past| *past == success)
                .count();
            let enough = match (healthy, success) {
                (None, false) => 1,
                (_, true) => rise.into(),
                (_, false) => fall.into(),
            };
            if run >= enough {
                healthy = Some(*success);
            }
        }
        healthy
    }

    proptest! {
        #[test]
        fn a_verdict_is_what_the_history_says(
            rise in 1_u8..=100,
            fall in 1_u8..=100,
            runs in prop::collection::vec((any::<bool>(), 1_usize..120), 0..12),
        ) {
            let answers: Vec<bool> = runs
                .into_iter()
                .flat_map(|(success, count)| std::iter::repeat_n(success, count))
                .collect();
            let mut verdict = Verdict::unknown(rise, fall);
            for success in &answers {
                verdict.observe(*success);
            }
            prop_assert_eq!(verdict.healthy(), from_history(rise, fall, &answers));
        }
    }
}
