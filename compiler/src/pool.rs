//! Which nodes could take part in a router: the rules between a router and the Nodes.
//!
//! From manifests a router that nobody can run is refused, so that an edit that brings it about keeps the last good
//! state. In a cluster Nodes come and go by themselves: there it is a warning, and the router keeps its addresses.

use std::collections::BTreeMap;

use vipkeeper_crds::AddressFamily;

use crate::allocation::Candidate;
use crate::entry::Entry;
use crate::finding::{Cause, Finding, ObjectName, Remarks, Severity};
use crate::index::{Index, Setting};
use crate::interface::{missing, presence};
use crate::node::Withdrawal;
use crate::placement::{Eligible, Pool};
use crate::router::{Balance, Candidates, Listed, Router, Way};

/// How many names a message lists.
const NAMES: usize = 3;

/// The nodes that could take part in `router`.
pub(crate) fn pool(
    index: &Index,
    entry: &Entry,
    router: &Router,
    withdrawn: &BTreeMap<&str, Withdrawal>,
    remarks: &mut Remarks,
) -> Pool {
    let eligible = |node: &str, preference: i64| Eligible {
        preference,
        interface: presence(router, index.interfaces.get(node)),
        withdrawal: withdrawn.get(node).copied(),
        addresses: index
            .nodes
            .get(node)
            .map_or_else(Vec::new, |n| n.addresses.clone()),
    };
    match &router.candidates {
        Candidates::Listed(list) => {
            let all = list.iter().map(|l| (l.node.clone(), eligible(&l.node, 0)));
            let mut pool: Pool = all.collect();
            match index.setting {
                Setting::Standalone => listed_are_known(router, list, &pool, remarks),
                Setting::Cluster => only_present(index, router, list, &mut pool, remarks),
            }
            room_below(list, &pool, remarks);
            somebody_listens(router, pool.len(), &pool, remarks);
            pool
        }
        Candidates::Balanced(balance) => {
            let all = entry.matching.iter();
            let all = all.map(|(node, preference)| (node.clone(), eligible(node, *preference)));
            let mut pool: Pool = all.collect();
            somebody_matches(index, balance, &pool, remarks);
            only_addressed(index.setting, router, &mut pool, remarks);
            pinned_takes_part(balance, &pool, remarks);
            let count = pool.len().min(balance.most);
            somebody_listens(router, count, &pool, remarks);
            pool
        }
    }
}

/// Unicast reaches those alone whose addresses are known. The answer is the same for every node.
fn listed_are_known(router: &Router, list: &[Listed], pool: &Pool, remarks: &mut Remarks) {
    match router.transport.way {
        Way::Multicast { .. } => return,
        Way::Unicast => {}
    }
    let families = |entry| router.families.iter().map(move |family| (entry, *family));
    for ((i, listed), family) in list.iter().enumerate().flat_map(families) {
        let node = &listed.node;
        let known = pool.get(node).and_then(|e| e.address(family));
        if known.is_some() {
            continue;
        }
        let path = format!("spec.nodes.priorities[{i}].node");
        let unknown =
            format!("unicast needs the {family} InternalIP of {node}, which no Node says");
        if router.transport.extra_peers(family).is_empty() {
            remarks.error(
                path,
                format!("{unknown}: add the core v1 Node {node} with `status.addresses`, or list it in spec.transport.extraPeers"),
            );
        } else if family == AddressFamily::V6 && router.transport.source(family).is_none() {
            remarks.error(
                path,
                format!("{unknown}, and without it {node} would speak from its link-local address: add the core v1 Node {node} with `status.addresses`, or say spec.transport.source"),
            );
        } else {
            remarks.warn(
                path,
                format!(
                    "{unknown}: it takes part only if spec.transport.extraPeers lists its address"
                ),
            );
        }
    }
}

/// In a cluster a listed node takes part while it is there and can be reached.
fn only_present(
    index: &Index,
    router: &Router,
    list: &[Listed],
    pool: &mut Pool,
    remarks: &mut Remarks,
) {
    let unicast = matches!(router.transport.way, Way::Unicast);
    for (i, listed) in list.iter().enumerate() {
        let node = &listed.node;
        let path = format!("spec.nodes.priorities[{i}].node");
        let reached = pool.get(node).is_some_and(|e| e.reached(router));
        if !index.nodes.contains_key(node) {
            let message = format!("there is no Node {node}: it takes no part until it joins");
            remarks.say(Severity::Warning, Cause::CandidateMissing, path, message);
            pool.remove(node);
        } else if unicast && !reached {
            let message = format!(
                "Node {node} has no {} InternalIP, which unicast needs: it takes no part",
                words(router)
            );
            remarks.say(Severity::Warning, Cause::CandidateMissing, path, message);
            pool.remove(node);
        }
    }
}

/// A withdrawn node needs a priority below all that are in use.
fn room_below(list: &[Listed], pool: &Pool, remarks: &mut Remarks) {
    let withdrawn = |l: &&Listed| pool.get(&l.node).is_some_and(|e| e.withdrawal.is_some());
    let down = list.iter().filter(withdrawn).count();
    let lowest = list.iter().filter(|l| !withdrawn(l)).map(|l| l.priority);
    if let Some(lowest) = lowest.min()
        && usize::from(lowest) <= down
    {
        remarks.warn(
            "spec.nodes.priorities",
            format!(
                "priority {lowest} leaves no room for {down} nodes below it that shall not be used: they may take over together with it; raise the priorities"
            ),
        );
    }
}

fn somebody_matches(index: &Index, balance: &Balance, pool: &Pool, remarks: &mut Remarks) {
    let count = index.nodes.len();
    let (path, message) = match (count, balance.selects()) {
        _ if !pool.is_empty() => return,
        (0, _) if index.setting == Setting::Cluster => (
            "spec.nodes",
            "there is no Node yet: nobody takes part".to_owned(),
        ),
        (0, false) => (
            "spec.nodes.priorities",
            "required, because nodes that share nothing cannot agree on them: list each node with its priority, such as `{node: node-a, priority: 100}`, or add a core v1 Node object for each node, and all compute the same order".to_owned(),
        ),
        (0, true) => (
            "spec.nodes.selectors",
            "there is no Node to select from: add a core v1 Node object with labels for each node".to_owned(),
        ),
        (_, true) => (
            "spec.nodes.selectors",
            format!("none of the {count} Nodes matches: change the selectors, or the labels of the Nodes"),
        ),
        (_, false) => (
            "spec.nodes",
            format!("none of the {count} Nodes runs Linux, as their labels kubernetes.io/os say: add one that does"),
        ),
    };
    refuse(index.setting, path, message, remarks);
}

/// By unicast only those take part whose addresses the others know.
fn only_addressed(setting: Setting, router: &Router, pool: &mut Pool, remarks: &mut Remarks) {
    match router.transport.way {
        Way::Multicast { .. } => return,
        Way::Unicast => {}
    }
    let unknown = pool.iter().filter(|(_, e)| !e.reached(router));
    let unknown: Vec<String> = unknown.map(|(name, _)| name.clone()).collect();
    if unknown.is_empty() {
        return;
    }
    pool.retain(|_, e| e.reached(router));
    let shown = unknown.iter().take(NAMES).cloned().collect::<Vec<_>>();
    let more = match unknown.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "unicast needs the {} InternalIP of each Node: {}{more} say none and take no part; add it to `status.addresses`",
        words(router),
        shown.join(", ")
    );
    if pool.is_empty() {
        refuse(setting, "spec.nodes", message, remarks);
    } else {
        remarks.warn("spec.nodes", message);
    }
}

fn pinned_takes_part(balance: &Balance, pool: &Pool, remarks: &mut Remarks) {
    let Some(pinned) = &balance.pinned else {
        return;
    };
    let why = match pool.get(pinned).map(|e| e.withdrawal) {
        Some(None) => return,
        Some(Some(_)) => "shall not be used now",
        None => "cannot take part in this router",
    };
    remarks.warn(
        "metadata.annotations",
        format!("vipkeeper.io/active-node names {pinned}, which {why}: name another node, or remove the annotation"),
    );
}

/// By unicast a node without anybody to speak to is on its own. `count` of the pool take part.
fn somebody_listens(router: &Router, count: usize, pool: &Pool, remarks: &mut Remarks) {
    match router.transport.way {
        Way::Multicast { .. } => return,
        Way::Unicast => {}
    }
    let unknown = |f: AddressFamily| pool.values().any(|e| e.address(f).is_none());
    for family in &router.families {
        let extra = router.transport.extra_peers(*family);
        if extra.is_empty() && unknown(*family) {
            continue; // Said already.
        }
        let lonely = |own: &Eligible| {
            let own = own.address(*family);
            let mut others = pool.values().filter_map(|e| e.address(*family));
            let among_candidates = count > 1 && others.any(|a| Some(a) != own);
            !among_candidates && extra.iter().all(|p| Some(p.address) == own)
        };
        if let Some((node, _)) = pool.iter().find(|(_, e)| lonely(e)) {
            let message = format!(
                "{node} has nobody to speak to and holds the addresses alone: list another node, add spec.transport.extraPeers, or say `mode: Multicast`"
            );
            return remarks.warn("spec.transport.mode", message);
        }
    }
}

/// The families of a router, in words.
fn words(router: &Router) -> String {
    let names: Vec<String> = router.families.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

/// An error from manifests, a warning in a cluster.
fn refuse(setting: Setting, path: &str, message: String, remarks: &mut Remarks) {
    let severity = match setting {
        Setting::Standalone => Severity::Error,
        Setting::Cluster => Severity::Warning,
    };
    remarks.say(severity, Cause::NoCandidates, path, message);
}

/// Says which of those that take part have no interface of the kind asked for, by what their agents report.
pub(crate) fn lacking(index: &Index, router: &Router, candidates: &[Candidate]) -> Vec<Finding> {
    let mut remarks = Remarks::of(ObjectName::new("VirtualRouter", &router.name));
    let lacking = candidates.iter().filter_map(|candidate| {
        let reported = index.interfaces.get(&candidate.node)?;
        Some((candidate.node.as_str(), missing(router, reported)?))
    });
    let lacking: Vec<_> = lacking.collect();
    let Some((_, (path, what))) = lacking.first() else {
        return Vec::new();
    };
    let names: Vec<&str> = lacking.iter().map(|(node, _)| *node).take(NAMES).collect();
    let names = names.join(", ");
    let message = match lacking.len().saturating_sub(NAMES) {
        _ if lacking.len() == candidates.len() => {
            format!(
                "no candidate has {what}, {names} among them: say which interface in {path}, or add it there"
            )
        }
        0 => format!(
            "{names} has no {}, and cannot take over: say another interface in {path}, or add it there",
            what.trim_start_matches("an ")
        ),
        more => format!(
            "{names} and {more} more have no {}, and cannot take over: say another interface in {path}, or add it there",
            what.trim_start_matches("an ")
        ),
    };
    remarks.say(
        Severity::Warning,
        Cause::InterfaceMissing,
        path.as_str(),
        message,
    );
    remarks.into_findings()
}
