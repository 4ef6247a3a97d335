//! What a Backup does: it waits, and each acceptable advertisement makes it wait anew (RFC 9568 §6.4.2).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Preemption, Protocol};
use crate::output::Reason;
use crate::router::Heard;
use crate::time::Time;
use crate::timers;

/// The Backup's timers and what it heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Backup {
    /// From this moment the wait counts: the arrival of the advertisement that set it.
    armed_at: Time,
    wait: Wait,
    /// Active_Adver_Interval.
    pub(crate) adver_interval: Duration,
    /// That is an Active's, not our own.
    is_learned: bool,
    /// A preemption delay, while a lower priority is Active.
    delay: Option<Delay>,
    /// After a stall, nothing fires before this.
    not_before: Time,
    /// What a promotion would be due to.
    cause: Reason,
    /// Whoever it heard last is left the addresses.
    pub(crate) defers: bool,
    /// It waits for its sync group, and no more for itself.
    rest: Option<Rest>,
}

/// A preemption delay that runs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delay {
    ends_at: Time,
    /// What the Active advertised last: a priority of our own that fell below it ends the delay's meaning.
    priority: u8,
}

/// Its wait is over, and its sync group's is not.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    /// The deadline that ended it. Whatever moves the deadline ends the rest.
    deadline: Time,
    /// Why it would be Active.
    reason: Reason,
}

/// How long the Active_Down_Timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wait {
    /// Active_Down_Interval.
    Down,
    /// Skew_Time, after priority 0.
    Skew,
    /// One interval and Skew_Time, after a stall: whoever is Active is heard within it.
    Listen,
}

/// What decides how a Backup hears: its router's configuration and effective priority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearing {
    pub(crate) protocol: Protocol,
    pub(crate) priority: u8,
    pub(crate) is_owner: bool,
    pub(crate) preemption: Preemption,
    pub(crate) down_advertisements: u8,
}

impl Hearing {
    pub(crate) fn skew_time(&self, adver_interval: Duration) -> Duration {
        timers::skew_time(&self.protocol, self.priority, adver_interval)
    }

    pub(crate) fn active_down_interval(&self, adver_interval: Duration) -> Duration {
        let skew = self.skew_time(adver_interval);
        timers::active_down_interval(self.down_advertisements, adver_interval, skew)
    }
}

impl Backup {
    /// Waits from `now`, for an Active that advertises every `adver_interval`.
    pub(crate) fn new(now: Time, wait: Wait, adver_interval: Duration) -> Self {
        let cause = Reason::NoResponse;
        Self {
            armed_at: now,
            wait,
            adver_interval,
            is_learned: false,
            delay: None,
            not_before: Time::ZERO,
            cause,
            defers: false,
            rest: None,
        }
    }

    /// Waits from `now` for whoever is Active to be heard, after a stall. Frames that waited meanwhile may
    /// end this wait later, not earlier: the newest of them may have been lost.
    pub(crate) fn after_stall(now: Time, adver_interval: Duration, hearing: &Hearing) -> Self {
        let mut backup = Self::new(now, Wait::Listen, adver_interval);
        backup.not_before = backup.down_at(hearing);
        backup
    }

    /// An acceptable advertisement. Address does not matter here: a Backup holds an equal priority for the
    /// Active, whoever sends it.
    pub(crate) fn hear(&mut self, now: Time, heard: &Heard, hearing: &Hearing) {
        if heard.priority == 0 {
            self.armed_at = heard.arrival;
            self.wait = Wait::Skew;
            self.delay = None;
            self.cause = Reason::Released;
            self.defers = false;
        } else if heard.priority >= hearing.priority {
            self.delay = None;
            self.follow(heard, hearing);
        } else if self.tolerates(now, heard.priority, hearing) {
            self.follow(heard, hearing);
        } else {
            self.cause = Reason::Preempted;
            self.defers = false;
        }
    }

    /// Whether an Active of lower priority is left in peace for now.
    fn tolerates(&mut self, now: Time, priority: u8, hearing: &Hearing) -> bool {
        if hearing.is_owner {
            return false;
        }
        match hearing.preemption {
            Preemption::Always => false,
            Preemption::Never => true,
            Preemption::Delayed(delay) => {
                let ends_at = self.delay.map_or(now + delay, |running| running.ends_at);
                self.delay = Some(Delay { ends_at, priority });
                ends_at > now
            }
        }
    }

    /// The sender is the Active: its interval counts from its advertisement's arrival. One that has been in the
    /// queue since before we began to wait takes nothing from our wait.
    fn follow(&mut self, heard: &Heard, hearing: &Hearing) {
        if heard.arrival < self.armed_at {
            self.not_before = self.not_before.max(self.down_at(hearing));
        }
        self.armed_at = heard.arrival;
        self.wait = Wait::Down;
        self.cause = Reason::NoResponse;
        self.is_learned = true;
        self.defers = true;
        self.adver_interval = match hearing.protocol {
            Protocol::V2 { .. } => hearing.protocol.interval(),
            Protocol::V3 { .. } => heard.interval,
        };
    }

    /// Why it becomes Active now, if it does.
    pub(crate) fn promotion(&self, now: Time, hearing: &Hearing) -> Option<Reason> {
        if now < self.not_before {
            None
        } else if self.preempt_at(hearing).is_some_and(|at| at <= now) {
            Some(Reason::Preempted)
        } else {
            (self.down_at(hearing) <= now).then_some(self.cause)
        }
    }

    /// When it has to be run again, if not for its sync group.
    pub(crate) fn wake_up(&self, hearing: &Hearing) -> Option<Time> {
        match self.rest(hearing) {
            Some(_) => None,
            None => Some(self.deadline(hearing)),
        }
    }

    /// Its wait is over for `reason`: from now on it waits for its sync group.
    pub(crate) fn start_rest(&mut self, reason: Reason, hearing: &Hearing) {
        let deadline = self.deadline(hearing);
        self.rest = Some(Rest { deadline, reason });
    }

    /// Why it would be Active, while it waits for its sync group alone.
    pub(crate) fn rest(&self, hearing: &Hearing) -> Option<Reason> {
        let rest = self.rest?;
        (rest.deadline == self.deadline(hearing)).then_some(rest.reason)
    }

    /// The Active_Down_Timer or the end of the preemption delay, whichever is first.
    pub(crate) fn deadline(&self, hearing: &Hearing) -> Time {
        let down = self.down_at(hearing);
        let first = self.preempt_at(hearing).map_or(down, |at| at.min(down));
        first.max(self.not_before)
    }

    fn preempt_at(&self, hearing: &Hearing) -> Option<Time> {
        let delay = self.delay.filter(|d| d.priority < hearing.priority)?;
        Some(delay.ends_at)
    }

    fn down_at(&self, hearing: &Hearing) -> Time {
        let skew = hearing.skew_time(self.adver_interval);
        self.armed_at
            + match self.wait {
                Wait::Down => hearing.active_down_interval(self.adver_interval),
                Wait::Skew => skew,
                Wait::Listen => self.adver_interval.saturating_add(skew),
            }
    }

    /// Whether the deadline passed so long ago that frames may have been lost meanwhile.
    pub(crate) fn is_stalled(&self, now: Time, hearing: &Hearing) -> bool {
        let due = self.wake_up(hearing);
        due.is_some_and(|at| now.since(at) > self.adver_interval)
    }

    /// Our own interval changed. What version 3 learned from an Active stands; version 2 learns nothing.
    pub(crate) fn change_interval(&mut self, protocol: &Protocol) {
        let stands = match protocol {
            Protocol::V2 { .. } => false,
            Protocol::V3 { .. } => self.is_learned,
        };
        if !stands {
            self.adver_interval = protocol.interval();
        }
    }

    /// The rule of preemption changed: the delay starts anew with the next lower advertisement.
    pub(crate) fn forget_preemption(&mut self) {
        self.delay = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Centiseconds, ChecksumPolicy};

    const INTERVAL: Duration = Duration::from_millis(100);

    fn hearing(priority: u8, preemption: Preemption) -> Hearing {
        Hearing {
            protocol: Protocol::V3 {
                interval: Centiseconds::new(10).unwrap(),
                checksum: ChecksumPolicy::Auto,
            },
            priority,
            is_owner: false,
            preemption,
            down_advertisements: 3,
        }
    }

    fn heard(priority: u8, arrival: Time) -> Heard {
        Heard {
            source: [192, 0, 2, 9].into(),
            source_mac: None,
            priority,
            interval: INTERVAL,
            arrival,
        }
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    /// The receive queue drops its newest frames when it is full.
    #[test]
    fn x05_an_old_frame_out_of_the_queue_does_not_shorten_listening_after_a_stall() {
        let hearing = hearing(128, Preemption::Delayed(Duration::ZERO));
        let listened = at(5_000) + INTERVAL + INTERVAL / 2;
        for priority in [0, 1, 128, 254] {
            let mut backup = Backup::after_stall(at(5_000), INTERVAL, &hearing);
            backup.hear(at(5_000), &heard(priority, at(100)), &hearing);
            assert_eq!(backup.promotion(at(5_000), &hearing), None, "{priority}");
            assert_eq!(backup.deadline(&hearing), listened, "{priority}");
            assert!(backup.promotion(listened, &hearing).is_some(), "{priority}");
        }
    }

    #[test]
    fn x05_an_old_frame_out_of_the_queue_does_not_shorten_the_wait_after_a_start() {
        let hearing = hearing(128, Preemption::Never);
        let mut backup = Backup::new(at(5_000), Wait::Down, INTERVAL);
        backup.hear(at(5_000), &heard(200, at(4_500)), &hearing);
        assert_eq!(backup.promotion(at(5_000), &hearing), None);
        assert_eq!(backup.deadline(&hearing), at(5_350));
    }

    #[test]
    fn x01_a_preemption_delay_means_nothing_once_our_own_priority_is_the_lower_one() {
        let delay = Preemption::Delayed(INTERVAL);
        let mut backup = Backup::new(at(0), Wait::Down, INTERVAL);
        backup.hear(at(0), &heard(100, at(0)), &hearing(200, delay));
        assert_eq!(backup.deadline(&hearing(200, delay)), at(100));
        let lowered = hearing(50, delay);
        assert_eq!(backup.promotion(at(100), &lowered), None);
        assert!(backup.deadline(&lowered) > at(300));
    }
}
