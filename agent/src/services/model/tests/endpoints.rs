//! The endpoints of Services as real servers.

use std::slice;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use super::*;

#[test]
fn an_endpoint_that_ends_serves_until_another_is_healthy() {
    let server = of_service(|s| s["initialState"] = json!("Down"));
    let ends = json!({"ready": false, "serving": true, "terminating": true});
    let mut world = World::new(&[]);
    world.endpoints.set_slice(&slice_of(&["10.0.0.1"]));
    world.configure(slice::from_ref(&server));
    world.judge(&server, "10.0.0.1:8080", true);
    assert_eq!(world.weights(), ".1=1");
    let mut slice = slice_of(&["10.0.0.1", "10.0.0.2"]);
    slice.endpoints[0].conditions = serde_json::from_value(ends).unwrap();
    world.endpoints.set_slice(&slice);
    world.configure(slice::from_ref(&server));
    assert_eq!(world.weights(), ".1=1", "the new one is not judged yet");
    assert_eq!(world.model.targets().len(), 2, "both are asked");
    world.judge(&server, "10.0.0.2:8080", false);
    assert_eq!(world.weights(), ".1=1", "nor is it healthy");
    world.judge(&server, "10.0.0.2:8080", true);
    assert_eq!(world.weights(), ".1=0 .2=1");
    world.judge(&server, "10.0.0.2:8080", false);
    assert_eq!(world.weights(), ".1=0", "it does not come back");
    world.wait(60);
    world.observe(1);
    world.judge(&server, "10.0.0.2:8080", true);
    world.configure(slice::from_ref(&server));
    assert_eq!(world.weights(), ".2=1", "nor when its time is over");
}

#[test]
fn a_service_has_the_endpoints_that_are_ready() {
    let server = unprobed(|s| {
        s["members"] = json!({"type": "Service", "service": "web"});
        s["listeners"][0]["name"] = json!("http");
    });
    let mut world = World::new(&[]);
    let slice = |conditions: [Value; 3]| -> EndpointSlice {
        let endpoint = |(n, c): (usize, &Value)| json!({"addresses": [format!("10.0.0.{}", n + 1)], "conditions": c});
        let endpoints: Vec<Value> = conditions.iter().enumerate().map(endpoint).collect();
        serde_json::from_value(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "metrics", "port": 9}, {"name": "http", "port": 8080}],
            "endpoints": endpoints,
        }))
        .unwrap()
    };
    let ready = json!({"ready": true});
    let ends = json!({"ready": false, "serving": true, "terminating": true});
    let dead = json!({"ready": false, "serving": false, "terminating": true});
    let given = |world: &mut World, conditions: [&Value; 3]| {
        world
            .endpoints
            .set_slice(&slice(conditions.map(Value::clone)));
        world.configure(slice::from_ref(&server));
        world.weights()
    };
    assert_eq!(given(&mut world, [&ready, &ready, &ends]), ".1=1 .2=1");
    assert_eq!(given(&mut world, [&ready, &ends, &ends]), ".1=1 .2=0");
    // Nobody is ready: those that still serve go on.
    assert_eq!(given(&mut world, [&ends, &ends, &dead]), ".1=1 .2=1");
    assert_eq!(
        given(&mut world, [&dead, &ready, &ready]),
        ".2=1 .3=1",
        "the dead have nothing to finish"
    );
}

/// A server whose real servers are the endpoints of `default/web`, with a probe.
fn of_service(edit: impl Fn(&mut Value)) -> NodeServer {
    web(|s| {
        s["members"] = json!({"type": "Service", "service": "web"});
        s["initialState"] = json!("Up");
        edit(s);
    })
}

fn slice_of(addresses: &[&str]) -> EndpointSlice {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|a| json!({"addresses": [a]}))
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"port": 8080}], "endpoints": endpoints,
    }))
    .unwrap()
}

#[test]
fn no_endpoint_is_a_node_without_trust() {
    let mut world = World::new(&[]);
    world.own = [[10, 1, 0, 1].into()].into();
    world.endpoints.set_slice(&slice_of(&[
        "10.0.0.1",
        "10.1.0.1",
        "10.1.0.2",
        "127.0.0.1",
        "169.254.0.1",
        "192.0.2.1",
        "224.0.0.1",
    ]));
    let wary = |method: &str| of_service(|s| s["onFailure"] = json!(method));
    for on_failure in ["Remove", "Quiesce"] {
        world.configure(&[wary(on_failure)]);
        assert_eq!(world.weights(), ".1=1", "{on_failure}");
        assert_eq!(world.model.targets().len(), 1, "nobody asks the others");
    }
    let out = |world: &World| -> Vec<String> {
        let real_servers = world.report().real_servers().into_iter();
        let out = real_servers.filter_map(|(at, why)| Some(format!("{at} {}", why?)));
        out.collect()
    };
    let way_out = ", which takes spec.attach.trusted of VirtualRouter web";
    let never = [
        "192.0.2.1:8080 an address of VirtualRouter web itself",
        "224.0.0.1:8080 224.0.0.1 is a multicast address: name the unicast address of a host",
    ];
    let expected = [
        format!("10.1.0.1:8080 an address of node a{way_out}"),
        format!("10.1.0.2:8080 an address of node b{way_out}"),
        format!("127.0.0.1:8080 a loopback address{way_out}"),
        format!("169.254.0.1:8080 a link-local address{way_out}"),
        never[0].to_owned(),
        never[1].to_owned(),
    ];
    assert_eq!(out(&world), expected);

    // Trust that comes and goes; nobody barred lingers.
    world.configure(&[of_service(|s| s["members"]["trusted"] = json!(true))]);
    assert_eq!(out(&world), never);
    assert_eq!(
        world.weights(),
        ".1=1 10.1.0.1=1 10.1.0.2=1 127.0.0.1=1 169.254.0.1=1"
    );
    world.configure(&[wary("Quiesce")]);
    assert_eq!(world.weights(), ".1=1");
    assert_eq!(out(&world), expected);
}

#[test]
fn an_endpoint_that_is_a_node_keeps_no_other_from_serving() {
    let mut world = World::new(&[]);
    world.own = [[10, 1, 0, 1].into()].into();
    let mut slice = slice_of(&["10.1.0.1", "10.0.0.1"]);
    slice.endpoints[1].conditions =
        serde_json::from_value(json!({"ready": false, "serving": true, "terminating": true}))
            .unwrap();
    world.endpoints.set_slice(&slice);
    world.configure(&[of_service(|_| {})]);
    assert_eq!(world.weights(), ".1=1", "nobody who may serve is ready");
}

#[test]
fn endpoints_of_many_ports_serve_where_connections_keep_theirs() {
    let all = |s: &mut Value| {
        s["listeners"][0]["port"] = json!(0);
        s["listeners"][0]["targetPort"] = json!(0);
    };
    let marked = |s: &mut Value| {
        s["listeners"] = json!([{"type": "Mark", "mark": 7, "family": "IPv4"}]);
        s["forwarding"] = json!({"method": "DR"});
    };
    let mut world = World::new(&[]);
    let mut slice = slice_of(&["10.0.0.1"]);
    slice.ports = serde_json::from_value(json!([
        {"name": "http", "port": 8080}, {"name": "metrics", "port": 9090},
    ]))
    .unwrap();
    world.endpoints.set_slice(&slice);
    world.configure(&[of_service(all)]);
    assert_eq!(world.weights_of("TCP 192.0.2.1:0"), ".1:0=1");
    world.configure(&[of_service(marked)]);
    assert_eq!(world.weights_of("FWM 7 IPv4"), ".1:0=1");
}
