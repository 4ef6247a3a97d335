//! What there is to say of an installation. A function of what was read.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use vipkeeper_crds::conditions::{ConditionStatus, ConditionType};
use vipkeeper_crds::features;
use vipkeeper_crds::status::{CheckStatus, NodeInventory};

use super::{Check, NodeReport, Patient, Report, servers};
use crate::status::{Abnormal, report, sentence};
use crate::{age, output};

/// Nodes of other systems run no agent.
const SYSTEM: &str = "kubernetes.io/os";

/// All of it, at `now`.
pub(super) fn examine(patient: &Patient, now: &Time) -> Report {
    let newest = newest(patient);
    let nodes = patient.objects.nodes.iter().filter(|n| is_linux(n));
    Report {
        installation: installation(patient, now),
        nodes: nodes
            .map(|n| of_node(patient, &n.name_any(), newest.as_deref()))
            .collect(),
        routers: routers(patient),
        servers: servers::of(patient),
    }
}

fn installation(patient: &Patient, now: &Time) -> Vec<Check> {
    let mut all = vec![definitions(patient), operator(patient, now)];
    if let Err(why) = &patient.servers {
        all.push(check("VirtualServers", CheckStatus::Warning, why.clone()));
    }
    all
}

pub(super) fn check(name: &str, status: CheckStatus, message: String) -> Check {
    Check {
        name: name.to_owned(),
        status,
        message,
    }
}

fn is_linux(node: &Node) -> bool {
    node.labels()
        .get(SYSTEM)
        .is_none_or(|system| system == "linux")
}

fn definitions(patient: &Patient) -> Check {
    let (status, message) = match &patient.missing {
        Ok(missing) if missing.is_empty() => (CheckStatus::Pass, "installed".to_owned()),
        Ok(missing) => (
            CheckStatus::Failure,
            format!(
                "{} missing: install the chart vipkeeper-crds, or apply deploy/install.yaml",
                output::list(missing)
            ),
        ),
        Err(why) => (CheckStatus::Warning, why.clone()),
    };
    check("Definitions", status, message)
}

/// Whether an operator writes: agents go on without one, but nothing new reaches them.
fn operator(patient: &Patient, now: &Time) -> Check {
    let (status, message) = match &patient.lease {
        Err(why) => (CheckStatus::Warning, why.clone()),
        Ok(None) => (
            CheckStatus::Failure,
            format!(
                "there is no Lease {} in namespace {}: no operator ever ran there; install the chart vipkeeper, or name its namespace with --namespace",
                super::LEASE,
                patient.namespace
            ),
        ),
        Ok(Some(lease)) => held(
            lease.spec.clone().unwrap_or_default(),
            &patient.namespace,
            now,
        ),
    };
    check("Operator", status, message)
}

fn held(
    lease: k8s_openapi::api::coordination::v1::LeaseSpec,
    namespace: &str,
    now: &Time,
) -> (CheckStatus, String) {
    let holder = lease.holder_identity.filter(|h| !h.is_empty());
    let logs = format!("see its pods: kubectl -n {namespace} get pods");
    let (Some(holder), Some(renewed)) = (holder, lease.renew_time) else {
        return (
            CheckStatus::Failure,
            format!(
                "nobody holds the Lease: no operator runs; agents serve what they have, {logs}"
            ),
        );
    };
    let renewed = Time(renewed.0);
    let old = age::since(&renewed, now);
    let lasts = i64::from(lease.lease_duration_seconds.unwrap_or(0));
    let seconds = now.0.as_second().saturating_sub(renewed.0.as_second());
    if seconds > lasts {
        let message = format!(
            "{holder} renewed its Lease {old} ago, which lasts {lasts}s: no operator runs; agents serve what they have, {logs}"
        );
        (CheckStatus::Failure, message)
    } else {
        let message = format!("{holder} leads, its Lease was renewed {old} ago");
        (CheckStatus::Pass, message)
    }
}

/// The newest version of an agent.
fn newest(patient: &Patient) -> Option<String> {
    let nodes = patient.objects.nodes.iter().map(|n| n.name_any());
    let all = nodes.filter_map(|n| Some(patient.objects.inventory(&n)?.agent.version.clone()));
    all.filter(|v| !v.is_empty()).max_by_key(|v| numbers(v))
}

/// The numbers of a version, for comparison.
fn numbers(version: &str) -> Vec<u64> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    core.split('.').map(|n| n.parse().unwrap_or(0)).collect()
}

fn of_node(patient: &Patient, node: &str, newest: Option<&str>) -> NodeReport {
    let inventory = patient.objects.inventory(node);
    let mut checks: Vec<Check> = inventory
        .iter()
        .flat_map(|i| &i.checks)
        .map(|c| check(&c.name, c.status, c.message.clone()))
        .collect();
    match inventory {
        None => checks.push(silent(patient, node)),
        Some(inventory) => checks.extend(agent(patient, node, inventory, newest)),
    }
    checks.extend(servers::of_node(patient, node));
    let shown = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    NodeReport {
        name: node.to_owned(),
        agent: inventory.and_then(|i| shown(&i.agent.version)),
        kernel: inventory.and_then(|i| shown(&i.kernel.release)),
        checks,
    }
}

/// About a node whose agent does not report: bad if it has something to do.
fn silent(patient: &Patient, node: &str) -> Check {
    let configs = patient.objects.configs.iter();
    let duties = configs
        .filter(|c| c.spec.node_name == node && c.spec.shard.is_none())
        .filter_map(|c| c.spec.router.clone());
    let duties: Vec<String> = duties.collect();
    if duties.is_empty() {
        let message = "no agent reports from there; no router needs it now".to_owned();
        return check("Agent", CheckStatus::Warning, message);
    }
    let message = format!(
        "no agent reports from there, and it is a candidate of {}: see the DaemonSet vipkeeper-agent",
        output::list(&duties)
    );
    check("Agent", CheckStatus::Failure, message)
}

/// About the agent itself: older than others, or without what is asked of it.
fn agent(
    patient: &Patient,
    node: &str,
    inventory: &NodeInventory,
    newest: Option<&str>,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let version = &inventory.agent.version;
    if let Some(newest) = newest.filter(|newest| numbers(newest) > numbers(version)) {
        let message =
            format!("version {version}, and other agents have {newest}: let the rollout end");
        checks.push(check("AgentVersion", CheckStatus::Warning, message));
    } else {
        checks.push(check("AgentVersion", CheckStatus::Pass, version.clone()));
    }
    let can = |feature: &str| inventory.agent.features.iter().any(|f| f == feature);
    let configs = patient
        .objects
        .configs
        .iter()
        .filter(|c| c.spec.node_name == node);
    let required = configs
        .filter_map(|c| c.spec.config.as_ref())
        .flat_map(|c| &c.requires);
    let required: BTreeSet<&str> = required.map(String::as_str).collect();
    let lacks: Vec<&str> = required.into_iter().filter(|f| !can(f)).collect();
    let unknown: Vec<&str> = features::ALL.into_iter().filter(|f| !can(f)).collect();
    checks.push(if !lacks.is_empty() {
        let message = format!(
            "cannot do {}, which its routers need: upgrade the agent",
            output::list(&lacks)
        );
        check("Features", CheckStatus::Failure, message)
    } else if !unknown.is_empty() {
        let message = format!(
            "cannot do {}, which no router of its needs: upgrade the agent",
            output::list(&unknown)
        );
        check("Features", CheckStatus::Warning, message)
    } else {
        check("Features", CheckStatus::Pass, "all".to_owned())
    });
    checks
}

fn routers(patient: &Patient) -> Vec<Check> {
    let routers = patient.objects.routers.iter().map(report);
    let abnormal = routers.flat_map(|router| {
        let name = router.name.clone();
        router.abnormal.into_iter().map(move |a| (name.clone(), a))
    });
    abnormal
        .map(|(name, a)| check(&name, gravity(&a), sentence(&a)))
        .collect()
}

/// What leaves clients without an answer, or with two, is a failure.
pub(super) fn gravity(abnormal: &Abnormal) -> CheckStatus {
    match (&abnormal.condition, &abnormal.status) {
        (Some(ConditionType::Accepted | ConditionType::Ready), Some(ConditionStatus::False))
        | (
            Some(ConditionType::SplitBrain | ConditionType::NoActive | ConditionType::QuorumLost),
            _,
        ) => CheckStatus::Failure,
        (
            None
            | Some(
                ConditionType::Accepted
                | ConditionType::Ready
                | ConditionType::VridConflict
                | ConditionType::AddressConflict
                | ConditionType::PeerRejected
                | ConditionType::Degraded,
            ),
            _,
        ) => CheckStatus::Warning,
    }
}
