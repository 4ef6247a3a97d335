//! When the election lets frames wait: a Backup learns nothing urgent from an advertisement that says that all
//! is well, and its Active_Down_Timer counts from the frame's arrival, whenever it is read.
//!
//! Owns the moment until which nothing but a timer, a fact, a command or a farewell wakes the thread. Read at
//! once, each of the 2,500 advertisements a second of 250 routers would cost a wake-up; read together, they cost
//! what is in them. Never used while a router of this node is Active: what an Active hears may end its being so.

use std::time::Duration;

use vipkeeper_vrrp::Time;

/// The longest that a frame waits.
const LONGEST: Duration = Duration::from_millis(8);
/// Shorter waits are not worth their system calls.
const SHORTEST: Duration = Duration::from_millis(1);
/// More frames than this in one turn are a flood, which must not fill the queue: it drops whoever comes last.
const FLOOD: usize = 256;
/// For so long after a flood nothing waits.
const ALERT: Duration = Duration::from_secs(1);

/// Whether frames wait, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Patience {
    until: Option<Time>,
    /// Nothing waits before this moment.
    alert_until: Option<Time>,
}

/// What changes about the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Stay,
    /// From now on frames do not wake.
    Mute,
    /// From now on they do.
    Listen,
}

impl Patience {
    /// Whether frames wait now, so that every link must be read to know what came.
    pub(super) const fn is_muted(self) -> bool {
        self.until.is_some()
    }

    /// When the waiting frames are to be read at the latest.
    pub(super) const fn until(self) -> Option<Time> {
        self.until
    }

    /// After a turn at `now` that read `frames` and leaves an election that bears `bearable`
    /// ([`Election::patience`](vipkeeper_vrrp::Election::patience)).
    pub(super) fn after_turn(&mut self, now: Time, frames: usize, bearable: Duration) -> Change {
        if frames > FLOOD {
            self.alert_until = Some(now + ALERT);
        }
        let alert = self.alert_until.is_some_and(|until| now < until);
        let span = bearable.min(LONGEST);
        let was_muted = self.is_muted();
        let ends = self.until.is_none_or(|until| until <= now);
        if alert || span < SHORTEST || (ends && frames == 0) {
            self.until = None;
        } else if ends {
            self.until = Some(now + span);
        } else {
            // A turn for another reason: what was read then waited less.
            self.until = self.until.map(|until| until.min(now + span));
        }
        match (was_muted, self.is_muted()) {
            (false, true) => Change::Mute,
            (true, false) => Change::Listen,
            (true, true) | (false, false) => Change::Stay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEARABLE: Duration = Duration::from_millis(6);

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn frames_mute_and_a_silent_turn_at_the_end_listens_again() {
        let mut patience = Patience::default();
        assert_eq!(patience.after_turn(at(0), 1, BEARABLE), Change::Mute);
        assert_eq!(patience.until(), Some(at(6)));
        assert_eq!(patience.after_turn(at(6), 1, BEARABLE), Change::Stay);
        assert_eq!(patience.until(), Some(at(12)));
        assert_eq!(patience.after_turn(at(12), 0, BEARABLE), Change::Listen);
        assert_eq!(patience.after_turn(at(13), 0, BEARABLE), Change::Stay);
        assert!(!patience.is_muted());
    }

    #[test]
    fn a_turn_in_between_does_not_prolong_the_wait() {
        let mut patience = Patience::default();
        patience.after_turn(at(0), 1, BEARABLE);
        assert_eq!(patience.after_turn(at(4), 0, BEARABLE), Change::Stay);
        assert_eq!(patience.after_turn(at(5), 1, BEARABLE), Change::Stay);
        assert_eq!(patience.until(), Some(at(6)));
    }

    #[test]
    fn an_active_hears_everything_at_once() {
        let mut patience = Patience::default();
        assert_eq!(patience.after_turn(at(0), 1, Duration::ZERO), Change::Stay);
        patience.after_turn(at(1), 1, BEARABLE);
        assert_eq!(
            patience.after_turn(at(2), 1, Duration::ZERO),
            Change::Listen
        );
    }

    #[test]
    fn no_frame_waits_longer_than_the_longest() {
        let mut patience = Patience::default();
        patience.after_turn(at(0), 1, Duration::from_secs(1));
        assert_eq!(patience.until(), Some(at(0) + LONGEST));
    }

    #[test]
    fn a_flood_is_read_as_it_comes_and_for_a_second_after() {
        let mut patience = Patience::default();
        patience.after_turn(at(0), 1, BEARABLE);
        assert_eq!(
            patience.after_turn(at(6), FLOOD + 1, BEARABLE),
            Change::Listen
        );
        assert_eq!(patience.after_turn(at(7), 1, BEARABLE), Change::Stay);
        assert!(!patience.is_muted());
        assert_eq!(patience.after_turn(at(1_006), 1, BEARABLE), Change::Mute);
    }
}
