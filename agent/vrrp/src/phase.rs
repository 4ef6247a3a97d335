//! The shared phase of advertisements: routers of one interface, family and interval advertise together, so
//! that a node with hundreds of them wakes once an interval and sends one batch.
//!
//! The first router that becomes Active sets the phase. One that joins later sends at its promotion and then
//! on the common ticks: its first pause is shorter than its interval, never longer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::Family;

use crate::config::Ifindex;
use crate::frozen::pairs;
use crate::time::{Time, nanos};

/// Which routers advertise together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choir {
    pub(crate) interface: Ifindex,
    pub(crate) family: Family,
    pub(crate) interval: Duration,
}

/// The phases in use.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Phases {
    #[serde(with = "pairs")]
    choirs: BTreeMap<Choir, Phase>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Phase {
    anchor: Time,
    members: usize,
}

impl Phases {
    /// Joins `choir`, starting it if it is silent. Every join needs one `leave`.
    pub(crate) fn join(&mut self, choir: Choir, now: Time) {
        self.choirs
            .entry(choir)
            .or_insert(Phase {
                anchor: now,
                members: 0,
            })
            .members += 1;
    }

    /// Leaves `choir`; the last one to leave ends it.
    pub(crate) fn leave(&mut self, choir: &Choir) {
        if let Some(phase) = self.choirs.get_mut(choir) {
            phase.members -= 1;
            if phase.members == 0 {
                self.choirs.remove(choir);
            }
        }
    }

    /// The first tick of `choir` after `now`: at most one interval away.
    pub(crate) fn next_tick(&self, choir: &Choir, now: Time) -> Time {
        let Some(phase) = self.choirs.get(choir) else {
            return now + choir.interval;
        };
        let interval = nanos(choir.interval).max(1);
        let since_tick = nanos(now.since(phase.anchor)) % interval;
        now + Duration::from_nanos(interval - since_tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOIR: Choir = Choir {
        interface: Ifindex(std::num::NonZeroU32::MIN),
        family: Family::V4,
        interval: Duration::from_millis(100),
    };

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_later_member_falls_in_with_the_first() {
        let mut phases = Phases::default();
        phases.join(CHOIR, at(1_030));
        assert_eq!(phases.next_tick(&CHOIR, at(1_030)), at(1_130));
        phases.join(CHOIR, at(1_100));
        assert_eq!(phases.next_tick(&CHOIR, at(1_100)), at(1_130));
        assert_eq!(phases.next_tick(&CHOIR, at(1_130)), at(1_230));
    }

    #[test]
    fn a_late_tick_skips_ahead_on_the_grid() {
        let mut phases = Phases::default();
        phases.join(CHOIR, at(0));
        assert_eq!(phases.next_tick(&CHOIR, at(555)), at(600));
    }

    #[test]
    fn a_choir_that_everybody_left_starts_anew() {
        let mut phases = Phases::default();
        phases.join(CHOIR, at(0));
        phases.join(CHOIR, at(10));
        phases.leave(&CHOIR);
        assert_eq!(phases.next_tick(&CHOIR, at(20)), at(100));
        phases.leave(&CHOIR);
        phases.join(CHOIR, at(42));
        assert_eq!(phases.next_tick(&CHOIR, at(42)), at(142));
    }
}
