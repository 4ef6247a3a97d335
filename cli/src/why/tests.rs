//! Explanations of small clusters.

use serde_json::json;

use super::*;
use crate::tests::{at, config, merge, node, router, three};

fn why(objects: &Objects) -> Explanation {
    explain(objects, objects.router("web").unwrap(), &at(90))
}

#[test]
fn the_holder_has_the_highest_priority_and_each_other_node_its_reason() {
    let mut objects = three(
        "a",
        json!({"spec": {"nodes": {"selectors": [{"matchLabels": {"kubernetes.io/os": "linux", "edge": "yes"}}]}}}),
    );
    for (node, edge) in objects.nodes.iter_mut().zip(["yes", "yes", "no"]) {
        node.labels_mut().insert("edge".to_owned(), edge.to_owned());
    }
    objects.nodes[1].spec = serde_json::from_value(json!({"unschedulable": true})).unwrap();
    let explanation = why(&objects);
    assert_eq!(outcome(&explanation), Outcome::Good);
    let said = text(&explanation, &at(90));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "VirtualRouter web: VRID 7, Ready True");
    assert_eq!(
        lines[1],
        "IPv4: a is Active: its priority, 254, is the highest. It became Active because it heard no Active for the down interval (NoResponse)."
    );
    assert_eq!(lines[3], "NODE   PRIORITY   STATE    SINCE   WHY");
    assert_eq!(
        lines[4],
        "a      254        Active   90s     keeps its place"
    );
    assert!(
        lines[5].contains(
            "below all others: its Node is cordoned; takes part in IPv4 with priority 254"
        ),
        "{said}"
    );
    assert_eq!(
        lines[6],
        "c      -          -        -       spec.nodes.selectors[0] asks for label edge `yes`, and it has `no`"
    );
}

#[test]
fn a_holder_of_lower_priority_is_explained_by_who_is_above() {
    let holds = |patch| {
        let mut objects = three("b", patch);
        objects.configs[0] = config(
            "web",
            "a",
            "Initialize",
            json!({"reason": "InterfaceMissing"}),
        );
        objects
    };
    let explanation = why(&holds(json!({})));
    // Whoever joins or comes back is placed below the holder only where it had no place before.
    assert_eq!(explanation.nodes[0].name, "a");
    assert!(
        explanation.families[0]
            .why
            .starts_with("b is Active with priority "),
        "{}",
        explanation.families[0].why
    );
    assert!(
        explanation.families[0].why.contains("though higher is a (it takes no part: no interface of its node is of the kind asked for (InterfaceMissing))"),
        "{}",
        explanation.families[0].why
    );

    let mut objects = three("b", json!({"spec": {"preemption": {"mode": "Never"}}}));
    let lower = json!({"effectivePriority": 200});
    objects.configs[1] = config("web", "b", "Active", lower);
    let explanation = why(&objects);
    assert!(
        explanation.families[0]
            .why
            .contains("a (spec.preemption.mode is Never: it waits until the holder leaves)"),
        "{}",
        explanation.families[0].why
    );
}

#[test]
fn a_silent_node_is_said_to_be_silent() {
    let mut objects = three("a", json!({}));
    objects.configs.retain(|c| c.spec.node_name != "b");
    objects.configs[1].status = None;
    objects
        .configs
        .retain(|c| c.spec.node_name != "c" || c.spec.router.is_some());
    let explanation = why(&objects);
    let of = |name: &str| {
        let node = explanation.nodes.iter().find(|n| n.name == name).unwrap();
        node.why.join("; ")
    };
    assert!(
        of("b").ends_with("the operator has not written its NodeConfig yet"),
        "{}",
        of("b")
    );
    assert!(
        of("c").ends_with("no agent reports from there"),
        "{}",
        of("c")
    );
}

#[test]
fn a_refused_configuration_is_told_with_the_agents_words() {
    let mut objects = three("a", json!({}));
    let acceptance = json!({"generation": 1, "accepted": false, "reason": "UnsupportedFeature", "message": "MoveTogether"});
    let status = objects.configs[1].status.as_mut().unwrap();
    status.acceptance = serde_json::from_value(acceptance).unwrap();
    let explanation = why(&objects);
    let said = explanation.nodes[1].why.join("; ");
    assert!(
        said.contains("its agent refuses the configuration (UnsupportedFeature): MoveTogether"),
        "{said}"
    );
}

#[test]
fn a_refused_router_says_every_finding() {
    let mut objects = three(
        "a",
        json!({"spec": {"version": 7, "addresses": [{"address": "2001:db8::1"}, {"address": "nonsense"}]}}),
    );
    objects.routers[0].status = None;
    let explanation = why(&objects);
    assert_eq!(outcome(&explanation), Outcome::Bad);
    let said = text(&explanation, &at(0));
    assert!(
        said.starts_with("VirtualRouter web: refused; what it ran before runs on\n"),
        "{said}"
    );
    assert!(
        said.contains("\nerror: spec.addresses[1].address: "),
        "{said}"
    );
    assert!(said.matches("\nerror: ").count() >= 2, "{said}");
}

#[test]
fn two_actives_are_both_named() {
    let mut objects = three("a", json!({}));
    objects.configs[1] = config("web", "b", "Active", json!({}));
    let explanation = why(&objects);
    assert!(
        explanation.families[0]
            .why
            .starts_with("a and b say that they are Active"),
        "{explanation:?}"
    );
    assert_eq!(explanation.families[0].active, ["a", "b"]);
}

#[test]
fn many_bystanders_are_counted() {
    let mut objects = three("a", json!({"spec": {"nodes": {"maxCandidates": 1}}}));
    for i in 0..25 {
        objects.nodes.push(node(&format!("n{i}"), json!({})));
    }
    let explanation = why(&objects);
    let said = text(&explanation, &at(0));
    assert!(
        said.contains("and 7 more nodes without a part: -o json lists all"),
        "{said}"
    );
    let value = serde_json::to_value(&explanation).unwrap();
    assert_eq!(value["nodes"].as_array().unwrap().len(), 28);
}

#[test]
fn families_have_their_own_holders() {
    let addresses = json!([{"address": "192.0.2.100"}, {"address": "2001:db8::100"}]);
    let mut objects = three(
        "a",
        json!({"spec": {"addresses": addresses, "families": "Independent"}}),
    );
    let mut six = json!({"family": "IPv6", "state": "Backup", "effectivePriority": 254});
    for (config, state) in objects
        .configs
        .iter_mut()
        .zip(["Backup", "Active", "Backup"])
    {
        merge(&mut six, json!({"state": state}));
        let row = serde_json::from_value(six.clone()).unwrap();
        config.status.as_mut().unwrap().families.push(row);
    }
    let explanation = why(&objects);
    assert_eq!(explanation.families[0].active, ["a"]);
    assert_eq!(explanation.families[1].active, ["b"]);
    let said = text(&explanation, &at(0));
    assert!(said.contains("Active (v4), Backup (v6)"), "{said}");
    assert!(router("x", json!({})).spec.preemption.delay.is_none());
}
