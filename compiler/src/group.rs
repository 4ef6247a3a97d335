//! Routers that move together (`spec.syncGroup`) are one unit of placement: the same nodes, in the same order, with
//! the same priorities. A member that cannot have them is refused, the younger for the older's sake.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::allocation::Accepted;
use crate::finding::Remarks;
use crate::index::Index;
use crate::placement::{self, Eligible, Pool};
use crate::router::{Balance, Candidates, Listed, Router};

/// The groups of the routers accepted so far.
#[derive(Default)]
pub(crate) struct Groups<'a>(BTreeMap<&'a str, &'a Router>);

impl<'a> Groups<'a> {
    /// Says why `router` cannot move with the others of its group.
    pub(crate) fn fits(&self, router: &Router, remarks: &mut Remarks) {
        let group = router.sync_group.as_deref();
        let Some(first) = group.and_then(|group| self.0.get(group)) else {
            return;
        };
        let other = &first.name;
        match (&first.candidates, &router.candidates) {
            (Candidates::Listed(theirs), Candidates::Listed(own)) => {
                if ranks(theirs) != ranks(own) {
                    remarks.error(
                        "spec.nodes.priorities",
                        format!(
                            "VirtualRouter {other} of the same syncGroup has other nodes or another order of them: list the same nodes in the same order of priority, or leave spec.syncGroup out"
                        ),
                    );
                }
            }
            (Candidates::Listed(_), Candidates::Balanced(_)) => remarks.error(
                "spec.nodes.priorities",
                format!(
                    "required, because VirtualRouter {other} of the same syncGroup lists its nodes: list the same here"
                ),
            ),
            (Candidates::Balanced(_), Candidates::Listed(_)) => remarks.error(
                "spec.nodes.priorities",
                format!(
                    "VirtualRouter {other} of the same syncGroup leaves its priorities to the compiler: do so here, or list them there"
                ),
            ),
            (Candidates::Balanced(_), Candidates::Balanced(_)) => {}
        }
        if first.preemption != router.preemption {
            remarks.warn(
                "spec.preemption",
                format!(
                    "differs from VirtualRouter {other} of the same syncGroup: the one that preempts first takes the others along; make them equal"
                ),
            );
        }
    }

    /// Counts `router`, which is accepted.
    pub(crate) fn add(&mut self, router: &'a Router) {
        if let Some(group) = router.sync_group.as_deref() {
            self.0.entry(group).or_insert(router);
        }
    }
}

/// The nodes by rank; equal priorities have one rank. The owner's is a rank like any other.
fn ranks(list: &[Listed]) -> Vec<Vec<&str>> {
    let mut by_priority: BTreeMap<u8, Vec<&str>> = BTreeMap::new();
    for listed in list {
        let rank = by_priority.entry(listed.priority).or_default();
        rank.push(&listed.node);
    }
    let ranks = by_priority.into_values().map(|mut nodes| {
        nodes.sort_unstable();
        nodes
    });
    ranks.collect()
}

/// Routers that are placed together, the oldest first; one alone if it is in no group.
pub(crate) struct Unit<'a> {
    pub(crate) members: Vec<Accepted<'a>>,
    /// Who can take part in every member.
    pub(crate) pool: Arc<Pool>,
}

/// The units of `accepted`, by their oldest members.
pub(crate) fn units(accepted: Vec<Accepted<'_>>) -> Vec<Unit<'_>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for member in accepted {
        let group = member.router.sync_group.as_deref();
        let known = group.and_then(|group| places.get(group).copied());
        match known.and_then(|place| units.get_mut(place)) {
            Some(unit) => {
                unit.pool = Arc::new(both(&unit.pool, &member.pool));
                unit.members.push(member);
            }
            None => {
                if let Some(group) = group {
                    places.insert(group, units.len());
                }
                units.push(Unit {
                    pool: Arc::clone(&member.pool),
                    members: vec![member],
                });
            }
        }
    }
    units
}

/// Who can take part in two routers, as much preferred as in both together.
fn both(a: &Pool, b: &Pool) -> Pool {
    let shared = a.iter().filter_map(|(name, a)| {
        let b = b.get(name)?;
        let eligible = Eligible {
            preference: a.preference.saturating_add(b.preference),
            interface: a.interface.max(b.interface),
            ..a.clone()
        };
        Some((name.clone(), eligible))
    });
    shared.collect()
}

impl Unit<'_> {
    /// The name by which the order is chosen.
    pub(crate) fn name(&self) -> &str {
        let first = self.members.first().map(|m| m.router);
        first.map_or("", |router| {
            router.sync_group.as_deref().unwrap_or(&router.name)
        })
    }

    /// What placement is to regard, if it chooses.
    pub(crate) fn balances(&self) -> impl Iterator<Item = &Balance> {
        self.members
            .iter()
            .filter_map(|m| match &m.router.candidates {
                Candidates::Balanced(balance) => Some(balance),
                Candidates::Listed(_) => None,
            })
    }

    /// The priorities of `count` candidates: so far apart that no member's Backups take over together.
    pub(crate) fn priorities(&self, count: usize) -> impl Iterator<Item = u8> + use<> {
        let members = self.members.iter();
        let steps = members.map(|m| placement::step(m.router.version, m.router.interval, count));
        placement::priorities(steps.max().unwrap_or(1), count)
    }

    /// What there was before, of the oldest member of which something is left.
    pub(crate) fn previous<'i>(&self, index: &'i Index) -> Option<&'i crate::Previous> {
        let known = self
            .members
            .iter()
            .filter_map(|m| index.previous(&m.router.name));
        let left = |n: &String| self.pool.contains_key(n);
        let mut left = known.filter(|previous| previous.nodes.iter().any(left));
        left.next()
    }
}
