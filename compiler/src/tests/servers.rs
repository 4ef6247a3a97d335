//! VirtualServers: each rule, broken alone; what routers and others say; what is kept.

mod attachment;
mod rules;
mod shards;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use vipkeeper_crds::VirtualServer;
use vipkeeper_crds::node_server::{
    Listener, Members, NodeForwarding, NodeServer, ProbeKind, ServerName,
};

use super::{merge, objects, router, without_nulls};
use crate::{Compiled, Finding, Objects, compile};

/// A VirtualServer that breaks no rule, with `patch` laid over its spec; null removes a field.
fn server(name: &str, patch: Value) -> VirtualServer {
    let mut spec = json!({
        "routerRef": {"name": "r"},
        "ports": [{"port": 80}],
        "realServers": [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}],
    });
    merge(&mut spec, patch);
    without_nulls(&mut spec);
    serde_json::from_value(json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualServer",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
    }))
    .unwrap()
}

/// `servers`, and a router `r` that takes all of them, with `patch` laid over its spec.
fn with_router(servers: Vec<VirtualServer>, patch: Value) -> Objects {
    let mut spec = json!({"attach": {"namespaces": {"from": "All"}}});
    merge(&mut spec, patch);
    Objects {
        servers: servers.into_iter().map(Arc::new).collect(),
        ..objects(vec![router("r", spec)])
    }
}

/// What comes of a VirtualServer alone on a router that takes all.
fn alone(patch: Value) -> Compiled {
    compile(&with_router(vec![server("s", patch)], json!({})), "a")
}

/// What the node does for the servers of its first router.
fn served(compiled: &Compiled) -> &[NodeServer] {
    let config = compiled.configs.first();
    config.map_or(&[], |config| config.servers.as_slice())
}

fn names(servers: &[NodeServer]) -> Vec<&str> {
    servers.iter().map(|s| s.name.name.as_str()).collect()
}

fn text(findings: &[Finding]) -> Vec<String> {
    let line = |f: &Finding| format!("{} {} {}: {}", f.object, f.severity, f.path, f.message);
    findings.iter().map(line).collect()
}

#[test]
fn a_server_is_compiled_with_every_default() {
    let compiled = alone(json!({}));
    assert_eq!(text(&compiled.findings), [""; 0]);
    let config = &compiled.configs[0];
    assert_eq!(config.requires, ["VirtualServers"]);
    let listener = Listener::Address {
        address: "192.0.2.100".parse().unwrap(),
        port: 80,
        protocol: vipkeeper_crds::server::Protocol::Tcp,
        name: None,
        target_port: 80,
    };
    let [server] = &config.servers[..] else {
        panic!("{config:?}");
    };
    assert_eq!(server.listeners, [listener]);
    assert_eq!(server.name.to_string(), "shop/s");
    assert_eq!(server.forwarding, NodeForwarding::Nat);
    assert_eq!(server.scheduler.name.as_str(), "wlc");
    assert!(!server.scheduler.fallback && server.quorum.sorry);
    assert_eq!(server.drain_timeout.as_millis(), 60_000);
    let Members::Static { real_servers } = &server.members else {
        panic!("{server:?}");
    };
    let real = real_servers
        .iter()
        .map(|r| (r.address.to_string(), r.port, r.weight));
    let expected = [("10.0.0.1".to_owned(), 0, 1), ("10.0.0.2".to_owned(), 0, 1)];
    assert_eq!(real.collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_written_reaches_the_node() {
    let compiled = alone(json!({
        "addresses": ["192.0.2.100"],
        "ports": [{"port": 443, "targetPort": 8443, "name": "https"}, {"port": 53, "protocol": "UDP"}],
        "scheduler": {"name": "mh", "flags": ["Port"]},
        "forwarding": {"method": "FullNAT"},
        "persistence": {"timeout": "90s", "ipv4PrefixLength": 24},
        "realServers": [
            {"address": "10.0.0.1", "weight": 3, "upperThreshold": 9, "lowerThreshold": 9},
            {"address": "10.0.0.2", "port": 99, "forwarding": {"method": "NAT"}},
        ],
        "sorryServer": {"address": "10.0.0.9", "port": 80, "keepHealthy": true},
        "quorum": {"weight": 2, "hysteresis": 1},
        "probes": [{
            "name": "web", "type": "HTTP", "interval": "2s", "port": 81,
            "http": {"path": "/healthz?a=b", "statuses": ["200", "300-302"],
                "bodyDigest": {"algorithm": "MD5", "value": "D41D8CD98F00B204E9800998ECF8427E"}},
        }],
        "onFailure": "Quiesce", "initialState": "Up", "drain": {"timeout": "0s"},
    }));
    assert_eq!(text(&compiled.findings), [""; 0]);
    let [server] = served(&compiled) else {
        panic!("{compiled:?}");
    };
    assert_eq!(server.listeners.len(), 2);
    assert!(!server.scheduler.fallback && server.scheduler.by_port);
    assert_eq!(server.persistence.unwrap().seconds, 90);
    let probe = &server.probes[0];
    let ProbeKind::Http {
        path,
        statuses,
        body_digest: Some(digest),
        ..
    } = &probe.kind
    else {
        panic!("{probe:?}");
    };
    assert_eq!(path, "/healthz?a=b");
    assert_eq!((statuses[1].first, statuses[1].last), (300, 302));
    assert_eq!(digest.value, "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(probe.delay_after_failure.as_millis(), 2_000);
    assert_eq!((probe.rise, probe.fall, probe.port), (1, 3, Some(81)));
}

#[test]
fn each_method_marks_and_all_ports_can_be_had() {
    let tunnel = |tunnel: Value| json!({"forwarding": {"method": "Tunnel", "tunnel": tunnel}});
    let good = [
        json!({"forwarding": {"method": "DR"}}),
        json!({"forwarding": {"method": "DR"}, "ports": [{"port": 80, "targetPort": 80}]}),
        json!({"forwarding": {"method": "Tunnel"}}),
        tunnel(json!({"type": "GRE", "checksum": "Full"})),
        tunnel(json!({"type": "GUE", "port": 6080, "checksum": "Remote"})),
        json!({"all": true, "ports": null, "persistence": {}}),
        json!({"onePacket": true, "forwarding": {"method": "DR"}, "ports": [{"port": 53, "protocol": "UDP"}]}),
        json!({"onePacket": true, "ports": [{"port": 5060, "protocol": "UDP"}], "persistence": {"engine": "sip"}}),
        json!({"ports": [{"port": 5060, "protocol": "UDP"}], "persistence": {"engine": "sip"}}),
        json!({"ports": [{"port": 9, "protocol": "SCTP"}], "probes": [{"name": "t", "type": "TCP"}]}),
        json!({"realServers": null, "serviceRef": {"name": "web", "port": "https"}}),
        json!({"ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}]}),
        // Two ports of one host are two real servers.
        json!({"realServers": [{"address": "10.0.0.1", "port": 1}, {"address": "10.0.0.1", "port": 2}]}),
    ];
    for patch in good {
        let compiled = alone(patch.clone());
        assert_eq!(text(&compiled.findings), [""; 0], "{patch}");
        assert_eq!(served(&compiled).len(), 1, "{patch}");
    }
    let marked = server(
        "s",
        json!({"fwmark": {"value": 7, "family": "IPv4"}, "ports": null, "scheduler": {"name": "sh"}}),
    );
    let objects = with_router(vec![marked], json!({"attach": {"fwmark": true}}));
    let compiled = compile(&objects, "a");
    assert_eq!(text(&compiled.findings), [""; 0]);
    let [server] = served(&compiled) else {
        panic!("{compiled:?}");
    };
    assert!(matches!(server.listeners[..], [Listener::Mark { .. }]));
    assert!(server.scheduler.fallback);
}

#[test]
fn what_is_odd_but_can_run_is_a_warning() {
    let both = json!({"addresses": [{"address": "192.0.2.100"}, {"address": "2001:db8::100"}]});
    let odd = [
        (
            json!({"quorum": {"weight": 3}}),
            json!({}),
            "spec.quorum.weight",
            "is never there",
        ),
        (
            json!({"quorum": {"onLoss": []}, "sorryServer": {"address": "10.0.0.9"}}),
            json!({}),
            "spec.sorryServer",
            "never serves",
        ),
        (json!({}), both, "spec.realServers", "none of them is IPv6"),
        (
            json!({"realServers": [{"address": "10.0.0.1"}, {"address": "2001:db8::9"}]}),
            json!({}),
            "spec.realServers[1].address",
            "serves nothing",
        ),
        (
            json!({"sorryServer": {"address": "2001:db8::9"}}),
            json!({}),
            "spec.sorryServer.address",
            "serves nothing",
        ),
    ];
    for (patch, of_router, path, message) in odd {
        let objects = with_router(vec![server("s", patch.clone())], of_router);
        let compiled = compile(&objects, "a");
        let [finding] = &compiled.findings[..] else {
            panic!("{patch}: {:?}", text(&compiled.findings));
        };
        assert_eq!(finding.path, path);
        assert!(finding.message.contains(message), "{finding:?}");
        assert_eq!(served(&compiled).len(), 1, "{patch}");
    }
}

#[test]
fn servers_are_in_the_order_of_their_names() {
    let named = |name: &str, port: u16| server(name, json!({"ports": [{"port": port}]}));
    let objects = with_router(vec![named("b", 1), named("c", 2), named("a", 3)], json!({}));
    let compiled = compile(&objects, "a");
    assert_eq!(names(served(&compiled)), ["a", "b", "c"]);
    // Who takes no part in the router does nothing for its servers.
    assert!(compile(&objects, "c").configs.is_empty());
}

/// All that is said about `objects`, without what is said about others than VirtualServers.
fn about_servers(objects: &Objects) -> BTreeMap<ServerName, Vec<String>> {
    let mut all: BTreeMap<ServerName, Vec<String>> = BTreeMap::new();
    for finding in compile(objects, "a").findings {
        assert_eq!(finding.object.kind, "VirtualServer", "{finding:?}");
        let name = ServerName {
            namespace: finding.object.namespace.clone(),
            name: finding.object.name.clone(),
        };
        let said = format!("{}: {}", finding.path, finding.message);
        all.entry(name).or_default().push(said);
    }
    all
}
