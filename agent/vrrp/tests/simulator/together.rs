//! Sync groups in the simulator: two or three nodes, a group of two or three routers, each on a LAN of its own with
//! losses, cuts and faults of its own; then healing, and a calm.
//!
//! Nothing here knows how the election decides; it is judged from outside:
//!
//! - **P6** After every wake-up of a node its members are all Active or none is, and none is while a link of
//!   the group is down there.
//! - **P7** From four times the longest Active_Down_Interval and interval after healing, all members are Active
//!   on one and the same node, and nowhere else.
//! - **P8** From then on nobody changes its state.
//!
//! Priorities may tie, nodes' addresses may be in another order on each LAN, a member's priority and interval
//! may differ from its neighbour's: everything that makes one member win where another loses.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use vipkeeper_vrrp::{
    Centiseconds, ChecksumForm, ChecksumPolicy, Command, Election, Fact, Ifindex, Install,
    InterfaceState, Output, Plan, Preemption, Priority, Protocol, Received, Report, RouterConfig,
    StateName, SyncGroup, Time, Transmit, Transport, VirtualAddress,
};
use vipkeeper_wire::{Family, MacAddr, Vrid};

use crate::group::{MICRO, MILLI, Nanos};
use crate::random::Random;
use crate::world::Violation;

const MOST: usize = 3;
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// What a run met, so that it can be seen to meet enough.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) schedules: u64,
    /// A member was taken along by another.
    pub(crate) taken_along: u64,
    /// Two nodes were Active at once.
    pub(crate) double: u64,
    /// Equal priorities on LANs whose addresses are ordered otherwise.
    pub(crate) crossed_ties: u64,
}

impl Met {
    /// What must happen in every hundredth schedule at least.
    pub(crate) fn demanded(&self) -> [(&'static str, u64); 3] {
        [
            ("a member was taken along", self.taken_along),
            ("two nodes were Active", self.double),
            ("ties were crossed", self.crossed_ties),
        ]
    }
}

impl AddAssign for Met {
    fn add_assign(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.taken_along += other.taken_along;
        self.double += other.double;
        self.crossed_ties += other.crossed_ties;
    }
}

/// A group, its nodes and its LANs.
pub(crate) struct Together {
    random: Random,
    now: Nanos,
    sequence: u64,
    queue: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    nodes: Vec<Node>,
    lans: Vec<Lan>,
    delay: Nanos,
    lateness: Nanos,
    /// After this nobody may change its state.
    settled_at: Option<Nanos>,
    met: Met,
}

struct Node {
    election: Option<Election>,
    plan: Arc<Plan>,
    links: [bool; MOST],
    states: [StateName; MOST],
    inputs: Vec<Input>,
    wake_at: Option<Nanos>,
    stalled_until: Nanos,
}

/// A segment, with the network of one member on it.
struct Lan {
    /// The nodes' addresses.
    sources: [Ipv4Addr; MOST],
    loss: u64,
    /// Who does not hear whom.
    cut: [[bool; MOST]; MOST],
}

enum Input {
    Fact(Fact),
    Frame(Nanos, usize, Arc<Sent>),
}

struct Sent {
    source: IpAddr,
    mac: MacAddr,
    payload: Arc<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake(usize),
    Disturb,
}

impl Together {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5350_4c49_5421);
        let (count, members) = (random.between(2, 3) as usize, random.between(2, 3) as usize);
        let lans: Vec<_> = (0..members).map(|lan| Lan::new(&mut random, lan)).collect();
        let intervals: [u16; MOST] = match random.chance(300) {
            true => [0; MOST].map(|_| random.pick(&[1, 2, 3, 10])),
            false => [random.pick(&[1, 10, 100]); MOST],
        };
        let ties = random.chance(400);
        let apart = random.chance(300);
        let preemption = random.pick(&[
            Preemption::Always,
            Preemption::Always,
            Preemption::Never,
            Preemption::Delayed(Duration::from_millis(300)),
        ]);
        let mut nodes = Vec::new();
        for _ in 0..count {
            let common = random.between(1, 254) as u8;
            let mut priorities = [if ties { 100 } else { common }; MOST];
            if apart {
                priorities = priorities.map(|_| random.between(1, 254) as u8);
            }
            let plan = Plan {
                routers: (0..members)
                    .map(|m| config(m, priorities[m], intervals[m], preemption))
                    .collect(),
                ..Plan::default()
            };
            nodes.push(Node::new(plan));
        }
        let order = |lan: &Lan| lan.sources[0] < lan.sources[1];
        let crossed = ties && !apart && lans.windows(2).any(|l| order(&l[0]) != order(&l[1]));
        let shortest = u64::from(intervals.iter().copied().min().unwrap_or(1)) * 10 * MILLI;
        Self {
            delay: random.pick(&[100 * MICRO, MILLI, shortest / 10]),
            lateness: random.pick(&[0, 50 * MICRO, 300 * MICRO]),
            random,
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            nodes,
            lans,
            settled_at: None,
            met: Met {
                crossed_ties: crossed.into(),
                ..Met::default()
            },
        }
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<Met, Violation> {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        for _ in 0..3 {
            self.settled_at = None;
            let unit = self.longest_interval();
            let heal_at = self.now + self.random.between(unit, unit * 12);
            for _ in 0..self.random.between(1, 8) {
                let at = self.random.between(self.now, heal_at);
                self.schedule(at, Event::Disturb);
            }
            self.run_until(heal_at)?;
            self.heal();
            let bound = 4 * (unit * 4 + unit) + 20 * MILLI + self.delay_of_preemption();
            self.run_until(self.now + bound)?;
            self.check_settled()?;
            self.settled_at = Some(self.now);
            self.run_until(self.now + unit * 20)?;
            self.check_settled()?;
        }
        self.met.schedules = 1;
        Ok(self.met)
    }

    fn longest_interval(&self) -> Nanos {
        let routers = self.nodes.iter().flat_map(|n| &n.plan.routers);
        let longest = routers.map(|r| r.protocol.interval().as_nanos() as Nanos);
        longest.max().unwrap_or(MILLI)
    }

    fn delay_of_preemption(&self) -> Nanos {
        match self.nodes[0].plan.routers[0].preemption {
            Preemption::Always | Preemption::Never => 0,
            Preemption::Delayed(delay) => 2 * delay.as_nanos() as Nanos,
        }
    }

    fn run_until(&mut self, end: Nanos) -> Result<(), Violation> {
        while let Some(Reverse((at, _, _))) = self.queue.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, event))) = self.queue.pop() else {
                break;
            };
            self.now = at;
            match event {
                Event::Wake(node) => {
                    let due = self.nodes[node].wake_at == Some(at);
                    if due && self.nodes[node].stalled_until <= at {
                        self.wake(node)?;
                    }
                }
                Event::Disturb => self.disturb(),
            }
        }
        self.now = end;
        Ok(())
    }

    fn disturb(&mut self) {
        let (count, lans) = (self.nodes.len(), self.lans.len());
        let (node, other) = (self.random.index(count), self.random.index(count));
        let lan = self.random.index(lans);
        match self.random.up_to(9) {
            0 | 1 => self.set_link(node, lan, false),
            2 => self.set_link(node, lan, true),
            3 => {
                self.nodes[node].stop();
                self.start(node);
            }
            4 | 5 => self.lans[lan].cut[node][other] = true,
            6 => self.lans[lan].loss = self.random.pick(&[100, 300, 600]),
            7 => {
                let weight = self.random.pick(&[0, -50, -250, 30]);
                let name = member(lan).into();
                let family = Family::V4;
                let fact = Fact::Weight {
                    name,
                    family,
                    weight,
                };
                self.input(node, Input::Fact(fact));
            }
            8 => {
                let span = self.random.up_to(self.longest_interval() * 6);
                self.nodes[node].stalled_until = self.now + span;
                self.wake_no_later(node, self.now + span);
            }
            _ => {
                for lan in &mut self.lans {
                    lan.cut[node][other] = true;
                    lan.cut[other][node] = true;
                }
            }
        }
    }

    fn heal(&mut self) {
        for lan in &mut self.lans {
            lan.loss = 0;
            lan.cut = [[false; MOST]; MOST];
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].stalled_until = 0;
            for lan in 0..self.lans.len() {
                if !self.nodes[node].links[lan] {
                    self.set_link(node, lan, true);
                }
            }
            self.wake_no_later(node, self.now);
        }
    }

    fn start(&mut self, node: usize) {
        let mut election = Election::new();
        let plan = Arc::clone(&self.nodes[node].plan);
        election.handle_command(time(self.now), Command::Apply(plan));
        self.nodes[node].election = Some(election);
        for lan in 0..self.lans.len() {
            self.tell_link(node, lan);
        }
    }

    fn set_link(&mut self, node: usize, lan: usize, up: bool) {
        self.nodes[node].links[lan] = up;
        self.tell_link(node, lan);
    }

    fn tell_link(&mut self, node: usize, lan: usize) {
        let state = InterfaceState {
            running: self.nodes[node].links[lan],
            mac: Some(mac(node, lan)),
            ipv4: Some(self.lans[lan].sources[node]),
            ipv6: None,
            ..InterfaceState::default()
        };
        let interface = interface(lan);
        self.input(node, Input::Fact(Fact::Interface { interface, state }));
    }

    fn input(&mut self, node: usize, input: Input) {
        self.nodes[node].inputs.push(input);
        let at = self.now + self.random.up_to(self.lateness);
        self.wake_no_later(node, at);
    }

    fn wake_no_later(&mut self, node: usize, at: Nanos) {
        let at = at.max(self.nodes[node].stalled_until);
        let planned = &mut self.nodes[node].wake_at;
        if planned.is_none_or(|planned| at < planned || planned < self.now) {
            *planned = Some(at);
            self.schedule(at, Event::Wake(node));
        }
    }

    fn schedule(&mut self, at: Nanos, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, event)));
    }

    /// Everything that waits and has arrived, then timers, then outputs, as a driver does.
    fn wake(&mut self, node: usize) -> Result<(), Violation> {
        let now = time(self.now);
        self.nodes[node].wake_at = None;
        let Some(mut election) = self.nodes[node].election.take() else {
            return Ok(());
        };
        let inputs = std::mem::take(&mut self.nodes[node].inputs);
        let (arrived, later): (Vec<_>, Vec<_>) =
            inputs.into_iter().partition(|input| match input {
                Input::Fact(_) => true,
                Input::Frame(at, _, _) => *at <= self.now,
            });
        for input in &arrived {
            if let Input::Fact(fact) = input {
                election.handle_fact(now, fact.clone());
            }
        }
        for input in &arrived {
            if let Input::Frame(at, lan, sent) = input
                && self.nodes[node].links[*lan]
            {
                election.handle_frame(
                    now,
                    &Received {
                        interface: interface(*lan),
                        arrival: time(*at),
                        source_mac: Some(sent.mac),
                        source: sent.source,
                        destination: GROUP.into(),
                        protocol: 112,
                        ttl: 255,
                        ip_header: &[],
                        payload: &sent.payload,
                    },
                );
            }
        }
        self.nodes[node].inputs = later;
        election.handle_timeout(now);
        let mut installs = Vec::new();
        while let Some(output) = election.poll_output() {
            match output {
                Output::Send(sent) => self.send(node, &sent),
                Output::Install(install) => installs.push(install),
                Output::Report(Report::Transition { member, .. }) => {
                    self.met.taken_along += u64::from(member.is_some());
                    if self.settled_at.is_some() {
                        return Err(self.violation("P8", "somebody changed its state"));
                    }
                }
                Output::Withdraw(_)
                | Output::Park(_)
                | Output::Announce(_)
                | Output::Probe(_)
                | Output::Beat(_)
                | Output::Report(_) => {}
            }
        }
        for install in installs {
            self.install(node, &install);
        }
        let next = election.next_timeout();
        let snapshot = election.snapshot(now);
        for router in &snapshot.routers {
            self.nodes[node].states[number(&router.name)] = router.state;
        }
        self.nodes[node].election = Some(election);
        for waiting in 0..self.nodes[node].inputs.len() {
            if let Input::Frame(at, _, _) = self.nodes[node].inputs[waiting] {
                self.wake_no_later(node, at);
            }
        }
        if let Some(next) = next {
            let at = next.as_nanos().max(self.now) + self.random.up_to(self.lateness);
            self.wake_no_later(node, at.max(self.now + 1));
        }
        self.check_node(node)
    }

    fn install(&mut self, node: usize, install: &Install) {
        let (router, ticket) = (install.router, install.ticket);
        let refused = Vec::new();
        self.input(
            node,
            Input::Fact(Fact::Installed {
                router,
                ticket,
                refused,
            }),
        );
    }

    fn send(&mut self, from: usize, transmit: &Transmit) {
        let lan = transmit.interface.get() as usize - 10;
        if !self.nodes[from].links[lan] {
            return;
        }
        let sent = Arc::new(Sent {
            source: transmit.source,
            mac: mac(from, lan),
            payload: Arc::clone(&transmit.payload),
        });
        for to in 0..self.nodes.len() {
            let dropped = self.lans[lan].cut[from][to] || self.random.chance(self.lans[lan].loss);
            if to != from && !dropped {
                let at = self.now + self.random.between(self.delay / 8, self.delay);
                let input = Input::Frame(at, lan, Arc::clone(&sent));
                self.nodes[to].inputs.push(input);
                let late = self.random.up_to(self.lateness);
                self.wake_no_later(to, at + late);
            }
        }
    }

    /// P6.
    fn check_node(&mut self, node: usize) -> Result<(), Violation> {
        let members = self.lans.len();
        let states = &self.nodes[node].states[..members];
        let active = states.iter().filter(|s| **s == StateName::Active).count();
        if active != 0 && active != members {
            let what = format!("node {node} holds a part of its group: {states:?}");
            return Err(self.violation("P6", &what));
        }
        let told = self.nodes[node]
            .inputs
            .iter()
            .all(|i| matches!(i, Input::Frame(..)));
        let links = &self.nodes[node].links[..members];
        if active != 0 && told && links.contains(&false) {
            return Err(self.violation("P6", "a member's link is down, and the group is Active"));
        }
        let all = self
            .nodes
            .iter()
            .filter(|n| n.states[0] == StateName::Active);
        self.met.double += u64::from(all.count() > 1);
        Ok(())
    }

    /// P7.
    fn check_settled(&self) -> Result<(), Violation> {
        let states: Vec<_> = self
            .nodes
            .iter()
            .map(|n| &n.states[..self.lans.len()])
            .collect();
        let whole = |s: &&&[StateName]| s.iter().all(|s| *s == StateName::Active);
        let other = |s: &&&[StateName]| s.iter().all(|s| *s == StateName::Backup);
        let holders = states.iter().filter(whole).count();
        if holders != 1 || states.iter().filter(other).count() + 1 != states.len() {
            return Err(self.violation("P7", &format!("the group is where? {states:?}")));
        }
        Ok(())
    }

    fn violation(&self, property: &'static str, detail: &str) -> Violation {
        Violation {
            property,
            at: self.now,
            detail: detail.to_owned(),
        }
    }
}

impl Node {
    fn new(plan: Plan) -> Self {
        Self {
            election: None,
            plan: Arc::new(plan),
            links: [true; MOST],
            states: [StateName::Initialize; MOST],
            inputs: Vec::new(),
            wake_at: None,
            stalled_until: 0,
        }
    }

    fn stop(&mut self) {
        self.election = None;
        self.inputs.clear();
        self.states = [StateName::Initialize; MOST];
    }
}

impl Lan {
    fn new(random: &mut Random, number: usize) -> Self {
        let mut hosts = [1, 2, 3];
        random.shuffle(&mut hosts);
        Self {
            sources: hosts.map(|host| Ipv4Addr::new(10, 0, number as u8, host)),
            loss: 0,
            cut: [[false; MOST]; MOST],
        }
    }
}

fn config(lan: usize, priority: u8, interval: u16, preemption: Preemption) -> RouterConfig {
    RouterConfig {
        linger: Duration::ZERO,
        drained: false,
        name: member(lan).into(),
        family: Family::V4,
        vrid: Vrid::new(20 + lan as u8).unwrap(),
        interface: Some(interface(lan)),
        protocol: Protocol::V3 {
            interval: Centiseconds::new(interval).unwrap(),
            checksum: ChecksumPolicy::Only(ChecksumForm::Rfc9568),
        },
        priority: Priority::new(priority).unwrap(),
        addresses: Arc::new([VirtualAddress {
            address: Ipv4Addr::new(203, 0, 113, lan as u8).into(),
            prefix_length: 32,
            interface: None,
        }]),
        address_lifetime: None,
        transport: Transport::Multicast {
            group: GROUP.into(),
            extra_peers: Vec::new(),
        },
        source: None,
        preemption,
        down_advertisements: NonZeroU8::new(3).unwrap(),
        strict: false,
        sync: Some(SyncGroup::Named("group".into())),
    }
}

fn member(lan: usize) -> &'static str {
    ["first", "second", "third"][lan]
}

fn number(name: &str) -> usize {
    (0..MOST).find(|&lan| member(lan) == name).unwrap()
}

fn interface(lan: usize) -> Ifindex {
    Ifindex::new(lan as u32 + 10).unwrap()
}

fn mac(node: usize, lan: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, lan as u8, node as u8 + 1])
}

fn time(nanos: Nanos) -> Time {
    Time::from_nanos(nanos)
}
