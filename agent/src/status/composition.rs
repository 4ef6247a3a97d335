//! A snapshot of the election as the status of each NodeConfig. Pure.
//!
//! The same state gives the same status: what only tells the time stays as it was reported.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use vipkeeper_crds::AddressFamily;
use vipkeeper_crds::conditions::{Condition, Reason};
use vipkeeper_crds::status::{
    Acceptance, ElectionState, InstanceStatus, NodeConfigStatus, NodeInventory, ServerStatus,
};
use vipkeeper_vrrp::{Ifindex, RouterStatus, Snapshot, StateName};
use vipkeeper_wire::Family;

use super::conditions::conditions;
use super::servers::{Index, Standing};
use crate::plan::Note;
use crate::source::cluster::Assigned;

/// What the statuses are made of, all of one moment.
pub(super) struct Moment<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// When it was taken, since the epoch.
    pub(super) wall: Duration,
    pub(super) notes: &'a [Note],
    pub(super) inventory: &'a NodeInventory,
    pub(super) servers: Standing<'a>,
    /// The names of interfaces.
    pub(super) name_of: &'a dyn Fn(Ifindex) -> String,
}

/// The status of each of `roster`, by name.
pub(super) fn compose(
    roster: &[Assigned],
    moment: &Moment<'_>,
) -> BTreeMap<String, NodeConfigStatus> {
    let before = roster.iter().filter_map(|a| a.status.as_deref());
    let servers = Index::new(moment.servers, before);
    let status = |assigned: &Assigned| {
        let mut status = match &assigned.router {
            Some(router) if assigned.is_shard => NodeConfigStatus {
                acceptance: assigned.acceptance.clone(),
                servers: moment.servers(assigned, router, &servers),
                ..NodeConfigStatus::default()
            },
            Some(router) => moment.of_router(assigned, router, &servers),
            None => NodeConfigStatus {
                inventory: Some(moment.inventory.clone()),
                ..NodeConfigStatus::default()
            },
        };
        if let Some(before) = &assigned.status {
            keep_times(&mut status, before);
        }
        (assigned.name.clone(), status)
    };
    roster.iter().map(status).collect()
}

impl Moment<'_> {
    fn servers(&self, assigned: &Assigned, router: &str, servers: &Index<'_>) -> Vec<ServerStatus> {
        let before = assigned.status.as_deref();
        servers.of_object(router, &assigned.servers, before, &time(self.wall))
    }

    fn of_router(
        &self,
        assigned: &Assigned,
        router: &str,
        servers: &Index<'_>,
    ) -> NodeConfigStatus {
        let own = self.snapshot.routers.iter();
        let own = own.filter(|instance| *instance.name == *router);
        let acceptance = assigned.acceptance.clone();
        let generation = acceptance.as_ref().map_or(0, |a| a.generation);
        let mut families: Vec<InstanceStatus> = own.map(|i| self.instance(i, generation)).collect();
        families.sort_by_key(|instance| instance.family);
        let mut status = NodeConfigStatus {
            acceptance: acceptance.map(|a| self.acceptance(a, router, &families)),
            families,
            servers: self.servers(assigned, router, servers),
            ..NodeConfigStatus::default()
        };
        if status.is_active() {
            status.confirm.clone_from(&assigned.confirm);
        }
        status
    }

    /// What was accepted and does not run is refused all the same, by this machine.
    fn acceptance(
        &self,
        acceptance: Acceptance,
        router: &str,
        families: &[InstanceStatus],
    ) -> Acceptance {
        let left_out = |note: &&Note| {
            let family = family(note.family);
            note.router == router && !families.iter().any(|i| i.family == family)
        };
        match self.notes.iter().find(left_out) {
            Some(note) if acceptance.accepted => Acceptance {
                accepted: false,
                reason: Reason::Invalid,
                message: note.message.chars().take(1024).collect(),
                ..acceptance
            },
            Some(_) | None => acceptance,
        }
    }

    fn instance(&self, router: &RouterStatus, generation: i64) -> InstanceStatus {
        let notes = self.notes.iter();
        let notes = notes.filter(|n| *n.router == *router.name && n.family == router.family);
        let notes: Vec<&str> = notes.map(|n| n.message.as_str()).collect();
        let settled = router.installed + router.refused.len() + router.conflicts.len();
        let now = time(self.wall);
        InstanceStatus {
            family: family(router.family),
            state: match router.state {
                StateName::Initialize => ElectionState::Initialize,
                StateName::Backup => ElectionState::Backup,
                StateName::Active => ElectionState::Active,
            },
            effective_priority: router.effective_priority.into(),
            since: Some(self.time_of(router.since)),
            reason: router.reason.as_str().to_owned(),
            interface: router.interface.map(self.name_of).unwrap_or_default(),
            transitions: i64::try_from(router.transitions).unwrap_or(i64::MAX),
            programmed: router.state == StateName::Active
                && router.installed > 0
                && settled >= router.addresses.len(),
            conditions: conditions(router, &notes, generation, |at| self.time_of(at), &now),
        }
    }

    fn time_of(&self, at: vipkeeper_vrrp::Time) -> Time {
        time(self.wall.saturating_sub(self.snapshot.at.since(at)))
    }
}

/// In whole seconds, as the API server writes times.
pub(super) fn time(since_epoch: Duration) -> Time {
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    Time(Timestamp::from_second(seconds).unwrap_or_default())
}

pub(super) const fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::V4,
        Family::V6 => AddressFamily::V6,
    }
}

/// A moment reckoned again from two clocks differs by a little, which is no news.
fn keep_times(status: &mut NodeConfigStatus, before: &NodeConfigStatus) {
    for instance in &mut status.families {
        let same = |b: &&InstanceStatus| b.family == instance.family;
        let Some(earlier) = before.families.iter().find(same) else {
            continue;
        };
        let stays = earlier.state == instance.state
            && earlier.transitions == instance.transitions
            && earlier.reason == instance.reason;
        if stays && earlier.since.is_some() {
            instance.since.clone_from(&earlier.since);
        }
        for condition in &mut instance.conditions {
            let same = |b: &&Condition| b.kind == condition.kind && b.status == condition.status;
            if let Some(known) = earlier.conditions.iter().find(same) {
                condition.last_transition_time = known.last_transition_time.clone();
            }
        }
    }
}
