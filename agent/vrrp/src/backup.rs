//! What a Backup does: it waits, and each acceptable advertisement makes it wait anew (RFC 9568 §6.4.2).

use std::time::Duration;

use crate::config::{Preemption, Protocol};
use crate::output::Reason;
use crate::router::Heard;
use crate::time::Time;
use crate::timers;

/// The Backup's timers and what it heard.
#[derive(Debug)]
pub(crate) struct Backup {
    /// From this moment the wait counts: the arrival of the advertisement that set it.
    armed_at: Time,
    wait: Wait,
    /// Active_Adver_Interval.
    pub(crate) adver_interval: Duration,
    /// When a preemption delay ends, while a lower priority is Active.
    preempt_at: Option<Time>,
    /// What a promotion would be due to.
    cause: Reason,
}

/// How long the Active_Down_Timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            preempt_at: None,
            cause,
        }
    }

    /// An acceptable advertisement. Address does not matter here: a Backup holds an equal priority for the
    /// Active, whoever sends it.
    pub(crate) fn hear(&mut self, now: Time, heard: &Heard, hearing: &Hearing) {
        if heard.priority == 0 {
            self.armed_at = heard.arrival;
            self.wait = Wait::Skew;
            self.preempt_at = None;
            self.cause = Reason::Released;
        } else if heard.priority >= hearing.priority {
            self.preempt_at = None;
            self.follow(heard, hearing);
        } else if self.tolerates(now, hearing) {
            self.follow(heard, hearing);
        } else {
            self.cause = Reason::Preempted;
        }
    }

    /// Whether an Active of lower priority is left in peace for now.
    fn tolerates(&mut self, now: Time, hearing: &Hearing) -> bool {
        if hearing.is_owner {
            return false;
        }
        match hearing.preemption {
            Preemption::Always => false,
            Preemption::Never => true,
            Preemption::Delayed(delay) => *self.preempt_at.get_or_insert(now + delay) > now,
        }
    }

    /// The sender is the Active: its interval counts from its advertisement's arrival.
    fn follow(&mut self, heard: &Heard, hearing: &Hearing) {
        self.armed_at = heard.arrival;
        self.wait = Wait::Down;
        self.cause = Reason::NoResponse;
        self.adver_interval = match hearing.protocol {
            Protocol::V2 { .. } => hearing.protocol.interval(),
            Protocol::V3 { .. } => heard.interval,
        };
    }

    /// Why it becomes Active now, if it does.
    pub(crate) fn promotion(&self, now: Time, hearing: &Hearing) -> Option<Reason> {
        if self.preempt_at.is_some_and(|at| at <= now) {
            Some(Reason::Preempted)
        } else {
            (self.down_at(hearing) <= now).then_some(self.cause)
        }
    }

    /// The Active_Down_Timer or the end of the preemption delay, whichever is first.
    pub(crate) fn deadline(&self, hearing: &Hearing) -> Time {
        let down = self.down_at(hearing);
        self.preempt_at.map_or(down, |at| at.min(down))
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
        now.since(self.deadline(hearing)) > self.adver_interval
    }

    /// Waits for whoever is Active to be heard, before it acts on a deadline it slept through.
    pub(crate) fn listen(&mut self, now: Time) {
        self.armed_at = now;
        self.wait = Wait::Listen;
        self.preempt_at = None;
    }

    /// The rule of preemption changed: the delay starts anew with the next lower advertisement.
    pub(crate) fn forget_preemption(&mut self) {
        self.preempt_at = None;
    }
}
