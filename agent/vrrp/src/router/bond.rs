//! A router instance as a member of its sync group: what the group means for it, and how it moves with it.
//! `sync` decides when.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Router, State};
use crate::backup::{Backup, Wait};
use crate::effects::Effects;
use crate::output::{Member, Reason};
use crate::time::Time;
use crate::timers;

/// What its group means for a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bond {
    /// The lowest priority of all members, which each advertises.
    pub(crate) priority: u8,
    /// It is the group's first member, whose link decides between equals.
    pub(crate) leads: bool,
    /// The member that keeps the group out.
    pub(crate) fault: Option<Member>,
}

impl Router {
    /// As a group names it.
    pub(crate) fn as_member(&self) -> Member {
        Member {
            name: Arc::clone(&self.config.name),
            family: self.config.family,
        }
    }

    /// Enters a group, leaves it, or learns its new priority. Whom it followed before it was a member does not
    /// concern the others.
    pub(crate) fn set_bond(&mut self, bond: Option<Bond>) {
        if self.bond.is_none()
            && bond.is_some()
            && let State::Backup(backup) = &mut self.state
        {
            backup.defers = false;
        }
        self.bond = bond;
    }

    /// Whether it moves with its group: the owner's addresses stay where they are configured.
    pub(crate) fn moves(&self) -> bool {
        !self.config.priority.is_owner()
    }

    /// Whether it cannot take part, and that is not its group's doing.
    pub(crate) fn has_fault(&self) -> bool {
        let refused = matches!(self.state, State::Initialize { retry: Some(_) });
        refused || self.own_obstacle().is_some()
    }

    /// Learns which other member keeps the group out, if one does. Says whether it has to leave, or may start.
    pub(crate) fn share_fault(&mut self, fault: Option<&Member>) -> bool {
        let (has_fault, is_out) = (
            self.has_fault(),
            // A lame duck waits for its own successor.
            matches!(self.state, State::Initialize { .. }) && !self.is_lame_duck(),
        );
        let Some(bond) = &mut self.bond else {
            return false;
        };
        let news = bond.fault.as_ref() != fault;
        if news {
            bond.fault = fault.cloned();
        }
        !has_fault && (news || is_out != fault.is_some())
    }

    /// The member that keeps it out, or took it along last.
    pub(super) fn blamed(&self, reason: Reason) -> Option<Member> {
        let fault = self.bond.as_ref().and_then(|bond| bond.fault.as_ref());
        (reason == Reason::SyncGroup)
            .then(|| fault.or(self.taken_along_by.as_ref()).cloned())
            .flatten()
    }

    /// Whether it heard somebody, last, to whom it leaves the addresses.
    pub(crate) fn defers(&self) -> bool {
        match &self.state {
            State::Backup(backup) => backup.defers,
            State::Initialize { .. } | State::Active(_) => false,
        }
    }

    /// Whether it only waits for the others of its group.
    pub(crate) fn wants_to_be_active(&self) -> bool {
        match &self.state {
            State::Backup(backup) => backup.rest(&self.hearing()).is_some(),
            State::Initialize { .. } | State::Active(_) => false,
        }
    }

    /// An Active leaves the addresses to the node that `loser` leaves its own to.
    pub(crate) fn follow_group(&mut self, fx: &mut Effects, now: Time, loser: &Member) {
        self.advertise(fx, now, 0);
        self.taken_along_by = Some(loser.clone());
        let backup = Backup::new(now, Wait::Down, self.config.protocol.interval());
        self.demote(fx, now, backup, Reason::SyncGroup, None);
    }

    /// The whole group wants to be Active: a member that waited for it is from now on. Says whether it had.
    pub(crate) fn lead_group(&mut self, fx: &mut Effects, now: Time) -> bool {
        let waited = match &self.state {
            State::Backup(backup) => backup.rest(&self.hearing()),
            State::Initialize { .. } | State::Active(_) => None,
        };
        if let Some(reason) = waited {
            self.promote(fx, now, reason);
        }
        waited.is_some()
    }

    /// Whether a tie may wait: the link of the group's first member decides it first.
    pub(super) fn lets_ties_be(&self, now: Time) -> bool {
        let follows = self.bond.as_ref().is_some_and(|bond| !bond.leads);
        let grace = self.config.protocol.interval() * timers::TIE_GRACE;
        follows && self.moves() && now.since(self.since) < grace
    }
}
