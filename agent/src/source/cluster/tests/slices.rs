//! The endpoints of Services, from an API server that comes and goes.

use serde_json::{Value, json};
use vipkeeper_compiler::{Endpoints, ServiceName};

use super::following::{Followed, eventually};
use super::node_config;
use super::world::World;
use crate::scratch::Directory;
use crate::source::Desired;

fn service() -> ServiceName {
    ServiceName {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    }
}

/// A router with a server whose real servers are the endpoints of `shop/web`.
fn served() -> Value {
    node_config("web", |spec| {
        spec["config"]["servers"] = json!([{
            "namespace": "shop", "name": "one", "generation": 1,
            "listeners": [{"type": "Address", "address": "192.0.2.100", "port": 80, "protocol": "TCP",
                "targetPort": 80}],
            "scheduler": {"name": "wlc"}, "forwarding": {"method": "NAT"},
            "members": {"type": "Service", "service": "web"},
            "quorum": {"weight": 1, "hysteresis": 0, "sorry": true}, "probes": [],
            "initialState": "Down", "onFailure": "Remove", "drainTimeout": "60s",
        }]);
    })
}

fn slice(addresses: &[&str]) -> Value {
    let endpoints = addresses.iter().map(|a| json!({"addresses": [a]}));
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn addresses(endpoints: &Endpoints) -> Vec<String> {
    let all = endpoints.of(&service()).into_iter();
    all.map(|e| e.address.to_string()).collect()
}

fn has(desired: &Desired, wanted: &[&str]) -> bool {
    desired.configs.len() == 1 && addresses(&desired.endpoints) == wanted
}

#[tokio::test]
async fn a_configuration_comes_with_its_endpoints_and_they_are_followed() {
    let (world, client) = World::start().await;
    world.apply_slice(slice(&["10.0.0.1"]));
    world.apply(served());
    let directory = Directory::new();
    let mut followed = Followed::start(&client, &directory);
    // Never without them, not even at first.
    followed.until("anything", |d| d.generation > 0).await;
    assert!(has(&followed.desired.borrow(), &["10.0.0.1"]));
    world.apply_slice(slice(&["10.0.0.1", "10.0.0.2"]));
    let both = ["10.0.0.1", "10.0.0.2"];
    followed.until("the second", |d| has(d, &both)).await;
    // While it is away, what is known stays; afterwards it is listed anew.
    world.go_away(true);
    followed
        .until("the trouble", |d| !d.findings.is_empty())
        .await;
    assert!(has(&followed.desired.borrow(), &both));
    world.apply_slice(slice(&["10.0.0.3"]));
    world.go_away(false);
    followed.until("the third", |d| has(d, &["10.0.0.3"])).await;
    assert!(world.slice_lists() > 1);
    // A slice that is lost meanwhile is not in the list.
    let mut second = slice(&["10.0.0.4"]);
    second["metadata"]["name"] = "web-2".into();
    world.apply_slice(second);
    let both = ["10.0.0.3", "10.0.0.4"];
    followed.until("a second slice", |d| has(d, &both)).await;
    world.lose_slice("web-2");
    followed.until("its end", |d| has(d, &["10.0.0.3"])).await;
}

#[tokio::test]
async fn a_start_without_the_api_server_has_the_endpoints_of_before() {
    let (world, client) = World::start().await;
    world.apply_slice(slice(&["10.0.0.1"]));
    world.apply(served());
    let directory = Directory::new();
    let mut followed = Followed::start(&client, &directory);
    followed.until("it", |d| has(d, &["10.0.0.1"])).await;
    for file in ["configuration", "endpoints"] {
        let path = directory.path().join(file);
        eventually(file, || path.exists()).await;
    }
    followed.task.abort();
    world.go_away(true);
    let followed = Followed::start(&client, &directory);
    assert!(has(&followed.desired.borrow(), &["10.0.0.1"]));
}

#[tokio::test]
async fn without_any_endpoints_a_configuration_waits_for_a_while_and_not_for_ever() {
    let (world, client) = World::start().await;
    world.apply_slice(slice(&["10.0.0.1"]));
    world.apply(served());
    let directory = Directory::new();
    let mut followed = Followed::start(&client, &directory);
    followed.until("it", |d| has(d, &["10.0.0.1"])).await;
    // What is still being written would come over the damage.
    for file in ["configuration", "endpoints"] {
        let path = directory.path().join(file);
        eventually(file, || path.exists()).await;
    }
    followed.task.abort();
    world.go_away(true);
    let endpoints = directory.path().join("endpoints");
    std::fs::write(&endpoints, "damaged").unwrap();
    let mut followed = Followed::start(&client, &directory);
    assert_eq!(followed.desired.borrow().generation, 0);
    followed.until("it all the same", |d| has(d, &[])).await;
}
