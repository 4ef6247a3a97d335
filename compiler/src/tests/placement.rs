//! Who takes part, in which order, and with which priorities.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use vipkeeper_crds::{Duration, NodeTransport, ProtocolVersion, VirtualRouter};

use super::{balanced, merge, objects, router};
use crate::placement::{priorities, step};
use crate::{
    Allocations, Candidate, ConfigKey, Index, Objects, Previous, Reason, Setting, Severity,
    Withdrawal, allocate, compile, render,
};

/// A node that is ready, with `patch` laid over it.
fn node(name: &str, patch: Value) -> Node {
    let mut object = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": format!("192.0.2.{}", name.len())}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        },
    });
    merge(&mut object, patch);
    serde_json::from_value(object).unwrap()
}

fn labelled(name: &str, labels: Value) -> Node {
    node(name, json!({"metadata": {"labels": labels}}))
}

fn not_ready(name: &str, since: &str) -> Node {
    node(
        name,
        json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": since}]}}),
    )
}

fn cluster(routers: &[VirtualRouter], nodes: &[Node]) -> Index {
    let mut index = Index::new(Setting::Cluster);
    for router in routers {
        index.set_router(router, 0);
    }
    set_nodes(&mut index, nodes);
    index
}

fn set_nodes(index: &mut Index, nodes: &[Node]) {
    for node in nodes {
        index.set_node(node);
    }
}

fn plain(names: &[&str]) -> Vec<Node> {
    names.iter().map(|name| node(name, json!({}))).collect()
}

fn candidates<'a>(allocations: &'a Allocations, router: &str) -> &'a [Candidate] {
    &allocations.routers[router].candidates
}

fn order<'a>(allocations: &'a Allocations, router: &str) -> Vec<&'a str> {
    let all = candidates(allocations, router).iter();
    all.map(|c| c.node.as_str()).collect()
}

fn previous(nodes: &[&str], holder: Option<&str>) -> Option<Previous> {
    Some(Previous {
        virtual_router_id: None,
        nodes: nodes.iter().map(|&n| n.to_owned()).collect(),
        holders: holder.into_iter().map(str::to_owned).collect(),
    })
}

/// The order that the nodes of `objects` compute, each for itself: all must have the same.
fn standalone(objects: &Objects) -> Vec<(String, u8)> {
    let mut all: Vec<(String, u8)> = Vec::new();
    for node in &objects.nodes {
        let name = node.metadata.name.clone().unwrap();
        let compiled = compile(objects, &name);
        assert_eq!(compiled.findings, []);
        all.extend(compiled.configs.iter().map(|c| (name.clone(), c.priority)));
    }
    all.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
    all
}

#[test]
fn the_step_keeps_skews_five_milliseconds_apart_as_far_as_there_is_room() {
    let v3 = ProtocolVersion::V3;
    for (version, millis, count, expected) in [
        (v3, 250, 3, 6),
        (v3, 250, 32, 6),
        (v3, 1_000, 3, 2),
        (v3, 1_280, 3, 1),
        (v3, 40_950, 5, 1),
        (v3, 100, 3, 13),
        (v3, 100, 32, 8),
        (v3, 10, 2, 128),
        (v3, 10, 3, 126),
        (v3, 10, 32, 8),
        (v3, 10, 1, 1),
        (v3, 250, 0, 1),
        (ProtocolVersion::V2, 1_000, 3, 2),
        (ProtocolVersion::V2, 255_000, 3, 2),
    ] {
        let interval = Duration::from_millis(millis);
        assert_eq!(step(version, interval, count), expected, "{millis} {count}");
        let all: Vec<u8> = priorities(step(version, interval, count), count).collect();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|p| (1..=254).contains(p)), "{all:?}");
        for pair in all.windows(2) {
            assert_eq!(pair[0] - pair[1], expected);
        }
    }
}

#[test]
fn without_priorities_all_nodes_compute_the_same_order_from_names() {
    let mut objects = objects(vec![router("web", balanced(json!({})))]);
    objects.nodes = plain(&["a", "bb", "ccc"]);
    // Another order here would move addresses at an upgrade.
    let expected = [("ccc", 254), ("bb", 248), ("a", 242)];
    let expected = expected.map(|(node, priority)| (node.to_owned(), priority));
    assert_eq!(standalone(&objects), expected);
    let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        compile(&objects, "stranger").candidates,
        names(&["a", "bb", "ccc"])
    );
}

#[test]
fn without_memory_routers_have_orders_of_their_own() {
    let nodes = plain(&["a", "b", "c", "d"]);
    let mut heads = BTreeSet::new();
    let mut counts = [0; 4];
    for i in 0..400 {
        let mut objects = objects(vec![router(&format!("r{i}"), balanced(json!({})))]);
        objects.nodes = nodes.clone();
        let mut index = Index::new(Setting::Standalone);
        index.set_router(&objects.routers[0], 0);
        set_nodes(&mut index, &objects.nodes);
        let allocations = allocate(&index);
        let name = order(&allocations, &format!("r{i}")).join("");
        counts[usize::from(name.as_bytes()[0] - b'a')] += 1;
        heads.insert(name);
    }
    assert!(heads.len() > 20, "of 24 orders only {heads:?}");
    assert!(counts.iter().all(|c| (70..=130).contains(c)), "{counts:?}");
}

#[test]
fn without_priorities_and_nodes_the_way_out_is_said() {
    let mut objects = objects(vec![router("r", balanced(json!({})))]);
    objects.nodes.clear();
    let compiled = compile(&objects, "a");
    let finding = &compiled.findings[0];
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(finding.path, "spec.nodes.priorities");
    for word in ["required", "list each node", "core v1 Node object"] {
        assert!(finding.message.contains(word), "{finding:?}");
    }
    assert_eq!(compiled.configs, []);

    let selectors = balanced(json!({"selectors": [{"matchLabels": {"role": "edge"}}]}));
    objects.routers = vec![router("r", selectors).into()];
    let compiled = compile(&objects, "a");
    assert_eq!(compiled.findings[0].path, "spec.nodes.selectors");
}

#[test]
fn selectors_choose_limits_limit_and_preferences_come_first() {
    let nodes = [
        labelled("a", json!({"role": "edge"})),
        labelled("b", json!({"role": "edge", "rack": "1"})),
        labelled("c", json!({"role": "core"})),
        labelled("d", json!({"role": "core", "rack": "1"})),
        labelled("e", json!({"role": "edge", "kubernetes.io/os": "windows"})),
        labelled("f", json!({})),
    ];
    let edge = json!({"matchLabels": {"role": "edge"}});
    let core = json!({"matchLabels": {"role": "core"}});
    let prefer = |weight: i64, labels: Value| json!({"weight": weight, "preference": {"matchLabels": labels}});
    let rack = json!({"rack": "1"});
    for (patch, count, first) in [
        (json!({"selectors": [edge]}), 2, "ab"),
        (json!({"selectors": [edge, core]}), 4, "abcd"),
        (
            json!({"selectors": [edge, core], "maxCandidates": 3}),
            3,
            "abcd",
        ),
        (json!({}), 5, "abcdf"),
        (json!({"preferred": [prefer(1, rack.clone())]}), 5, "bd"),
        (
            json!({"preferred": [prefer(10, rack.clone()), prefer(5, json!({"role": "core"}))]}),
            5,
            "d",
        ),
        (
            json!({"preferred": [prefer(10, rack), prefer(11, json!({"role": "core"}))], "maxCandidates": 1}),
            1,
            "d",
        ),
    ] {
        for setting in [Setting::Standalone, Setting::Cluster] {
            let mut index = Index::new(setting);
            index.set_router(&router("r", balanced(patch.clone())), 0);
            set_nodes(&mut index, &nodes);
            let allocations = allocate(&index);
            let order = order(&allocations, "r");
            assert_eq!(order.len(), count, "{patch} {order:?}");
            let head = order[0].chars().next().unwrap();
            assert!(first.contains(head), "{patch} {order:?}");
        }
    }
}

#[test]
fn a_node_that_shall_not_be_used_comes_below_all_others() {
    let taint = json!({"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]}});
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let drain = |v: &str| json!({"metadata": {"annotations": {"vipkeeper.io/drain": v}}});
    for (patch, why) in [
        (
            json!({"spec": {"unschedulable": true}}),
            Some(Withdrawal::Cordoned),
        ),
        (drain(""), Some(Withdrawal::Drained)),
        (taint, Some(Withdrawal::OutOfService)),
        (deleted, Some(Withdrawal::Deleted)),
        (drain("false"), None),
        (json!({"spec": {"unschedulable": false}}), None),
    ] {
        let mut index = cluster(
            &[router("r", balanced(json!({})))],
            &plain(&["a", "b", "c"]),
        );
        index.set_previous("r", previous(&["b", "a", "c"], Some("b")));
        index.set_node(&node("b", patch.clone()));
        let allocations = allocate(&index);
        let expected = if why.is_some() {
            ["a", "c", "b"]
        } else {
            ["b", "a", "c"]
        };
        assert_eq!(order(&allocations, "r"), expected, "{patch}");
        let b = candidates(&allocations, "r").iter().find(|c| c.node == "b");
        let reason = why.map_or(Reason::Kept, Reason::Withdrawn);
        assert_eq!(b.unwrap().reason, reason, "{patch}");
        let gives_way = |node: &str| {
            let (router, node) = ("r".to_owned(), node.to_owned());
            let config = render(&index, &allocations, &ConfigKey { router, node });
            config.unwrap().gives_way
        };
        assert_eq!(gives_way("b"), why.is_some(), "{patch}");
        assert!(!gives_way("a"), "{patch}");
        assert_eq!(allocations.findings, []);
    }
}

#[test]
fn withdrawing_every_node_changes_nothing() {
    let cordon = json!({"spec": {"unschedulable": true}});
    let mut index = cluster(&[router("r", balanced(json!({})))], &[]);
    index.set_previous("r", previous(&["b", "a", "c"], Some("b")));
    set_nodes(
        &mut index,
        &["a", "b", "c"].map(|n| node(n, cordon.clone())),
    );
    assert_eq!(order(&allocate(&index), "r"), ["b", "a", "c"]);

    let mut objects = objects(vec![router("r", json!({}))]);
    objects.nodes = ["a", "b"].map(|n| node(n, cordon.clone())).into();
    let priorities = |o: &Objects| ["a", "b"].map(|n| compile(o, n).configs[0].priority);
    assert_eq!(priorities(&objects), [100, 90]);
    objects.nodes[1] = node("b", json!({}));
    assert_eq!(priorities(&objects), [89, 90], "listed ones go below too");
}

#[test]
fn a_withdrawn_candidate_stays_and_another_takes_its_place() {
    let two = balanced(json!({"maxCandidates": 2}));
    let mut index = cluster(&[router("r", two)], &plain(&["a", "b", "c"]));
    let first = allocate(&index);
    let [x, y] = order(&first, "r")[..] else {
        panic!("{first:?}");
    };
    let z = ["a", "b", "c"]
        .into_iter()
        .find(|n| *n != x && *n != y)
        .unwrap();
    index.set_previous("r", Some(first.routers["r"].remember(BTreeSet::new())));
    index.set_node(&node(x, json!({"spec": {"unschedulable": true}})));
    for _ in 0..3 {
        let now = allocate(&index);
        assert_eq!(order(&now, "r"), [y, z, x], "and this lasts");
        index.set_previous("r", Some(now.routers["r"].remember(BTreeSet::new())));
    }
    index.set_node(&node(x, json!({})));
    assert_eq!(order(&allocate(&index), "r"), [y, z]);
}

#[test]
fn a_node_that_is_not_ready_counts_after_five_minutes_alone() {
    let mut index = cluster(
        &[router("r", balanced(json!({})))],
        &plain(&["a", "b", "c"]),
    );
    index.set_previous("r", previous(&["b", "a", "c"], Some("b")));
    index.set_node(&not_ready("b", "2026-01-01T12:00:00Z"));
    for (now, first) in [
        (None, "b"),
        (Some("2026-01-01T11:00:00Z"), "b"),
        (Some("2026-01-01T12:04:59Z"), "b"),
        (Some("2026-01-01T12:05:00Z"), "a"),
    ] {
        index.set_time(now.map(|now| Time(now.parse().unwrap())));
        assert_eq!(order(&allocate(&index), "r")[0], first, "{now:?}");
    }
    index.set_node(&not_ready("c", "2026-01-01T12:04:00Z"));
    let kept = allocate(&index);
    assert_eq!(
        order(&kept, "r"),
        ["b", "a", "c"],
        "two of three are more than a third"
    );
    set_nodes(&mut index, &plain(&["d", "e", "f"]));
    assert_eq!(order(&allocate(&index), "r")[0], "a", "two of six are not");
}

#[test]
fn a_node_that_joins_comes_below_the_holder() {
    let prefer =
        json!({"preferred": [{"weight": 1, "preference": {"matchLabels": {"fast": "yes"}}}]});
    let mut index = cluster(&[router("r", balanced(prefer))], &plain(&["a", "b", "c"]));
    index.set_node(&labelled("d", json!({"fast": "yes"})));
    for (holder, expected) in [
        (None, ["b", "d", "a", "c"]),
        (Some("b"), ["b", "d", "a", "c"]),
        (Some("a"), ["b", "a", "d", "c"]),
        (Some("gone"), ["b", "d", "a", "c"]),
    ] {
        index.set_previous("r", previous(&["b", "a", "c"], holder));
        assert_eq!(order(&allocate(&index), "r"), expected, "{holder:?}");
    }
    index.set_previous("r", None);
    assert_eq!(
        order(&allocate(&index), "r")[0],
        "d",
        "a new router has no holder"
    );
}

#[test]
fn the_annotation_puts_a_node_first_until_it_is_removed() {
    let annotated = |patch: Value, node: &str| {
        let mut router = router("r", patch);
        let annotation = ("vipkeeper.io/active-node".to_owned(), node.to_owned());
        router.metadata.annotations = Some([annotation].into());
        router
    };
    let said = |allocations: &Allocations, word: &str| {
        let finding = &allocations.findings[0];
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.path, "metadata.annotations");
        assert!(finding.message.contains(word), "{finding:?}");
    };
    let mut index = cluster(
        &[annotated(balanced(json!({})), "c")],
        &plain(&["a", "b", "c"]),
    );
    index.set_previous("r", previous(&["b", "a", "c"], Some("b")));
    let allocations = allocate(&index);
    assert_eq!(order(&allocations, "r"), ["c", "b", "a"]);
    assert_eq!(candidates(&allocations, "r")[0].reason, Reason::Pinned);
    assert_eq!(allocations.findings, []);

    index.set_node(&node("c", json!({"spec": {"unschedulable": true}})));
    let allocations = allocate(&index);
    assert_eq!(order(&allocations, "r"), ["b", "a", "c"]);
    said(&allocations, "shall not be used");

    index.set_router(&annotated(balanced(json!({})), "z"), 0);
    said(&allocate(&index), "cannot take part");

    index.set_router(&annotated(json!({}), "b"), 0);
    let allocations = allocate(&index);
    said(&allocations, "cannot outrank");
    assert_eq!(candidates(&allocations, "r")[0].priority, 100);
}

#[test]
fn in_a_cluster_new_routers_go_where_the_fewest_are() {
    let name = |i: usize| format!("r{i}");
    let patch = |i: usize| {
        let address = format!("198.51.100.{i}");
        let mut patch = balanced(json!({}));
        let more = json!({"addresses": [{"address": address}], "virtualRouterId": null});
        merge(&mut patch, more);
        patch
    };
    let routers: Vec<_> = (1..=12).map(|i| router(&name(i), patch(i))).collect();
    let mut index = cluster(&routers, &plain(&["a", "b", "c"]));
    let heads = |allocations: &Allocations| {
        let mut heads: Vec<usize> = ["a", "b", "c"]
            .iter()
            .map(|n| {
                let all = allocations.routers.values();
                all.filter(|a| a.candidates[0].node == *n).count()
            })
            .collect();
        heads.sort_unstable();
        heads
    };
    let allocations = allocate(&index);
    assert_eq!(allocations.findings, []);
    assert_eq!(heads(&allocations), [4, 4, 4]);
    for (router, allocation) in &allocations.routers {
        index.set_previous(router, Some(allocation.remember(BTreeSet::new())));
    }
    index.remove_router("r1");
    index.remove_router("r2");
    let left = allocate(&index);
    index.set_router(&router("z", patch(99)), 0);
    let now = allocate(&index);
    assert_eq!(heads(&now).iter().sum::<usize>(), 11);
    let heads_before = heads(&left);
    assert_eq!(
        heads(&now)[0],
        heads_before[0] + usize::from(heads_before[0] < heads_before[1])
    );
}

#[test]
fn balanced_unicast_peers_are_the_chosen_nodes() {
    let unicast = balanced(json!({"maxCandidates": 2}));
    let mut unicast = unicast;
    merge(&mut unicast, json!({"transport": {"mode": "Unicast"}}));
    let mut objects = objects(vec![router("r", unicast)]);
    objects.nodes = plain(&["a", "bb", "ccc"]);
    let order = standalone(&objects);
    let address = |name: &str| format!("192.0.2.{}", name.len());
    for (own, other) in [(0, 1), (1, 0)] {
        let config = &compile(&objects, &order[own].0).configs[0];
        let NodeTransport::Unicast { peers } = &config.families[0].transport else {
            panic!("{config:?}");
        };
        let peers: Vec<String> = peers.iter().map(|p| p.address.to_string()).collect();
        assert_eq!(peers, [address(&order[other].0)]);
        assert_eq!(
            config.families[0].source,
            Some(address(&order[own].0).parse().unwrap())
        );
    }

    let mute = order[0].0.clone();
    let without = json!({"metadata": {"name": mute}});
    objects
        .nodes
        .retain(|n| n.metadata.name.as_ref() != Some(&mute));
    objects.nodes.push(serde_json::from_value(without).unwrap());
    let compiled = compile(&objects, &mute);
    assert_eq!(compiled.configs, [], "nobody knows where it is");
    assert_eq!(compiled.findings[0].severity, Severity::Warning);
    assert!(compiled.findings[0].message.contains(&mute));
    assert_eq!(compiled.candidates.len(), 2);
}

#[test]
fn in_a_cluster_a_router_without_nodes_waits() {
    let listed = json!({"nodes": {"priorities": [{"node": "a", "priority": 100}, {"node": "z", "priority": 50}]}});
    let index = cluster(&[router("r", listed)], &plain(&["a"]));
    let allocations = allocate(&index);
    assert_eq!(order(&allocations, "r"), ["a"]);
    assert_eq!(
        allocations.findings[0].path,
        "spec.nodes.priorities[1].node"
    );

    let edge = balanced(json!({"selectors": [{"matchLabels": {"role": "edge"}}]}));
    for nodes in [plain(&[]), plain(&["a"])] {
        let index = cluster(&[router("r", edge.clone())], &nodes);
        let allocations = allocate(&index);
        assert_eq!(order(&allocations, "r"), [""; 0]);
        assert_eq!(allocations.findings.len(), 1);
        assert_eq!(allocations.findings[0].severity, Severity::Warning);
    }
}

#[test]
fn a_withdrawn_node_needs_room_below_the_listed_priorities() {
    let mut objects = objects(vec![router(
        "r",
        json!({"nodes": {"priorities": [{"node": "a", "priority": 100}, {"node": "b", "priority": 1}]}}),
    )]);
    objects.nodes = vec![
        node("a", json!({"spec": {"unschedulable": true}})),
        node("b", json!({})),
    ];
    let compiled = compile(&objects, "a");
    assert_eq!(compiled.configs[0].priority, 1);
    assert_eq!(compiled.findings[0].path, "spec.nodes.priorities");
    assert!(compiled.findings[0].message.contains("leaves no room"));
}
