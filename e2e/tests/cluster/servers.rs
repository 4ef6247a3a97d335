//! VirtualServers in a cluster: from the user's object to each node's configuration, and back to its status.
//!
//! The kernel of most machines that run this has no IPVS, and an agent has to say that.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::{NodeConfig, VirtualServer};
use vipkeeper_e2e::Cluster;
use vipkeeper_e2e::cluster::api::CONFIGS;

use crate::scene::{self, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    beside a_virtual_server_reaches_the_nodes_and_its_status_says_what_they_do,
    beside a_router_says_whose_virtual_servers_may_have_its_addresses,
    beside the_api_server_refuses_what_cannot_work_and_says_why,
    beside an_endpoint_that_changes_is_followed_and_no_configuration_is_written,
}

const SERVERS: &str = "/apis/vipkeeper.io/v1alpha1/namespaces/default/virtualservers";

fn path(server: &str) -> String {
    format!("{SERVERS}/{server}")
}

/// A VirtualServer on the router `web`, with `more` in its spec.
fn server(name: &str, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualServer",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "routerRef": {"name": "web"}, "ports": [{"port": 80}],
            "realServers": [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}],
        },
    });
    if let (Some(spec), Some(more)) = (object["spec"].as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    object
}

fn condition(server: &VirtualServer, kind: ConditionType) -> Option<&Condition> {
    let mut conditions = server.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|condition| condition.kind == kind)
}

fn is_accepted(server: &VirtualServer) -> bool {
    condition(server, ConditionType::Accepted).is_some_and(|c| c.status == ConditionStatus::True)
}

fn is_refused(server: &VirtualServer, reason: Reason) -> bool {
    condition(server, ConditionType::Accepted)
        .is_some_and(|c| c.status == ConditionStatus::False && c.reason == reason)
}

/// A router that takes VirtualServers `from` there.
fn attached(cluster: &Cluster, from: &Value) -> Result<()> {
    let attach = json!({"attach": {"namespaces": from}});
    cluster.serve(&scene::router("web", VIP, &attach))?;
    Ok(())
}

/// Whether every candidate of `web` has exactly these servers.
fn serve(configs: &[NodeConfig], names: &[&str]) -> bool {
    let mut of_web = configs
        .iter()
        .filter(|config| config.spec.router.as_deref() == Some("web"))
        .filter_map(|config| config.spec.config.as_ref())
        .peekable();
    of_web.peek().is_some()
        && of_web.all(|config| {
            let own = config.servers.iter().map(|s| s.name.name.as_str());
            own.eq(names.iter().copied())
        })
}

fn a_virtual_server_reaches_the_nodes_and_its_status_says_what_they_do() -> Result<()> {
    let cluster = scene::cluster(&["a", "b"])?;
    attached(&cluster, &json!({"from": "All"}))?;
    cluster
        .api
        .apply(&path("shop"), &server("shop", &json!({})))?;
    cluster
        .api
        .await_list(CONFIGS, "all with shop", SOON, |all: &[NodeConfig]| {
            serve(all, &["shop"])
        })?;
    let told = |server: &VirtualServer| {
        let nodes = server.status.iter().flat_map(|status| &status.nodes);
        let nodes: Vec<_> = nodes.collect();
        is_accepted(server) && nodes.len() == 2 && nodes.iter().all(|n| n.health.total == 2)
    };
    let server: VirtualServer =
        cluster
            .api
            .await_object(&path("shop"), "told by both nodes", SOON, told)?;
    let status = server.status.as_ref().context("no status")?;
    ensure!(
        status.ready_summary == "2/2",
        "nobody probes, so all are healthy: {status:?}"
    );
    let is_programmed = status.nodes.iter().all(|node| node.health.programmed);
    let degraded = condition(&server, ConditionType::Degraded).map(|c| c.reason);
    ensure!(
        is_programmed || degraded == Some(Reason::IpvsMissing),
        "not programmed, and not said why: {status:?}"
    );
    let table = cluster.kubectl(&["get", "virtualservers"], None)?;
    ensure!(table.contains("2/2") && table.contains("web"), "{table}");

    cluster.kubectl(&["delete", "virtualserver", "shop"], None)?;
    cluster
        .api
        .await_list(CONFIGS, "all without shop", SOON, |all: &[NodeConfig]| {
            serve(all, &[])
        })?;
    Ok(())
}

fn a_router_says_whose_virtual_servers_may_have_its_addresses() -> Result<()> {
    let cluster = scene::cluster(&["a", "b"])?;
    attached(&cluster, &json!({"from": "None"}))?;
    cluster
        .api
        .apply(&path("shop"), &server("shop", &json!({})))?;
    let refused = |server: &VirtualServer| is_refused(server, Reason::NotAllowed);
    cluster
        .api
        .await_object(&path("shop"), "not allowed", SOON, refused)?;

    let labels = json!({"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}});
    attached(&cluster, &labels)?;
    cluster.kubectl(&["label", "namespace", "default", "team=shop"], None)?;
    cluster
        .api
        .await_object(&path("shop"), "allowed", SOON, is_accepted)?;
    cluster.kubectl(&["label", "namespace", "default", "team-"], None)?;
    cluster
        .api
        .await_object(&path("shop"), "not allowed again", SOON, refused)?;

    attached(&cluster, &json!({"from": "All"}))?;
    cluster
        .api
        .await_object(&path("shop"), "allowed for all", SOON, is_accepted)?;
    // The same port of the same address once more: the older has it.
    cluster
        .api
        .apply(&path("later"), &server("later", &json!({})))?;
    let conflict = |server: &VirtualServer| is_refused(server, Reason::Conflict);
    cluster
        .api
        .await_object(&path("later"), "a conflict", SOON, conflict)?;
    cluster.await_active("web", |_| true)?;
    Ok(())
}

fn the_api_server_refuses_what_cannot_work_and_says_why() -> Result<()> {
    let cluster = scene::cluster(&["a"])?;
    let cases = [
        (
            json!({"forwarding": {"method": "DR"}, "ports": [{"port": 80, "targetPort": 8080}]}),
            "port",
        ),
        (
            json!({"forwarding": {"method": "Tunnel", "tunnel": {"type": "GUE"}}}),
            "port",
        ),
        (
            json!({"scheduler": {"name": "rr", "flags": ["Port"]}}),
            "flags",
        ),
        (json!({"all": true}), "persistence"),
        (json!({"serviceRef": {"name": "web"}}), "serviceRef"),
        (
            json!({"realServers": [{"address": "10.0.0.300"}]}),
            "address",
        ),
        (json!({"probes": [{"name": "p", "type": "File"}]}), "file"),
    ];
    for (more, word) in cases {
        let refused = cluster
            .api
            .try_apply(&path("shop"), &server("shop", &more))?;
        let Err(message) = refused else {
            anyhow::bail!("the API server took {more}");
        };
        let text = format!("{message:?}");
        ensure!(text.contains(word), "{more}: {text}");
    }
    Ok(())
}

fn an_endpoint_that_changes_is_followed_and_no_configuration_is_written() -> Result<()> {
    let cluster = scene::cluster(&["a", "b"])?;
    attached(&cluster, &json!({"from": "All"}))?;
    let mut of_service = server("shop", &json!({"serviceRef": {"name": "shop"}}));
    if let Some(spec) = of_service["spec"].as_object_mut() {
        spec.remove("realServers");
    }
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/shop-1";
    let slice = |addresses: &[&str]| {
        let endpoints = addresses
            .iter()
            .map(|address| json!({"addresses": [address]}));
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "shop-1", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "shop"},
            },
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    };
    cluster
        .api
        .apply(slices, &slice(&["10.1.0.1", "10.1.0.2"]))?;
    cluster.api.apply(&path("shop"), &of_service)?;
    let has = |summary: &'static str| {
        move |server: &VirtualServer| {
            let status = server.status.as_ref();
            status.is_some_and(|status| status.ready_summary == summary)
        }
    };
    cluster
        .api
        .await_object(&path("shop"), "two endpoints", SOON, has("2/2"))?;
    let mark = cluster.audit.mark()?;
    cluster
        .api
        .apply(slices, &slice(&["10.1.0.1", "10.1.0.2", "10.1.0.3"]))?;
    cluster
        .api
        .await_object(&path("shop"), "three endpoints", SOON, has("3/3"))?;
    let mut writes = cluster.audit.since(mark)?;
    writes.retain(|w| w.user == "vipkeeper-operator" && w.resource == "nodeconfigs");
    ensure!(
        writes.is_empty(),
        "an endpoint is no configuration: {writes:#?}"
    );
    Ok(())
}
