//! A router instance as an observer sees it.

use std::net::IpAddr;
use std::time::Duration;

use vipkeeper_wire::heartbeat::{self, Row, hash};

use super::{Router, State};
use crate::config::Ifindex;
use crate::output::{Reason, StateName};
use crate::status::{RouterStatus, Transitions};
use crate::time::Time;

impl Router {
    /// Counts a change of state, by its kind as well: there are few kinds that ever happen to one router.
    pub(super) fn count_transition(&mut self, from: StateName, to: StateName, reason: Reason) {
        self.transitions += 1;
        let mut kinds = self.transitions_by_kind.iter_mut();
        match kinds.find(|kind| (kind.from, kind.to, kind.reason) == (from, to, reason)) {
            Some(kind) => kind.count += 1,
            None => self.transitions_by_kind.push(Transitions {
                from,
                to,
                reason,
                count: 1,
            }),
        }
    }

    /// When the Active was heard last, for whose silence or leave this Backup has waited. The one that made it a
    /// Backup was heard a moment before.
    pub(super) fn last_of_active(&self) -> Option<Time> {
        let last = self.last?;
        let heard_as_backup = last.at + self.adver_interval() >= self.since;
        (matches!(self.state, State::Backup(_)) && heard_as_backup).then_some(last.at)
    }

    /// This instance as the node's heartbeat tells it.
    pub(crate) fn row(&self, now: Time) -> Row {
        let millis = |span: Duration| u32::try_from(span.as_millis()).unwrap_or(u32::MAX - 1);
        Row {
            router: hash(&self.config.name),
            family: self.config.family,
            vrid: self.config.vrid,
            state: match self.state_name() {
                StateName::Initialize => heartbeat::State::Initialize,
                StateName::Backup => heartbeat::State::Backup,
                StateName::Active => heartbeat::State::Active,
            },
            priority: self.effective_priority(),
            heard_ms: self
                .last
                .map(|last| millis(now.since(last.at)).min(u32::MAX - 1)),
            interval_ms: millis(self.config.protocol.interval()),
            mac: self.link.and_then(|link| link.mac),
            source: self.source(),
        }
    }

    /// Its addresses that are on an interface of their own.
    fn elsewhere(&self) -> impl Iterator<Item = (IpAddr, Ifindex)> {
        let all = self.config.addresses.iter();
        all.filter_map(|a| Some((a.address, a.interface?)))
    }

    /// This instance as an observer sees it.
    pub(crate) fn status(&self, now: Time) -> RouterStatus {
        let adver_interval = self.adver_interval();
        let (installed, refused) = match &self.state {
            State::Active(active) => active.holding(self.config.addresses.len()),
            State::Initialize { .. } | State::Backup(_) => (0, &[][..]),
        };
        RouterStatus {
            name: self.config.name.clone(),
            family: self.config.family,
            vrid: self.config.vrid,
            interface: self.config.interface,
            state: self.state_name(),
            since: self.since,
            reason: self.reason,
            member: self.blamed(self.reason),
            priority: self.config.priority.get(),
            effective_priority: self.effective_priority(),
            drained: self.config.drained && !self.config.priority.is_owner(),
            remainder: self.remainder(),
            addresses: self.config.addresses.iter().map(|a| a.address).collect(),
            elsewhere: self.elsewhere().collect(),
            installed,
            refused: refused.to_vec(),
            conflicts: self.conflicts().to_vec(),
            advertisement_interval: adver_interval,
            active_down_interval: self.active_down_interval(),
            skew_time: self.hearing().skew_time(adver_interval),
            transitions: self.transitions,
            transitions_by_kind: self.transitions_by_kind.clone(),
            last_advertisement: self.last,
            evidence: self.arbiter.standing(now),
            counters: self.counters,
        }
    }
}
