//! What the CRDs refuse and what the compiler refuses is the same, over one corpus of objects.
//!
//! The CRD's side is a small copy of what the API server does: defaults, structural schema, then CEL. The functions
//! that Kubernetes adds to CEL (`isIP`, `ip`, `cidr`, …) are made here of the same parts as the compiler's rules.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, in its helpers as well, and looks for one thing at a time"
)]

mod schema;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use schema::Validator;
use serde::Deserialize;
use serde_json::{Value, json};
use vipkeeper_compiler::{ConfigMapName, Objects, SecretName, Severity, compile, settings};
use vipkeeper_crds::{Settings, VirtualRouter, VirtualServer, definitions};

/// Objects of one kind, as patches of one that is good.
#[derive(Deserialize)]
struct Corpus {
    base: Value,
    good: Vec<Value>,
    bad: Vec<Value>,
}

fn corpus(text: &str) -> Corpus {
    serde_saphyr::from_str(text).unwrap()
}

fn router_corpus() -> Corpus {
    let mut corpus = corpus(include_str!("corpus/router.yaml"));
    // Too long to be written down.
    let many = |count: usize| {
        let all = (1..=count).map(|i| json!({"address": format!("2001:db8::1:{i:x}")}));
        json!({"addresses": all.collect::<Vec<_>>()})
    };
    let mut mixed = many(255);
    let more = json!({"address": "192.0.2.100"});
    mixed["addresses"].as_array_mut().unwrap().push(more);
    corpus.good.extend([many(255), mixed]);
    corpus.good.push(json!({"syncGroup": "g".repeat(63)}));
    corpus.bad.extend([many(256), many(257)]);
    corpus.bad.push(json!({"syncGroup": "g".repeat(64)}));
    let nodes = (1..=33).map(|i| json!({"node": format!("n{i}"), "priority": i}));
    let nodes: Vec<Value> = nodes.collect();
    corpus.bad.push(json!({"nodes": {"priorities": nodes}}));
    let selectors = vec![json!({}); 17];
    corpus
        .bad
        .push(json!({"nodes": {"priorities": null, "selectors": selectors}}));
    corpus
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn object(kind: &str, name: &str, base: &Value, patch: &Value) -> Value {
    let mut spec = base.clone();
    merge(&mut spec, patch);
    json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    })
}

fn secrets() -> std::collections::BTreeMap<SecretName, BTreeSet<String>> {
    let name = SecretName {
        namespace: "vipkeeper-keys".into(),
        name: "vr".into(),
    };
    [(name, BTreeSet::from(["password".to_owned()]))].into()
}

/// Why the compiler refuses a router, if it does.
fn refused_by_rules(object: &Value) -> Option<String> {
    let router: VirtualRouter = match serde_json::from_value(object.clone()) {
        Ok(router) => router,
        Err(error) => return Some(error.to_string()),
    };
    let node = |name: &str, host: u8| {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"role": "edge", "zone": "a"}},
            "status": {"addresses": [
                {"type": "InternalIP", "address": format!("192.0.2.{host}")},
                {"type": "InternalIP", "address": format!("2001:db8::{host}")},
            ]},
        }))
        .unwrap()
    };
    let objects = Objects {
        routers: vec![router.into()],
        nodes: vec![node("a", 1), node("b", 2)],
        secrets: secrets(),
        ..Objects::default()
    };
    let findings = compile(&objects, "a").findings;
    let mut errors = findings.iter().filter(|f| f.severity == Severity::Error);
    errors.next().map(|f| format!("{}: {}", f.path, f.message))
}

/// Why the compiler refuses a VirtualServer of a router that allows everything, if it does.
fn refused_server(object: &Value) -> Option<String> {
    let server: VirtualServer = match serde_json::from_value(object.clone()) {
        Ok(server) => server,
        Err(error) => return Some(error.to_string()),
    };
    let objects = Objects {
        servers: vec![server.into()],
        ..server_surroundings()
    };
    let findings = compile(&objects, "a").findings;
    let mut errors = findings.iter().filter(|f| f.severity == Severity::Error);
    errors.next().map(|f| format!("{}: {}", f.path, f.message))
}

/// A router that allows everything, and the authorities of probes.
fn server_surroundings() -> Objects {
    static MADE: OnceLock<Objects> = OnceLock::new();
    MADE.get_or_init(make_server_surroundings).clone()
}

fn make_server_surroundings() -> Objects {
    let attach = json!({"namespaces": {"from": "All"}, "trusted": true, "fwmark": true});
    let both = json!([{"address": "192.0.2.100"}, {"address": "2001:db8::100"}]);
    let router = json!({"addresses": both, "attach": attach});
    let router = object("VirtualRouter", "r", &router_corpus().base, &router);
    let authorities = ConfigMapName {
        namespace: "default".into(),
        name: "ca".into(),
    };
    let pem = "-----BEGIN CERTIFICATE-----".to_owned();
    Objects {
        routers: vec![serde_json::from_value(router).unwrap()],
        config_maps: [(authorities, [("ca.crt".to_owned(), pem)].into())].into(),
        ..Objects::default()
    }
}

fn server_corpus() -> Corpus {
    let mut corpus = corpus(include_str!("corpus/server.yaml"));
    let real = |count: usize| {
        let all =
            (1..=count).map(|i| json!({"address": format!("10.1.{}.{}", i / 250, i % 250 + 1)}));
        json!({"realServers": all.collect::<Vec<_>>()})
    };
    let ports = |count: usize| {
        let all = (1..=count).map(|i| json!({"port": i}));
        json!({"ports": all.collect::<Vec<_>>()})
    };
    let probes = |count: usize| {
        let all = (1..=count).map(|i| json!({"name": format!("p{i}"), "type": "TCP"}));
        json!({"probes": all.collect::<Vec<_>>()})
    };
    corpus.good.extend([real(1024), ports(64), probes(8)]);
    corpus.bad.extend([real(1025), ports(65), probes(9)]);
    corpus
}

fn refused_settings(object: &Value) -> Option<String> {
    let read: Settings = match serde_json::from_value(object.clone()) {
        Ok(read) => read,
        Err(error) => return Some(error.to_string()),
    };
    let (settings, findings) = settings(&read, &secrets());
    settings.is_none().then(|| format!("{findings:?}"))
}

fn definition(kind: &str) -> Value {
    let all = definitions().unwrap();
    let mut all = all.into_iter();
    all.find(|d| d["spec"]["names"]["kind"] == kind).unwrap()
}

/// Compares the verdicts over `corpus`; gives the CEL rules that refused something.
fn agree(kind: &str, corpus: &Corpus, by_rules: fn(&Value) -> Option<String>) -> BTreeSet<String> {
    let definition = definition(kind);
    let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut crd = Validator::of(root);
    for patch in &corpus.good {
        let object = object(kind, "default", &corpus.base, patch);
        assert_eq!(crd.refusals(&object), [""; 0], "CRD, {patch}");
        assert_eq!(by_rules(&object), None, "compiler, {patch}");
    }
    let mut used = BTreeSet::new();
    for patch in &corpus.bad {
        let object = object(kind, "default", &corpus.base, patch);
        let refusals = crd.refusals(&object);
        assert!(!refusals.is_empty(), "the CRD takes {patch}");
        assert!(by_rules(&object).is_some(), "the compiler takes {patch}");
        used.extend(refusals);
    }
    used
}

#[test]
fn a_router_gets_one_verdict_and_no_cel_rule_is_idle() {
    let used = agree("VirtualRouter", &router_corpus(), refused_by_rules);
    let all = schema::messages(&definition("VirtualRouter"));
    assert!(all.len() > 25, "{all:?}");
    let idle: Vec<&String> = all.difference(&used).collect();
    assert!(idle.is_empty(), "no bad object breaks {idle:?}");
}

#[test]
fn a_server_gets_one_verdict_and_no_cel_rule_is_idle() {
    let used = agree("VirtualServer", &server_corpus(), refused_server);
    let all = schema::messages(&definition("VirtualServer"));
    assert!(all.len() > 50, "{all:?}");
    let idle: Vec<&String> = all.difference(&used).collect();
    assert!(idle.is_empty(), "no bad object breaks {idle:?}");
}

#[test]
fn settings_get_one_verdict_and_no_cel_rule_is_idle() {
    let corpus = corpus(include_str!("corpus/settings.yaml"));
    let mut used = agree("Settings", &corpus, refused_settings);
    let definition = definition("Settings");
    let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let other = object("Settings", "other", &corpus.base, &json!({}));
    assert!(refused_settings(&other).is_some());
    used.extend(Validator::of(root).refusals(&other));
    let all = schema::messages(&definition);
    assert_eq!(all.difference(&used).count(), 0, "{all:?} {used:?}");
}

#[test]
fn what_the_compiler_makes_is_a_good_node_config() {
    let definition = definition("NodeConfig");
    let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut crd = Validator::of(root);
    let corpus = router_corpus();
    let mut made = 0;
    for patch in &corpus.good {
        let router = object("VirtualRouter", "r", &corpus.base, patch);
        let objects = Objects {
            routers: vec![serde_json::from_value(router).unwrap()],
            nodes: Vec::new(),
            secrets: secrets(),
            ..Objects::default()
        };
        for config in compile(&objects, "a").configs {
            let object = json!({
                "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfig", "metadata": {"name": "r"},
                "spec": {"nodeName": "a", "router": "r", "config": config},
            });
            assert_eq!(crd.refusals(&object), [""; 0], "{patch}");
            made += 1;
        }
    }
    assert!(made > 20, "{made}");
    let corpus = server_corpus();
    for patch in &corpus.good {
        let server = object("VirtualServer", "s", &corpus.base, patch);
        let objects = Objects {
            servers: vec![serde_json::from_value(server).unwrap()],
            ..server_surroundings()
        };
        let [config] = &compile(&objects, "a").configs[..] else {
            panic!("{patch}");
        };
        assert_eq!(config.servers.len(), 1, "{patch}");
        let object = json!({
            "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfig", "metadata": {"name": "r"},
            "spec": {"nodeName": "a", "router": "r", "config": config},
        });
        assert_eq!(crd.refusals(&object), [""; 0], "{patch}");
        let shard = json!({
            "metadata": {"name": "r-01"},
            "spec": {"nodeName": "a", "router": "r", "shard": {
                "set": "0123456789abcdef", "bits": "01", "requires": ["Shards"], "servers": config.servers,
            }},
        });
        assert_eq!(crd.refusals(&shard), [""; 0], "{patch}");
        // What the agent reads is what was written.
        let read = serde_json::to_value(config).unwrap();
        let read: vipkeeper_crds::NodeConfigSpec = serde_json::from_value(read).unwrap();
        assert_eq!(read, *config, "{patch}");
    }
    let own = json!({
        "metadata": {"name": "a"},
        "spec": {"nodeName": "a", "settings": vipkeeper_crds::NodeSettings::default()},
    });
    assert_eq!(crd.refusals(&own), [""; 0]);
    let torn = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "a", "router": "r"}});
    assert_eq!(crd.refusals(&torn).len(), 1);
    sharded(&mut crd);
}

/// Of a NodeConfig whose servers are in shards.
fn sharded(crd: &mut Validator<'_>) {
    let corpus = router_corpus();
    let router = object("VirtualRouter", "r", &corpus.base, &json!({}));
    let objects = Objects {
        routers: vec![serde_json::from_value(router).unwrap()],
        secrets: secrets(),
        ..Objects::default()
    };
    let config = compile(&objects, "a").configs.remove(0);
    let mut main = |set: &str, bits: &[&str]| {
        let set = json!({"name": set, "shards": bits});
        let spec = json!({"nodeName": "a", "router": "r", "config": config, "shardSet": set});
        let object = json!({"metadata": {"name": "r"}, "spec": spec});
        crd.refusals(&object).len()
    };
    let name = "0123456789abcdef";
    assert_eq!(main(name, &["0", "10", "110110110110", "111"]), 0);
    assert_eq!(main(&name[1..], &["0", "1"]), 1);
    assert_eq!(main(name, &["0"]), 1);
    assert_eq!(main(name, &["0", "2"]), 1);
    assert_eq!(
        main(name, &["0", "1101101101101"]),
        2,
        "too long, and no pattern"
    );
    let shard = json!({"set": name, "bits": "0", "servers": []});
    let both = json!({"nodeName": "a", "router": "r", "config": config, "shard": shard});
    let object = json!({"metadata": {"name": "r"}, "spec": both});
    assert_eq!(crd.refusals(&object).len(), 1);
}

#[test]
fn every_schema_is_structural_bounded_and_described() {
    for definition in definitions().unwrap() {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            if let Some(schema) = root["properties"].get(part) {
                assert_eq!(schema::loose(part, schema), [""; 0], "{kind}");
            }
        }
    }
}

#[test]
fn the_columns_show_state_first_and_are_scalars() {
    let columns = |kind: &str| {
        let definition = definition(kind);
        let columns = definition["spec"]["versions"][0]["additionalPrinterColumns"].clone();
        let columns: Vec<Value> = serde_json::from_value(columns).unwrap();
        for column in &columns {
            let path = column["jsonPath"].as_str().unwrap().replace('.', "/");
            let schema = "/spec/versions/0/schema/openAPIV3Schema";
            let path = path.replace('/', "/properties/");
            if !path.starts_with("/properties/metadata") {
                let field = definition.pointer(&format!("{schema}{path}")).unwrap();
                let kind = if column["type"] == "date" {
                    "string"
                } else {
                    column["type"].as_str().unwrap()
                };
                assert_eq!(field["type"], kind, "{column}");
            }
        }
        let names = columns
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        columns("VirtualRouter"),
        ["Active", "Ready", "VRID", "Addresses", "Nodes", "Age"]
    );
    assert_eq!(
        columns("VirtualServer"),
        ["Ready", "Router", "Accepted", "Age"]
    );
    assert_eq!(columns("NodeConfig"), ["Node", "Router", "Accepted", "Age"]);
    let selectable = definition("NodeConfig")["spec"]["versions"][0]["selectableFields"].clone();
    assert_eq!(
        selectable,
        json!([{"jsonPath": ".spec.nodeName"}, {"jsonPath": ".spec.router"}])
    );
}

#[test]
fn the_committed_chart_says_what_the_types_say() {
    let committed = [
        include_str!("../../charts/vipkeeper-crds/templates/nodeconfigs.yaml"),
        include_str!("../../charts/vipkeeper-crds/templates/settings.yaml"),
        include_str!("../../charts/vipkeeper-crds/templates/virtualrouters.yaml"),
        include_str!("../../charts/vipkeeper-crds/templates/virtualservers.yaml"),
    ];
    for (text, definition) in committed.iter().zip(definitions().unwrap()) {
        let read: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(read, definition, "run `make crds`");
        assert!(!text.contains("{{"), "Helm would take it for a template");
        let annotations = &definition["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
    }
}
