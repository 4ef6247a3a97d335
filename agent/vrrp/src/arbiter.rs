//! What one router instance knows of others besides their advertisements, and what may follow from it.
//!
//! Owns the claims of heartbeats, what neighbours said about our addresses, and how long a promotion has been held
//! back. Decides nothing alone: `router/evidence` asks and acts. What it keeps is bounded, and it knows no clock.
//!
//! Only positive evidence counts. A heartbeat proves something if its sender proved to have the installation key,
//! if it says Active, and if it arrived later than the last advertisement and two intervals: before that, silence
//! proves nothing. What is not there, or old, or unproven never delays anybody.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::MacAddr;

use crate::output::{Evidence, SplitCause};
use crate::receive::Refusal;
use crate::status::Standing;
use crate::time::Time;

/// The most nodes whose claims are kept, and the most senders whose advertisements are remembered. Beyond it, who was
/// heard longest ago is forgotten: that only takes evidence away.
const MOST_PEERS: usize = 16;
/// A heartbeat that is not followed by another within so many of its intervals says nothing any more.
const FRESH_BEATS: u32 = 3;
/// The longest that evidence holds a promotion back.
const LONGEST_HOLD: Duration = Duration::from_secs(5);
/// Between two defences of one address (RFC 5227 §1.1, DEFEND_INTERVAL).
pub(crate) const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// How long a claim of a neighbour, or a refused peer, is told of after it was seen last.
pub(crate) const AFTERGLOW: Duration = Duration::from_secs(60);

/// What a router instance knows of others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arbiter {
    claims: Vec<Claim>,
    senders: Vec<Sender>,
    pub(crate) hold: Option<Hold>,
    /// The node whose heartbeats stand for its advertisements, since they made us yield.
    pub(crate) following: Option<u64>,
    duel: Option<Duel>,
    pub(crate) split: Option<Noted>,
    pub(crate) conflict: Option<Noted>,
    pub(crate) rejected: Option<Noted>,
    defended: Vec<(IpAddr, Time)>,
    pub(crate) first_claim: FirstClaim,
    /// Silence up to here proves nothing: we did not listen.
    pub(crate) deaf_until: Time,
}

/// What the last heartbeat of a node said about this router there.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    /// Who says so.
    pub(crate) node: u64,
    /// From where.
    pub(crate) from: IpAddr,
    /// The source of its advertisements.
    pub(crate) source: Option<IpAddr>,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) priority: u8,
    pub(crate) active: bool,
    /// Of its advertisements.
    pub(crate) interval: Duration,
    /// Of its heartbeats.
    pub(crate) beat: Duration,
    pub(crate) arrival: Time,
    /// It has our key.
    pub(crate) proven: bool,
    /// It came by the link that the advertisements would come by: the link lets its sender's frames through.
    pub(crate) on_link: bool,
    /// A hold that this claim caused went on for as long as it may: what it says has had its effect.
    pub(crate) spent: bool,
}

impl Claim {
    /// When it says nothing any more.
    pub(crate) fn stale_at(&self) -> Time {
        self.arrival + self.beat.saturating_mul(FRESH_BEATS)
    }
}

/// Whose advertisements were heard.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sender {
    source: IpAddr,
    mac: Option<MacAddr>,
    at: Time,
}

/// Why a promotion that is due does not happen yet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Hold {
    /// A peer says that it is Active.
    Peer {
        peer: IpAddr,
        since: Time,
        until: Time,
        /// When what it says is too old.
        stale_at: Time,
    },
    /// A stranger has an address that nobody here ever held.
    Stranger {
        address: IpAddr,
        mac: MacAddr,
        since: Time,
        retry_at: Time,
    },
    /// It was asked again whether it still does.
    Asking {
        address: IpAddr,
        mac: MacAddr,
        since: Time,
        until: Time,
    },
}

impl Hold {
    fn deadline(&self) -> Time {
        match *self {
            Self::Peer {
                until, stale_at, ..
            } => until.min(stale_at),
            Self::Stranger { retry_at, .. } => retry_at,
            Self::Asking { until, .. } => until,
        }
    }

    fn standing(&self) -> Standing {
        match *self {
            Self::Peer { peer, since, .. } => Standing {
                evidence: Evidence::PromotionHeld { peer },
                since,
            },
            Self::Stranger {
                address,
                mac,
                since,
                ..
            }
            | Self::Asking {
                address,
                mac,
                since,
                ..
            } => Standing {
                evidence: Evidence::ClaimHeld { address, mac },
                since,
            },
        }
    }
}

/// Whether anybody ever held the addresses, as far as this instance knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum FirstClaim {
    /// It has not begun to listen.
    #[default]
    Ahead,
    /// It listens for the first time and asks whether the addresses are free.
    Asking {
        /// When it asks again; `None` when it has asked enough.
        again_at: Option<Time>,
        /// Who answered.
        stranger: Option<(IpAddr, MacAddr)>,
        /// How often a stranger has kept it from its claim.
        refusals: u32,
    },
    /// Somebody was heard, or it has been Active: a failover never asks.
    Made,
}

/// Two routers that advertise at each other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Duel {
    source: IpAddr,
    since: Time,
    last: Time,
}

/// Something to tell, until it has not been seen for long enough.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noted {
    pub(crate) evidence: Evidence,
    pub(crate) since: Time,
    pub(crate) expires: Time,
}

impl Arbiter {
    /// Keeps the newest claim of a node. One that was spent stays so for as long as it says the same.
    pub(crate) fn note_claim(&mut self, mut claim: Claim) -> Claim {
        if let Some(known) = self.claims.iter_mut().find(|c| c.node == claim.node) {
            claim.spent = known.spent && claim.active;
            *known = claim;
            return claim;
        }
        if self.claims.len() >= MOST_PEERS {
            forget_oldest(&mut self.claims, |c| c.arrival);
        }
        self.claims.push(claim);
        claim
    }

    /// An advertisement was heard: its sender needs nobody to speak for it.
    pub(crate) fn note_advertisement(
        &mut self,
        source: IpAddr,
        mac: Option<MacAddr>,
        arrival: Time,
    ) {
        for claim in &mut self.claims {
            claim.spent &= claim.source != Some(source);
        }
        let sender = Sender {
            source,
            mac,
            at: arrival,
        };
        if let Some(known) = self.senders.iter_mut().find(|s| s.source == source) {
            *known = sender;
            return;
        }
        if self.senders.len() >= MOST_PEERS {
            forget_oldest(&mut self.senders, |s| s.at);
        }
        self.senders.push(sender);
    }

    /// When an advertisement of `source` was heard last.
    pub(crate) fn heard_from(&self, source: IpAddr) -> Option<Time> {
        let heard = self.senders.iter().find(|s| s.source == source)?;
        Some(heard.at)
    }

    /// The peer whose interface has `mac`: by its heartbeat or its advertisements.
    pub(crate) fn peer_with(&self, mac: MacAddr) -> Option<IpAddr> {
        let claim = self.claims.iter().find(|c| c.mac == Some(mac));
        let sender = self.senders.iter().find(|s| s.mac == Some(mac));
        claim
            .map(|c| c.source.unwrap_or(c.from))
            .or_else(|| sender.map(|s| s.source))
    }

    /// The freshest proof that another is Active, if one arrived after `threshold` and is not too old.
    pub(crate) fn proof_of_active(&self, now: Time, threshold: Time) -> Option<&Claim> {
        let proofs = self
            .claims
            .iter()
            .filter(|c| c.proven && c.active && c.arrival > threshold && now < c.stale_at());
        proofs.max_by_key(|c| c.stale_at())
    }

    /// What is claimed has been respected for as long as it may be.
    pub(crate) fn spend(&mut self) {
        for claim in &mut self.claims {
            claim.spent |= claim.active;
        }
    }

    /// How long evidence may hold a promotion back.
    pub(crate) fn longest_hold(active_down_interval: Duration) -> Duration {
        active_down_interval.saturating_mul(2).min(LONGEST_HOLD)
    }

    /// We are Active and heard a lower Active. `true` if that goes on for longer than the protocol needs to end it.
    pub(crate) fn is_lasting_duel(
        &mut self,
        source: IpAddr,
        arrival: Time,
        interval: Duration,
    ) -> bool {
        let within = interval.saturating_mul(3);
        let running = self
            .duel
            .filter(|d| d.source == source && arrival.since(d.last) <= within);
        let since = running.map_or(arrival, |duel| duel.since);
        self.duel = Some(Duel {
            source,
            since,
            last: arrival,
        });
        arrival.since(since) > within
    }

    /// Whether `address` may be defended now; if so, not again for a while.
    pub(crate) fn may_defend(&mut self, address: IpAddr, now: Time) -> bool {
        self.defended
            .retain(|(_, at)| now.since(*at) < DEFEND_INTERVAL);
        let may = self.defended.iter().all(|(known, _)| *known != address);
        if may {
            self.defended.push((address, now));
        }
        may
    }

    /// When a held promotion is looked at again.
    pub(crate) fn hold_ends(&self) -> Option<Time> {
        self.hold.as_ref().map(Hold::deadline)
    }

    /// When it has something to do of its own: to forget, or to ask again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let again = match self.first_claim {
            FirstClaim::Asking { again_at, .. } => again_at,
            FirstClaim::Ahead | FirstClaim::Made => None,
        };
        let noted = [&self.split, &self.conflict];
        let expiries = noted.into_iter().flatten().map(|noted| noted.expires);
        expiries.chain(again).min()
    }

    /// The router enters another state: what was noted in the last one is over. What others claim stays known.
    pub(crate) fn enter(&mut self) {
        self.hold = None;
        self.following = None;
        self.duel = None;
        self.conflict = None;
        self.rejected = None;
        self.defended.clear();
    }

    /// A refused peer. Moves no timer: it is forgotten when somebody looks.
    pub(crate) fn note_rejected(&mut self, source: IpAddr, reason: Refusal, now: Time) {
        let known = self.rejected.filter(|noted| now < noted.expires);
        self.rejected = Some(Noted {
            evidence: Evidence::PeerRejected { source, reason },
            since: known.map_or(now, |noted| noted.since),
            expires: now + AFTERGLOW,
        });
    }

    /// What there is to tell at `now`.
    pub(crate) fn standing(&self, now: Time) -> Vec<Standing> {
        let noted = [&self.split, &self.conflict, &self.rejected];
        let noted = noted.into_iter().flatten();
        let noted = noted.filter(|noted| now < noted.expires);
        let noted = noted.map(|noted| Standing {
            evidence: noted.evidence,
            since: noted.since,
        });
        noted
            .chain(self.hold.as_ref().map(Hold::standing))
            .collect()
    }

    /// Whether a heartbeat is what makes it think that there are two.
    pub(crate) fn split_is_claimed_by(&self, peer: IpAddr) -> bool {
        self.split.is_some_and(|noted| match noted.evidence {
            Evidence::SplitBrain {
                peer: other, cause, ..
            } => {
                other == peer
                    && match cause {
                        SplitCause::Heartbeat | SplitCause::Neighbour => true,
                        SplitCause::Advertisements => false,
                    }
            }
            Evidence::AddressConflict { .. }
            | Evidence::PeerRejected { .. }
            | Evidence::PromotionHeld { .. }
            | Evidence::ClaimHeld { .. } => false,
        })
    }
}

fn forget_oldest<T>(rows: &mut Vec<T>, at: impl Fn(&T) -> Time) {
    let oldest = rows.iter().enumerate().min_by_key(|(_, row)| at(row));
    if let Some(place) = oldest.map(|(place, _)| place) {
        rows.swap_remove(place);
    }
}
