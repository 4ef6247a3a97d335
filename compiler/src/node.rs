//! What a Node object says that matters here: its name, labels and addresses, and whether it shall be used.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::finding::{Cause, Finding, ObjectName, Severity};
use crate::selector::Labels;

/// The annotation that takes a node out of use.
pub const DRAIN_ANNOTATION: &str = "vipkeeper.io/drain";
/// The taint of a node that is known to be off.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// For how long, in seconds, a node that is not ready changes nothing.
const PATIENCE: i64 = 300;

/// Why a node comes below all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Withdrawal {
    /// Its Node is being deleted.
    Deleted,
    /// It has the taint `node.kubernetes.io/out-of-service`.
    OutOfService,
    /// It has the annotation `vipkeeper.io/drain`.
    Drained,
    /// It is unschedulable.
    Cordoned,
    /// It was not ready for five minutes, while at most a third of all nodes was not.
    NotReady,
}

/// The part of a Node that counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeFacts {
    pub(crate) labels: Labels,
    /// Internal addresses in the order of the object.
    pub(crate) addresses: Vec<IpAddr>,
    /// Why it is not to be used, readiness apart.
    pub(crate) withdrawal: Option<Withdrawal>,
    pub(crate) readiness: Readiness,
    pub(crate) findings: Vec<Finding>,
}

/// Whether the cluster hears from the node's kubelet that all is well.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Readiness {
    Ready,
    /// Since then, if that is known.
    NotReady(Option<Time>),
}

impl NodeFacts {
    pub(crate) fn of(node: &Node) -> Self {
        let mut findings = Vec::new();
        Self {
            labels: node.metadata.labels.clone().unwrap_or_default(),
            addresses: internal_addresses(node, &mut findings),
            withdrawal: withdrawal(node),
            readiness: readiness(node),
            findings,
        }
    }

    /// Whether the node was not ready for so long before `now` that it counts.
    pub(crate) fn long_not_ready(&self, now: &Time) -> bool {
        match &self.readiness {
            Readiness::NotReady(Some(since)) => {
                now.0.as_second().saturating_sub(since.0.as_second()) >= PATIENCE
            }
            Readiness::Ready | Readiness::NotReady(None) => false,
        }
    }
}

fn withdrawal(node: &Node) -> Option<Withdrawal> {
    let annotations = node.metadata.annotations.as_ref();
    let drain = annotations.and_then(|all| all.get(DRAIN_ANNOTATION));
    let spec = node.spec.as_ref();
    let mut taints = spec.into_iter().flat_map(|s| s.taints.iter().flatten());
    if node.metadata.deletion_timestamp.is_some() {
        Some(Withdrawal::Deleted)
    } else if taints.any(|taint| taint.key == OUT_OF_SERVICE) {
        Some(Withdrawal::OutOfService)
    } else if drain.is_some_and(|value| value != "false") {
        Some(Withdrawal::Drained)
    } else if spec.and_then(|s| s.unschedulable) == Some(true) {
        Some(Withdrawal::Cordoned)
    } else {
        None
    }
}

/// A node that says nothing of it counts as ready.
fn readiness(node: &Node) -> Readiness {
    let status = node.status.as_ref();
    let mut conditions = status
        .into_iter()
        .flat_map(|s| s.conditions.iter().flatten());
    match conditions.find(|c: &&NodeCondition| c.type_ == "Ready") {
        Some(condition) if condition.status != "True" => {
            Readiness::NotReady(condition.last_transition_time.clone())
        }
        Some(_) | None => Readiness::Ready,
    }
}

/// The internal addresses; one that cannot be read is a warning.
fn internal_addresses(node: &Node, findings: &mut Vec<Finding>) -> Vec<IpAddr> {
    let status = node.status.as_ref();
    let listed = status
        .into_iter()
        .flat_map(|s| s.addresses.iter().flatten());
    let mut known = Vec::new();
    for (i, entry) in listed.enumerate().filter(|(_, a)| a.type_ == "InternalIP") {
        match entry.address.parse() {
            Ok(address) => known.push(address),
            Err(_) => findings.push(Finding {
                severity: Severity::Warning,
                cause: Cause::Rule,
                object: ObjectName::new("Node", node.metadata.name.as_deref().unwrap_or_default()),
                path: format!("status.addresses[{i}].address"),
                message: format!(
                    "`{}` is not an IP address and is passed over",
                    entry.address
                ),
            }),
        }
    }
    known
}
