//! What the schedules met: a simulator that never sees a stall proves nothing about stalls.

use std::fmt;
use std::ops::AddAssign;

/// Counts of schedules in which something happened, and of events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) schedules: u64,
    pub(crate) events: u64,
    /// Of the schedule that had the fewest.
    pub(crate) fewest_events: u64,
    pub(crate) wakes: u64,
    pub(crate) double_active: u64,
    /// A node slept through more than it can bear, and noticed.
    pub(crate) stall: u64,
    /// A Backup heard priority 0.
    pub(crate) priority_zero: u64,
    /// An Active heard its own priority.
    pub(crate) tie: u64,
    /// A preemption delay ended in a promotion.
    pub(crate) delayed_preemption: u64,
    /// A frame was refused.
    pub(crate) refusal: u64,
    /// An installation failed.
    pub(crate) failed_installation: u64,
    /// A lame duck heard its successor, or lost patience, and parked its addresses.
    pub(crate) handover: u64,
}

impl Coverage {
    /// What must happen in at least one schedule of a hundred.
    pub(crate) fn demanded(&self) -> [(&'static str, u64); 8] {
        [
            ("double Active", self.double_active),
            ("stall", self.stall),
            ("priority 0", self.priority_zero),
            ("tie", self.tie),
            ("delayed preemption", self.delayed_preemption),
            ("refusal", self.refusal),
            ("failed installation", self.failed_installation),
            ("handover", self.handover),
        ]
    }
}

impl AddAssign for Coverage {
    fn add_assign(&mut self, other: Self) {
        self.fewest_events = match self.schedules {
            0 => other.fewest_events,
            _ => self.fewest_events.min(other.fewest_events),
        };
        self.schedules += other.schedules;
        self.events += other.events;
        self.wakes += other.wakes;
        self.double_active += other.double_active;
        self.stall += other.stall;
        self.priority_zero += other.priority_zero;
        self.tie += other.tie;
        self.delayed_preemption += other.delayed_preemption;
        self.refusal += other.refusal;
        self.failed_installation += other.failed_installation;
        self.handover += other.handover;
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedules = self.schedules.max(1);
        writeln!(
            f,
            "{} schedules, {} events ({} a schedule, {} at least), {} wake-ups; schedules with",
            self.schedules,
            self.events,
            self.events / schedules,
            self.fewest_events,
            self.wakes
        )?;
        for (what, count) in self.demanded() {
            let percent = count as f64 * 100.0 / schedules as f64;
            writeln!(f, "  {what:20} {count:8} ({percent:.1}%)")?;
        }
        Ok(())
    }
}
