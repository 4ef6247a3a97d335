//! What should not be, and the heartbeat, as `/state` shows them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vipkeeper_vrrp::{Evidence, HeartbeatCounters};

use crate::election::Vitals;
use crate::supply::ServedHeartbeat;
use crate::telling::refusal_name;

/// Evidence of something that should not be, as far as a router instance sees it (DESIGN §5, conditions).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `SplitBrain`, `AddressConflict` or `PeerRejected`; `PromotionHeld` or `ClaimHeld` while that is what is done
    /// about it.
    pub condition: String,
    /// Since when: RFC 3339.
    pub since: String,
    /// Where the other router advertises from, or its heartbeat comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The address that somebody else uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Where that somebody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// What tells, or why advertisements are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Whether the other proved to have the installation's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<bool>,
}

impl Problem {
    /// `evidence`, which stands since the moment `since`.
    #[must_use]
    pub fn new(evidence: &Evidence, since: String) -> Self {
        let mut problem = Self {
            condition: evidence.as_str().to_owned(),
            since,
            peer: None,
            address: None,
            mac: None,
            cause: None,
            authenticated: None,
        };
        match evidence {
            Evidence::SplitBrain {
                peer,
                cause,
                proven,
            } => {
                problem.peer = Some(*peer);
                problem.cause = Some(cause.as_str().to_owned());
                problem.authenticated = Some(*proven);
            }
            Evidence::AddressConflict { address, mac } | Evidence::ClaimHeld { address, mac } => {
                problem.address = Some(*address);
                problem.mac = Some(mac.to_string());
            }
            Evidence::PeerRejected { source, reason } => {
                problem.peer = Some(*source);
                problem.cause = Some(refusal_name(*reason).to_owned());
            }
            Evidence::PromotionHeld { peer } => problem.peer = Some(*peer),
        }
        problem
    }
}

/// The heartbeat between candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Other nodes that it goes to.
    pub peers: usize,
    /// Whether it is signed, and must be: without, it only reports.
    pub authenticated: bool,
    /// Why it is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Of well-formed ones, authenticated where there is a key.
    #[serde(flatten)]
    pub counters: HeartbeatCounters,
    /// Malformed, or not authenticated by our key.
    pub refused: u64,
    /// Could not be sent.
    pub send_failures: u64,
}

impl Heartbeat {
    /// As it is served; the counters of the election come with its snapshot.
    #[must_use]
    pub fn of(served: &ServedHeartbeat, vitals: &Vitals) -> Self {
        let read = |counter: &std::sync::atomic::AtomicU64| {
            counter.load(std::sync::atomic::Ordering::Relaxed)
        };
        Self {
            peers: served.peers,
            authenticated: served.authenticated,
            trouble: served.trouble.clone(),
            counters: HeartbeatCounters::default(),
            refused: read(&vitals.beats_refused),
            send_failures: read(&vitals.beat_failures),
        }
    }
}
