//! Servers in shards, in the assignment: what counts, what stays, and what is said of it.

use std::sync::Arc;

use serde_json::{Value, json};
use vipkeeper_crds::conditions::Reason;
use vipkeeper_vrrp::Time;

use super::super::assignment::{Assigned, Assignment, Definitions};
use super::super::object::KEPT;
use super::{main_of, named, node_config, restarted, served, servers, shard_of, told};
use crate::source::Severity;

const FIRST: u64 = 1;
const SECOND: u64 = 2;

/// Told all of this, by one list.
fn listed(all: &[Value]) -> Assignment {
    let mut assignment = Assignment::new(None);
    assert!(assignment.identify("uid-cluster".to_owned()));
    list(&mut assignment, all);
    assignment
}

fn list(assignment: &mut Assignment, all: &[Value]) {
    assignment.list(all.iter().cloned().map(told).collect(), Time::ZERO);
    assignment.decide(Definitions::Present);
    assignment.settle();
}

fn apply(assignment: &mut Assignment, object: Value) {
    assignment.apply(told(object));
    assignment.settle();
}

fn delete(assignment: &mut Assignment, name: &str) {
    assignment.deleted(name, Time::ZERO);
    assignment.decide(Definitions::Present);
    assignment.settle();
}

/// The set of two shards with a server each.
fn whole() -> Vec<Value> {
    vec![
        main_of(FIRST, &["0", "1"]),
        shard_of("web-0", FIRST, "0", [("b", 1)]),
        shard_of("web-1", FIRST, "1", [("a", 1)]),
    ]
}

/// The shard `1`, which nobody can read.
fn damaged() -> Value {
    named(
        "web-1",
        &json!({"nodeName": "a", "router": "web", "shard": {"set": 7}}),
    )
}

fn run(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    let all = expected.iter();
    all.map(|(name, generation)| ((*name).to_owned(), *generation))
        .collect()
}

fn assigned(assignment: &Assignment, name: &str) -> Assigned {
    let roster = assignment.roster().into_iter();
    let mut own = roster.filter(|assigned| assigned.name == name);
    own.next().unwrap()
}

fn findings(assignment: &Assignment) -> Vec<String> {
    let findings = assignment.in_force().findings;
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_servers_of_all_shards_run_in_order_and_nothing_tells_of_shards() {
    let assignment = listed(&whole());
    assert_eq!(served(&assignment), run(&[("a", 1), ("b", 1)]));
    let desired = assignment.in_force();
    assert_eq!(desired.configs[0].requires, ["VirtualServers"]);
    assert_eq!(desired.findings, []);
}

#[test]
fn in_a_whole_set_a_server_goes_with_the_edit_of_its_shard() {
    let mut assignment = listed(&whole());
    apply(
        &mut assignment,
        shard_of("web-0", FIRST, "0", [("c", 1), ("d", 1)]),
    );
    assert_eq!(served(&assignment), run(&[("a", 1), ("c", 1), ("d", 1)]));
}

#[test]
fn until_a_new_set_is_whole_servers_come_and_change_but_none_goes() {
    let mut assignment = listed(&whole());
    apply(&mut assignment, main_of(SECOND, &["00", "01", "1"]));
    assert_eq!(served(&assignment), run(&[("a", 1), ("b", 1)]));
    apply(
        &mut assignment,
        shard_of("web-1", SECOND, "1", [("a", 2), ("c", 1)]),
    );
    assert_eq!(served(&assignment), run(&[("a", 2), ("b", 1), ("c", 1)]));
    delete(&mut assignment, "web-0");
    apply(&mut assignment, shard_of("web-00", SECOND, "00", []));
    assert_eq!(served(&assignment), run(&[("a", 2), ("b", 1), ("c", 1)]));
    apply(
        &mut assignment,
        shard_of("web-01", SECOND, "01", [("d", 1)]),
    );
    assert_eq!(served(&assignment), run(&[("a", 2), ("c", 1), ("d", 1)]));
}

#[test]
fn of_two_shards_with_a_server_that_of_the_named_set_has_it() {
    let mut assignment = listed(&[
        main_of(SECOND, &["00", "01", "1"]),
        shard_of("web-0", FIRST, "0", [("b", 1)]),
        shard_of("web-00", SECOND, "00", [("b", 2)]),
    ]);
    assert_eq!(served(&assignment), run(&[("b", 2)]));
    assert!(assigned(&assignment, "web-0").servers.is_empty());
    // An edit of the one that is stale changes nothing.
    apply(&mut assignment, shard_of("web-0", FIRST, "0", [("b", 3)]));
    assert_eq!(served(&assignment), run(&[("b", 2)]));
}

#[test]
fn what_a_whole_set_left_behind_does_not_come_back() {
    let mut assignment = listed(&[
        main_of(FIRST, &["0", "1"]),
        shard_of("web-0", FIRST, "0", []),
        shard_of("web-1", FIRST, "1", [("a", 1)]),
        shard_of("web-00", SECOND, "00", [("old", 1)]),
    ]);
    assert_eq!(served(&assignment), run(&[("a", 1)]));
    apply(&mut assignment, damaged());
    assert_eq!(served(&assignment), run(&[("a", 1)]));
    // What is news, though, counts.
    apply(
        &mut assignment,
        shard_of("web-00", SECOND, "00", [("new", 1)]),
    );
    assert_eq!(served(&assignment), run(&[("a", 1), ("new", 1)]));
}

#[test]
fn a_shard_that_cannot_be_run_keeps_what_it_had_and_stops_no_other() {
    let newer = |mut shard: Value| {
        shard["spec"]["shard"]["requires"] = json!(["Teleportation"]);
        shard
    };
    let unreadable = |mut shard: Value| {
        shard["spec"]["shard"]["servers"][0]["scheduler"] = json!({"name": ["teleporting"]});
        shard
    };
    let bad = [
        (damaged(), Reason::Invalid),
        (
            unreadable(newer(shard_of("web-1", FIRST, "1", [("a", 9)]))),
            Reason::UnsupportedFeature,
        ),
        (
            newer(shard_of("web-1", FIRST, "1", [("a", 9)])),
            Reason::UnsupportedFeature,
        ),
    ];
    for (bad, reason) in bad {
        let mut assignment = listed(&whole());
        apply(&mut assignment, bad);
        assert_eq!(served(&assignment), run(&[("a", 1), ("b", 1)]));
        let shard = assigned(&assignment, "web-1");
        let acceptance = shard.acceptance.unwrap();
        assert!(shard.is_shard && !acceptance.accepted);
        assert_eq!((acceptance.reason, shard.servers.len()), (reason, 1));
        assert!(assigned(&assignment, "web-0").acceptance.unwrap().accepted);
        apply(
            &mut assignment,
            shard_of("web-0", FIRST, "0", [("b", 2), ("c", 1)]),
        );
        assert_eq!(served(&assignment), run(&[("a", 1), ("b", 2), ("c", 1)]));
        apply(&mut assignment, shard_of("web-1", FIRST, "1", []));
        assert_eq!(served(&assignment), run(&[("b", 2), ("c", 1)]));
        assert_eq!(findings(&assignment), [""; 0]);
    }
}

#[test]
fn a_shard_that_vanishes_is_said_and_its_servers_stay() {
    let mut assignment = listed(&whole());
    list(&mut assignment, &whole()[..2]);
    assert_eq!(served(&assignment), run(&[("a", 1), ("b", 1)]));
    let said = findings(&assignment);
    let [said] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert!(
        said.contains("NodeConfig web")
            && said.contains("shard 1 of set 0000000000000001 is missing"),
        "{said}"
    );
    // Nobody reports it, and it goes when another set is whole without it.
    let roster = assignment.roster().into_iter();
    let reported: Vec<_> = roster.map(|a| (a.name, a.servers.len())).collect();
    assert_eq!(reported, [("web".to_owned(), 0), ("web-0".to_owned(), 1)]);
    list(&mut assignment, &whole());
    assert_eq!(findings(&assignment), [""; 0]);
    assert_eq!(assigned(&assignment, "web-1").servers.len(), 1);
}

#[test]
fn a_router_that_names_no_set_has_the_servers_of_its_own_object() {
    let own = node_config("web", |spec| {
        spec["config"]["servers"] = servers([("x", 1)]);
    });
    let mut assignment = listed(&[own.clone(), whole().remove(1)]);
    assert_eq!(served(&assignment), run(&[("x", 1)]));
    // Its servers stay while they move into shards, and back.
    apply(&mut assignment, main_of(FIRST, &["0", "1"]));
    assert_eq!(served(&assignment), run(&[("b", 1), ("x", 1)]));
    apply(&mut assignment, shard_of("web-1", FIRST, "1", [("x", 2)]));
    assert_eq!(served(&assignment), run(&[("b", 1), ("x", 2)]));
    apply(&mut assignment, own);
    assert_eq!(served(&assignment), run(&[("x", 1)]));
}

#[test]
fn without_its_router_a_shard_serves_nothing_and_is_not_reported() {
    let mut assignment = listed(&whole()[1..]);
    assert_eq!(assignment.in_force().configs.len(), 0);
    assert_eq!(assignment.roster(), []);
    apply(&mut assignment, whole().remove(0));
    assert_eq!(served(&assignment), run(&[("a", 1), ("b", 1)]));
    assert_eq!(assignment.roster().len(), 3);
    delete(&mut assignment, "web");
    assert_eq!(assignment.in_force().configs.len(), 0);
    assert_eq!(assignment.roster(), []);
}

#[test]
fn shards_are_no_routers_when_a_list_looks_like_a_mistake() {
    let mut all = whole();
    all.push(node_config("db", |_| {}));
    let mut assignment = listed(&all);
    // All shards, but no router: it was meant, only that the set is not whole any more.
    list(&mut assignment, &[all[0].clone(), all[3].clone()]);
    assert_eq!(assignment.next_expiry(), None);
    assert_eq!(served(&assignment), run(&[("a", 1), ("b", 1)]));
    // One of two routers, with its shards: it was meant.
    list(&mut assignment, &all[3..]);
    assert_eq!(served(&assignment), []);
    list(&mut assignment, &all);
    list(&mut assignment, &[]);
    assert_eq!(assignment.next_expiry(), Some(Time::ZERO + KEPT));
    assert_eq!(served(&assignment), run(&[("a", 1), ("b", 1)]));
    assignment.expire(Time::ZERO + KEPT);
    assert_eq!(assignment.in_force().configs.len(), 0);
}

#[test]
fn each_object_has_its_own_servers_to_report() {
    let assignment = listed(&whole());
    let has = |name: &str| {
        let own = assigned(&assignment, name);
        let names = own.servers.iter().map(|server| server.name.clone());
        (own.is_shard, names.collect::<Vec<_>>())
    };
    assert_eq!(has("web"), (false, Vec::new()));
    assert_eq!(has("web-0"), (true, vec!["b".to_owned()]));
    assert_eq!(has("web-1"), (true, vec!["a".to_owned()]));
    let own = listed(&[node_config("web", |spec| {
        spec["config"]["servers"] = servers([("x", 1)]);
    })]);
    assert_eq!(assigned(&own, "web").servers.len(), 1);
}

#[test]
fn a_set_that_is_not_whole_is_restored_as_it_was_in_force() {
    let mut before = listed(&whole());
    apply(&mut before, main_of(SECOND, &["00", "01", "1"]));
    apply(&mut before, shard_of("web-1", SECOND, "1", [("c", 1)]));
    delete(&mut before, "web-0");
    assert_eq!(served(&before), run(&[("a", 1), ("b", 1), ("c", 1)]));
    let mut after = restarted(&before);
    assert_eq!(after.in_force().configs, before.in_force().configs);
    assert_eq!(after.in_force().findings, before.in_force().findings);
    let listed = [
        main_of(SECOND, &["00", "01", "1"]),
        shard_of("web-1", SECOND, "1", [("c", 1)]),
    ];
    list(&mut after, &listed);
    assert_eq!(after.in_force().configs, before.in_force().configs);
    let has = assigned(&after, "web-1").servers;
    assert_eq!(has, assigned(&before, "web-1").servers);
    assert_eq!(has.len(), 2, "its own, and what it had and is kept");
}

#[test]
fn a_damaged_shard_has_its_servers_after_a_restart_as_well() {
    let mut before = listed(&whole());
    apply(&mut before, damaged());
    let mut after = restarted(&before);
    let mut objects = whole();
    objects[2] = damaged();
    list(&mut after, &objects);
    assert_eq!(served(&after), run(&[("a", 1), ("b", 1)]));
    assert_eq!(assigned(&after, "web-1").servers.len(), 1);
}

#[test]
fn an_agent_that_knows_no_shards_finds_all_servers_in_the_cache() {
    let saved = serde_json::to_value(listed(&whole()).saved("a").unwrap()).unwrap();
    assert_eq!(saved["format"], 1);
    let objects = saved["objects"].as_array().unwrap();
    let router = objects.iter().find(|o| o["name"] == "web").unwrap();
    assert_eq!(router["config"]["requires"], json!(["VirtualServers"]));
    assert_eq!(router["config"]["servers"], servers([("a", 1), ("b", 1)]));
    // What has neither of these is passed over.
    let shards = objects.iter().filter(|o| o["name"] != "web");
    let known = shards.filter(|o| o.get("config").or(o.get("settings")).is_some());
    assert_eq!(known.count(), 0);
}

#[test]
fn what_an_agent_kept_that_knew_no_shards_is_restored() {
    let config = node_config("web", |spec| {
        spec["config"]["servers"] = servers([("x", 1)]);
    })["spec"]["config"]
        .clone();
    let saved = json!({
        "format": 1, "node": "a", "cluster": "uid-cluster", "keys": [],
        "objects": [{"name": "web", "uid": "uid-web", "config": config}],
    });
    let mut assignment = Assignment::new(Some(serde_json::from_value(saved).unwrap()));
    assignment.settle();
    assert_eq!(served(&assignment), run(&[("x", 1)]));
    apply(&mut assignment, main_of(FIRST, &["0", "1"]));
    assert_eq!(served(&assignment), run(&[("x", 1)]));
}

#[test]
fn a_shard_that_only_the_agent_before_could_run_is_an_error_and_the_others_run() {
    let mut saved = serde_json::to_value(listed(&whole()).saved("a").unwrap()).unwrap();
    for object in saved["objects"].as_array_mut().unwrap() {
        if object["name"] == "web-1" {
            object["shard"]["requires"] = json!(["Teleportation"]);
        }
    }
    let mut assignment = Assignment::new(Some(serde_json::from_value(saved).unwrap()));
    assignment.settle();
    assert_eq!(served(&assignment), run(&[("b", 1)]));
    let findings = assignment.in_force().findings;
    let errors = findings.iter().filter(|f| f.severity == Severity::Error);
    let about: Vec<&str> = errors.map(|f| f.file.as_str()).collect();
    assert_eq!(about, ["NodeConfig web-1"]);
}

#[test]
fn where_only_a_status_changes_nothing_is_made_anew() {
    let mut assignment = listed(&whole());
    let before = assignment.in_force().configs;
    let mut echo = whole().remove(1);
    echo["status"] = json!({"acceptance": {"accepted": true, "reason": "Valid"}});
    apply(&mut assignment, echo);
    assert!(Arc::ptr_eq(&before, &assignment.in_force().configs));
    assert!(
        assigned(&assignment, "web-0")
            .status
            .unwrap()
            .acceptance
            .is_some()
    );
    // Nor where something else is said and means the same.
    apply(&mut assignment, damaged());
    assert!(Arc::ptr_eq(&before, &assignment.in_force().configs));
}
