//! A kernel in memory, with the rules by which the real one refuses, that can fail and whose services others change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use nix::errno::Errno;
use vipkeeper_ipvs::{
    Destination, DestinationKey, Family, Forwarding, Service, ServiceKey, Tunnel,
};
use vipkeeper_nft::{Difference, Table, TableName};

use super::firewall::Nftables;
use super::kernel::{Ipvs, Kernel, Operation, Refusal, Unavailable};
use super::present::{Present, PresentService};
use super::settings::SystemSettings;

/// Weights are signed in the kernel.
const HEAVIEST: u32 = i32::MAX as u32;

/// What somebody else does.
#[derive(Clone, Debug)]
pub(super) enum Intrusion {
    Flush,
    Add(Service),
    Delete(ServiceKey),
    AddDestination(ServiceKey, Destination),
    DeleteDestination(ServiceKey, DestinationKey),
}

#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) present: Present,
    /// Schedulers and engines that it lacks.
    pub(super) lacks: BTreeSet<String>,
    /// Why the next calls fail, one each.
    pub(super) failures: VecDeque<Unavailable>,
    /// What the next operations are refused with; `None` leaves one to the rules.
    pub(super) refusals: VecDeque<Option<Errno>>,
    /// What somebody else does before the next operations.
    pub(super) intrusions: VecDeque<Option<Intrusion>>,
    /// All operations, and how each went.
    pub(super) told: Vec<(Operation, Result<(), Errno>)>,
    /// What was there after each of them.
    pub(super) history: Vec<BTreeMap<ServiceKey, PresentService>>,
    /// Where the ledger is, in which a service must be before it is added.
    pub(super) ledger: Option<PathBuf>,
    pub(super) dumps: usize,
    /// Our table of nftables, and how often anybody changed any.
    pub(super) firewall: Option<Table>,
    pub(super) generation: u32,
    /// Why the next calls about nftables fail.
    pub(super) firewall_failures: VecDeque<Unavailable>,
    /// How often it was compared and written.
    pub(super) compared: usize,
    pub(super) replaced: usize,
    pub(super) settings: SystemSettings,
}

impl Kernel for Fake {
    fn settings(&self) -> &SystemSettings {
        &self.settings
    }
}

impl Nftables for Fake {
    fn generation(&mut self) -> Result<u32, Unavailable> {
        self.firewall_failures
            .pop_front()
            .map_or(Ok(self.generation), Err)
    }

    fn compare(&mut self, table: &Table) -> Result<Option<Difference>, Unavailable> {
        self.compared += 1;
        let is_same = self.firewall.as_ref() == Some(table);
        Ok((!is_same).then_some(Difference::Table))
    }

    fn replace(&mut self, table: &Table) -> Result<(), Unavailable> {
        self.replaced += 1;
        self.generation += 1;
        self.firewall = Some(table.clone());
        Ok(())
    }

    fn remove(&mut self, _name: &TableName) -> Result<(), Unavailable> {
        if let Some(failure) = self.firewall_failures.pop_front() {
            return Err(failure);
        }
        self.generation += 1;
        self.firewall = None;
        Ok(())
    }
}

impl Ipvs for Fake {
    fn dump(&mut self, of: &BTreeSet<ServiceKey>) -> Result<Present, Unavailable> {
        self.dumps += 1;
        if let Some(failure) = self.failures.pop_front() {
            return Err(failure);
        }
        let services = self.present.services.iter();
        let services: BTreeMap<_, _> = services
            .filter(|(key, _)| of.contains(key))
            .map(|(key, present)| (*key, present.clone()))
            .collect();
        let others = self.present.services.len() - services.len();
        Ok(Present { services, others })
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Result<(), Refusal>>, Unavailable> {
        if let Some(failure) = self.failures.pop_front() {
            return Err(failure);
        }
        let tell = |operation| self.tell(operation).map_err(Refusal::from);
        Ok(operations.iter().map(tell).collect())
    }
}

impl Fake {
    fn tell(&mut self, operation: &Operation) -> Result<(), Errno> {
        if let Some(intrusion) = self.intrusions.pop_front().flatten() {
            self.intrude(&intrusion);
        }
        if let Operation::AddService(service) = operation {
            self.expect_in_ledger(service.key);
        }
        let refusal = self.refusals.pop_front().flatten();
        let outcome = refusal.map_or_else(|| self.check(operation), Err);
        if outcome.is_ok() {
            self.present.note(operation);
        }
        self.told.push((*operation, outcome));
        self.history.push(self.present.services.clone());
        outcome
    }

    fn expect_in_ledger(&self, service: ServiceKey) {
        let (Some(ledger), ServiceKey::Address { address, port, .. }) = (&self.ledger, service)
        else {
            return;
        };
        let rows = std::fs::read_to_string(ledger).unwrap();
        assert!(rows.contains(&format!(" {address} {port}\n")), "{rows}");
    }

    pub(super) fn intrude(&mut self, intrusion: &Intrusion) {
        let operation = match *intrusion {
            Intrusion::Flush => return self.present.services.clear(),
            Intrusion::Add(service) => Operation::AddService(service),
            Intrusion::Delete(key) => Operation::DeleteService(key),
            Intrusion::AddDestination(key, destination) => {
                Operation::AddDestination(key, destination)
            }
            Intrusion::DeleteDestination(key, destination) => {
                Operation::DeleteDestination(key, destination)
            }
        };
        if self.check(&operation).is_ok() {
            self.present.note(&operation);
        }
    }

    /// `ip_vs_genl_set_cmd` and what it calls.
    fn check(&self, operation: &Operation) -> Result<(), Errno> {
        let service = self.present.services.get(&operation.service());
        match operation {
            Operation::AddService(_) if service.is_some() => Err(Errno::EEXIST),
            Operation::AddService(service) => self.check_service(service),
            Operation::SetService(wanted) => {
                service.ok_or(Errno::ESRCH)?;
                self.check_service(wanted)
            }
            Operation::DeleteService(_) => service.map(drop).ok_or(Errno::ESRCH),
            Operation::AddDestination(_, destination) => {
                let service = service.ok_or(Errno::ESRCH)?;
                check_destination(service, destination)?;
                match service.destinations.get(&destination.key) {
                    Some(_) => Err(Errno::EEXIST),
                    None => Ok(()),
                }
            }
            Operation::SetDestination(_, destination) => {
                let service = service.ok_or(Errno::ESRCH)?;
                check_destination(service, destination)?;
                let there = service.destinations.get(&destination.key);
                there.map(drop).ok_or(Errno::ENOENT)
            }
            Operation::DeleteDestination(_, key) => {
                let there = service.ok_or(Errno::ESRCH)?.destinations.get(key);
                there.map(drop).ok_or(Errno::ENOENT)
            }
        }
    }

    fn check_service(&self, service: &Service) -> Result<(), Errno> {
        let engine = service.engine.map(|engine| engine.as_str().to_owned());
        if self.lacks.contains(service.scheduler.as_str())
            || engine.is_some_and(|engine| self.lacks.contains(&engine))
        {
            return Err(Errno::ENOENT);
        }
        Ok(())
    }

    /// The operations since the last call.
    pub(super) fn take_told(&mut self) -> Vec<Operation> {
        let told = std::mem::take(&mut self.told);
        told.into_iter().map(|(operation, _)| operation).collect()
    }
}

fn check_destination(service: &PresentService, destination: &Destination) -> Result<(), Errno> {
    let is_mixed = Family::of(&destination.key.address) != service.service.key.family();
    let is_tunnel = matches!(destination.forwarding, Forwarding::Tunnel(_));
    if is_mixed && !is_tunnel {
        return Err(Errno::EINVAL);
    }
    if matches!(destination.forwarding, Forwarding::Tunnel(Tunnel::Other { kind, .. }) if kind > 2)
    {
        return Err(Errno::EINVAL);
    }
    if destination.weight > HEAVIEST || destination.lower_threshold > destination.upper_threshold {
        return Err(Errno::ERANGE);
    }
    Ok(())
}

/// Services and real servers to test with.
pub(super) mod examples {
    use vipkeeper_ipvs::{Protocol, ServiceFlags};

    use super::super::table::{Entry, Table};
    use super::*;

    /// TCP 192.0.2.1 with `port`.
    pub(in crate::services) fn key(port: u16) -> ServiceKey {
        ServiceKey::Address {
            protocol: Protocol::Tcp,
            address: [192, 0, 2, 1].into(),
            port,
        }
    }

    /// 10.0.0.`number`:80.
    pub(in crate::services) fn address(number: u8) -> DestinationKey {
        DestinationKey {
            address: [10, 0, 0, number].into(),
            port: 80,
        }
    }

    pub(in crate::services) fn destination(number: u8, weight: u32) -> Destination {
        Destination {
            key: address(number),
            forwarding: Forwarding::Masquerade,
            weight,
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }

    pub(in crate::services) fn service(key: ServiceKey) -> Service {
        Service {
            key,
            scheduler: "wlc".parse().unwrap(),
            flags: ServiceFlags::default(),
            persistence: None,
            engine: None,
        }
    }

    /// A service on `port` with real servers, each a number and a weight.
    pub(in crate::services) fn entry(port: u16, destinations: &[(u8, u32)]) -> Entry {
        let destinations = destinations.iter();
        let destinations = destinations.map(|&(number, weight)| destination(number, weight));
        Entry::with(service(key(port)), destinations)
    }

    /// A kernel that has `table`.
    pub(in crate::services) fn present(table: &Table) -> Present {
        let mut present = Present::default();
        for entry in table.services().values() {
            let key = entry.service().key;
            present.note(&Operation::AddService(*entry.service()));
            for destination in entry.destinations().values() {
                present.note(&Operation::AddDestination(key, *destination));
            }
        }
        present
    }
}
