//! Which addresses we hold, and what it takes to hold them: install, withdraw, renew, put back.
//!
//! Owns the list of what the kernel has because of us, and the ledger; `upkeep` is what happens to it between
//! orders. What exists and is not ours is never
//! touched. Knows no threads and no clock, so that the tests run it against a kernel that fails.

mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use vipkeeper_vrrp::{Fact, Ifindex, Install, Plan, RouterId, Time, Withdraw};

use super::Notice;
use super::kernel::{Action, Address, Change, Kernel, Present, tag_of};
use super::ledger::{Ledger, Rows};
use super::leftovers::{Leftovers, Row, row_of};
use super::settings::{Settings, interfaces_with_ipv4};

mod parking;

/// How soon something that failed is tried again, and how often at most an address is put back.
const RETRY: Duration = Duration::from_secs(1);
/// Renewals of one batch; commands are looked at in between.
const BATCH: usize = 64;

/// Where an address is.
type Place = (Ifindex, IpAddr);

/// An address that the kernel has because of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Holding {
    router: RouterId,
    prefix_length: u8,
    lifetime: Option<Duration>,
    /// When it is renewed, or put back.
    due: Option<Time>,
    /// Somebody took it off, as it seems.
    missing: bool,
    /// When it was put back last.
    restored: Option<Time>,
}

/// All that we hold on this node, and the kernel in which we hold it.
pub(super) struct Holdings<K> {
    kernel: K,
    pub(super) ledger: Ledger,
    settings: Settings,
    pub(super) held: BTreeMap<Place, Holding>,
    /// What is parked, and by whom.
    pub(super) parked: BTreeMap<IpAddr, RouterId>,
    /// The addresses of the plan that may come to be parked.
    pub(super) parkable: BTreeSet<(Ifindex, Address)>,
    /// What the kernel would not take off, with the time of the next attempt.
    pub(super) stuck: BTreeMap<(Ifindex, Address), Time>,
    /// The addresses of the plan that are ours to install.
    pub(super) planned: BTreeSet<(Ifindex, Address)>,
    /// The addresses of the plan that were somebody else's when it arrived.
    pub(super) foreign: BTreeSet<Place>,
    /// The ledger must be written when there is time.
    stale_ledger: bool,
    notices: Vec<Notice>,
    /// Routers to whose addresses something was put back.
    restored: BTreeSet<RouterId>,
}

impl Holding {
    /// As the kernel has it at `place`.
    fn row(&self, (interface, address): Place) -> Row {
        let prefix_length = self.prefix_length;
        let address = Address {
            address,
            prefix_length,
        };
        (interface, address)
    }

    fn is_as_ordered(&self, order: &Install, address: Address) -> bool {
        !self.missing
            && self.router == order.router
            && self.prefix_length == address.prefix_length
            && self.lifetime == order.lifetime
    }
}

impl<K: Kernel> Holdings<K> {
    /// Begins with what `ledger` says a process before us left, and takes it off: what is in the ledger and,
    /// where the kernel keeps tags, carries ours.
    pub(super) fn new(kernel: K, ledger: Ledger) -> Self {
        let mut holdings = Self::empty(kernel, ledger);
        holdings.sweep();
        holdings
    }

    /// Holds nothing yet.
    pub(super) fn empty(kernel: K, ledger: Ledger) -> Self {
        Self {
            kernel,
            settings: Settings::new(ledger.rows().originals.clone()),
            ledger,
            held: BTreeMap::new(),
            parked: BTreeMap::new(),
            parkable: BTreeSet::new(),
            stuck: BTreeMap::new(),
            planned: BTreeSet::new(),
            foreign: BTreeSet::new(),
            stale_ledger: false,
            notices: Vec::new(),
            restored: BTreeSet::new(),
        }
    }

    /// What there is to tell since the last call.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What there is to tell the election since the last call.
    pub(super) fn take_facts(&mut self) -> impl Iterator<Item = Fact> + use<K> {
        let restored = std::mem::take(&mut self.restored);
        restored.into_iter().map(|router| Fact::Restored { router })
    }

    /// How many addresses are held.
    #[must_use]
    pub(super) fn count(&self) -> usize {
        self.held.len()
    }

    /// How many rows the ledger has.
    #[must_use]
    pub(super) fn ledger_rows(&self) -> usize {
        let rows = self.ledger.rows();
        rows.addresses.len() + rows.originals.len()
    }

    fn sweep(&mut self) {
        let present = match self.kernel.addresses() {
            Ok(present) => present,
            Err(error) => return self.notices.push(Notice::Sweep(error)),
        };
        let found = Leftovers::find(&present, self.ledger.rows(), self.kernel.keeps_tags());
        self.remove_rows(&found.ours, Time::ZERO);
        if !found.ours.is_empty() {
            self.notices.push(Notice::Swept(found.ours.len()));
        }
        for (interface, address) in found.tag_only {
            self.notices.push(Notice::TagOnly { interface, address });
        }
        self.write_ledger();
    }

    /// Gets ready for `plan`: learns what of it is somebody else's, writes the ledger, and sets what its
    /// interfaces need. Nothing of a plan is installed before.
    pub(super) fn prepare(&mut self, plan: &Plan) {
        self.planned.clear();
        for router in &plan.routers {
            // The owner's addresses are the host's.
            if let (Some(interface), false) = (router.interface, router.priority.is_owner()) {
                let addresses = router.addresses.iter();
                self.planned
                    .extend(addresses.map(|address| (address.on(interface), address.into())));
            }
        }
        self.learn_foreign(plan);
        let wanted = interfaces_with_ipv4(&self.planned);
        let notices = &mut self.notices;
        self.settings
            .read_originals(&mut self.kernel, &wanted, notices);
        self.write_ledger();
        self.settings
            .apply(&mut self.kernel, &wanted, &mut self.notices);
        self.write_ledger();
    }

    fn learn_foreign(&mut self, plan: &Plan) {
        let present = match self.kernel.addresses() {
            Ok(present) => present,
            // What is foreign then shows by EEXIST, when we come to install it.
            Err(error) => return self.notices.push(Notice::Sweep(error)),
        };
        let planned: BTreeSet<Place> = self.planned.iter().map(|(i, a)| (*i, a.address)).collect();
        let foreign: BTreeSet<Place> = present
            .iter()
            .filter(|there| !self.is_ours(there))
            .map(|there| (there.interface, there.address))
            .filter(|place| planned.contains(place))
            .collect();
        for &(interface, address) in foreign.difference(&self.foreign) {
            self.notices.push(Notice::Foreign { interface, address });
        }
        self.foreign = foreign;
        self.plan_parking(plan, &present);
    }

    /// Whether an address that the kernel has is there because of us. Where it keeps no tags, only our memory
    /// tells: what a process before us left was swept.
    fn is_ours(&self, there: &Present) -> bool {
        let row = row_of(there);
        self.held
            .get(&(there.interface, there.address))
            .is_some_and(|holding| holding.prefix_length == there.prefix_length)
            || self.is_parked(there)
            || self.stuck.contains_key(&row)
            || (self.ledger.rows().addresses.contains(&row)
                && there.tag == Some(tag_of(there.interface)))
    }

    /// Carries out an order of the election; the answer is for it.
    pub(super) fn install(&mut self, now: Time, order: &Install) -> Fact {
        let mut refused = Vec::new();
        let mut changes = Vec::new();
        let present = self.look_if_needed(order);
        for (interface, address) in order.places() {
            let place = (interface, address.address);
            if present.contains(&place) {
                self.refuse(place, Errno::EEXIST, &mut refused);
            } else {
                self.foreign.remove(&place);
                changes.extend(self.changes_for(order, (interface, address.into())));
            }
        }
        let outcome = self.carry_out(now, order, changes, &mut refused);
        // After they are on their interface again: in between nothing would serve.
        self.unpark(now, &order.addresses);
        match outcome {
            Ok(()) => Fact::Installed {
                router: order.router,
                ticket: order.ticket,
                refused,
            },
            Err(reason) => {
                self.give_back(now, order, reason);
                Fact::InstallFailed {
                    router: order.router,
                    ticket: order.ticket,
                }
            }
        }
    }

    /// Which of the order's addresses that were somebody else's are there now. Rare, and worth a look: one may
    /// have gone meanwhile. Other orders cost none.
    fn look_if_needed(&mut self, order: &Install) -> BTreeSet<Place> {
        let special: BTreeSet<Place> = order
            .places()
            .map(|(interface, address)| (interface, address.address))
            .filter(|place| self.foreign.contains(place))
            .collect();
        if special.is_empty() {
            return special;
        }
        match self.kernel.addresses() {
            Ok(present) => present
                .iter()
                .map(|there| (there.interface, there.address))
                .filter(|place| special.contains(place))
                .collect(),
            // All of them count as there: what is not ours is not touched.
            Err(_) => special,
        }
    }

    /// What it takes to hold `address`.
    fn changes_for(&self, order: &Install, (interface, address): Row) -> Vec<Change> {
        let lifetime = order.lifetime;
        let change = |action, address| Change {
            action,
            interface,
            address,
        };
        match self.held.get(&(interface, address.address)) {
            // There as it should be: nothing is rewritten.
            Some(held) if held.is_as_ordered(order, address) => Vec::new(),
            Some(held) if held.prefix_length == address.prefix_length => {
                vec![change(Action::Replace { lifetime }, address)]
            }
            Some(held) => {
                let old = Address {
                    prefix_length: held.prefix_length,
                    ..address
                };
                vec![
                    change(Action::Remove, old),
                    change(Action::Add { lifetime }, address),
                ]
            }
            None => vec![change(Action::Add { lifetime }, address)],
        }
    }

    /// Makes `changes`; an error concerns an interface as a whole, and with it the order.
    fn carry_out(
        &mut self,
        now: Time,
        order: &Install,
        changes: Vec<Change>,
        refused: &mut Vec<IpAddr>,
    ) -> Result<(), (Ifindex, io::Error)> {
        let mut changes = changes;
        let unasked = |error| (order.interface, error);
        let mut outcomes = self.kernel.change(&changes).map_err(unasked)?;
        self.claim_existing(order, &mut changes, &mut outcomes)
            .map_err(unasked)?;
        let mut failure = None;
        for (change, outcome) in changes.iter().zip(outcomes) {
            let place = (change.interface, change.address.address);
            match (change.action, outcome) {
                (Action::Remove, Ok(()) | Err(_)) => {
                    self.held.remove(&place);
                }
                (Action::Add { .. } | Action::Replace { .. }, Ok(())) => {
                    self.hold(now, order, (change.interface, change.address));
                }
                (Action::Add { .. } | Action::Replace { .. }, Err(errno))
                    if concerns_interface(errno) =>
                {
                    failure = Some((change.interface, io::Error::from(errno)));
                }
                (Action::Add { .. } | Action::Replace { .. }, Err(errno)) => {
                    self.held.remove(&place);
                    self.refuse(place, errno, refused);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// An address that exists, is in the ledger and carries our tag is ours all the same: we took it off in
    /// vain, or a process before us left it. It is replaced.
    fn claim_existing(
        &mut self,
        order: &Install,
        changes: &mut [Change],
        outcomes: &mut [Result<(), Errno>],
    ) -> io::Result<()> {
        if !outcomes.contains(&Err(Errno::EEXIST)) {
            return Ok(());
        }
        let present = self.kernel.addresses()?;
        for (change, outcome) in changes.iter_mut().zip(outcomes) {
            let row = (change.interface, change.address);
            let ours = present
                .iter()
                .any(|there| row_of(there) == row && self.is_ours(there));
            if *outcome == Err(Errno::EEXIST) && ours {
                change.action = Action::Replace {
                    lifetime: order.lifetime,
                };
                let again = self.kernel.change(std::slice::from_ref(change))?;
                *outcome = again.into_iter().next().unwrap_or(Err(Errno::EIO));
            }
        }
        Ok(())
    }

    fn hold(&mut self, now: Time, order: &Install, row: Row) {
        let (interface, address) = row;
        self.stuck.remove(&row);
        // Somebody else's when the plan arrived, so the ledger lacks it.
        self.stale_ledger |= !self.ledger.rows().addresses.contains(&row);
        let holding = Holding {
            router: order.router,
            prefix_length: address.prefix_length,
            lifetime: order.lifetime,
            due: renewal(now, order.lifetime, address.address),
            missing: false,
            restored: None,
        };
        self.held.insert((interface, address.address), holding);
    }

    fn refuse(&mut self, place: Place, errno: Errno, refused: &mut Vec<IpAddr>) {
        let (interface, address) = place;
        refused.push(address);
        self.notices.push(Notice::Refused {
            interface,
            address,
            errno,
        });
    }

    /// An order failed as a whole: nothing of it may stay.
    fn give_back(&mut self, now: Time, order: &Install, (interface, reason): (Ifindex, io::Error)) {
        let mut mine = Vec::new();
        for (interface, address) in order.places() {
            let place = (interface, address.address);
            let held = self.held.remove(&place);
            mine.extend(held.map(|held| held.row(place)));
        }
        self.remove_rows(&mine, now);
        self.notices
            .push(Notice::InstallFailed { interface, reason });
    }

    /// What the router of an order holds at `place`, which counts as held no more. What another router holds by now
    /// stays.
    fn let_go(&mut self, router: RouterId, place: Place) -> Option<Row> {
        let held = self.held.get(&place)?;
        let row = (held.router == router).then(|| held.row(place))?;
        self.held.remove(&place);
        Some(row)
    }

    /// Carries out an order of the election. What another router holds by now stays.
    pub(super) fn withdraw(&mut self, now: Time, order: &Withdraw) {
        let mut rows = Vec::new();
        for (interface, address) in order.places() {
            rows.extend(self.let_go(order.router, (interface, address.address)));
        }
        rows.extend(self.take_parked(order));
        self.remove_rows(&rows, now);
        self.stale_ledger |= rows.iter().any(|row| !self.planned.contains(row));
    }

    /// Takes `rows` off; what the kernel keeps is tried again.
    fn remove_rows(&mut self, rows: &[(Ifindex, Address)], now: Time) {
        if rows.is_empty() {
            return;
        }
        let changes: Vec<_> = rows
            .iter()
            .map(|&(interface, address)| Change {
                action: Action::Remove,
                interface,
                address,
            })
            .collect();
        let outcomes = self
            .kernel
            .change(&changes)
            .unwrap_or_else(|_| vec![Err(Errno::EIO); rows.len()]);
        for (&row, outcome) in rows.iter().zip(outcomes) {
            match outcome {
                // Not there, or no longer an interface for it to be on.
                Ok(()) | Err(Errno::EADDRNOTAVAIL | Errno::ENOENT | Errno::ENODEV) => {
                    self.stuck.remove(&row);
                }
                Err(errno) => {
                    self.stuck.insert(row, now + RETRY);
                    let (interface, Address { address, .. }) = row;
                    self.notices.push(Notice::Stuck {
                        interface,
                        address,
                        errno,
                    });
                }
            }
        }
        self.stale_ledger = true;
    }

    /// Renews what is due, a batch at most, if the election is alive; and writes what waits to be written.
    pub(super) fn maintain(&mut self, now: Time, election_is_alive: bool) {
        self.unstick(now);
        if election_is_alive {
            self.renew(now);
        }
        if self.stale_ledger {
            self.write_ledger();
        }
    }

    /// When [`maintain`](Self::maintain) has something to do.
    #[must_use]
    pub(super) fn next_due(&self) -> Option<Time> {
        let renewals = self.held.values().filter_map(|holding| holding.due);
        renewals.chain(self.stuck.values().copied()).min()
    }

    fn unstick(&mut self, now: Time) {
        let due: Vec<_> = self
            .stuck
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(row, _)| *row)
            .take(BATCH)
            .collect();
        self.remove_rows(&due, now);
    }

    /// The end: takes everything off and restores every setting.
    pub(super) fn finish(&mut self, now: Time) {
        let stuck: Vec<_> = self.stuck.keys().copied().collect();
        self.remove_rows(&stuck, now);
        let rows: Vec<_> = std::mem::take(&mut self.held)
            .into_iter()
            .map(|(place, held)| held.row(place))
            .collect();
        self.remove_rows(&rows, now);
        self.unpark_all(now);
        self.planned.clear();
        self.parkable.clear();
        self.settings
            .apply(&mut self.kernel, &BTreeSet::new(), &mut self.notices);
        self.write_ledger();
    }

    /// Makes the ledger say what is planned and not somebody else's, what is held, and what is stuck.
    pub(super) fn write_ledger(&mut self) {
        let planned = self
            .planned
            .iter()
            .filter(|(interface, a)| !self.foreign.contains(&(*interface, a.address)))
            .copied();
        let held = self.held.iter().map(|(&place, held)| held.row(place));
        let rows = Rows {
            addresses: planned
                .chain(held)
                .chain(self.parking_rows())
                .chain(self.stuck.keys().copied())
                .collect(),
            originals: self.settings.originals().clone(),
        };
        self.stale_ledger = false;
        if let Err(error) = self.ledger.save(rows) {
            self.notices.push(Notice::Ledger(error));
        }
    }
}

/// Errors that are not about one address: the interface is gone or unusable, or we may not.
fn concerns_interface(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENODEV
            | Errno::ENETDOWN
            | Errno::EPERM
            | Errno::EACCES
            | Errno::ENOMEM
            | Errno::ENOBUFS
            | Errno::EIO
    )
}

/// When an address is renewed: after a third of its lifetime, or up to a quarter of that third earlier, so that
/// many addresses do not come due together.
fn renewal(now: Time, lifetime: Option<Duration>, address: IpAddr) -> Option<Time> {
    let third = lifetime? / 3;
    let octets = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    // Fibonacci hashing: neighbouring addresses land far apart.
    let hash = (octets as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    let early = third / 4 * u32::try_from(hash).unwrap_or(0) / 256;
    Some(now + (third - early))
}

#[cfg(test)]
mod tests;
