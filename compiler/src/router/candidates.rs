//! The rules of the nodes that take part, as far as the router alone tells: either each with its priority, or
//! which ones to choose from.

use vipkeeper_crds::{
    Duration, LabelSelector, Nodes, PreferredNodes, Priority, ProtocolVersion, VirtualRouter,
};

use crate::finding::Remarks;
use crate::{placement, selector};

/// The most nodes that take part in one router.
pub(crate) const MAX_CANDIDATES: usize = 32;
/// The priority of the address owner (RFC 9568 §5.2.4).
pub(crate) const OWNER: u8 = 255;
/// How many take part if nothing is said.
const DEFAULT_CANDIDATES: usize = 5;
/// The most selectors, and the most preferences.
const MAX_SELECTORS: usize = 16;
/// The annotation that names the node which shall hold the addresses.
pub const ACTIVE_NODE_ANNOTATION: &str = "vipkeeper.io/active-node";

/// Who takes part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Candidates {
    /// These, in the order in which they are written.
    Listed(Vec<Listed>),
    /// Those that placement chooses.
    Balanced(Balance),
}

/// A node with its priority as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) node: String,
    pub(crate) priority: u8,
}

impl Candidates {
    /// The node whose own configuration has the router's addresses, if one does.
    pub(crate) fn owner(&self) -> Option<&str> {
        match self {
            Self::Listed(list) => {
                let mut owners = list.iter().filter(|l| l.priority == OWNER);
                owners.next().map(|l| l.node.as_str())
            }
            Self::Balanced(_) => None,
        }
    }
}

/// What placement is to regard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Balance {
    pub(crate) selectors: Vec<LabelSelector>,
    preferred: Vec<PreferredNodes>,
    /// 1..=[`MAX_CANDIDATES`].
    pub(crate) most: usize,
    /// The node that shall hold the addresses until it is no longer named.
    pub(crate) pinned: Option<String>,
}

impl Balance {
    /// How much a node with `labels` is preferred, if it may take part at all.
    pub(crate) fn preference(&self, labels: &selector::Labels) -> Option<i64> {
        let named = |selector: &LabelSelector| selector::matches(selector, labels);
        let selected = self.selectors.is_empty() || self.selectors.iter().any(named);
        let weights = self.preferred.iter().filter(|p| named(&p.preference));
        (selected && selector::linux(labels)).then(|| weights.map(|p| p.weight).sum())
    }

    /// Whether only some of the nodes are asked for.
    pub(crate) fn selects(&self) -> bool {
        !self.selectors.is_empty()
    }
}

/// Who takes part in `object`; `timing` is what can be read of its version and interval.
pub(super) fn candidates(
    object: &VirtualRouter,
    timing: Option<(ProtocolVersion, Duration)>,
    remarks: &mut Remarks,
) -> Candidates {
    let nodes = &object.spec.nodes;
    let annotations = object.metadata.annotations.as_ref();
    let pinned = annotations
        .and_then(|all| all.get(ACTIVE_NODE_ANNOTATION))
        .cloned();
    if nodes.priorities.is_empty() {
        return Candidates::Balanced(balance(nodes, pinned, remarks));
    }
    alone(nodes, remarks);
    if pinned.is_some() {
        let message = format!(
            "{ACTIVE_NODE_ANNOTATION} cannot outrank spec.nodes.priorities: change the priorities, or remove the annotation"
        );
        remarks.warn("metadata.annotations", message);
    }
    let listed = listed(&nodes.priorities, remarks);
    if let Some((version, interval)) = timing {
        far_enough_apart(&nodes.priorities, version, interval, remarks);
    }
    Candidates::Listed(listed)
}

/// Beside priorities nothing else chooses.
fn alone(nodes: &Nodes, remarks: &mut Remarks) {
    for (name, given) in [
        ("selectors", !nodes.selectors.is_empty()),
        ("maxCandidates", nodes.max_candidates.is_some()),
        ("preferred", !nodes.preferred.is_empty()),
    ] {
        if given {
            let message = "says which nodes to choose, and spec.nodes.priorities lists them: remove one of the two";
            remarks.error(format!("spec.nodes.{name}"), message);
        }
    }
}

fn balance(nodes: &Nodes, pinned: Option<String>, remarks: &mut Remarks) -> Balance {
    for (name, count) in [
        ("selectors", nodes.selectors.len()),
        ("preferred", nodes.preferred.len()),
    ] {
        if count > MAX_SELECTORS {
            let message = format!("{count} entries: at most {MAX_SELECTORS}");
            remarks.error(format!("spec.nodes.{name}"), message);
        }
    }
    for (i, given) in nodes.selectors.iter().enumerate() {
        selector::check(given, &format!("spec.nodes.selectors[{i}]"), remarks);
    }
    for (i, given) in nodes.preferred.iter().enumerate() {
        let path = format!("spec.nodes.preferred[{i}]");
        if !(1..=100).contains(&given.weight) {
            let message = format!("{}: choose 1 to 100", given.weight);
            remarks.error(format!("{path}.weight"), message);
        }
        selector::check(&given.preference, &format!("{path}.preference"), remarks);
    }
    let most = nodes.max_candidates.map(usize::try_from);
    let most = most.unwrap_or(Ok(DEFAULT_CANDIDATES)).unwrap_or(0);
    if !(1..=MAX_CANDIDATES).contains(&most) {
        let given = nodes.max_candidates.unwrap_or_default();
        let message = format!("{given}: choose 1 to {MAX_CANDIDATES}");
        remarks.error("spec.nodes.maxCandidates", message);
    }
    Balance {
        selectors: nodes.selectors.clone(),
        preferred: nodes.preferred.clone(),
        most,
        pinned,
    }
}

fn listed(given: &[Priority], remarks: &mut Remarks) -> Vec<Listed> {
    if given.len() > MAX_CANDIDATES {
        let message = format!(
            "{} nodes: a router has at most {MAX_CANDIDATES}",
            given.len()
        );
        remarks.error("spec.nodes.priorities", message);
    }
    let mut good: Vec<Listed> = Vec::with_capacity(given.len());
    for (i, entry) in given.iter().enumerate() {
        let path = format!("spec.nodes.priorities[{i}]");
        if entry.node.is_empty() {
            remarks.error(format!("{path}.node"), "empty: name the node");
        } else if good.iter().any(|c| c.node == entry.node) {
            let message = format!("{} is listed twice: remove one", entry.node);
            remarks.error(format!("{path}.node"), message);
            continue;
        }
        let Some(priority) = priority(entry, &format!("{path}.priority"), remarks) else {
            continue;
        };
        if let Some(equal) = good.iter().find(|c| c.priority == priority) {
            if priority == OWNER {
                let message = format!(
                    "{} has priority 255, and an address has one owner: choose 1 to 254 here",
                    equal.node
                );
                remarks.error(format!("{path}.priority"), message);
                continue;
            }
            remarks.warn(
                format!("{path}.priority"),
                format!(
                    "{} has priority {priority} too: after a failure both may take over at once until one sees the other; give each node its own",
                    equal.node
                ),
            );
        }
        good.push(Listed {
            node: entry.node.clone(),
            priority,
        });
    }
    good
}

fn priority(entry: &Priority, path: &str, remarks: &mut Remarks) -> Option<u8> {
    match u8::try_from(entry.priority) {
        Ok(priority) if priority > 0 => Some(priority),
        Ok(_) | Err(_) => {
            let message = format!(
                "{}: choose 1 to 254, or 255 for the node whose own configuration has every address",
                entry.priority
            );
            remarks.error(path, message);
            None
        }
    }
}

/// Two Backups whose skews are closer than a machine is exact take over together. Of two nodes only one is a Backup
/// when the other dies; equal priorities have their own warning.
fn far_enough_apart(
    given: &[Priority],
    version: ProtocolVersion,
    interval: Duration,
    remarks: &mut Remarks,
) {
    // The owner is never a Backup.
    let backups = given.iter().enumerate();
    let backups = backups.filter(|(_, entry)| entry.priority != i64::from(OWNER));
    let mut sorted: Vec<(usize, &Priority)> = backups.collect();
    let least = if sorted.len() < given.len() { 2 } else { 3 };
    if sorted.len() < least {
        return;
    }
    let step = i64::from(placement::step(version, interval, sorted.len()));
    sorted.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.priority));
    for pair in sorted.windows(2) {
        if let [(_, upper), (i, lower)] = pair {
            let apart = upper.priority.saturating_sub(lower.priority);
            if (1..step).contains(&apart) {
                remarks.warn(
                    format!("spec.nodes.priorities[{i}].priority"),
                    format!(
                        "only {apart} below {}: with an interval of {interval} both may take over at once as Backups; leave {step} or more between them",
                        upper.node
                    ),
                );
            }
        }
    }
}
