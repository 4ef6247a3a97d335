//! What the agents of a router's candidates report, as the status of the router, and of what is served on it. Pure.
//!
//! An entry is a claim, not proof: which claims count is `claims`' to say.

mod conditions;
mod server;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vipkeeper_compiler::{Allocation, Finding};
use vipkeeper_crds::conditions::ConditionType;
use vipkeeper_crds::status::{CandidateStatus, ElectionState, FamilyStatus, VirtualRouterStatus};
use vipkeeper_crds::{AddressFamily, NodeConfig, VirtualRouter};

pub(crate) use server::{ServerSources, server_status};

/// Most entries of `status.nodes`.
const MOST_NODES: usize = 128;

/// What a router's status is made of.
#[derive(Clone, Debug)]
pub(crate) struct Sources<'a> {
    /// The router.
    pub(crate) router: &'a VirtualRouter,
    /// What it was given, or goes on with; `None` if it is refused and has nothing.
    pub(crate) allocation: Option<&'a Allocation>,
    /// Whether it is refused as it is now.
    pub(crate) refused: bool,
    /// What there is to say about it.
    pub(crate) findings: &'a [Finding],
    /// The families of its addresses.
    pub(crate) families: BTreeSet<AddressFamily>,
    /// The NodeConfigs of its candidates as they are in the cluster, by node.
    pub(crate) configs: BTreeMap<&'a str, &'a NodeConfig>,
    /// Their shards that agents refuse, with the node.
    pub(crate) shards: Vec<(&'a str, &'a NodeConfig)>,
    /// The claims to be Active that count.
    pub(crate) counted: &'a BTreeSet<(String, AddressFamily)>,
    /// Nobody claims some family, and that may be over in a moment: what was said before stays.
    pub(crate) passing: bool,
}

/// The status of a router at `now`. Times of conditions and holders stay where nothing changed.
#[must_use]
pub(crate) fn status(sources: &Sources<'_>, now: &Time) -> VirtualRouterStatus {
    let before = sources.router.status.clone().unwrap_or_default();
    let nodes = candidates(sources);
    let families = families(sources, &nodes, &before, now);
    let generation = sources.router.metadata.generation.unwrap_or_default();
    let conditions = conditions::conditions(sources, &nodes, &families)
        .into_iter()
        .map(|said| said.into_condition(generation, &before.conditions, now))
        .collect::<Vec<_>>();
    let ready = conditions.iter().find(|c| c.kind == ConditionType::Ready);
    VirtualRouterStatus {
        observed_generation: generation,
        active_summary: active_summary(&families),
        ready_summary: ready.map_or("Unknown", |c| c.status.as_str()).to_owned(),
        virtual_router_id: sources.allocation.map(|a| a.virtual_router_id.into()),
        address_summary: address_summary(sources.router),
        node_summary: node_summary(sources),
        families,
        nodes,
        conditions,
    }
}

fn candidates(sources: &Sources<'_>) -> Vec<CandidateStatus> {
    let all = sources.allocation.iter().flat_map(|a| &*a.candidates);
    let rows = all.flat_map(|candidate| {
        let config = sources.configs.get(candidate.node.as_str());
        let reported = config.and_then(|c| c.status.as_ref());
        let rows = reported.map_or(&[][..], |status| &status.families);
        rows.iter().map(|row| CandidateStatus {
            name: candidate.node.clone(),
            family: row.family,
            state: confirmed(row.state, sources, &candidate.node, row.family),
            priority: candidate.priority.into(),
            effective_priority: row.effective_priority,
            since: row.since.clone(),
            reason: row.reason.clone(),
            interface: row.interface.clone(),
            transitions: row.transitions,
        })
    });
    rows.take(MOST_NODES).collect()
}

fn confirmed(
    state: ElectionState,
    sources: &Sources<'_>,
    node: &str,
    family: AddressFamily,
) -> ElectionState {
    match state {
        ElectionState::Active if !sources.counted.contains(&(node.to_owned(), family)) => {
            ElectionState::Unknown
        }
        ElectionState::Active
        | ElectionState::Backup
        | ElectionState::Initialize
        | ElectionState::Unknown => state,
    }
}

fn families(
    sources: &Sources<'_>,
    nodes: &[CandidateStatus],
    before: &VirtualRouterStatus,
    now: &Time,
) -> Vec<FamilyStatus> {
    let Some(allocation) = sources.allocation else {
        return Vec::new();
    };
    let families = sources.families.iter().copied();
    families
        .map(|family| {
            let earlier = before.families.iter().find(|f| f.family == family);
            let vacant = those(nodes, family, ElectionState::Active).is_empty();
            let stays = earlier.filter(|_| vacant && sources.passing);
            let active_node = only_active(nodes, family).map(str::to_owned);
            let active_node = active_node.or_else(|| stays?.active_node.clone());
            let since = match (&active_node, earlier) {
                (None, _) => None,
                (Some(node), Some(earlier)) if earlier.active_node.as_ref() == Some(node) => {
                    earlier.since.clone()
                }
                (Some(_), _) => Some(now.clone()),
            };
            FamilyStatus {
                family,
                virtual_router_id: allocation.virtual_router_id.into(),
                active_node,
                since,
            }
        })
        .collect()
}

/// The nodes that are in `state` for a family.
fn those(nodes: &[CandidateStatus], family: AddressFamily, state: ElectionState) -> Vec<&str> {
    let is_so = |n: &&CandidateStatus| n.family == family && n.state == state;
    let named = nodes.iter().filter(is_so);
    named.map(|n| n.name.as_str()).collect()
}

fn only_active(nodes: &[CandidateStatus], family: AddressFamily) -> Option<&str> {
    match those(nodes, family, ElectionState::Active).as_slice() {
        [one] => Some(one),
        [] | [_, _, ..] => None,
    }
}

/// `node-a`, or `node-a (v4), node-b (v6)`.
fn active_summary(families: &[FamilyStatus]) -> String {
    let holders = families.iter().filter_map(|f| {
        let node = f.active_node.as_deref()?;
        Some((f.family, node))
    });
    let holders: Vec<_> = holders.collect();
    match holders.as_slice() {
        [] => String::new(),
        [(_, node)] if families.len() == 1 => (*node).to_owned(),
        [(_, a), (_, b)] if a == b => (*a).to_owned(),
        several => {
            let word = |family| match family {
                AddressFamily::V4 => "v4",
                AddressFamily::V6 => "v6",
            };
            let parts = several.iter().map(|(f, n)| format!("{n} ({})", word(*f)));
            parts.collect::<Vec<_>>().join(", ")
        }
    }
}

/// `192.0.2.1 +3`.
fn address_summary(router: &VirtualRouter) -> String {
    match router.spec.addresses.as_slice() {
        [] => String::new(),
        [one] => one.address.to_string(),
        [first, rest @ ..] => format!("{} +{}", first.address, rest.len()),
    }
}

/// How many candidates report of how many.
fn node_summary(sources: &Sources<'_>) -> String {
    let candidates = sources.allocation.map_or(&[][..], |a| &a.candidates);
    let reporting = candidates.iter().filter(|c| {
        let config = sources.configs.get(c.node.as_str());
        let status = config.and_then(|c| c.status.as_ref());
        status.is_some_and(|s| !s.families.is_empty())
    });
    format!("{}/{}", reporting.count(), candidates.len())
}
