//! What the user's object says.

use serde_json::Value;
use vipkeeper_crds::conditions::Condition;

use super::*;

fn edited(cluster: &mut Cluster, router: &str, edit: impl FnOnce(&mut VirtualRouter)) {
    let mut object = cluster.routers[router].clone();
    edit(&mut object);
    object.metadata.generation = object.metadata.generation.map(|g| g + 1);
    cluster.take(Change::Router(Box::new(object)));
}

/// Lays `patch` over the router's spec.
fn spec(cluster: &mut Cluster, router: &str, patch: &Value) {
    edited(cluster, router, |object| {
        let mut spec = serde_json::to_value(&object.spec).unwrap();
        for (key, value) in patch.as_object().unwrap() {
            spec[key] = value.clone();
        }
        object.spec = serde_json::from_value(spec).unwrap();
    });
}

fn whole(cluster: &Cluster, router: &str, kind: ConditionType) -> Condition {
    let status = cluster.routers[router].status.as_ref().unwrap();
    let mut conditions = status.conditions.iter();
    conditions.find(|c| c.kind == kind).unwrap().clone()
}

fn accepted(cluster: &Cluster, router: &str) -> (ConditionStatus, Reason) {
    condition(cluster, router, ConditionType::Accepted).unwrap()
}

fn ready(cluster: &Cluster) -> (ConditionStatus, Reason) {
    condition(cluster, "web", ConditionType::Ready).unwrap()
}

fn inventory(cluster: &mut Cluster, node: &str, interface: &str, foreign: &Value) {
    let mut config = cluster.configs[&name::of_node(node)].clone();
    let status = json!({"inventory": {
        "interfaces": [{"name": interface, "mtu": 1500, "prefixes": ["192.0.2.9/24"]}],
        "foreign": foreign,
    }});
    config.status = Some(serde_json::from_value(status).unwrap());
    cluster.take(Change::Config(Box::new(config)));
}

#[test]
fn what_is_refused_says_why_in_one_word_and_a_sentence() {
    let mut cluster = cluster(&["a"], &[("web", "192.0.2.100"), ("db", "192.0.2.101")]);
    settle(&mut cluster, 0);
    let ours = json!([{"address": "192.0.2.101"}]);
    let nobody = json!({"selectors": [{"matchLabels": {"no": "where"}}]});
    for (patch, reason, words) in [
        (json!({"version": 9}), Reason::Invalid, "spec.version"),
        (
            json!({"version": 2, "addresses": [{"address": "2001:db8::1"}]}),
            Reason::Invalid,
            "exists for IPv4 only",
        ),
        (
            json!({"version": 3, "addresses": [{"address": "192.0.2.100"}]}),
            Reason::Conflict,
            "belongs to VirtualRouter web",
        ),
        (
            json!({"addresses": ours, "nodes": nobody}),
            Reason::NoCandidates,
            "none of the 1 Nodes matches",
        ),
    ] {
        spec(&mut cluster, "db", &patch);
        settle(&mut cluster, 1);
        let said = whole(&cluster, "db", ConditionType::Accepted);
        assert_eq!((said.status, said.reason), (ConditionStatus::False, reason));
        assert!(said.message.contains(words), "{}", said.message);
        let generation = cluster.routers["db"].metadata.generation;
        assert_eq!(Some(said.observed_generation), generation);
        let good = (ConditionStatus::True, Reason::Valid);
        assert_eq!(accepted(&cluster, "web"), good);
    }
}

#[test]
fn a_condition_keeps_its_time_while_its_status_stays() {
    let mut cluster = cluster(&["a"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    for (second, version, since) in [(10, 9, 10), (20, 8, 10), (30, 3, 30)] {
        spec(&mut cluster, "web", &json!({"version": version}));
        settle(&mut cluster, second);
        let said = whole(&cluster, "web", ConditionType::Accepted);
        assert_eq!(said.last_transition_time, now(since).date);
    }
}

#[test]
fn a_warning_is_shown_though_the_router_is_accepted() {
    let mut cluster = cluster(&["a"], &[("web", "192.0.2.100")]);
    let listed = json!([{"node": "a", "priority": 9}, {"node": "b", "priority": 8}]);
    spec(
        &mut cluster,
        "web",
        &json!({"nodes": {"priorities": listed}}),
    );
    edited(&mut cluster, "web", |router| {
        let pinned = ("vipkeeper.io/active-node".to_owned(), "a".to_owned());
        router.metadata.annotations = Some([pinned].into());
    });
    settle(&mut cluster, 0);
    let said = whole(&cluster, "web", ConditionType::Accepted);
    assert_eq!(said.status, ConditionStatus::True);
    let refusal = "cannot outrank spec.nodes.priorities";
    assert!(said.message.contains(refusal), "{}", said.message);
    let said = whole(&cluster, "web", ConditionType::Degraded);
    assert_eq!(said.reason, Reason::CandidatesMissing);
    assert!(
        said.message.contains("there is no Node b"),
        "{}",
        said.message
    );
}

#[test]
fn an_interface_that_nobody_has_and_a_vrid_of_somebody_else_are_conditions() {
    let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
    let eth7 = json!({"type": "Name", "name": "eth7"});
    spec(
        &mut cluster,
        "web",
        &json!({"virtualRouterId": 51, "interface": eth7}),
    );
    settle(&mut cluster, 0);
    assert_eq!(condition(&cluster, "web", ConditionType::Degraded), None);
    for node in ["a", "b"] {
        inventory(&mut cluster, node, "eth0", &json!([]));
    }
    settle(&mut cluster, 1);
    let said = whole(&cluster, "web", ConditionType::Degraded);
    assert_eq!(said.reason, Reason::InterfaceMissing);
    let words = "no candidate has an interface named eth7";
    assert!(said.message.contains(words), "{}", said.message);

    let conflict = (ConditionStatus::True, Reason::ForeignAdvertisements);
    // The second is node a itself.
    for (source, expected) in [("192.0.2.77", Some(conflict)), ("192.0.2.9", None)] {
        let row = json!([{"interface": "eth7", "family": "IPv4", "virtualRouterId": 51,
            "source": source, "addressesHash": "00000000000000ff"}]);
        inventory(&mut cluster, "b", "eth7", &row);
        settle(&mut cluster, 2);
        let said = condition(&cluster, "web", ConditionType::VridConflict);
        assert_eq!(said, expected, "{source}");
    }
}

#[test]
fn what_an_agent_refused_counts_for_this_edit_alone() {
    let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    report(&mut cluster, "web", "a", ElectionState::Active);
    let mut config = cluster.configs[&name::of_router("web", "b")].clone();
    let refusal =
        json!({"generation": 3, "accepted": false, "reason": "SecretMissing", "message": "no key"});
    let status = json!({ "acceptance": refusal });
    config.status = Some(serde_json::from_value(status).unwrap());
    cluster.take(Change::Config(Box::new(config)));
    settle(&mut cluster, 1);
    let missing = (ConditionStatus::False, Reason::SecretMissing);
    assert_eq!(accepted(&cluster, "web"), missing);
    let said = whole(&cluster, "web", ConditionType::Accepted);
    assert_eq!(said.message, "b: no key");
    spec(
        &mut cluster,
        "web",
        &json!({"preemption": {"mode": "Never"}}),
    );
    settle(&mut cluster, 2);
    assert_eq!(
        accepted(&cluster, "web"),
        (ConditionStatus::True, Reason::Valid)
    );
    // The Active has not taken the edit yet.
    assert_eq!(ready(&cluster), (ConditionStatus::Unknown, Reason::Pending));
    report(&mut cluster, "web", "a", ElectionState::Active);
    settle(&mut cluster, 3);
    assert_eq!(ready(&cluster), (ConditionStatus::True, Reason::OneActive));
}

#[test]
fn what_agents_report_abnormal_is_shown_once_a_type() {
    let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    for node in ["a", "b"] {
        report(&mut cluster, "web", node, ElectionState::Backup);
        let mut config = cluster.configs[&name::of_router("web", node)].clone();
        let condition = json!({"type": "Degraded", "status": "True", "reason": "AddressSkipped",
            "message": "skipped", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let conditions = &mut config.status.as_mut().unwrap().families[0].conditions;
        conditions.push(serde_json::from_value(condition).unwrap());
        cluster.take(Change::Config(Box::new(config)));
    }
    settle(&mut cluster, 1);
    let said = whole(&cluster, "web", ConditionType::Degraded);
    assert_eq!(said.message, "a: skipped; b: skipped");
}

#[test]
fn a_move_between_two_reports_is_no_vacancy_and_one_that_lasts_is() {
    let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    // The first election is on its way.
    for node in ["a", "b"] {
        report(&mut cluster, "web", node, ElectionState::Backup);
    }
    settle(&mut cluster, 1);
    let vacancy = |cluster: &Cluster| condition(cluster, "web", ConditionType::NoActive);
    assert_eq!(vacancy(&cluster), None);
    assert_eq!(ready(&cluster), (ConditionStatus::Unknown, Reason::Pending));
    report(&mut cluster, "web", "a", ElectionState::Active);
    settle(&mut cluster, 2);
    let active = |cluster: &Cluster| {
        let status = cluster.routers["web"].status.as_ref().unwrap();
        status.families[0].active_node.clone()
    };
    assert_eq!(active(&cluster).as_deref(), Some("a"));
    // A planned move: the old one says so first.
    report(&mut cluster, "web", "a", ElectionState::Backup);
    settle(&mut cluster, 10);
    assert_eq!(active(&cluster).as_deref(), Some("a"));
    assert_eq!(ready(&cluster), (ConditionStatus::True, Reason::OneActive));
    assert_eq!(vacancy(&cluster), None);
    report(&mut cluster, "web", "b", ElectionState::Active);
    settle(&mut cluster, 11);
    assert_eq!(active(&cluster).as_deref(), Some("b"));
    // And one that nobody ends.
    report(&mut cluster, "web", "b", ElectionState::Initialize);
    edited(&mut cluster, "web", |_| {});
    settle(&mut cluster, 20);
    assert_eq!(vacancy(&cluster), None);
    // What is said once more is of the edit before.
    let ready = whole(&cluster, "web", ConditionType::Ready);
    assert_eq!(ready.observed_generation, 3);
    let wake = cluster.wake().unwrap();
    assert_eq!(wake, Duration::from_secs(23));
    settle(&mut cluster, wake.as_secs());
    let nobody = Some((ConditionStatus::True, Reason::NobodyActive));
    assert_eq!(vacancy(&cluster), nobody);
    let ready = whole(&cluster, "web", ConditionType::Ready);
    assert_eq!(ready.observed_generation, 4);
    assert_eq!(active(&cluster), None);
}

#[test]
fn a_crash_shows_one_active_and_never_a_split_brain() {
    let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    report(&mut cluster, "web", "a", ElectionState::Active);
    report(&mut cluster, "web", "b", ElectionState::Backup);
    settle(&mut cluster, 5);
    // Node a dies, and its report stays.
    report(&mut cluster, "web", "b", ElectionState::Active);
    for second in 6..30 {
        settle(&mut cluster, second);
        let status = cluster.routers["web"].status.clone().unwrap();
        assert_eq!(status.active_summary, "b", "{second}");
        assert_eq!(condition(&cluster, "web", ConditionType::SplitBrain), None);
        let a = status.nodes.iter().find(|n| n.name == "a").unwrap();
        assert_eq!(a.state, ElectionState::Unknown);
        if second == 8 {
            // Its agent gives the nonce back.
            report(&mut cluster, "web", "b", ElectionState::Active);
        }
    }
    assert_eq!(cluster.wake(), None, "nothing more is written");
    // Node a comes back: the nonce goes.
    report(&mut cluster, "web", "a", ElectionState::Backup);
    settle(&mut cluster, 40);
    let mut configs = cluster.configs.values();
    assert!(configs.all(|c| c.spec.confirm.is_none()));
}

#[test]
fn two_that_confirm_are_a_split_brain() {
    let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    for second in [1, 3] {
        for node in ["a", "b"] {
            report(&mut cluster, "web", node, ElectionState::Active);
        }
        settle(&mut cluster, second);
        settle(&mut cluster, second + 1);
    }
    let split = whole(&cluster, "web", ConditionType::SplitBrain);
    assert_eq!(split.reason, Reason::SeveralActive);
    assert!(split.message.starts_with("a, b:"), "{}", split.message);
    assert_eq!(
        ready(&cluster),
        (ConditionStatus::False, Reason::SeveralActive)
    );
}

#[test]
fn an_active_whose_node_is_not_heard_is_unknown_until_it_confirms() {
    let mut cluster = cluster(&["a", "b", "c", "d"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    report(&mut cluster, "web", "a", ElectionState::Active);
    settle(&mut cluster, 1);
    let since = now(0).date;
    let unready = json!({
        "metadata": {"name": "a", "uid": "uid-a", "labels": {"kubernetes.io/os": "linux"}},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": since}]},
    });
    let unready = serde_json::from_value(unready).unwrap();
    cluster.take(Change::Node(Box::new(unready)));
    settle(&mut cluster, 299);
    assert_eq!(ready(&cluster), (ConditionStatus::True, Reason::OneActive));
    for second in [300, 301, 306] {
        settle(&mut cluster, second);
    }
    let unknown = (ConditionStatus::Unknown, Reason::StatusUnknown);
    assert_eq!(ready(&cluster), unknown);
    assert_eq!(condition(&cluster, "web", ConditionType::NoActive), None);
    report(&mut cluster, "web", "a", ElectionState::Active);
    settle(&mut cluster, 310);
    assert_eq!(ready(&cluster), (ConditionStatus::True, Reason::OneActive));
}

#[test]
fn an_edit_that_is_refused_takes_nothing_away() {
    let routers = [("web", "192.0.2.100"), ("db", "192.0.2.101")];
    let mut cluster = cluster(&["a", "b"], &routers);
    settle(&mut cluster, 0);
    report(&mut cluster, "web", "a", ElectionState::Active);
    report(&mut cluster, "web", "b", ElectionState::Backup);
    settle(&mut cluster, 1);
    let before = cluster.configs.clone();
    let vrid = cluster.routers["web"]
        .status
        .as_ref()
        .unwrap()
        .virtual_router_id;
    for (second, address) in [(2, "192.0.2.300"), (3, "192.0.2.101")] {
        let addresses = json!({"addresses": [{"address": address}]});
        // The other one is older.
        edited(&mut cluster, "web", |object| {
            object.metadata.creation_timestamp = Some(now(5).date);
        });
        spec(&mut cluster, "web", &addresses);
        settle(&mut cluster, second);
        let (status, _) = accepted(&cluster, "web");
        assert_eq!(status, ConditionStatus::False, "{address}");
        let said = whole(&cluster, "web", ConditionType::Accepted).message;
        assert!(
            said.ends_with("what ran before this edit goes on"),
            "{said}"
        );
        assert_eq!(cluster.configs, before, "{address}");
        assert_eq!(ready(&cluster), (ConditionStatus::True, Reason::OneActive));
        let status = cluster.routers["web"].status.as_ref().unwrap();
        assert_eq!(status.active_summary, "a");
        assert_eq!(status.virtual_router_id, vrid);
    }
    spec(
        &mut cluster,
        "web",
        &json!({"addresses": [{"address": "192.0.2.102"}]}),
    );
    settle(&mut cluster, 4);
    assert_eq!(
        accepted(&cluster, "web"),
        (ConditionStatus::True, Reason::Valid)
    );
}

#[test]
fn a_router_whose_address_an_older_one_takes_loses_it() {
    let routers = [("web", "192.0.2.100"), ("db", "192.0.2.101")];
    let mut cluster = cluster(&["a"], &routers);
    settle(&mut cluster, 0);
    spec(
        &mut cluster,
        "web",
        &json!({"addresses": [{"address": "192.0.2.101"}]}),
    );
    settle(&mut cluster, 1);
    assert_eq!(
        accepted(&cluster, "db"),
        (ConditionStatus::False, Reason::Conflict)
    );
    let mut configs = cluster.configs.values();
    assert!(!configs.any(|c| c.spec.router.as_deref() == Some("db")));
}
