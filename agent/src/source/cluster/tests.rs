//! Told what an API server may tell: the assignment alone, and the follower by HTTP.

mod assignment;
mod following;
mod slices;
mod world;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::told::Told;

/// What a node does for `router`.
fn config(router: &str) -> Value {
    json!({
        "nodeName": "a", "router": router, "generation": 1, "movement": "Together",
        "virtualRouterId": 7, "version": "V3", "advertisementInterval": "250ms", "priority": 200,
        "others": [], "interface": {"type": "Name", "name": "eth0"},
        "families": [{
            "family": "IPv4", "addresses": [{"address": "192.0.2.100", "prefixLength": 32}],
            "transport": {"mode": "Multicast", "extraPeers": []},
        }],
        "authentication": {"type": "None"}, "preemption": {"mode": "Always"},
        "election": {}, "checksum": "Auto", "addressLifetime": "30s", "linger": "1s",
    })
}

/// A NodeConfig of that, changed by `change`.
fn node_config(router: &str, change: impl Fn(&mut Value)) -> Value {
    let mut spec = json!({"nodeName": "a", "router": router, "config": config(router)});
    change(&mut spec);
    json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfig",
        "metadata": {"name": router, "uid": format!("uid-{router}"), "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
    })
}

fn object(router: &str, change: impl Fn(&mut Value)) -> Told {
    let object: DynamicObject = serde_json::from_value(node_config(router, change)).unwrap();
    Told::read(&object, "a")
}
