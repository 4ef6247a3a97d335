//! VRIDs that nobody wrote.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vipkeeper_crds::{AddressFamily, VirtualRouter};

use super::{merge, node, router};
use crate::{
    Allocations, Foreign, Index, Previous, ReportedInterface, Setting, Severity, allocate,
    list_hash,
};

/// A router with an address of its own on `interface`, for which `vrid` is written or not.
fn on(name: &str, host: usize, interface: &str, vrid: Option<u8>) -> VirtualRouter {
    let mut patch = json!({
        "addresses": [{"address": format!("198.51.{}.{}", host / 256, host % 256)}],
        "interface": {"name": interface},
    });
    merge(&mut patch, json!({"virtualRouterId": vrid}));
    router(name, patch)
}

fn cluster() -> Index {
    let mut index = Index::new(Setting::Cluster);
    for (name, address) in [("a", "192.0.2.1"), ("b", "192.0.2.2")] {
        index.set_node(&node(name, &[address]));
    }
    index
}

/// eth1 and eth2 are on links of their own.
fn report(index: &mut Index, node: &str, host: u8) {
    let interface = |name: &str, net: u8| ReportedInterface {
        name: name.to_owned(),
        prefixes: vec![
            (format!("10.0.{net}.{host}").parse().unwrap(), 24),
            ("fe80::1".parse().unwrap(), 64),
        ],
        default_route: BTreeSet::new(),
    };
    index.set_interfaces(node, Some(vec![interface("eth1", 1), interface("eth2", 2)]));
}

fn vrid(allocations: &Allocations, router: &str) -> u8 {
    allocations.routers[router].virtual_router_id
}

fn foreign(vrid: u8, heard_on: Option<&str>) -> Foreign {
    Foreign {
        virtual_router_id: vrid,
        family: AddressFamily::V4,
        source: "10.0.1.77".parse().unwrap(),
        addresses_hash: Some(list_hash(["198.51.100.99".parse().unwrap()].into_iter())),
        heard_on: heard_on.map(|a| (a.parse().unwrap(), 24)),
    }
}

#[test]
fn a_router_alone_finds_its_vrid_again_from_its_name() {
    let mut index = cluster();
    index.set_router(&on("web", 1, "eth1", None), 0);
    let first = vrid(&allocate(&index), "web");
    assert_eq!(
        first, 48,
        "another one would be an identity edit at a restore"
    );
    index.set_router(&on("mail", 2, "eth1", None), 9);
    assert_eq!(vrid(&allocate(&index), "web"), first);
}

#[test]
fn routers_of_one_link_have_different_vrids_until_all_are_used() {
    let mut index = cluster();
    for i in 0..255 {
        index.set_router(&on(&format!("r{i}"), i, "eth1", None), 0);
    }
    let allocations = allocate(&index);
    assert_eq!(allocations.findings, []);
    let all = allocations.routers.values().map(|a| a.virtual_router_id);
    let all: BTreeSet<u8> = all.collect();
    assert_eq!(all, (1..=255).collect());

    index.set_router(&on("zz", 255, "eth2", None), 0);
    let finding = &allocate(&index).findings[0];
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.message.contains("all 255 VRIDs"), "{finding:?}");
    assert_eq!(finding.object.name, "zz");

    report(&mut index, "a", 1);
    let allocations = allocate(&index);
    assert_eq!(allocations.findings, [], "eth2 is another segment");
    assert_eq!(allocations.routers.len(), 256);
}

#[test]
fn a_written_vrid_is_avoided_even_of_a_younger_router() {
    let mut index = cluster();
    index.set_router(&on("web", 1, "eth1", None), 0);
    let wanted = vrid(&allocate(&index), "web");
    index.set_router(&on("young", 2, "eth1", Some(wanted)), 5);
    let allocations = allocate(&index);
    assert_eq!(vrid(&allocations, "young"), wanted);
    assert_ne!(vrid(&allocations, "web"), wanted);
    assert_eq!(allocations.findings, []);
}

#[test]
fn a_vrid_that_runs_stays_and_who_writes_it_later_is_refused() {
    let mut index = cluster();
    index.set_router(&on("web", 1, "eth1", None), 0);
    index.set_previous(
        "web",
        Some(Previous {
            virtual_router_id: Some(7),
            ..Previous::default()
        }),
    );
    assert_eq!(vrid(&allocate(&index), "web"), 7);
    index.set_router(&on("young", 2, "eth1", Some(7)), 5);
    let allocations = allocate(&index);
    assert_eq!(vrid(&allocations, "web"), 7);
    assert_eq!(allocations.findings[0].object.name, "young");
    assert_eq!(allocations.findings[0].severity, Severity::Error);
}

#[test]
fn a_foreign_vrid_is_avoided_and_a_running_one_stays_with_a_warning() {
    let mut index = cluster();
    report(&mut index, "a", 1);
    index.set_router(&on("web", 1, "eth1", None), 0);
    let own = vrid(&allocate(&index), "web");

    index.set_foreign([foreign(own, Some("10.0.2.9"))].into());
    assert_eq!(vrid(&allocate(&index), "web"), own, "heard on another link");
    let other_family = Foreign {
        family: AddressFamily::V6,
        ..foreign(own, None)
    };
    index.set_foreign([other_family].into());
    assert_eq!(vrid(&allocate(&index), "web"), own);

    for heard_on in [None, Some("10.0.1.9")] {
        index.set_foreign([foreign(own, heard_on)].into());
        index.set_previous("web", None);
        let allocations = allocate(&index);
        assert_ne!(vrid(&allocations, "web"), own, "{heard_on:?}");
        assert_eq!(allocations.findings, []);

        index.set_previous(
            "web",
            Some(Previous {
                virtual_router_id: Some(own),
                ..Previous::default()
            }),
        );
        let allocations = allocate(&index);
        assert_eq!(vrid(&allocations, "web"), own);
        assert_eq!(allocations.findings[0].severity, Severity::Warning);
        assert!(allocations.findings[0].message.contains("10.0.1.77"));
    }
}

#[test]
fn what_agents_report_decides_whether_two_routers_share_a_link() {
    let subnet = |name: &str, host: usize, interface: Value| {
        let mut router = on(name, host, "eth1", Some(7));
        router.spec.interface = serde_json::from_value(interface).unwrap();
        router
    };
    let named = |name: &str| json!({"type": "Name", "name": name});
    let within = json!({"type": "Subnet", "subnet": "10.0.1.0/24"});
    let mut index = cluster();
    index.set_router(&subnet("one", 1, within), 0);
    for (name, before, after) in [
        ("eth1", Some(Severity::Warning), Some(Severity::Error)),
        ("eth2", Some(Severity::Warning), None),
    ] {
        index.set_router(&subnet("two", 2, named(name)), 1);
        index.set_interfaces("a", None);
        let found = |index: &Index| allocate(index).findings.first().map(|f| f.severity);
        assert_eq!(found(&index), before, "{name}");
        report(&mut index, "a", 1);
        assert_eq!(found(&index), after, "{name}");
    }
}

#[test]
fn who_advertises_the_same_addresses_is_a_peer_whose_vrid_is_taken_over() {
    let mut index = cluster();
    index.set_router(&on("web", 1, "eth1", None), 0);
    let own = vrid(&allocate(&index), "web");
    let wanted = if own == 77 { 78 } else { 77 };
    let peer = Foreign {
        addresses_hash: Some(list_hash(["198.51.0.1".parse().unwrap()].into_iter())),
        ..foreign(wanted, None)
    };
    index.set_foreign(BTreeSet::from([peer.clone()]));
    let allocations = allocate(&index);
    assert_eq!(vrid(&allocations, "web"), wanted);
    assert_eq!(allocations.findings, []);
    let more = Foreign {
        addresses_hash: Some(list_hash(
            ["198.51.0.1", "198.51.0.2"]
                .map(|a| a.parse().unwrap())
                .into_iter(),
        )),
        ..peer
    };
    index.set_foreign(BTreeSet::from([more]));
    assert_eq!(
        vrid(&allocate(&index), "web"),
        own,
        "another list is a conflict"
    );
}
