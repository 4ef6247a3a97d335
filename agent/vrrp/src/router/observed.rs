//! A router instance as an observer sees it.

use super::{Router, State};
use crate::status::RouterStatus;

impl Router {
    /// This instance as an observer sees it.
    pub(crate) fn status(&self) -> RouterStatus {
        let adver_interval = self.adver_interval();
        let (installed, refused) = match &self.state {
            State::Active(active) => active.holding(self.config.addresses.len()),
            State::Initialize { .. } | State::Backup(_) => (0, &[][..]),
        };
        RouterStatus {
            name: self.config.name.clone(),
            family: self.config.family,
            vrid: self.config.vrid,
            interface: self.config.interface,
            state: self.state_name(),
            since: self.since,
            reason: self.reason,
            member: self.blamed(self.reason),
            priority: self.config.priority.get(),
            effective_priority: self.effective_priority(),
            addresses: self.config.addresses.iter().map(|a| a.address).collect(),
            installed,
            refused: refused.to_vec(),
            conflicts: self.conflicts().to_vec(),
            advertisement_interval: adver_interval,
            active_down_interval: self.active_down_interval(),
            skew_time: self.hearing().skew_time(adver_interval),
            transitions: self.transitions,
            last_advertisement: self.last,
            counters: self.counters,
        }
    }
}
