//! Explanations of virtual servers.

use serde_json::{Value, json};

use super::*;
use crate::tests::{at, condition, server, three};

fn unhealthy(host: u8) -> Value {
    json!({"address": format!("10.0.0.{host}"), "port": 80, "reason": "web: refused"})
}

/// What `node` says of shop/one.
fn said(node: &mut NodeConfig, patch: Value) {
    let mut status = json!({"namespace": "shop", "name": "one", "generation": 1, "programmed": true,
        "quorum": true, "healthy": 1, "total": 2, "unhealthy": [unhealthy(2)]});
    crate::tests::merge(&mut status, patch);
    let status = serde_json::from_value(status).unwrap();
    node.status.as_mut().unwrap().servers = vec![status];
}

fn ready(status: &str, reason: &str) -> Value {
    json!({"status": {"observedGeneration": 1, "acceptedSummary": "True", "readySummary": "1/2",
        "conditions": [condition("Ready", status, reason)]}})
}

#[test]
fn it_says_who_serves_how_each_node_stands_and_which_real_servers_are_out() {
    let mut objects = three("a", json!({}));
    said(&mut objects.configs[0], json!({}));
    let missing = condition("Degraded", "True", "IPVSMissing");
    said(
        &mut objects.configs[1],
        json!({"programmed": false, "conditions": [missing]}),
    );
    let server = server("one", ready("True", "Serving"));
    let explanation = explain(&server, objects.router("web"), &objects.configs);
    assert_eq!(outcome(&explanation), Outcome::Good);
    assert_eq!(
        text(&explanation, &at(90)),
        "VirtualServer shop/one on VirtualRouter web: Accepted True, Ready True, 1/2 healthy
IPv4: a holds the addresses, and spreads connections over 1 of 2 real servers (since 90s).

NODE   HOLDS   PROGRAMMED   QUORUM   HEALTHY   WHY
a      IPv4    yes          yes      1/2       -
b      -       no           yes      1/2       IPVSMissing: because
c      -       -            -        -         the operator has not told this node of it

Real servers that are out:
  10.0.0.2 port 80: web: refused (a, b)
"
    );
    let value = serde_json::to_value(&explanation).unwrap();
    assert_eq!(value["nodes"][1]["programmed"], false);
    assert_eq!(value["nodes"][0]["holds"], json!(["IPv4"]));
}

#[test]
fn sorry_and_what_the_message_has_no_room_for_are_said() {
    let mut objects = three("a", json!({}));
    let sorry = json!({"quorum": false, "sorry": true, "healthy": 0, "total": 20});
    said(&mut objects.configs[0], sorry);
    let server = server("one", ready("False", "SorryServing"));
    let explanation = explain(&server, objects.router("web"), &objects.configs);
    assert_eq!(outcome(&explanation), Outcome::Bad);
    let said = text(&explanation, &at(0));
    assert!(
        said.contains("a holds the addresses, and the sorry server serves: 0 of 20 real servers"),
        "{said}"
    );
    assert!(said.contains("a      IPv4    yes          sorry"), "{said}");
    assert!(said.contains("\n  a: and 19 more\n"), "{said}");
    assert!(
        said.contains("\nReady is False (SorryServing): because\n"),
        "{said}"
    );
}

#[test]
fn a_refused_one_says_why_and_one_without_a_router_too() {
    let status = json!({"status": {"observedGeneration": 1, "acceptedSummary": "False",
        "conditions": [condition("Accepted", "False", "RouterMissing")]}});
    let server = server("one", status);
    let explanation = explain(&server, None, &[]);
    assert_eq!(outcome(&explanation), Outcome::Bad);
    let said = text(&explanation, &at(0));
    assert_eq!(
        said,
        "VirtualServer shop/one on VirtualRouter web: Accepted False, Ready Unknown

Accepted is False (RouterMissing): because
  create or mend the VirtualRouter, or change spec.routerRef
"
    );
}

#[test]
fn a_holder_that_does_not_report_and_a_router_without_holder_are_said() {
    let objects = three("a", json!({}));
    let server = server("one", ready("Unknown", "Pending"));
    let explanation = explain(&server, objects.router("web"), &objects.configs);
    assert_eq!(
        explanation.families[0].why,
        "a holds the addresses, and does not say how it serves"
    );
    let mut nobody = objects.clone();
    let status = nobody.routers[0].status.as_mut().unwrap();
    status.families[0].active_node = None;
    let explanation = explain(&server, nobody.router("web"), &nobody.configs);
    assert_eq!(
        explanation.families[0].why,
        "nobody holds the addresses: `kubectl vipkeeper why web`"
    );
}

#[test]
fn what_a_shard_says_is_said_of_its_node() {
    let mut objects = three("a", json!({}));
    let mut shard = objects.configs[0].clone();
    shard.status.as_mut().unwrap().families.clear();
    said(&mut shard, json!({}));
    shard.spec.shard =
        serde_json::from_value(json!({"set": "0123456789abcdef", "bits": "0", "servers": []}))
            .unwrap();
    objects.configs.insert(0, shard);
    let server = server("one", ready("True", "Serving"));
    let explanation = explain(&server, objects.router("web"), &objects.configs);
    let a = &explanation.nodes[0];
    assert_eq!(explanation.nodes.len(), 3);
    assert!(a.health.is_some() && a.holds == [AddressFamily::V4]);
    assert!(objects.config("web", "a").unwrap().spec.shard.is_none());
}
