//! What there is to say of VirtualServers. What a node's kernel lacks is said of the node, once, with whom it concerns.

use std::collections::BTreeMap;

use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::status::{CheckStatus, ServerStatus};

use super::examination::{check, gravity};
use super::{Check, Patient};
use crate::output;
use crate::status::{Abnormal, of_server, sentence};

/// What is not as it should be, of each.
pub(super) fn of(patient: &Patient) -> Vec<Check> {
    let servers = patient.servers.iter().flatten().map(of_server);
    let abnormal = servers.flat_map(|server| {
        let name = format!("{}/{}", server.namespace, server.name);
        server.abnormal.into_iter().map(move |a| (name.clone(), a))
    });
    abnormal
        .filter(|(_, a)| !is_of_nodes(a))
        .map(|(name, a)| check(&name, gravity(&a), sentence(&a)))
        .collect()
}

/// What the kernel of `node` lacks for virtual servers: a failure where one is not served because of it.
pub(super) fn of_node(patient: &Patient, node: &str) -> Vec<Check> {
    let configs = patient.objects.configs.iter();
    let configs = configs.filter(|c| c.spec.node_name == node);
    let mut lacks: BTreeMap<(Reason, &str), Vec<&ServerStatus>> = BTreeMap::new();
    for server in configs
        .filter_map(|c| c.status.as_ref())
        .flat_map(|s| &s.servers)
    {
        for condition in server.conditions.iter().filter(|c| is_lack(c)) {
            let key = (condition.reason, condition.message.as_str());
            lacks.entry(key).or_default().push(server);
        }
    }
    let lacks = lacks.into_iter().map(|((reason, message), servers)| {
        let works = servers.iter().all(|s| s.health.programmed);
        let status = if works {
            CheckStatus::Warning
        } else {
            CheckStatus::Failure
        };
        let message = format!("{message} (for {})", names(&servers));
        check(&output::name(&reason), status, message)
    });
    lacks.collect()
}

/// `shop/one`, `shop/one and 3 other VirtualServers`.
fn names(servers: &[&ServerStatus]) -> String {
    let name = |s: &&ServerStatus| format!("{}/{}", s.server.namespace, s.server.name);
    match servers {
        [] => String::new(),
        [one] => name(one),
        [first, rest @ ..] => {
            let others = output::many(rest.len(), "other VirtualServer");
            format!("{} and {others}", name(first))
        }
    }
}

fn is_lack(condition: &Condition) -> bool {
    condition.status == ConditionStatus::True && is_kernels(condition.reason)
}

/// Whether it only says what nodes lack, which is said of them.
fn is_of_nodes(abnormal: &Abnormal) -> bool {
    abnormal.condition == Some(ConditionType::Degraded) && abnormal.reason.is_some_and(is_kernels)
}

const fn is_kernels(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::IpvsMissing | Reason::SchedulerMissing | Reason::SettingMissing
    )
}
