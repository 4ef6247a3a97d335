//! A schedule: nodes, LAN, virtual clock and the events between them. Rounds of disturbance, healing and calm
//! until enough has happened.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use vipkeeper_vrrp::Install;

use crate::coverage::Coverage;
use crate::faults::Fault;
use crate::frame::Frame;
use crate::group::{Group, MILLI, Nanos, NodeAddresses, SECOND};
use crate::lan::{Delivery, Lan, Weather};
use crate::node::{Input, Node};
use crate::observer::{Bounds, Observer};
use crate::random::Random;
use crate::succession::Succession;
use crate::trace::Trace;

/// A schedule goes on until it had this many events: deliveries, drops, faults and edits, not timers.
pub(crate) const LEAST_EVENTS: u64 = 200;

/// More rounds than any schedule needs: an election that has fallen silent must not run for ever.
const MOST_ROUNDS: u32 = 200;

/// A property that does not hold.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) property: &'static str,
    pub(crate) at: Nanos,
    pub(crate) detail: String,
}

/// Everything a schedule consists of.
pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) random: Random,
    pub(crate) lan: Lan,
    pub(crate) groups: Vec<Group>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) observers: Vec<Observer>,
    pub(crate) bounds: Vec<Bounds>,
    /// The end of this round's disturbance.
    pub(crate) heal_at: Nanos,
    /// How likely an installation goes wrong, in permille.
    pub(crate) refusals: u64,
    /// A genuine frame of each group, for forgeries.
    pub(crate) samples: Vec<Option<Rc<Frame>>>,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
    pub(crate) succession: Succession,
    queue: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

/// What happens at a moment of virtual time.
pub(crate) enum Event {
    /// A node's wake-up, unless it was planned anew since.
    Wake {
        node: usize,
    },
    Arrive {
        node: usize,
        frame: Rc<Frame>,
    },
    /// The network thread of the agent `generation` comes to an order.
    Install {
        node: usize,
        generation: u32,
        group: usize,
        install: Install,
    },
    /// The monitor of the agent `generation` tells how the interface is.
    Interface {
        node: usize,
        generation: u32,
    },
    Fault(Fault),
}

struct Entry {
    at: Nanos,
    sequence: u64,
    event: Event,
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let count = random.between(2, 5) as usize;
        let addresses = NodeAddresses::random(&mut random, count);
        let mut groups = vec![Group::random(&mut random, 0, &addresses, None)];
        if random.chance(300) {
            let second = Group::random(&mut random, 1, &addresses, groups.first());
            groups.push(second);
        }
        let shortest = groups.iter().map(Group::shortest).min().unwrap_or(SECOND);
        let lan = Lan::random(&mut random, shortest);
        let nodes = addresses.iter().enumerate();
        let mut world = Self {
            // No election may take the first moment of the clock for a moment of its own past.
            now: 1_000 * SECOND,
            nodes: nodes.map(|(n, &a)| Node::new(n, a, &groups)).collect(),
            observers: groups.iter().map(|_| Observer::new()).collect(),
            bounds: groups.iter().map(|g| Bounds::new(g, &lan)).collect(),
            samples: groups.iter().map(|_| None).collect(),
            heal_at: 0,
            refusals: 0,
            random,
            lan,
            groups,
            coverage: Coverage::default(),
            trace,
            succession: Succession::never(),
            queue: BinaryHeap::new(),
            sequence: 0,
        };
        world.first_plans();
        world
    }

    fn first_plans(&mut self) {
        for node in 0..self.nodes.len() {
            let members = self
                .groups
                .iter()
                .map(|g| Some(g.random_member(&mut self.random)));
            self.nodes[node].plan = members.collect();
            self.settle_host(node);
            self.trace.plan(node, &self.nodes[node].plan);
        }
    }

    /// Runs the whole schedule.
    pub(crate) fn run(self) -> Result<Coverage, Violation> {
        self.run_and(|_| {})
    }

    /// Runs the whole schedule, and shows how elections were succeeded.
    pub(crate) fn run_and(mut self, show: impl FnOnce(&Succession)) -> Result<Coverage, Violation> {
        let outcome = self.run_rounds();
        show(&self.succession);
        outcome?;
        self.coverage.schedules = 1;
        self.coverage.fewest_events = self.coverage.events;
        self.coverage.double_active = self.observers.iter().any(|o| o.was_double).into();
        Ok(self.coverage)
    }

    fn run_rounds(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            self.fault_within(Fault::Start { node }, 3);
        }
        for round in 0..MOST_ROUNDS {
            self.disturb();
            self.run_until(self.heal_at)?;
            self.heal();
            let calm = self.calm();
            self.run_until(self.now + calm)?;
            self.check_snapshots()?;
            if self.coverage.events >= LEAST_EVENTS && round > 0 {
                break;
            }
        }
        Ok(())
    }

    fn disturb(&mut self) {
        for observer in &mut self.observers {
            observer.disturb();
        }
        let unit = self.longest_interval();
        let most = unit * 8;
        self.heal_at = self.now + self.random.between(unit, most);
        if self.random.chance(700) {
            self.lan.weather = Weather::random(&mut self.random, unit);
        }
        self.refusals = self.random.pick(&[0, 0, 0, 100]);
        for _ in 0..self.random.between(1, 7) {
            if let Some(fault) = Fault::random(self) {
                let at = self.random.between(self.now, self.heal_at - 1);
                self.schedule(at, Event::Fault(fault));
            }
        }
    }

    fn heal(&mut self) {
        self.trace.heal(self.now);
        self.lan.heal();
        self.refusals = 0;
        for observer in &mut self.observers {
            observer.heal(self.now);
        }
        for node in 0..self.nodes.len() {
            let stays_away = self.random.chance(120);
            self.recover(node, stays_away);
        }
        // Frames that must be refused do no harm in the calm either.
        for _ in 0..self.random.pick(&[0, 0, 2, 6]) {
            let fault = Fault::forgery(self);
            self.fault_within(fault, 4);
        }
    }

    /// Time for everything that is promised to have happened, and then some.
    fn calm(&mut self) -> Nanos {
        let vacancy = self.bounds.iter().map(|b| b.vacancy).max().unwrap_or(0);
        let unit = self.longest_interval();
        vacancy + unit * self.random.pick(&[1, 2, 3, 10]) + 2 * MILLI
    }

    pub(crate) fn longest_interval(&self) -> Nanos {
        self.groups
            .iter()
            .map(|g| g.longest().0)
            .max()
            .unwrap_or(SECOND)
    }

    /// Plans `fault` within so many of the longest interval.
    fn fault_within(&mut self, fault: Fault, intervals: u64) {
        let most = self.longest_interval() * intervals;
        let at = self.now + self.random.up_to(most);
        self.schedule(at, Event::Fault(fault));
    }

    pub(crate) fn schedule(&mut self, at: Nanos, event: Event) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.queue.push(Reverse(Entry {
            at,
            sequence,
            event,
        }));
    }

    fn run_until(&mut self, end: Nanos) -> Result<(), Violation> {
        while let Some(Reverse(first)) = self.queue.peek()
            && first.at <= end
        {
            let Some(Reverse(entry)) = self.queue.pop() else {
                break;
            };
            self.now = entry.at;
            self.handle(entry.event)?;
        }
        self.now = end;
        self.check_groups()
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Wake { node } => {
                if self.nodes[node].wake_at == Some(self.now) {
                    self.nodes[node].wake_at = None;
                    if !self.nodes[node].is_stalled(self.now) {
                        self.wake(node)?;
                        self.check_groups()?;
                    }
                }
            }
            Event::Arrive { node, frame } => self.arrive(node, frame),
            Event::Install {
                node,
                generation,
                group,
                install,
            } => {
                if self.nodes[node].generation == generation {
                    self.carry_out(node, group, &install);
                }
            }
            Event::Interface { node, generation } => {
                if self.nodes[node].generation == generation {
                    let fact = self.nodes[node].interface_fact();
                    self.input(node, fact);
                }
            }
            Event::Fault(fault) => self.strike(fault),
        }
        Ok(())
    }

    fn arrive(&mut self, node: usize, frame: Rc<Frame>) {
        self.coverage.events += 1;
        let (now, receiver) = (self.now, &mut self.nodes[node]);
        if !receiver.link || receiver.election.is_none() {
            return;
        }
        if receiver.is_stalled(now) && receiver.frames.len() >= receiver.queue_limit {
            self.trace.overflow(now, node);
            return;
        }
        receiver.frames.push((now, frame));
        self.wake_soon(node);
    }

    /// Sends `frame` on its way.
    pub(crate) fn send(&mut self, from: usize, frame: Frame) {
        let frame = Rc::new(frame);
        let group = frame.group;
        self.samples[group] = Some(Rc::clone(&frame));
        if !self.nodes[from].link {
            self.coverage.events += 1;
            return;
        }
        for to in 0..self.nodes.len() {
            let address = self.groups[group].sources[to];
            let addressed = frame.destination.is_multicast() || frame.destination == address;
            if !addressed || from == to && !self.lan.loops() {
                continue;
            }
            match self
                .lan
                .deliver(&mut self.random, self.now, (from, to), self.heal_at)
            {
                Delivery::Dropped => self.coverage.events += 1,
                Delivery::At(at) => self.deliver(to, at, &frame),
                Delivery::Twice(first, second) => {
                    self.deliver(to, first, &frame);
                    self.deliver(to, second, &frame);
                }
            }
        }
    }

    pub(crate) fn deliver(&mut self, node: usize, at: Nanos, frame: &Rc<Frame>) {
        let frame = Rc::clone(frame);
        self.schedule(at, Event::Arrive { node, frame });
    }

    /// Something waits for a node's election.
    pub(crate) fn input(&mut self, node: usize, input: Input) {
        if self.nodes[node].election.is_some() {
            self.nodes[node].inputs.push(input);
            self.wake_soon(node);
        }
    }

    /// Wakes a node as soon as its scheduler gets round to it.
    pub(crate) fn wake_soon(&mut self, node: usize) {
        let at = self.now + self.random.up_to(self.lan.lateness);
        self.wake_no_later(node, at);
    }

    pub(crate) fn wake_no_later(&mut self, node: usize, at: Nanos) {
        let wake_at = &mut self.nodes[node].wake_at;
        if wake_at.is_none_or(|planned| at < planned) {
            *wake_at = Some(at);
            self.schedule(at, Event::Wake { node });
        }
    }

    fn check_groups(&self) -> Result<(), Violation> {
        for (group, observer) in self.observers.iter().enumerate() {
            let able = self
                .nodes
                .iter()
                .map(|n| n.routers[group].reference.able_since);
            observer
                .check(self.bounds[group], self.now, able)
                .map_err(|(property, detail)| Violation {
                    property,
                    at: self.now,
                    detail: format!("group {group}: {detail}"),
                })?;
        }
        Ok(())
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}
