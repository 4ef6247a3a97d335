//! The election of all router instances of a node: the contract, demultiplexing and deadlines.
//!
//! Owns the routers and what they share. Decides nothing about one router: `router` does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::heartbeat::{Authenticity, Heartbeat, hash};
use vipkeeper_wire::ip::Datagram;
use vipkeeper_wire::{Family, MacAddr, Vrid};

use crate::config::{Ifindex, Plan, RouterConfig};
use crate::counters::NodeCounters;
use crate::deadlines::Deadlines;
use crate::effects::Effects;
use crate::foreign::{ForeignRouters, Stranger};
use crate::frozen::{Format, pairs};
use crate::heartbeat::{self, Beacon};
use crate::input::{Command, Fact, Input, InterfaceState, Received, RouterId};
use crate::output::{Output, Reason, Report};
use crate::receive::{self, Refusal, Remarks};
use crate::router::{Event, Host, Router};
use crate::status::Snapshot;
use crate::sync::{self, Groups};
use crate::time::Time;

/// No router can be called stalled within the shortest interval.
const SHORTEST_STALL: Duration = Duration::from_millis(10);

/// The VRRP election of all virtual routers of a node, without sockets, clock or threads.
///
/// # Contract
///
/// *Inputs* are the `handle_*` methods, or any of them as an [`Input`]. Each takes `now`, nanoseconds of CLOCK_BOOTTIME, which must not go
/// back (if it does, the latest `now` seen counts). *Outputs* are effects as data, in [`Output`]: after a
/// batch of inputs call [`poll_output`](Self::poll_output) until it returns `None` and carry them out in that
/// order. [`next_timeout`](Self::next_timeout) says when to come back if nothing else happens.
///
/// One wake-up of the driver is, with one and the same `now`:
///
/// 1. every fact and command that is waiting,
/// 2. every frame that is waiting, with its arrival time,
/// 3. `handle_timeout(now)`,
/// 4. all outputs.
///
/// Frames come before timers: after a pause the queue holds the advertisements of whoever took over, and a
/// timer that fired first would not know of them. What the pause may have swallowed altogether, the election
/// notices by itself: a router that slept through more than it can bear listens before it acts.
///
/// An [`Output::Install`] is answered by exactly one [`Fact::Installed`] or [`Fact::InstallFailed`] with its
/// ticket; nothing is announced before that. Answers to orders that are no longer of interest may come, too. A
/// router that waits for its answer longer than [`INSTALL_PATIENCE`](crate::INSTALL_PATIENCE) leaves, orders the
/// addresses off again, and comes back as after a refusal.
///
/// An [`Output::Install`] or [`Output::Withdraw`] never names an address of the address owner, and a router all
/// of whose addresses the host has ([`Fact::HostAddresses`]) takes no part.
///
/// Calling `handle_timeout` when nothing is due does no harm. No input panics, and none is refused: what is
/// wrong with a frame is counted and reported.
///
/// It is frozen by serialising it, between two wake-ups, and goes on in another process of the same boot when it
/// is deserialised there. Router ids and tickets stay what they were.
///
/// Promotions pass one gate, a function that grants: later evidence that another node is Active may delay
/// them there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Election {
    /// Read first, so that another format is told from a broken one.
    format: Format,
    /// By slot; slots are used again, router ids are not.
    routers: Vec<Option<Router>>,
    /// The slots in the plan's order.
    order: Vec<usize>,
    #[serde(with = "pairs")]
    by_key: BTreeMap<(Ifindex, Family, Vrid), usize>,
    by_id: BTreeMap<RouterId, usize>,
    #[serde(with = "pairs")]
    by_name: BTreeMap<(Arc<str>, Family), usize>,
    groups: Groups,
    deadlines: Deadlines,
    links: BTreeMap<Ifindex, InterfaceState>,
    /// What each interface has by the host's own configuration, in order of value.
    host: Host,
    #[serde(with = "pairs")]
    weights: BTreeMap<(Arc<str>, Family), i16>,
    fx: Effects,
    counters: NodeCounters,
    remarks: Remarks,
    foreign: ForeignRouters,
    beacon: Beacon,
    /// By the hash of their names.
    #[serde(with = "pairs")]
    by_hash: BTreeMap<(u64, Family), usize>,
    /// By their addresses.
    #[serde(with = "pairs")]
    by_address: BTreeMap<(Ifindex, IpAddr), usize>,
    last_id: u32,
    /// The latest `now`.
    observed: Time,
}

impl Election {
    /// An election without routers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes any input: one that was written down, or whose kind does not matter.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Datagram {
                interface,
                arrival,
                source_mac,
                bytes,
            } => self.handle_datagram(now, interface, arrival, source_mac, &bytes),
            Input::Fact(fact) => self.handle_fact(now, fact),
            Input::Command(command) => self.handle_command(now, command),
            Input::Timeout => self.handle_timeout(now),
        }
    }

    /// Carries out a command.
    pub fn handle_command(&mut self, now: Time, command: Command) {
        let now = self.observe(now);
        match command {
            Command::Apply(plan) => self.apply(now, &plan),
            Command::Shutdown => {
                self.for_each_router(|router, fx| {
                    router.stop();
                    router.start_if_able(fx, now);
                });
                self.settle_groups(now);
                self.beacon.say_farewell(now);
            }
        }
    }

    /// Takes note of a fact.
    pub fn handle_fact(&mut self, now: Time, fact: Fact) {
        let now = self.observe(now);
        match fact {
            Fact::Interface { interface, state } => self.set_link(now, interface, Some(state)),
            Fact::HostAddresses {
                interface,
                addresses,
            } => self.set_host(now, interface, addresses),
            Fact::InterfaceGone { interface } => self.set_link(now, interface, None),
            Fact::Restored { router } => self.handle_by_id(now, router, Event::Restored),
            Fact::Installed {
                router,
                ticket,
                refused,
            } => {
                self.handle_by_id(now, router, Event::Installed { ticket, refused });
            }
            Fact::InstallFailed { router, ticket } => {
                self.handle_by_id(now, router, Event::InstallFailed { ticket });
            }
            Fact::Weight {
                name,
                family,
                weight,
            } => {
                self.weights.insert((name, family), weight);
                self.take_weights();
                self.settle_groups(now);
            }
            Fact::Heartbeat {
                from,
                arrival,
                authenticity,
                heartbeat,
            } => self.hear_heartbeat(now, from, arrival.min(now), authenticity, &heartbeat),
            Fact::Neighbour {
                interface,
                arrival,
                address,
                mac,
            } => {
                if let Some(&slot) = self.by_address.get(&(interface, address)) {
                    if let Some(router) = self.routers.get_mut(slot).and_then(Option::as_mut) {
                        router.hear_neighbour(&mut self.fx, now, (address, mac), arrival.min(now));
                    }
                    self.follow_up(now, slot);
                }
            }
        }
    }

    /// Hears a whole IP datagram as a packet socket delivers it.
    pub fn handle_datagram(
        &mut self,
        now: Time,
        interface: Ifindex,
        arrival: Time,
        source_mac: Option<MacAddr>,
        bytes: &[u8],
    ) {
        let Ok(datagram) = Datagram::parse(bytes) else {
            self.observe(now);
            self.counters.malformed += 1;
            return;
        };
        let frame = Received {
            interface,
            arrival,
            source_mac,
            source: datagram.source,
            destination: datagram.destination,
            protocol: datagram.protocol,
            ttl: datagram.ttl,
            ip_header: datagram.header,
            payload: datagram.payload,
        };
        self.handle_frame(now, &frame);
    }

    /// Hears a frame.
    pub fn handle_frame(&mut self, now: Time, frame: &Received<'_>) {
        let now = self.observe(now);
        let frame = Received {
            arrival: frame.arrival.min(now),
            ..*frame
        };
        let mut concerned = None;
        match (self.receive(now, &frame, &mut concerned), concerned) {
            (Ok(()), Some(slot)) => self.follow_up(now, slot),
            (Ok(()), None) => {}
            (Err(reason), slot) => self.refuse(now, &frame, slot, reason),
        }
    }

    /// Fires every deadline that has come.
    pub fn handle_timeout(&mut self, now: Time) {
        let now = self.observe(now);
        while let Some((at, slot)) = self.deadlines.first()
            && at <= now
        {
            self.handle_in_slot(now, slot, Event::Timeout);
        }
        self.beat(now);
    }

    /// The next effect to carry out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.fx.poll()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, if nothing happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let first = self.deadlines.first().map(|(at, _)| at);
        first.into_iter().chain(self.beacon.deadline()).min()
    }

    /// How long frames may wait to be read without any consequence but for priority 0, which must not wait: zero
    /// while a router is Active, for what it hears may end that; in Backup a small part of the Active's interval,
    /// since timers count from a frame's arrival. Frames that wait are still to be read before a timer fires.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let mut least = None;
        for router in self.routers.iter().flatten() {
            let patience = router.patience();
            if patience.is_zero() {
                return patience;
            }
            least = Some(least.map_or(patience, |least| patience.min(least)));
        }
        least.unwrap_or_default()
    }

    /// The shortest Active_Down_Interval of the routers that answer for addresses; `None` if none does. When the
    /// election has been silent for longer, one of their addresses may have another Active. Changes only with
    /// commands and with outputs other than advertisements and announcements.
    #[must_use]
    pub fn guarded_interval(&self) -> Option<Duration> {
        let routers = self.routers.iter().flatten();
        routers.filter_map(Router::guarded_interval).min()
    }

    /// Whether nothing is left to do after a [`Command::Shutdown`]: every router is out, and none has addresses
    /// that serve on.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.routers.iter().flatten().all(Router::has_left)
    }

    /// The whole election as it is now.
    #[must_use]
    pub fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            at: now.max(self.observed),
            routers: self
                .order
                .iter()
                .filter_map(|&s| self.router(s))
                .map(|router| router.status(now.max(self.observed)))
                .collect(),
            counters: self.counters,
            heartbeat: self.beacon.counters,
            foreign: self.foreign.rows().to_vec(),
        }
    }

    /// Notes the time; finds out, once for each `now`, whether it has jumped over deadlines.
    fn observe(&mut self, now: Time) -> Time {
        if now <= self.observed {
            return self.observed;
        }
        self.observed = now;
        if let Some((first, _)) = self.deadlines.first()
            && now.since(first) > SHORTEST_STALL
        {
            self.notice_stall(now, now.since(first));
        }
        now
    }

    fn notice_stall(&mut self, now: Time, late: Duration) {
        let sleepers = self.routers.iter().enumerate();
        let mut stalled: BTreeSet<usize> = sleepers
            .filter(|(_, router)| router.as_ref().is_some_and(|r| r.is_stalled(now)))
            .map(|(slot, _)| slot)
            .collect();
        self.groups.share_stall(&self.routers, &mut stalled);
        for &slot in &stalled {
            if let Some(router) = self.routers.get_mut(slot).and_then(Option::as_mut) {
                router.handle(&mut self.fx, now, Event::Stalled);
            }
            self.rearm(slot);
        }
        if !stalled.is_empty() {
            self.fx.report(Report::Stalled { at: now, late });
        }
    }

    /// RFC 9568 §7.1. Leaves the router a frame concerns in `concerned`, also when it is refused.
    fn receive(
        &mut self,
        now: Time,
        frame: &Received<'_>,
        concerned: &mut Option<usize>,
    ) -> Result<(), Refusal> {
        let header = receive::peek(frame)?;
        let family = Family::of(&frame.source);
        let key = Vrid::new(header.vrid).map(|vrid| (frame.interface, family, vrid));
        *concerned = key.and_then(|key| self.by_key.get(&key)).copied();
        let router = concerned
            .and_then(|slot| self.routers.get_mut(slot))
            .and_then(Option::as_mut);
        if is_own(frame, self.links.get(&frame.interface), router.as_deref()) {
            return Err(Refusal::Looped);
        }
        let packet = receive::check_form(frame, &header, router.as_deref())?;
        let Some(router) = router else {
            let (interface, vrid, source) = (frame.interface, packet.vrid(), frame.source);
            let addresses = packet.addresses();
            self.foreign.note(
                Stranger {
                    interface,
                    vrid,
                    source,
                    addresses,
                },
                now,
            );
            return Err(Refusal::Vrid);
        };
        let mut remarks = [None; receive::MOST_REMARKS];
        let mut next = remarks.iter_mut();
        let heard = receive::check_meaning(router, frame, &packet, |remark| {
            if let Some(place) = next.next() {
                *place = Some(remark);
            }
        })?;
        if router.accept(&heard, packet.checksum_form()) {
            for remark in remarks.into_iter().flatten() {
                remark_on(router, &mut self.fx, now, frame, remark);
            }
            router.handle(&mut self.fx, now, Event::Heard(heard));
        }
        Ok(())
    }

    fn refuse(&mut self, now: Time, frame: &Received<'_>, slot: Option<usize>, reason: Refusal) {
        let router = slot
            .and_then(|slot| self.routers.get_mut(slot))
            .and_then(Option::as_mut);
        reason.count_for_node(&mut self.counters, router.is_some());
        match router {
            Some(router) => {
                remark_on(router, &mut self.fx, now, frame, reason);
                router.note_rejected(now, frame.source, reason);
            }
            None if self.remarks.may_tell(reason, frame.source, now) => {
                let (interface, source) = (frame.interface, frame.source);
                self.fx.report(Report::Refused {
                    at: now,
                    interface,
                    name: None,
                    source,
                    reason,
                });
            }
            None => {}
        }
    }

    /// Another candidate says how its routers are.
    fn hear_heartbeat(
        &mut self,
        now: Time,
        from: IpAddr,
        arrival: Time,
        authenticity: Authenticity,
        heartbeat: &Heartbeat,
    ) {
        let Some(proven) = self.beacon.judge(heartbeat, authenticity) else {
            return;
        };
        for row in &heartbeat.rows {
            let on_link = self.beacon.is_on_link(from, row.router, row.family);
            let Some(&slot) = self.by_hash.get(&(row.router, row.family)) else {
                continue;
            };
            if let Some(router) = self.routers.get_mut(slot).and_then(Option::as_mut)
                && router.config.vrid == row.vrid
            {
                let claim = heartbeat::claim(heartbeat, row, from, arrival, (proven, on_link));
                router.hear_claim(&mut self.fx, now, claim);
            }
            self.follow_up(now, slot);
        }
    }

    /// Sends the heartbeats that are due.
    fn beat(&mut self, now: Time) {
        if self.fx.take_change() {
            self.beacon.hurry(now);
        }
        let (routers, by_hash) = (&self.routers, &self.by_hash);
        let row = |name: u64, family: Family| {
            let slot = by_hash.get(&(name, family))?;
            let router = routers.get(*slot).and_then(Option::as_ref)?;
            Some(router.row(now))
        };
        let fx = &mut self.fx;
        self.beacon
            .beat(now, row, |beat| fx.push(Output::Beat(beat)));
    }

    /// Runs `plan`: routers it does not name leave, those it names are changed where they differ. Routers are
    /// found by name in an index: a thousand of them are compared in the time of a few advertisements.
    fn apply(&mut self, now: Time, plan: &Plan) {
        self.fx.budget = plan.announcements;
        self.fx.probes = plan.probes;
        self.beacon.apply(now, plan.heartbeat.as_ref());
        let wanted = runnable(plan);
        self.remove_others(now, &wanted);
        for config in &wanted {
            let slot = self.slot_of(config);
            if let Some((router, fx)) = slot.and_then(|slot| self.router_mut(slot)) {
                router.let_go(fx, now, config);
            }
        }
        self.order.clear();
        let mut free = self.free_slots();
        for config in wanted {
            let known = self.slot_of(config);
            let slot = known.unwrap_or_else(|| self.add(now, config, &mut free));
            self.order.push(slot);
            if let Some((router, fx)) = self.router_mut(slot) {
                router.resume();
                if router.config != *config {
                    router.reconfigure(fx, now, config.clone());
                }
            }
        }
        self.index();
        self.weights.retain(|key, _| self.by_name.contains_key(key));
        self.learn_surroundings(now);
        self.take_weights();
        let links = std::mem::take(&mut self.links);
        self.for_each_router(|router, fx| {
            let link = router
                .config
                .interface
                .and_then(|interface| links.get(&interface));
            router.set_link(fx, now, link.copied());
        });
        self.links = links;
        self.settle_groups(now);
    }

    /// Every router learns how its interfaces are, and what the host has there, before anything is decided.
    fn learn_surroundings(&mut self, now: Time) {
        for router in self.routers.iter_mut().flatten() {
            router.learn_links(&self.links);
            if router.learn_host(&self.host) {
                router.tell_conflict(&mut self.fx, now);
            }
        }
    }

    fn remove_others(&mut self, now: Time, wanted: &[&RouterConfig]) {
        let wanted: BTreeSet<_> = wanted.iter().map(|c| (&*c.name, c.family)).collect();
        for slot in 0..self.routers.len() {
            let Some(router) = self.routers.get_mut(slot).and_then(Option::as_mut) else {
                continue;
            };
            if wanted.contains(&(&*router.config.name, router.config.family)) {
                continue;
            }
            router.handle(&mut self.fx, now, Event::Leave(Reason::Removed));
            self.by_id.remove(&router.id);
            self.by_name.remove(&name_of(&router.config));
            self.routers[slot] = None;
            self.deadlines.set(slot, None);
        }
    }

    /// The slots that are free, the lowest last.
    fn free_slots(&self) -> Vec<usize> {
        let slots = self.routers.iter().enumerate().rev();
        slots
            .filter(|(_, router)| router.is_none())
            .map(|(slot, _)| slot)
            .collect()
    }

    fn add(&mut self, now: Time, config: &RouterConfig, free: &mut Vec<usize>) -> usize {
        self.last_id += 1;
        let id = RouterId(self.last_id);
        let router = Some(Router::new(id, config.clone(), now));
        let slot = match free.pop() {
            Some(free) => {
                self.routers[free] = router;
                free
            }
            None => {
                self.routers.push(router);
                self.routers.len() - 1
            }
        };
        self.by_id.insert(id, slot);
        self.by_name.insert(name_of(config), slot);
        slot
    }

    fn index(&mut self) {
        self.by_key.clear();
        self.by_hash.clear();
        self.by_address.clear();
        for &slot in &self.order {
            let Some(config) = self.routers[slot].as_ref().map(|r| &r.config) else {
                continue;
            };
            self.by_hash
                .insert((hash(&config.name), config.family), slot);
            if let Some(interface) = config.interface {
                self.by_key
                    .insert((interface, config.family, config.vrid), slot);
                let addresses = config.addresses.iter();
                self.by_address
                    .extend(addresses.map(|a| ((a.on(interface), a.address), slot)));
            }
        }
        self.groups = Groups::of(&self.routers);
        let ours = &self.by_key;
        self.foreign
            .retain(|r| !ours.contains_key(&(r.interface, r.family, r.vrid)));
    }

    /// Weights of routers that the plan does not name are gone: whoever told them will tell them anew.
    fn take_weights(&mut self) {
        for router in self.routers.iter_mut().flatten() {
            let key = (Arc::clone(&router.config.name), router.config.family);
            router.set_weight(self.weights.get(&key).copied().unwrap_or(0));
        }
        self.groups.bind(&mut self.routers);
        for slot in 0..self.routers.len() {
            self.rearm(slot);
        }
    }

    fn set_link(&mut self, now: Time, interface: Ifindex, link: Option<InterfaceState>) {
        match link {
            Some(state) => {
                self.links.insert(interface, state);
            }
            None => {
                self.links.remove(&interface);
                self.host.remove(&interface);
                self.fx.forget(interface);
                self.foreign.retain(|row| row.interface != interface);
            }
        }
        self.for_each_router(|router, fx| {
            if router.config.interface == Some(interface) {
                router.set_link(fx, now, link);
            } else if router.has_side_link(interface) {
                router.set_side_link(fx, now, interface, link);
            }
        });
        self.settle_groups(now);
    }

    /// Changes what records must not tell, and nothing that decides.
    pub(crate) fn for_each_config(&mut self, mut change: impl FnMut(&mut RouterConfig)) {
        for router in self.routers.iter_mut().flatten() {
            change(&mut router.config);
            router.frames.clear();
        }
    }

    fn set_host(&mut self, now: Time, interface: Ifindex, addresses: Arc<[IpAddr]>) {
        let mut host = std::mem::take(&mut self.host);
        host.insert(interface, addresses);
        self.for_each_router(|router, fx| {
            if router.config.interface == Some(interface) || router.has_side_link(interface) {
                router.set_host(fx, now, &host);
            }
        });
        self.host = host;
        self.settle_groups(now);
    }

    fn for_each_router(&mut self, mut act: impl FnMut(&mut Router, &mut Effects)) {
        for (slot, router) in self.routers.iter_mut().enumerate() {
            if let Some(router) = router {
                act(router, &mut self.fx);
                self.deadlines.set(slot, router.deadline());
            }
        }
    }

    fn handle_by_id(&mut self, now: Time, id: RouterId, event: Event) {
        if let Some(&slot) = self.by_id.get(&id) {
            self.handle_in_slot(now, slot, event);
        }
    }

    fn handle_in_slot(&mut self, now: Time, slot: usize, event: Event) {
        if let Some(router) = self.routers.get_mut(slot).and_then(Option::as_mut) {
            router.handle(&mut self.fx, now, event);
        }
        self.follow_up(now, slot);
    }

    /// Something happened to the router in `slot`: its group follows, and deadlines are what they are now.
    fn follow_up(&mut self, now: Time, slot: usize) {
        match self.groups.members(slot) {
            Some(members) if sync::settle(&mut self.routers, members, &mut self.fx, now) => {
                rearm(&self.routers, &mut self.deadlines, members);
            }
            Some(_) | None => self.rearm(slot),
        }
    }

    fn settle_groups(&mut self, now: Time) {
        for members in self.groups.iter() {
            if sync::settle(&mut self.routers, members, &mut self.fx, now) {
                rearm(&self.routers, &mut self.deadlines, members);
            }
        }
    }

    fn rearm(&mut self, slot: usize) {
        let deadline = self.router(slot).and_then(Router::deadline);
        self.deadlines.set(slot, deadline);
    }

    fn router(&self, slot: usize) -> Option<&Router> {
        self.routers.get(slot).and_then(Option::as_ref)
    }

    fn router_mut(&mut self, slot: usize) -> Option<(&mut Router, &mut Effects)> {
        let router = self.routers.get_mut(slot).and_then(Option::as_mut)?;
        Some((router, &mut self.fx))
    }

    fn slot_of(&self, config: &RouterConfig) -> Option<usize> {
        self.by_name.get(&name_of(config)).copied()
    }
}

fn rearm(routers: &[Option<Router>], deadlines: &mut Deadlines, slots: &[usize]) {
    for &slot in slots {
        let router = routers.get(slot).and_then(Option::as_ref);
        deadlines.set(slot, router.and_then(Router::deadline));
    }
}

/// Our own frame, come back by a loop or a mirror port. Our address from another Ethernet address is not ours:
/// that is a conflict worth hearing.
fn is_own(frame: &Received<'_>, link: Option<&InterfaceState>, router: Option<&Router>) -> bool {
    link.is_some_and(|link| {
        let ours = [
            link.ipv4.map(Into::into),
            link.ipv6.map(Into::into),
            router.and_then(Router::source),
        ];
        frame.source_mac.is_some()
            && frame.source_mac == link.mac
            && ours.contains(&Some(frame.source))
    })
}

/// Counts what is odd about a frame for `router`, and tells if it is news.
fn remark_on(
    router: &mut Router,
    fx: &mut Effects,
    now: Time,
    frame: &Received<'_>,
    reason: Refusal,
) {
    reason.count_for_router(&mut router.counters);
    if router.remarks.may_tell(reason, frame.source, now) {
        let (interface, source) = (frame.interface, frame.source);
        let name = Some(Arc::clone(&router.config.name));
        fx.report(Report::Refused {
            at: now,
            interface,
            name,
            source,
            reason,
        });
    }
}

/// The identity of a router over plans.
fn name_of(config: &RouterConfig) -> (Arc<str>, Family) {
    (Arc::clone(&config.name), config.family)
}

/// The routers of `plan` that can run beside each other. Whoever makes a plan has checked and said so
/// before; this keeps a faulty one from making two of what must be one.
fn runnable(plan: &Plan) -> Vec<&RouterConfig> {
    let mut names = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let mut wanted = Vec::with_capacity(plan.routers.len());
    for config in &plan.routers {
        let key = config
            .interface
            .map(|interface| (interface, config.family, config.vrid));
        if config.validate().is_ok()
            && key.is_none_or(|key| !keys.contains(&key))
            && names.insert((&*config.name, config.family))
        {
            keys.extend(key);
            wanted.push(config);
        }
    }
    wanted
}
