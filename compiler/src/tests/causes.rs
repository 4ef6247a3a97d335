//! What a finding is about, and what inventories add.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vipkeeper_crds::VirtualRouter;

use super::{balanced, merge, node, router};
use crate::{
    Cause, Finding, Foreign, Index, Previous, ReportedInterface, Setting, Severity, allocate,
    list_hash,
};

fn cluster(routers: &[VirtualRouter], nodes: &[&str]) -> Index {
    let mut index = Index::new(Setting::Cluster);
    for (seniority, router) in (0..).zip(routers) {
        index.set_router(router, seniority);
    }
    for name in nodes {
        index.set_node(&node(name, &[]));
    }
    index
}

fn report(index: &mut Index, node: &str, interface: &str) {
    let reported = ReportedInterface {
        name: interface.to_owned(),
        prefixes: vec![("198.51.100.9".parse().unwrap(), 24)],
        default_route: BTreeSet::new(),
    };
    index.set_interfaces(node, Some(vec![reported]));
}

fn order(index: &Index) -> Vec<String> {
    let candidates = &allocate(index).routers["r"].candidates;
    candidates.iter().map(|c| c.node.clone()).collect()
}

fn only(index: &Index) -> Finding {
    let findings = allocate(index).findings;
    let [finding] = &findings[..] else {
        panic!("{findings:?}");
    };
    finding.clone()
}

#[test]
fn a_finding_says_what_it_is_about() {
    let second = |patch: Value| {
        let mut other = json!({"addresses": [{"address": "192.0.2.101"}], "virtualRouterId": 52});
        merge(&mut other, patch);
        router("s", other)
    };
    let (error, warning) = (Severity::Error, Severity::Warning);
    let address = json!({"addresses": [{"address": "192.0.2.100"}]});
    let vrid = json!({"virtualRouterId": 51});
    let nobody = balanced(json!({"selectors": [{"matchLabels": {"no": "where"}}]}));
    let absent = json!({"nodes": {"priorities": [{"node": "z", "priority": 7}]}});
    for (patch, severity, cause) in [
        (json!({"version": 9}), error, Cause::Rule),
        (address, error, Cause::Taken),
        (vrid, error, Cause::Taken),
        (nobody, warning, Cause::NoCandidates),
        (absent, warning, Cause::CandidateMissing),
    ] {
        let index = cluster(
            &[router("r", json!({})), second(patch.clone())],
            &["a", "b"],
        );
        let finding = only(&index);
        assert_eq!(
            (finding.severity, finding.cause),
            (severity, cause),
            "{patch}"
        );
        assert_eq!(finding.object.name, "s", "{patch}");
    }
    let mut index = cluster(&[router("r", json!({}))], &["a", "b"]);
    index.set_foreign(BTreeSet::from([Foreign {
        virtual_router_id: 51,
        family: vipkeeper_crds::AddressFamily::V4,
        source: "192.0.2.9".parse().unwrap(),
        addresses_hash: None,
        heard_on: None,
    }]));
    assert_eq!(only(&index).cause, Cause::ForeignVrid);
}

#[test]
fn an_interface_that_candidates_do_not_have_is_said_once_they_report() {
    let mut index = cluster(&[router("r", json!({}))], &["a", "b"]);
    assert_eq!(allocate(&index).findings, [], "nobody reported");
    report(&mut index, "b", "eth0");
    let finding = only(&index);
    assert_eq!(finding.cause, Cause::InterfaceMissing);
    assert_eq!(finding.path, "spec.interface");
    assert!(
        finding.message.starts_with("b has no interface named eth1"),
        "{finding:?}"
    );
    report(&mut index, "a", "eth0");
    let message = only(&index).message;
    assert!(
        message.starts_with("no candidate has an interface named eth1"),
        "{message}"
    );
    for name in ["a", "b"] {
        report(&mut index, name, "eth1");
    }
    assert_eq!(allocate(&index).findings, []);
    let own = json!({"type": "Name", "name": "eth7"});
    index.set_router(&router("r", super::on_its_own_interface(own, json!({}))), 0);
    assert_eq!(only(&index).path, "spec.addresses[1].interface");
}

#[test]
fn nodes_with_the_interface_come_before_those_that_did_not_report_and_those_without() {
    let mut index = cluster(&[router("r", balanced(json!({})))], &["a", "b", "c"]);
    for (with, without) in [("a", "b"), ("b", "c"), ("c", "a")] {
        for name in ["a", "b", "c"] {
            index.set_interfaces(name, None);
        }
        report(&mut index, with, "eth1");
        report(&mut index, without, "eth0");
        let order = order(&index);
        assert_eq!((order[0].as_str(), order[2].as_str()), (with, without));
    }
}

#[test]
fn who_joins_comes_below_the_holders_of_both_families() {
    let prefer =
        json!({"preferred": [{"weight": 1, "preference": {"matchLabels": {"fast": "yes"}}}]});
    let mut index = cluster(&[router("r", balanced(prefer))], &["a", "b", "c"]);
    let mut fast = node("d", &[]);
    fast.metadata.labels = Some([("fast".to_owned(), "yes".to_owned())].into());
    index.set_node(&fast);
    for (holders, expected) in [
        (&["b", "a"][..], ["b", "a", "d", "c"]),
        (&["c", "b"], ["b", "a", "c", "d"]),
    ] {
        let previous = Previous {
            virtual_router_id: None,
            nodes: ["b", "a", "c"].map(str::to_owned).into(),
            holders: holders.iter().map(|&n| n.to_owned()).collect(),
        };
        index.set_previous("r", Some(previous));
        assert_eq!(order(&index), expected, "{holders:?}");
    }
}

#[test]
fn a_list_of_addresses_has_one_hash_whatever_its_order() {
    let hash = |list: &[&str]| list_hash(list.iter().map(|a| a.parse().unwrap()));
    assert_eq!(
        hash(&["192.0.2.1", "192.0.2.2"]),
        hash(&["192.0.2.2", "192.0.2.1"])
    );
    assert_ne!(hash(&["192.0.2.1"]), hash(&["192.0.2.2"]));
    assert_eq!(hash(&[]), 0);
    // FNV-1a of the octets c0 00 02 01: agents send this.
    assert_eq!(format!("{:016x}", hash(&["192.0.2.1"])), "492d47c046214554");
}
