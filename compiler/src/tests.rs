//! Good and bad objects with what is said about them.

mod absence;
mod causes;
mod edits;
mod groups;
mod placement;
mod properties;
mod rules;
mod servers;
mod vrids;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use vipkeeper_crds::{AddressFamily, InterfaceChoice, NodeTransport, ProtocolVersion};

use super::*;

/// A router that breaks no rule, with `patch` laid over its spec; null removes a field.
fn router(name: &str, patch: Value) -> VirtualRouter {
    let mut spec = json!({
        "addresses": [{"address": "192.0.2.100"}],
        "interface": {"type": "Name", "name": "eth1"},
        "virtualRouterId": 51,
        "nodes": {"priorities": [{"node": "a", "priority": 100}, {"node": "b", "priority": 90}]},
    });
    merge(&mut spec, patch);
    without_nulls(&mut spec);
    serde_json::from_value(json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter",
        "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().unwrap();
    for (key, value) in patch {
        merge(fields.entry(key).or_insert(Value::Null), value);
    }
}

fn without_nulls(value: &mut Value) {
    let Value::Object(fields) = value else {
        return;
    };
    fields.retain(|_, field| !field.is_null());
    fields.values_mut().for_each(without_nulls);
}

fn node(name: &str, addresses: &[&str]) -> Node {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|a| json!({"type": "InternalIP", "address": a}))
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name}, "status": {"addresses": addresses},
    }))
    .unwrap()
}

fn objects(routers: Vec<VirtualRouter>) -> Objects {
    let secret = SecretName {
        namespace: "vipkeeper-keys".into(),
        name: "vr".into(),
    };
    Objects {
        routers: routers.into_iter().map(Arc::new).collect(),
        nodes: vec![
            node("a", &["192.0.2.1", "2001:db8::a"]),
            node("b", &["192.0.2.2", "2001:db8::b"]),
        ],
        secrets: BTreeMap::from([(secret, BTreeSet::from(["password".to_owned()]))]),
        ..Objects::default()
    }
}

fn ipv6(addresses: &[&str], more: Value) -> Value {
    let addresses: Vec<Value> = addresses.iter().map(|a| json!({"address": a})).collect();
    let mut patch = json!({"addresses": addresses});
    merge(&mut patch, more);
    patch
}

/// No priorities, but `more` of the nodes.
fn balanced(more: Value) -> Value {
    let mut patch = json!({"nodes": {"priorities": null}});
    merge(&mut patch["nodes"], more);
    patch
}

fn password(more: Value) -> Value {
    let mut patch = json!({
        "version": 2,
        "authentication": {"type": "Password", "password": {"secretRef": {"name": "vr", "key": "password"}}},
    });
    merge(&mut patch, more);
    patch
}

/// A second address, on `interface`.
fn on_its_own_interface(interface: Value, more: Value) -> Value {
    let second = json!({"address": "198.51.100.1", "interface": interface});
    let mut patch = json!({"addresses": [{"address": "192.0.2.100"}, second]});
    merge(&mut patch, more);
    patch
}

fn addresses_of(count: usize) -> Value {
    let all: Vec<Value> = (1..=count)
        .map(|i| json!({"address": format!("2001:db8::1:{i:x}")}))
        .collect();
    json!({"addresses": all})
}

#[test]
fn a_router_that_breaks_no_rule_runs_on_its_candidates_alone() {
    let good = [
        json!({}),
        json!({"interface": null}),
        json!({"interface": {"type": "Subnet", "name": null, "subnet": "192.0.2.0/24"}}),
        json!({"interface": {"type": "DefaultRoute", "name": null}}),
        json!({"addresses": [{"address": "192.0.2.100", "prefixLength": 24}, {"address": "169.254.1.1"}]}),
        json!({"advertisementInterval": "10ms"}),
        json!({"advertisementInterval": "40s950ms"}),
        json!({"version": 2, "advertisementInterval": "4m15s"}),
        json!({"preemption": {"mode": "Delayed", "delay": "5m"}}),
        json!({"election": {"downAdvertisements": 10, "strict": true}}),
        json!({"transport": {"mode": "Unicast"}}),
        json!({"transport": {"group": "224.0.0.100", "extraPeers": [{"address": "192.0.2.9", "minTTL": 255}]}}),
        json!({"checksum": "RFC5798"}),
        json!({"addressLifetime": "Forever"}),
        password(json!({})),
        ipv6(&["2001:db8::100"], json!({})),
        ipv6(&["fe80::100"], json!({})),
        ipv6(
            &["fe80::100", "2001:db8::100"],
            json!({"interface": null, "election": {"strict": true}}),
        ),
        ipv6(
            &["2001:db8::100"],
            json!({"transport": {"mode": "Unicast"}}),
        ),
        addresses_of(90),
        json!({"addresses": [{"address": "192.0.2.100"}, {"address": "2001:db8::100"}], "families": "Independent"}),
        json!({"addresses": [{"address": "2001:db8::100"}, {"address": "192.0.2.100"}], "interface": null, "checksum": "RFC9568",
            "transport": {"mode": "Unicast", "extraPeers": [{"address": "192.0.2.9"}, {"address": "2001:db8::9"}]}}),
        json!({"syncGroup": "gateway", "handover": {"linger": "0s"}}),
        json!({"handover": {"linger": "1m"}}),
        balanced(json!({})),
        balanced(
            json!({"selectors": [{"matchLabels": {"role": "edge"}}, {}], "maxCandidates": 32}),
        ),
        balanced(
            json!({"preferred": [{"weight": 100, "preference": {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["", "a"]}]}}]}),
        ),
    ];
    for patch in good {
        let objects = objects(vec![router("r", patch.clone())]);
        for node in ["a", "b"] {
            let compiled = compile(&objects, node);
            assert_eq!(compiled.findings, [], "{patch}");
            assert_eq!(compiled.configs.len(), 1, "{patch}");
            assert_eq!(compiled.configs[0].node_name, node);
        }
        assert_eq!(compile(&objects, "c").configs, [], "{patch}");
    }
}

#[test]
fn what_is_odd_but_can_run_is_a_warning() {
    let unknown_peer = json!({
        "transport": {"mode": "Unicast", "extraPeers": [{"address": "192.0.2.9"}]},
        "nodes": {"priorities": [{"node": "a", "priority": 1}, {"node": "z", "priority": 2}]},
    });
    let odd = [
        (
            json!({"nodes": {"priorities": [{"node": "a", "priority": 100}, {"node": "b", "priority": 100}]}}),
            "spec.nodes.priorities[1].priority",
            "a has priority 100 too",
        ),
        (
            json!({"nodes": {"priorities": [{"node": "a", "priority": 100}, {"node": "b", "priority": 80}, {"node": "c", "priority": 95}]}}),
            "spec.nodes.priorities[2].priority",
            "only 5 below a",
        ),
        (addresses_of(91), "spec.addresses[90]", "MTU of 1504"),
        (
            json!({"transport": {"source": "192.0.2.7"}}),
            "spec.transport.source",
            "several nodes",
        ),
        (
            unknown_peer,
            "spec.nodes.priorities[1].node",
            "extraPeers lists its address",
        ),
    ];
    for (patch, path, message) in odd {
        let compiled = compile(&objects(vec![router("r", patch.clone())]), "a");
        let [finding] = &compiled.findings[..] else {
            panic!("{patch}: {:?}", compiled.findings);
        };
        assert_eq!(
            (finding.severity, finding.path.as_str()),
            (Severity::Warning, path)
        );
        assert!(finding.message.contains(message), "{finding:?}");
        assert_eq!(compiled.configs.len(), 1, "{patch}");
    }
}

#[test]
fn one_reading_finds_every_mistake_of_an_object() {
    let patch = json!({"addresses": [{"address": "x"}], "virtualRouterId": 0, "version": 4, "addressLifetime": "1s"});
    let compiled = compile(&objects(vec![router("r", patch)]), "a");
    let paths: Vec<&str> = compiled.findings.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.addresses[0].address",
            "spec.virtualRouterId",
            "spec.version",
            "spec.addressLifetime"
        ]
    );
}

#[test]
fn unicast_peers_are_the_others_and_the_source_is_what_they_know() {
    let patch = json!({"transport": {"mode": "Unicast", "extraPeers": [{"address": "192.0.2.9", "minTTL": 64}]}});
    let compiled = compile(&objects(vec![router("r", patch)]), "b");
    let config = &compiled.configs[0];
    let NodeTransport::Unicast { peers } = &config.families[0].transport else {
        panic!("{config:?}");
    };
    let peers: Vec<_> = peers
        .iter()
        .map(|p| (p.address.to_string(), p.min_ttl))
        .collect();
    assert_eq!(
        peers,
        [("192.0.2.1".to_owned(), 0), ("192.0.2.9".to_owned(), 64)]
    );
    assert_eq!(
        config.families[0].source,
        Some("192.0.2.2".parse().unwrap())
    );
}

#[test]
fn the_interval_defaults_to_the_version() {
    for (version, expected, millis) in [
        (2, ProtocolVersion::V2, 1_000),
        (3, ProtocolVersion::V3, 250),
    ] {
        let compiled = compile(
            &objects(vec![router("r", json!({"version": version}))]),
            "a",
        );
        let config = &compiled.configs[0];
        assert_eq!(config.version, expected);
        assert_eq!(config.advertisement_interval.as_millis(), millis);
    }
}

/// Two routers that differ in everything that must differ, except for `second`.
fn pair(first: Value, second: Value) -> Compiled {
    let mut other = json!({"addresses": [{"address": "192.0.2.101"}], "virtualRouterId": 52});
    merge(&mut other, second);
    compile(&objects(vec![router("z", first), router("b", other)]), "a")
}

#[test]
fn an_address_belongs_to_the_first_that_asked() {
    let clash = json!({"addresses": [{"address": "192.0.2.102"}, {"address": "192.0.2.100", "prefixLength": 24}]});
    let compiled = pair(json!({}), clash.clone());
    assert_eq!(compiled.configs.len(), 1);
    assert_eq!(compiled.configs[0].router, "z");
    assert_eq!(compiled.findings[0].path, "spec.addresses[1].address");
    assert!(
        compiled.findings[0]
            .message
            .contains("belongs to VirtualRouter z")
    );

    let compiled = pair(json!({"version": 9}), clash);
    assert_eq!(compiled.configs.len(), 1, "a refused router claims nothing");
    assert_eq!(compiled.configs[0].router, "b");
}

#[test]
fn the_older_object_wins_whatever_the_order() {
    let mut young = router("young", json!({}));
    let mut old = router("old", json!({}));
    young.metadata.creation_timestamp = Some(Time("2026-01-02T00:00:00Z".parse().unwrap()));
    old.metadata.creation_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    let compiled = compile(&objects(vec![young, old]), "a");
    assert_eq!(compiled.configs.len(), 1);
    assert_eq!(compiled.configs[0].router, "old");
}

#[test]
fn a_vrid_is_used_once_on_a_link() {
    let none = json!({"interface": null});
    let subnet = |s: &str| json!({"interface": {"type": "Subnet", "name": null, "subnet": s}});
    let default_route = json!({"interface": {"type": "DefaultRoute", "name": null}});
    let name = |n: &str| json!({"interface": {"type": "Name", "name": n}});
    let wide =
        json!({"interface": null, "addresses": [{"address": "192.0.2.100", "prefixLength": 24}]});
    let (yes, perhaps, no) = (Some(Severity::Error), Some(Severity::Warning), None);
    for (first, second, expected) in [
        (name("eth1"), name("eth1"), yes),
        (name("eth1"), name("eth2"), no),
        (default_route.clone(), default_route.clone(), yes),
        (subnet("192.0.2.0/24"), subnet("192.0.2.0/24"), yes),
        (subnet("192.0.2.0/24"), subnet("192.0.2.0/25"), yes),
        (subnet("192.0.2.0/24"), subnet("198.51.100.0/24"), no),
        (subnet("192.0.2.0/24"), subnet("2001:db8::/64"), perhaps),
        (subnet("192.0.2.0/24"), none.clone(), yes),
        (none.clone(), subnet("192.0.2.0/24"), yes),
        (none.clone(), none.clone(), perhaps),
        (wide, none.clone(), yes),
        (name("eth1"), default_route, perhaps),
    ] {
        let mut second = second;
        merge(&mut second, json!({"virtualRouterId": 51}));
        let compiled = pair(first.clone(), second.clone());
        let found = compiled.findings.first().map(|f| f.severity);
        assert_eq!(found, expected, "{first} {second}: {:?}", compiled.findings);
        assert!(
            compiled
                .findings
                .iter()
                .all(|f| f.path == "spec.virtualRouterId")
        );
        assert_eq!(compiled.configs.len(), if found == yes { 1 } else { 2 });
    }
}

#[test]
fn one_vrid_serves_both_families() {
    let second = ipv6(&["2001:db8::100"], json!({"virtualRouterId": 51}));
    let compiled = pair(json!({}), second);
    assert_eq!(compiled.findings, []);
    assert_eq!(compiled.configs.len(), 2);
}

#[test]
fn each_family_gets_its_own_part_of_the_transport() {
    let patch = json!({
        "addresses": [{"address": "2001:db8::100"}, {"address": "192.0.2.100"}, {"address": "fe80::1"}],
        "transport": {"mode": "Unicast", "source": "192.0.2.1", "extraPeers": [{"address": "2001:db8::9"}]},
        "nodes": {"priorities": [{"node": "a", "priority": 100}, {"node": "b", "priority": 90}]},
    });
    let compiled = compile(&objects(vec![router("r", patch)]), "a");
    let [config] = &compiled.configs[..] else {
        panic!("{compiled:?}");
    };
    let families = config.families.iter().map(|f| {
        let NodeTransport::Unicast { peers } = &f.transport else {
            panic!("{f:?}");
        };
        let addresses: Vec<_> = f.addresses.iter().map(|a| a.address.to_string()).collect();
        let peers: Vec<_> = peers.iter().map(|p| p.address.to_string()).collect();
        (
            f.family,
            addresses.join(" "),
            peers.join(" "),
            f.source.unwrap().to_string(),
        )
    });
    let text = |parts: [&str; 3]| parts.map(str::to_owned);
    let expected = [
        (
            AddressFamily::V4,
            text(["192.0.2.100", "192.0.2.2", "192.0.2.1"]),
        ),
        (
            AddressFamily::V6,
            text([
                "2001:db8::100 fe80::1",
                "2001:db8::b 2001:db8::9",
                "2001:db8::a",
            ]),
        ),
    ];
    let families: Vec<_> = families.map(|(f, a, p, s)| (f, [a, p, s])).collect();
    assert_eq!(families, expected);
    assert_eq!(config.requires, ["MoveTogether"]);
    assert_eq!(config.others.len(), 1);
    assert_eq!(config.others[0].node, "b");
    assert_eq!(config.others[0].addresses.len(), 2);
}

#[test]
fn the_first_address_that_is_not_link_local_finds_the_interface() {
    let patch = ipv6(&["fe80::100", "2001:db8::100"], json!({"interface": null}));
    let compiled = compile(&objects(vec![router("r", patch)]), "a");
    let address = "2001:db8::100".parse().unwrap();
    let expected = InterfaceChoice::Around { address };
    assert_eq!(compiled.configs[0].interface, expected);
}

#[test]
fn an_address_with_an_interface_of_its_own_needs_an_agent_that_knows_it_and_finds_no_other() {
    let eth2 = json!({"type": "Name", "name": "eth2"});
    let patch = on_its_own_interface(eth2.clone(), json!({"interface": null}));
    let config = compile(&objects(vec![router("r", patch)]), "a")
        .configs
        .remove(0);
    assert_eq!(config.requires, ["AddressInterface"]);
    let address = "192.0.2.100".parse().unwrap();
    assert_eq!(config.interface, InterfaceChoice::Around { address });
    let [first, second] = &config.families[0].addresses[..] else {
        panic!("{config:?}");
    };
    let name = "eth2".to_owned();
    assert_eq!(first.interface, None);
    assert_eq!(second.interface, Some(InterfaceChoice::Name { name }));

    // The first address says where it is, which says nothing of the router.
    let patch = json!({
        "interface": null,
        "addresses": [{"address": "198.51.100.1", "interface": eth2}, {"address": "192.0.2.100"}],
    });
    let config = compile(&objects(vec![router("r", patch)]), "a")
        .configs
        .remove(0);
    assert_eq!(config.interface, InterfaceChoice::Around { address });
}

#[test]
fn a_default_route_is_that_of_the_family_of_the_address() {
    let default_route = json!({"type": "DefaultRoute"});
    let patch = json!({
        "addresses": [{"address": "192.0.2.100"}, {"address": "2001:db8::100", "interface": default_route}],
    });
    let config = compile(&objects(vec![router("r", patch)]), "a")
        .configs
        .remove(0);
    let family = AddressFamily::V6;
    let expected = Some(InterfaceChoice::DefaultRoute { family });
    assert_eq!(config.families[1].addresses[0].interface, expected);
}

#[test]
fn the_address_owner_has_priority_255_and_may_have_the_address_as_its_own() {
    let patch = json!({
        "addresses": [{"address": "192.0.2.1"}],
        "nodes": {"priorities": [{"node": "a", "priority": 255}, {"node": "b", "priority": 254}]},
    });
    let mut objects = objects(vec![router("r", patch)]);
    let owner = compile(&objects, "a");
    assert_eq!(owner.findings, []);
    assert_eq!(owner.configs[0].priority, 255);
    assert_eq!(owner.configs[0].requires, ["AddressOwner"]);
    let backup = compile(&objects, "b");
    assert_eq!(backup.configs[0].priority, 254);
    assert!(backup.configs[0].requires.is_empty());
    // Its addresses are there whatever anybody wants.
    let drain = BTreeMap::from([("vipkeeper.io/drain".to_owned(), String::new())]);
    objects.nodes[0].metadata.annotations = Some(drain);
    assert_eq!(compile(&objects, "a").configs[0].priority, 255);
    // What the owner may, nobody else may.
    let patch = json!({
        "addresses": [{"address": "192.0.2.2"}],
        "nodes": {"priorities": [{"node": "a", "priority": 255}, {"node": "b", "priority": 254}]},
    });
    objects.routers = vec![router("r", patch).into()];
    let compiled = compile(&objects, "a");
    assert!(
        compiled.findings[0]
            .message
            .contains("InternalIP of node b")
    );
}

#[test]
fn a_unicast_router_with_one_node_runs_alone_and_says_so() {
    let patch = json!({
        "transport": {"mode": "Unicast"},
        "nodes": {"priorities": [{"node": "a", "priority": 100}]},
    });
    for patch in [patch, balanced(json!({"maxCandidates": 1}))] {
        let mut patch = patch;
        merge(&mut patch, json!({"transport": {"mode": "Unicast"}}));
        let compiled = compile(&objects(vec![router("r", patch)]), "a");
        let [finding] = &compiled.findings[..] else {
            panic!("{compiled:?}");
        };
        assert_eq!(finding.severity, Severity::Warning);
        assert!(
            finding.message.contains("holds the addresses alone"),
            "{finding:?}"
        );
    }
}

#[test]
fn a_node_address_that_cannot_be_read_is_a_warning() {
    let mut objects = objects(vec![router("r", json!({}))]);
    objects.nodes.push(node("c", &["nonsense"]));
    let compiled = compile(&objects, "a");
    assert_eq!(compiled.configs.len(), 1);
    assert_eq!(compiled.findings[0].object, ObjectName::new("Node", "c"));
    assert_eq!(compiled.findings[0].path, "status.addresses[0].address");
}

#[test]
fn a_configuration_survives_its_json() {
    let all = [
        json!({}),
        password(json!({})),
        json!({"transport": {"mode": "Unicast"}, "preemption": {"mode": "Delayed", "delay": "1s"}}),
    ];
    for patch in all {
        let config = compile(&objects(vec![router("r", patch)]), "a")
            .configs
            .remove(0);
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<NodeConfigSpec>(&text).unwrap(),
            config
        );
    }
}
