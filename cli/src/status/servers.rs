//! The virtual servers in the answer: who is served, by how many, and what is not as it should be.

use kube::ResourceExt as _;
use serde::Serialize;
use vipkeeper_crds::VirtualServer;
use vipkeeper_crds::status::{UnhealthyServer, VirtualServerStatus};

use super::{Abnormal, abnormal, sentence};
use crate::table::Table;

/// A virtual server.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerReport {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) router: String,
    /// `True`, `False` or `Unknown`.
    pub(crate) ready: String,
    /// Healthy real servers of all, `4/5`, as the node sees it that holds the addresses; empty while none does.
    pub(crate) healthy: String,
    /// The real servers that are out, with the nodes that say so.
    pub(crate) unhealthy: Vec<Unhealthy>,
    /// What is not as it should be.
    pub(crate) abnormal: Vec<Abnormal>,
}

/// A real server that is out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unhealthy {
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) server: UnhealthyServer,
}

/// What there is to say of `server`.
pub(crate) fn report(server: &VirtualServer) -> ServerReport {
    let nothing = VirtualServerStatus::default();
    let status = server.status.as_ref().unwrap_or(&nothing);
    let seen = server.status.as_ref().map(|s| s.observed_generation);
    let written = server.metadata.generation.unwrap_or_default();
    let (ready, abnormal) = abnormal("VirtualServer", written, seen, &status.conditions);
    let unhealthy = status.nodes.iter().flat_map(|node| {
        node.health.unhealthy.iter().map(|server| Unhealthy {
            node: node.name.clone(),
            server: server.clone(),
        })
    });
    ServerReport {
        namespace: server.namespace().unwrap_or_default(),
        name: server.name_any(),
        router: server.spec.router_ref.name.clone(),
        ready,
        healthy: status.ready_summary.clone(),
        unhealthy: unhealthy.collect(),
        abnormal,
    }
}

/// The table; empty without any.
pub(super) fn table(servers: &[ServerReport]) -> String {
    if servers.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["NAMESPACE", "SERVER", "READY", "HEALTHY", "ROUTER"]);
    for server in servers {
        table.row(vec![
            server.namespace.clone(),
            server.name.clone(),
            server.ready.clone(),
            server.healthy.clone(),
            server.router.clone(),
        ]);
    }
    table.lines()
}

/// What is not as it should be, with which real servers are out.
pub(super) fn remarks(servers: &[ServerReport]) -> String {
    let mut text = String::new();
    for server in servers {
        let name = format!("{}/{}", server.namespace, server.name);
        for abnormal in &server.abnormal {
            text.push_str(&format!("\n{name}: {}\n", sentence(abnormal)));
            if !abnormal.remedy.is_empty() {
                text.push_str(&format!("  {}\n", abnormal.remedy));
            }
        }
        for Unhealthy { node, server } in &server.unhealthy {
            let UnhealthyServer {
                address,
                port,
                reason,
            } = server;
            text.push_str(&format!("  {node}: {address} port {port}: {reason}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::{condition, server};

    #[test]
    fn a_server_is_said_with_the_real_servers_that_are_out() {
        let report = report(&server(
            "one",
            json!({"status": {
                "observedGeneration": 1, "readySummary": "1/2",
                "nodes": [{"name": "a", "programmed": true, "quorum": true, "healthy": 1, "total": 2,
                    "unhealthy": [{"address": "10.0.0.2", "port": 80, "reason": "web: refused"}]}],
                "conditions": [condition("Accepted", "True", "Valid"), condition("Ready", "True", "Serving"),
                    condition("Degraded", "True", "RealServersUnhealthy")],
            }}),
        ));
        assert_eq!(
            table(std::slice::from_ref(&report)),
            "NAMESPACE   SERVER   READY   HEALTHY   ROUTER\n\
             shop        one      True    1/2       web\n"
        );
        let said = remarks(std::slice::from_ref(&report));
        assert!(
            said.starts_with("\nshop/one: Degraded is True (RealServersUnhealthy): because\n"),
            "{said}"
        );
        assert!(
            said.ends_with("  a: 10.0.0.2 port 80: web: refused\n"),
            "{said}"
        );
    }

    #[test]
    fn one_that_nobody_looked_at_is_not_well() {
        let report = report(&server("one", json!({})));
        assert_eq!(report.ready, "Unknown");
        assert!(
            report.abnormal[0]
                .message
                .contains("no operator has looked at this VirtualServer")
        );
    }
}
