//! VirtualServers: what nodes are told of them, and what their status says.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vipkeeper_compiler::ConfigMapName;
use vipkeeper_crds::conditions::Condition;
use vipkeeper_crds::node_server::ServerName;
use vipkeeper_crds::status::{ServerHealth, ServerStatus};

use super::*;

pub(super) fn named(name: &str) -> ServerName {
    ServerName {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

pub(super) fn server(name: &str, generation: i64, change: impl Fn(&mut Value)) -> Change {
    let mut spec = json!({
        "routerRef": {"name": "web"},
        "ports": [{"port": 80}],
        "realServers": [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}],
    });
    change(&mut spec);
    let server = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualServer",
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}"), "generation": generation,
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
    });
    Change::Server(Box::new(serde_json::from_value(server).unwrap()))
}

/// The router `web` of everybody, or of whom `from` says.
pub(super) fn open_router(from: &Value) -> Change {
    let Change::Router(mut router) = router("web", "192.0.2.100") else {
        panic!("no router");
    };
    router.spec.attach = serde_json::from_value(json!({ "namespaces": from })).unwrap();
    Change::Router(router)
}

pub(super) fn everybody() -> Value {
    json!({"from": "All"})
}

fn scene(servers: Vec<Change>) -> Cluster {
    let mut cluster = cluster(&["a", "b"], &[]);
    cluster.take(open_router(&everybody()));
    servers.into_iter().for_each(|s| cluster.take(s));
    settle(&mut cluster, 0);
    cluster
}

/// The port of each server that a node is told of.
fn ports(cluster: &Cluster, node: &str) -> Vec<(String, u16)> {
    let config = &cluster.configs[&name::of_router("web", node)];
    let servers = &config.spec.config.as_ref().unwrap().servers;
    let port = |server: &vipkeeper_crds::node_server::NodeServer| match &server.listeners[0] {
        vipkeeper_crds::node_server::Listener::Address { port, .. } => *port,
        vipkeeper_crds::node_server::Listener::Mark { .. } => 0,
    };
    let all = servers.iter().map(|s| (s.name.name.clone(), port(s)));
    all.collect()
}

pub(super) fn said(
    cluster: &Cluster,
    name: &str,
    kind: ConditionType,
) -> Option<(ConditionStatus, Reason)> {
    let status = cluster.server(&named(name))?.status.as_ref()?;
    let condition = status.conditions.iter().find(|c| c.kind == kind)?;
    Some((condition.status, condition.reason))
}

pub(super) fn accepted(cluster: &Cluster, name: &str) -> (ConditionStatus, Reason) {
    said(cluster, name, ConditionType::Accepted).unwrap()
}

/// The agent of `node` says that a server stands so.
fn tell(cluster: &mut Cluster, node: &str, name: &str, health: ServerHealth) {
    let mut config = cluster.configs[&name::of_router("web", node)].clone();
    let report = ServerStatus {
        server: named(name),
        generation: cluster
            .server(&named(name))
            .unwrap()
            .metadata
            .generation
            .unwrap(),
        health,
        conditions: Vec::new(),
    };
    config.status.get_or_insert_default().servers = vec![report];
    cluster.take(Change::Config(Box::new(config)));
}

/// The agent of `node` says so of its only server.
fn degrade(cluster: &mut Cluster, node: &str, reason: Reason, message: &str) {
    let mut config = cluster.configs[&name::of_router("web", node)].clone();
    let servers = &mut config.status.as_mut().unwrap().servers;
    servers[0].conditions = vec![Condition {
        kind: ConditionType::Degraded,
        status: ConditionStatus::True,
        reason,
        message: message.to_owned(),
        last_transition_time: now(1).date,
        observed_generation: 1,
    }];
    cluster.take(Change::Config(Box::new(config)));
}

fn health(healthy: i64, total: i64) -> ServerHealth {
    ServerHealth {
        programmed: true,
        quorum: healthy > 0,
        healthy,
        total,
        ..ServerHealth::default()
    }
}

fn http(spec: &mut Value) {
    spec["probes"] = json!([{"name": "web", "type": "HTTPS",
        "https": {"path": "/", "caRef": {"name": "authorities", "key": "ca.crt"}}}]);
}

fn authorities() -> ConfigMapName {
    ConfigMapName {
        namespace: "shop".to_owned(),
        name: "authorities".to_owned(),
    }
}

#[test]
fn a_server_rides_to_the_candidates_of_its_router_and_nothing_else_is_written() {
    let mut cluster = scene(vec![server("one", 1, |_| {})]);
    for node in ["a", "b"] {
        assert_eq!(ports(&cluster, node), [("one".to_owned(), 80)]);
    }
    assert_eq!(
        accepted(&cluster, "one"),
        (ConditionStatus::True, Reason::Valid)
    );
    cluster.take(router("db", "192.0.2.101"));
    settle(&mut cluster, 1);
    cluster.take(server("two", 1, |spec| {
        spec["ports"] = json!([{"port": 81}])
    }));
    let writes = all(&mut cluster, 2);
    let subjects: Vec<_> = writes.iter().map(|w| w.subject().name).collect();
    let (a, b) = (name::of_router("web", "a"), name::of_router("web", "b"));
    let mut expected = vec![a, b, "shop/two".to_owned()];
    expected.sort();
    let mut subjects = subjects;
    subjects.sort();
    assert_eq!(subjects, expected);
}

#[test]
fn who_may_attach_is_the_routers_to_say_and_follows_the_namespace() {
    let mut cluster = scene(vec![server("one", 1, |_| {})]);
    cluster.take(open_router(&json!({"from": "None"})));
    settle(&mut cluster, 1);
    assert_eq!(
        accepted(&cluster, "one"),
        (ConditionStatus::False, Reason::NotAllowed)
    );
    assert_eq!(ports(&cluster, "a"), []);
    let labelled = json!({"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}});
    cluster.take(open_router(&labelled));
    settle(&mut cluster, 2);
    assert_eq!(accepted(&cluster, "one").1, Reason::NotAllowed);
    let namespace = json!({"metadata": {"name": "shop", "labels": {"team": "shop"}}});
    cluster.take(Change::Namespace(
        serde_json::from_value(namespace).unwrap(),
    ));
    settle(&mut cluster, 3);
    assert_eq!(accepted(&cluster, "one").0, ConditionStatus::True);
    assert_eq!(ports(&cluster, "a").len(), 1);
}

#[test]
fn a_refused_edit_keeps_what_was_served_also_for_the_next_operator() {
    let mut first = scene(vec![server("one", 1, |_| {})]);
    let broken = || server("one", 2, |spec| spec["ports"] = json!([{"port": 99_999}]));
    first.take(broken());
    settle(&mut first, 1);
    assert_eq!(ports(&first, "a"), [("one".to_owned(), 80)]);
    assert_eq!(
        accepted(&first, "one"),
        (ConditionStatus::False, Reason::Invalid)
    );
    let mut second = Cluster::default();
    for node in ["a", "b"] {
        second.take(super::node(node));
    }
    for config in first.configs.values() {
        second.take(Change::Config(Box::new(config.clone())));
    }
    second.take(Change::Router(Box::new(first.routers["web"].clone())));
    let object = first.server(&named("one")).unwrap().clone();
    second.take(Change::Server(Box::new(object)));
    Kind::ALL
        .iter()
        .for_each(|kind| second.take(Change::Listed(*kind)));
    assert_eq!(all(&mut second, 2), []);
}

#[test]
fn what_another_operator_took_out_of_service_does_not_come_back() {
    let aged = |name: &str, second: u64, generation: i64, ports: &[u16]| {
        let Change::Server(mut server) = server(name, generation, |spec| {
            spec["ports"] = ports.iter().map(|port| json!({"port": port})).collect();
        }) else {
            panic!("no server");
        };
        server.metadata.creation_timestamp = Some(now(second).date);
        Change::Server(server)
    };
    let [mut this, mut other] =
        [(); 2].map(|()| scene(vec![aged("old", 1, 1, &[443]), aged("one", 2, 1, &[80])]));
    for (second, edit) in [
        aged("one", 2, 2, &[8080]),
        aged("two", 3, 1, &[80]),
        aged("old", 1, 2, &[443, 8080]),
    ]
    .into_iter()
    .enumerate()
    {
        other.take(edit);
        settle(&mut other, 1 + u64::try_from(second).unwrap());
    }
    let expected = [("old".to_owned(), 443), ("two".to_owned(), 80)];
    assert_eq!(ports(&other, "a"), expected);
    for config in other.configs.values() {
        this.take(Change::Config(Box::new(config.clone())));
    }
    for server in other.servers() {
        this.take(Change::Server(Box::new(server.clone())));
    }
    this.begin_to_write();
    assert_eq!(all(&mut this, 9), []);
    assert_eq!(ports(&this, "a"), expected);
    // What is served is remembered, though nothing changed since.
    this.take(aged("two", 3, 2, &[0]));
    settle(&mut this, 10);
    assert_eq!(ports(&this, "a"), expected);
}

#[test]
fn the_summary_is_what_the_node_sees_that_holds_the_addresses() {
    let mut cluster = scene(vec![server("one", 1, |_| {})]);
    report(&mut cluster, "web", "a", ElectionState::Active);
    report(&mut cluster, "web", "b", ElectionState::Backup);
    settle(&mut cluster, 1);
    let ready = |cluster: &Cluster| said(cluster, "one", ConditionType::Ready).unwrap();
    assert_eq!(ready(&cluster), (ConditionStatus::Unknown, Reason::Pending));
    tell(&mut cluster, "a", "one", health(1, 2));
    tell(&mut cluster, "b", "one", health(2, 2));
    settle(&mut cluster, 2);
    let status = |cluster: &Cluster| {
        cluster
            .server(&named("one"))
            .unwrap()
            .status
            .clone()
            .unwrap()
    };
    assert_eq!(status(&cluster).ready_summary, "1/2");
    assert_eq!(status(&cluster).nodes.len(), 2);
    assert_eq!(ready(&cluster), (ConditionStatus::True, Reason::Serving));
    assert_eq!(
        said(&cluster, "one", ConditionType::Degraded),
        Some((ConditionStatus::True, Reason::RealServersUnhealthy))
    );
    tell(&mut cluster, "a", "one", health(0, 2));
    settle(&mut cluster, 3);
    assert_eq!(
        ready(&cluster),
        (ConditionStatus::False, Reason::TooFewHealthy)
    );
    assert_eq!(
        said(&cluster, "one", ConditionType::QuorumLost),
        Some((ConditionStatus::True, Reason::TooFewHealthy))
    );
    // The other holds the addresses now.
    for (node, state) in [("a", ElectionState::Backup), ("b", ElectionState::Active)] {
        let mut config = cluster.configs[&name::of_router("web", node)].clone();
        let servers = config.status.as_ref().unwrap().servers.clone();
        reported(&mut config, state);
        config.status.as_mut().unwrap().servers = servers;
        cluster.take(Change::Config(Box::new(config)));
    }
    settle(&mut cluster, 4);
    assert_eq!(status(&cluster).ready_summary, "2/2");
    assert_eq!(said(&cluster, "one", ConditionType::QuorumLost), None);
}

#[test]
fn a_holder_that_does_not_follow_an_edit_is_believed_for_a_moment_and_of_the_earlier_edit_alone() {
    let mut cluster = scene(vec![server("one", 1, |_| {})]);
    report(&mut cluster, "web", "a", ElectionState::Active);
    tell(&mut cluster, "a", "one", health(2, 2));
    settle(&mut cluster, 1);
    let ready = |cluster: &Cluster| {
        let status = cluster.server(&named("one")).unwrap().status.clone();
        let mut conditions = status.unwrap().conditions.into_iter();
        let ready = conditions.find(|c| c.kind == ConditionType::Ready).unwrap();
        (ready.status, ready.reason, ready.observed_generation)
    };
    let serving = |generation| (ConditionStatus::True, Reason::Serving, generation);
    let pending = |generation| (ConditionStatus::Unknown, Reason::Pending, generation);
    let edit = |cluster: &mut Cluster, generation: i64| {
        let status = cluster.server(&named("one")).unwrap().status.clone();
        let Change::Server(mut edited) = server("one", generation, |_| {}) else {
            panic!("no server");
        };
        edited.status = status;
        cluster.take(Change::Server(edited));
    };
    assert_eq!(ready(&cluster), serving(1));
    edit(&mut cluster, 2);
    settle(&mut cluster, 10);
    assert_eq!(ready(&cluster), serving(1));
    // An agent that is only late.
    tell(&mut cluster, "a", "one", health(2, 2));
    settle(&mut cluster, 11);
    assert_eq!(ready(&cluster), serving(2));
    assert_eq!(cluster.wake(), None);
    // One that refuses what it is told, while edit follows edit.
    for (generation, second) in [(3, 20), (4, 30)] {
        edit(&mut cluster, generation);
        settle(&mut cluster, second);
        assert_eq!(ready(&cluster), serving(2));
    }
    let wake = cluster.wake().unwrap();
    assert_eq!(wake, Duration::from_secs(35));
    settle(&mut cluster, wake.as_secs());
    assert_eq!(ready(&cluster), pending(4));
    assert_eq!(cluster.wake(), None);
    edit(&mut cluster, 5);
    settle(&mut cluster, 40);
    assert_eq!(ready(&cluster), pending(5));
    tell(&mut cluster, "a", "one", health(2, 2));
    settle(&mut cluster, 41);
    assert_eq!(ready(&cluster), serving(5));
}

#[test]
fn what_a_node_lacks_is_a_condition_that_leaves_a_server_ready_and_hides_nothing_graver() {
    let mut cluster = scene(vec![server("one", 1, |_| {})]);
    report(&mut cluster, "web", "a", ElectionState::Active);
    tell(&mut cluster, "a", "one", health(2, 2));
    let command = "better with: `sysctl -w net.ipv4.vs.sloppy_tcp=1`";
    degrade(&mut cluster, "a", Reason::SettingMissing, command);
    settle(&mut cluster, 1);
    assert_eq!(
        said(&cluster, "one", ConditionType::Ready),
        Some((ConditionStatus::True, Reason::Serving))
    );
    let degraded = |cluster: &Cluster| {
        let status = cluster.server(&named("one")).unwrap().status.clone();
        let mut conditions = status.unwrap().conditions.into_iter();
        let degraded = conditions.find(|c| c.kind == ConditionType::Degraded);
        degraded.map(|c| (c.reason, c.message)).unwrap()
    };
    let lack = format!("a: {command}");
    assert_eq!(degraded(&cluster), (Reason::SettingMissing, lack.clone()));
    tell(&mut cluster, "a", "one", health(1, 2));
    degrade(&mut cluster, "a", Reason::SettingMissing, command);
    settle(&mut cluster, 2);
    let (reason, message) = degraded(&cluster);
    assert_eq!(reason, Reason::RealServersUnhealthy);
    assert!(message.ends_with(&lack), "{message}");
}

#[test]
fn a_server_waits_for_the_authorities_that_it_names() {
    let mut cluster = Cluster::default();
    cluster.take(node("a"));
    cluster.take(open_router(&everybody()));
    cluster.take(server("one", 1, http));
    Kind::ALL
        .iter()
        .for_each(|kind| cluster.take(Change::Listed(*kind)));
    let wanted: Vec<_> = cluster.wanted_config_maps().cloned().collect();
    assert_eq!(wanted, [authorities()]);
    assert_eq!(all(&mut cluster, 0), []);
    cluster.take(Change::ConfigMap(authorities(), None));
    settle(&mut cluster, 1);
    assert_eq!(
        accepted(&cluster, "one"),
        (ConditionStatus::False, Reason::ConfigMapMissing)
    );
    // Later ones wait alone.
    cluster.take(server("two", 1, |spec| {
        http(spec);
        spec["probes"][0]["https"]["caRef"]["name"] = json!("others");
    }));
    assert_eq!(all(&mut cluster, 2), []);
    let certificate = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    let data = BTreeMap::from([("ca.crt".to_owned(), certificate.to_owned())]);
    cluster.take(Change::ConfigMap(authorities(), Some(data)));
    settle(&mut cluster, 3);
    assert_ne!(accepted(&cluster, "one").1, Reason::ConfigMapMissing);
    cluster.take(Change::Gone(Kind::Server, "shop/two".to_owned()));
    assert_eq!(cluster.wanted_config_maps().count(), 1);
}

#[test]
fn a_server_whose_authorities_are_known_waits_no_more() {
    let certificate = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    let data = BTreeMap::from([("ca.crt".to_owned(), certificate.to_owned())]);
    let mut cluster = cluster(&["a", "b"], &[]);
    cluster.take(open_router(&everybody()));
    cluster.take(server("one", 1, http));
    cluster.take(Change::ConfigMap(authorities(), Some(data)));
    settle(&mut cluster, 0);
    assert_eq!(ports(&cluster, "a"), [("one".to_owned(), 80)]);
    // Its status comes back.
    let echo = cluster.server(&named("one")).unwrap().clone();
    cluster.take(Change::Server(Box::new(echo)));
    cluster.take(server("one", 2, |spec| {
        http(spec);
        spec["ports"] = json!([{"port": 81}]);
    }));
    // Also to an operator that begins to write.
    cluster.begin_to_write();
    assert!(cluster.is_complete());
    settle(&mut cluster, 1);
    assert_eq!(ports(&cluster, "a"), [("one".to_owned(), 81)]);
    // One that nobody referred to meanwhile is to be told anew.
    cluster.take(server("one", 3, |_| {}));
    assert_eq!(cluster.wanted_config_maps().count(), 0);
    settle(&mut cluster, 2);
    cluster.take(server("one", 4, |spec| {
        http(spec);
        spec["ports"] = json!([{"port": 82}]);
    }));
    settle(&mut cluster, 3);
    assert_eq!(ports(&cluster, "a"), [("one".to_owned(), 80)]);
}

#[test]
fn a_server_goes_with_its_router_and_comes_back_with_it() {
    let mut cluster = scene(vec![server("one", 1, |_| {})]);
    cluster.take(Change::Gone(Kind::Router, "web".to_owned()));
    settle(&mut cluster, 1);
    assert_eq!(
        accepted(&cluster, "one"),
        (ConditionStatus::False, Reason::RouterMissing)
    );
    assert_eq!(cluster.configs.len(), 2);
    let Change::Router(mut again) = open_router(&everybody()) else {
        panic!("no router");
    };
    again.metadata.uid = Some("another".to_owned());
    cluster.take(Change::Router(again));
    settle(&mut cluster, 2);
    assert_eq!(accepted(&cluster, "one").0, ConditionStatus::True);
    cluster.take(Change::Gone(Kind::Server, "shop/one".to_owned()));
    settle(&mut cluster, 3);
    assert_eq!(ports(&cluster, "a"), []);
}

#[test]
fn what_became_of_a_server_is_told_once() {
    let mut cluster = scene(vec![server("one", 1, |_| {})]);
    cluster.take(server("two", 1, |_| {}));
    let told = |writes: &[Write]| -> Vec<String> {
        let news = writes.iter().filter_map(|write| match write {
            Write::ServerStatus { server, news, .. } => Some((server.name.clone(), news.clone())),
            Write::Config(_)
            | Write::Remove { .. }
            | Write::Status { .. }
            | Write::Annotations { .. } => None,
        });
        let news = news.flat_map(|(name, news)| news.into_iter().map(move |n| (name.clone(), n)));
        news.map(|(name, n)| format!("{name} {}", n.reason))
            .collect()
    };
    let writes = all(&mut cluster, 1);
    assert_eq!(told(&writes), ["two Conflict"]);
    obey(&mut cluster, writes);
    cluster.look_at_everything();
    assert_eq!(all(&mut cluster, 2), []);
}
