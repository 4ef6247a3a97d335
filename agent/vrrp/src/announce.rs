//! When the neighbours are told where an address is: a schedule for each promotion, a budget for each
//! interface.
//!
//! A neighbour that asks in the very moment of a move may be answered by the old holder and keep that answer
//! for long; the early repeats repair it, the late ones reach who was not listening.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::AnnouncementBudget;
use crate::output::GratuitousForm;
use crate::time::{Time, nanos};

/// When the frames of one address go out, counted from the kernel's confirmation.
pub(crate) const OFFSETS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// How many of them repair what a neighbour got wrong in the moment of the move.
const EARLY_ROUNDS: usize = 4;

/// Where a router stands in its announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedule {
    started: Time,
    round: usize,
    /// The first address of this round that has not been announced.
    next_address: usize,
    due: Time,
}

impl Schedule {
    /// A schedule whose first round is due now.
    pub(crate) fn start(now: Time) -> Self {
        Self {
            started: now,
            round: 0,
            next_address: 0,
            due: now,
        }
    }

    /// Whether only late rounds are ahead: seconds pass between them.
    pub(crate) fn is_late(&self) -> bool {
        self.round >= EARLY_ROUNDS
    }

    /// When something is to be sent.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// The address to announce and the form to use, if one is due. Receivers differ in the form they honour:
    /// rounds alternate.
    pub(crate) fn current(&self, now: Time) -> Option<(usize, GratuitousForm)> {
        let form = match self.round % 2 {
            0 => GratuitousForm::Request,
            _ => GratuitousForm::Reply,
        };
        (self.due <= now).then_some((self.next_address, form))
    }

    /// Puts the current address off until the budget allows it.
    pub(crate) fn wait_until(&mut self, at: Time) {
        self.due = at;
    }

    /// Goes on to the next of `addresses`, or to the next round that is still ahead. `None` when all is said.
    pub(crate) fn advance(mut self, addresses: usize, now: Time) -> Option<Self> {
        self.next_address += 1;
        if self.next_address < addresses {
            return Some(self);
        }
        let ahead = (self.round + 1..OFFSETS.len()).find(|&r| self.started + OFFSETS[r] > now)?;
        self.round = ahead;
        self.next_address = 0;
        self.due = self.started + OFFSETS[ahead];
        Some(self)
    }
}

/// What one interface may still send: a token bucket kept as the one moment at which it would be full again.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bucket {
    full_at: Time,
}

impl Bucket {
    /// Takes one token.
    ///
    /// # Errors
    /// When there is none: the moment at which there will be.
    pub(crate) fn take(&mut self, budget: &AnnouncementBudget, now: Time) -> Result<(), Time> {
        let pause = 1_000_000_000 / u64::from(budget.frames_per_second.max(1));
        let depth = Duration::from_nanos(pause.saturating_mul(u64::from(budget.burst.max(1))));
        let full_at = self.full_at.max(now) + Duration::from_nanos(pause);
        if nanos(full_at.since(now)) > nanos(depth) {
            return Err(full_at - depth);
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_secs(100) + Duration::from_millis(millis)
    }

    #[test]
    fn every_address_is_announced_six_times() {
        let mut schedule = Some(Schedule::start(at(0)));
        let mut sent = Vec::new();
        while let Some(current) = schedule {
            let now = current.due();
            let (address, form) = current.current(now).unwrap();
            sent.push((now.since(at(0)).as_millis(), address, form));
            schedule = current.advance(2, now);
        }
        let times: Vec<_> = sent.iter().map(|s| s.0).collect();
        assert_eq!(
            times,
            [0, 0, 20, 20, 100, 100, 500, 500, 2000, 2000, 5000, 5000]
        );
        assert_eq!(sent[1].1, 1);
        assert_eq!(sent[0].2, GratuitousForm::Request);
        assert_eq!(sent[2].2, GratuitousForm::Reply);
    }

    #[test]
    fn a_late_schedule_skips_rounds_instead_of_bursting() {
        let schedule = Schedule::start(at(0)).advance(1, at(600)).unwrap();
        assert_eq!(schedule.due(), at(2_000));
        assert!(schedule.current(at(600)).is_none());
    }

    #[test]
    fn the_bucket_gives_its_burst_and_then_its_rate() {
        let budget = AnnouncementBudget {
            frames_per_second: 100,
            burst: 3,
        };
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            bucket.take(&budget, at(0)).unwrap();
        }
        assert_eq!(bucket.take(&budget, at(0)), Err(at(10)));
        assert_eq!(bucket.take(&budget, at(9)), Err(at(10)));
        bucket.take(&budget, at(10)).unwrap();
        assert_eq!(bucket.take(&budget, at(10)), Err(at(20)));
        for _ in 0..3 {
            bucket.take(&budget, at(1_000)).unwrap();
        }
        assert_eq!(bucket.take(&budget, at(1_000)), Err(at(1_010)));
    }
}
