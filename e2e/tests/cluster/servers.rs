//! VirtualServers in a cluster: from the user's object to each node's configuration, and back to its status.
//!
//! The kernel of most machines that run this has no IPVS, and an agent has to say that.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::{NodeConfig, NodeConfigShard, VirtualServer};
use vipkeeper_e2e::Cluster;
use vipkeeper_e2e::cluster::api::CONFIGS;

use crate::scene::{self, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    beside a_virtual_server_reaches_the_nodes_and_its_status_says_what_they_do,
    beside a_router_says_whose_virtual_servers_may_have_its_addresses,
    beside the_api_server_refuses_what_cannot_work_and_says_why,
    beside an_endpoint_that_changes_is_followed_and_no_configuration_is_written,
    beside many_servers_ride_in_shards_and_one_edit_writes_one_object_for_each_node,
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

/// Beyond this servers ride in shards, and a shard is split.
const SHARD_SIZE: usize = 1 << 16;

/// One of many, on a port of its own, about 4 KiB of what nodes are told.
fn one_of_many(number: u16, weight: u32) -> Value {
    let real = (1..=40).map(|host| json!({"address": format!("10.0.0.{host}"), "weight": weight}));
    let real: Vec<Value> = real.collect();
    server(
        &many(number),
        &json!({"ports": [{"port": 1_000 + number}], "realServers": real}),
    )
}

fn many(number: u16) -> String {
    format!("many-{number:02}")
}

/// The NodeConfigs of `web` on a node: the one with its election, and its shards.
fn told(configs: &[NodeConfig], node: &str) -> (Option<NodeConfig>, Vec<NodeConfig>) {
    let of_node = configs.iter().filter(|config| {
        config.spec.router.as_deref() == Some("web") && config.spec.node_name == node
    });
    let (shards, mut mains): (Vec<_>, Vec<_>) = of_node
        .cloned()
        .partition(|config| config.spec.shard.is_some());
    (mains.pop(), shards)
}

/// What is wrong with what a node is told, if it shall have `count` servers in shards.
fn amiss(configs: &[NodeConfig], node: &str, count: usize) -> Option<String> {
    let (main, shards) = told(configs, node);
    let Some(main) = main else {
        return Some("nothing is told".to_owned());
    };
    let Some(set) = &main.spec.shard_set else {
        return Some("no set of shards".to_owned());
    };
    let shards: Vec<_> = shards
        .iter()
        .filter_map(|s| s.spec.shard.as_ref())
        .collect();
    let mut bits: Vec<&String> = shards.iter().map(|shard| &shard.bits).collect();
    bits.sort_unstable();
    let servers: usize = shards.iter().map(|shard| shard.servers.len()).sum();
    let size = |shard: &&NodeConfigShard| serde_json::to_vec(&shard.servers).map(|v| v.len());
    let wrong = [
        (
            !bits.iter().copied().eq(&set.shards),
            "other shards than the set names",
        ),
        (
            shards.iter().any(|s| s.set != set.name),
            "shards of another set",
        ),
        (servers != count, "another number of servers"),
        (
            !shards
                .iter()
                .all(|s| size(s).is_ok_and(|size| size <= SHARD_SIZE)),
            "too much in one",
        ),
        (
            main.spec
                .config
                .is_none_or(|config| !config.servers.is_empty()),
            "servers beside the router",
        ),
    ];
    let found = wrong.into_iter().find(|(is_so, _)| *is_so);
    found.map(|(_, what)| format!("{node}: {what}: {bits:?}, {servers} servers"))
}

fn many_servers_ride_in_shards_and_one_edit_writes_one_object_for_each_node() -> Result<()> {
    const COUNT: u16 = 60;
    const LEFT: u16 = 9;
    let nodes = ["a", "b"];
    let cluster = scene::cluster(&nodes)?;
    attached(&cluster, &json!({"from": "All"}))?;
    for number in 0..COUNT {
        cluster
            .api
            .apply(&path(&many(number)), &one_of_many(number, 1))?;
    }
    let count = usize::from(COUNT);
    let whole = |all: &[NodeConfig]| nodes.iter().all(|node| amiss(all, node, count).is_none());
    let configs = cluster
        .api
        .await_list(CONFIGS, "all in shards", SOON, whole)?;
    // Each node runs all of them, and says so.
    let told_by_both = |all: &[VirtualServer]| {
        let nodes = |s: &VirtualServer| s.status.as_ref().map_or(0, |status| status.nodes.len());
        all.iter()
            .all(|server| is_accepted(server) && nodes(server) == 2)
    };
    cluster
        .api
        .await_list(SERVERS, "told by both nodes", SOON, told_by_both)?;

    let edited = many(7);
    let (_, shards) = told(&configs, "a");
    let has = |config: &NodeConfig| {
        let shard = config.spec.shard.iter();
        shard
            .flat_map(|s| &s.servers)
            .any(|s| s.name.name == edited)
    };
    let shard = shards
        .iter()
        .find(|shard| has(shard))
        .context("no shard has it")?;
    let bits = &shard.spec.shard.as_ref().context("no shard")?.bits;
    let mark = cluster.audit.mark()?;
    cluster.api.apply(&path(&edited), &one_of_many(7, 9))?;
    let arrived = |all: &[NodeConfig]| {
        nodes.iter().all(|node| {
            let shards = told(all, node).1.into_iter().filter_map(|c| c.spec.shard);
            let mut servers = shards.flat_map(|shard| shard.servers);
            servers.any(|server| server.name.name == edited && server.generation == 2)
        })
    };
    cluster
        .api
        .await_list(CONFIGS, "the edit on both", SOON, arrived)?;
    let mut writes = cluster.audit.since(mark)?;
    writes.retain(|w| w.user == "vipkeeper-operator" && w.resource == "nodeconfigs");
    let own = |name: &str| name.ends_with(&format!("-{bits}"));
    ensure!(
        writes.len() == nodes.len() && writes.iter().all(|w| own(&w.name)),
        "not one shard for each node: {writes:#?}"
    );

    for number in LEFT..COUNT {
        cluster.api.delete(&path(&many(number)))?;
    }
    let joined = |all: &[NodeConfig]| {
        nodes.iter().all(|node| {
            let (main, shards) = told(all, node);
            let config = main.filter(|m| m.spec.shard_set.is_none());
            let config = config.and_then(|main| main.spec.config);
            shards.is_empty() && config.is_some_and(|c| c.servers.len() == usize::from(LEFT))
        })
    };
    cluster
        .api
        .await_list(CONFIGS, "few in one object again", SOON, joined)?;
    cluster
        .api
        .await_list(SERVERS, "still told by both nodes", SOON, told_by_both)?;
    cluster.await_active("web", |_| true)?;
    Ok(())
}
