//! What is said of each virtual server: for status, metrics and `/state`. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vipkeeper_crds::node_server::ServerName;
use vipkeeper_ipvs::{DestinationKey, ServiceKey};

use super::member::Health;
use super::{Model, Slot};
use crate::services::{Observed, Trouble};

/// What is said of a real server that has not been judged.
const UNJUDGED: &str = "not probed yet";

/// How a virtual server stands on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub server: ServerName,
    /// The VirtualRouter whose addresses it serves.
    pub router: Arc<str>,
    /// The generation of the object that is served.
    pub generation: i64,
    /// Whether the kernel has what it should have, of every listener.
    pub is_programmed: bool,
    /// Whether every listener has a quorum; `None` while that cannot be told.
    pub quorum: Option<bool>,
    /// Whether a sorry server serves on any listener.
    pub sorry: bool,
    /// The real servers that are not leaving: by address and port, why one is not healthy.
    pub real_servers: BTreeMap<DestinationKey, Option<Arc<str>>>,
    /// How many are leaving.
    pub leaving: usize,
    /// What the kernel says against it.
    pub troubles: BTreeMap<ServiceKey, Trouble>,
}

impl Report {
    /// How many real servers are healthy.
    #[must_use]
    pub fn healthy(&self) -> usize {
        self.real_servers.values().filter(|r| r.is_none()).count()
    }
}

impl Model {
    /// What is said of every server, by namespace and name.
    #[must_use]
    pub fn reports(&self, observed: &Observed) -> Vec<Report> {
        let mut reports: BTreeMap<&ServerName, (Report, BTreeSet<DestinationKey>)> = self
            .servers
            .iter()
            .map(|(name, server)| {
                let report = Report {
                    server: name.clone(),
                    router: Arc::clone(&server.router),
                    generation: server.config.generation,
                    is_programmed: true,
                    quorum: Some(true),
                    sorry: false,
                    real_servers: BTreeMap::new(),
                    leaving: 0,
                    troubles: BTreeMap::new(),
                };
                (name, (report, BTreeSet::new()))
            })
            .collect();
        for (key, slot) in &self.slots {
            if let (Some((report, leaving)), Some(server)) = (
                reports.get_mut(&slot.server),
                self.servers.get(&slot.server),
            ) {
                report.sorry |= slot.sorry(&server.config).is_some();
                self.of_slot(slot, report, leaving);
                report.of_kernel(key, observed);
            }
        }
        let finish = |(mut report, leaving): (Report, BTreeSet<DestinationKey>)| {
            report.leaving = leaving.len();
            report
        };
        reports.into_values().map(finish).collect()
    }

    fn of_slot(&self, slot: &Slot, report: &mut Report, leaving: &mut BTreeSet<DestinationKey>) {
        report.quorum = match (report.quorum, slot.quorum) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, _) | (_, None) => None,
            (Some(true), Some(true)) => Some(true),
        };
        for (key, member) in &slot.members {
            if member.leaving.is_some() {
                leaving.insert(*key);
                continue;
            }
            let why = match member.health(&self.judgements) {
                Health::Up(_) => None,
                Health::Down(reason) => Some(reason),
                Health::Unjudged => match member.presumed {
                    vipkeeper_crds::server::InitialState::Up => None,
                    vipkeeper_crds::server::InitialState::Down => Some(UNJUDGED.into()),
                },
            };
            report.real_servers.insert(*key, why);
        }
    }
}

impl Report {
    fn of_kernel(&mut self, key: &ServiceKey, observed: &Observed) {
        let service = observed.services.get(key);
        self.is_programmed &= service.is_some_and(|s| s.is_programmed);
        let own = service.and_then(|s| s.trouble.as_ref());
        let of_real_server = || service.and_then(|s| s.destinations.values().next());
        let trouble = observed.trouble.as_ref().or(own).or_else(of_real_server);
        if let Some(trouble) = trouble {
            self.troubles.insert(*key, trouble.clone());
        }
    }
}
