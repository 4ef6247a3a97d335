//! Which of a router's addresses their interfaces have by the host's own configuration, and what follows from that.
//!
//! The address owner (priority 255, RFC 9568 §6.1) takes part while the host has all of them: they are used, and
//! neither installed nor withdrawn. For everybody else such an address is somebody else's, a conflict: a router
//! that has no other does not contend at all, for it would only take the addresses from a node that serves them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Router, State};
use crate::config::{Ifindex, VirtualAddress};
use crate::effects::Effects;
use crate::output::{Reason, Report};
use crate::time::Time;

/// What each interface has by the host's own configuration, in order of value.
pub(crate) type Host = BTreeMap<Ifindex, Arc<[IpAddr]>>;

impl Router {
    /// Takes note of the addresses that interfaces have because of the host, in order of value.
    pub(crate) fn set_host(&mut self, fx: &mut Effects, now: Time, host: &Host) {
        if !self.learn_host(host) {
            return;
        }
        self.tell_conflict(fx, now);
        if let State::Initialize { retry } = &mut self.state {
            // What was refused may be possible now.
            *retry = None;
            self.install_failures = 0;
        }
        self.start_if_able(fx, now);
        self.install_what_was_refused(fx, now);
    }

    /// Compares its addresses with the host's; whether the outcome is another than before.
    pub(crate) fn learn_host(&mut self, host: &Host) -> bool {
        let there = |a: &VirtualAddress| host.get(&a.on(self.config.interface?));
        let shared = |a: &&VirtualAddress| {
            there(a).is_some_and(|host| host.binary_search(&a.address).is_ok())
        };
        let mut shared = self.config.addresses.iter().filter(shared);
        if shared.clone().map(|a| &a.address).eq(&self.of_host) {
            return false;
        }
        self.of_host = shared.by_ref().map(|a| a.address).collect();
        true
    }

    /// What the host's addresses have against its taking part.
    pub(super) fn host_obstacle(&self) -> Option<Reason> {
        let all = self.of_host.len() >= self.config.addresses.len();
        match (self.config.priority.is_owner(), all) {
            (true, false) => Some(Reason::NotAddressOwner),
            (false, true) => Some(Reason::AddressConflict),
            (true, true) | (false, false) => None,
        }
    }

    /// Its addresses that are on their interface, and not because of us.
    pub(super) fn conflicts(&self) -> &[IpAddr] {
        if self.config.priority.is_owner() {
            &[]
        } else {
            &self.of_host
        }
    }

    /// Tells of addresses that are somebody else's.
    pub(crate) fn tell_conflict(&self, fx: &mut Effects, now: Time) {
        let conflicts = self.conflicts();
        let place = |first: &IpAddr| self.place_of(*first);
        if let Some((interface, VirtualAddress { address: first, .. })) =
            conflicts.first().and_then(place)
        {
            let first = *first;
            fx.report(Report::AddressConflict {
                at: now,
                name: self.config.name.clone(),
                family: self.config.family,
                interface,
                count: u16::try_from(conflicts.len()).unwrap_or(u16::MAX),
                first,
            });
        }
    }

    /// One of its addresses, with its interface.
    pub(super) fn place_of(&self, address: IpAddr) -> Option<(Ifindex, &VirtualAddress)> {
        let mut all = self.config.addresses.iter();
        let found = all.find(|a| a.address == address)?;
        Some((found.on(self.config.interface?), found))
    }

    /// An Active that did without an address takes it when the host has let go of it.
    fn install_what_was_refused(&mut self, fx: &mut Effects, now: Time) {
        let State::Active(active) = &self.state else {
            return;
        };
        let (_, refused) = active.holding(self.config.addresses.len());
        if refused.iter().any(|a| !self.of_host.contains(a)) {
            self.install_again(fx, now);
        }
    }
}
