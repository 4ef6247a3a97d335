//! Takeovers: at random moments an election is frozen, carried over as text and restored, as one process hands
//! it to the next. Nobody may be able to tell.

use std::hash::{DefaultHasher, Hash, Hasher};

use vipkeeper_vrrp::{Election, Output};

use crate::coverage::Coverage;
use crate::group::Nanos;
use crate::random::Random;
use crate::trace::Trace;
use crate::world::World;

/// Schedules that run twice.
const SCHEDULES: u64 = 400;

/// What succeeds what, and what was put out.
pub(crate) struct Succession {
    /// When to freeze; a source of its own, so that the schedule stays the same.
    moments: Option<Random>,
    /// Of every output with its node and time.
    digest: DefaultHasher,
    pub(crate) count: u64,
}

impl Succession {
    pub(crate) fn never() -> Self {
        Self {
            moments: None,
            digest: DefaultHasher::new(),
            count: 0,
        }
    }

    pub(crate) fn note(&mut self, now: Nanos, node: usize, output: &Output) {
        // Text: not every output can be hashed.
        (now, node, format!("{output:?}")).hash(&mut self.digest);
    }

    /// The same election, maybe by way of another process.
    pub(crate) fn pass(&mut self, election: Election) -> Election {
        let Some(moments) = &mut self.moments else {
            return election;
        };
        if !moments.chance(150) {
            return election;
        }
        self.count += 1;
        let frozen = serde_json::to_string(&election).unwrap();
        let restored = serde_json::from_str(&frozen).unwrap();
        assert_eq!(serde_json::to_string(&restored).unwrap(), frozen);
        restored
    }

    fn outcome(&self) -> u64 {
        self.digest.finish()
    }
}

#[test]
fn a_takeover_at_any_moment_changes_no_output_of_any_node() {
    let mut successions = 0;
    for seed in 0..SCHEDULES {
        let (plain, _) = run(seed, None);
        let (taken_over, count) = run(seed, Some(Random::new(seed ^ 0x7a6e_0f5e)));
        assert_eq!(plain, taken_over, "schedule {seed}, {count} takeovers");
        successions += count;
    }
    assert!(successions > SCHEDULES * 10, "{successions} takeovers");
}

/// What a schedule came to and put out, and how many takeovers there were.
fn run(seed: u64, moments: Option<Random>) -> ((String, u64), u64) {
    let mut world = World::new(seed, Trace::OFF);
    world.succession.moments = moments;
    let mut outputs = (0, 0);
    let outcome: Result<Coverage, _> = world.run_and(|succession| {
        outputs = (succession.outcome(), succession.count);
    });
    ((format!("{outcome:?}"), outputs.0), outputs.1)
}
