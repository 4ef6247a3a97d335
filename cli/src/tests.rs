//! Objects for tests.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use vipkeeper_crds::{NodeConfig, VirtualRouter, VirtualServer};

use crate::objects::Objects;

/// So many seconds after 2027-01-15T08:00:00Z.
pub(crate) fn at(second: i64) -> Time {
    Time(Timestamp::from_second(1_800_000_000 + second).unwrap())
}

pub(crate) fn merge(target: &mut Value, patch: Value) {
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

/// A router of one address, with `patch` laid over it.
pub(crate) fn router(name: &str, patch: Value) -> VirtualRouter {
    let mut object = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter",
        "metadata": {"name": name, "generation": 1, "creationTimestamp": "2027-01-15T07:00:00Z"},
        "spec": {"addresses": [{"address": "192.0.2.100"}]},
    });
    merge(&mut object, patch);
    serde_json::from_value(object).unwrap()
}

/// A virtual server of the namespace `shop` on the router `web`, with `patch` laid over it.
pub(crate) fn server(name: &str, patch: Value) -> VirtualServer {
    let mut object = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualServer",
        "metadata": {"namespace": "shop", "name": name, "generation": 1},
        "spec": {"routerRef": {"name": "web"}},
    });
    merge(&mut object, patch);
    serde_json::from_value(object).unwrap()
}

/// A condition as an object has it.
pub(crate) fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "because",
        "lastTransitionTime": "2027-01-15T08:00:00Z"})
}

/// A Linux node, with `patch` laid over it.
pub(crate) fn node(name: &str, patch: Value) -> Node {
    let mut object = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    merge(&mut object, patch);
    serde_json::from_value(object).unwrap()
}

/// What `node` reports about `router`.
pub(crate) fn config(router: &str, node: &str, state: &str, patch: Value) -> NodeConfig {
    let mut family = json!({"family": "IPv4", "state": state, "effectivePriority": 254,
        "reason": "NoResponse", "interface": "eth1", "programmed": true,
        "since": "2027-01-15T08:00:00Z"});
    merge(&mut family, patch);
    let object = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfig",
        "metadata": {"name": format!("{router}-{node}")},
        "spec": {"nodeName": node, "router": router},
        "status": {"families": [family]},
    });
    serde_json::from_value(object).unwrap()
}

/// What `node` reports of itself.
pub(crate) fn own_config(node: &str, inventory: Value) -> NodeConfig {
    let object = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfig",
        "metadata": {"name": format!("node-{node}")},
        "spec": {"nodeName": node},
        "status": {"inventory": inventory},
    });
    serde_json::from_value(object).unwrap()
}

/// Nodes a, b and c; router `web`, of which each is a candidate; `holder` holds it.
pub(crate) fn three(holder: &str, patch: Value) -> Objects {
    let order = json!({"vipkeeper.io/candidates": "a,b,c"});
    let family = json!({"family": "IPv4", "virtualRouterId": 7, "activeNode": holder,
        "since": "2027-01-15T08:00:00Z"});
    let mut web = json!({
        "metadata": {"annotations": order},
        "status": {"observedGeneration": 1, "virtualRouterId": 7, "families": [family],
            "conditions": [{"type": "Ready", "status": "True", "reason": "OneActive", "message": "",
                "lastTransitionTime": "2027-01-15T08:00:00Z"}]},
    });
    merge(&mut web, patch);
    let names = ["a", "b", "c"];
    let state = |name: &str| if name == holder { "Active" } else { "Backup" };
    Objects {
        routers: vec![router("web", web)],
        nodes: names.iter().map(|n| node(n, json!({}))).collect(),
        configs: names
            .iter()
            .map(|n| config("web", n, state(n), json!({})))
            .chain(names.iter().map(|n| own_config(n, json!({}))))
            .collect(),
    }
}
