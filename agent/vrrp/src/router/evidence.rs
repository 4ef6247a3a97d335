//! What a router instance makes of evidence: the gate that every promotion passes, what an Active does about another
//! one, and what it does about a stranger who uses its addresses.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use vipkeeper_wire::MacAddr;

use super::{Heard, Router, State};
use crate::arbiter::{AFTERGLOW, Arbiter, Claim, FirstClaim, Hold, Noted};
use crate::backup::{Backup, Wait};
use crate::effects::Effects;
use crate::output::{Evidence, Probe, Reason, Report, SplitCause};
use crate::receive::Refusal;
use crate::time::Time;
use crate::timers;

/// How long a stranger has for its answer when it is asked again.
const ANSWER: Duration = Duration::from_millis(250);

/// What the gate says to a promotion that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing speaks against it.
    Granted,
    /// Another is Active, and this has waited for as long as it may.
    HoldEnded,
    /// Not yet: the arbiter's hold says until when.
    Held,
}

impl Router {
    /// The gate that every promotion passes, but the owner's. It grants at once unless there is positive evidence:
    /// a peer that proved to be Active, for a limited time; or, before the very first claim, a stranger that has
    /// the addresses while nobody advertises them.
    pub(super) fn may_promote(&mut self, fx: &mut Effects, now: Time) -> Verdict {
        let threshold = self.silence_counts_from();
        if let Some(claim) = self.arbiter.proof_of_active(now, threshold) {
            let (peer, stale_at) = (claim.from, claim.stale_at());
            return self.hold_for_peer(fx, now, peer, stale_at);
        }
        match self.arbiter.hold {
            // Whoever was Active is not, or not heard of any more.
            Some(Hold::Peer { .. }) => self.arbiter.hold = None,
            Some(Hold::Asking { until, .. }) if now < until => return Verdict::Held,
            Some(Hold::Stranger { retry_at, .. }) if now < retry_at => return Verdict::Held,
            Some(Hold::Asking { .. } | Hold::Stranger { .. }) | None => {}
        }
        self.hold_for_stranger(fx, now)
    }

    /// Before this, the silence of advertisements proves nothing: two intervals after the last one, or after we
    /// began to listen.
    fn silence_counts_from(&self) -> Time {
        let heard = self.last.map_or(Time::ZERO, |last| last.at);
        let base = heard.max(self.since).max(self.arbiter.deaf_until);
        base + self.adver_interval().saturating_mul(2)
    }

    fn hold_for_peer(
        &mut self,
        fx: &mut Effects,
        now: Time,
        peer: IpAddr,
        stale_at: Time,
    ) -> Verdict {
        let (since, until) = match self.arbiter.hold {
            Some(Hold::Peer { since, until, .. }) => (since, until),
            Some(Hold::Stranger { .. } | Hold::Asking { .. }) | None => {
                self.report_evidence(fx, now, Evidence::PromotionHeld { peer }, false);
                let longest = Arbiter::longest_hold(self.active_down_interval());
                (now, now + longest)
            }
        };
        if now >= until {
            self.arbiter.spend();
            self.arbiter.hold = None;
            return Verdict::HoldEnded;
        }
        self.arbiter.hold = Some(Hold::Peer {
            peer,
            since,
            until,
            stale_at,
        });
        Verdict::Held
    }

    fn hold_for_stranger(&mut self, fx: &mut Effects, now: Time) -> Verdict {
        let FirstClaim::Asking {
            stranger: Some((address, mac)),
            refusals,
            ..
        } = self.arbiter.first_claim
        else {
            self.arbiter.hold = None;
            return Verdict::Granted;
        };
        let refusals = refusals.saturating_add(1);
        self.arbiter.first_claim = FirstClaim::Asking {
            again_at: None,
            stranger: None,
            refusals,
        };
        let since = match self.arbiter.hold {
            Some(Hold::Stranger { since, .. } | Hold::Asking { since, .. }) => since,
            Some(Hold::Peer { .. }) | None => {
                self.report_evidence(fx, now, Evidence::ClaimHeld { address, mac }, false);
                now
            }
        };
        self.arbiter.hold = Some(Hold::Stranger {
            address,
            mac,
            since,
            retry_at: now + timers::retry_delay(refusals),
        });
        Verdict::Held
    }

    /// It begins to listen for the first time: asks whether the addresses are free, and once more later.
    pub(super) fn ask_before_first_claim(&mut self, fx: &mut Effects, now: Time) {
        let refusals = match self.arbiter.first_claim {
            FirstClaim::Ahead if fx.probes => 0,
            FirstClaim::Asking { refusals, .. } if fx.probes => refusals,
            FirstClaim::Ahead | FirstClaim::Asking { .. } | FirstClaim::Made => return,
        };
        self.arbiter.first_claim = FirstClaim::Asking {
            again_at: Some(now + self.active_down_interval() / 2),
            stranger: None,
            refusals,
        };
        self.probe(fx, now);
    }

    /// Asks again where it is time to.
    pub(super) fn ask_again(&mut self, fx: &mut Effects, now: Time) {
        if let FirstClaim::Asking {
            again_at: Some(at),
            stranger,
            refusals,
        } = self.arbiter.first_claim
            && at <= now
        {
            self.arbiter.first_claim = FirstClaim::Asking {
                again_at: None,
                stranger,
                refusals,
            };
            self.probe(fx, now);
        }
        if let Some(Hold::Stranger {
            address,
            mac,
            since,
            retry_at,
        }) = self.arbiter.hold
            && retry_at <= now
        {
            self.arbiter.hold = Some(Hold::Asking {
                address,
                mac,
                since,
                until: now + ANSWER,
            });
            self.probe(fx, now);
        }
    }

    fn probe(&self, fx: &mut Effects, now: Time) {
        let Some(places) = self.places() else { return };
        for address in self.config.addresses.iter() {
            let Some((interface, mac)) = places.of(address) else {
                continue;
            };
            let probe = Probe {
                interface,
                mac,
                address: address.address,
            };
            // What the budget does not allow is not asked: only an answer means anything.
            fx.probe(probe, now);
        }
    }

    /// A heartbeat of another candidate says how this router is there.
    pub(crate) fn hear_claim(&mut self, fx: &mut Effects, now: Time, claim: Claim) {
        let claim = self.arbiter.note_claim(claim);
        match &self.state {
            State::Initialize { .. } => {}
            State::Backup(_) => self.hear_claim_as_backup(fx, now, &claim),
            State::Active(_) => self.hear_claim_as_active(fx, now, &claim),
        }
    }

    fn hear_claim_as_backup(&mut self, fx: &mut Effects, now: Time, claim: &Claim) {
        if self.arbiter.following == Some(claim.node) && claim.proven {
            let stays = claim.active && claim.priority >= self.effective_priority();
            if !stays {
                self.arbiter.following = None;
            }
            // One that is Active but lower now is not followed: our Active_Down_Timer goes on.
            if stays || !claim.active {
                self.arbiter.hold = None;
                self.hear_as_backup(now, &as_heard(claim));
            }
        } else if self.arbiter.hold.is_some() {
            self.end_of_waiting(fx, now);
        }
    }

    /// Another is Active beside us, and the advertisements of at least one are lost: whoever would win if they were
    /// not stays, so that both decide alike.
    fn hear_claim_as_active(&mut self, fx: &mut Effects, now: Time, claim: &Claim) {
        let peer = claim.source.unwrap_or(claim.from);
        if !claim.active {
            if self.arbiter.split_is_claimed_by(peer) {
                self.end_split(fx, now);
            }
            return;
        }
        let heard = self.arbiter.heard_from(peer).unwrap_or(Time::ZERO);
        let base = heard.max(self.since).max(self.arbiter.deaf_until);
        if claim.arrival <= base + self.adver_interval().saturating_mul(2) {
            return;
        }
        let effective = claim.proven && (claim.on_link || !claim.spent);
        if effective && self.is_outranked_by(claim) {
            let heard = as_heard(claim);
            let own = self.config.protocol.interval();
            let mut backup = Backup::new(heard.arrival, Wait::Down, own);
            backup.hear(now, &heard, &self.hearing());
            self.demote(fx, now, backup, Reason::PeerActive, Some(heard.source));
            // Where the link itself carried the heartbeat, the next ones stand for advertisements, too. What came
            // another way proves nothing about the link: our Active_Down_Timer decides again.
            self.arbiter.following = claim.on_link.then_some(claim.node);
            return;
        }
        let evidence = Evidence::SplitBrain {
            peer,
            cause: SplitCause::Heartbeat,
            proven: claim.proven,
        };
        self.note_split(fx, now, evidence, claim.stale_at());
    }

    /// RFC 9568 §6.4.3, as for an advertisement.
    fn is_outranked_by(&self, claim: &Claim) -> bool {
        let (Some(theirs), Some(ours)) = (claim.source, self.source()) else {
            return false;
        };
        claim
            .priority
            .cmp(&self.effective_priority())
            .then(theirs.cmp(&ours))
            == Ordering::Greater
    }

    /// A lower Active was heard: for an interval or two that is the protocol at work.
    pub(super) fn note_duel(&mut self, fx: &mut Effects, now: Time, heard: &Heard) {
        let interval = self.adver_interval().max(heard.interval);
        if self
            .arbiter
            .is_lasting_duel(heard.source, heard.arrival, interval)
        {
            let evidence = Evidence::SplitBrain {
                peer: heard.source,
                cause: SplitCause::Advertisements,
                proven: false,
            };
            let expires = heard.arrival + interval.saturating_mul(3);
            self.note_split(fx, now, evidence, expires);
        }
    }

    fn note_split(&mut self, fx: &mut Effects, now: Time, evidence: Evidence, expires: Time) {
        let known = self.arbiter.split;
        let since = known.map_or(now, |noted| noted.since);
        let expires = known.map_or(expires, |noted| noted.expires.max(expires));
        self.arbiter.split = Some(Noted {
            evidence,
            since,
            expires,
        });
        if known.is_none() {
            self.counters.split_brains += 1;
            self.report_evidence(fx, now, evidence, false);
        }
    }

    /// There is one again: neighbours may have learnt the other's Ethernet address meanwhile.
    fn end_split(&mut self, fx: &mut Effects, now: Time) {
        let Some(noted) = self.arbiter.split.take() else {
            return;
        };
        self.report_evidence(fx, now, noted.evidence, true);
        if let State::Active(active) = &mut self.state {
            active.announce_anew(now);
            self.announce(fx, now);
        }
    }

    /// A neighbour at `mac` says on the interface of `address`, which is one of ours, that it has it.
    pub(crate) fn hear_neighbour(
        &mut self,
        fx: &mut Effects,
        now: Time,
        (address, mac): (IpAddr, MacAddr),
        arrival: Time,
    ) {
        let own = self.place_of(address).zip(self.places());
        if own.and_then(|((interface, _), places)| places.mac(interface)) == Some(mac) {
            return;
        }
        match &self.state {
            State::Initialize { .. } => {}
            // That is how it should be, unless nobody was ever heard.
            State::Backup(_) => self.note_stranger(address, mac),
            State::Active(_) => self.face_neighbour(fx, now, (address, mac), arrival),
        }
    }

    fn note_stranger(&mut self, address: IpAddr, mac: MacAddr) {
        match &mut self.arbiter.first_claim {
            FirstClaim::Asking { stranger, .. } => *stranger = Some((address, mac)),
            FirstClaim::Ahead | FirstClaim::Made => {}
        }
    }

    fn face_neighbour(
        &mut self,
        fx: &mut Effects,
        now: Time,
        (address, mac): (IpAddr, MacAddr),
        arrival: Time,
    ) {
        // The last words of whoever was Active before us.
        if arrival <= self.since + self.adver_interval().saturating_mul(2) {
            return;
        }
        self.counters.address_conflicts += 1;
        if let Some(peer) = self.arbiter.peer_with(mac) {
            let evidence = Evidence::SplitBrain {
                peer,
                cause: SplitCause::Neighbour,
                proven: false,
            };
            self.note_split(fx, now, evidence, now + AFTERGLOW);
        } else {
            let evidence = Evidence::AddressConflict { address, mac };
            let known = self.arbiter.conflict;
            self.arbiter.conflict = Some(Noted {
                evidence,
                since: known.map_or(now, |noted| noted.since),
                expires: now + AFTERGLOW,
            });
            if known.is_none() {
                self.report_evidence(fx, now, evidence, false);
            }
        }
        if self.arbiter.may_defend(address, now) {
            self.defend(fx, now, address);
        }
    }

    /// RFC 5227 §2.4 (b): one announcement, and not again for ten seconds.
    fn defend(&mut self, fx: &mut Effects, now: Time, address: IpAddr) {
        if let (State::Active(active), Some(places), Some((_, address))) =
            (&self.state, self.places(), self.place_of(address))
            && active.defend(fx, now, places, address)
        {
            self.counters.announcements_sent += 1;
        }
    }

    /// A frame for this router was refused: while it is Active, its sender may be Active as well.
    pub(crate) fn note_rejected(&mut self, now: Time, source: IpAddr, reason: Refusal) {
        if matches!(self.state, State::Active(_)) && reason.may_hide_a_peer() {
            self.arbiter.note_rejected(source, reason, now);
        }
    }

    /// Forgets what has not been seen for long enough.
    pub(super) fn forget(&mut self, fx: &mut Effects, now: Time) {
        let over = |noted: &mut Noted| noted.expires <= now;
        if self.arbiter.split.as_mut().is_some_and(over) {
            self.end_split(fx, now);
        }
        if let Some(noted) = self.arbiter.conflict.take_if(over) {
            self.report_evidence(fx, now, noted.evidence, true);
        }
    }

    /// The state changes: what belonged to the last one is over.
    pub(super) fn leave_evidence(&mut self, fx: &mut Effects, now: Time) {
        if let Some(noted) = self.arbiter.split.take() {
            self.report_evidence(fx, now, noted.evidence, true);
        }
        self.arbiter.enter();
    }

    fn report_evidence(&self, fx: &mut Effects, at: Time, evidence: Evidence, ended: bool) {
        fx.report(Report::Evidence {
            at,
            name: self.config.name.clone(),
            family: self.config.family,
            evidence,
            ended,
        });
    }
}

/// What the advertisement of a peer would have said that speaks by heartbeat alone: as often as that.
fn as_heard(claim: &Claim) -> Heard {
    Heard {
        source: claim.source.unwrap_or(claim.from),
        source_mac: claim.mac,
        priority: if claim.active { claim.priority } else { 0 },
        interval: claim.interval.max(claim.beat),
        arrival: claim.arrival,
    }
}
