//! What the agents of a router's candidates report, as the status of the router. Pure.
//!
//! An entry is a claim, not proof: of two that claim to be Active, those count that gave the nonce back.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vipkeeper_compiler::{Allocation, Finding, Severity};
use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::status::{
    CandidateStatus, ElectionState, FamilyStatus, InstanceStatus, VirtualRouterStatus,
};
use vipkeeper_crds::{AddressFamily, NodeConfig, VirtualRouter};

/// Most entries of `status.nodes`.
const MOST_NODES: usize = 128;
/// Most characters of a message.
const MOST_TEXT: usize = 1024;

/// What a router's status is made of.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    /// The router.
    pub router: &'a VirtualRouter,
    /// What it was given; `None` if it is refused.
    pub allocation: Option<&'a Allocation>,
    /// What there is to say about it.
    pub findings: Vec<&'a Finding>,
    /// The families of its addresses.
    pub families: BTreeSet<AddressFamily>,
    /// The NodeConfigs of its candidates as they are in the cluster, by node.
    pub configs: BTreeMap<&'a str, &'a NodeConfig>,
}

/// The status of a router at `now`. Times of conditions and holders stay where nothing changed.
#[must_use]
pub fn status(sources: &Sources<'_>, now: &Time) -> VirtualRouterStatus {
    let before = sources.router.status.clone().unwrap_or_default();
    let nodes = candidates(sources);
    let families = families(sources, &nodes, &before, now);
    let generation = sources.router.metadata.generation.unwrap_or_default();
    let conditions = conditions(sources, &nodes, &families)
        .into_iter()
        .map(|said| said.into_condition(generation, &before.conditions, now))
        .collect::<Vec<_>>();
    let ready = conditions.iter().find(|c| c.kind == ConditionType::Ready);
    VirtualRouterStatus {
        observed_generation: generation,
        active_summary: active_summary(&families),
        ready_summary: ready
            .map_or("Unknown", |c| status_word(c.status))
            .to_owned(),
        virtual_router_id: sources.allocation.map(|a| a.virtual_router_id.into()),
        address_summary: address_summary(sources.router),
        node_summary: node_summary(sources),
        families,
        nodes,
        conditions,
    }
}

fn candidates(sources: &Sources<'_>) -> Vec<CandidateStatus> {
    let all = sources.allocation.iter().flat_map(|a| &a.candidates);
    let rows = all.flat_map(|candidate| {
        let config = sources.configs.get(candidate.node.as_str());
        let reported = config.and_then(|c| c.status.as_ref());
        let rows = reported.map_or(&[][..], |status| &status.families);
        rows.iter().map(|row| CandidateStatus {
            name: candidate.node.clone(),
            family: row.family,
            state: row.state,
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
            let active_node = only_active(nodes, family).map(str::to_owned);
            let earlier = before.families.iter().find(|f| f.family == family);
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

fn actives(nodes: &[CandidateStatus], family: AddressFamily) -> Vec<&str> {
    let active = |n: &&CandidateStatus| n.family == family && n.state == ElectionState::Active;
    nodes
        .iter()
        .filter(active)
        .map(|n| n.name.as_str())
        .collect()
}

fn only_active(nodes: &[CandidateStatus], family: AddressFamily) -> Option<&str> {
    match actives(nodes, family).as_slice() {
        [one] => Some(one),
        [] | [_, _, ..] => None,
    }
}

/// A condition without its time.
struct Said {
    kind: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

impl Said {
    fn new(kind: ConditionType, status: ConditionStatus, reason: Reason) -> Self {
        Self {
            kind,
            status,
            reason,
            message: reason.text().to_owned(),
        }
    }

    fn because(mut self, message: String) -> Self {
        self.message = message;
        self
    }

    fn into_condition(self, generation: i64, before: &[Condition], now: &Time) -> Condition {
        let earlier = before.iter().find(|c| c.kind == self.kind);
        let since = earlier.filter(|c| c.status == self.status);
        Condition {
            kind: self.kind,
            status: self.status,
            reason: self.reason,
            message: self.message.chars().take(MOST_TEXT).collect(),
            last_transition_time: since.map_or(now, |c| &c.last_transition_time).clone(),
            observed_generation: generation,
        }
    }
}

fn conditions(
    sources: &Sources<'_>,
    nodes: &[CandidateStatus],
    families: &[FamilyStatus],
) -> Vec<Said> {
    let mut all = vec![accepted(sources), ready(sources, nodes, families)];
    let several = families.iter().any(|f| actives(nodes, f.family).len() > 1);
    if several {
        let who = families.iter().flat_map(|f| actives(nodes, f.family));
        let who: Vec<&str> = who.collect();
        let text = format!("{}: {}", who.join(", "), Reason::SeveralActive.text());
        all.push(
            Said::new(
                ConditionType::SplitBrain,
                ConditionStatus::True,
                Reason::SeveralActive,
            )
            .because(text),
        );
    }
    let reported = !nodes.is_empty();
    let vacant = families.iter().any(|f| actives(nodes, f.family).is_empty());
    if reported && vacant {
        all.push(Said::new(
            ConditionType::NoActive,
            ConditionStatus::True,
            Reason::NobodyActive,
        ));
    }
    all.extend(of_agents(sources));
    all
}

fn accepted(sources: &Sources<'_>) -> Said {
    let kind = ConditionType::Accepted;
    let errors = sources.findings.iter();
    let errors: Vec<String> = errors
        .filter(|f| f.severity == Severity::Error)
        .map(|f| format!("{}: {}", f.path, f.message))
        .collect();
    match sources.allocation {
        None => Said::new(kind, ConditionStatus::False, Reason::Invalid).because(errors.join("; ")),
        Some(allocation) if allocation.candidates.is_empty() => {
            Said::new(kind, ConditionStatus::False, Reason::NoCandidates)
        }
        Some(_) => {
            let refused = sources.configs.iter().find_map(|(node, config)| {
                let acceptance = config.status.as_ref()?.acceptance.as_ref()?;
                (!acceptance.accepted).then_some((node, acceptance))
            });
            match refused {
                Some((node, acceptance)) => {
                    Said::new(kind, ConditionStatus::False, acceptance.reason)
                        .because(format!("{node}: {}", acceptance.message))
                }
                None => Said::new(kind, ConditionStatus::True, Reason::Valid),
            }
        }
    }
}

fn ready(sources: &Sources<'_>, nodes: &[CandidateStatus], families: &[FamilyStatus]) -> Said {
    let kind = ConditionType::Ready;
    if sources.allocation.is_none() {
        return Said::new(kind, ConditionStatus::False, Reason::NobodyActive);
    }
    if nodes.is_empty() || families.is_empty() {
        return Said::new(kind, ConditionStatus::Unknown, Reason::Pending);
    }
    for family in families {
        match actives(nodes, family.family).as_slice() {
            [] => return Said::new(kind, ConditionStatus::False, Reason::NobodyActive),
            [one] => {
                let instance = instance(sources, one, family.family);
                if !instance.is_some_and(|i| i.programmed) {
                    return Said::new(kind, ConditionStatus::False, Reason::NotProgrammed);
                }
            }
            [_, _, ..] => return Said::new(kind, ConditionStatus::False, Reason::SeveralActive),
        }
    }
    Said::new(kind, ConditionStatus::True, Reason::OneActive)
}

fn instance<'a>(
    sources: &Sources<'a>,
    node: &str,
    family: AddressFamily,
) -> Option<&'a InstanceStatus> {
    let status = sources.configs.get(node)?.status.as_ref()?;
    status.families.iter().find(|i| i.family == family)
}

/// What agents say is abnormal: of each kind the first, with the node.
fn of_agents(sources: &Sources<'_>) -> Vec<Said> {
    let mut first: BTreeMap<ConditionType, Said> = BTreeMap::new();
    for (node, config) in &sources.configs {
        let instances = config.status.iter().flat_map(|s| &s.families);
        for condition in instances.flat_map(|i| &i.conditions) {
            first.entry(condition.kind).or_insert_with(|| {
                Said::new(condition.kind, condition.status, condition.reason)
                    .because(format!("{node}: {}", condition.message))
            });
        }
    }
    first.into_values().collect()
}

const fn status_word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
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
