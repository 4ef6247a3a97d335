//! What one router instance must be, given what its node was told: RFC 9568 §6.4 as a table of permissions.
//!
//! The simulator feeds it the same inputs as the election, in the same order, and compares after each wake-up.
//! It says when a promotion is allowed and when it is overdue, who must yield to whom, and when an
//! advertisement or an answer is missing. It judges no bytes and sends nothing. Where two behaviours are
//! right it holds a range, and follows the election.

use std::net::IpAddr;

use serde::Serialize;
use vipkeeper_vrrp::{ChecksumForm, Preemption, StateName};

use crate::group::{Group, MICRO, MILLI, Member, Nanos, SECOND};

/// Timers of both sides agree to a nanosecond; this keeps rounding out of the verdict.
const ROUNDING: Nanos = MICRO;

/// Between two answers to a lower priority (DESIGN §7).
pub(crate) const ANSWER_PAUSE: Nanos = 10 * MILLI;

/// The first and the last back-off after a refused installation (DESIGN §7).
const FIRST_RETRY: Nanos = SECOND;
const LAST_RETRY: Nanos = 60 * SECOND;

/// One router instance as it must be.
pub(crate) struct Reference {
    /// As the node was told; `None` while its plan does not name the router.
    pub(crate) member: Option<Member>,
    weight: i16,
    /// The interface is up.
    running: bool,
    /// It has an address to send from, and to be sent to by unicast.
    pub(crate) addressed: bool,
    /// The host has its addresses: the owner's, or a conflict.
    pub(crate) host: bool,
    stopping: bool,
    phase: Phase,
    /// Since when it takes part in the election.
    pub(crate) able_since: Option<Nanos>,
    last_advertisement: Nanos,
    /// It heard a lower priority, or a leaving Active, and has to advertise.
    owes_answer: bool,
    /// The last advertisement of each sender, while the same in the other checksum form may follow: a pair
    /// counts as one (DESIGN §5).
    unpaired: Vec<Heard>,
    /// This wake-up is so late that it may count as a stall.
    pub(crate) late: bool,
    /// It became Active by an input of this wake-up: outcomes of older orders mean nothing.
    fresh: bool,
    /// What happened in this wake-up, for coverage.
    pub(crate) seen: Seen,
}

/// From the earliest to the latest moment, or from the shortest to the longest time, that is right.
type Range = (Nanos, Nanos);

/// The states, with what decides how they end.
#[derive(Clone, Debug, Serialize)]
enum Phase {
    Initialize {
        /// When its addresses were refused, until it tries again.
        refused_at: Option<Nanos>,
    },
    /// Drained, it said priority 0 and serves on until somebody takes over, or until then.
    Lame {
        until: Nanos,
    },
    Backup(Listening),
    Active {
        /// Before this comes the next advertisement.
        due: Nanos,
    },
}

#[derive(Clone, Debug, Serialize)]
struct Listening {
    armed_at: Nanos,
    wait: Wait,
    /// Active_Adver_Interval.
    interval: Range,
    /// In mode Delayed: since when an Active of lower priority is heard, and its priority.
    lower: Option<(Range, u8)>,
    /// After a stall nothing fires before this.
    not_before: Range,
    /// Up to here nothing is known of its timers.
    unknown_until: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Wait {
    DownInterval,
    Skew,
    /// An interval and the skew, after a stall.
    Listen,
}

/// What a router instance met in one wake-up.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) tie: bool,
    pub(crate) released: bool,
    pub(crate) stalled: bool,
    pub(crate) delayed: bool,
    /// Its interface was down, if only for a part of what it slept through.
    pub(crate) link_lost: bool,
}

/// An acceptable advertisement from another node.
#[derive(Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) now: Nanos,
    pub(crate) arrival: Nanos,
    pub(crate) priority: u8,
    pub(crate) interval: Nanos,
    pub(crate) form: Option<ChecksumForm>,
    pub(crate) source: IpAddr,
    /// Whether the sender's address is greater than the hearer's.
    pub(crate) from_greater: bool,
}

impl Reference {
    pub(crate) fn new() -> Self {
        Self {
            member: None,
            weight: 0,
            running: false,
            addressed: false,
            host: false,
            stopping: false,
            phase: Phase::Initialize { refused_at: None },
            able_since: None,
            last_advertisement: 0,
            owes_answer: false,
            unpaired: Vec::new(),
            late: false,
            fresh: false,
            seen: Seen::default(),
        }
    }

    /// As advertised: weights move everybody but the owner within 1..=254.
    pub(crate) fn priority(&self) -> u8 {
        match &self.member {
            Some(member) if member.drained && member.priority < 255 => 1,
            Some(member) if member.priority < 255 => {
                (i16::from(member.priority) + self.weight).clamp(1, 254) as u8
            }
            Some(member) => member.priority,
            None => 0,
        }
    }

    /// Advertisement_Interval.
    pub(crate) fn interval(&self, group: &Group) -> Nanos {
        self.member.as_ref().map_or(0, |m| group.nanos(m.interval))
    }

    /// A wake-up at `now`. One that comes later than this router can bear makes it listen first (X05): an
    /// Active after an Active_Down_Interval of silence, a Backup an interval after its deadline. An Active that
    /// may miss one advertisement alone must be an interval late, too.
    pub(crate) fn wake(&mut self, group: &Group, now: Nanos) {
        self.seen = Seen::default();
        self.owes_answer = false;
        self.late = false;
        self.fresh = false;
        let own = self.interval(group);
        match &self.phase {
            Phase::Initialize { .. } => {}
            Phase::Lame { until } => {
                if now > until + own {
                    self.able_since = Some(now);
                    self.listen(group, now, (own, own));
                }
            }
            Phase::Active { due } => {
                let silence = now - self.last_advertisement;
                self.late = silence > group.down_interval(self.priority(), own);
                // After a shorter interval was configured, its silence may be long and its lateness not.
                if self.late && now > due + own {
                    self.listen(group, now, (own, own));
                }
            }
            Phase::Backup(listening) => {
                let interval = listening.interval;
                let (earliest, latest) = self.promotion(group, listening);
                self.late = now > earliest + interval.0;
                let known = listening.unknown_until == 0;
                if known && now > latest + interval.1 {
                    self.listen(group, now, interval);
                } else if self.late {
                    self.may_listen(group, now);
                }
            }
        }
    }

    /// Its place in a new plan; `serves` if its addresses could serve on without it.
    pub(crate) fn apply(
        &mut self,
        group: &Group,
        now: Nanos,
        member: Option<&Member>,
        serves: bool,
    ) {
        self.stopping = false;
        if member.is_none() {
            // Whoever told its weight tells it anew when it is back.
            self.weight = 0;
        }
        if self.member.as_ref() != member {
            let old = std::mem::replace(&mut self.member, member.cloned());
            if member.is_none() {
                self.unpaired.clear();
            }
            if let (Some(old), Some(new)) = (old, member) {
                self.edit(group, now, &old, new, serves);
            }
        }
        self.start_or_leave(group, now);
    }

    fn edit(&mut self, group: &Group, now: Nanos, old: &Member, new: &Member, serves: bool) {
        let own = group.nanos(new.interval);
        if (old.priority == 255) != (new.priority == 255) {
            // The owner uses what everybody else installs: another identity, which starts anew.
            self.able_since = None;
            self.unpaired.clear();
            self.phase = Phase::Initialize { refused_at: None };
        }
        match &mut self.phase {
            Phase::Lame { .. } if new.drained => {}
            Phase::Lame { .. } => {
                self.fresh = true;
                self.able_since = Some(now);
                self.phase = Phase::Active { due: now };
            }
            Phase::Active { .. } if new.stands_aside() && !old.drained => {
                self.stand_aside(group, now, serves);
            }
            Phase::Initialize { refused_at } => *refused_at = None,
            Phase::Active { due } => *due = (*due).max(now + own),
            Phase::Backup(listening) => {
                if old.interval != new.interval {
                    let (low, high) = listening.interval;
                    listening.interval = (low.min(own), high.max(own));
                }
                if old.preemption != new.preemption {
                    listening.lower = None;
                }
            }
        }
    }

    fn stand_aside(&mut self, group: &Group, now: Nanos, serves: bool) {
        let own = self.interval(group);
        if serves {
            self.able_since = None;
            let until = now + group.patience(own);
            self.phase = Phase::Lame { until };
        } else {
            self.phase = Phase::Backup(Listening::new(now, (own, own)));
        }
    }

    /// Its interface is there, and has an address.
    pub(crate) fn is_connected(&self) -> bool {
        self.running && self.addressed
    }

    pub(crate) fn set_weight(&mut self, weight: i16) {
        self.weight = weight;
    }

    pub(crate) fn shut_down(&mut self, group: &Group, now: Nanos) {
        self.stopping = true;
        self.start_or_leave(group, now);
    }

    /// The interface came or went.
    pub(crate) fn set_link(&mut self, group: &Group, now: Nanos, running: bool, addressed: bool) {
        self.running = running;
        self.addressed = addressed;
        self.seen.link_lost |= !(running && addressed);
        self.start_or_leave(group, now);
    }

    /// The host got its addresses, or lost them: what was refused may be tried again.
    pub(crate) fn set_host(&mut self, group: &Group, now: Nanos, host: bool) {
        if self.host == host {
            return;
        }
        self.host = host;
        if let Phase::Initialize { refused_at } = &mut self.phase {
            *refused_at = None;
        }
        self.start_or_leave(group, now);
    }

    /// The order that it waited for was refused as a whole: out, and back after a while.
    pub(crate) fn refuse_installation(&mut self, now: Nanos) {
        if matches!(self.phase, Phase::Active { .. }) && !self.fresh {
            let refused_at = Some(now);
            self.phase = Phase::Initialize { refused_at };
            self.able_since = None;
        }
    }

    fn start_or_leave(&mut self, group: &Group, now: Nanos) {
        let refused_at = match self.phase {
            Phase::Initialize { refused_at } if self.member.is_some() => refused_at,
            Phase::Initialize { .. }
            | Phase::Lame { .. }
            | Phase::Backup(_)
            | Phase::Active { .. } => None,
        };
        if !self.is_able() {
            self.able_since = None;
            self.phase = Phase::Initialize { refused_at };
        } else if matches!(self.phase, Phase::Initialize { .. }) && refused_at.is_none() {
            self.start(group, now);
        }
    }

    fn is_able(&self) -> bool {
        let mut member = self.member.iter();
        // The owner needs them on the host, and nobody else can have them then.
        let entitled = member.any(|member| (member.priority == 255) == self.host);
        self.running && self.addressed && !self.stopping && entitled
    }

    /// RFC 9568 §6.4.1.
    fn start(&mut self, group: &Group, now: Nanos) {
        let own = self.interval(group);
        self.fresh = true;
        self.able_since = Some(now);
        self.phase = match self.priority() {
            255 => Phase::Active { due: now },
            _ => Phase::Backup(Listening::new(now, (own, own))),
        };
    }

    fn listen(&mut self, group: &Group, now: Nanos, interval: Range) {
        self.seen.stalled = true;
        let mut listening = Listening::new(now, interval);
        listening.wait = Wait::Listen;
        listening.not_before = self.end_of_wait(group, &listening);
        self.phase = Phase::Backup(listening);
    }

    /// Whether a Backup's timer makes this wake-up a stall is unknown: it may act at once, or listen first, with
    /// the priority that it has before it learns anything new.
    fn may_listen(&mut self, group: &Group, now: Nanos) {
        let priority = self.priority();
        if let Phase::Backup(listening) = &mut self.phase {
            let (_, interval) = listening.interval;
            let listened = now + interval + group.skew(priority, interval);
            let (_, longest) = &mut listening.not_before;
            *longest = listened.max(*longest);
        }
    }

    /// RFC 9568 §6.4.2 and §6.4.3.
    pub(crate) fn hear(&mut self, group: &Group, heard: Heard) {
        if heard.form.is_some() && self.is_second_of_pair(heard) {
            return;
        }
        let Some(member) = &self.member else { return };
        let (own, interval) = (self.priority(), group.nanos(member.interval));
        let waits = match &self.phase {
            Phase::Backup(listening) => self.end_of_wait(group, listening),
            Phase::Initialize { .. } | Phase::Lame { .. } | Phase::Active { .. } => (0, 0),
        };
        match &mut self.phase {
            Phase::Initialize { .. } => {}
            Phase::Lame { .. } => {
                self.able_since = Some(heard.now);
                if heard.priority == 0 {
                    self.fresh = true;
                    self.phase = Phase::Active { due: heard.now };
                } else {
                    let mut listening = Listening::new(heard.arrival, (interval, interval));
                    listening.hear(&heard, own, member.preemption);
                    self.phase = Phase::Backup(listening);
                }
            }
            Phase::Backup(listening) => {
                self.seen.released |= heard.priority == 0;
                let armed_at = listening.armed_at;
                listening.hear(&heard, own, member.preemption);
                if listening.armed_at < armed_at && listening.wait == Wait::DownInterval {
                    // From before it began to wait: it shortens nothing.
                    let (low, high) = &mut listening.not_before;
                    (*low, *high) = ((*low).max(waits.0), (*high).max(waits.1));
                }
            }
            Phase::Active { .. } => {
                self.seen.tie |= heard.priority == own;
                self.owes_answer = true;
                if heard.priority > own || heard.priority == own && heard.from_greater {
                    let mut listening = Listening::new(heard.arrival, (interval, interval));
                    listening.hear(&heard, own, member.preemption);
                    if self.late {
                        listening.not_before.1 = heard.now + interval + group.skew(own, interval);
                    }
                    self.phase = Phase::Backup(listening);
                }
            }
        }
    }

    fn is_second_of_pair(&mut self, heard: Heard) -> bool {
        let place = self
            .unpaired
            .iter()
            .position(|first| first.source == heard.source);
        let second = place
            .map(|place| self.unpaired.swap_remove(place))
            .is_some_and(|first| {
                first.form != heard.form
                    && first.priority == heard.priority
                    && heard.arrival.saturating_sub(first.arrival) < heard.interval / 2
            });
        if !second {
            self.unpaired.push(heard);
        }
        second
    }

    /// It sent an advertisement of a priority above zero.
    pub(crate) fn advertised(&mut self, group: &Group, now: Nanos) {
        self.last_advertisement = now;
        let next = now + self.interval(group);
        if let Phase::Active { due } = &mut self.phase {
            *due = next;
        }
    }

    /// After a wake-up at `now`, in which everything due was done, the election says `state`; `advertised` if
    /// it sent an advertisement.
    pub(crate) fn settle(
        &mut self,
        group: &Group,
        now: Nanos,
        state: StateName,
        advertised: bool,
        released: bool,
    ) -> Result<(), String> {
        let stands_aside = self.member.as_ref().is_some_and(Member::stands_aside);
        match (&self.phase, state) {
            (Phase::Lame { until }, StateName::Initialize) if now < until + ROUNDING => Ok(()),
            (Phase::Lame { until }, StateName::Active)
                if now + ROUNDING >= *until && advertised =>
            {
                self.able_since = Some(now);
                let due = now + self.interval(group);
                self.phase = Phase::Active { due };
                Ok(())
            }
            // After a while in which nobody relieved it, it asks again.
            (Phase::Active { .. }, StateName::Initialize) if stands_aside && released => {
                self.stand_aside(group, now, true);
                Ok(())
            }
            (Phase::Initialize { refused_at: None }, StateName::Initialize) => Ok(()),
            (
                Phase::Initialize {
                    refused_at: Some(at),
                },
                _,
            ) => self.settle_refused(group, now, *at, state, advertised),
            (Phase::Backup(listening), StateName::Backup) => {
                let (_, latest) = self.promotion(group, listening);
                if now < latest + ROUNDING {
                    Ok(())
                } else {
                    Err(format!(
                        "its promotion is overdue since {} ns",
                        now - latest
                    ))
                }
            }
            (Phase::Backup(listening), StateName::Active) => {
                let (earliest, _) = self.promotion(group, listening);
                if now + ROUNDING < earliest {
                    let early = earliest - now;
                    return Err(format!("it became Active {early} ns early: {listening:?}"));
                }
                if !advertised {
                    return Err("it became Active without an advertisement".to_owned());
                }
                let (down, _) = self.end_of_wait(group, listening);
                self.seen.delayed = self.end_of_delay(listening).is_some_and(|at| at.0 < down);
                let due = now + self.interval(group);
                self.phase = Phase::Active { due };
                Ok(())
            }
            (Phase::Active { due }, StateName::Active) => {
                if *due <= now {
                    return Err(format!(
                        "an advertisement is overdue since {} ns",
                        now - due
                    ));
                }
                if self.owes_answer && now - self.last_advertisement >= ANSWER_PAUSE {
                    return Err("it did not answer a lower priority or priority 0".to_owned());
                }
                Ok(())
            }
            (Phase::Active { .. } | Phase::Lame { .. }, StateName::Backup) if self.late => {
                let own = self.interval(group);
                self.listen(group, now, (own, own));
                if let Phase::Backup(listening) = &mut self.phase {
                    // It may have heard in this wake-up what this one took for an Active to hear.
                    let (_, longest) = group.longest();
                    listening.unknown_until = now + longest;
                }
                Ok(())
            }
            (phase, _) => Err(format!("it is {state:?} and should be {phase:?}")),
        }
    }

    fn settle_refused(
        &mut self,
        group: &Group,
        now: Nanos,
        at: Nanos,
        state: StateName,
        advertised: bool,
    ) -> Result<(), String> {
        match state {
            StateName::Initialize if self.is_able() && now > at + LAST_RETRY => {
                Err("it did not try again after its addresses were refused".to_owned())
            }
            StateName::Initialize => Ok(()),
            StateName::Backup | StateName::Active if !self.is_able() || now < at + FIRST_RETRY => {
                Err(format!(
                    "its addresses were refused at {at}, and now it is {state:?}"
                ))
            }
            StateName::Backup | StateName::Active => {
                self.start(group, now);
                let own = self.interval(group);
                match (&mut self.phase, state) {
                    (Phase::Backup(_), StateName::Backup) => Ok(()),
                    (Phase::Active { due }, StateName::Active) if advertised => {
                        *due = now + own;
                        Ok(())
                    }
                    (phase, _) => Err(format!("it is {state:?} and should be {phase:?}")),
                }
            }
        }
    }

    /// The earliest moment at which a Backup may, and the latest at which it must become Active.
    fn promotion(&self, group: &Group, listening: &Listening) -> Range {
        let down = self.end_of_wait(group, listening);
        if listening.unknown_until > 0 {
            return (0, down.1.max(listening.unknown_until));
        }
        let (from, to) = self.end_of_delay(listening).unwrap_or(down);
        let (from, to) = (from.min(down.0), to.min(down.1));
        let (shortest, longest) = listening.not_before;
        (from.max(shortest), to.max(longest))
    }

    /// The end of the Active_Down_Timer.
    fn end_of_wait(&self, group: &Group, listening: &Listening) -> Range {
        let priority = self.priority();
        let end = |interval| {
            listening.armed_at
                + match listening.wait {
                    Wait::DownInterval => group.down_interval(priority, interval),
                    Wait::Skew => group.skew(priority, interval),
                    Wait::Listen => interval + group.skew(priority, interval),
                }
        };
        (end(listening.interval.0), end(listening.interval.1))
    }

    /// The end of a preemption delay that is running.
    fn end_of_delay(&self, listening: &Listening) -> Option<Range> {
        // A delay counts for as long as the Active is the lower one.
        let (since, _) = listening
            .lower
            .filter(|(_, priority)| *priority < self.priority())?;
        match self.member.as_ref()?.preemption {
            Preemption::Delayed(delay) => {
                let delay = delay.as_nanos() as Nanos;
                Some((since.0 + delay, since.1 + delay))
            }
            Preemption::Always | Preemption::Never => None,
        }
    }
}

impl Listening {
    fn new(now: Nanos, interval: Range) -> Self {
        Self {
            armed_at: now,
            wait: Wait::DownInterval,
            interval,
            lower: None,
            not_before: (0, 0),
            unknown_until: 0,
        }
    }

    /// RFC 9568 §6.4.2; a preemption delay counts from the first lower priority.
    fn hear(&mut self, heard: &Heard, own: u8, preemption: Preemption) {
        let lower = heard.priority < own;
        let follow = match preemption {
            _ if heard.priority == 0 => {
                self.armed_at = heard.arrival;
                self.wait = Wait::Skew;
                self.lower = None;
                return;
            }
            _ if !lower => {
                self.lower = None;
                true
            }
            _ if own == 255 => false,
            Preemption::Always => false,
            Preemption::Never => true,
            Preemption::Delayed(delay) => {
                let (since, _) = self.lower.unwrap_or(((heard.arrival, heard.now), 0));
                self.lower = Some((since, heard.priority));
                heard.now < since.1 + delay.as_nanos() as Nanos
            }
        };
        if follow {
            self.armed_at = heard.arrival;
            self.wait = Wait::DownInterval;
            self.interval = (heard.interval, heard.interval);
        }
    }
}
