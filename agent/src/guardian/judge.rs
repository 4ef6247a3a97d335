//! When an election that is silent is taken for hung. Pure: what the clock and the page say are arguments.
//!
//! The guardian looks when the silence would become too long, and a moment later once more. If it comes to look
//! later than it planned, it was stalled itself, and most likely the whole machine with it: suspended, paused by its
//! hypervisor, frozen with its container. Then the agent gets time to run before it is judged: it notices by itself
//! that it slept, and listens before it speaks.

use std::time::Duration;

use vipkeeper_vrrp::Time;

/// However short the Active_Down_Interval is, a shorter silence is no reason: at the shortest intervals a busy
/// machine would do what a hung agent does.
const SHORTEST: Duration = Duration::from_millis(50);
/// Between the first sign of a hung agent and the proof.
const CONFIRMATION: Duration = Duration::from_millis(5);
/// How much later than planned a look may be: beyond, the guardian itself was stalled.
const PUNCTUAL: Duration = Duration::from_millis(10);
/// What the agent gets to run in after the guardian was stalled.
const GRACE: Duration = Duration::from_millis(100);
/// How often in a row it gets that: a guardian that is always late must act nevertheless.
const MOST_GRACES: u8 = 3;

/// The last sign of life, and for how long it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    /// When.
    pub(super) at: Time,
    /// A silence of this length means that somebody else is Active.
    pub(super) guarded: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is at stake: sleep until something happens.
    Sleep,
    /// Look again then.
    LookAt(Time),
    /// The election has been silent for too long.
    Hung {
        /// For how long.
        silent: Duration,
    },
}

/// What the guardian remembers between two looks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judge {
    /// When the next look was planned.
    planned: Option<Time>,
    /// Looks in a row that found the same silence.
    looks: u8,
}

impl Judge {
    pub(super) fn look(&mut self, now: Time, beat: Option<Beat>) -> Verdict {
        let planned = self.planned.take();
        let is_late = planned.is_some_and(|planned| now.since(planned) > PUNCTUAL);
        let Some(beat) = beat else {
            self.looks = 0;
            return Verdict::Sleep;
        };
        let due = beat.at + beat.guarded.max(SHORTEST);
        if now < due {
            self.looks = 0;
            return self.plan(due);
        }
        // Woken early by something else, with a proof under way.
        if let Some(planned) = planned
            && self.looks > 0
            && now < planned
        {
            return self.plan(planned);
        }
        self.looks += 1;
        if is_late && self.looks <= MOST_GRACES {
            self.plan(now + GRACE)
        } else if self.looks == 1 {
            self.plan(now + CONFIRMATION)
        } else {
            Verdict::Hung {
                silent: now.since(beat.at),
            }
        }
    }

    fn plan(&mut self, at: Time) -> Verdict {
        self.planned = Some(at);
        Verdict::LookAt(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: Duration = Duration::from_millis(300);

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    fn beat(millis: u64) -> Option<Beat> {
        Some(Beat {
            at: at(millis),
            guarded: DOWN,
        })
    }

    fn hung(millis: u64) -> Verdict {
        Verdict::Hung {
            silent: Duration::from_millis(millis),
        }
    }

    #[test]
    fn it_sleeps_while_nothing_is_at_stake() {
        let mut judge = Judge::default();
        assert_eq!(judge.look(at(0), None), Verdict::Sleep);
        assert_eq!(judge.look(at(100_000), None), Verdict::Sleep);
    }

    #[test]
    fn a_living_election_is_looked_at_once_in_its_down_interval() {
        let mut judge = Judge::default();
        assert_eq!(judge.look(at(10), beat(0)), Verdict::LookAt(at(300)));
        assert_eq!(judge.look(at(300), beat(290)), Verdict::LookAt(at(590)));
        assert_eq!(judge.look(at(591), beat(590)), Verdict::LookAt(at(890)));
    }

    #[test]
    fn a_silence_of_the_down_interval_is_confirmed_and_then_hung() {
        let mut judge = Judge::default();
        judge.look(at(0), beat(0));
        assert_eq!(judge.look(at(300), beat(0)), Verdict::LookAt(at(305)));
        assert_eq!(judge.look(at(305), beat(0)), hung(305));
    }

    #[test]
    fn an_election_that_ticks_before_the_proof_lives() {
        let mut judge = Judge::default();
        judge.look(at(0), beat(0));
        judge.look(at(300), beat(0));
        assert_eq!(judge.look(at(305), beat(304)), Verdict::LookAt(at(604)));
        // And the next silence is judged from its beginning.
        assert_eq!(judge.look(at(604), beat(304)), Verdict::LookAt(at(609)));
    }

    #[test]
    fn what_wakes_the_guardian_early_is_no_proof() {
        let mut judge = Judge::default();
        judge.look(at(0), beat(0));
        judge.look(at(300), beat(0));
        assert_eq!(judge.look(at(301), beat(0)), Verdict::LookAt(at(305)));
        assert_eq!(judge.look(at(305), beat(0)), hung(305));
    }

    #[test]
    fn after_a_pause_of_the_whole_machine_the_agent_gets_time_to_tick() {
        let mut judge = Judge::default();
        judge.look(at(0), beat(0));
        // Ten seconds pass in which neither ran.
        assert_eq!(judge.look(at(10_000), beat(0)), Verdict::LookAt(at(10_100)));
        assert_eq!(
            judge.look(at(10_100), beat(10_090)),
            Verdict::LookAt(at(10_390))
        );
    }

    #[test]
    fn an_agent_that_does_not_use_that_time_is_hung() {
        let mut judge = Judge::default();
        judge.look(at(0), beat(0));
        judge.look(at(10_000), beat(0));
        assert_eq!(judge.look(at(10_100), beat(0)), hung(10_100));
    }

    #[test]
    fn a_second_pause_within_that_time_prolongs_it() {
        let mut judge = Judge::default();
        judge.look(at(0), beat(0));
        judge.look(at(10_000), beat(0));
        assert_eq!(judge.look(at(20_000), beat(0)), Verdict::LookAt(at(20_100)));
        assert_eq!(
            judge.look(at(20_100), beat(20_010)),
            Verdict::LookAt(at(20_310))
        );
    }

    #[test]
    fn a_guardian_that_is_always_late_acts_nevertheless() {
        let mut judge = Judge::default();
        let mut now = at(0);
        for look in 0..20 {
            match judge.look(now, beat(0)) {
                Verdict::LookAt(planned) => now = planned + Duration::from_millis(50),
                Verdict::Hung { .. } => {
                    assert_eq!(look, usize::from(MOST_GRACES) + 1);
                    return;
                }
                Verdict::Sleep => panic!("it sleeps"),
            }
        }
        panic!("it never acts");
    }

    #[test]
    fn the_shortest_intervals_have_a_floor() {
        let mut judge = Judge::default();
        let short = Some(Beat {
            at: at(0),
            guarded: Duration::from_millis(31),
        });
        assert_eq!(judge.look(at(1), short), Verdict::LookAt(at(50)));
    }

    #[test]
    fn an_agent_that_lets_its_addresses_go_is_no_longer_judged() {
        let mut judge = Judge::default();
        judge.look(at(0), beat(0));
        judge.look(at(300), beat(0));
        assert_eq!(judge.look(at(305), None), Verdict::Sleep);
        assert_eq!(judge.look(at(306), beat(0)), Verdict::LookAt(at(311)));
    }
}
