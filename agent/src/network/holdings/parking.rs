//! Parked addresses: those of an Active that let go, on the loopback interface, where they serve and answer nobody
//! who asks where they are.
//!
//! They get the host's prefix length there: the prefix of a subnet would make the whole subnet local. Their lifetime
//! ends by itself soon after they were to be taken off, so that nothing stays if nobody is left to do it.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;
use vipkeeper_vrrp::{Ifindex, Park, Plan, Time, VirtualAddress, Withdraw};

use super::super::Notice;
use super::super::kernel::{Action, Address, Change, Kernel, LOOPBACK, Present};
use super::{Holdings, row_of};

/// How much longer than its linger a parked address stays if nobody takes it off.
const SPARE: Duration = Duration::from_secs(2);
/// How much longer an IPv6 address stays on its own interface: the kernel acknowledges a new one before it routes to
/// it, which a worker of its does a moment later. Whoever asks meanwhile and gets both answers is served here until
/// the successor's next announcement.
const OVERLAP: Duration = Duration::from_millis(50);

impl<K: Kernel> Holdings<K> {
    /// Notes which addresses of `plan` may come to be parked, but for those that the loopback interface has
    /// already and not because of us.
    pub(super) fn plan_parking(&mut self, plan: &Plan, present: &[Present]) {
        let lingering = plan
            .routers
            .iter()
            .filter(|router| !router.linger.is_zero() && !router.priority.is_owner());
        let wanted: BTreeSet<_> = lingering
            .flat_map(|router| router.addresses.iter())
            .map(|address| row(address.address))
            .collect();
        let there: BTreeSet<_> = present
            .iter()
            .filter(|there| there.interface == LOOPBACK && !self.is_ours(there))
            .map(row_of)
            .collect();
        self.parkable = wanted.difference(&there).copied().collect();
    }

    /// The ledger's rows of what is, or may come to be, parked.
    pub(super) fn parking_rows(&self) -> impl Iterator<Item = (Ifindex, Address)> {
        let parked = self.parked.keys().map(|&address| row(address));
        self.parkable.iter().copied().chain(parked)
    }

    pub(super) fn is_parked(&self, there: &Present) -> bool {
        there.interface == LOOPBACK && self.parked.contains_key(&there.address)
    }

    /// Carries out an order of the election: what its router holds is put on the loopback interface first and taken
    /// off its own then. What cannot be parked is taken off all the same: its successor has it.
    pub(in crate::network) fn park(&mut self, now: Time, order: &Park) {
        let mut rows = Vec::new();
        for (interface, address) in order.places() {
            rows.extend(self.let_go(order.router, (interface, address.address)));
        }
        let elsewhere = rows.iter().filter(|row| row.0 != LOOPBACK);
        self.put_on_loopback(order, &elsewhere.copied().collect::<Vec<_>>());
        let is_ipv6 = |row: &(Ifindex, Address)| row.1.address.is_ipv6();
        let (later, at_once): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_ipv6);
        let due = now + OVERLAP;
        self.stuck.extend(later.into_iter().map(|row| (row, due)));
        self.remove_rows(&at_once, now);
        self.stale_ledger = true;
    }

    fn put_on_loopback(&mut self, order: &Park, rows: &[(Ifindex, Address)]) {
        let lifetime = Some(order.linger.saturating_add(SPARE));
        let change = |&(_, address): &(Ifindex, Address)| Change {
            action: Action::Add { lifetime },
            interface: LOOPBACK,
            address: row(address.address).1,
        };
        let changes: Vec<_> = rows.iter().map(change).collect();
        let outcomes = self
            .kernel
            .change(&changes)
            .unwrap_or_else(|_| vec![Err(Errno::EIO); changes.len()]);
        for (change, outcome) in changes.into_iter().zip(outcomes) {
            let address = change.address.address;
            let outcome = match outcome {
                Err(Errno::EEXIST) => self.park_again(change, lifetime),
                Ok(()) => Ok(true),
                Err(errno) => Err(errno),
            };
            match outcome {
                Ok(true) => {
                    self.parked.insert(address, order.router);
                }
                // The host has it there by itself, and serves it.
                Ok(false) => {}
                Err(errno) => self.notices.push(Notice::NotParked { address, errno }),
            }
        }
    }

    /// An address is on the loopback interface already: ours is renewed, another's is left alone. Whether it is
    /// ours.
    fn park_again(&mut self, change: Change, lifetime: Option<Duration>) -> Result<bool, Errno> {
        let errno =
            |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
        let present = self.kernel.addresses().map_err(errno)?;
        let ours = present.iter().any(|there| {
            row_of(there) == (change.interface, change.address) && self.is_ours(there)
        });
        if !ours {
            return Ok(false);
        }
        let action = Action::Replace { lifetime };
        let outcomes = self.kernel.change(&[Change { action, ..change }]);
        let outcome = outcomes.map_err(errno)?.into_iter().next();
        outcome.unwrap_or(Err(Errno::EIO)).map(|()| true)
    }

    /// What of `addresses` is parked is taken off: it is on its interface again, or shall be nowhere.
    pub(super) fn unpark(&mut self, now: Time, addresses: &[VirtualAddress]) {
        let addresses = addresses.iter().map(|address| address.address);
        let rows: Vec<_> = addresses
            .filter(|address| self.parked.remove(address).is_some())
            .map(row)
            .collect();
        self.remove_rows(&rows, now);
    }

    pub(super) fn unpark_all(&mut self, now: Time) {
        let parked = std::mem::take(&mut self.parked);
        let rows: Vec<_> = parked.into_keys().map(row).collect();
        self.remove_rows(&rows, now);
    }

    /// The rows of what the router of `order` has parked, which counts as parked no more.
    pub(super) fn take_parked(&mut self, order: &Withdraw) -> Vec<(Ifindex, Address)> {
        let mut rows = Vec::new();
        for address in order.addresses.iter().map(|address| address.address) {
            if self.parked.get(&address) == Some(&order.router) {
                self.parked.remove(&address);
                rows.push(row(address));
            }
        }
        rows
    }
}

/// `address` as it is parked.
fn row(address: IpAddr) -> (Ifindex, Address) {
    let prefix_length = if address.is_ipv4() { 32 } else { 128 };
    let address = Address {
        address,
        prefix_length,
    };
    (LOOPBACK, address)
}

#[cfg(test)]
mod tests;
