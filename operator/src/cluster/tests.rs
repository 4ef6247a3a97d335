//! The operator without an API server: changes in, writes out, and what they come to.

mod conditions;
mod edits;
mod rolls;
mod servers;
mod shards;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use vipkeeper_compiler::memory::VRID_ANNOTATION;
use vipkeeper_crds::conditions::{ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::status::{Acceptance, ElectionState, InstanceStatus, NodeConfigStatus};

use super::*;

fn now(second: u64) -> Now {
    let date = 1_800_000_000 + i64::try_from(second).unwrap();
    Now {
        date: Time(Timestamp::from_second(date).unwrap()),
        clock: Duration::from_secs(second),
    }
}

fn node(name: &str) -> Change {
    let labels = json!({"kubernetes.io/os": "linux"});
    let node = json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "labels": labels}});
    Change::Node(Box::new(serde_json::from_value(node).unwrap()))
}

fn router(name: &str, address: &str) -> Change {
    let router = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"addresses": [{"address": address}]},
    });
    Change::Router(Box::new(serde_json::from_value(router).unwrap()))
}

impl Change {
    fn with_uid(self, uid: &str) -> Self {
        let Self::Router(mut router) = self else {
            panic!("{self:?} is no router");
        };
        router.metadata.uid = Some(uid.to_owned());
        Self::Router(router)
    }
}

fn cluster(nodes: &[&str], routers: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::default();
    nodes.iter().for_each(|name| cluster.take(node(name)));
    for (name, address) in routers {
        cluster.take(router(name, address));
    }
    Kind::ALL
        .iter()
        .for_each(|kind| cluster.take(Change::Listed(*kind)));
    cluster
}

/// Does what an API server does with `writes`.
fn obey(cluster: &mut Cluster, writes: Vec<Write>) {
    for write in writes {
        match write {
            Write::Config(mut config) => {
                let name = config.metadata.name.clone().unwrap();
                let known = cluster.configs.get(&name);
                let fresh = || Some(format!("uid-{name}-{}", cluster.gone.len()));
                config.metadata.uid = known.and_then(|c| c.metadata.uid.clone()).or_else(fresh);
                config.status = known.and_then(|c| c.status.clone());
                cluster.take(Change::Config(config));
            }
            Write::Remove { name, .. } => cluster.take(Change::Gone(Kind::Config, name)),
            Write::Status { router, status, .. } => {
                let mut now = cluster.routers[&router].clone();
                now.status = Some(*status);
                cluster.take(Change::Router(Box::new(now)));
            }
            Write::ServerStatus { server, status, .. } => {
                let mut now = cluster.server(&server).unwrap().clone();
                now.status = Some(*status);
                cluster.take(Change::Server(Box::new(now)));
            }
            Write::Annotations {
                router,
                annotations,
                ..
            } => {
                let mut now = cluster.routers[&router].clone();
                now.metadata
                    .annotations
                    .get_or_insert_default()
                    .extend(annotations);
                cluster.take(Change::Router(Box::new(now)));
            }
        }
    }
}

/// What is to be written, for whomever.
fn all(cluster: &mut Cluster, second: u64) -> Vec<Write> {
    let writes = cluster.writes(&now(second)).into_iter();
    writes.flat_map(|(_, writes)| writes).collect()
}

fn settle(cluster: &mut Cluster, second: u64) {
    for _ in 0..4 {
        let writes = all(cluster, second);
        if writes.is_empty() {
            return;
        }
        obey(cluster, writes);
    }
    panic!("it is never content: {:?}", all(cluster, second));
}

/// The agent of `node` reports `state`, of what it was told last.
fn report(cluster: &mut Cluster, router: &str, node: &str, state: ElectionState) {
    let mut config = cluster.configs[&name::of_router(router, node)].clone();
    reported(&mut config, state);
    cluster.take(Change::Config(Box::new(config)));
}

fn reported(config: &mut NodeConfig, state: ElectionState) {
    let told = config.spec.config.as_ref().unwrap();
    let (family, generation) = (told.families[0].family, told.generation);
    config.status = Some(NodeConfigStatus {
        families: vec![InstanceStatus {
            family,
            state,
            effective_priority: 100,
            since: None,
            reason: "NoResponse".to_owned(),
            interface: "eth0".to_owned(),
            transitions: 2,
            programmed: true,
            conditions: Vec::new(),
        }],
        acceptance: Some(Acceptance {
            generation,
            accepted: true,
            reason: Reason::Valid,
            message: String::new(),
        }),
        confirm: config
            .spec
            .confirm
            .clone()
            .filter(|_| state == ElectionState::Active),
        ..NodeConfigStatus::default()
    });
}

fn condition(
    cluster: &Cluster,
    router: &str,
    kind: ConditionType,
) -> Option<(ConditionStatus, Reason)> {
    let status = cluster.routers[router].status.as_ref()?;
    let condition = status.conditions.iter().find(|c| c.kind == kind)?;
    Some((condition.status, condition.reason))
}

#[test]
fn nothing_is_written_before_everything_is_known() {
    let mut cluster = Cluster::default();
    cluster.take(node("a"));
    cluster.take(router("web", "192.0.2.100"));
    for kind in Kind::ALL {
        assert_eq!(all(&mut cluster, 0), []);
        cluster.take(Change::Listed(kind));
    }
    assert_ne!(all(&mut cluster, 0), []);
}

#[test]
fn a_router_gets_a_configuration_on_each_candidate_and_then_there_is_peace() {
    let mut cluster = cluster(&["a", "b", "c"], &[("web", "192.0.2.100")]);
    let writes = all(&mut cluster, 0);
    let configs = writes.iter().filter(|w| matches!(w, Write::Config(_)));
    // One for each node of its own, and three of the router.
    assert_eq!(configs.count(), 6);
    obey(&mut cluster, writes);
    settle(&mut cluster, 1);
    assert_eq!(
        condition(&cluster, "web", ConditionType::Ready),
        Some((ConditionStatus::Unknown, Reason::Pending))
    );
}

#[test]
fn one_edit_costs_a_write_for_each_candidate_and_two() {
    let mut cluster = cluster(
        &["a", "b", "c"],
        &[("web", "192.0.2.100"), ("db", "192.0.2.101")],
    );
    settle(&mut cluster, 0);
    let mut edited = cluster.routers["web"].clone();
    edited.metadata.generation = Some(4);
    edited.spec.addresses[0].address = "192.0.2.102".to_owned();
    cluster.take(Change::Router(Box::new(edited)));
    let mut count = 0;
    loop {
        let writes = all(&mut cluster, 9);
        if writes.is_empty() {
            break;
        }
        count += writes.len();
        obey(&mut cluster, writes);
    }
    assert!(count <= 5, "{count}");
}

#[test]
fn what_a_router_was_given_survives_the_operator_and_the_status() {
    let mut first = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
    settle(&mut first, 0);
    let mut router = first.routers["web"].clone();
    let given = router.status.take().unwrap().virtual_router_id;
    let annotations = router.metadata.annotations.as_mut().unwrap();
    assert_eq!(annotations[VRID_ANNOTATION], given.unwrap().to_string());
    annotations.insert(VRID_ANNOTATION.to_owned(), "77".to_owned());
    let mut second = cluster(&["a", "b"], &[]);
    second.take(Change::Router(Box::new(router)));
    settle(&mut second, 9);
    let status = second.routers["web"].status.as_ref().unwrap();
    assert_eq!(status.virtual_router_id, Some(77));
}

#[test]
fn a_refused_router_says_why_and_the_others_go_on() {
    let mut cluster = cluster(
        &["a", "b"],
        &[("bad", "192.0.2.300"), ("web", "192.0.2.100")],
    );
    settle(&mut cluster, 0);
    assert_eq!(
        condition(&cluster, "bad", ConditionType::Accepted),
        Some((ConditionStatus::False, Reason::Invalid))
    );
    assert_eq!(
        condition(&cluster, "web", ConditionType::Accepted),
        Some((ConditionStatus::True, Reason::Valid))
    );
}

#[test]
fn what_is_gone_leaves_nothing() {
    let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    cluster.take(Change::Gone(Kind::Router, "web".to_owned()));
    settle(&mut cluster, 1);
    assert_eq!(cluster.configs.len(), 2);
    cluster.take(Change::Gone(Kind::Node, "b".to_owned()));
    settle(&mut cluster, 2);
    assert_eq!(cluster.configs.len(), 1);
}

#[test]
fn the_status_shows_what_agents_report() {
    let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    report(&mut cluster, "web", "a", ElectionState::Active);
    report(&mut cluster, "web", "b", ElectionState::Backup);
    settle(&mut cluster, 5);
    let status = cluster.routers["web"].status.clone().unwrap();
    assert_eq!(status.active_summary, "a");
    assert_eq!(status.node_summary, "2/2");
    assert_eq!(status.ready_summary, "True");
    assert_eq!(status.families[0].since, Some(now(5).date));
    // A holder that stays keeps its time.
    report(&mut cluster, "web", "b", ElectionState::Initialize);
    settle(&mut cluster, 8);
    let status = cluster.routers["web"].status.clone().unwrap();
    assert_eq!(status.families[0].since, Some(now(5).date));
}

#[test]
fn of_two_routers_of_one_second_the_first_keeps_what_it_has() {
    let accepted = |cluster: &Cluster, router: &str| {
        condition(cluster, router, ConditionType::Accepted)
            .unwrap()
            .0
    };
    let mut first = cluster(&["a"], &[("web", "192.0.2.100")]);
    settle(&mut first, 0);
    first.take(router("bad", "192.0.2.100"));
    settle(&mut first, 1);
    assert_eq!(accepted(&first, "web"), ConditionStatus::True);
    assert_eq!(accepted(&first, "bad"), ConditionStatus::False);
    // Also for an operator that is told of both at once.
    let mut second = cluster(&["a"], &[]);
    for name in ["bad", "web"] {
        second.take(Change::Router(Box::new(first.routers[name].clone())));
    }
    settle(&mut second, 2);
    assert_eq!(accepted(&second, "web"), ConditionStatus::True);
    assert_eq!(accepted(&second, "bad"), ConditionStatus::False);
}

#[test]
fn what_went_is_not_brought_back_by_an_answer_that_lags() {
    let mut cluster = cluster(&["a"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    let late = Change::Router(Box::new(cluster.routers["web"].clone()));
    let config = cluster.configs[&name::of_router("web", "a")].clone();
    cluster.take(Change::Gone(Kind::Router, "web".to_owned()));
    cluster.take(late);
    settle(&mut cluster, 1);
    cluster.take(Change::Config(Box::new(config)));
    settle(&mut cluster, 2);
    assert_eq!((cluster.routers.len(), cluster.configs.len()), (0, 1));
    // Another of that name is another.
    cluster.take(router("web", "192.0.2.100").with_uid("another"));
    settle(&mut cluster, 3);
    assert_eq!(cluster.configs.len(), 2);
}

#[test]
fn a_stream_that_lags_undoes_nothing() {
    let mut cluster = cluster(&["a"], &[("web", "192.0.2.100")]);
    let mut told = |version: &str, address: &str| {
        let mut router = cluster.routers["web"].clone();
        router.metadata.resource_version = Some(version.to_owned());
        router.spec.addresses[0].address = address.to_owned();
        cluster.take(Change::Router(Box::new(router)));
    };
    told("12", "192.0.2.12");
    told("9", "192.0.2.9");
    assert_eq!(
        cluster.routers["web"].spec.addresses[0].address,
        "192.0.2.12"
    );
}

#[test]
fn a_list_is_believed_though_it_is_older_as_after_a_restore() {
    let mut cluster = cluster(&["a"], &[("web", "192.0.2.100")]);
    let told = |version: &str, address: &str| {
        let Change::Router(mut router) = router("web", address) else {
            panic!("no router");
        };
        router.metadata.resource_version = Some(version.to_owned());
        Change::Router(router)
    };
    cluster.take(told("12", "192.0.2.12"));
    cluster.take(Change::Listing(Kind::Router));
    cluster.take(told("9", "192.0.2.9"));
    cluster.take(Change::Listed(Kind::Router));
    let address = |cluster: &Cluster| cluster.routers["web"].spec.addresses[0].address.clone();
    assert_eq!(address(&cluster), "192.0.2.9");
    cluster.take(told("8", "192.0.2.8"));
    assert_eq!(address(&cluster), "192.0.2.9");
    // What went before the list is back.
    cluster.take(Change::Gone(Kind::Router, "web".to_owned()));
    cluster.take(told("13", "192.0.2.13"));
    assert!(!cluster.routers.contains_key("web"));
    cluster.take(Change::Listing(Kind::Router));
    cluster.take(told("10", "192.0.2.10"));
    cluster.take(Change::Listed(Kind::Router));
    assert_eq!(address(&cluster), "192.0.2.10");
}

#[test]
fn a_node_that_comes_back_is_believed_again_also_by_a_router_that_is_refused() {
    let mut cluster = cluster(&["a"], &[("web", "192.0.2.100"), ("db", "192.0.2.101")]);
    settle(&mut cluster, 0);
    let mut edited = cluster.routers["db"].clone();
    edited.metadata.generation = Some(4);
    edited.spec.addresses[0].address = "192.0.2.100".to_owned();
    cluster.take(Change::Router(Box::new(edited)));
    report(&mut cluster, "db", "a", ElectionState::Active);
    settle(&mut cluster, 1);
    cluster.take(Change::Gone(Kind::Node, "a".to_owned()));
    for second in [2, 9] {
        settle(&mut cluster, second);
    }
    cluster.take(node("a"));
    let writes = all(&mut cluster, 10);
    cluster.look_at_everything();
    assert_eq!(writes, all(&mut cluster, 10));
}
