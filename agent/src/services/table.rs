//! What the kernel should have of ours.

use std::collections::BTreeMap;

use vipkeeper_ipvs::{Destination, DestinationKey, Service, ServiceKey};
use vipkeeper_nft::Ruleset;

use super::model::{FirewallKey, firewall_key};

/// All services that should be there, each under its own key, and what our table of nftables does for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    services: BTreeMap<ServiceKey, Entry>,
    firewall: Ruleset,
}

impl Table {
    /// Adds `entry`; gives back the one of the same key that it displaces.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        self.services.insert(entry.service.key, entry)
    }

    /// The service of `key`.
    #[must_use]
    pub fn get(&self, key: &ServiceKey) -> Option<&Entry> {
        self.services.get(key)
    }

    /// Makes our table of nftables do what `firewall` says: the source addresses of FullNAT, closed addresses, source
    /// ranges. Without anything to do there is no table.
    pub fn set_firewall(&mut self, firewall: Ruleset) {
        self.firewall = firewall;
    }

    /// What our table of nftables does.
    #[must_use]
    pub const fn firewall(&self) -> &Ruleset {
        &self.firewall
    }

    /// Whether packets to the service of `key` go out with an address of this node as source.
    #[must_use]
    pub fn is_masqueraded(&self, key: ServiceKey) -> bool {
        match firewall_key(&key) {
            FirewallKey::Traffic(traffic) => self.firewall.masqueraded.contains(&traffic),
            FirewallKey::Mark(mark) => self.firewall.masqueraded_marks.contains(&mark),
            FirewallKey::None => false,
        }
    }

    /// All services by their keys.
    #[must_use]
    pub const fn services(&self) -> &BTreeMap<ServiceKey, Entry> {
        &self.services
    }
}

impl FromIterator<Entry> for Table {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut table = Self::default();
        for entry in entries {
            table.insert(entry);
        }
        table
    }
}

/// A service with its real servers, each under its own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    service: Service,
    destinations: BTreeMap<DestinationKey, Destination>,
}

impl Entry {
    /// `service` without real servers.
    #[must_use]
    pub const fn new(service: Service) -> Self {
        Self {
            service,
            destinations: BTreeMap::new(),
        }
    }

    /// `service` with `destinations`; of several with one key the last.
    #[must_use]
    pub fn with(service: Service, destinations: impl IntoIterator<Item = Destination>) -> Self {
        let mut entry = Self::new(service);
        for destination in destinations {
            entry.insert(destination);
        }
        entry
    }

    /// Adds `destination`; gives back the one of the same key that it displaces.
    pub fn insert(&mut self, destination: Destination) -> Option<Destination> {
        self.destinations.insert(destination.key, destination)
    }

    /// The service.
    #[must_use]
    pub const fn service(&self) -> &Service {
        &self.service
    }

    /// Its real servers by their keys.
    #[must_use]
    pub const fn destinations(&self) -> &BTreeMap<DestinationKey, Destination> {
        &self.destinations
    }
}
