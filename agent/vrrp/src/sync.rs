//! Sync groups: routers of one node that move together, whatever their interfaces and families.
//!
//! A group is out while one of its members has a fault, Backup while one of them defers to another node, and
//! becomes Active when all want to: the rule of keepalived's `vrrp_sync_group`, so that both may be candidates
//! of the same routers. Nothing of it is on the wire but one thing: all members advertise the lowest of their
//! priorities. Owns who is a member of what; the members keep what the group means for them
//! ([`Bond`](crate::router::Bond)).
//!
//! | Happens to one member | The others |
//! |---|---|
//! | it cannot take part (interface, source address, refused addresses) | leave with priority 0, and start anew when it does |
//! | as Active it yields, or as Backup of an Active group it hears somebody it defers to | say priority 0 and become Backup |
//! | its Active_Down_Timer or preemption delay ends | nothing until that of the last one has: then all become Active |
//! | it slept longer than it can bear | listen before they act, as it does |
//! | it joins an Active group | go on; it listens, and follows them when its Active_Down_Timer ends |
//! | it is taken out of the configuration | go on |
//! | it is the address owner | leave with its faults; they do not move it, and its priority does not move them |
//!
//! Two nodes that become Active together part by the one priority that all members of each advertise. Of equal
//! priorities the greater address stays, and addresses may be in another order on another link: both nodes would
//! yield, for ever. So the link of the group's first member decides first: for two intervals after a promotion
//! the other members let ties be.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::SyncGroup;
use crate::effects::Effects;
use crate::output::{Member, StateName};
use crate::router::{Bond, Router};
use crate::time::Time;

/// The groups of a node: the slots of their members.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Groups {
    groups: Vec<Vec<usize>>,
    /// The group of each slot.
    by_slot: BTreeMap<usize, usize>,
}

impl Groups {
    /// The groups that `routers` say they are in; in each, the first by name and family leads. Alone in a group
    /// a router is as without.
    pub(crate) fn of(routers: &[Option<Router>]) -> Self {
        let mut named: BTreeMap<&SyncGroup, Vec<(Member, usize)>> = BTreeMap::new();
        for (slot, router) in routers.iter().enumerate() {
            if let Some(router) = router
                && let Some(group) = &router.config.sync
            {
                let member = (router.as_member(), slot);
                named.entry(group).or_default().push(member);
            }
        }
        let mut all = Self::default();
        for mut members in named.into_values().filter(|members| members.len() > 1) {
            members.sort();
            let number = all.groups.len();
            all.by_slot
                .extend(members.iter().map(|&(_, slot)| (slot, number)));
            all.groups
                .push(members.into_iter().map(|(_, slot)| slot).collect());
        }
        all
    }

    /// The members of the group that `slot` is in.
    pub(crate) fn members(&self, slot: usize) -> Option<&[usize]> {
        let group = self.by_slot.get(&slot)?;
        self.groups.get(*group).map(Vec::as_slice)
    }

    /// The members of every group.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[usize]> {
        self.groups.iter().map(Vec::as_slice)
    }

    #[cfg(any())]
    fn unused(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes note of who sleeps too long with a member that did.
    pub(crate) fn share_stall(&self, routers: &[Option<Router>], stalled: &mut BTreeSet<usize>) {
        for members in self.iter() {
            let moving = members
                .iter()
                .filter(|&&slot| movable(routers, slot).is_some());
            if moving.clone().any(|slot| stalled.contains(slot)) {
                stalled.extend(moving);
            }
        }
    }

    /// Tells each member what its group means for it, and who is in none that it is free.
    pub(crate) fn bind(&self, routers: &mut [Option<Router>]) {
        for (slot, router) in routers.iter_mut().enumerate() {
            if let Some(router) = router
                && !self.by_slot.contains_key(&slot)
            {
                router.set_bond(None);
            }
        }
        for members in self.iter() {
            let all = members.iter().filter_map(|&slot| movable(routers, slot));
            let priority = all.map(Router::own_priority).min().unwrap_or(u8::MAX);
            let faults = Faults::of(routers, members);
            for (place, &slot) in members.iter().enumerate() {
                let fault = faults.of_others(slot).cloned();
                if let Some(router) = routers.get_mut(slot).and_then(Option::as_mut) {
                    router.set_bond(Some(Bond {
                        priority,
                        leads: place == 0,
                        fault,
                    }));
                }
            }
        }
    }
}

/// Brings the members of a group together, after something happened to one of them. Says whether it had to.
pub(crate) fn settle(
    routers: &mut [Option<Router>],
    members: &[usize],
    fx: &mut Effects,
    now: Time,
) -> bool {
    let faults = share_faults(routers, members, fx, now);
    let defeat = share_defeat(routers, members, fx, now);
    let victory = share_victory(routers, members, fx, now);
    faults | defeat | victory
}

fn share_faults(
    routers: &mut [Option<Router>],
    members: &[usize],
    fx: &mut Effects,
    now: Time,
) -> bool {
    let faults = Faults::of(routers, members);
    let mut moved = false;
    for &slot in members {
        if let Some(router) = movable_mut(routers, slot)
            && router.share_fault(faults.of_others(slot))
        {
            router.start_if_able(fx, now);
            moved = true;
        }
    }
    moved
}

fn share_defeat(
    routers: &mut [Option<Router>],
    members: &[usize],
    fx: &mut Effects,
    now: Time,
) -> bool {
    let mut all = members.iter().filter_map(|&slot| movable(routers, slot));
    let Some(loser) = all.find(|r| r.defers()).map(Router::as_member) else {
        return false;
    };
    let mut moved = false;
    for &slot in members {
        if let Some(router) = movable_mut(routers, slot)
            && router.state_name() == StateName::Active
        {
            router.follow_group(fx, now, &loser);
            moved = true;
        }
    }
    moved
}

fn share_victory(
    routers: &mut [Option<Router>],
    members: &[usize],
    fx: &mut Effects,
    now: Time,
) -> bool {
    let ready = |r: &Router| r.state_name() == StateName::Active || r.wants_to_be_active();
    let mut all = members.iter().filter_map(|&slot| movable(routers, slot));
    if !all.all(ready) {
        return false;
    }
    let mut moved = false;
    for &slot in members {
        if let Some(router) = movable_mut(routers, slot) {
            moved |= router.lead_group(fx, now);
        }
    }
    moved
}

/// The first two members that cannot take part: one of them is another than oneself.
struct Faults([Option<(usize, Member)>; 2]);

impl Faults {
    fn of(routers: &[Option<Router>], members: &[usize]) -> Self {
        let mut faulty = members.iter().filter_map(|&slot| {
            let router = routers.get(slot)?.as_ref()?;
            router.has_fault().then(|| (slot, router.as_member()))
        });
        Self([faulty.next(), faulty.next()])
    }

    fn of_others(&self, slot: usize) -> Option<&Member> {
        let mut all = self.0.iter().flatten();
        all.find(|(other, _)| *other != slot)
            .map(|(_, member)| member)
    }
}

/// The router in `slot`, if it moves with its group: all do but address owners.
fn movable(routers: &[Option<Router>], slot: usize) -> Option<&Router> {
    routers.get(slot)?.as_ref().filter(|router| router.moves())
}

fn movable_mut(routers: &mut [Option<Router>], slot: usize) -> Option<&mut Router> {
    routers
        .get_mut(slot)?
        .as_mut()
        .filter(|router| router.moves())
}
