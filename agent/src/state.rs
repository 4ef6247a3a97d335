//! `/state`: the election as people and programs see it, as JSON.
//!
//! Pure: a snapshot with names in the place of numbers. Field names are a contract (DESIGN, §7).

mod conflicts;
mod evidence;
mod servers;

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_vrrp::{
    Ifindex, Member, NodeCounters, Remainder, RouterCounters, RouterStatus, Snapshot, Time,
};
use vipkeeper_wire::Family;

pub use self::evidence::{Heartbeat, Problem};
pub use self::servers::{Ipvs, Lack, RealServer, Server, Service, Traffic};
use crate::election::{Lateness, Vitals};
use crate::inventory::Inventory;
use crate::network;

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// `--node`.
    pub node: String,
    /// `--instance`.
    pub instance: String,
    /// Whether a verified configuration is served.
    pub ready: bool,
    /// The generation of the configuration that is served.
    pub generation: Option<u64>,
    /// The router instances, in the configuration's order.
    pub routers: Vec<Router>,
    /// Virtual servers, by namespace and name.
    pub servers: Vec<Server>,
    /// How the kernel follows them.
    pub ipvs: Ipvs,
    /// What is counted for the node as a whole.
    pub counters: NodeCounters,
    /// The heartbeat between candidates.
    pub heartbeat: Heartbeat,
    /// Virtual routers of others on our links.
    pub foreign: Vec<Foreign>,
    /// How the election is scheduled.
    pub realtime: Realtime,
    /// How late the election serves its timers.
    pub lateness: Lateness,
    /// The sockets and the network thread.
    pub health: Health,
    /// What the configuration's check found, and what its routers miss on this machine.
    pub findings: Vec<Finding>,
}

/// A router instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Router {
    /// The VirtualRouter's name.
    pub name: String,
    /// Its family.
    pub family: Family,
    /// RFC 9568 §6.4.
    pub state: String,
    /// The VRID.
    pub virtual_router_id: u8,
    /// Where it runs.
    pub interface: Option<String>,
    /// As configured.
    pub priority: u8,
    /// As advertised.
    pub effective_priority: u8,
    /// Its effective priority is 1 because `drain` or `failover` asked for it.
    pub drained: bool,
    /// `LameDuck` or `Parked`: its addresses serve on while another router takes over.
    pub remainder: Option<String>,
    /// The virtual addresses, in order.
    pub addresses: Vec<IpAddr>,
    /// How many of them the kernel confirmed.
    pub installed: usize,
    /// Those it refused.
    pub refused: Vec<IpAddr>,
    /// Those that are on the interface and not because of us: untouched, and not contended for.
    pub conflicts: Vec<IpAddr>,
    /// Since when it is in its state: RFC 3339.
    pub since: String,
    /// Why.
    pub last_reason: String,
    /// With the reason `SyncGroup`: the member of its group that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Member>,
    /// Since it was configured.
    pub transitions: u64,
    /// The same by from, to and reason.
    pub transitions_by_kind: Vec<Transitions>,
    /// Active_Adver_Interval.
    pub advertisement_interval_ms: f64,
    /// Active_Down_Interval.
    pub active_down_interval_ms: f64,
    /// Skew_Time.
    pub skew_time_ms: f64,
    /// The last acceptable one.
    pub last_advertisement: Option<Advertisement>,
    /// What should not be, as far as it sees.
    pub evidence: Vec<Problem>,
    /// Under the names of RFC 8347 where it has one.
    pub counters: RouterCounters,
}

/// Transitions of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transitions {
    /// From.
    pub from: String,
    /// To.
    pub to: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}

impl Transitions {
    fn new(kind: &vipkeeper_vrrp::Transitions) -> Self {
        Self {
            from: kind.from.as_str().to_owned(),
            to: kind.to.as_str().to_owned(),
            reason: kind.reason.as_str().to_owned(),
            count: kind.count,
        }
    }
}

/// An advertisement that was heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Advertisement {
    /// Its sender.
    pub from: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// How long ago it arrived.
    pub age_ms: u64,
}

/// Somebody else's virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Foreign {
    /// Where it was heard.
    pub interface: String,
    /// Its family.
    pub family: Family,
    /// The VRID.
    pub virtual_router_id: u8,
    /// Its sender.
    pub source: IpAddr,
    /// Equal for equal address lists, in hexadecimal.
    pub addresses_hash: String,
    /// How long ago it was heard.
    pub age_ms: u64,
}

/// How the election is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Realtime {
    /// `SCHED_FIFO`, or `SCHED_OTHER` where that was not allowed.
    pub scheduling: String,
    /// Whether its memory stays.
    pub memory_locked: bool,
    /// Why one of both is not as wished.
    pub reason: Option<String>,
}

/// The sockets and the network thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The election ticked within three seconds.
    pub alive: bool,
    /// Datagrams read.
    pub received: u64,
    /// Reads that failed.
    pub receive_failures: u64,
    /// Advertisements that the kernel refused to send.
    pub advertise_failures: u64,
    /// Announcements that the kernel refused to send.
    pub announce_failures: u64,
    /// Events lost to a full ring.
    pub events_dropped: u64,
    /// Addresses held.
    pub addresses_held: usize,
    /// Rows of the ledger: addresses that may be on an interface because of us, and settings that we changed.
    pub ledger_rows: usize,
    /// Notices lost to a full channel.
    pub notices_dropped: u64,
    /// Addresses that somebody took off and that were put back.
    pub addresses_restored: u64,
    /// Times that the kernel's events came too fast and everything was listed anew.
    #[serde(default)]
    pub event_overruns: u64,
    /// Addresses that could not be installed.
    pub addresses_refused: u64,
    /// Orders that failed as a whole.
    pub install_failures: u64,
    /// Renewals that failed.
    pub renewal_failures: u64,
}

impl Health {
    /// As both threads say.
    #[must_use]
    pub fn of(election: &Vitals, network: &network::Vitals) -> Self {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            alive: election.is_alive(),
            received: read(&election.received),
            receive_failures: read(&election.receive_failures),
            advertise_failures: read(&election.advertise_failures),
            announce_failures: read(&election.announce_failures),
            events_dropped: read(&election.events_dropped),
            addresses_held: network.held.load(Ordering::Relaxed),
            ledger_rows: network.ledger_rows.load(Ordering::Relaxed),
            notices_dropped: read(&network.notices_dropped),
            addresses_restored: read(&network.restored),
            event_overruns: read(&network.overruns),
            addresses_refused: read(&network.refused),
            install_failures: read(&network.install_failures),
            renewal_failures: read(&network.renewal_failures),
        }
    }
}

/// Something to know about the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// Where: a file with its line, or a router.
    pub place: String,
    /// What, and the way out.
    pub message: String,
}

/// What of a [`State`] is not in the snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// `--node`.
    pub node: String,
    /// `--instance`.
    pub instance: String,
    /// The generation that is served.
    pub generation: Option<u64>,
    /// How the election is scheduled.
    pub realtime: Realtime,
    /// How late it is.
    pub lateness: Lateness,
    /// Sockets and network thread.
    pub health: Health,
    /// The heartbeat between candidates, but for what the election counts.
    pub heartbeat: Heartbeat,
    /// The virtual servers.
    pub servers: Vec<Server>,
    /// How the kernel follows them.
    pub ipvs: Ipvs,
    /// What there is to know about the configuration.
    pub findings: Vec<Finding>,
}

impl State {
    /// The state at the moment of `snapshot`, when the wall clock said `wall` since the epoch.
    #[must_use]
    pub fn new(
        snapshot: &Snapshot,
        inventory: &Inventory,
        wall: Duration,
        surroundings: Surroundings,
    ) -> Self {
        let Surroundings {
            node,
            instance,
            generation,
            realtime,
            lateness,
            health,
            heartbeat,
            servers,
            ipvs,
            mut findings,
        } = surroundings;
        let at = snapshot.at;
        let name = |index: Ifindex| inventory.name_of(index);
        findings.extend(
            snapshot
                .routers
                .iter()
                .flat_map(|router| conflicts::findings(router, name)),
        );
        Self {
            node,
            instance,
            ready: generation.is_some(),
            generation,
            routers: snapshot
                .routers
                .iter()
                .map(|router| Router::new(router, router.interface.map(name), at, wall))
                .collect(),
            servers,
            ipvs,
            counters: snapshot.counters,
            heartbeat: Heartbeat {
                counters: snapshot.heartbeat,
                ..heartbeat
            },
            foreign: snapshot
                .foreign
                .iter()
                .map(|foreign| Foreign {
                    interface: name(foreign.interface),
                    family: foreign.family,
                    virtual_router_id: foreign.vrid.get(),
                    source: foreign.source,
                    addresses_hash: format!("{:016x}", foreign.addresses_hash),
                    age_ms: millis(at.since(foreign.last_heard)),
                })
                .collect(),
            realtime,
            lateness,
            health,
            findings,
        }
    }
}

impl Router {
    fn new(status: &RouterStatus, interface: Option<String>, at: Time, wall: Duration) -> Self {
        let fractional = |span: Duration| span.as_secs_f64() * 1_000.0;
        Self {
            name: status.name.to_string(),
            family: status.family,
            state: status.state.as_str().to_owned(),
            virtual_router_id: status.vrid.get(),
            interface,
            priority: status.priority,
            effective_priority: status.effective_priority,
            drained: status.drained,
            remainder: status.remainder.map(remainder),
            addresses: status.addresses.clone(),
            installed: status.installed,
            refused: status.refused.clone(),
            conflicts: status.conflicts.clone(),
            since: rfc3339(wall.saturating_sub(at.since(status.since))),
            last_reason: status.reason.as_str().to_owned(),
            member: status.member.clone(),
            transitions: status.transitions,
            transitions_by_kind: status
                .transitions_by_kind
                .iter()
                .map(Transitions::new)
                .collect(),
            advertisement_interval_ms: fractional(status.advertisement_interval),
            active_down_interval_ms: fractional(status.active_down_interval),
            skew_time_ms: fractional(status.skew_time),
            last_advertisement: status.last_advertisement.map(|heard| Advertisement {
                from: heard.from,
                priority: heard.priority,
                age_ms: millis(at.since(heard.at)),
            }),
            evidence: status
                .evidence
                .iter()
                .map(|standing| {
                    let since = wall.saturating_sub(at.since(standing.since));
                    Problem::new(&standing.evidence, rfc3339(since))
                })
                .collect(),
            counters: status.counters,
        }
    }
}

fn remainder(remainder: Remainder) -> String {
    let word = match remainder {
        Remainder::LameDuck => "LameDuck",
        Remainder::Parked => "Parked",
    };
    word.to_owned()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A moment since the epoch in UTC, with milliseconds.
fn rfc3339(moment: Duration) -> String {
    let millis = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
    k8s_openapi::jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| String::new(), |stamp| format!("{stamp:.3}"))
}

#[cfg(test)]
pub(crate) mod tests;
