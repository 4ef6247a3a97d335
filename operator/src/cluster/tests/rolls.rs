//! A new identity for a running router: others leave, the Active switches, the rest comes back.

use super::*;

/// A router on three nodes with `a` Active, all reported.
fn running() -> Cluster {
    let mut cluster = cluster(&["a", "b", "c"], &[("web", "192.0.2.100")]);
    settle(&mut cluster, 0);
    report(&mut cluster, "web", "a", ElectionState::Active);
    for node in ["b", "c"] {
        report(&mut cluster, "web", node, ElectionState::Backup);
    }
    settle(&mut cluster, 1);
    cluster
}

fn new_vrid(cluster: &mut Cluster) {
    let mut router = cluster.routers["web"].clone();
    let before = router.status.as_ref().unwrap().virtual_router_id.unwrap();
    router.spec.virtual_router_id = Some(before % 255 + 1);
    router.metadata.generation = Some(4);
    cluster.take(Change::Router(Box::new(router)));
}

/// The nodes that have a NodeConfig, with `*` where it has the new identity.
fn nodes(cluster: &Cluster) -> String {
    let wanted = cluster.routers["web"].spec.virtual_router_id;
    let configs = cluster.configs.values();
    let configs = configs.filter_map(|c| Some((&c.spec.node_name, c.spec.config.as_ref()?)));
    let mut names: Vec<String> = configs
        .map(|(node, config)| {
            let is_new = Some(i64::from(config.virtual_router_id)) == wanted;
            format!("{node}{}", if is_new { "*" } else { "" })
        })
        .collect();
    names.sort_unstable();
    names.join(" ")
}

fn look(cluster: &mut Cluster, second: u64) -> String {
    settle(cluster, second);
    nodes(cluster)
}

/// Another operator, that knows what the API server knows.
fn restarted(before: &Cluster) -> Cluster {
    let mut cluster = cluster(&["a", "b", "c"], &[]);
    for router in before.routers.values() {
        cluster.take(Change::Router(Box::new(router.clone())));
    }
    for config in before.configs.values() {
        cluster.take(Change::Config(Box::new(config.clone())));
    }
    cluster
}

#[test]
fn a_new_identity_goes_to_the_active_alone_and_then_to_the_rest() {
    // After each step another operator may take over.
    for restarts in [false, true] {
        let mut cluster = running();
        new_vrid(&mut cluster);
        let again = |cluster: &mut Cluster| {
            if restarts {
                *cluster = restarted(cluster);
            }
        };
        let first = "first the Active proves that it lives";
        assert_eq!(look(&mut cluster, 10), "a b c", "{first}");
        again(&mut cluster);
        assert_eq!(look(&mut cluster, 10), "a b c");
        report(&mut cluster, "web", "a", ElectionState::Active);
        assert_eq!(look(&mut cluster, 11), "a", "the others leave");
        again(&mut cluster);
        assert_eq!(look(&mut cluster, 11), "a", "and have time to");
        assert_eq!(look(&mut cluster, 12), "a*", "the Active switches");
        again(&mut cluster);
        assert_eq!(look(&mut cluster, 12), "a*");
        report(&mut cluster, "web", "a", ElectionState::Backup);
        assert_eq!(look(&mut cluster, 13), "a*", "it is not back yet");
        again(&mut cluster);
        assert_eq!(look(&mut cluster, 13), "a*");
        report(&mut cluster, "web", "a", ElectionState::Active);
        assert_eq!(look(&mut cluster, 14), "a* b* c*");
        let mut configs = cluster.configs.values();
        assert!(configs.all(|c| c.spec.confirm.is_none()));
    }
}

#[test]
fn the_rest_comes_back_within_thirty_seconds_even_if_the_active_does_not() {
    let mut cluster = running();
    new_vrid(&mut cluster);
    look(&mut cluster, 10);
    report(&mut cluster, "web", "a", ElectionState::Active);
    look(&mut cluster, 14);
    assert_eq!(look(&mut cluster, 15), "a*");
    report(&mut cluster, "web", "a", ElectionState::Initialize);
    assert_eq!(look(&mut cluster, 29), "a*");
    assert_eq!(look(&mut cluster, 31), "a* b* c*");
}

#[test]
fn nobody_leaves_for_an_active_that_does_not_answer() {
    let mut cluster = running();
    new_vrid(&mut cluster);
    assert_eq!(look(&mut cluster, 10), "a b c");
    assert_eq!(look(&mut cluster, 14), "a b c");
    assert_eq!(look(&mut cluster, 15), "a* b* c*");
}

#[test]
fn without_an_active_everything_is_new_at_once() {
    let mut cluster = running();
    report(&mut cluster, "web", "a", ElectionState::Backup);
    settle(&mut cluster, 2);
    new_vrid(&mut cluster);
    assert_eq!(look(&mut cluster, 10), "a* b* c*");
}

#[test]
fn what_is_no_identity_is_new_at_once() {
    let mut cluster = running();
    let mut router = cluster.routers["web"].clone();
    router.metadata.generation = Some(4);
    router.spec.advertisement_interval = Some("500ms".parse().unwrap());
    cluster.take(Change::Router(Box::new(router)));
    let writes = all(&mut cluster, 10);
    let configs = writes.iter().filter(|w| matches!(w, Write::Config(_)));
    assert_eq!(configs.count(), 3);
}

#[test]
fn nobody_comes_beside_an_active_that_refused_the_new_identity() {
    let mut cluster = running();
    new_vrid(&mut cluster);
    look(&mut cluster, 10);
    report(&mut cluster, "web", "a", ElectionState::Active);
    look(&mut cluster, 11);
    assert_eq!(look(&mut cluster, 12), "a*");
    report(&mut cluster, "web", "a", ElectionState::Active);
    let mut config = cluster.configs[&name::of_router("web", "a")].clone();
    let acceptance = config.status.as_mut().unwrap().acceptance.as_mut().unwrap();
    acceptance.accepted = false;
    acceptance.reason = Reason::SecretMissing;
    cluster.take(Change::Config(Box::new(config)));
    assert_eq!(look(&mut cluster, 100), "a*");
    assert_eq!(
        condition(&cluster, "web", ConditionType::Accepted),
        Some((ConditionStatus::False, Reason::SecretMissing))
    );
}
