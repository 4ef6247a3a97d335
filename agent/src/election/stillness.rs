//! The election between two wake-ups, out of its thread's hands: on its way to another process, or back.
//!
//! While it is away the thread waits for it, or for the one of another process, and gathers what the monitor
//! tells: of each interface the last, so that nothing that passed is taken for what is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use vipkeeper_vrrp::{Election, Fact, Ifindex, Time};

use super::{Link, Ports};

/// How many times the headroom that is wanted the election looks for a moment that has it.
const PATIENCE: u32 = 4;

/// An election that stands still, and what its thread must know to go on with it.
#[derive(Debug)]
pub struct Stillness {
    /// The election; it has no outputs left.
    pub election: Election,
    /// The sockets that it uses.
    pub links: Arc<[Arc<Link>]>,
    /// When it was run last: no frame that is read later arrived before.
    pub last_wake: Time,
}

/// How an election thread begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With an election that knows nothing.
    Fresh,
    /// Standing still, until it is given another process's election.
    Still,
}

/// Whether the election is wanted still, and has looked for a good moment for how long.
#[derive(Debug, Default)]
pub(super) struct Moment {
    wanted_since: Option<Time>,
}

impl Moment {
    /// Whether now, with nothing to do until `next`, is the moment to stand still. Forgets the wish if so.
    pub(super) fn has_come(&mut self, ports: &Ports, now: Time, next: Option<Time>) -> bool {
        let headroom = ports.stillness_wanted.load(Ordering::Acquire);
        if headroom == 0 {
            self.wanted_since = None;
            return false;
        }
        let since = *self.wanted_since.get_or_insert(now);
        let headroom = Duration::from_nanos(headroom);
        let is_good = next.is_none_or(|next| next.since(now) >= headroom);
        if !is_good && now.since(since) < headroom.saturating_mul(PATIENCE) {
            return false;
        }
        self.wanted_since = None;
        // Whoever takes the wish away decides: a wish that was taken back must not be granted.
        ports.stillness_wanted.swap(0, Ordering::AcqRel) != 0
    }
}

/// Waits until there is an election to go on with; with the last fact of each interface that came meanwhile.
pub(super) fn wait(ports: &Ports) -> anyhow::Result<(Stillness, Vec<Fact>)> {
    let mut latest = BTreeMap::new();
    let mut others = Vec::new();
    loop {
        ports.facts.wake().clear();
        while let Some(fact) = ports.facts.pop() {
            match subject_of(&fact) {
                Some(subject) => {
                    latest.insert(subject, fact);
                }
                None => others.push(fact),
            }
        }
        if let Some(still) = ports.going_on.pop() {
            others.extend(latest.into_values());
            return Ok((still, others));
        }
        ports.facts.wake().wait(None).context("standing still")?;
    }
}

/// What of an interface `fact` is about; the host's addresses come before the interface itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Host(Ifindex),
    Link(Ifindex),
}

const fn subject_of(fact: &Fact) -> Option<Subject> {
    match fact {
        Fact::HostAddresses { interface, .. } => Some(Subject::Host(*interface)),
        Fact::Interface { interface, .. } | Fact::InterfaceGone { interface } => {
            Some(Subject::Link(*interface))
        }
        Fact::Installed { .. }
        | Fact::InstallFailed { .. }
        | Fact::Restored { .. }
        | Fact::Weight { .. }
        | Fact::Heartbeat { .. }
        | Fact::Neighbour { .. } => None,
    }
}
