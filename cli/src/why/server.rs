//! Why a virtual server serves, or does not: who holds its addresses, how each node stands, which real servers are out.
//!
//! From what the operator and the agents say alone: a function of the objects.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde::Serialize;
use vipkeeper_crds::conditions::ConditionStatus;
use vipkeeper_crds::node_server::ServerName;
use vipkeeper_crds::status::{ElectionState, ServerHealth, ServerStatus, UnhealthyServer};
use vipkeeper_crds::{AddressFamily, NodeConfig, VirtualRouter, VirtualServer};

use crate::output;
use crate::status::{Abnormal, of_server, sentence};
use crate::table::Table;
use crate::{Outcome, age};

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerExplanation {
    namespace: String,
    name: String,
    router: String,
    /// `True`, `False` or `Unknown`.
    accepted: String,
    /// `True`, `False` or `Unknown`.
    ready: String,
    /// Healthy real servers of all, as the node sees it that holds the addresses; empty while none does.
    healthy: String,
    families: Vec<Serving>,
    /// The candidates of the router, by name.
    nodes: Vec<ServerNode>,
    abnormal: Vec<Abnormal>,
}

/// Who holds the addresses of a family, and what comes of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Serving {
    family: AddressFamily,
    node: Option<String>,
    since: Option<Time>,
    why: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerNode {
    name: String,
    /// The families whose addresses it says it holds.
    holds: Vec<AddressFamily>,
    /// How the virtual server stands there; none if its agent does not say.
    #[serde(flatten)]
    health: Option<ServerHealth>,
    /// What keeps it from serving, or makes it serve worse.
    why: Vec<String>,
}

pub(super) fn outcome(explanation: &ServerExplanation) -> Outcome {
    if explanation.accepted == "True" && explanation.ready == "True" {
        Outcome::Good
    } else {
        Outcome::Bad
    }
}

/// Of `server` on `router`, if there is such a one, with the NodeConfigs of the cluster.
pub(super) fn explain(
    server: &VirtualServer,
    router: Option<&VirtualRouter>,
    configs: &[NodeConfig],
) -> ServerExplanation {
    let report = of_server(server);
    let name = ServerName {
        namespace: report.namespace.clone(),
        name: report.name.clone(),
    };
    let nodes = nodes(&name, &report.router, configs);
    let accepted = server.status.as_ref().map(|s| s.accepted_summary.clone());
    let accepted = accepted.filter(|a| !a.is_empty());
    let families = router.map_or_else(Vec::new, |router| families(router, &nodes));
    ServerExplanation {
        accepted: accepted.unwrap_or_else(|| "Unknown".to_owned()),
        ready: report.ready,
        healthy: report.healthy,
        families,
        nodes,
        abnormal: report.abnormal,
        router: report.router,
        namespace: report.namespace,
        name: report.name,
    }
}

/// What the nodes of `router` say. One may have several NodeConfigs for it: servers may be in shards.
fn nodes(name: &ServerName, router: &str, configs: &[NodeConfig]) -> Vec<ServerNode> {
    let own = configs
        .iter()
        .filter(|c| c.spec.router.as_deref() == Some(router));
    let mut by_node: BTreeMap<&str, Vec<&NodeConfig>> = BTreeMap::new();
    for config in own {
        by_node
            .entry(&config.spec.node_name)
            .or_default()
            .push(config);
    }
    by_node
        .into_iter()
        .map(|(node, configs)| of_node(node, name, &configs))
        .collect()
}

fn of_node(node: &str, name: &ServerName, configs: &[&NodeConfig]) -> ServerNode {
    let statuses = configs.iter().filter_map(|c| c.status.as_ref());
    let held = statuses.clone().flat_map(|s| &s.families);
    let held = held.filter(|f| f.state == ElectionState::Active);
    let holds: BTreeSet<AddressFamily> = held.map(|f| f.family).collect();
    let report = statuses
        .flat_map(|s| &s.servers)
        .find(|s| s.server == *name);
    let mut why = Vec::new();
    match report {
        Some(report) => why.extend(hindrances(report)),
        None if !is_told(name, configs) => {
            why.push("the operator has not told this node of it".to_owned());
        }
        None => why.push("its agent has not reported on it yet".to_owned()),
    }
    ServerNode {
        name: node.to_owned(),
        holds: holds.into_iter().collect(),
        health: report.map(|r| r.health.clone()),
        why,
    }
}

fn is_told(name: &ServerName, configs: &[&NodeConfig]) -> bool {
    let mut told = configs.iter().flat_map(|config| {
        let whole = config.spec.config.iter().flat_map(|c| &c.servers);
        whole.chain(config.spec.shard.iter().flat_map(|s| &s.servers))
    });
    told.any(|server| server.name == *name)
}

/// What is wrong on a node beside real servers that are out.
fn hindrances(report: &ServerStatus) -> Vec<String> {
    let conditions = report.conditions.iter();
    let conditions = conditions.filter(|c| c.status == ConditionStatus::True);
    let mut all: Vec<String> = conditions
        .map(|c| format!("{}: {}", output::name(&c.reason), c.message))
        .collect();
    if all.is_empty() && !report.health.programmed {
        all.push("its kernel does not have everything yet".to_owned());
    }
    all
}

fn families(router: &VirtualRouter, nodes: &[ServerNode]) -> Vec<Serving> {
    let families = router.status.iter().flat_map(|s| &s.families);
    let of_family = |family: &vipkeeper_crds::status::FamilyStatus| {
        let holder = family.active_node.as_deref();
        let why = match holder {
            None => format!(
                "nobody holds the addresses: `kubectl vipkeeper why {}`",
                router.name_any()
            ),
            Some(holder) => {
                let node = nodes.iter().find(|n| n.name == holder);
                let health = node.and_then(|n| n.health.as_ref());
                format!("{holder} holds the addresses, {}", outlook(health))
            }
        };
        Serving {
            family: family.family,
            node: family.active_node.clone(),
            since: family.since.clone(),
            why,
        }
    };
    families.map(of_family).collect()
}

/// What a client of the holder gets.
fn outlook(health: Option<&ServerHealth>) -> String {
    let Some(health) = health else {
        return "and does not say how it serves".to_owned();
    };
    let ServerHealth {
        programmed,
        quorum,
        sorry,
        healthy,
        total,
        unhealthy: _,
    } = *health;
    match (programmed, quorum, sorry) {
        (false, _, _) => "but serves nobody, or not all: see WHY".to_owned(),
        (true, true, _) => {
            format!("and spreads connections over {healthy} of {total} real servers")
        }
        (true, false, true) => format!(
            "and the sorry server serves: {healthy} of {total} real servers are healthy, too few for spec.quorum"
        ),
        (true, false, false) => {
            format!("but {healthy} of {total} real servers are healthy, too few for spec.quorum")
        }
    }
}

pub(super) fn text(explanation: &ServerExplanation, now: &Time) -> String {
    let ServerExplanation {
        namespace,
        name,
        router,
        accepted,
        ready,
        healthy,
        ..
    } = explanation;
    let mut text = format!(
        "VirtualServer {namespace}/{name} on VirtualRouter {router}: Accepted {accepted}, Ready {ready}"
    );
    if !healthy.is_empty() {
        text.push_str(&format!(", {healthy} healthy"));
    }
    text.push('\n');
    for serving in &explanation.families {
        text.push_str(&format!("{}: {}", serving.family, serving.why));
        if let Some(since) = serving.since.as_ref().filter(|_| serving.node.is_some()) {
            text.push_str(&format!(" (since {})", age::since(since, now)));
        }
        text.push_str(".\n");
    }
    if !explanation.nodes.is_empty() {
        text.push('\n');
        text.push_str(&table(&explanation.nodes));
    }
    let out = out(&explanation.nodes);
    if !out.is_empty() {
        text.push_str(&format!("\nReal servers that are out:\n{out}"));
    }
    for abnormal in &explanation.abnormal {
        text.push_str(&format!("\n{}\n", sentence(abnormal)));
        if !abnormal.remedy.is_empty() {
            text.push_str(&format!("  {}\n", abnormal.remedy));
        }
    }
    text
}

fn table(nodes: &[ServerNode]) -> String {
    let mut table = Table::new(&["NODE", "HOLDS", "PROGRAMMED", "QUORUM", "HEALTHY", "WHY"]);
    let word = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
    for node in nodes {
        let health = node.health.as_ref();
        let holds: Vec<String> = node.holds.iter().map(ToString::to_string).collect();
        table.row(vec![
            node.name.clone(),
            holds.join(", "),
            health.map_or_else(String::new, |h| word(h.programmed)),
            health.map_or_else(String::new, |h| match (h.quorum, h.sorry) {
                (false, true) => "sorry".to_owned(),
                (quorum, _) => word(quorum),
            }),
            health.map_or_else(String::new, |h| format!("{}/{}", h.healthy, h.total)),
            node.why.join("; "),
        ]);
    }
    table.lines()
}

/// Which real servers are out and why, with the nodes that say so.
fn out(nodes: &[ServerNode]) -> String {
    let mut all: BTreeMap<&UnhealthyServer, Vec<&str>> = BTreeMap::new();
    let mut unnamed = Vec::new();
    for node in nodes {
        let Some(health) = &node.health else {
            continue;
        };
        for server in &health.unhealthy {
            all.entry(server).or_default().push(&node.name);
        }
        let named = i64::try_from(health.unhealthy.len()).unwrap_or(i64::MAX);
        let more = health
            .total
            .saturating_sub(health.healthy)
            .saturating_sub(named);
        if more > 0 {
            unnamed.push(format!("  {}: and {more} more\n", node.name));
        }
    }
    let mut text = String::new();
    for (server, nodes) in all {
        let UnhealthyServer {
            address,
            port,
            reason,
        } = server;
        let nodes = nodes.join(", ");
        text.push_str(&format!("  {address} port {port}: {reason} ({nodes})\n"));
    }
    text.push_str(&unnamed.concat());
    text
}

#[cfg(test)]
mod tests;
