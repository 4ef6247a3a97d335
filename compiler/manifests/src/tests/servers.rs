//! VirtualServers in manifests, with what they need, and what an edit leaves of them.

use vipkeeper_compiler::{EndpointCondition, ServiceName};

use super::*;

/// A router that takes the VirtualServers of every namespace.
fn open_router() -> String {
    router("r", 51, "192.0.2.100") + "  attach: {namespaces: {from: All}}\n"
}

fn server(name: &str, port: u16, more: &str) -> String {
    format!(
        "apiVersion: vipkeeper.io/v1alpha1
kind: VirtualServer
metadata: {{name: {name}, namespace: shop}}
spec:
  routerRef: {{name: r}}
  ports:
  - port: {port}
  realServers:
  - address: 10.0.0.1
{more}"
    )
}

/// What the node serves: name and port of each.
fn served(loaded: &Loaded) -> Vec<String> {
    let servers = loaded.configs.iter().flat_map(|c| &c.servers);
    let words = servers.map(|s| match &s.listeners[0] {
        vipkeeper_crds::node_server::Listener::Address { port, .. } => format!("{} {port}", s.name),
        mark @ vipkeeper_crds::node_server::Listener::Mark { .. } => format!("{} {mark:?}", s.name),
    });
    words.collect()
}

#[test]
fn a_server_without_a_namespace_is_in_default() {
    let text = server("s", 80, "").replace(", namespace: shop", "");
    let loaded = once(&[("r.yaml", &open_router()), ("s.yaml", &text)]);
    assert_eq!(said(&loaded), [""; 0]);
    assert_eq!(served(&loaded), ["default/s 80"]);
}

#[test]
fn mistakes_in_a_server_have_their_place() {
    let open = open_router();
    let at = |text: &str, place: &str, message: &str| {
        let loaded = once(&[("r.yaml", &open), ("s.yaml", text)]);
        assert_said(&loaded, place, message);
        assert!(served(&loaded).is_empty());
        assert_eq!(names(&loaded), ["r"]);
    };
    let good = server("s", 80, "");
    let real = "s.yaml:9:14: error: spec.realServers[0].address: ";
    at(
        &good.replace("10.0.0.1", "10.0.0.256"),
        real,
        "is not an IP address",
    );
    let router = "s.yaml:5:21: error: spec.routerRef.name: ";
    at(
        &good.replace("{name: r}", "{name: q}"),
        router,
        "there is no VirtualRouter q",
    );
    let field = "s.yaml:7:5: error: spec.ports[0].prt: ";
    at(
        &good.replace("port:", "prt:"),
        field,
        "known here are name, port, protocol, targetPort",
    );
    // A struct put together of two passes over what it does not know.
    let https = "  probes:\n  - {name: p, type: HTTPS, https: {path: /, serverNam: x}}\n";
    at(
        &server("s", 80, https),
        "s.yaml:11:45: error: spec.probes[0].https.serverNam: ",
        "serverName",
    );
    let probe = "  probes:\n  - {name: p, type: HTTP, http: {path: x}}\n";
    at(
        &server("s", 80, probe),
        "s.yaml:11:40: error: spec.probes[0].http.path: ",
        "begins with `/`",
    );
}

#[test]
fn a_server_that_an_edit_made_wrong_keeps_its_last_good_state() {
    let open = open_router();
    let mut store = Store::default();
    let first = server("s", 80, "");
    let second = server("t", 81, "");
    let files = |s: &str, t: &str| {
        [
            ("r.yaml", open.clone()),
            ("s.yaml", s.to_owned()),
            ("t.yaml", t.to_owned()),
        ]
    };
    let mut update = |s: &str, t: &str| {
        let files = files(s, t);
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
        update(&mut store, &files)
    };
    assert_eq!(served(&update(&first, &second)), ["shop/s 80", "shop/t 81"]);

    // A broken rule, no YAML, and the port of another.
    let loaded = update(&first.replace("10.0.0.1", "10.0.0.256"), &second);
    assert_eq!(served(&loaded), ["shop/s 80", "shop/t 81"]);
    assert_said(
        &loaded,
        "s.yaml:3:18: warning: metadata.name: ",
        "VirtualServer shop/s keeps its last good state",
    );
    let loaded = update("{", &second);
    assert_eq!(served(&loaded), ["shop/s 80", "shop/t 81"]);
    let loaded = update(&first, &server("t", 80, ""));
    assert_eq!(served(&loaded), ["shop/s 80", "shop/t 81"]);
    assert_said(
        &loaded,
        "t.yaml:7:11: error: spec.ports[0].port: ",
        "TCP port 80 of 192.0.2.100 belongs to VirtualServer shop/s",
    );

    // A good edit, and none left.
    let loaded = update(&server("s", 82, ""), &second);
    assert_eq!(served(&loaded), ["shop/s 82", "shop/t 81"]);
    assert_eq!(said(&loaded), [""; 0]);
    assert_eq!(served(&update("", &second)), ["shop/t 81"]);
}

#[test]
fn a_router_that_takes_nobody_any_more_has_no_servers() {
    let mut store = Store::default();
    let text = server("s", 80, "");
    let open = [("r.yaml", open_router()), ("s.yaml", text.clone())];
    let closed = [("r.yaml", router("r", 51, "192.0.2.100")), ("s.yaml", text)];
    let mut update = |files: &[(&str, String)]| {
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
        update(&mut store, &files)
    };
    assert_eq!(served(&update(&open)).len(), 1);
    let loaded = update(&closed);
    assert_eq!(served(&loaded).len(), 0);
    assert_said(
        &loaded,
        "s.yaml:5:21: error: spec.routerRef.name: ",
        "namespace shop",
    );
    assert_eq!(names(&loaded), ["r"]);
    assert_eq!(served(&update(&open)).len(), 1);
}

#[test]
fn labels_of_a_described_namespace_count() {
    let selected = router("r", 51, "192.0.2.100")
        + "  attach: {namespaces: {from: Selector, selector: {matchLabels: {kind: shop}}}}\n";
    let namespace =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {kind: shop}}\n";
    let text = server("s", 80, "");
    let files = [
        ("n.yaml", namespace),
        ("r.yaml", &selected),
        ("s.yaml", &text),
    ];
    assert_eq!(served(&once(&files)), ["shop/s 80"]);
    assert_eq!(served(&once(&files[1..])), [""; 0]);
}

#[test]
fn endpoints_come_with_what_is_loaded() {
    let text = server("s", 80, "").replace(
        "  realServers:\n  - address: 10.0.0.1\n",
        "  serviceRef: {name: web}\n",
    );
    let slice = "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- {addresses: [10.0.0.1]}
- {addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}
";
    let open = open_router();
    let loaded = once(&[("e.yaml", slice), ("r.yaml", &open), ("s.yaml", &text)]);
    assert_eq!(said(&loaded), [""; 0]);
    let service = ServiceName {
        namespace: "shop".into(),
        name: "web".into(),
    };
    let found = loaded.endpoints.of(&service);
    let found = found.iter().map(|e| (e.address.to_string(), e.condition));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            ("10.0.0.1".to_owned(), EndpointCondition::Ready),
            ("10.0.0.2".to_owned(), EndpointCondition::Draining)
        ]
    );
    let loaded = once(&[("r.yaml", &open), ("s.yaml", &text)]);
    assert_said(
        &loaded,
        "s.yaml:8:22: warning: spec.serviceRef.name: ",
        "no EndpointSlice of Service shop/web",
    );
    let nobodys = slice.replace("kubernetes.io/service-name", "x");
    assert_said(
        &once(&[("e.yaml", &nobodys)]),
        "e.yaml:3:50: warning: metadata.labels: ",
        "belongs to no Service",
    );
}

#[test]
fn authorities_stay_when_their_config_map_goes() {
    let https = "  probes:\n  - {name: p, type: HTTPS, https: {caRef: {name: ca}}}\n";
    let text = server("s", 80, https);
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca, namespace: shop}\ndata: {ca.crt: '-----BEGIN CERTIFICATE-----'}\n";
    let open = open_router();
    let files = [("c.yaml", map), ("r.yaml", &open), ("s.yaml", &text)];
    let mut store = Store::default();
    let loaded = update(&mut store, &files);
    assert_eq!(said(&loaded), [""; 0]);
    let loaded = update(&mut store, &files[1..]);
    assert_eq!(served(&loaded), ["shop/s 80"]);
    assert_said(&loaded, "s.yaml:", "ConfigMap key shop/ca[ca.crt] is gone");
    // An agent that starts has nothing to keep.
    let loaded = once(&files[1..]);
    assert_said(
        &loaded,
        "s.yaml:",
        "there is no ConfigMap ca in namespace shop",
    );
    assert_eq!(served(&loaded).len(), 0);
}

#[test]
fn for_a_cluster_only_what_is_among_the_files_is_missed() {
    let review = |files: &[(&str, &str)]| {
        let files: Vec<File> = files.iter().map(|(n, t)| file(n, *t)).collect();
        let found = review(&files);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let https = "  probes:\n  - {name: p, type: HTTPS, https: {caRef: {name: ca}}}\n";
    let text = server("s", 80, https);
    assert_eq!(review(&[("s.yaml", &text)]), [""; 0]);
    assert_eq!(
        review(&[("r.yaml", &open_router()), ("s.yaml", &text)]),
        [""; 0]
    );
    let selected = router("r", 51, "192.0.2.100")
        + "  attach: {namespaces: {from: Selector, selector: {matchLabels: {kind: shop}}}}\n";
    assert_eq!(review(&[("r.yaml", &selected), ("s.yaml", &text)]), [""; 0]);
    let closed = router("r", 51, "192.0.2.100");
    assert_eq!(review(&[("r.yaml", &closed), ("s.yaml", &text)]).len(), 1);
    let bad = text.replace("10.0.0.1", "10.0.0.256");
    assert_eq!(review(&[("s.yaml", &bad)]).len(), 1);
}
