//! Told what an API server may tell: the assignment alone, and the follower by HTTP.

mod assignment;
mod following;
mod sequences;
mod shards;
mod slices;
mod world;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::assignment::Assignment;
use super::cache::Cache;
use super::told::Told;
use crate::scratch::Directory;

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
    named(router, &spec)
}

fn named(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfig",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
    })
}

fn object(router: &str, change: impl Fn(&mut Value)) -> Told {
    told(node_config(router, change))
}

fn told(object: Value) -> Told {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    Told::read(&object, "a")
}

/// The servers with these names and generations.
fn servers<'a>(all: impl IntoIterator<Item = (&'a str, i64)>) -> Value {
    let server = |(name, generation): (&str, i64)| {
        json!({
            "namespace": "shop", "name": name, "generation": generation,
            "listeners": [{"type": "Address", "address": "192.0.2.100", "port": 80, "protocol": "TCP",
                "targetPort": 80}],
            "scheduler": {"name": "wlc"}, "forwarding": {"method": "NAT"},
            "members": {"type": "Static", "realServers": []},
            "quorum": {"weight": 1, "hysteresis": 0, "sorry": true}, "probes": [],
            "initialState": "Down", "onFailure": "Remove", "drainTimeout": "1m",
        })
    };
    all.into_iter().map(server).collect()
}

/// The NodeConfig `web` without servers: they are in the shards of a set.
fn main_of(set: u64, shards: &[&str]) -> Value {
    node_config("web", |spec| {
        spec["config"]["requires"] = json!(["Shards", "VirtualServers"]);
        spec["shardSet"] = json!({"name": format!("{set:016x}"), "shards": shards});
    })
}

/// The NodeConfig of one of them, with these servers and generations.
fn shard_of<'a>(
    name: &str,
    set: u64,
    bits: &str,
    all: impl IntoIterator<Item = (&'a str, i64)>,
) -> Value {
    let shard = json!({
        "set": format!("{set:016x}"), "bits": bits, "requires": ["VirtualServers"], "servers": servers(all),
    });
    named(
        name,
        &json!({"nodeName": "a", "router": "web", "shard": shard}),
    )
}

/// Which servers of `web` run, and of which generation.
fn served(assignment: &Assignment) -> Vec<(String, i64)> {
    let desired = assignment.in_force();
    let own = desired.configs.iter().filter(|c| c.router == "web");
    own.flat_map(|config| &config.servers)
        .map(|server| (server.name.name.clone(), server.generation))
        .collect()
}

/// What a process finds that begins with what this one saved.
fn restarted(assignment: &Assignment) -> Assignment {
    let directory = Directory::new();
    let cache = Cache::new(directory.path(), "a");
    cache.write(&assignment.saved("a").unwrap()).unwrap();
    let mut next = Assignment::new(cache.read());
    next.settle();
    next
}
