//! What is said of each virtual server: for status, metrics and `/state`. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use vipkeeper_crds::node_server::ServerName;
use vipkeeper_ipvs::{DestinationKey, ServiceKey};

use super::member::{Health, Member};
use super::{Model, Slot};
use crate::services::Observed;
use crate::services::settings::Setting;

/// What is said of a real server that nobody has judged.
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
    /// Its listeners, a service of the kernel each.
    pub services: BTreeMap<ServiceKey, Standing>,
}

/// How a listener stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether enough real servers are healthy; `None` while that cannot be told.
    pub quorum: Option<bool>,
    /// Where the sorry server is, while it serves.
    pub sorry: Option<DestinationKey>,
    /// Whether the source of packets is changed, for which it takes our table of nftables.
    pub masquerades: bool,
    /// The real servers.
    pub members: BTreeMap<DestinationKey, MemberStanding>,
}

/// How a real server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStanding {
    /// Why it is not healthy; `None` if it is.
    pub why_not: Option<Arc<str>>,
    /// Whether it leaves.
    pub is_leaving: bool,
}

impl Report {
    /// Whether every listener has a quorum; `None` while that cannot be told.
    #[must_use]
    pub fn quorum(&self) -> Option<bool> {
        let mut all = self.services.values().map(|s| s.quorum);
        if all.clone().any(|q| q == Some(false)) {
            return Some(false);
        }
        all.all(|q| q.is_some()).then_some(true)
    }

    /// Whether a sorry server serves on any listener.
    #[must_use]
    pub fn sorry(&self) -> bool {
        self.services.values().any(|s| s.sorry.is_some())
    }

    /// Whether the kernel, as it was `observed`, has everything that the server needs.
    #[must_use]
    pub fn is_programmed(&self, observed: &Observed) -> bool {
        let mut all = self.services.iter();
        all.all(|(key, standing)| standing.is_programmed(key, observed))
    }

    /// Whether it takes our table of nftables on any listener.
    #[must_use]
    pub fn masquerades(&self) -> bool {
        self.services.values().any(|s| s.masquerades)
    }

    /// The real servers that do not leave, each once, with why one is not healthy.
    #[must_use]
    pub fn real_servers(&self) -> BTreeMap<DestinationKey, Option<Arc<str>>> {
        let members = self.services.values().flat_map(|s| &s.members);
        let present = members.filter(|(_, m)| !m.is_leaving);
        present.map(|(key, m)| (*key, m.why_not.clone())).collect()
    }
}

impl Standing {
    /// Whether the kernel, as it was `observed`, has everything that the listener, its service `key`, needs.
    #[must_use]
    pub fn is_programmed(&self, key: &ServiceKey, observed: &Observed) -> bool {
        let service = observed.services.get(key);
        // Connections that are not tracked keep the client's address as source, whatever our rules say.
        let is_untracked = || {
            let mut lacks = observed.lacks.iter();
            lacks.any(|lack| lack.setting == Setting::Conntrack)
        };
        let sources = !self.masquerades || (observed.firewall.is_programmed && !is_untracked());
        sources && service.is_some_and(|s| s.is_programmed)
    }
}

impl Model {
    /// What is said of every server, by namespace and name.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let mut services: BTreeMap<&ServerName, BTreeMap<ServiceKey, Standing>> = BTreeMap::new();
        for (key, slot) in &self.slots {
            let own = services.entry(&slot.server).or_default();
            own.insert(*key, self.standing(slot));
        }
        let report = |(name, server): (&ServerName, &super::Server)| Report {
            server: name.clone(),
            router: Arc::clone(&server.router),
            generation: server.config.generation,
            services: services.remove(name).unwrap_or_default(),
        };
        self.servers.iter().map(report).collect()
    }

    fn standing(&self, slot: &Slot) -> Standing {
        let members = slot.members.iter();
        let members = members.map(|(key, member)| (*key, self.member(member)));
        let config = self.servers.get(&slot.server).map(|s| &s.config);
        let masquerades = config.is_some_and(|config| slot.masquerades(config));
        let sorry = config.and_then(|config| {
            let sorry = slot.sorry(config)?;
            Some(super::slot::sorry_destination(&slot.listener, config, sorry).key)
        });
        Standing {
            quorum: slot.quorum,
            sorry,
            masquerades,
            members: members.collect(),
        }
    }

    fn member(&self, member: &Member) -> MemberStanding {
        let why_not = match member.health(&self.judgements) {
            Health::Up(_) => None,
            Health::Down(reason) => Some(reason),
            Health::Unjudged => Some(UNJUDGED.into()),
        };
        MemberStanding {
            why_not,
            is_leaving: member.leaving.is_some(),
        }
    }
}
