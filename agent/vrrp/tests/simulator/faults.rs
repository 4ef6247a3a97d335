//! What goes wrong, and what people do meanwhile: the disturbances of a schedule.

use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use vipkeeper_vrrp::Fact;

use crate::frame::{Flaw, Frame};
use crate::group::{MICRO, MILLI, Member, Nanos};
use crate::node::Input;
use crate::world::{Event, World};

/// Something that happens to a node or to the LAN, once.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum Fault {
    Start {
        node: usize,
    },
    Crash {
        node: usize,
        again_after: Nanos,
    },
    /// An orderly end.
    Stop {
        node: usize,
        again_after: Nanos,
    },
    /// All nodes lose power and come back together.
    PowerLoss,
    Stall {
        node: usize,
        span: Nanos,
        queue_limit: usize,
    },
    Resume {
        node: usize,
    },
    LinkDown {
        node: usize,
        span: Nanos,
    },
    AddressLoss {
        node: usize,
        span: Nanos,
    },
    LinkUp {
        node: usize,
    },
    /// The host gets the addresses of a group, or loses them.
    Host {
        node: usize,
        group: usize,
    },
    Cut {
        from: usize,
        to: usize,
        span: Nanos,
    },
    /// Nobody hears the node, or it hears nobody, or both.
    Isolate {
        node: usize,
        deaf: bool,
        mute: bool,
        span: Nanos,
    },
    Priority {
        node: usize,
        group: usize,
    },
    Interval {
        node: usize,
        group: usize,
    },
    Preemption {
        node: usize,
        group: usize,
    },
    /// Out of the node's plan, or into it again.
    Membership {
        node: usize,
        group: usize,
    },
    /// The operator asks a node to leave the addresses to others, or takes that back.
    Drain {
        node: usize,
        group: usize,
    },
    Weight {
        node: usize,
        group: usize,
        weight: i16,
    },
    /// A frame that must be refused.
    Forgery {
        node: usize,
        group: usize,
    },
}

impl Fault {
    /// A disturbance; often of the Active, because nothing much happens otherwise.
    pub(crate) fn random(world: &mut World) -> Option<Self> {
        let group = world.random.index(world.groups.len());
        let mut node = world.random.index(world.nodes.len());
        if world.random.chance(500) {
            node = world.observers[group].actives().next().unwrap_or(node);
        }
        let other = world.random.index(world.nodes.len());
        let (_, down) = world.groups[group].longest();
        let span = world
            .random
            .pick(&[down / 20, down / 3, down, down * 2, down * 3]);
        let span = world.random.between(span / 2, span);
        let random = &mut world.random;
        let fault = match random.up_to(25) {
            0 | 1 => Self::Crash {
                node,
                again_after: span,
            },
            2 | 3 => Self::Stop {
                node,
                again_after: span,
            },
            4 => Self::PowerLoss,
            5..=8 => {
                let queue_limit = random.pick(&[1, 3, 8, 1_024, 1_024]);
                Self::Stall {
                    node,
                    span,
                    queue_limit,
                }
            }
            9 => Self::LinkDown { node, span },
            10 => Self::AddressLoss { node, span },
            11 | 12 => Self::Cut {
                from: node,
                to: other,
                span,
            },
            13 | 14 => {
                let (deaf, mute) = random.pick(&[(true, true), (true, false), (false, true)]);
                Self::Isolate {
                    node,
                    deaf,
                    mute,
                    span,
                }
            }
            15 | 16 => Self::Priority { node, group },
            17 => Self::Interval { node, group },
            18 => Self::Preemption { node, group },
            19 => Self::Membership { node, group },
            20 => Self::Host { node, group },
            22 | 23 => Self::Drain { node, group },
            21 => {
                let weight = random.pick(&[0, -1, -60, -300, 60, 300]);
                Self::Weight {
                    node,
                    group,
                    weight,
                }
            }
            _ => Self::forgery(world),
        };
        Some(fault)
    }

    pub(crate) fn forgery(world: &mut World) -> Self {
        let node = world.random.index(world.nodes.len());
        let group = world.random.index(world.groups.len());
        Self::Forgery { node, group }
    }
}

impl World {
    /// `fault` happens now.
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.trace.fault(self.now, &fault);
        self.coverage.events += 1;
        match fault {
            Fault::Start { node } => self.start(node),
            Fault::Crash { node, again_after } => {
                self.stop(node);
                self.later(again_after, Fault::Start { node });
            }
            Fault::Stop { node, again_after } => {
                self.input(node, Input::Shutdown);
                self.later(again_after, Fault::Start { node });
            }
            Fault::PowerLoss => {
                for node in 0..self.nodes.len() {
                    self.stop(node);
                    let again_after = self.random.up_to(2 * MILLI);
                    self.later(again_after, Fault::Start { node });
                }
            }
            Fault::Stall {
                node,
                span,
                queue_limit,
            } => {
                let end = (self.now + span).min(self.heal_at);
                self.nodes[node].stalled_until = self.nodes[node].stalled_until.max(end);
                self.nodes[node].queue_limit = queue_limit;
                self.schedule(end, Event::Fault(Fault::Resume { node }));
            }
            Fault::Resume { node } => self.wake_soon(node),
            Fault::LinkDown { node, span } => {
                self.nodes[node].link = false;
                self.tell_interface(node);
                self.later(span, Fault::LinkUp { node });
            }
            Fault::AddressLoss { node, span } => {
                self.nodes[node].addressed = false;
                self.tell_interface(node);
                self.later(span, Fault::LinkUp { node });
            }
            Fault::LinkUp { node } => self.raise_link(node),
            Fault::Cut { from, to, span } => self.lan.cut(from, to, self.now + span),
            Fault::Isolate {
                node,
                deaf,
                mute,
                span,
            } => {
                for other in 0..self.nodes.len() {
                    if deaf {
                        self.lan.cut(other, node, self.now + span);
                    }
                    if mute {
                        self.lan.cut(node, other, self.now + span);
                    }
                }
            }
            Fault::Priority { node, group } => {
                let priority = self.groups[group].random_priority(&mut self.random);
                self.edit(node, group, |member| member.priority = priority);
            }
            Fault::Interval { node, group } => {
                let interval = self.random.pick(&self.groups[group].intervals);
                self.edit(node, group, |member| member.interval = interval);
            }
            Fault::Preemption { node, group } => {
                let interval = self.random.pick(&self.groups[group].intervals);
                let chosen = self.groups[group].random_preemption(&mut self.random, interval);
                self.edit(node, group, |member| member.preemption = chosen);
            }
            Fault::Drain { node, group } => {
                self.edit(node, group, |member| member.drained = !member.drained);
            }
            Fault::Membership { node, group } => {
                let new = self.groups[group].random_member(&mut self.random);
                let place = &mut self.nodes[node].plan[group];
                *place = match place.take() {
                    Some(_) => None,
                    None => Some(new),
                };
                self.tell_plan(node);
            }
            Fault::Weight {
                node,
                group,
                weight,
            } => {
                let (name, family) = (&self.groups[group].name, self.groups[group].family);
                let name = Arc::clone(name);
                let fact = Fact::Weight {
                    name,
                    family,
                    weight,
                };
                self.input(node, Input::Fact(fact));
            }
            Fault::Host { node, group } => {
                let has = !self.nodes[node].host[group];
                self.set_host(node, group, has);
            }
            Fault::Forgery { node, group } => self.forge(node, group),
        }
    }

    /// What a node needs to take part again, at the end of a disturbance. One that `stays_away` and is not
    /// there does not come back yet.
    pub(crate) fn recover(&mut self, node: usize, stays_away: bool) {
        self.nodes[node].stalled_until = 0;
        if !stays_away {
            if self.nodes[node].election.is_none() {
                self.start(node);
            }
            self.raise_link(node);
            if self.nodes[node].plan.contains(&None) {
                for (place, group) in self.nodes[node].plan.iter_mut().zip(&self.groups) {
                    place.get_or_insert_with(|| group.random_member(&mut self.random));
                }
                self.tell_plan(node);
            }
            self.settle_host(node);
        }
        self.wake_soon(node);
    }

    /// A new agent, unless one runs or this is the calm, in which nothing changes.
    fn start(&mut self, node: usize) {
        if self.nodes[node].election.is_none() && self.now <= self.heal_at {
            self.nodes[node].start(&self.groups);
            self.wake_soon(node);
        }
    }

    pub(crate) fn stop(&mut self, node: usize) {
        self.nodes[node].stop();
        for observer in &mut self.observers {
            observer.note(node, false, self.now);
        }
    }

    fn raise_link(&mut self, node: usize) {
        if self.now <= self.heal_at && !(self.nodes[node].link && self.nodes[node].addressed) {
            self.nodes[node].link = true;
            self.nodes[node].addressed = true;
            self.tell_interface(node);
        }
    }

    /// The monitor's turn, soon.
    fn tell_interface(&mut self, node: usize) {
        let at = self.now + self.random.up_to(500 * MICRO);
        let generation = self.nodes[node].generation;
        self.schedule(at, Event::Interface { node, generation });
    }

    fn edit(&mut self, node: usize, group: usize, change: impl FnOnce(&mut Member)) {
        if let Some(member) = &mut self.nodes[node].plan[group] {
            change(member);
            self.tell_plan(node);
        }
    }

    fn tell_plan(&mut self, node: usize) {
        self.settle_host(node);
        self.trace.plan(node, &self.nodes[node].plan);
        let plan = self.nodes[node].plan.clone();
        self.input(node, Input::Apply(plan));
    }

    /// The host has what its plan says that it owns, and nothing else of it.
    pub(crate) fn settle_host(&mut self, node: usize) {
        for group in 0..self.groups.len() {
            let member = self.nodes[node].plan[group].as_ref();
            let owner = member.is_some_and(|member| member.priority == 255);
            if self.nodes[node].host[group] != owner {
                self.set_host(node, group, owner);
            }
        }
    }

    fn set_host(&mut self, node: usize, group: usize, has: bool) {
        self.nodes[node].host[group] = has;
        let fact = self.nodes[node].host_fact(&self.groups);
        self.input(node, fact);
    }

    /// In a while; what would fall into the calm is done by `recover` before, or by nobody.
    fn later(&mut self, after: Nanos, fault: Fault) {
        let at = self.now + after;
        self.schedule(at, Event::Fault(fault));
    }

    fn forge(&mut self, node: usize, group: usize) {
        let Some(sample) = self.samples[group].clone() else {
            return;
        };
        let Some(member) = self.nodes[node].plan[group].clone() else {
            return;
        };
        if self.random.chance(100) {
            return self.loop_back(node, group, &sample);
        }
        let mut sample = (*sample).clone();
        if self.groups[group].unicast {
            sample.destination = self.groups[group].sources[node];
        }
        if sample.sender == Some(node) {
            // From another's address, or it would be refused for coming back.
            let others = self.groups[group].sources.iter();
            let other = others
                .copied()
                .find(|&a| a != self.groups[group].sources[node]);
            sample.source = other.unwrap_or(sample.source);
        }
        sample.mac.0[4] = 0xee;
        if let Some(forged) = sample.forge(&self.groups[group], &member, &mut self.random) {
            self.deliver(node, self.now, &Rc::new(forged));
        }
    }

    fn loop_back(&mut self, node: usize, group: usize, sample: &Rc<Frame>) {
        let mut looped = (**sample).clone();
        if looped.sender == Some(node) && !self.groups[group].unicast {
            looped.flaw = Some(Flaw::Loop);
            self.deliver(node, self.now, &Rc::new(looped));
        }
    }
}
