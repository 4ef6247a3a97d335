//! What agent and guardian share: one page of atomics, and a doorbell.
//!
//! The election thread writes its pulse, once a turn and without a system call; the guardian reads it. Whether the
//! guardian may act is one word, which agent and guardian change by compare-and-swap: of a disarming and a
//! withdrawal that begin at the same moment exactly one takes place.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use vipkeeper_vrrp::Time;

use super::judge::Beat;
use crate::ring::Wake;
use crate::{clock, sys};

/// The guardian removes nothing. Zero: what a fresh page says.
const DISARMED: u32 = 0;
/// The guardian acts when the agent ends or hangs.
const ARMED: u32 = 1;
/// The guardian acts; there is no way back.
const WITHDRAWING: u32 = 2;

/// The shared memory.
#[derive(Debug, Default)]
pub struct Page {
    /// The election's last tick, in nanoseconds of CLOCK_BOOTTIME; 0 before the first.
    heartbeat: AtomicU64,
    /// The shortest Active_Down_Interval of what the agent answers for, in nanoseconds; 0 if it answers for nothing.
    guarded: AtomicU64,
    arming: AtomicU32,
}

/// The guardian has begun to remove the agent's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guardian has taken this agent for dead and removes its addresses")]
pub struct TooLate;

/// A handle of the page.
#[derive(Clone, Debug)]
pub struct Pulse {
    page: &'static Page,
    /// Rung when the guardian must look again although it planned to sleep longer.
    doorbell: Wake,
}

impl Pulse {
    /// A page of its own, disarmed.
    ///
    /// # Errors
    /// If there is no memory or no descriptor for it.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            page: sys::memory::share()?,
            doorbell: Wake::new()?,
        })
    }

    /// The election ticks: at `now` it has done everything that was due.
    pub fn beat(&self, now: Time) {
        self.page.heartbeat.store(now.as_nanos(), Ordering::Release);
    }

    /// The last tick, `None` before the first.
    #[must_use]
    pub fn last_beat(&self) -> Option<Time> {
        let nanos = self.page.heartbeat.load(Ordering::Acquire);
        (nanos > 0).then(|| Time::from_nanos(nanos))
    }

    /// From now on a silence of `interval` is too long; `None` while no silence is. Beat before.
    pub fn guard(&self, interval: Option<Duration>) {
        let nanos = interval.map_or(0, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        let before = self.page.guarded.swap(nanos, Ordering::AcqRel);
        if nanos > 0 && (before == 0 || nanos < before) {
            self.doorbell.ring();
        }
    }

    pub(super) fn arm(&self) {
        // Whoever took over a moment ago has not ticked yet.
        if self.last_beat().is_some() {
            self.beat(clock::now());
        }
        let word = &self.page.arming;
        let armed = word.compare_exchange(DISARMED, ARMED, Ordering::AcqRel, Ordering::Acquire);
        if armed.is_ok() {
            self.doorbell.ring();
        }
    }

    pub(super) fn disarm(&self) -> Result<(), TooLate> {
        let word = &self.page.arming;
        match word.compare_exchange(ARMED, DISARMED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(DISARMED) => Ok(()),
            Err(_) => Err(TooLate),
        }
    }

    /// The guardian is about to act: false if it may not.
    pub(super) fn begin_withdrawal(&self) -> bool {
        let word = &self.page.arming;
        word.compare_exchange(ARMED, WITHDRAWING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(super) fn is_armed(&self) -> bool {
        self.page.arming.load(Ordering::Acquire) == ARMED
    }

    /// What there is to judge: nothing while disarmed, before the first tick, and while the agent answers for nothing.
    pub(super) fn look(&self) -> Option<Beat> {
        let guarded = self.page.guarded.load(Ordering::Acquire);
        let at = self.last_beat()?;
        (self.is_armed() && guarded > 0).then(|| Beat {
            at,
            guarded: Duration::from_nanos(guarded),
        })
    }

    pub(super) const fn doorbell(&self) -> &Wake {
        &self.doorbell
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    const DOWN: Duration = Duration::from_millis(300);

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    fn is_rung(pulse: &Pulse) -> bool {
        let mut doorbell = [PollFd::new(pulse.doorbell.as_fd(), PollFlags::POLLIN)];
        poll(&mut doorbell, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn there_is_something_to_judge_once_it_is_armed_ticks_and_answers_for_an_address() {
        let pulse = Pulse::new().unwrap();
        assert_eq!(pulse.look(), None);
        pulse.arm();
        pulse.guard(Some(DOWN));
        assert_eq!(pulse.look(), None, "no tick yet");
        pulse.beat(at(7));
        let beat = Beat {
            at: at(7),
            guarded: DOWN,
        };
        assert_eq!(pulse.look(), Some(beat));
        pulse.guard(None);
        assert_eq!(pulse.look(), None);
        pulse.guard(Some(DOWN));
        pulse.disarm().unwrap();
        assert_eq!(pulse.look(), None);
    }

    #[test]
    fn a_withdrawal_and_a_disarming_exclude_each_other() {
        let pulse = Pulse::new().unwrap();
        pulse.arm();
        pulse.disarm().unwrap();
        assert!(!pulse.begin_withdrawal());
        pulse.arm();
        assert!(pulse.begin_withdrawal());
        assert_eq!(pulse.disarm(), Err(TooLate));
        pulse.arm();
        assert!(!pulse.is_armed(), "there is no way back");
        assert!(!pulse.begin_withdrawal(), "twice");
    }

    #[test]
    fn arming_again_after_a_pause_counts_as_a_tick() {
        let pulse = Pulse::new().unwrap();
        pulse.beat(at(1));
        pulse.guard(Some(DOWN));
        let before = clock::now();
        pulse.arm();
        assert!(pulse.look().unwrap().at >= before);
    }

    #[test]
    fn the_doorbell_rings_when_the_guardian_must_look_earlier_than_it_planned() {
        let pulse = Pulse::new().unwrap();
        pulse.guard(Some(DOWN));
        assert!(is_rung(&pulse), "first");
        pulse.doorbell.clear();
        pulse.guard(Some(DOWN * 2));
        pulse.guard(Some(DOWN * 2));
        assert!(!is_rung(&pulse), "later or the same");
        pulse.guard(Some(DOWN));
        assert!(is_rung(&pulse), "earlier");
        pulse.doorbell.clear();
        pulse.guard(None);
        assert!(!is_rung(&pulse), "never");
        pulse.arm();
        assert!(is_rung(&pulse), "armed");
    }
}
