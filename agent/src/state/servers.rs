//! Virtual servers in `/state`: what the director wants of each, and what the kernel has and counts.

use serde::{Deserialize, Serialize};
use vipkeeper_ipvs::{DestinationKey, ServiceKey, Statistics};

use crate::services::settings::Importance;
use crate::services::{
    Counts, MemberStanding, Observed, PresentDestination, PresentService, Report, ServiceReport,
    Standing, Trouble,
};

/// How the kernel follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ipvs {
    /// Why the kernel could not be asked, the last time that it was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What is wrong with our table of nftables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall_trouble: Option<String>,
    /// Settings that are not as they should be, each with the command that sets it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<Lack>,
    /// Services that somebody else has in the kernel.
    pub others: usize,
    /// Times that the kernel was read whole.
    pub passes: u64,
    /// Messages that it was told.
    pub operations: u64,
    /// Those of them that put back what somebody had removed or changed.
    pub repairs: u64,
    /// Those that it refused.
    pub refusals: u64,
    /// Times that it could not be asked, or the ledger not be written.
    pub failures: u64,
}

/// A setting of the node that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lack {
    /// Its name for sysctl(8).
    pub setting: String,
    /// The command that sets it.
    pub command: String,
    /// Whether virtual servers do not work without it; otherwise they work worse.
    pub needed: bool,
}

impl Ipvs {
    /// What the services thread tells of the kernel.
    #[must_use]
    pub fn of(observed: &Observed) -> Self {
        let Counts {
            passes,
            operations,
            repairs,
            refusals,
            failures,
        } = observed.counts;
        let lacks = observed.lacks.iter().map(|lack| Lack {
            setting: lack.setting.to_string(),
            command: lack.command(),
            needed: match lack.importance {
                Importance::Needed => true,
                Importance::Advised => false,
            },
        });
        Self {
            trouble: observed.trouble.as_ref().map(Trouble::to_string),
            firewall_trouble: observed.firewall.trouble.as_ref().map(Trouble::to_string),
            lacks: lacks.collect(),
            others: observed.others,
            passes,
            operations,
            repairs,
            refusals,
            failures,
        }
    }
}

/// A virtual server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The VirtualRouter whose addresses it serves.
    pub router: String,
    /// The generation of the object.
    pub generation: i64,
    /// Whether the kernel has what it should have.
    pub programmed: bool,
    /// Whether every listener has enough healthy real servers; absent while that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<bool>,
    /// Whether a sorry server serves on any listener.
    pub sorry: bool,
    /// How many real servers are healthy.
    pub healthy: usize,
    /// How many there are without those that leave.
    pub total: usize,
    /// Its listeners.
    pub services: Vec<Service>,
}

/// A listener: a service of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// `TCP 192.0.2.1:80`, `FWM 7 IPv4`.
    pub service: String,
    /// As the kernel has it; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Whether the kernel has what it should have.
    pub programmed: bool,
    /// What is against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Whether enough real servers are healthy; absent while that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<bool>,
    /// Since it was made.
    pub counters: Traffic,
    /// Its real servers, the sorry server among them while it serves.
    pub real_servers: Vec<RealServer>,
}

/// A real server of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RealServer {
    /// Address and port.
    pub address: String,
    /// Whether it is the sorry server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sorry: bool,
    /// Whether it is healthy; nobody asks the sorry server.
    pub healthy: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it leaves: it keeps its connections and gets no new ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// Its weight in the kernel; absent while the kernel does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// What is against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Established connections.
    pub active_connections: u32,
    /// Other connections.
    pub inactive_connections: u32,
    /// Since it was added.
    pub counters: Traffic,
}

/// What the kernel counts. Answers are counted with NAT and FullNAT alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Connections that were scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub incoming_packets: u64,
    /// Packets to clients.
    pub outgoing_packets: u64,
    /// Bytes from clients.
    pub incoming_bytes: u64,
    /// Bytes to clients.
    pub outgoing_bytes: u64,
}

impl Server {
    /// A server as the director reports it, with what the kernel was observed to have.
    #[must_use]
    pub fn new(report: &Report, observed: &Observed) -> Self {
        let real_servers = report.real_servers();
        let services: Vec<Service> = report
            .services
            .iter()
            .map(|(key, standing)| Service::new(key, standing, observed))
            .collect();
        Self {
            namespace: report.server.namespace.clone(),
            name: report.server.name.clone(),
            router: report.router.to_string(),
            generation: report.generation,
            programmed: report.is_programmed(observed),
            quorum: report.quorum(),
            sorry: report.sorry(),
            healthy: real_servers.values().filter(|r| r.is_none()).count(),
            total: real_servers.len(),
            services,
        }
    }
}

impl Service {
    fn new(key: &ServiceKey, standing: &Standing, observed: &Observed) -> Self {
        let kernel = observed.services.get(key);
        let present = kernel.and_then(|k| k.present.as_ref());
        let own = kernel.and_then(|k| k.trouble.as_ref());
        let members = standing.members.iter();
        let mut real_servers: Vec<RealServer> = members
            .map(|(at, member)| RealServer::new(*at, member, kernel))
            .collect();
        if let Some(at) = standing.sorry {
            let sorry = MemberStanding {
                why_not: None,
                is_leaving: false,
            };
            real_servers.push(RealServer {
                sorry: true,
                ..RealServer::new(at, &sorry, kernel)
            });
        }
        Self {
            service: key.to_string(),
            scheduler: present.map(|p| p.service.scheduler.to_string()),
            programmed: standing.is_programmed(key, observed),
            trouble: observed.trouble.as_ref().or(own).map(Trouble::to_string),
            quorum: standing.quorum,
            counters: present.map_or_else(Traffic::default, Traffic::of_service),
            real_servers,
        }
    }
}

impl RealServer {
    fn new(at: DestinationKey, member: &MemberStanding, kernel: Option<&ServiceReport>) -> Self {
        let present = kernel.and_then(|k| k.present.as_ref()?.destinations.get(&at));
        let trouble = kernel.and_then(|k| k.destinations.get(&at));
        let counters = present.map(|p| p.counters).unwrap_or_default();
        Self {
            address: at.to_string(),
            sorry: false,
            healthy: member.why_not.is_none(),
            reason: member.why_not.as_deref().map(str::to_owned),
            leaving: member.is_leaving,
            weight: present.map(|p| p.destination.weight),
            trouble: trouble.map(Trouble::to_string),
            active_connections: counters.active,
            inactive_connections: counters.inactive,
            counters: present.map_or_else(Traffic::default, Traffic::of_real_server),
        }
    }
}

impl Traffic {
    fn of_service(service: &PresentService) -> Self {
        Self::new(&service.statistics)
    }

    fn of_real_server(real_server: &PresentDestination) -> Self {
        Self::new(&real_server.statistics)
    }

    fn new(statistics: &Statistics) -> Self {
        Self {
            connections: statistics.connections,
            incoming_packets: statistics.incoming_packets,
            outgoing_packets: statistics.outgoing_packets,
            incoming_bytes: statistics.incoming_bytes,
            outgoing_bytes: statistics.outgoing_bytes,
        }
    }
}
