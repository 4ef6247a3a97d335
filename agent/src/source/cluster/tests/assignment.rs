//! The assignment, which knows no server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vipkeeper_crds::SecretKey;
use vipkeeper_crds::conditions::Reason;
use vipkeeper_crds::status::Acceptance;
use vipkeeper_vrrp::Time;

use super::super::assignment::{Assignment, Definitions};
use super::super::cache::Cache;
use super::super::object::KEPT;
use super::super::told::Told;
use super::{object, restarted};
use crate::scratch::Directory;
use crate::source::Severity;

const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn plain(router: &str) -> Told {
    object(router, |_| {})
}

fn with_password(router: &str) -> Told {
    object(router, |spec| {
        spec["config"]["version"] = "V2".into();
        spec["config"]["authentication"] = json!({"type": "Password", "secret": {
            "namespace": "vipkeeper-keys", "name": "vr", "key": "password"}});
    })
}

fn password() -> SecretKey {
    SecretKey {
        namespace: "vipkeeper-keys".to_owned(),
        name: "vr".to_owned(),
        key: "password".to_owned(),
    }
}

fn assigned(routers: &[&str]) -> Assignment {
    let mut assignment = Assignment::new(None);
    assert!(assignment.identify("uid-cluster".to_owned()));
    assignment.list(routers.iter().map(|r| plain(r)).collect(), at(0));
    assignment.settle();
    assignment
}

fn routers(assignment: &Assignment) -> Vec<String> {
    let configs = assignment.in_force().configs;
    configs.iter().map(|config| config.router.clone()).collect()
}

#[test]
fn what_was_verified_is_served_after_a_restart_without_the_api_server() {
    let mut before = assigned(&["web", "db"]);
    before.apply(with_password("old"));
    before.set_key(password(), Ok(b"secret".to_vec()));
    before.settle();
    let after = restarted(&before);
    assert!(after.is_verified());
    assert_eq!(routers(&after), ["db", "web", "old"]);
    assert_eq!(after.in_force().keys.get(&password()), Some(&b"secret"[..]));
    assert_eq!(after.in_force().configs, before.in_force().configs);
}

#[test]
fn the_cache_of_another_node_or_a_damaged_one_is_not_used() {
    let directory = Directory::new();
    let saved = assigned(&["web"]).saved("a").unwrap();
    Cache::new(directory.path(), "a").write(&saved).unwrap();
    let other = Cache::new(directory.path(), "b");
    assert!(other.read().is_none());
    std::fs::write(directory.path().join("configuration"), b"{\"format\":1,").unwrap();
    assert!(Cache::new(directory.path(), "a").read().is_none());
}

#[test]
fn the_cache_is_for_root_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new();
    let saved = assigned(&["web"]).saved("a").unwrap();
    Cache::new(directory.path(), "a").write(&saved).unwrap();
    let file = std::fs::metadata(directory.path().join("configuration")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[test]
fn another_clusters_answer_is_not_believed() {
    let mut assignment = restarted(&assigned(&["web"]));
    assert!(!assignment.identify("uid-of-another".to_owned()));
    assert!(assignment.identify("uid-cluster".to_owned()));
}

#[test]
fn a_deleted_object_goes_when_the_definitions_are_there() {
    let mut assignment = assigned(&["web", "db"]);
    assignment.deleted("web", at(1));
    assert!(assignment.is_in_doubt());
    assert_eq!(routers(&assignment), ["db", "web"]);
    assignment.decide(Definitions::Present);
    assert_eq!(routers(&assignment), ["db"]);
}

#[test]
fn the_only_router_goes_as_well_if_somebody_deleted_it() {
    let mut assignment = assigned(&["web"]);
    assignment.deleted("web", at(1));
    assignment.decide(Definitions::Present);
    assert_eq!(routers(&assignment), [""; 0]);
}

#[test]
fn with_the_definitions_gone_everything_is_kept_for_ten_minutes() {
    let mut assignment = assigned(&["web", "db"]);
    assignment.deleted("web", at(1));
    assignment.decide(Definitions::Missing);
    assignment.unknown(at(2));
    assignment.expire(at(1) + KEPT - MINUTE);
    assert_eq!(routers(&assignment), ["db", "web"]);
    assert_eq!(assignment.next_expiry(), Some(at(1) + KEPT));
    // Made again, and filled again, before it is too late for one of the two.
    assignment.list(vec![plain("db")], at(300));
    assignment.expire(at(2) + KEPT);
    assert_eq!(routers(&assignment), ["db"]);
}

#[test]
fn what_vanishes_in_one_list_is_a_mistake_if_it_is_all_or_most_of_many() {
    let all = ["a", "b", "c", "d", "e"];
    let kept = |listed: &[&str], known: &[&str]| {
        let mut assignment = assigned(known);
        assignment.list(listed.iter().map(|r| plain(r)).collect(), at(1));
        assignment.decide(Definitions::Present);
        routers(&assignment).len()
    };
    assert_eq!(kept(&[], &all), 5);
    assert_eq!(kept(&["a", "b"], &all), 5);
    assert_eq!(kept(&["a", "b", "c"], &all), 3);
    assert_eq!(kept(&["a"], &["a", "b", "c"]), 1);
    assert_eq!(kept(&[], &["a"]), 1);
}

#[test]
fn what_was_kept_by_mistake_goes_after_ten_minutes() {
    let mut assignment = assigned(&["web"]);
    assignment.list(Vec::new(), at(5));
    assignment.decide(Definitions::Present);
    let findings = assignment.in_force().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assignment.expire(at(5) + KEPT);
    assert_eq!(routers(&assignment), [""; 0]);
}

#[test]
fn an_object_that_cannot_be_read_keeps_what_it_ran_and_says_why() {
    let mut assignment = assigned(&["web", "db"]);
    assignment.apply(object("web", |spec| {
        spec["config"]["priority"] = "high".into();
        spec["config"]["generation"] = 7.into();
    }));
    assignment.settle();
    assert_eq!(routers(&assignment), ["db", "web"]);
    let roster = assignment.roster();
    let web = roster.iter().find(|a| a.name == "web").unwrap();
    let acceptance = web.acceptance.as_ref().unwrap();
    assert!(!acceptance.accepted);
    // The operator passes over what is said of another generation than the router's.
    assert_eq!(acceptance.generation, 7);
    assert_eq!(acceptance.reason, Reason::Invalid);
    assert!(
        acceptance.message.starts_with("spec.config.priority:"),
        "{}",
        acceptance.message
    );
}

#[test]
fn what_this_agent_cannot_do_keeps_what_it_ran() {
    let mut assignment = assigned(&["web"]);
    let newer = |spec: &mut Value| {
        spec["config"]["requires"] = json!(["Teleportation"]);
        spec["config"]["priority"] = 1.into();
    };
    assignment.apply(object("web", newer));
    assignment.apply(object("new", newer));
    assignment.settle();
    assert_eq!(routers(&assignment), ["web"]);
    assert_eq!(assignment.in_force().configs[0].priority, 200);
    let findings = assignment.in_force().findings;
    assert!(findings.iter().all(|f| f.severity == Severity::Warning));
    let roster = assignment.roster();
    let reasons = roster.iter().map(|a| a.acceptance.as_ref().unwrap().reason);
    assert!(reasons.into_iter().all(|r| r == Reason::UnsupportedFeature));
}

#[test]
fn what_a_newer_agent_alone_can_read_is_said_to_need_one() {
    let mut assignment = assigned(&["web"]);
    assignment.apply(object("web", |spec| {
        spec["config"]["generation"] = 7.into();
        spec["config"]["requires"] = json!(["VirtualServers", "Teleportation"]);
        spec["config"]["movement"] = "Teleported".into();
    }));
    assignment.settle();
    assert_eq!(routers(&assignment), ["web"]);
    let acceptance = assignment.roster()[0].acceptance.clone().unwrap();
    let Acceptance {
        generation,
        accepted,
        reason,
        message,
    } = acceptance;
    assert_eq!(
        (generation, accepted, reason),
        (7, false, Reason::UnsupportedFeature)
    );
    assert!(message.contains("Teleportation"), "{message}");
}

#[test]
fn what_only_the_agent_before_could_do_is_an_error_so_that_it_is_not_taken_over() {
    let mut newer = assigned(&["web"]).saved("a").unwrap();
    let config = newer.objects[0].config.as_mut().unwrap();
    Arc::make_mut(config).requires = vec!["Teleportation".to_owned()];
    let mut older = Assignment::new(Some(newer));
    older.settle();
    let findings = older.in_force().findings;
    assert_eq!(findings[0].severity, Severity::Error);
}

#[test]
fn a_router_waits_for_its_key_and_keeps_one_that_disappears() {
    let mut assignment = assigned(&[]);
    assignment.apply(with_password("web"));
    assignment.settle();
    assert_eq!(routers(&assignment), [""; 0]);
    assert!(assignment.wanted_keys().contains(&password()));
    assignment.set_key(password(), Err("it does not exist".to_owned()));
    assignment.settle();
    let reason = |assignment: &Assignment| {
        let acceptance = assignment.roster()[0].acceptance.clone().unwrap();
        (acceptance.accepted, acceptance.reason)
    };
    assert_eq!(reason(&assignment), (false, Reason::SecretMissing));
    assignment.set_key(password(), Ok(b"secret".to_vec()));
    assignment.settle();
    assert_eq!(routers(&assignment), ["web"]);
    assert_eq!(reason(&assignment), (true, Reason::Valid));
    assignment.set_key(password(), Err("it does not exist".to_owned()));
    assignment.settle();
    assert_eq!(routers(&assignment), ["web"]);
    assert_eq!(reason(&assignment), (false, Reason::SecretMissing));
}

#[test]
fn routers_that_run_come_before_those_that_are_new() {
    let mut assignment = restarted(&assigned(&["web"]));
    assignment.list(vec![plain("alpha"), plain("web")], at(1));
    assignment.settle();
    assert_eq!(routers(&assignment), ["web", "alpha"]);
}

#[test]
fn settings_come_with_the_nodes_own_object() {
    let mut assignment = assigned(&["web"]);
    assignment.apply(object("node-1", |spec| {
        *spec = json!({"nodeName": "a", "settings": {"announcementsPerSecond": 10, "announcementBurst": 20}});
    }));
    assignment.settle();
    assert_eq!(assignment.in_force().settings.announcements_per_second, 10);
    let own = assignment.roster().into_iter().find(|a| a.router.is_none());
    assert_eq!(own.unwrap().acceptance, None);
    let after = restarted(&assignment);
    assert_eq!(after.in_force().settings.announcement_burst, 20);
}
