//! What the routers of a node share while they act: the queue of outputs, advertisement phases, announcement
//! budgets and ticket numbers.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::announce::Bucket;
use crate::config::{AnnouncementBudget, Ifindex};
use crate::input::Ticket;
use crate::output::{Announcement, Output, Probe, Report};
use crate::phase::Phases;
use crate::time::Time;

/// Shared by all routers; outputs leave in the order they were made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Effects {
    outputs: VecDeque<Output>,
    pub(crate) phases: Phases,
    pub(crate) budget: AnnouncementBudget,
    buckets: BTreeMap<Ifindex, Bucket>,
    last_ticket: Ticket,
    /// Whether first claims ask before they are made.
    pub(crate) probes: bool,
    /// A router changed its state since this was last asked.
    changed: bool,
}

impl Effects {
    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.push(Output::Report(report));
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A router changed its state.
    pub(crate) fn note_change(&mut self) {
        self.changed = true;
    }

    /// Whether a router changed its state since the last call.
    pub(crate) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A ticket that no order had before.
    pub(crate) fn next_ticket(&mut self) -> Ticket {
        self.last_ticket.0 += 1;
        self.last_ticket
    }

    /// Forgets what an interface that is gone has sent: its number does not come back soon, its place in the
    /// table would stay for ever.
    pub(crate) fn forget(&mut self, interface: Ifindex) {
        self.buckets.remove(&interface);
    }

    /// Sends `announcement` if its interface's budget allows.
    ///
    /// # Errors
    /// When it does not: the moment at which it will.
    pub(crate) fn announce(&mut self, announcement: Announcement, now: Time) -> Result<(), Time> {
        let bucket = self.buckets.entry(announcement.interface).or_default();
        bucket.take(&self.budget, now)?;
        self.push(Output::Announce(announcement));
        Ok(())
    }
}

impl Effects {
    /// Sends `probe` if its interface's budget for announcements allows.
    pub(crate) fn probe(&mut self, probe: Probe, now: Time) {
        let bucket = self.buckets.entry(probe.interface).or_default();
        if bucket.take(&self.budget, now).is_ok() {
            self.push(Output::Probe(probe));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use vipkeeper_wire::MacAddr;

    use super::*;
    use crate::output::GratuitousForm;

    #[test]
    fn interfaces_that_come_and_go_leave_nothing_behind() {
        let mut fx = Effects::default();
        for index in 1..1_000 {
            let interface = Ifindex::new(index).unwrap();
            let announcement = Announcement {
                interface,
                mac: MacAddr::BROADCAST,
                address: IpAddr::from([192, 0, 2, 1]),
                form: GratuitousForm::Request,
                forwards: false,
            };
            fx.announce(announcement, Time::ZERO).unwrap();
            fx.forget(interface);
        }
        assert_eq!(fx.buckets.len(), 0);
    }
}
