//! A planned move without a lost packet: what is left of an Active after it let go.
//!
//! | | The addresses are | Ends |
//! |---|---|---|
//! | `LameDuck`, in Initialize | on the interface: they serve, in silence | when a successor advertises, or nobody did for long enough |
//! | `Parked`, in Initialize or Backup | on the loopback interface: packets for them are served, nobody is told where they are | after [`RouterConfig::linger`], or by a promotion |
//!
//! Owns the deadlines of both. An Active that is told to stop says priority 0 and becomes a lame duck; one that is
//! beaten by an advertisement parks at once, for its neighbours still send to it until they have heard the
//! successor's announcements. One that is drained advertises priority 1 and serves on until it is preempted, which
//! risks nothing if nobody comes; where the rule of preemption leaves even priority 1 in peace, it says priority 0
//! and comes back if nobody took over. A linger of zero is RFC 9568 to the letter: nothing of this happens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Heard, Router, State};
use crate::backup::{Backup, Wait};
use crate::config::{Preemption, RouterConfig};
use crate::effects::Effects;
use crate::output::{Output, Park, Reason};
use crate::status::Remainder;
use crate::time::Time;
use crate::timers;

/// What is left of having been Active.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) enum Handover {
    /// Nothing.
    #[default]
    None,
    /// The addresses serve on, and wait for a successor.
    LameDuck(LameDuck),
    /// The addresses are parked.
    Parked {
        /// Until then.
        until: Time,
    },
    /// Drained, and Active all the same, for nobody else was there: another attempt follows.
    Denied {
        /// Then.
        again_at: Time,
    },
}

/// One that said priority 0 and serves on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LameDuck {
    cause: Cause,
    /// Priority 0 once more, in case the first was lost.
    repeat_at: Option<Time>,
    /// The end of its patience.
    until: Time,
}

/// What made it one, and so what becomes of it if nobody takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Cause {
    /// The node stops: it goes anyway.
    Stop,
    /// The node was asked to leave the addresses to others: it comes back.
    Drain,
}

impl Handover {
    fn deadline(&self) -> Option<Time> {
        match self {
            Self::None => None,
            Self::LameDuck(duck) => {
                Some(duck.repeat_at.map_or(duck.until, |at| at.min(duck.until)))
            }
            Self::Parked { until } => Some(*until),
            Self::Denied { again_at } => Some(*again_at),
        }
    }

    /// Whether addresses are somewhere although the router is not Active.
    fn holds_addresses(&self) -> bool {
        match self {
            Self::None | Self::Denied { .. } => false,
            Self::LameDuck(_) | Self::Parked { .. } => true,
        }
    }
}

impl RouterConfig {
    /// How long a lame duck waits for its successor: the longest that a peer waits which heard no priority 0
    /// (Active_Down_Interval with the largest skew), and 200 ms for what delays both.
    pub(crate) fn handover_patience(&self) -> Duration {
        let interval = self.protocol.interval();
        let skew = timers::skew_time(&self.protocol, 0, interval);
        let down = timers::active_down_interval(self.down_advertisements.get(), interval, skew);
        down.saturating_add(timers::HANDOVER_MARGIN)
    }

    /// The longest that this router takes to leave after [`Command::Shutdown`](crate::Command::Shutdown).
    #[must_use]
    pub fn longest_handover(&self) -> Duration {
        if self.linger.is_zero() {
            return Duration::ZERO;
        }
        self.handover_patience().saturating_add(self.linger)
    }
}

impl Router {
    /// Whether nothing of it is left to do or to hold, once it is out.
    pub(crate) fn has_left(&self) -> bool {
        matches!(self.state, State::Initialize { .. }) && !self.handover.holds_addresses()
    }

    /// What is left of having been Active, for an observer.
    pub(super) fn remainder(&self) -> Option<Remainder> {
        match self.handover {
            Handover::None | Handover::Denied { .. } => None,
            Handover::LameDuck(_) => Some(Remainder::LameDuck),
            Handover::Parked { .. } => Some(Remainder::Parked),
        }
    }

    pub(super) fn handover_deadline(&self) -> Option<Time> {
        self.handover.deadline()
    }

    pub(super) fn is_lame_duck(&self) -> bool {
        matches!(self.handover, Handover::LameDuck(_))
    }

    /// Addresses that a new configuration does not have must go, wherever they are.
    pub(super) fn has_addresses_out(&self) -> bool {
        matches!(self.state, State::Active(_)) || self.handover.holds_addresses()
    }

    /// Whether its addresses may serve on without it: they are the kernel's, ours, and the configuration wants
    /// more than the RFC.
    fn may_linger(&self) -> bool {
        let held = match &self.state {
            State::Active(active) => active.serves(),
            State::Initialize { .. } | State::Backup(_) => self.handover.holds_addresses(),
        };
        held && !self.config.linger.is_zero() && !self.config.priority.is_owner()
    }

    /// An Active has said priority 0 to leave for `reason`, or a Backup leaves: what becomes of the addresses.
    pub(super) fn let_addresses_go(&mut self, fx: &mut Effects, now: Time, reason: Reason) {
        let stops = match reason {
            Reason::Shutdown => true,
            // Without its interface it can serve nobody; and what another configuration or the kernel does not
            // want here goes at once.
            Reason::InterfaceMissing
            | Reason::InterfaceDown
            | Reason::SourceMissing
            | Reason::InstallFailed
            | Reason::Reconfigured
            | Reason::Removed
            | Reason::Startup
            | Reason::AddressOwner
            | Reason::NoResponse
            | Reason::Released
            | Reason::Preempted
            | Reason::HigherPriority
            | Reason::HigherAddress
            | Reason::Stalled
            | Reason::Drained
            | Reason::NoSuccessor
            | Reason::Resumed
            | Reason::SyncGroup
            | Reason::NotAddressOwner
            | Reason::AddressConflict
            | Reason::InstallTimeout
            | Reason::PeerActive
            | Reason::HoldEnded => false,
        };
        match &self.state {
            State::Active(active) if stops && self.may_linger() => {
                active.part(fx);
                self.become_lame_duck(now, Cause::Stop);
            }
            State::Active(_) => {
                self.handover = Handover::None;
                self.release(fx);
            }
            State::Backup(_) if stops => {}
            State::Initialize { .. } if stops => {
                if let Handover::LameDuck(duck) = &mut self.handover {
                    duck.cause = Cause::Stop;
                }
            }
            State::Initialize { .. } | State::Backup(_) => self.abandon(fx),
        }
    }

    /// Takes off what is left, at once.
    pub(super) fn abandon(&mut self, fx: &mut Effects) {
        if self.handover.holds_addresses() {
            self.withdraw(fx, self.config.addresses.clone());
        }
        self.handover = Handover::None;
    }

    /// Another router is, or may be, Active: the addresses stay reachable for whoever has not heard it yet, and
    /// are not told of any more.
    pub(super) fn park(&mut self, fx: &mut Effects, now: Time) {
        let may_linger = self.may_linger();
        if let State::Active(active) = &self.state {
            active.part(fx);
        }
        let (true, Some(interface)) = (may_linger, self.config.interface) else {
            self.handover = Handover::None;
            return self.withdraw(fx, self.config.addresses.clone());
        };
        let ticket = fx.next_ticket();
        fx.push(Output::Park(Park {
            router: self.id,
            ticket,
            interface,
            addresses: self.config.addresses.clone(),
            linger: self.config.linger,
        }));
        let until = now + self.config.linger;
        self.handover = Handover::Parked { until };
    }

    fn become_lame_duck(&mut self, now: Time, cause: Cause) {
        self.handover = Handover::LameDuck(LameDuck {
            cause,
            repeat_at: Some(now + timers::RELEASE_REPETITION),
            until: now + self.config.handover_patience(),
        });
    }

    /// It is, or is about to be, Active: its addresses are where an Active's are.
    pub(super) fn take_back(&mut self, now: Time) {
        self.handover = if self.config.drained && self.leaves_lower_in_peace() {
            let again_at = now + timers::DRAIN_RETRY;
            Handover::Denied { again_at }
        } else {
            Handover::None
        };
    }

    /// Whether the peers, which have the same rule, follow even a priority of 1, at least for a while.
    fn leaves_lower_in_peace(&self) -> bool {
        match self.config.preemption {
            Preemption::Always => false,
            Preemption::Never | Preemption::Delayed(_) => !self.config.priority.is_owner(),
        }
    }

    /// The configuration was told to drain this router, or not to any more.
    pub(super) fn heed_drain(&mut self, fx: &mut Effects, now: Time, was_drained: bool) {
        if self.config.drained == was_drained || !matches!(self.state, State::Active(_)) {
            return;
        }
        self.handover = Handover::None;
        if self.config.drained && self.leaves_lower_in_peace() {
            self.stand_aside(fx, now);
        }
    }

    /// Gives the addresses away with priority 0 where a lower priority would change nothing.
    fn stand_aside(&mut self, fx: &mut Effects, now: Time) {
        let State::Active(active) = &self.state else {
            return;
        };
        if self.may_linger() {
            active.part(fx);
            self.advertise(fx, now, 0);
            self.become_lame_duck(now, Cause::Drain);
            let initialize = State::Initialize { retry: None };
            self.enter(fx, now, initialize, Reason::Drained, None);
        } else {
            self.advertise(fx, now, 0);
            let backup = Backup::new(now, Wait::Down, self.config.protocol.interval());
            self.demote(fx, now, backup, Reason::Drained, None);
        }
    }

    /// Startup of a router that holds addresses still: nothing keeps it from serving but its own wish to leave.
    pub(super) fn start_as_lame_duck(&mut self, fx: &mut Effects, now: Time) {
        let Handover::LameDuck(duck) = self.handover else {
            return;
        };
        let still_leaves = match duck.cause {
            Cause::Stop => false,
            Cause::Drain => self.config.drained,
        };
        if !still_leaves {
            self.promote(fx, now, Reason::Resumed);
        }
    }

    /// Whatever of the handover is due.
    pub(super) fn handover_timeout(&mut self, fx: &mut Effects, now: Time) {
        match &mut self.handover {
            Handover::None => {}
            Handover::LameDuck(duck) if duck.until <= now => match duck.cause {
                Cause::Stop => self.park(fx, now),
                Cause::Drain => self.promote(fx, now, Reason::NoSuccessor),
            },
            Handover::LameDuck(duck) => {
                if duck.repeat_at.is_some_and(|at| at <= now) {
                    duck.repeat_at = None;
                    self.advertise(fx, now, 0);
                }
            }
            Handover::Parked { until } if *until <= now => self.abandon(fx),
            Handover::Denied { again_at } if *again_at <= now => {
                self.take_back(now);
                // Without a lame duck that serves meanwhile, an attempt in vain would cost an outage.
                if matches!(self.handover, Handover::Denied { .. }) && self.may_linger() {
                    self.stand_aside(fx, now);
                }
            }
            Handover::Parked { .. } | Handover::Denied { .. } => {}
        }
    }

    /// An advertisement arrives in Initialize: a lame duck's successor, or one that leaves as well.
    pub(super) fn hear_as_lame_duck(&mut self, fx: &mut Effects, now: Time, heard: &Heard) {
        let Handover::LameDuck(duck) = self.handover else {
            return;
        };
        match (heard.priority, duck.cause) {
            (0, Cause::Stop) => {}
            (0, Cause::Drain) => self.promote(fx, now, Reason::Released),
            (_, Cause::Stop) => self.park(fx, now),
            (_, Cause::Drain) => {
                self.park(fx, now);
                let own = self.config.protocol.interval();
                let mut backup = Backup::new(heard.arrival, Wait::Down, own);
                backup.hear(now, heard, &self.hearing());
                let source = Some(heard.source);
                self.enter(fx, now, State::Backup(backup), Reason::Drained, source);
            }
        }
    }

    /// Whether a lame duck slept through the end of its patience: its successor may have come and not be heard.
    pub(super) fn is_lame_duck_stalled(&self, now: Time) -> bool {
        match self.handover {
            Handover::LameDuck(duck) => match duck.cause {
                Cause::Stop => false,
                Cause::Drain => now.since(duck.until) > self.config.protocol.interval(),
            },
            Handover::None | Handover::Parked { .. } | Handover::Denied { .. } => false,
        }
    }

    /// It listens before it says that it is back.
    pub(super) fn lame_duck_stalled(&mut self, fx: &mut Effects, now: Time) {
        if self.is_lame_duck_stalled(now) {
            self.park(fx, now);
            let own = self.config.protocol.interval();
            let backup = Backup::after_stall(now, own, &self.hearing());
            self.enter(fx, now, State::Backup(backup), Reason::Stalled, None);
        }
    }
}
