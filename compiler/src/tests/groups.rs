//! Routers that move together.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vipkeeper_crds::VirtualRouter;

use super::{balanced, merge, node, objects, router};
use crate::{Index, Objects, Setting, Severity, allocate, compile};

/// A router of the group `g` that is in nobody's way.
fn member(n: u8, patch: Value) -> VirtualRouter {
    let mut all = json!({
        "addresses": [{"address": format!("198.51.100.{n}")}], "virtualRouterId": n, "syncGroup": "g",
    });
    merge(&mut all, patch);
    router(&format!("r{n}"), all)
}

fn priorities(list: &[(&str, u8)]) -> Value {
    let list = list.iter();
    let list = list.map(|(node, priority)| json!({"node": node, "priority": priority}));
    json!({"nodes": {"priorities": list.collect::<Vec<_>>()}})
}

/// What compiling for `a` says about the two: the errors and warnings, and how many run.
fn pair(first: Value, second: Value) -> (Vec<(Severity, String, String)>, usize) {
    let compiled = compile(&objects(vec![member(1, first), member(2, second)]), "a");
    let findings = compiled.findings.into_iter();
    let findings = findings.map(|f| (f.severity, f.path, f.message));
    (findings.collect(), compiled.configs.len())
}

#[test]
fn listed_members_have_the_same_nodes_in_the_same_order() {
    let first = priorities(&[("a", 200), ("b", 100)]);
    let same = priorities(&[("b", 50), ("a", 90)]);
    assert_eq!(pair(first.clone(), same), (vec![], 2));
    for other in [
        priorities(&[("a", 100), ("b", 200)]),
        priorities(&[("a", 200)]),
        priorities(&[("a", 200), ("b", 100), ("c", 10)]),
        priorities(&[("a", 200), ("c", 100)]),
        balanced(json!({})),
    ] {
        let (findings, running) = pair(first.clone(), other.clone());
        assert_eq!(running, 1, "{other}");
        let [(severity, path, message)] = &findings[..] else {
            panic!("{other}: {findings:?}");
        };
        assert_eq!(*severity, Severity::Error);
        assert_eq!(path, "spec.nodes.priorities");
        assert!(
            message.contains("VirtualRouter r1 of the same syncGroup"),
            "{message}"
        );
    }
    let (findings, running) = pair(balanced(json!({})), first);
    assert_eq!((findings.len(), running), (1, 1), "{findings:?}");
}

#[test]
fn the_owner_is_a_rank_like_any_other() {
    let first = priorities(&[("a", 255), ("b", 100)]);
    let second = priorities(&[("a", 200), ("b", 100)]);
    assert_eq!(pair(first, second), (vec![], 2));
}

#[test]
fn members_that_preempt_differently_are_a_warning() {
    let never = json!({"preemption": {"mode": "Never"}});
    let (findings, running) = pair(json!({}), never);
    assert_eq!(running, 2);
    assert_eq!(findings.len(), 1);
    assert_eq!(
        (findings[0].0, findings[0].1.as_str()),
        (Severity::Warning, "spec.preemption")
    );
}

#[test]
fn members_without_priorities_are_placed_as_one_with_the_widest_step() {
    let slow = balanced(json!({}));
    let mut fast = balanced(json!({"maxCandidates": 3}));
    merge(&mut fast, json!({"advertisementInterval": "10ms"}));
    let names = ["a", "b", "c", "d", "e"];
    for setting in [Setting::Standalone, Setting::Cluster] {
        let mut index = Index::new(setting);
        for name in names {
            index.set_node(&node(name, &[]));
        }
        index.set_router(&member(1, slow.clone()), 1);
        index.set_router(&member(2, fast.clone()), 2);
        let allocations = allocate(&index);
        assert_eq!(allocations.findings, []);
        let [one, two] = ["r1", "r2"].map(|r| &allocations.routers[r].candidates);
        assert_eq!(one, two);
        let priorities: Vec<u8> = one.iter().map(|c| c.priority).collect();
        assert_eq!(
            priorities,
            [254, 128, 2],
            "10 ms demands all the room there is"
        );
    }
}

#[test]
fn a_router_that_joins_a_group_goes_where_the_group_is() {
    let mut index = Index::new(Setting::Cluster);
    for name in ["a", "b", "c"] {
        index.set_node(&node(name, &[]));
    }
    index.set_router(&member(1, balanced(json!({}))), 1);
    let before = allocate(&index);
    let holder = before.routers["r1"].candidates[0].node.clone();
    index.set_previous(
        "r1",
        Some(before.routers["r1"].remember(BTreeSet::from([holder]))),
    );
    index.set_router(&member(2, balanced(json!({}))), 2);
    let after = allocate(&index);
    let nodes = |all: &crate::Allocation| {
        let nodes = all.candidates.iter().map(|c| (c.node.clone(), c.priority));
        nodes.collect::<Vec<_>>()
    };
    assert_eq!(nodes(&after.routers["r1"]), nodes(&before.routers["r1"]));
    assert_eq!(
        after.routers["r2"].candidates,
        after.routers["r1"].candidates
    );
}

#[test]
fn a_node_that_cannot_take_part_in_one_takes_part_in_none() {
    let edge: Objects = {
        let mut objects = objects(vec![
            member(
                1,
                balanced(json!({"selectors": [{"matchLabels": {"role": "edge"}}]})),
            ),
            member(2, balanced(json!({}))),
        ]);
        objects.nodes[0].metadata.labels = Some([("role".to_owned(), "edge".to_owned())].into());
        objects
    };
    assert_eq!(compile(&edge, "a").configs.len(), 2);
    assert_eq!(compile(&edge, "b").configs.len(), 0);
}
