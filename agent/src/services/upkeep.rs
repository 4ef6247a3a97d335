//! Keeps the kernel as the table says: reads it on a period, does what is missing at once, and puts back what somebody
//! took away.
//!
//! Owns what is known of the kernel, and the ledger. A changed table is compared with what is known and costs the
//! operations alone; whatever somebody else did shows in the next reading. Never touches what the ledger does not call
//! ours; before the first table, nothing at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use vipkeeper_ipvs::ServiceKey;
use vipkeeper_nft::TableName;
use vipkeeper_vrrp::Time;

use super::firewall::{Firewall, Tended};
use super::holds::{self, Holds};
use super::kernel::{Kernel, Operation, Unavailable};
use super::ledger::{Ledger, Rows};
use super::mailbox::Finished;
use super::present::Present;
use super::reconcile::reconcile;
use super::refusal::{Circumstances, Meaning};
use super::report::{Counts, FirewallReport, Observed, ServiceReport, Trouble};
use super::settings::{Lack, Policy, Setting, wanted};
use super::table::Table;

/// How often the kernel is read: statistics are that old at most, and what somebody took away is missing so long.
const PERIOD: Duration = Duration::from_secs(2);
/// A reading is followed by this many times as long without one, so that a large table costs a twentieth of a core at
/// most.
const REST: u32 = 20;
/// How soon the kernel is read after a real server began to drain.
const SOON: Duration = Duration::from_millis(200);
/// So often in a row the kernel is read again at once because it is not what it was thought to be.
const HASTE: u32 = 2;
/// So many services and refusals of one turn are logged each.
const LOGGED: usize = 10;

/// The table, the kernel, and what was learnt.
#[derive(Debug)]
pub(super) struct Upkeep<K> {
    pub(super) kernel: K,
    ledger: Ledger,
    desired: Option<Arc<Table>>,
    present: Present,
    /// The services that were looked for in the last reading.
    looked_for: BTreeSet<ServiceKey>,
    /// Whether `present` can be relied on.
    is_current: bool,
    at: Option<Time>,
    trouble: Option<Trouble>,
    /// How long the next failed reading is waited after.
    patience: Duration,
    read_due: Option<Time>,
    holds: Holds,
    firewall: Firewall,
    lacks: Vec<Lack>,
    /// Settings that could not be written; told once.
    unwritten: BTreeSet<Setting>,
    /// Whether it was told which services of a process before this one go on.
    has_adopted: bool,
    /// Services that have been as the table says since it says so.
    settled: BTreeSet<ServiceKey>,
    /// How often in a row the kernel was not what it was thought to be.
    outdated: u32,
    counts: Counts,
}

impl<K: Kernel> Upkeep<K> {
    /// `table` is the name of our table of nftables.
    pub(super) fn new(kernel: K, ledger: Ledger, table: TableName) -> Self {
        Self {
            kernel,
            ledger,
            desired: None,
            present: Present::default(),
            looked_for: BTreeSet::new(),
            is_current: false,
            at: None,
            trouble: None,
            patience: holds::SHORTEST,
            read_due: Some(Time::ZERO),
            holds: Holds::default(),
            firewall: Firewall::new(table),
            lacks: Vec::new(),
            unwritten: BTreeSet::new(),
            has_adopted: false,
            settled: BTreeSet::new(),
            outdated: 0,
            counts: Counts::default(),
        }
    }

    /// From the next turn on, `table` is how the kernel should be.
    pub(super) fn want(&mut self, table: Arc<Table>) {
        let before = self.desired.take().unwrap_or_default();
        self.settled.retain(|key| {
            table
                .get(key)
                .is_some_and(|entry| before.get(key) == Some(entry))
        });
        self.desired = Some(table);
    }

    /// Forgets what is known of the kernel: somebody else may have written meanwhile.
    pub(super) fn look_anew(&mut self) {
        self.is_current = false;
        self.read_due = Some(Time::ZERO);
        self.firewall.look_anew();
    }

    /// Goes on after a successor that failed, which may have added services and called them its own.
    pub(super) fn resume(&mut self) {
        if let Err(reason) = self.ledger.read_again() {
            warn!(%reason, "the ledger of services is discarded: what the successor added may stay");
        }
        self.look_anew();
    }

    /// Does what is due.
    pub(super) fn turn(&mut self, clock: impl Fn() -> Time) {
        let began = clock();
        if self.must_read(began) {
            self.read(began);
            let ended = clock();
            let rest = PERIOD.max(ended.since(began) * REST);
            if self.is_current {
                self.read_due = (!self.looked_for.is_empty()).then(|| ended + rest);
            }
        }
        // Before the services that they are for; and where there is no IPVS, too.
        self.look_at_settings();
        self.tend(began);
        if self.is_current {
            self.mend(began);
        }
    }

    /// Knows which settings are not as they should be, and sets them where that was asked for.
    fn look_at_settings(&mut self) {
        let Some(desired) = &self.desired else {
            return;
        };
        let wanted = wanted(desired);
        let lacks = self.kernel.settings().lacks(&wanted);
        let before = std::mem::replace(&mut self.lacks, lacks);
        if self.kernel.settings().policy == Policy::Verify {
            for lack in self.lacks.iter().filter(|lack| !before.contains(lack)) {
                let (command, importance) = (lack.command(), lack.importance);
                warn!(%command, ?importance, "a setting is not as virtual servers need it");
            }
            return;
        }
        if self.lacks.is_empty() {
            return;
        }
        let mut rows = self.ledger.rows().clone();
        for lack in &self.lacks {
            if let Some(is) = lack.is {
                rows.originals.entry(lack.setting).or_insert(is);
            }
        }
        self.save(rows);
        for lack in &self.lacks {
            let (setting, value) = (lack.setting, lack.wanted);
            match self.kernel.settings().write(lack) {
                Ok(()) => info!(%setting, value, "setting written"),
                Err(error) if self.unwritten.insert(setting) => {
                    warn!(%setting, %error, "a setting cannot be written");
                }
                Err(_) => {}
            }
        }
        self.lacks = self.kernel.settings().lacks(&wanted);
    }

    /// Makes our table of nftables what it should be.
    fn tend(&mut self, now: Time) {
        let Some(desired) = self.desired.clone() else {
            return;
        };
        let mut rows = self.ledger.rows().clone();
        let wanted = desired.firewall();
        if wanted.is_empty() && !rows.has_firewall {
            return;
        }
        if !rows.has_firewall {
            rows.has_firewall = true;
            self.save(rows.clone());
        }
        match self.firewall.tend(&mut self.kernel, wanted, now) {
            Tended::Right | Tended::Replaced => {}
            Tended::PutBack => self.counts.repairs += 1,
            Tended::Failed => self.counts.failures += 1,
            Tended::Removed => {
                rows.has_firewall = false;
                self.save(rows);
            }
        }
    }

    /// When the next turn is due, if nothing else happens.
    pub(super) fn next_due(&self) -> Option<Time> {
        let held = self.is_current.then(|| self.holds.next_due()).flatten();
        let firewall = self.firewall.next_due();
        self.read_due.into_iter().chain(held).chain(firewall).min()
    }

    /// Removes everything that is ours.
    pub(super) fn finish(&mut self, clock: impl Fn() -> Time) -> Finished {
        let before = self.ledger.rows().services.len();
        self.want(Arc::default());
        self.holds.clear();
        self.look_anew();
        self.turn(clock);
        let left: Vec<_> = self.ledger.rows().services.iter().copied().collect();
        let why = |key| {
            let own = self.holds.of(key).next().map(|(_, trouble)| trouble);
            let trouble = own.or(self.trouble.as_ref()).cloned();
            trouble.unwrap_or_else(|| Trouble::Unreachable("it was not asked".to_owned()))
        };
        let left: Vec<_> = left.into_iter().map(|key| (key, why(key))).collect();
        let firewall = self.firewall_report().trouble;
        let mut finished = Finished {
            removed: before.saturating_sub(left.len()),
            left,
            firewall,
            ..Finished::default()
        };
        self.restore_settings(&mut finished);
        finished
    }

    fn restore_settings(&mut self, finished: &mut Finished) {
        let mut rows = self.ledger.rows().clone();
        let settings = self.kernel.settings();
        rows.originals.retain(|&setting, &mut original| {
            match settings.restore(setting, original) {
                Ok(is_restored) => {
                    finished.restored.extend(is_restored.then_some(setting));
                    false
                }
                Err(error) => {
                    finished.unrestored.push((setting, error.to_string()));
                    true
                }
            }
        });
        self.save(rows);
    }

    /// What there is to tell.
    pub(super) fn observed(&self) -> Observed {
        let keys = self.keys();
        Observed {
            at: self.at,
            trouble: self.trouble.clone(),
            table: self.desired.clone(),
            services: keys.iter().map(|key| (*key, self.report(key))).collect(),
            others: self.present.others,
            firewall: self.firewall_report(),
            lacks: self.lacks.clone(),
            counts: self.counts,
        }
    }

    fn firewall_report(&self) -> FirewallReport {
        let Some(desired) = &self.desired else {
            return FirewallReport::default();
        };
        let wanted = desired.firewall();
        if wanted.is_empty() && !self.ledger.rows().has_firewall {
            return FirewallReport {
                is_programmed: true,
                trouble: None,
            };
        }
        self.firewall.report(wanted)
    }

    fn report(&self, key: &ServiceKey) -> ServiceReport {
        let present = self.present.services.get(key);
        let is_ours = self.ledger.rows().services.contains(key);
        let wanted = self.desired.as_ref().and_then(|table| table.get(key));
        let mut report = ServiceReport {
            present: present.cloned(),
            is_programmed: is_ours && present.zip(wanted).is_some_and(|(there, it)| there.is(it)),
            ..ServiceReport::default()
        };
        for (destination, trouble) in self.holds.of(*key) {
            match destination {
                Some(destination) => {
                    report.destinations.insert(destination, trouble.clone());
                }
                None => report.trouble = Some(trouble.clone()),
            }
        }
        if present.is_some() && !is_ours {
            report.trouble = Some(Trouble::Foreign);
        }
        report
    }

    /// The services of the table and those that are ours.
    fn keys(&self) -> BTreeSet<ServiceKey> {
        let mut keys = self.ledger.rows().services.clone();
        keys.extend(
            self.desired
                .iter()
                .flat_map(|table| table.services().keys()),
        );
        keys
    }

    fn must_read(&self, now: Time) -> bool {
        if self.read_due.is_some_and(|due| due <= now) {
            return true;
        }
        // Of a service that was not looked for nobody knows whether somebody has it.
        let wanted = self
            .desired
            .iter()
            .flat_map(|table| table.services().keys());
        self.is_current && wanted.into_iter().any(|key| !self.looked_for.contains(key))
    }

    fn read(&mut self, now: Time) {
        let keys = self.keys();
        let present = if keys.is_empty() {
            // A node without virtual servers needs no IPVS.
            Ok(Present::default())
        } else {
            self.counts.passes += 1;
            self.kernel.dump(&keys)
        };
        match present {
            Ok(present) => {
                if self.trouble.take().is_some() {
                    info!("IPVS answers");
                }
                self.present = present;
                self.looked_for = keys;
                self.is_current = true;
                self.at = Some(now);
                self.patience = holds::SHORTEST;
            }
            Err(reason) => self.failed(&reason, now),
        }
    }

    fn failed(&mut self, reason: &Unavailable, now: Time) {
        self.counts.failures += 1;
        self.is_current = false;
        self.read_due = Some(now + self.patience);
        self.patience = holds::LONGEST.min(self.patience * 2);
        let trouble = match reason {
            Unavailable::Missing => {
                self.nothing_is_there();
                Trouble::IpvsMissing
            }
            Unavailable::Refused(refusal) => Trouble::Refused(refusal.to_string()),
            Unavailable::Netlink(error) => Trouble::Unreachable(error.to_string()),
        };
        if self.trouble.as_ref() != Some(&trouble) {
            warn!(%reason, "IPVS");
            self.trouble = Some(trouble);
        }
    }

    /// Without IPVS there are no services.
    fn nothing_is_there(&mut self) {
        self.present = Present::default();
        if self.desired.is_some() {
            self.save(Rows {
                services: BTreeSet::new(),
                ..self.ledger.rows().clone()
            });
        }
        if self.keys().is_empty() {
            self.read_due = Some(Time::ZERO);
        }
    }

    /// Does what the table and what is known of the kernel differ in.
    fn mend(&mut self, now: Time) {
        let Some(desired) = self.desired.clone() else {
            return;
        };
        let rows = self.ledger.rows().clone();
        let absent = desired.services().keys();
        let absent = absent.filter(|key| !self.present.services.contains_key(key));
        let mut ours = rows.services.clone();
        ours.extend(absent);
        let needed = reconcile(&desired, &self.present, &ours);
        self.adopt(&desired, needed.len());
        let operations = self.holds.admit(needed, now);
        let (added, mut others): (Vec<_>, Vec<_>) = operations
            .into_iter()
            .partition(|operation| matches!(operation, Operation::AddService(_)));
        let claimed = self.claim(&added, rows);
        let mut batch = Batch::default();
        self.tell(&added, &claimed, &mut batch, now);
        // A service that could not be added may be somebody else's: it gets no real server of ours.
        others.retain(|operation| !batch.not_added.contains(&operation.service()));
        self.tell(&others, &claimed, &mut batch, now);
        batch.log();
        self.settle(&desired);
        self.outdated = if batch.is_outdated {
            self.outdated + 1
        } else {
            0
        };
        if self.is_current && batch.is_outdated && self.outdated <= HASTE {
            self.read_due = Some(now);
        }
    }

    /// Tells once which of the services that a process before this one left are `desired`.
    fn adopt(&mut self, desired: &Table, operations: usize) {
        if std::mem::replace(&mut self.has_adopted, true) {
            return;
        }
        let left = self.ledger.rows().services.iter();
        let adopted = left
            .filter(|key| desired.get(key).is_some() && self.present.services.contains_key(key));
        let services = adopted.count();
        if services > 0 {
            info!(services, operations, "services adopted");
        }
    }

    /// Makes the services that are `added` ours; gives those that were not.
    fn claim(&mut self, added: &[Operation], mut rows: Rows) -> BTreeSet<ServiceKey> {
        let added = added.iter().map(Operation::service);
        let claimed = added.filter(|key| rows.services.insert(*key)).collect();
        self.save(rows);
        claimed
    }

    /// Tells the kernel `operations` and learns how they went.
    fn tell(
        &mut self,
        operations: &[Operation],
        claimed: &BTreeSet<ServiceKey>,
        batch: &mut Batch,
        now: Time,
    ) {
        if operations.is_empty() || !self.is_current {
            return;
        }
        let outcomes = match self.kernel.apply(operations) {
            Ok(outcomes) => outcomes,
            Err(reason) => return self.failed(&reason, now),
        };
        let mut rows = self.ledger.rows().clone();
        for (operation, outcome) in operations.iter().zip(&outcomes) {
            self.counts.operations += 1;
            let circumstances = Circumstances {
                claimed,
                present: &self.present,
            };
            let meaning = circumstances.judge(operation, outcome);
            if meaning != Meaning::Done && matches!(operation, Operation::AddService(_)) {
                batch.not_added.insert(operation.service());
                if claimed.contains(&operation.service()) {
                    rows.services.remove(&operation.service());
                }
            }
            match meaning {
                Meaning::Done => self.done(operation, &mut rows, batch, now),
                Meaning::Outdated if self.outdated < HASTE => batch.is_outdated = true,
                Meaning::Outdated => {
                    batch.is_outdated = true;
                    let text = outcome.as_ref().err().map(ToString::to_string);
                    let trouble = Trouble::Refused(text.unwrap_or_default());
                    self.refused(operation, trouble, batch, now);
                }
                Meaning::Foreign => {
                    batch.is_outdated = true;
                    self.refused(operation, Trouble::Foreign, batch, now);
                }
                Meaning::Refused(trouble) => self.refused(operation, trouble, batch, now),
            }
        }
        self.save(rows);
    }

    fn done(&mut self, operation: &Operation, rows: &mut Rows, batch: &mut Batch, now: Time) {
        let key = operation.service();
        self.present.note(operation);
        self.holds.done(operation);
        if self.settled.contains(&key) {
            self.counts.repairs += 1;
            batch.repaired.insert(key);
            return;
        }
        match operation {
            Operation::AddService(_) => batch.added.push(key),
            Operation::DeleteService(_) => {
                rows.services.remove(&key);
                batch.removed.push(key);
            }
            Operation::SetDestination(_, destination) if destination.weight == 0 => {
                let soon = now + SOON;
                self.read_due = Some(self.read_due.map_or(soon, |due| due.min(soon)));
            }
            Operation::SetService(_)
            | Operation::AddDestination(..)
            | Operation::SetDestination(..)
            | Operation::DeleteDestination(..) => {}
        }
    }

    fn refused(&mut self, operation: &Operation, trouble: Trouble, batch: &mut Batch, now: Time) {
        self.counts.refusals += 1;
        if self.holds.refused(*operation, trouble.clone(), now) {
            batch.refused.push((*operation, trouble));
        }
    }

    fn settle(&mut self, desired: &Table) {
        for (key, entry) in desired.services() {
            let present = self.present.services.get(key);
            if present.is_some_and(|there| there.is(entry))
                && self.ledger.rows().services.contains(key)
            {
                self.settled.insert(*key);
            }
        }
    }

    fn save(&mut self, rows: Rows) {
        if let Err(error) = self.ledger.save(rows) {
            self.counts.failures += 1;
            warn!(%error, "the ledger of services cannot be written: after a crash they would stay");
        }
    }
}

/// What one turn's operations came to, for the log.
#[derive(Debug, Default)]
struct Batch {
    added: Vec<ServiceKey>,
    removed: Vec<ServiceKey>,
    repaired: BTreeSet<ServiceKey>,
    refused: Vec<(Operation, Trouble)>,
    not_added: BTreeSet<ServiceKey>,
    is_outdated: bool,
}

impl Batch {
    fn log(&self) {
        for service in self.added.iter().take(LOGGED) {
            info!(%service, "service added");
        }
        for service in self.removed.iter().take(LOGGED) {
            info!(%service, "service removed");
        }
        let (added, removed) = (self.added.len(), self.removed.len());
        if added.max(removed) > LOGGED {
            info!(added, removed, "services added and removed, with others");
        }
        for service in self.repaired.iter().take(LOGGED) {
            warn!(%service, "put back what somebody had removed or changed");
        }
        for (operation, trouble) in self.refused.iter().take(LOGGED) {
            let service = operation.service();
            match operation.destination() {
                Some(real_server) => warn!(%service, %real_server, %trouble, "refused"),
                None => warn!(%service, %trouble, "refused"),
            }
        }
        let unlogged = |count: usize| count.saturating_sub(LOGGED);
        let more = unlogged(self.repaired.len()) + unlogged(self.refused.len());
        if more > 0 {
            warn!(more, "and others");
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
