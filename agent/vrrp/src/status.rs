//! The election as an observer sees it: a snapshot with states, what was heard last, and counters.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::{Family, Vrid};

use crate::config::Ifindex;
use crate::counters::{NodeCounters, RouterCounters};
use crate::heartbeat::HeartbeatCounters;
use crate::output::{Evidence, Member, Reason, StateName};
use crate::time::Time;

/// The whole election at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Time,
    /// Every router instance, in the plan's order.
    pub routers: Vec<RouterStatus>,
    /// What is counted for the node as a whole.
    pub counters: NodeCounters,
    /// What is counted about heartbeats.
    pub heartbeat: HeartbeatCounters,
    /// Valid advertisements for VRIDs that nobody configured here.
    pub foreign: Vec<ForeignRouter>,
}

/// One router instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The VirtualRouter's name.
    pub name: Arc<str>,
    /// Its family.
    pub family: Family,
    /// Its VRID.
    pub vrid: Vrid,
    /// Where it runs.
    pub interface: Option<Ifindex>,
    /// Its state.
    pub state: StateName,
    /// Since when.
    pub since: Time,
    /// Why.
    pub reason: Reason,
    /// The member of its sync group that caused it, if the reason is `SyncGroup`.
    pub member: Option<Member>,
    /// As configured.
    pub priority: u8,
    /// As advertised, with weights.
    pub effective_priority: u8,
    /// Its effective priority is 1 because the node's operator wants others to have the addresses.
    pub drained: bool,
    /// What serves on while another router takes over.
    pub remainder: Option<Remainder>,
    /// The virtual addresses, in order.
    pub addresses: Vec<IpAddr>,
    /// Those of them that are put on an interface of their own, and which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<(IpAddr, Ifindex)>,
    /// Those the kernel confirmed, while Active.
    pub installed: usize,
    /// Those it refused, while Active.
    pub refused: Vec<IpAddr>,
    /// Those that are on the interface and not because of us, in any state; empty for the address owner.
    pub conflicts: Vec<IpAddr>,
    /// Active_Adver_Interval: learnt in Backup, our own otherwise.
    pub advertisement_interval: Duration,
    /// Active_Down_Interval of that.
    pub active_down_interval: Duration,
    /// Skew_Time of that.
    pub skew_time: Duration,
    /// Transitions into any state since the router was configured.
    pub transitions: u64,
    /// The same by kind, in the order in which kinds first happened.
    pub transitions_by_kind: Vec<Transitions>,
    /// The last acceptable advertisement.
    pub last_advertisement: Option<LastAdvertisement>,
    /// What should not be, since when; at most one of each kind.
    pub evidence: Vec<Standing>,
    /// Its counters.
    pub counters: RouterCounters,
}

/// Transitions of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transitions {
    /// From.
    pub from: StateName,
    /// To.
    pub to: StateName,
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
}

/// Evidence that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Of what.
    pub evidence: Evidence,
    /// Since when.
    pub since: Time,
}

/// What is left of an Active that let go, until its successor has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remainder {
    /// Its addresses are on the interface and serve, in silence.
    LameDuck,
    /// Its addresses are on the loopback interface and serve those who have not heard of the successor.
    Parked,
}

/// The last acceptable advertisement of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAdvertisement {
    /// Its sender.
    pub from: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// When it arrived.
    pub at: Time,
}

/// Somebody else's virtual router on one of our links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignRouter {
    /// Where it was heard.
    pub interface: Ifindex,
    /// Its family.
    pub family: Family,
    /// Its VRID.
    pub vrid: Vrid,
    /// Its sender.
    pub source: IpAddr,
    /// A hash of its address list, equal for equal lists in any order.
    pub addresses_hash: u64,
    /// When it was heard last, to the second.
    pub last_heard: Time,
}
