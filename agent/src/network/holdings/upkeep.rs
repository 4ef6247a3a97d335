//! Between the election's orders: addresses are renewed, and those that somebody took off are put back.
//!
//! Puts back with an exclusive add: what is there by then is not counted, and somebody else's is left alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::errno::Errno;
use vipkeeper_vrrp::{Ifindex, Time};

use super::{BATCH, Holdings, Place, RETRY, renewal};
use crate::network::Notice;
use crate::network::kernel::{Action, Change, Kernel, is_ours};

impl<K: Kernel> Holdings<K> {
    /// The monitor saw `address` go. If we hold it, it comes back, once a second at most. Our own removals are
    /// seen as well: an address that is there again is found to be.
    pub(in crate::network) fn vanished(&mut self, now: Time, interface: Ifindex, address: IpAddr) {
        if let Some(held) = self.held.get_mut(&(interface, address)) {
            let earliest = held.restored.map_or(now, |at| at + RETRY).max(now);
            held.due = Some(held.due.map_or(earliest, |due| due.min(earliest)));
            held.missing = true;
        }
    }

    /// The monitor lost events: whatever is held and not there has vanished.
    pub(in crate::network) fn verify(&mut self, now: Time) {
        self.notices.push(Notice::EventsLost);
        let present = match self.kernel.addresses() {
            Ok(present) => present,
            // The next renewal puts back what is missing.
            Err(error) => return self.notices.push(Notice::Sweep(error)),
        };
        let present: BTreeSet<Place> = present
            .iter()
            .map(|there| (there.interface, there.address))
            .collect();
        let held = self.held.keys().copied();
        let missing: Vec<Place> = held.filter(|place| !present.contains(place)).collect();
        for (interface, address) in missing {
            self.vanished(now, interface, address);
        }
    }

    pub(super) fn renew(&mut self, now: Time) {
        let due: Vec<(Place, Change)> = self
            .held
            .iter()
            .filter(|(_, holding)| holding.due.is_some_and(|at| at <= now))
            .map(|(&place, held)| {
                let lifetime = held.lifetime;
                let (interface, address) = held.row(place);
                let change = Change {
                    action: if held.missing {
                        Action::Add { lifetime }
                    } else {
                        Action::Replace { lifetime }
                    },
                    interface,
                    address,
                };
                (place, change)
            })
            .take(BATCH)
            .collect();
        if due.is_empty() {
            return;
        }
        let changes: Vec<Change> = due.iter().map(|(_, change)| *change).collect();
        let outcomes = self
            .kernel
            .change(&changes)
            .unwrap_or_else(|_| vec![Err(Errno::EIO); changes.len()]);
        for ((place, change), outcome) in due.into_iter().zip(outcomes) {
            self.renewed(now, place, &change, outcome);
        }
    }

    fn renewed(&mut self, now: Time, place: Place, change: &Change, outcome: Result<(), Errno>) {
        let (interface, address) = place;
        let is_somebody_elses = outcome == Err(Errno::EEXIST) && self.is_foreign(change);
        let Some(held) = self.held.get_mut(&place) else {
            return;
        };
        match outcome {
            Ok(()) if held.missing => {
                held.missing = false;
                held.restored = Some(now);
                held.due = renewal(now, held.lifetime, address);
                self.restored.insert(held.router);
                self.notices.push(Notice::Restored { interface, address });
            }
            Ok(()) => held.due = renewal(now, held.lifetime, address),
            Err(Errno::EEXIST) if is_somebody_elses => {
                self.held.remove(&place);
                self.foreign.insert(place);
                self.stale_ledger = true;
                self.notices.push(Notice::Foreign { interface, address });
            }
            Err(Errno::EEXIST) if held.missing => {
                held.missing = false;
                held.due = renewal(now, held.lifetime, address);
            }
            Err(Errno::ENODEV) => {
                self.held.remove(&place);
            }
            Err(errno) => {
                held.due = Some(now + RETRY);
                self.notices.push(Notice::RenewalFailed {
                    interface,
                    address,
                    errno,
                });
            }
        }
    }

    /// Whether what is in the way of putting an address back lacks our tag. Where the kernel keeps none nobody
    /// can tell, and it counts as ours.
    fn is_foreign(&mut self, change: &Change) -> bool {
        if !self.kernel.keeps_tags() {
            return false;
        }
        let present = self.kernel.addresses().unwrap_or_default();
        let there = present.iter().find(|there| {
            (there.interface, there.address) == (change.interface, change.address.address)
        });
        there.is_some_and(|there| !there.tag.is_some_and(is_ours))
    }
}
