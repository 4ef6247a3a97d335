//! What holds for any sequence of edits: incremental equals full, and who is not concerned does not move.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};
use vipkeeper_crds::node_server::ServerName;
use vipkeeper_crds::{AddressFamily, NodeConfigSpec, VirtualRouter, VirtualServer};

use super::{balanced, merge, router};
use crate::render::{Place, rendered};
use crate::{
    Allocation, Allocations, ConfigKey, ConfigMapName, Configurations, Finding, Foreign, Index,
    Previous, ReportedInterface, SecretName, Served, Setting, Shards, allocate, list_hash,
};

const NODES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Edit {
    Router(u8, Option<(Value, u64)>),
    Node(u8, Option<Value>),
    Server(u8, Option<(Value, u64)>),
    /// Whether the namespace of all VirtualServers has a label, or is not known.
    Namespace(Option<bool>),
    /// Whether it has an authority.
    ConfigMap(bool),
    Secret(bool),
    Interfaces(u8, Option<u8>),
    Foreign(BTreeSet<u8>),
    Time(u8),
    /// What was allocated is given back, with a holder or without.
    Remember(bool),
}

/// All inputs, as a plain list would have them.
#[derive(Clone, Debug, Default)]
struct Model {
    routers: BTreeMap<String, (VirtualRouter, u64)>,
    nodes: BTreeMap<String, Node>,
    servers: BTreeMap<ServerName, (VirtualServer, u64)>,
    served: BTreeMap<ServerName, Served>,
    namespace: Option<bool>,
    config_map: bool,
    secret: bool,
    interfaces: BTreeMap<String, Vec<ReportedInterface>>,
    foreign: BTreeSet<Foreign>,
    time: Option<Time>,
    previous: BTreeMap<String, Previous>,
}

fn any_router() -> impl Strategy<Value = Value> {
    let nodes = prop_oneof![
        3 => Just(balanced(json!({}))),
        2 => (1..4).prop_map(|n| balanced(json!({"maxCandidates": n}))),
        1 => Just(balanced(json!({"selectors": [{"matchLabels": {"role": "edge"}}]}))),
        1 => Just(balanced(json!({"preferred": [{"weight": 9, "preference": {"matchLabels": {"role": "edge"}}}]}))),
        1 => Just(json!({})),
        1 => Just(balanced(json!({"maxCandidates": 99}))),
    ];
    (nodes, 1u8..9, prop::option::of(1u8..5), 0u8..3, 0u8..8).prop_map(
        |(mut patch, host, vrid, interface, kind)| {
            let interface = match interface {
                0 => Value::Null,
                n => json!({"type": "Name", "name": format!("eth{n}")}),
            };
            let more = json!({
                "addresses": [{"address": format!("10.0.1.{host}")}],
                "virtualRouterId": vrid,
                "interface": interface,
            });
            merge(&mut patch, more);
            match kind {
                0 => merge(&mut patch, json!({"transport": {"mode": "Unicast"}})),
                1 => merge(&mut patch, super::password(json!({}))),
                2 | 3 => merge(&mut patch, json!({"syncGroup": "g"})),
                4 => {
                    let both = [format!("10.0.1.{host}"), format!("2001:db8::{host}")];
                    let both = both.map(|a| json!({"address": a}));
                    let fast = json!({"addresses": both, "advertisementInterval": "10ms", "syncGroup": "g"});
                    merge(&mut patch, fast);
                }
                _ => {}
            }
            let attach = match host % 4 {
                0 => json!({}),
                1 => json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}}),
                2 => json!({"namespaces": {"from": "All"}, "trusted": true, "fwmark": true}),
                _ => json!({"namespaces": {"from": "All"}}),
            };
            merge(&mut patch, json!({"attach": attach}));
            patch
        },
    )
}

fn any_server() -> impl Strategy<Value = Value> {
    (0u8..7, 80u16..82, 1u8..12, 0u8..8).prop_map(|(router, port, host, kind)| {
        let mut spec = json!({
            "routerRef": {"name": format!("r{router}")},
            "ports": [{"port": port}],
            "realServers": [{"address": format!("10.0.1.{host}")}],
        });
        let more = match kind {
            0 => json!({"ports": [], "fwmark": {"value": port, "family": "IPv4"}}),
            1 => json!({"addresses": [format!("10.0.1.{}", host % 9)]}),
            2 | 5 => json!({"probes": [{"name": "p", "type": "HTTPS", "https": {"caRef": {"name": "ca"}}}]}),
            // Refused by themselves.
            3 => json!({"realServers": []}),
            4 => json!({"scheduler": {"name": "rr", "flags": ["Port"]}}),
            _ => json!({}),
        };
        merge(&mut spec, more);
        spec
    })
}

fn any_node() -> impl Strategy<Value = Value> {
    (0u8..8, any::<bool>(), prop::option::of(5u8..12)).prop_map(|(state, edge, host)| {
        let addresses: Vec<Value> = host
            .iter()
            .map(|h| json!({"type": "InternalIP", "address": format!("10.0.1.{h}")}))
            .collect();
        let mut node = json!({"metadata": {"labels": {}}, "status": {"addresses": addresses}});
        if edge {
            merge(&mut node, json!({"metadata": {"labels": {"role": "edge"}}}));
        }
        let more = match state {
            0 => json!({"spec": {"unschedulable": true}}),
            1 => json!({"metadata": {"annotations": {"vipkeeper.io/drain": ""}}}),
            2 => json!({"status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
            _ => json!({}),
        };
        merge(&mut node, more);
        node
    })
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => (0u8..6, prop::option::weighted(0.8, (any_router(), 0u64..3))).prop_map(|(n, r)| Edit::Router(n, r)),
        6 => (0u8..7, prop::option::weighted(0.8, any_node())).prop_map(|(n, v)| Edit::Node(n, v)),
        6 => (0u8..5, prop::option::weighted(0.8, (any_server(), 0u64..3))).prop_map(|(n, s)| Edit::Server(n, s)),
        1 => prop::option::of(any::<bool>()).prop_map(Edit::Namespace),
        1 => any::<bool>().prop_map(Edit::ConfigMap),
        1 => any::<bool>().prop_map(Edit::Secret),
        2 => (0u8..7, prop::option::of(0u8..3)).prop_map(|(n, i)| Edit::Interfaces(n, i)),
        1 => prop::collection::btree_set(1u8..6, 0..3).prop_map(Edit::Foreign),
        1 => (0u8..10).prop_map(Edit::Time),
        3 => any::<bool>().prop_map(Edit::Remember),
    ]
}

fn node_named(name: &str, mut object: Value) -> Node {
    merge(&mut object, json!({"metadata": {"name": name}}));
    serde_json::from_value(object).unwrap()
}

fn server_name(n: u8) -> ServerName {
    ServerName {
        namespace: "shop".to_owned(),
        name: format!("s{n}"),
    }
}

fn server(n: u8, spec: &Value) -> VirtualServer {
    let ServerName { namespace, name } = server_name(n);
    serde_json::from_value(json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualServer",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    }))
    .unwrap()
}

/// Makes the namespace one with or without a label, or unknown.
fn set_namespace(index: &mut Index, labelled: Option<bool>) -> bool {
    let Some(labelled) = labelled else {
        return index.remove_namespace("shop");
    };
    let labels = if labelled {
        json!({"team": "shop"})
    } else {
        json!({})
    };
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "shop", "labels": labels}})).unwrap();
    index.set_namespace(&namespace)
}

fn set_config_map(index: &mut Index, there: bool) -> bool {
    let name = ConfigMapName {
        namespace: "shop".to_owned(),
        name: "ca".to_owned(),
    };
    // Two VirtualServers with it are too much for one object.
    let pem = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n".repeat(700);
    let data = BTreeMap::from([("ca.crt".to_owned(), pem)]);
    index.set_config_map(name, there.then_some(data))
}

fn secret() -> (SecretName, BTreeSet<String>) {
    let name = SecretName {
        namespace: "vipkeeper-keys".into(),
        name: "vr".into(),
    };
    (name, BTreeSet::from(["password".to_owned()]))
}

fn interfaces(net: u8) -> Vec<ReportedInterface> {
    let eth = |n: u8| ReportedInterface {
        name: format!("eth{n}"),
        prefixes: vec![(format!("10.0.{}.200", n * net).parse().unwrap(), 24)],
        default_route: BTreeSet::from([AddressFamily::V4]),
    };
    vec![eth(1), eth(2)]
}

impl Model {
    /// Does `edit` here and to `index`; whether the index says that it matters.
    fn apply(&mut self, edit: &Edit, index: &mut Index, allocations: &Allocations) -> bool {
        match edit {
            Edit::Router(n, None) => {
                let name = format!("r{n}");
                self.routers.remove(&name);
                self.previous.remove(&name);
                index.remove_router(&name)
            }
            Edit::Router(n, Some((patch, seniority))) => {
                let object = router(&format!("r{n}"), patch.clone());
                let changed = index.set_router(&object, *seniority);
                self.routers.insert(format!("r{n}"), (object, *seniority));
                changed
            }
            Edit::Node(n, None) => {
                let name = NODES[usize::from(*n)];
                self.nodes.remove(name);
                index.remove_node(name)
            }
            Edit::Node(n, Some(object)) => {
                let name = NODES[usize::from(*n)];
                let node = node_named(name, object.clone());
                let changed = index.set_node(&node);
                self.nodes.insert(name.to_owned(), node);
                changed
            }
            Edit::Server(n, None) => {
                self.servers.remove(&server_name(*n));
                self.served.remove(&server_name(*n));
                index.remove_server(&server_name(*n))
            }
            Edit::Server(n, Some((spec, seniority))) => {
                let object = server(*n, spec);
                let changed = index.set_server(&object, *seniority);
                self.servers.insert(server_name(*n), (object, *seniority));
                changed
            }
            Edit::Namespace(labelled) => {
                self.namespace = *labelled;
                set_namespace(index, *labelled)
            }
            Edit::ConfigMap(there) => {
                self.config_map = *there;
                set_config_map(index, *there)
            }
            Edit::Secret(there) => {
                self.secret = *there;
                let (name, keys) = secret();
                index.set_secret(name, there.then_some(keys))
            }
            Edit::Interfaces(n, net) => {
                let name = NODES[usize::from(*n)];
                let all = net.map(interfaces);
                let changed = index.set_interfaces(name, all.clone());
                match all {
                    Some(all) => self.interfaces.insert(name.to_owned(), all),
                    None => self.interfaces.remove(name),
                };
                changed
            }
            Edit::Foreign(vrids) => {
                let foreign = vrids.iter().map(|vrid| Foreign {
                    virtual_router_id: *vrid,
                    family: AddressFamily::V4,
                    source: "10.0.1.250".parse().unwrap(),
                    addresses_hash: Some(list_hash(
                        [format!("10.0.1.{vrid}").parse().unwrap()].into_iter(),
                    )),
                    heard_on: (vrid % 2 == 0).then(|| ("10.0.1.0".parse().unwrap(), 24)),
                });
                self.foreign = foreign.collect();
                index.set_foreign(self.foreign.clone())
            }
            Edit::Time(minute) => {
                self.time = Some(Time(
                    format!("2026-01-01T00:0{minute}:00Z").parse().unwrap(),
                ));
                index.set_time(self.time.clone())
            }
            Edit::Remember(with_holder) => {
                let mut changed = false;
                for (name, allocation) in &allocations.routers {
                    let first = allocation.candidates.first().map(|c| c.node.clone());
                    let previous =
                        allocation.remember(first.filter(|_| *with_holder).into_iter().collect());
                    changed |= index.set_previous(name, Some(previous.clone()));
                    self.previous.insert(name.clone(), previous);
                }
                for served in allocations.served() {
                    let name = served.server.name.clone();
                    if self.servers.contains_key(&name) {
                        changed |= index.set_served(&name, Some(served.clone()));
                        self.served.insert(name, served);
                    }
                }
                changed
            }
        }
    }

    /// An index made at once, in another order.
    fn index(&self, setting: Setting) -> Index {
        let mut index = Index::new(setting);
        index.set_time(self.time.clone());
        for (name, previous) in &self.previous {
            index.set_previous(name, Some(previous.clone()));
        }
        index.set_foreign(self.foreign.clone());
        for (name, all) in &self.interfaces {
            index.set_interfaces(name, Some(all.clone()));
        }
        if self.secret {
            let (name, keys) = secret();
            index.set_secret(name, Some(keys));
        }
        for node in self.nodes.values().rev() {
            index.set_node(node);
        }
        for (name, served) in &self.served {
            index.set_served(name, Some(served.clone()));
        }
        for (object, seniority) in self.servers.values().rev() {
            index.set_server(object, *seniority);
        }
        set_config_map(&mut index, self.config_map);
        if self.namespace.is_some() {
            set_namespace(&mut index, self.namespace);
        }
        for (object, seniority) in self.routers.values().rev() {
            index.set_router(object, *seniority);
        }
        index
    }
}

/// What a node is told of a router.
type Told = (NodeConfigSpec, Option<Shards>);

/// Everything, made anew.
fn full(index: &Index) -> (Allocations, BTreeMap<ConfigKey, Told>) {
    let allocations = allocate(index);
    let mut all = BTreeMap::new();
    for router in index.routers() {
        let servers = allocations.servers.get(router);
        let shards = servers.and_then(|servers| Shards::of(servers, None));
        let place = if shards.is_some() {
            Place::Shards
        } else {
            Place::Here
        };
        for node in NODES {
            let key = ConfigKey {
                router: router.to_owned(),
                node: node.to_owned(),
            };
            let config = rendered(index, &allocations, &key, place);
            all.extend(config.map(|c| (key, (c, shards.clone()))));
        }
    }
    (allocations, all)
}

/// Everything that was rendered.
fn told(configurations: &Configurations) -> BTreeMap<ConfigKey, Told> {
    let configs = configurations.configs().iter();
    let all = configs.map(|(key, config)| {
        let shards = configurations.shards(&key.router).cloned();
        (key.clone(), (config.clone(), shards))
    });
    all.collect()
}

fn differences(
    a: &BTreeMap<ConfigKey, Told>,
    b: &BTreeMap<ConfigKey, Told>,
) -> BTreeSet<ConfigKey> {
    let keys = a.keys().chain(b.keys());
    keys.filter(|k| a.get(*k) != b.get(*k)).cloned().collect()
}

/// A VirtualServer on a port of its own; two large ones are too much for one object.
fn one_of_many(n: u8, large: bool, weight: u8) -> Value {
    let mut spec = json!({
        "routerRef": {"name": "r0"},
        "ports": [{"port": 1 + n}],
        "realServers": [{"address": "10.0.2.1", "weight": weight}],
    });
    if large {
        let probe = json!({"name": "p", "type": "HTTPS", "https": {"caRef": {"name": "ca"}}});
        merge(&mut spec, json!({"probes": [probe]}));
    }
    spec
}

/// Mostly of VirtualServers on one router.
fn any_edit_of_many() -> impl Strategy<Value = Edit> {
    let one = (0u8..8, any::<bool>(), 1u8..4);
    let one = one.prop_map(|(n, large, weight)| (n, one_of_many(n, large, weight)));
    prop_oneof![
        8 => one.prop_map(|(n, spec)| Edit::Server(n, Some((spec, 0)))),
        2 => (0u8..8).prop_map(|n| Edit::Server(n, None)),
        1 => any::<bool>().prop_map(Edit::ConfigMap),
        1 => (0u8..3, prop::option::weighted(0.7, any_node())).prop_map(|(n, v)| Edit::Node(n, v)),
        1 => any::<bool>().prop_map(Edit::Remember),
    ]
}

/// Does `edit`: what is worked out is what would be if everything were made anew, and what changed is said.
fn same_as_full(
    edit: &Edit,
    model: &mut Model,
    index: &mut Index,
    configurations: &mut Configurations,
) -> Result<(), TestCaseError> {
    let before = told(configurations);
    let allocated = configurations.allocations().clone();
    let matters = model.apply(edit, index, &allocated);
    let changed = configurations.refresh(index);
    let (allocations, configs) = full(&model.index(index.setting));
    prop_assert_eq!(configurations.allocations(), &allocations, "{:?}", edit);
    prop_assert_eq!(&told(configurations), &configs, "{:?}", edit);
    prop_assert_eq!(&changed.configs, &differences(&before, &configs));
    for name in allocations.routers.keys().chain(allocated.routers.keys()) {
        let is_so = allocations.routers.get(name) == allocated.routers.get(name);
        prop_assert!(is_so || changed.routers.contains(name), "{:?}", edit);
    }
    let said = |all: &Allocations| {
        let of = |f: &Finding| (f.object.clone(), f.clone());
        all.findings.iter().map(of).collect::<Vec<_>>()
    };
    for (object, finding) in said(&allocations) {
        prop_assert!(configurations.findings(&object).contains(&finding));
    }
    for (object, finding) in said(&allocated) {
        let still = allocations.findings.contains(&finding);
        prop_assert!(still || changed.objects.contains(&object), "{:?}", edit);
    }
    if !matters {
        prop_assert_eq!(allocations, allocated, "{:?} was said not to matter", edit);
    }
    Ok(())
}

#[test]
fn what_left_service_does_not_come_back_when_what_followed_it_has_to_give_way() {
    const OLD: u8 = 0;
    const EDITED: u8 = 1;
    const YOUNG: u8 = 2;
    let mut open = balanced(json!({}));
    merge(
        &mut open,
        json!({"attach": {"namespaces": {"from": "All"}}}),
    );
    let on = |n: u8, ports: &[u16]| {
        let ports: Vec<Value> = ports.iter().map(|port| json!({"port": port})).collect();
        let spec = json!({"routerRef": {"name": "r0"}, "ports": ports,
            "realServers": [{"address": "10.0.2.1"}]});
        Edit::Server(n, Some((spec, u64::from(n))))
    };
    let mut model = Model::default();
    let mut index = Index::new(Setting::Cluster);
    let mut configurations = Configurations::default();
    for edit in [
        Edit::Router(0, Some((open, 0))),
        Edit::Node(0, Some(json!({}))),
        on(OLD, &[443]),
        on(EDITED, &[80]),
        on(EDITED, &[8080]),
        on(YOUNG, &[80]),
        on(OLD, &[443, 8080]),
    ] {
        for edit in [edit, Edit::Remember(false)] {
            same_as_full(&edit, &mut model, &mut index, &mut configurations).unwrap();
        }
    }
    let served = configurations.allocations().served();
    let names: Vec<ServerName> = served.map(|s| s.server.name.clone()).collect();
    assert_eq!(names, [OLD, YOUNG].map(server_name));
}

fn any_setting() -> impl Strategy<Value = Setting> {
    prop_oneof![Just(Setting::Cluster), Just(Setting::Standalone)]
}

/// Routers that are in nobody's way, on `nodes`; remembered, where there is memory.
fn peaceful(setting: Setting, routers: u8, most: u8, nodes: &[&str]) -> (Index, Allocations) {
    let mut index = Index::new(setting);
    for n in 0..routers {
        index.set_router(&quiet(n, most), u64::from(n));
    }
    for name in nodes {
        index.set_node(&node_named(name, json!({})));
    }
    let allocations = allocate(&index);
    remember(&mut index, &allocations);
    (index, allocations)
}

fn quiet(n: u8, most: u8) -> VirtualRouter {
    let mut patch = balanced(json!({"maxCandidates": most}));
    let vrid = n + 1;
    let more =
        json!({"addresses": [{"address": format!("192.0.2.{vrid}")}], "virtualRouterId": vrid});
    merge(&mut patch, more);
    router(&format!("r{n}"), patch)
}

fn remember(index: &mut Index, allocations: &Allocations) {
    if index.setting == Setting::Cluster {
        for (name, allocation) in &allocations.routers {
            index.set_previous(name, Some(allocation.remember(BTreeSet::new())));
        }
    }
}

fn names(allocation: &Allocation) -> Vec<&str> {
    let candidates = allocation.candidates.iter();
    candidates.map(|c| c.node.as_str()).collect()
}

proptest! {
    #[test]
    fn incremental_equals_full_for_any_edits(
        setting in any_setting(),
        edits in prop::collection::vec(any_edit(), 1..40),
    ) {
        let mut model = Model::default();
        let mut index = Index::new(setting);
        let mut configurations = Configurations::default();
        for edit in &edits {
            same_as_full(edit, &mut model, &mut index, &mut configurations)?;
        }
    }

    #[test]
    fn incremental_equals_full_also_in_shards(edits in prop::collection::vec(any_edit_of_many(), 1..12)) {
        let mut model = Model::default();
        let mut index = Index::new(Setting::Cluster);
        let mut configurations = Configurations::default();
        let mut open = balanced(json!({}));
        merge(&mut open, json!({"attach": {"namespaces": {"from": "All"}}}));
        let mut first = vec![Edit::Router(0, Some((open, 0))), Edit::Node(0, Some(json!({}))), Edit::ConfigMap(true)];
        first.extend((0..4).map(|n| Edit::Server(n, Some((one_of_many(n, true, 1), 0)))));
        for edit in &first {
            same_as_full(edit, &mut model, &mut index, &mut configurations)?;
        }
        prop_assert!(configurations.shards("r0").is_some());
        for edit in &edits {
            same_as_full(edit, &mut model, &mut index, &mut configurations)?;
        }
    }

    #[test]
    fn what_is_remembered_stays(edits in prop::collection::vec(any_edit(), 1..40)) {
        let mut model = Model::default();
        let mut index = Index::new(Setting::Cluster);
        for edit in &edits {
            let allocations = allocate(&index);
            model.apply(edit, &mut index, &allocations);
        }
        let before = allocate(&index);
        let mut orders: BTreeMap<String, Vec<(&str, u8)>> = BTreeMap::new();
        for (name, allocation) in &before.routers {
            let group = model.routers[name].0.spec.sync_group.clone();
            let candidates = allocation.candidates.iter();
            let own: Vec<_> = candidates.map(|c| (c.node.as_str(), c.priority)).collect();
            if let Some(group) = group {
                let others = orders.entry(group).or_insert_with(|| own.clone());
                prop_assert_eq!(&own, others, "a group has one order");
            }
        }
        remember(&mut index, &before);
        let after = allocate(&index);
        for (name, allocation) in &before.routers {
            let now = &after.routers[name];
            prop_assert_eq!(allocation.virtual_router_id, now.virtual_router_id);
            prop_assert_eq!(names(allocation), names(now));
        }
        prop_assert_eq!(before.routers.len(), after.routers.len());
    }

    #[test]
    fn an_unrelated_change_moves_nothing(
        setting in any_setting(),
        most in 1u8..6,
        router in 0u8..20,
        added in any::<bool>(),
    ) {
        let (mut index, before) = peaceful(setting, 12, most, &NODES);
        if added {
            index.set_router(&quiet(router, most), 0);
            let other_system = json!({"metadata": {"labels": {"kubernetes.io/os": "windows"}}});
            index.set_node(&node_named("w", other_system));
        } else {
            index.remove_router(&format!("r{router}"));
        }
        let after = allocate(&index);
        for (name, allocation) in &before.routers {
            if *name != format!("r{router}") {
                prop_assert_eq!(names(allocation), names(&after.routers[name]));
                prop_assert_eq!(allocation.virtual_router_id, after.routers[name].virtual_router_id);
            }
        }
    }

    #[test]
    fn losing_a_node_moves_only_what_it_held(
        setting in any_setting(),
        most in 1u8..6,
        lost in 0usize..7,
        drained in any::<bool>(),
    ) {
        let (mut index, before) = peaceful(setting, 40, most, &NODES);
        let lost = NODES[lost];
        if drained {
            index.set_node(&node_named(lost, json!({"spec": {"unschedulable": true}})));
        } else {
            index.remove_node(lost);
        }
        let after = allocate(&index);
        for (name, allocation) in &before.routers {
            let (was, now) = (names(allocation), names(&after.routers[name]));
            if !was.contains(&lost) {
                prop_assert_eq!(&was, &now, "it had no part in {}", name);
            }
            let left: Vec<&str> = was.iter().copied().filter(|n| *n != lost).collect();
            prop_assert_eq!(&now[..left.len()], &left[..], "the others keep their order");
            prop_assert_ne!(now[0], lost);
        }
    }

    #[test]
    fn a_node_that_joins_takes_nothing_from_a_holder(most in 1u8..6, joins in 0usize..7) {
        let joins = NODES[joins];
        let rest: Vec<&str> = NODES.into_iter().filter(|n| *n != joins).collect();
        let (mut index, before) = peaceful(Setting::Cluster, 20, most, &rest);
        index.set_node(&node_named(joins, json!({})));
        let after = allocate(&index);
        for (name, allocation) in &before.routers {
            prop_assert_eq!(names(allocation)[0], names(&after.routers[name])[0]);
        }
        let (mut index, before) = peaceful(Setting::Standalone, 20, most, &rest);
        index.set_node(&node_named(joins, json!({})));
        let after = allocate(&index);
        for (name, allocation) in &before.routers {
            let first = names(&after.routers[name])[0];
            prop_assert!(first == joins || first == names(allocation)[0], "no third one moves");
        }
    }
}
