//! What the kernel has, as far as it concerns us, with what it counts.

use std::collections::BTreeMap;

use vipkeeper_ipvs::{
    Destination, DestinationCounters, DestinationKey, Service, ServiceKey, Statistics,
};

use super::kernel::Operation;
use super::table::Entry;

/// The services that were asked for, as the kernel had them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Each under its own key.
    pub services: BTreeMap<ServiceKey, PresentService>,
    /// How many others there are.
    pub others: usize,
}

/// A service that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentService {
    /// The service.
    pub service: Service,
    /// What is counted of it.
    pub statistics: Statistics,
    /// Its real servers, each under its own key.
    pub destinations: BTreeMap<DestinationKey, PresentDestination>,
}

/// A real server that the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentDestination {
    /// The real server.
    pub destination: Destination,
    /// Its connections.
    pub counters: DestinationCounters,
    /// What is counted of it.
    pub statistics: Statistics,
}

impl PresentService {
    /// Whether it is what `entry` says.
    #[must_use]
    pub fn is(&self, entry: &Entry) -> bool {
        self.service == *entry.service()
            && self.destinations.len() == entry.destinations().len()
            && self
                .destinations
                .values()
                .zip(entry.destinations().values())
                .all(|(present, wanted)| present.destination == *wanted)
    }
}

impl Present {
    /// Takes note of `operation`, which the kernel has carried out.
    pub(super) fn note(&mut self, operation: &Operation) {
        match operation {
            Operation::AddService(service) => {
                self.services.insert(
                    service.key,
                    PresentService {
                        service: *service,
                        statistics: Statistics::default(),
                        destinations: BTreeMap::new(),
                    },
                );
            }
            Operation::SetService(service) => {
                if let Some(present) = self.services.get_mut(&service.key) {
                    present.service = *service;
                }
            }
            Operation::DeleteService(key) => {
                self.services.remove(key);
            }
            Operation::AddDestination(key, destination) => {
                if let Some(present) = self.services.get_mut(key) {
                    let added = PresentDestination {
                        destination: *destination,
                        counters: DestinationCounters::default(),
                        statistics: Statistics::default(),
                    };
                    present.destinations.insert(destination.key, added);
                }
            }
            Operation::SetDestination(key, destination) => {
                if let Some(present) = self
                    .services
                    .get_mut(key)
                    .and_then(|present| present.destinations.get_mut(&destination.key))
                {
                    present.destination = *destination;
                }
            }
            Operation::DeleteDestination(key, destination) => {
                if let Some(present) = self.services.get_mut(key) {
                    present.destinations.remove(destination);
                }
            }
        }
    }
}
