//! The heartbeat of the node: when it leaves, what it says, and what of others' may be believed.
//!
//! Owns the sequence and what is known of each peer's. The sockets' owner has authenticated what arrives and signs
//! what leaves; no key ever gets here. What a peer's word means for a router is its `arbiter`'s to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::Family;
use vipkeeper_wire::heartbeat::{Authenticity, Heartbeat, MAX_ROWS, Row, State};

use crate::arbiter::Claim;
use crate::time::Time;

/// The shortest time between two heartbeats.
pub const SHORTEST_BEAT: Duration = Duration::from_millis(100);
/// A change of state is told early, but not sooner after the last heartbeat than this.
const EARLY: Duration = Duration::from_millis(20);

/// What the node tells the other candidates of its routers, and whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatPlan {
    /// This node: [`hash`](vipkeeper_wire::heartbeat::hash) of its name.
    pub node: u64,
    /// Greater after each start of the agent, so that what was said before it is told from what is said now.
    pub incarnation: u64,
    /// Between two heartbeats; [`SHORTEST_BEAT`] at least.
    pub interval: Duration,
    /// Whom it tells, and whom it listens to.
    pub peers: Vec<HeartbeatPeer>,
}

/// Another candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatPeer {
    /// [`hash`](vipkeeper_wire::heartbeat::hash) of its node's name.
    pub node: u64,
    /// Where it listens.
    pub address: IpAddr,
    /// The routers that it takes part in, as this node does.
    pub routers: Vec<HeartbeatRouter>,
}

/// A router that a peer takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRouter {
    /// [`hash`](vipkeeper_wire::heartbeat::hash) of its name.
    pub router: u64,
    /// Its family.
    pub family: Family,
    /// Whether the peer's address is on the link that the router runs on: what arrives from there shows that the link
    /// lets its frames through.
    pub on_link: bool,
}

/// A heartbeat to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// To this address.
    pub destination: IpAddr,
    /// What it says, to be signed.
    pub heartbeat: Heartbeat,
}

/// What is counted about heartbeats that are well-formed, and authenticated where there is a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatCounters {
    /// Sent, one for each datagram.
    pub sent: u64,
    /// Of peers.
    pub received: u64,
    /// With a sequence or an incarnation that was there already: copies, or datagrams that overtook each other.
    pub replayed: u64,
    /// Of nodes that are no peers of ours.
    pub unknown: u64,
    /// Not for this start of the agent: no evidence. A few come after each start.
    pub stale: u64,
}

/// The node's heartbeat.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beacon {
    plan: Option<Arc<HeartbeatPlan>>,
    due: Time,
    last: Time,
    sequence: u64,
    senders: BTreeMap<u64, Sender>,
    /// Which router's link a peer's address is on.
    on_link: BTreeSet<(IpAddr, u64, Family)>,
    pub(crate) counters: HeartbeatCounters,
}

/// What is known of a peer's heartbeats.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sender {
    incarnation: u64,
    sequence: u64,
}

impl Beacon {
    /// Beats as `plan` says from now on; what is known of peers that it does not name is forgotten.
    pub(crate) fn apply(&mut self, now: Time, plan: Option<&Arc<HeartbeatPlan>>) {
        if self.plan.as_ref() == plan {
            return;
        }
        self.plan = plan.cloned();
        self.due = now;
        let peers = plan.map_or(&[][..], |plan| &plan.peers);
        let links = peers.iter().flat_map(|peer| {
            let near = peer.routers.iter().filter(|router| router.on_link);
            near.map(|router| (peer.address, router.router, router.family))
        });
        self.on_link = links.collect();
        self.senders
            .retain(|node, _| peers.iter().any(|peer| peer.node == *node));
    }

    /// When the next heartbeat leaves.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let plan = self.plan.as_ref()?;
        (!plan.peers.is_empty()).then_some(self.due)
    }

    /// A router changed its state: the peers shall know soon.
    pub(crate) fn hurry(&mut self, now: Time) {
        self.due = self.due.min(now.max(self.last + EARLY));
    }

    /// The node is leaving: the peers shall know at once.
    pub(crate) fn say_farewell(&mut self, now: Time) {
        self.due = now;
    }

    /// The heartbeats that are due. `row` tells how a router is.
    pub(crate) fn beat(
        &mut self,
        now: Time,
        mut row: impl FnMut(u64, Family) -> Option<Row>,
        mut send: impl FnMut(Beat),
    ) {
        let Some(plan) = self.plan.clone().filter(|_| self.due <= now) else {
            return;
        };
        let interval = plan.interval.max(SHORTEST_BEAT);
        // On a grid, so that lateness does not add up, unless it is a whole interval.
        self.due = (self.due + interval).max(now + interval / 2);
        self.last = now;
        for peer in &plan.peers {
            let routers = peer.routers.iter();
            let rows: Vec<Row> = routers
                .filter_map(|router| row(router.router, router.family))
                .collect();
            let known = self.senders.get(&peer.node);
            let echo = known.map_or(0, |sender| sender.incarnation);
            // Nothing to say is said, too: the peer learns our incarnation.
            let parts = rows.chunks(MAX_ROWS).map(<[Row]>::to_vec);
            let nothing = rows.is_empty().then(Vec::new);
            for rows in parts.chain(nothing) {
                self.sequence += 1;
                self.counters.sent += 1;
                send(Beat {
                    destination: peer.address,
                    heartbeat: Heartbeat {
                        node: plan.node,
                        incarnation: plan.incarnation,
                        sequence: self.sequence,
                        echo,
                        interval_ms: u32::try_from(interval.as_millis()).unwrap_or(u32::MAX),
                        rows,
                    },
                });
            }
        }
    }

    /// Whether what comes from there comes by the link of that router.
    pub(crate) fn is_on_link(&self, from: IpAddr, router: u64, family: Family) -> bool {
        self.on_link.contains(&(from, router, family))
    }

    /// Whether a heartbeat may be listened to, and if so, whether it proves what it says.
    pub(crate) fn judge(
        &mut self,
        heartbeat: &Heartbeat,
        authenticity: Authenticity,
    ) -> Option<bool> {
        let plan = self.plan.as_ref()?;
        if plan.peers.iter().all(|peer| peer.node != heartbeat.node) {
            self.counters.unknown += 1;
            return None;
        }
        let said = (heartbeat.incarnation, heartbeat.sequence);
        let known = self.senders.get(&heartbeat.node);
        if known.is_some_and(|known| said <= (known.incarnation, known.sequence)) {
            self.counters.replayed += 1;
            return None;
        }
        self.counters.received += 1;
        let sender = Sender {
            incarnation: heartbeat.incarnation,
            sequence: heartbeat.sequence,
        };
        self.senders.insert(heartbeat.node, sender);
        match authenticity {
            Authenticity::Unproven => Some(false),
            // What was said before we started may be said again by anybody who has kept it.
            Authenticity::Proven if heartbeat.echo == plan.incarnation => Some(true),
            Authenticity::Proven => {
                self.counters.stale += 1;
                None
            }
        }
    }
}

/// What `row` of a heartbeat claims.
pub(crate) fn claim(
    heartbeat: &Heartbeat,
    row: &Row,
    from: IpAddr,
    arrival: Time,
    (proven, on_link): (bool, bool),
) -> Claim {
    Claim {
        node: heartbeat.node,
        from,
        source: row.source,
        mac: row.mac,
        priority: row.priority,
        active: match row.state {
            State::Active => true,
            State::Initialize | State::Backup => false,
        },
        interval: Duration::from_millis(row.interval_ms.into()),
        beat: Duration::from_millis(heartbeat.interval_ms.into())
            .clamp(SHORTEST_BEAT, LONGEST_BEAT),
        arrival,
        proven,
        on_link,
        spent: false,
    }
}

/// A peer that says that it speaks more rarely than this is taken to have fallen silent meanwhile.
const LONGEST_BEAT: Duration = Duration::from_secs(10);
