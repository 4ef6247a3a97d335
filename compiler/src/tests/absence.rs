//! Why nodes take no part.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::{balanced, merge, router};
use crate::{Absence, Index, Setting, absences, allocate};

fn node(name: &str, labels: Value, address: &str) -> Node {
    let object = json!({
        "metadata": {"name": name, "labels": labels},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    });
    serde_json::from_value(object).unwrap()
}

/// Why each node that takes no part in a router, with `patch` over it, does not.
fn why(patch: Value, nodes: &[Node]) -> Vec<(String, Absence)> {
    let mut index = Index::new(Setting::Cluster);
    nodes.iter().for_each(|node| {
        index.set_node(node);
    });
    index.set_router(&router("r", patch), 0);
    let all = absences(&index, &allocate(&index), "r");
    all.into_iter().collect()
}

fn linux(name: &str) -> Node {
    node(name, json!({"kubernetes.io/os": "linux"}), "192.0.2.1")
}

#[test]
fn a_node_that_is_not_listed_takes_no_part() {
    let all = why(json!({}), &[linux("a"), linux("b"), linux("c")]);
    assert_eq!(all, [("c".to_owned(), Absence::NotListed)]);
}

#[test]
fn further_nodes_that_match_stand_by() {
    let patch = balanced(json!({"maxCandidates": 1}));
    let all = why(patch, &[linux("a"), linux("b")]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1, Absence::Surplus(1));
}

#[test]
fn a_node_of_another_system_never_takes_part() {
    let other = node("w", json!({"kubernetes.io/os": "windows"}), "192.0.2.9");
    let all = why(balanced(json!({})), &[linux("a"), other]);
    assert_eq!(
        all,
        [("w".to_owned(), Absence::NotLinux("windows".to_owned()))]
    );
}

#[test]
fn each_selector_says_what_it_misses() {
    let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]});
    let selectors = json!([
        {"matchLabels": {"edge": "yes"}},
        expression("In", json!(["a", "b"])),
        expression("NotIn", json!(["c"])),
        expression("DoesNotExist", json!([])),
        {"matchExpressions": [{"key": "rack", "operator": "Exists"}]},
    ]);
    let patch = balanced(json!({"selectors": selectors}));
    let mut in_zone = json!({"kubernetes.io/os": "linux"});
    merge(&mut in_zone, json!({"zone": "c"}));
    let all = why(patch, &[node("n", in_zone, "192.0.2.1")]);
    let said: Vec<String> = all.iter().map(|(_, why)| why.to_string()).collect();
    assert_eq!(
        said,
        [
            "spec.nodes.selectors[0] asks for label edge `yes`, and it has none, \
          spec.nodes.selectors[1] asks for label zone in (a, b), and it has `c`, \
          spec.nodes.selectors[2] asks for label zone not in (c), and it has `c`, \
          spec.nodes.selectors[3] asks for no label zone, and it has `c`, \
          spec.nodes.selectors[4] asks for a label rack, and it has none"
        ]
    );
}

#[test]
fn by_unicast_a_node_without_an_address_takes_no_part() {
    let mut patch = balanced(json!({}));
    merge(&mut patch, json!({"transport": {"mode": "Unicast"}}));
    let mute = node("m", json!({}), "2001:db8::1");
    let all = why(patch, &[linux("a"), linux("b"), mute]);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(
        all[0].1.to_string(),
        "unicast needs an IPv4 InternalIP of its Node, which says none"
    );
}

#[test]
fn of_a_group_only_those_take_part_that_all_members_want() {
    let mut index = Index::new(Setting::Cluster);
    let east = node("east", json!({"zone": "east"}), "192.0.2.1");
    let west = node("west", json!({"zone": "west"}), "192.0.2.2");
    index.set_node(&east);
    index.set_node(&west);
    let member = |address: &str, vrid: u8, more: Value| {
        let mut patch = balanced(more);
        merge(
            &mut patch,
            json!({"syncGroup": "g", "virtualRouterId": vrid, "addresses": [{"address": address}]}),
        );
        patch
    };
    index.set_router(&router("one", member("192.0.2.101", 1, json!({}))), 0);
    let east = json!({"selectors": [{"matchLabels": {"zone": "east"}}]});
    index.set_router(&router("two", member("192.0.2.102", 2, east)), 1);
    let all = absences(&index, &allocate(&index), "one");
    assert_eq!(all["west"], Absence::NotInGroup("g".to_owned()));
}

#[test]
fn a_refused_router_has_no_absences() {
    let patch = json!({"addresses": [{"address": "nonsense"}]});
    assert_eq!(why(patch, &[linux("z")]), []);
}
