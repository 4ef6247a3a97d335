//! One router instance: the state machine of RFC 9568 §6.4 with what Linux adds to it.
//!
//! Owns its state and the deadlines inside it. Judges no frame (`receive` does) and performs nothing: every
//! effect goes to [`Effects`]. Written in the order of events; `active` and `backup` hold what the two states
//! do with them, `holding` what becomes of the addresses, `reconfigure` what a new configuration changes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::{Family, MacAddr};

use crate::active::Active;
use crate::arbiter::{Arbiter, FirstClaim};
use crate::backup::{Backup, Hearing, Wait};
use crate::checksums::Lessons;
use crate::config::{ChecksumForm, Ifindex, RouterConfig};
use crate::counters::RouterCounters;
use crate::effects::Effects;
use crate::frames::Frames;
use crate::input::{InterfaceState, RouterId, Ticket};
use crate::output::{Member, Reason, Report, StateName};
use crate::places::{Places, SideLinks};
use crate::receive::Remarks;
use crate::status::{LastAdvertisement, Transitions};
use crate::time::Time;

mod bond;
mod evidence;
mod handover;
mod holding;
mod host;
mod observed;
mod reconfigure;

pub(crate) use bond::Bond;
use evidence::Verdict;
pub(crate) use host::Host;

/// A router instance of this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Router {
    pub(crate) id: RouterId,
    pub(crate) config: RouterConfig,
    pub(crate) counters: RouterCounters,
    pub(crate) remarks: Remarks,
    pub(crate) lessons: Lessons,
    /// Made anew from the configuration.
    #[serde(skip)]
    pub(crate) frames: Frames,
    /// The advertised addresses in order of value, for comparing lists.
    pub(crate) sorted: Vec<IpAddr>,
    /// Its interface, once it is known.
    pub(crate) link: Option<InterfaceState>,
    /// The interfaces of addresses that are not on its own.
    side_links: SideLinks,
    /// Those of its addresses that their interface has by the host's own configuration.
    of_host: Vec<IpAddr>,
    state: State,
    since: Time,
    reason: Reason,
    transitions: u64,
    transitions_by_kind: Vec<Transitions>,
    weight: i16,
    last: Option<LastAdvertisement>,
    /// What is known of others besides their advertisements.
    arbiter: Arbiter,
    /// How often in a row the kernel refused the addresses.
    install_failures: u32,
    /// The node is leaving every election.
    stopping: bool,
    /// What its sync group means for it, if it has one.
    bond: Option<Bond>,
    /// The member of its sync group that took it along last.
    taken_along_by: Option<Member>,
    /// What is left of having been Active.
    handover: handover::Handover,
}

/// Each state owns the deadlines that exist in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum State {
    Initialize {
        /// Not before this moment, after the kernel refused the addresses.
        retry: Option<Time>,
    },
    Backup(Backup),
    Active(Active),
}

/// What happens to a router instance.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Everything it needs is there.
    Startup,
    /// Something it needs is not, or it shall go.
    Leave(Reason),
    /// Its deadline has come.
    Timeout,
    /// It was not run for longer than it could bear.
    Stalled,
    /// An acceptable advertisement arrived.
    Heard(Heard),
    /// The kernel confirmed its addresses, but for `refused`.
    Installed {
        ticket: Ticket,
        refused: Vec<IpAddr>,
    },
    /// The kernel refused its addresses.
    InstallFailed { ticket: Ticket },
    /// Somebody had taken addresses of it off, and they are back.
    Restored,
}

/// An acceptable advertisement.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heard {
    pub(crate) source: IpAddr,
    pub(crate) source_mac: Option<MacAddr>,
    pub(crate) priority: u8,
    /// The sender's Advertisement_Interval.
    pub(crate) interval: Duration,
    pub(crate) arrival: Time,
}

impl Router {
    /// A router in Initialize whose interface is not known yet.
    pub(crate) fn new(id: RouterId, config: RouterConfig, now: Time) -> Self {
        let mut router = Self {
            id,
            config,
            counters: RouterCounters::default(),
            remarks: Remarks::default(),
            lessons: Lessons::default(),
            frames: Frames::default(),
            sorted: Vec::new(),
            link: None,
            side_links: SideLinks::default(),
            of_host: Vec::new(),
            state: State::Initialize { retry: None },
            since: now,
            reason: Reason::InterfaceMissing,
            transitions: 0,
            transitions_by_kind: Vec::new(),
            weight: 0,
            last: None,
            arbiter: Arbiter::default(),
            install_failures: 0,
            stopping: false,
            bond: None,
            taken_along_by: None,
            handover: handover::Handover::default(),
        };
        router.index_addresses();
        router
    }

    /// One event, one transition: RFC 9568 §6.4.1 to §6.4.3, row by row.
    pub(crate) fn handle(&mut self, fx: &mut Effects, now: Time, event: Event) {
        if let Event::Heard(heard) = &event {
            self.note_heard(heard);
        }
        match (&mut self.state, event) {
            (State::Initialize { .. }, Event::Startup) => self.start(fx, now),
            (State::Initialize { .. }, Event::Leave(reason)) => {
                self.let_addresses_go(fx, now, reason);
                self.reason = reason;
            }
            (State::Initialize { retry }, Event::Timeout) => {
                if retry.is_some_and(|at| at <= now) {
                    *retry = None;
                    self.start_if_able(fx, now);
                }
                self.handover_timeout(fx, now);
            }
            (State::Initialize { .. }, Event::Stalled) => self.lame_duck_stalled(fx, now),
            (State::Initialize { .. }, Event::Heard(heard)) => {
                self.hear_as_lame_duck(fx, now, &heard);
            }
            (
                State::Initialize { .. },
                Event::Installed { .. } | Event::InstallFailed { .. } | Event::Restored,
            ) => {}

            (State::Backup(_), Event::Startup) => {}
            (State::Backup(_), Event::Leave(reason)) => self.leave(fx, now, reason),
            (State::Backup(_), Event::Timeout) => {
                self.forget(fx, now);
                self.ask_again(fx, now);
                self.handover_timeout(fx, now);
                self.end_of_waiting(fx, now);
            }
            (State::Backup(_), Event::Stalled) => self.listen_again(now),
            (State::Backup(_), Event::Heard(heard)) => self.hear_as_backup(now, &heard),
            (
                State::Backup(_),
                Event::Installed { .. } | Event::InstallFailed { .. } | Event::Restored,
            ) => {}

            (State::Active(_), Event::Startup) => {}
            (State::Active(_), Event::Leave(reason)) => self.leave(fx, now, reason),
            (State::Active(_), Event::Timeout) => self.active_timeout(fx, now),
            (State::Active(_), Event::Stalled) => {
                let own = self.config.protocol.interval();
                let backup = Backup::after_stall(now, own, &self.hearing());
                self.demote(fx, now, backup, Reason::Stalled, None);
            }
            (State::Active(_), Event::Heard(heard)) => self.hear_as_active(fx, now, &heard),
            (State::Active(active), Event::Installed { ticket, refused }) => {
                if active.is_waiting_for(ticket) {
                    self.hold(fx, now, refused);
                }
            }
            (State::Active(active), Event::InstallFailed { ticket }) => {
                if active.is_waiting_for(ticket) {
                    self.give_up(fx, now, Reason::InstallFailed);
                }
            }
            (State::Active(active), Event::Restored) => {
                active.announce_anew(now);
                self.announce(fx, now);
            }
        }
    }

    /// Starts, or stays out with the reason that keeps it out.
    pub(crate) fn start_if_able(&mut self, fx: &mut Effects, now: Time) {
        match self.obstacle() {
            Some(reason) => self.handle(fx, now, Event::Leave(reason)),
            None => self.handle(fx, now, Event::Startup),
        }
    }

    /// What keeps it from taking part, if anything does: its own reasons first, then its group's.
    fn obstacle(&self) -> Option<Reason> {
        self.own_obstacle().or_else(|| {
            let fault = self.bond.as_ref()?.fault.as_ref();
            fault.filter(|_| self.moves()).map(|_| Reason::SyncGroup)
        })
    }

    /// What keeps it from taking part but for its group.
    fn own_obstacle(&self) -> Option<Reason> {
        if self.stopping {
            return Some(Reason::Shutdown);
        }
        self.link_obstacle()
    }

    /// What its interfaces lack.
    fn link_obstacle(&self) -> Option<Reason> {
        match (self.config.interface, &self.link) {
            (None, _) | (Some(_), None) => Some(Reason::InterfaceMissing),
            (Some(_), Some(link)) if !link.running => Some(Reason::InterfaceDown),
            (Some(_), Some(_)) if self.source().is_none() => Some(Reason::SourceMissing),
            (Some(_), Some(_)) => {
                let of_sides = self.side_links.obstacle();
                of_sides.or_else(|| self.host_obstacle())
            }
        }
    }

    /// RFC 9568 §6.4.1: the address owner begins as Active, everybody else listens first.
    fn start(&mut self, fx: &mut Effects, now: Time) {
        if self.is_lame_duck() {
            self.start_as_lame_duck(fx, now);
        } else if self.must_wait(now) {
            self.reason = Reason::InstallFailed;
        } else if self.config.priority.is_owner() {
            self.promote(fx, now, Reason::AddressOwner);
        } else {
            let backup = Backup::new(now, Wait::Down, self.config.protocol.interval());
            self.enter(fx, now, State::Backup(backup), Reason::Startup, None);
            self.ask_before_first_claim(fx, now);
        }
    }

    /// Whether the kernel refused its addresses a moment ago.
    fn must_wait(&self, now: Time) -> bool {
        match self.state {
            State::Initialize { retry } => retry.is_some_and(|at| at > now),
            State::Backup(_) | State::Active(_) => false,
        }
    }

    /// To Initialize: an Active says priority 0 where it still can, and lets its addresses go.
    fn leave(&mut self, fx: &mut Effects, now: Time, reason: Reason) {
        if matches!(self.state, State::Active(_)) {
            self.advertise(fx, now, 0);
        }
        self.let_addresses_go(fx, now, reason);
        self.enter(fx, now, State::Initialize { retry: None }, reason, None);
    }

    /// RFC 9568 §6.4.2, Active_Down_Timer; also the end of a preemption delay.
    fn end_of_waiting(&mut self, fx: &mut Effects, now: Time) {
        let hearing = self.hearing();
        let State::Backup(backup) = &self.state else {
            return;
        };
        let Some(mut reason) = backup.promotion(now, &hearing) else {
            // Its timer runs again: what was held back is not due any more.
            self.arbiter.hold = None;
            return;
        };
        match self.may_promote(fx, now) {
            Verdict::Granted => {}
            Verdict::HoldEnded => reason = Reason::HoldEnded,
            Verdict::Held => return,
        }
        match &mut self.state {
            // With its group, when the last of its members wants to.
            State::Backup(backup) if self.bond.is_some() && !hearing.is_owner => {
                backup.start_rest(reason, &hearing);
            }
            State::Initialize { .. } | State::Backup(_) | State::Active(_) => {
                self.promote(fx, now, reason);
            }
        }
    }

    /// To Active, with the interface's own MAC address: advertise, install, and announce when the kernel has
    /// confirmed. The owner has nothing to install.
    fn promote(&mut self, fx: &mut Effects, now: Time, reason: Reason) {
        let Some(interface) = self.config.interface else {
            return;
        };
        let mut active = Active::join(fx, now, &self.config, interface);
        active.succeeds(self.last_of_active(), reason);
        self.advertise(fx, now, self.effective_priority());
        active.install(fx, now, self.id, &self.config, interface);
        if self.is_lame_duck() {
            active.serve_on();
        }
        self.take_back(now);
        self.counters.active_transitions += 1;
        self.arbiter.first_claim = FirstClaim::Made;
        self.enter(fx, now, State::Active(active), reason, None);
        self.announce(fx, now);
    }

    fn active_timeout(&mut self, fx: &mut Effects, now: Time) {
        self.forget(fx, now);
        let State::Active(active) = &mut self.state else {
            return;
        };
        if active.is_unanswered(now) {
            return self.give_up(fx, now, Reason::InstallTimeout);
        }
        if active.tick(fx, now) {
            self.advertise(fx, now, self.effective_priority());
        }
        self.announce(fx, now);
        self.handover_timeout(fx, now);
    }

    fn listen_again(&mut self, now: Time) {
        let hearing = self.hearing();
        self.arbiter.hold = None;
        self.arbiter.deaf_until = now;
        if let State::Backup(backup) = &mut self.state {
            *backup = Backup::after_stall(now, backup.adver_interval, &hearing);
        }
    }

    fn hear_as_backup(&mut self, now: Time, heard: &Heard) {
        let hearing = self.hearing();
        if let State::Backup(backup) = &mut self.state {
            backup.hear(now, heard, &hearing);
        }
    }

    /// RFC 9568 §6.4.3: the greater priority, then the greater source address, stays.
    fn hear_as_active(&mut self, fx: &mut Effects, now: Time, heard: &Heard) {
        let own = self.effective_priority();
        let Some(source) = self.source() else { return };
        match heard.priority.cmp(&own).then(heard.source.cmp(&source)) {
            Ordering::Greater if heard.priority > own => {
                self.yield_to(fx, now, heard, Reason::HigherPriority);
            }
            Ordering::Greater if self.lets_ties_be(now) => self.reassert(fx, now, heard),
            Ordering::Greater => self.yield_to(fx, now, heard, Reason::HigherAddress),
            // Our own address from somebody else: `receive` has remarked it, and nobody would win.
            Ordering::Equal => {}
            Ordering::Less => self.reassert(fx, now, heard),
        }
    }

    fn yield_to(&mut self, fx: &mut Effects, now: Time, heard: &Heard, reason: Reason) {
        let own = self.config.protocol.interval();
        let mut backup = Backup::new(heard.arrival, Wait::Down, own);
        backup.hear(now, heard, &self.hearing());
        self.demote(fx, now, backup, reason, Some(heard.source));
    }

    /// Answers a lower priority, or a leaving router, at once; a lower one may also have moved our neighbours'
    /// entries to itself.
    fn reassert(&mut self, fx: &mut Effects, now: Time, heard: &Heard) {
        if heard.priority > 0 {
            self.note_duel(fx, now, heard);
        }
        let State::Active(active) = &mut self.state else {
            return;
        };
        if !active.may_reassert(now) {
            return;
        }
        self.advertise(fx, now, self.effective_priority());
        if let State::Active(active) = &mut self.state
            && heard.priority > 0
        {
            active.announce_again(now);
        }
        self.announce(fx, now);
    }

    fn demote(
        &mut self,
        fx: &mut Effects,
        now: Time,
        backup: Backup,
        reason: Reason,
        source: Option<IpAddr>,
    ) {
        self.park(fx, now);
        self.enter(fx, now, State::Backup(backup), reason, source);
    }

    /// The one place where the state changes.
    fn enter(
        &mut self,
        fx: &mut Effects,
        now: Time,
        state: State,
        reason: Reason,
        source: Option<IpAddr>,
    ) {
        self.leave_evidence(fx, now);
        fx.note_change();
        let from = self.state_name();
        self.state = state;
        let to = self.state_name();
        self.since = now;
        self.reason = reason;
        self.count_transition(from, to, reason);
        self.remarks.reset();
        let (name, family) = (self.config.name.clone(), self.config.family);
        let member = self.blamed(reason);
        fx.report(Report::Transition {
            at: now,
            name,
            family,
            interface: self.config.interface,
            from,
            to,
            reason,
            source,
            member,
        });
    }

    /// Counts an acceptable advertisement and notes its checksum form. `false` for the second of two forms of
    /// one advertisement, which is not to be heard again.
    pub(crate) fn accept(&mut self, heard: &Heard, form: Option<ChecksumForm>) -> bool {
        if let Some(form) = form {
            match form {
                ChecksumForm::Rfc9568 => self.counters.checksum_rfc9568 += 1,
                ChecksumForm::Rfc5798 => self.counters.checksum_rfc5798 += 1,
            }
            if self.lessons.note(heard, form) {
                return false;
            }
        }
        self.counters.advertisements_received += 1;
        if heard.priority == 0 {
            self.counters.priority_zero_received += 1;
        }
        true
    }

    fn note_heard(&mut self, heard: &Heard) {
        self.arbiter
            .note_advertisement(heard.source, heard.source_mac, heard.arrival);
        // Somebody advertises: this is no first claim, and what was held back waits for a timer again.
        self.arbiter.first_claim = FirstClaim::Made;
        self.arbiter.hold = None;
        self.arbiter.following = None;
        self.last = Some(LastAdvertisement {
            from: heard.source,
            priority: heard.priority,
            at: heard.arrival,
        });
    }

    /// Takes note of its interface as it is now; `None` when it is gone.
    pub(crate) fn set_link(&mut self, fx: &mut Effects, now: Time, link: Option<InterfaceState>) {
        let moved = self.link.is_some() && seen(self.link) != seen(link);
        self.link = link;
        self.links_changed(fx, now, moved);
    }

    /// Takes note of the interface of some of its addresses as it is now; `None` when it is gone.
    pub(crate) fn set_side_link(
        &mut self,
        fx: &mut Effects,
        now: Time,
        interface: Ifindex,
        link: Option<InterfaceState>,
    ) {
        let before = self.side_links.set(interface, link);
        self.links_changed(fx, now, before.is_some() && seen(before) != seen(link));
    }

    /// Goes on with its interfaces as they are now; if one `moved`, neighbours are told again.
    fn links_changed(&mut self, fx: &mut Effects, now: Time, moved: bool) {
        if self.link_obstacle().is_some() {
            self.abandon(fx);
        }
        self.start_if_able(fx, now);
        if let State::Active(active) = &mut self.state
            && moved
        {
            active.announce_anew(now);
            self.announce(fx, now);
        }
    }

    /// Learns how its interfaces are before anything is decided, where it knows nothing of them.
    pub(crate) fn learn_links(&mut self, links: &BTreeMap<Ifindex, InterfaceState>) {
        let own = self.config.interface.and_then(|i| links.get(&i));
        self.link = self.link.or(own.copied());
        self.side_links.learn(links);
    }

    /// Whether `interface` is that of some of its addresses, and not its own.
    pub(crate) fn has_side_link(&self, interface: Ifindex) -> bool {
        self.side_links.has(interface)
    }

    /// Its interfaces, while all of its own is known.
    fn places(&self) -> Option<Places<'_>> {
        Places::new(self.config.interface, self.link.as_ref(), &self.side_links)
    }

    /// The node leaves every election until [`resume`](Self::resume).
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// The node takes part again.
    pub(crate) fn resume(&mut self) {
        self.stopping = false;
    }

    /// Takes over the sum of tracked weights.
    pub(crate) fn set_weight(&mut self, weight: i16) {
        self.weight = weight;
    }

    /// When it wants to be run again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let of_state = match &self.state {
            State::Initialize { retry } => *retry,
            State::Backup(backup) => {
                let held = self.arbiter.hold_ends();
                held.or_else(|| backup.wake_up(&self.hearing()))
            }
            State::Active(active) => Some(active.deadline()),
        };
        let of_evidence = match &self.state {
            State::Initialize { .. } => None,
            State::Backup(_) | State::Active(_) => self.arbiter.deadline(),
        };
        let all = [of_state, of_evidence, self.handover_deadline()];
        all.into_iter().flatten().min()
    }

    /// How long a frame that is no farewell may wait for it.
    pub(crate) fn patience(&self) -> Duration {
        /// The part of an interval that no Backup misses.
        const PART: u32 = 16;
        match &self.state {
            // Its successor's first word ends it.
            State::Initialize { .. } if self.is_lame_duck() => Duration::ZERO,
            State::Initialize { .. } => Duration::MAX,
            State::Backup(backup) => backup.adver_interval / PART,
            State::Active(_) => Duration::ZERO,
        }
    }

    /// Whether the election slept through more than this router can bear: an Active through its peers'
    /// Active_Down_Interval, a Backup through an interval after its own.
    pub(crate) fn is_stalled(&self, now: Time) -> bool {
        match &self.state {
            State::Initialize { .. } => self.is_lame_duck_stalled(now),
            State::Backup(backup) => match self.arbiter.hold_ends() {
                Some(due) => now.since(due) > backup.adver_interval,
                None => backup.is_stalled(now, &self.hearing()),
            },
            State::Active(active) => active.is_stalled(now, self.active_down_interval()),
        }
    }

    /// After how much silence somebody else answers for the addresses that this router answers for; `None` while
    /// it answers for none.
    pub(crate) fn guarded_interval(&self) -> Option<Duration> {
        match &self.state {
            State::Initialize { .. } if self.is_lame_duck() => Some(self.active_down_interval()),
            State::Initialize { .. } | State::Backup(_) => None,
            State::Active(_) => Some(self.active_down_interval()),
        }
    }

    /// As advertised: its own, or its group's if that is lower; the owner's is never lowered.
    pub(crate) fn effective_priority(&self) -> u8 {
        match &self.bond {
            Some(bond) if self.moves() => bond.priority.min(self.own_priority()),
            Some(_) | None => self.own_priority(),
        }
    }

    /// The configured priority with its weights, 1..=254, and 1 where it is drained; the owner's is never lowered.
    pub(crate) fn own_priority(&self) -> u8 {
        if self.config.priority.is_owner() {
            return self.config.priority.get();
        }
        if self.config.drained {
            return 1;
        }
        let sum = i16::from(self.config.priority.get()).saturating_add(self.weight);
        u8::try_from(sum.clamp(1, 254)).unwrap_or(1)
    }

    /// Where its advertisements come from.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        let link = self.link.as_ref()?;
        self.config.source.or_else(|| match self.config.family {
            Family::V4 => link.ipv4.map(IpAddr::V4),
            Family::V6 => link.ipv6.map(IpAddr::V6),
        })
    }

    pub(crate) fn state_name(&self) -> StateName {
        match self.state {
            State::Initialize { .. } => StateName::Initialize,
            State::Backup(_) => StateName::Backup,
            State::Active(_) => StateName::Active,
        }
    }

    /// Active_Adver_Interval: what a Backup learnt, our own otherwise.
    pub(crate) fn adver_interval(&self) -> Duration {
        match &self.state {
            State::Backup(backup) => backup.adver_interval,
            State::Initialize { .. } | State::Active(_) => self.config.protocol.interval(),
        }
    }

    fn active_down_interval(&self) -> Duration {
        self.hearing().active_down_interval(self.adver_interval())
    }

    /// What a Backup needs to know of its router.
    fn hearing(&self) -> Hearing {
        Hearing {
            protocol: self.config.protocol,
            priority: self.effective_priority(),
            is_owner: self.config.priority.is_owner(),
            preemption: self.config.preemption,
            down_advertisements: self.config.down_advertisements.get(),
        }
    }
}

/// What of an interface its neighbours and its switch know. Another MTU comes with a restart of many a network card, and
/// its switch port forgets us.
fn seen(link: Option<InterfaceState>) -> Option<(MacAddr, u32)> {
    link.and_then(|l| Some((l.mac?, l.mtu)))
}
