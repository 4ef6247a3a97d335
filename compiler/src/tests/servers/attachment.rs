//! What routers, Nodes, ConfigMaps and other VirtualServers say.

use std::sync::Arc;

use serde_json::{Value, json};
use vipkeeper_crds::node_server::{Members, NodeServer, ProbeKind};

use super::{about_servers, names, router, served, server, text, with_router};
use crate::{Cause, ConfigMapName, Index, Objects, Served, Setting, allocate, compile};

#[test]
fn who_has_no_router_is_told_and_nobody_else_notices() {
    let lost = server("lost", json!({"routerRef": {"name": "nowhere"}}));
    let objects = with_router(vec![lost, server("s", json!({}))], json!({}));
    let compiled = compile(&objects, "a");
    assert_eq!(names(served(&compiled)), ["s"]);
    let [finding] = &compiled.findings[..] else {
        panic!("{compiled:?}");
    };
    assert_eq!(finding.cause, Cause::RouterMissing);
    assert_eq!(finding.object.to_string(), "VirtualServer shop/lost");
    assert!(
        finding
            .message
            .contains("there is no VirtualRouter nowhere")
    );

    // A router that is refused has no servers either.
    let objects = with_router(vec![server("s", json!({}))], json!({"virtualRouterId": 0}));
    let compiled = compile(&objects, "a");
    let said = text(&compiled.findings);
    assert!(
        said.iter()
            .any(|s| s.contains("VirtualRouter r breaks a rule")),
        "{said:?}"
    );
}

#[test]
fn a_router_chooses_the_namespaces() {
    let allows = |attach: Value, labels: Option<Value>| {
        let mut objects = with_router(vec![server("s", json!({}))], json!({"attach": null}));
        Arc::make_mut(&mut objects.routers[0]).spec.attach =
            serde_json::from_value(attach).unwrap();
        objects.namespaces = labels
            .into_iter()
            .map(|labels| {
                serde_json::from_value(json!({"metadata": {"name": "shop", "labels": labels}}))
                    .unwrap()
            })
            .collect();
        let compiled = compile(&objects, "a");
        let refused = compiled
            .findings
            .iter()
            .find(|f| f.cause == Cause::NotAllowed);
        assert_eq!(refused.is_none(), served(&compiled).len() == 1);
        refused.map(|f| (f.path.clone(), f.message.clone()))
    };
    let selector = |labels: Value| json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": labels}}});
    let shops = || selector(json!({"kind": "shop"}));
    assert_eq!(allows(json!({"namespaces": {"from": "All"}}), None), None);
    assert_eq!(allows(shops(), Some(json!({"kind": "shop"}))), None);
    // Every namespace has the label of its name, described or not.
    let by_name = || selector(json!({"kubernetes.io/metadata.name": "shop"}));
    assert_eq!(allows(by_name(), None), None);
    for (attach, labels, message) in [
        (json!({}), None, "spec.attach.namespaces allows none"),
        (shops(), None, "asks for label kind `shop`, and it has none"),
        (shops(), Some(json!({"kind": "bank"})), "and it has `bank`"),
    ] {
        let (path, said) = allows(attach, labels).unwrap();
        assert_eq!(path, "spec.routerRef.name");
        assert!(
            said.contains(message) && said.contains("namespace shop"),
            "{said}"
        );
    }
}

#[test]
fn what_is_the_nodes_takes_trust() {
    let probe = |kind: &str, more: Value| {
        let mut probe = json!({"name": "p", "type": kind});
        super::merge(&mut probe, more);
        json!({"probes": [probe]})
    };
    let real = |address: &str| json!({"realServers": [{"address": address}]});
    for (patch, path) in [
        (real("127.0.0.1"), "spec.realServers[0].address"),
        (real("169.254.1.1"), "spec.realServers[0].address"),
        (real("192.0.2.1"), "spec.realServers[0].address"),
        (
            json!({"sorryServer": {"address": "192.0.2.2"}}),
            "spec.sorryServer.address",
        ),
        (
            probe("TCP", json!({"address": "127.0.0.1"})),
            "spec.probes[0].address",
        ),
        (
            probe("File", json!({"file": {"path": "/run/x"}})),
            "spec.probes[0].type",
        ),
        (
            probe("Exec", json!({"exec": {"script": "x.sh"}})),
            "spec.probes[0].type",
        ),
    ] {
        let servers = || vec![server("s", patch.clone())];
        let compiled = compile(&with_router(servers(), json!({})), "a");
        let [finding] = &compiled.findings[..] else {
            panic!("{patch}: {:?}", text(&compiled.findings));
        };
        assert_eq!(
            (finding.cause, finding.path.as_str()),
            (Cause::NotAllowed, path)
        );
        assert!(
            finding.message.contains("spec.attach.trusted"),
            "{finding:?}"
        );
        let trusted = with_router(servers(), json!({"attach": {"trusted": true}}));
        assert_eq!(about_servers(&trusted).len(), 0, "{patch}");
    }
    let marked = || {
        server(
            "s",
            json!({"fwmark": {"value": 7, "family": "IPv6"}, "ports": null, "realServers": [{"address": "2001:db8:1::1"}]}),
        )
    };
    let said = about_servers(&with_router(vec![marked()], json!({})));
    assert!(
        format!("{said:?}").contains("spec.attach.fwmark must be true"),
        "{said:?}"
    );
    let allowed = with_router(vec![marked()], json!({"attach": {"fwmark": true}}));
    assert_eq!(about_servers(&allowed).len(), 0);
}

#[test]
fn agents_are_told_whether_endpoints_are_trusted() {
    let of_service = |more: Value| {
        let mut patch = json!({"realServers": null, "serviceRef": {"name": "web"}});
        super::merge(&mut patch, more);
        server("s", patch)
    };
    let trusted = |server: &NodeServer| match &server.members {
        Members::Service { trusted, .. } => *trusted,
        Members::Static { .. } => panic!("{server:?}"),
    };
    for trust in [false, true] {
        let objects = with_router(
            vec![of_service(json!({}))],
            json!({"attach": {"trusted": trust}}),
        );
        let compiled = compile(&objects, "a");
        let [before] = served(&compiled) else {
            panic!("{compiled:?}");
        };
        assert_eq!(trusted(before), trust);

        // What goes on beside a mistake has the trust of now.
        let mut index = Index::new(Setting::Standalone);
        let bad = of_service(json!({"ports": [{"port": 0}]}));
        let attach = json!({"namespaces": {"from": "All"}, "trusted": !trust});
        index.set_router(&router("r", json!({"attach": attach})), 0);
        index.set_server(&bad, 0);
        let remembered = Served {
            router: "r".into(),
            server: Arc::new(before.clone()),
        };
        index.set_served(&before.name, Some(remembered));
        let allocations = allocate(&index);
        let goes_on: Vec<Served> = allocations.served().collect();
        let [goes_on] = &goes_on[..] else {
            panic!("{goes_on:?}");
        };
        assert_eq!(trusted(&goes_on.server), !trust);
    }
}

#[test]
fn what_is_served_as_it_is_written_is_not_worked_out_again() {
    let mut index = Index::new(Setting::Standalone);
    let attach = json!({"attach": {"namespaces": {"from": "All"}}});
    index.set_router(&router("r", attach), 0);
    let port = |port: u16| json!({"ports": [{"port": port}]});
    let remember = |index: &mut Index| {
        let all: Vec<Served> = allocate(index).served().collect();
        for served in all {
            let name = served.server.name.clone();
            assert!(!index.set_served(&name, Some(served)));
        }
        let known = index.servers.by_age().into_iter();
        known
            .filter(|(_, (_, entry))| entry.attached.get().is_some())
            .map(|(_, (name, _))| name.name.clone())
            .collect::<Vec<_>>()
    };
    index.set_server(&server("s", port(80)), 0);
    index.set_server(&server("t", port(81)), 0);
    assert_eq!(remember(&mut index), ["s", "t"]);
    // Of the edited one what it did before is to be forgotten, once.
    index.set_server(&server("t", port(82)), 0);
    assert_eq!(remember(&mut index), ["s"]);
    assert_eq!(remember(&mut index), ["s", "t"]);
}

#[test]
fn the_older_has_a_port_and_the_other_is_told_whose_it_is() {
    let aged = |name: &str, second: u8, patch: Value| {
        let mut server = server(name, patch);
        let time = format!("2026-01-01T00:00:0{second}Z");
        server.metadata.creation_timestamp = Some(serde_json::from_value(json!(time)).unwrap());
        server
    };
    let objects = with_router(
        vec![
            aged("young", 2, json!({"ports": [{"port": 81}, {"port": 80}]})),
            aged(
                "udp",
                3,
                json!({"ports": [{"port": 80, "protocol": "UDP"}]}),
            ),
            aged("old", 1, json!({})),
            aged(
                "rest",
                4,
                json!({"all": true, "ports": null, "persistence": {}}),
            ),
        ],
        json!({}),
    );
    let compiled = compile(&objects, "a");
    assert_eq!(names(served(&compiled)), ["old", "rest", "udp"]);
    let [finding] = &compiled.findings[..] else {
        panic!("{:?}", text(&compiled.findings));
    };
    assert_eq!(
        (
            finding.cause,
            finding.object.name.as_str(),
            finding.path.as_str()
        ),
        (Cause::Taken, "young", "spec.ports[1].port")
    );
    assert!(
        finding
            .message
            .contains("TCP port 80 of 192.0.2.100 belongs to VirtualServer shop/old"),
        "{finding:?}"
    );

    // A mark is the node's, whichever router it is for.
    let marked = |name: &str, router: &str| {
        server(
            name,
            json!({"routerRef": {"name": router}, "fwmark": {"value": 7, "family": "IPv4"}, "ports": null}),
        )
    };
    let attach = json!({"namespaces": {"from": "All"}, "fwmark": true});
    let mut objects = with_router(
        vec![marked("first", "r"), marked("second", "q")],
        json!({"attach": attach}),
    );
    let other =
        json!({"addresses": [{"address": "192.0.2.101"}], "virtualRouterId": 52, "attach": attach});
    objects.routers.push(router("q", other).into());
    let said = about_servers(&objects);
    assert_eq!(said.len(), 1);
    assert!(
        format!("{said:?}").contains("mark 7 belongs to VirtualServer shop/first"),
        "{said:?}"
    );
}

#[test]
fn a_name_twice_counts_once() {
    let objects = with_router(
        vec![
            server("s", json!({})),
            server("s", json!({"ports": [{"port": 1}]})),
        ],
        json!({}),
    );
    assert_eq!(names(served(&compile(&objects, "a"))), ["s"]);
    assert!(format!("{:?}", about_servers(&objects)).contains("rename one"));
}

#[test]
fn authorities_are_read_from_the_config_map_beside() {
    let probe =
        json!({"probes": [{"name": "p", "type": "HTTPS", "https": {"caRef": {"name": "ca"}}}]});
    let with = |data: Value| {
        let name = ConfigMapName {
            namespace: "shop".into(),
            name: "ca".into(),
        };
        let data = serde_json::from_value(data).unwrap();
        Objects {
            config_maps: [(name, data)].into(),
            ..with_router(vec![server("s", probe.clone())], json!({}))
        }
    };
    let pem = "-----BEGIN CERTIFICATE-----\n";
    let compiled = compile(&with(json!({"ca.crt": pem})), "a");
    assert_eq!(text(&compiled.findings), [""; 0]);
    let ProbeKind::Http { tls: Some(tls), .. } = &served(&compiled)[0].probes[0].kind else {
        panic!("{compiled:?}");
    };
    assert_eq!((tls.authorities.as_deref(), tls.verify), (Some(pem), true));
    for (data, message) in [
        (json!({"other": pem}), "has no key `ca.crt`: it has [other]"),
        (json!({"ca.crt": "x"}), "holds no certificate"),
        (json!({"ca.crt": pem.repeat(4096)}), "at most 65536"),
    ] {
        let said = about_servers(&with(data));
        assert!(format!("{said:?}").contains(message), "{said:?}");
    }
}
