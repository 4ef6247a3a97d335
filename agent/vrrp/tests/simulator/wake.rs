//! One wake-up of a node, as the driver's contract says, and what must hold after it: P4 and P5.

use std::net::IpAddr;
use std::rc::Rc;

use vipkeeper_vrrp::{
    Announcement, Command, Fact, Install, Output, Received, Report, StateName, Time, Transmit,
};

use crate::frame::{Advertisement, Frame};
use crate::group::{MILLI, Nanos};
use crate::node::{self, Input};
use crate::reference::Heard;
use crate::world::{Event, Violation, World};

/// More outputs than any wake-up needs.
const MOST_OUTPUTS: usize = 2_000;

/// What one wake-up did to one router instance.
#[derive(Clone)]
struct Turn {
    before: StateName,
    was_active: bool,
    advertised: bool,
    released: bool,
    heard: bool,
}

impl World {
    pub(crate) fn wake(&mut self, node: usize) -> Result<(), Violation> {
        let now = Time::from_nanos(self.now);
        let Some(mut election) = self.nodes[node].election.take() else {
            return Ok(());
        };
        self.coverage.wakes += 1;
        let mut turns = self.turns(node);
        let mut edited = false;
        for (group, router) in self.groups.iter().zip(&mut self.nodes[node].routers) {
            router.reference.wake(group, self.now);
        }
        for input in std::mem::take(&mut self.nodes[node].inputs) {
            self.refer_input(node, &input);
            match input {
                Input::Fact(fact) => {
                    edited |= matches!(fact, Fact::Weight { .. });
                    election.handle_fact(now, fact);
                }
                // Who stops makes no plans any more.
                Input::Apply(_) if self.nodes[node].leaving => {}
                Input::Apply(members) => {
                    edited = true;
                    let interface = self.nodes[node].interface;
                    let plan = node::plan(&self.groups, &members, node, interface);
                    election.handle_command(now, Command::Apply(plan));
                }
                Input::Shutdown => {
                    self.nodes[node].leaving = true;
                    election.handle_command(now, Command::Shutdown);
                }
            }
        }
        let mut frames = std::mem::take(&mut self.nodes[node].frames);
        for (arrival, frame) in frames.drain(..) {
            turns[frame.group].heard |= self.refer_frame(node, arrival, &frame);
            let header = frame.ip_header();
            election.handle_frame(
                now,
                &Received {
                    interface: self.nodes[node].interface,
                    arrival: Time::from_nanos(arrival),
                    source_mac: Some(frame.mac),
                    source: frame.source,
                    destination: frame.destination,
                    protocol: 112,
                    ttl: frame.ttl,
                    ip_header: header.as_ref().map_or(&[], |h| h.as_slice()),
                    payload: &frame.payload,
                },
            );
        }
        self.nodes[node].frames = frames;
        election = self.succession.pass(election);
        election.handle_timeout(now);
        let mut outputs = 0;
        while let Some(output) = election.poll_output() {
            outputs += 1;
            if outputs > MOST_OUTPUTS {
                return self.fail(node, "P5", "there is no end to its outputs");
            }
            self.trace.output(self.now, node, &output);
            self.succession.note(self.now, node, &output);
            self.carry(node, &mut turns, edited, output)?;
        }
        self.after_wake(node, &turns)?;
        if self.nodes[node].leaving && election.has_left() {
            self.stop(node);
            return Ok(());
        }
        election = self.succession.pass(election);
        let next = election.next_timeout().map(Time::as_nanos);
        self.nodes[node].election = Some(election);
        if self.random.chance(15) {
            self.check_snapshot(node)?;
        }
        self.plan_wake(node, next)
    }

    fn turns(&self, node: usize) -> Vec<Turn> {
        let turn = |state| Turn {
            before: state,
            was_active: state == StateName::Active,
            advertised: false,
            released: false,
            heard: false,
        };
        self.nodes[node]
            .routers
            .iter()
            .map(|r| turn(r.state))
            .collect()
    }

    /// Tells the reference what the election is about to be told.
    fn refer_input(&mut self, node: usize, input: &Input) {
        let (now, leaving) = (self.now, self.nodes[node].leaving);
        let routers = &mut self.nodes[node].routers;
        let with_groups = routers.iter_mut().zip(&self.groups);
        match input {
            Input::Apply(_) if leaving => {}
            Input::Apply(members) => {
                self.trace.input(now, node, members);
                for ((router, group), member) in with_groups.zip(members) {
                    let serves = group.linger > 0 && router.addresses.serves;
                    router.reference.apply(group, now, member.as_ref(), serves);
                }
            }
            Input::Shutdown => {
                self.trace.input(now, node, "Shutdown");
                with_groups.for_each(|(r, group)| r.reference.shut_down(group, now));
            }
            Input::Fact(fact) => {
                self.trace.input(now, node, fact);
                match fact {
                    Fact::Interface { state, .. } => {
                        let (running, addressed) = (state.running, state.ipv4.is_some());
                        with_groups
                            .for_each(|(r, g)| r.reference.set_link(g, now, running, addressed));
                    }
                    Fact::InterfaceGone { .. } => {
                        with_groups.for_each(|(r, g)| r.reference.set_link(g, now, false, false));
                    }
                    Fact::HostAddresses { addresses, .. } => {
                        for (router, group) in with_groups {
                            let mut own = group.addresses.iter();
                            let host = own.all(|a| addresses.contains(&a.address));
                            router.reference.set_host(group, now, host);
                        }
                    }
                    Fact::Installed {
                        ticket, refused, ..
                    } => {
                        for (router, group) in with_groups {
                            let waits = router.addresses.is_waiting_for(*ticket);
                            if waits && refused.len() >= group.addresses.len() {
                                router.reference.refuse_installation(now);
                            }
                            router.addresses.confirm(*ticket);
                        }
                    }
                    Fact::Restored { .. } => {}
                    Fact::InstallFailed { ticket, .. } => {
                        let waits = |r: &&mut node::Router| r.addresses.is_waiting_for(*ticket);
                        for router in routers.iter_mut().filter(waits) {
                            self.coverage.failed_installation = 1;
                            router.reference.refuse_installation(now);
                        }
                    }
                    // The schedules of the arbiter are its own: `tests/arbiter`.
                    Fact::Heartbeat { .. } | Fact::Neighbour { .. } => {}
                    Fact::Weight { name, weight, .. } => {
                        for (router, _) in with_groups.filter(|(_, g)| g.name == *name) {
                            router.reference.set_weight(*weight);
                        }
                    }
                }
            }
        }
    }

    /// Tells the reference of a frame, if it is one to act on; says whether it is.
    fn refer_frame(&mut self, node: usize, arrival: Nanos, frame: &Rc<Frame>) -> bool {
        let group = &self.groups[frame.group];
        let own = self.nodes[node].source(group.family);
        let reference = &mut self.nodes[node].routers[frame.group].reference;
        let acceptable = frame.sender != Some(node)
            && (reference.addressed || !group.unicast)
            && reference
                .member
                .as_ref()
                .is_some_and(|member| frame.acceptable(member));
        if acceptable {
            let heard = Heard {
                now: self.now,
                arrival,
                priority: frame.advertisement.priority,
                interval: frame.advertisement.interval,
                form: frame.advertisement.form,
                source: frame.source,
                from_greater: frame.source > own,
            };
            reference.hear(group, heard);
        } else {
            self.coverage.refusal = 1;
        }
        self.trace
            .input(self.now, node, (arrival, acceptable, frame.as_ref()));
        acceptable
    }

    /// Carries out an effect, if it is one that may be.
    fn carry(
        &mut self,
        node: usize,
        turns: &mut [Turn],
        edited: bool,
        output: Output,
    ) -> Result<(), Violation> {
        match output {
            Output::Send(transmit) => self.transmit(node, turns, edited, transmit),
            Output::Install(install) => self.order(node, edited, install),
            Output::Park(park) => {
                let first = park.addresses.first().map(|a| a.address);
                let Some(group) = self.group_of(first) else {
                    return self.fail(node, "P4", "it parks what nobody ordered");
                };
                let router = &mut self.nodes[node].routers[group];
                self.coverage.handover |= u64::from(router.lame_until.is_some());
                match router.addresses.park(&park, self.now) {
                    true => Ok(()),
                    false => self.fail(node, "P4", "it parks what it does not hold"),
                }
            }
            Output::Withdraw(withdraw) => {
                let first = withdraw.addresses.first().map(|a| a.address);
                let Some(group) = self.group_of(first) else {
                    return self.fail(node, "P4", "it withdraws what nobody ordered");
                };
                if !edited && self.is_owner(node, group) {
                    return self.fail(node, "P4", "the owner withdraws what is the host's");
                }
                self.nodes[node].routers[group]
                    .addresses
                    .withdraw(&withdraw);
                Ok(())
            }
            Output::Announce(announcement) => self.announce(node, edited, announcement),
            Output::Beat(_) | Output::Probe(_) => {
                self.fail(node, "P4", "it beats or probes without being told to")
            }
            Output::Report(Report::Transition { name, from, to, .. }) => {
                let Some(group) = self.groups.iter().position(|g| g.name == name) else {
                    return self.fail(node, "P4", "a transition of an unknown router");
                };
                let router = &mut self.nodes[node].routers[group];
                let continuous = router.state == from;
                router.state = to;
                turns[group].was_active |= to == StateName::Active;
                match continuous {
                    true => Ok(()),
                    false => self.fail(node, "P4", "it reports a transition from another state"),
                }
            }
            Output::Report(
                Report::Refused { .. }
                | Report::AddressesRefused { .. }
                | Report::AddressConflict { .. }
                | Report::Announced { .. }
                | Report::Stalled { .. }
                | Report::Evidence { .. },
            ) => Ok(()),
        }
    }

    fn transmit(
        &mut self,
        node: usize,
        turns: &mut [Turn],
        edited: bool,
        transmit: Transmit,
    ) -> Result<(), Violation> {
        let Transmit {
            source,
            destination,
            payload,
            ..
        } = transmit;
        let vrid = payload.get(1).copied().unwrap_or(0);
        let Some(number) = self.groups.iter().position(|g| g.vrid == vrid) else {
            return self.fail(node, "P4", "it advertises an unknown VRID");
        };
        let group = &self.groups[number];
        let to_peer = group.unicast && group.sources.contains(&destination);
        let to_group = !group.unicast && destination == group.multicast_group();
        if source != self.nodes[node].source(group.family) || !(to_peer || to_group) {
            return self.fail(node, "P4", "it advertises from or to a wrong address");
        }
        let advertisement = match Advertisement::read(group, source, destination, &payload) {
            Ok(advertisement) => advertisement,
            Err(why) => return self.fail(node, "P4", &format!("a malformed advertisement: {why}")),
        };
        let router = &mut self.nodes[node].routers[number];
        let reference = &mut router.reference;
        if advertisement.priority > 0 {
            let expected = (reference.priority(), reference.interval(group));
            if !edited && expected != (advertisement.priority, advertisement.interval) {
                let detail = format!("it advertises {advertisement:?} instead of {expected:?}");
                return self.fail(node, "P4", &detail);
            }
            reference.advertised(group, self.now);
            turns[number].advertised = true;
        } else {
            turns[number].released = true;
        }
        let frame = Frame {
            group: number,
            sender: Some(node),
            mac: self.nodes[node].mac,
            source,
            destination,
            ttl: 255,
            flaw: None,
            advertisement,
            payload,
        };
        self.send(node, frame);
        Ok(())
    }

    fn order(&mut self, node: usize, edited: bool, install: Install) -> Result<(), Violation> {
        let first = install.addresses.first().map(|a| a.address);
        let Some(group) = self.group_of(first) else {
            return self.fail(node, "P4", "it installs an unknown address");
        };
        if install.addresses != self.groups[group].addresses {
            return self.fail(node, "P4", "it does not install the router's addresses");
        }
        if !edited && self.is_owner(node, group) {
            return self.fail(node, "P4", "the owner installs what is the host's");
        }
        let ids = &mut self.nodes[node].ids;
        if *ids.entry(install.router).or_insert(group) != group {
            return self.fail(node, "P4", "it gives the id of one router to another");
        }
        self.nodes[node].routers[group].addresses.order(&install);
        let slow = self.now < self.heal_at && self.random.chance(100);
        let most = if slow { 33 * MILLI } else { 2 * MILLI };
        let at = self.now + self.random.up_to(most);
        let generation = self.nodes[node].generation;
        self.schedule(
            at,
            Event::Install {
                node,
                generation,
                group,
                install,
            },
        );
        Ok(())
    }

    /// The network thread's turn.
    pub(crate) fn carry_out(&mut self, node: usize, group: usize, install: &Install) {
        let (router, ticket) = (install.router, install.ticket);
        // Whatever goes wrong is known while the disturbance lasts.
        let troubled = self.now + 2 * MILLI < self.heal_at && self.random.chance(self.refusals);
        let of_host = self.nodes[node].host[group];
        let addresses = &mut self.nodes[node].routers[group].addresses;
        let fails = troubled && (install.addresses.len() < 2 || self.random.chance(500));
        let refused = usize::from(troubled);
        // What the host has is not ours to take.
        let refused = if of_host {
            install.addresses.len()
        } else {
            refused
        };
        let refused = install.addresses.iter().take(refused);
        let refused: Vec<IpAddr> = refused.map(|a| a.address).collect();
        // Every order is answered, a cancelled one as well.
        let fact = if fails || !addresses.carry_out(install, &refused) {
            addresses.fail(ticket);
            Fact::InstallFailed { router, ticket }
        } else {
            Fact::Installed {
                router,
                ticket,
                refused,
            }
        };
        self.input(node, Input::Fact(fact));
    }

    fn announce(
        &mut self,
        node: usize,
        edited: bool,
        announcement: Announcement,
    ) -> Result<(), Violation> {
        let address = announcement.address;
        let Some(group) = self.group_of(Some(address)) else {
            return self.fail(node, "P4", "it announces an unknown address");
        };
        let own = (self.nodes[node].interface, self.nodes[node].mac);
        let addresses = &self.nodes[node].routers[group].addresses;
        let held = addresses.holds(address) && addresses.confirmed.contains(&address);
        // It may have been the owner until an edit in this wake-up.
        let was_owner = edited && self.groups[group].owners;
        if !held && !was_owner && !self.is_owner(node, group) {
            return self.fail(
                node,
                "P4",
                &format!("it announces {address} without holding it"),
            );
        }
        if (announcement.interface, announcement.mac) != own {
            return self.fail(node, "P4", "it announces another Ethernet address");
        }
        Ok(())
    }

    /// The node has its addresses by its own configuration, and says so.
    fn is_owner(&self, node: usize, group: usize) -> bool {
        let reference = &self.nodes[node].routers[group].reference;
        let member = reference.member.as_ref();
        member.is_some_and(|member| member.priority == 255)
    }

    fn group_of(&self, address: Option<IpAddr>) -> Option<usize> {
        let address = address?;
        self.groups
            .iter()
            .position(|g| g.addresses.iter().any(|a| a.address == address))
    }

    /// What holds whenever a node goes back to sleep.
    fn after_wake(&mut self, node: usize, turns: &[Turn]) -> Result<(), Violation> {
        for (number, turn) in turns.iter().enumerate() {
            let group = &self.groups[number];
            let router = &mut self.nodes[node].routers[number];
            let active = router.state == StateName::Active;
            let settled = router.reference.settle(
                group,
                self.now,
                router.state,
                turn.advertised,
                turn.released,
            );
            let seen = router.reference.seen;
            let mut member = router.reference.member.iter();
            let owner = member.any(|member| member.priority == 255);
            self.coverage.tie |= u64::from(seen.tie);
            self.coverage.priority_zero |= u64::from(seen.released);
            self.coverage.stall |= u64::from(seen.stalled);
            self.coverage.delayed_preemption |= u64::from(seen.delayed);
            let was_lame = router.lame_until.is_some();
            let serves_on = router.state == StateName::Initialize && !router.addresses.is_empty();
            if !serves_on {
                router.lame_until = None;
            } else if turn.was_active && turn.released {
                self.observers[number].release(self.now);
                router.lame_until = Some(self.now + group.patience(group.longest().0));
            }
            let lingers_until = router.addresses.parked_at + group.linger;
            let connected = router.reference.is_connected();
            let fault = if let Err(why) = settled {
                Some(why)
            } else if turn.advertised && !turn.was_active {
                Some("it advertises without being Active".to_owned())
            } else if turn.released && !turn.was_active && !was_lame {
                Some("it sends priority 0 without having been Active".to_owned())
            } else if active && !owner && !router.addresses.is_ordered() {
                Some("it is Active and did not order its addresses".to_owned())
            } else if active && owner && !router.addresses.is_empty() {
                Some("it installs what the host has".to_owned())
            } else if !active
                && !router.addresses.is_empty()
                && (!connected || router.lame_until.is_none_or(|until| until <= self.now))
            {
                Some("it is not Active and leaves addresses behind".to_owned())
            } else if !active
                && router.addresses.is_parked()
                && (!connected || lingers_until <= self.now)
            {
                Some("it leaves addresses parked".to_owned())
            } else if turn.before == StateName::Active
                && router.state == StateName::Initialize
                && !seen.link_lost
                && !turn.heard
                && !router.reference.late
                && !turn.released
            {
                Some("it left Active without priority 0".to_owned())
            } else {
                None
            };
            if let Some(why) = fault {
                return self.fail(node, "P4", &format!("group {number}: {why}"));
            }
            self.observers[number].note(node, active, self.now);
        }
        Ok(())
    }

    fn plan_wake(&mut self, node: usize, next: Option<Nanos>) -> Result<(), Violation> {
        if let Some(at) = next {
            if at <= self.now {
                return self.fail(node, "P5", "its next deadline has passed already");
            }
            let at = at + self.random.up_to(self.lan.lateness);
            self.wake_no_later(node, at);
        }
        // Nothing is due, and yet somebody calls.
        if self.random.chance(10) {
            let most = self.longest_interval();
            let at = self.now + self.random.up_to(most);
            self.wake_no_later(node, at);
        }
        Ok(())
    }

    pub(crate) fn check_snapshots(&self) -> Result<(), Violation> {
        (0..self.nodes.len()).try_for_each(|node| self.check_snapshot(node))
    }

    /// The snapshot tells the same as the reports.
    fn check_snapshot(&self, node: usize) -> Result<(), Violation> {
        let Some(election) = &self.nodes[node].election else {
            return Ok(());
        };
        let snapshot = election.snapshot(Time::from_nanos(self.now));
        for (group, router) in self.groups.iter().zip(&self.nodes[node].routers) {
            let status = snapshot.routers.iter().find(|r| r.name == group.name);
            let same = match (status, &router.reference.member) {
                (None, None) => true,
                (Some(status), Some(member)) => {
                    let installed = match (member.priority, router.state) {
                        (255, StateName::Active) => group.addresses.len(),
                        (_, StateName::Active) => router.addresses.confirmed.len(),
                        (_, StateName::Initialize | StateName::Backup) => 0,
                    };
                    status.state == router.state
                        && status.effective_priority == router.reference.priority()
                        && status.installed == installed
                }
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !same {
                return self.fail(node, "P5", &format!("its snapshot differs: {status:?}"));
            }
        }
        Ok(())
    }

    fn fail(&self, node: usize, property: &'static str, why: &str) -> Result<(), Violation> {
        Err(Violation {
            property,
            at: self.now,
            detail: format!("node {node}: {why}"),
        })
    }
}
