//! What is written about a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vipkeeper_crds::conditions::{ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::node_server::ServerName;
use vipkeeper_crds::status::{
    Acceptance, ElectionState, KernelFacts, NodeConfigStatus, NodeInventory,
};
use vipkeeper_vrrp::{Snapshot, StateName};
use vipkeeper_wire::Family;

use super::composition::{Moment, compose, time};
use super::inventory::inventory;
use super::servers::Standing;
use crate::inventory::{Interface, InterfaceAddress, Inventory};
use crate::plan::Note;
use crate::services::{Observed, Report};
use crate::source::Desired;
use crate::source::cluster::Assigned;
use crate::state::tests::snapshot;

const WALL: Duration = Duration::from_millis(1_800_000_000_400);

fn assigned(name: &str, router: Option<&str>) -> Assigned {
    Assigned {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        router: router.map(str::to_owned),
        is_shard: false,
        servers: Arc::default(),
        confirm: Some("nonce".to_owned()),
        acceptance: router.map(|_| Acceptance {
            generation: 3,
            accepted: true,
            reason: Reason::Valid,
            message: String::new(),
        }),
        status: None,
    }
}

fn composed(assigned: &Assigned, snapshot: &Snapshot, notes: &[Note]) -> NodeConfigStatus {
    at(WALL, assigned, snapshot, notes)
}

fn at(
    wall: Duration,
    assigned: &Assigned,
    snapshot: &Snapshot,
    notes: &[Note],
) -> NodeConfigStatus {
    let moment = Moment {
        snapshot,
        wall,
        notes,
        inventory: &NodeInventory::default(),
        servers: Standing {
            reports: &[],
            observed: &Observed::default(),
            desired: &Desired::default(),
        },
        name_of: &|index| format!("eth{index}"),
    };
    let mut all = compose(std::slice::from_ref(assigned), &moment);
    all.remove(&assigned.name).unwrap()
}

fn server(name: &str) -> ServerName {
    ServerName {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

#[test]
fn each_object_reports_its_own_servers_and_the_routers_alone_its_elections() {
    let has = |assigned: Assigned, servers: &[&str]| Assigned {
        servers: Arc::new(servers.iter().map(|name| server(name)).collect()),
        ..assigned
    };
    let mut refused = has(assigned("x-1", Some("web")), &["b", "unknown"]);
    refused.is_shard = true;
    let acceptance = refused.acceptance.as_mut().unwrap();
    (acceptance.accepted, acceptance.reason) = (false, Reason::UnsupportedFeature);
    let mut shard = has(assigned("x-0", Some("web")), &["c"]);
    shard.is_shard = true;
    let roster = [has(assigned("x", Some("web")), &["a"]), shard, refused];
    let report = |name: &str| Report {
        server: server(name),
        router: "web".into(),
        generation: 1,
        services: BTreeMap::new(),
    };
    // Of a server that no object has, nothing is said.
    let reports = ["a", "b", "c", "kept"].map(report);
    let moment = Moment {
        snapshot: &snapshot(),
        wall: WALL,
        notes: &[],
        inventory: &NodeInventory::default(),
        servers: Standing {
            reports: &reports,
            observed: &Observed::default(),
            desired: &Desired::default(),
        },
        name_of: &|index| format!("eth{index}"),
    };
    let all = compose(&roster, &moment);
    let names = |of: &str| -> Vec<&str> {
        let servers = all[of].servers.iter();
        servers.map(|s| s.server.name.as_str()).collect()
    };
    assert_eq!(names("x"), ["a"]);
    assert_eq!(names("x-0"), ["c"]);
    assert_eq!(names("x-1"), ["b"]);
    assert!(!all["x"].families.is_empty() && all["x"].confirm.is_some());
    for shard in ["x-0", "x-1"] {
        let said = &all[shard];
        assert!(said.families.is_empty() && said.confirm.is_none());
    }
    let accepted = |of: &str| all[of].acceptance.as_ref().unwrap().accepted;
    assert!(accepted("x-0") && !accepted("x-1"));
}

fn note(router: &str, message: &str) -> Note {
    Note {
        router: router.to_owned(),
        family: Family::V4,
        message: message.to_owned(),
    }
}

#[test]
fn an_active_router_is_reported_with_what_is_wrong_about_it() {
    let status = composed(&assigned("x", Some("web")), &snapshot(), &[]);
    let instance = &status.families[0];
    assert_eq!(instance.state, ElectionState::Active);
    assert_eq!(instance.effective_priority, 180);
    assert_eq!(instance.interface, "eth2");
    assert_eq!(instance.reason, "NoResponse");
    assert!(instance.programmed, "one address is there, one is refused");
    assert_eq!(instance.since, Some(time(WALL - Duration::from_secs(50))));
    let conditions = instance.conditions.iter();
    let kinds: Vec<_> = conditions.map(|c| (c.kind, c.reason)).collect();
    assert_eq!(
        kinds,
        [
            (ConditionType::SplitBrain, Reason::SeveralActive),
            (ConditionType::Degraded, Reason::AddressSkipped),
        ]
    );
    let split = &instance.conditions[0];
    assert_eq!(split.status, ConditionStatus::True);
    assert_eq!(split.observed_generation, 3);
    assert!(split.message.starts_with("192.0.2.3 "), "{}", split.message);
}

#[test]
fn only_who_is_active_gives_the_nonce_back() {
    let active = composed(&assigned("x", Some("web")), &snapshot(), &[]);
    assert_eq!(active.confirm.as_deref(), Some("nonce"));
    let mut backup = snapshot();
    backup.routers[0].state = StateName::Backup;
    let backup = composed(&assigned("x", Some("web")), &backup, &[]);
    assert_eq!(backup.confirm, None);
    assert!(!backup.families[0].programmed);
}

#[test]
fn a_router_without_an_interface_says_what_was_looked_for() {
    let notes = [note("db", "waits: no interface is called eth9")];
    let status = composed(&assigned("x", Some("db")), &snapshot(), &notes);
    let condition = &status.families[0].conditions[0];
    assert_eq!(condition.reason, Reason::InterfaceMissing);
    assert!(condition.message.contains("eth9"), "{}", condition.message);
}

#[test]
fn what_this_machine_leaves_out_is_not_accepted() {
    let notes = [note("new", "left out: another router has VRID 7")];
    let status = composed(&assigned("x", Some("new")), &snapshot(), &notes);
    let acceptance = status.acceptance.unwrap();
    assert!(!acceptance.accepted);
    assert_eq!(
        (acceptance.generation, acceptance.reason),
        (3, Reason::Invalid)
    );
    assert!(acceptance.message.contains("VRID 7"));
}

#[test]
fn a_second_that_the_clocks_disagree_about_is_no_news() {
    let mut assigned = assigned("x", Some("web"));
    let first = composed(&assigned, &snapshot(), &[]);
    assigned.status = Some(Arc::new(first.clone()));
    let later = at(WALL + Duration::from_secs(1), &assigned, &snapshot(), &[]);
    assert_eq!(later, first);
    let mut moved = snapshot();
    moved.routers[0].transitions += 2;
    let moved = at(WALL + Duration::from_secs(1), &assigned, &moved, &[]);
    assert_ne!(moved.families[0].since, first.families[0].since);
}

fn interface(index: u32, prefixes: &[(&str, u8, bool)]) -> Interface {
    let address = |(address, prefix_length, virtual_address): &(&str, u8, bool)| InterfaceAddress {
        address: address.parse().unwrap(),
        prefix_length: *prefix_length,
        virtual_address: *virtual_address,
        tentative: false,
    };
    Interface {
        index: vipkeeper_vrrp::Ifindex::new(index).unwrap(),
        running: true,
        mac: Some(vipkeeper_wire::MacAddr([2, 0, 0, 0, 0, 1])),
        mtu: 1500,
        addresses: prefixes.iter().map(address).collect(),
        default_route_ipv4: true,
        default_route_ipv6: false,
        forwards_ipv6: false,
    }
}

#[test]
fn the_inventory_has_what_can_carry_a_router_and_nothing_that_comes_and_goes() {
    let eth0 = [
        ("192.0.2.1", 24, false),
        ("192.0.2.100", 32, true),
        ("fe80::1", 64, false),
    ];
    let pod = interface(3, &[("fe80::2", 64, false)]);
    let services = interface(4, &[("10.96.0.1", 32, false)]);
    let mut seen = Inventory::default();
    seen.interfaces
        .insert("eth0".to_owned(), interface(2, &eth0));
    seen.interfaces.insert("veth1".to_owned(), pod);
    seen.interfaces.insert("kube-ipvs0".to_owned(), services);
    let inventory = inventory(&seen, &snapshot(), KernelFacts::default(), Vec::new());
    assert_eq!(inventory.interfaces.len(), 1);
    let reported = &inventory.interfaces[0];
    assert_eq!(reported.prefixes, ["192.0.2.1/24"]);
    assert_eq!(reported.link_local.as_deref(), Some("fe80::1"));
    assert_eq!(inventory.foreign[0].virtual_router_id, 9);
    assert_eq!(inventory.foreign[0].interface, "eth0");
    assert_eq!(inventory.foreign[0].addresses_hash, "000000000000beef");
}

#[test]
fn who_was_not_heard_for_an_hour_is_no_stranger_any_more() {
    let mut old = snapshot();
    old.at = old.at + Duration::from_secs(3_700);
    let seen = Inventory::default();
    let inventory = inventory(&seen, &old, KernelFacts::default(), Vec::new());
    assert!(inventory.foreign.is_empty());
}
