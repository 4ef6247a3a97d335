//! Servers that are too many for one NodeConfig: what is written, in which order, and what is left over.

use serde_json::json;
use vipkeeper_crds::node_server::{NodeServer, ServerName};
use vipkeeper_crds::status::{ServerHealth, ServerStatus};

use super::servers::{accepted, everybody, named, open_router, said, server};
use super::*;
use crate::cluster::shards;

const NODES: [&str; 3] = ["a", "b", "c"];

fn name_of(n: u16) -> String {
    format!("s{n:04}")
}

/// A VirtualServer on a port of its own.
fn one(n: u16, generation: i64, weight: u32) -> Change {
    server(&name_of(n), generation, |spec| {
        spec["ports"] = json!([{"port": n + 1}]);
        spec["realServers"] = json!([{"address": "10.0.0.1", "weight": weight}]);
    })
}

fn without(n: u16) -> Change {
    Change::Gone(Kind::Server, format!("shop/{}", name_of(n)))
}

fn scene(count: u16) -> Cluster {
    let mut cluster = cluster(&NODES, &[]);
    cluster.take(open_router(&everybody()));
    (0..count).for_each(|n| cluster.take(one(n, 1, 1)));
    settle(&mut cluster, 0);
    cluster
}

/// The NodeConfigs of the router on a node: the one without shards, and the shards.
fn of_node<'a>(cluster: &'a Cluster, node: &str) -> (&'a NodeConfig, Vec<&'a NodeConfig>) {
    let main = &cluster.configs[&name::of_router("web", node)];
    let all = cluster.configs.values();
    let shards = all.filter(|c| c.spec.shard.is_some() && c.spec.node_name == node);
    (main, shards.collect())
}

fn servers(config: &NodeConfig) -> &[NodeServer] {
    config.spec.shard.as_ref().map_or(&[], |s| &s.servers)
}

/// Each node has all servers once, in the shards that its NodeConfig names and no others.
fn is_sound(cluster: &Cluster, count: usize) {
    for node in NODES {
        let (main, shards) = of_node(cluster, node);
        let config = main.spec.config.as_ref().unwrap();
        let mut names: Vec<&ServerName> = config.servers.iter().map(|s| &s.name).collect();
        names.extend(shards.iter().flat_map(|s| servers(s)).map(|s| &s.name));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let Some(set) = &main.spec.shard_set else {
            assert!(shards.is_empty() && config.servers.len() == count);
            continue;
        };
        assert_eq!(config.servers, []);
        let shard = |c: &&NodeConfig| c.spec.shard.clone().unwrap();
        let bits: Vec<String> = shards.iter().map(|s| shard(s).bits).collect();
        assert_eq!(bits, set.shards);
        assert!(shards.iter().all(|s| shard(s).set == set.name));
        let size = |s: &&NodeConfig| serde_json::to_string(servers(s)).unwrap().len();
        assert!(shards.iter().all(|s| size(s) <= 1 << 16));
        for config in shards.iter().chain([&main]) {
            let owners = config.metadata.owner_references.as_ref().unwrap();
            assert_eq!((owners.len(), owners[0].uid.as_str()), (1, "uid-web"));
        }
    }
}

fn configs(writes: &[Write]) -> Vec<String> {
    let written = writes.iter().filter_map(|write| match write {
        Write::Config(config) => config.metadata.name.clone(),
        Write::Remove { name, .. } => Some(format!("-{name}")),
        Write::Status { .. } | Write::ServerStatus { .. } | Write::Annotations { .. } => None,
    });
    written.collect()
}

#[test]
fn two_thousand_servers_ride_in_shards_and_one_edit_writes_one_of_each_candidate() {
    let mut cluster = scene(2_000);
    is_sound(&cluster, 2_000);
    let (_, shards) = of_node(&cluster, "a");
    assert!((8..40).contains(&shards.len()), "{}", shards.len());
    let shard = shards
        .iter()
        .find(|s| servers(s).iter().any(|s| s.name.name == name_of(77)));
    let bits = shard.unwrap().spec.shard.as_ref().unwrap().bits.clone();
    cluster.take(one(77, 2, 9));
    let writes = all(&mut cluster, 1);
    assert_eq!(
        configs(&writes),
        NODES.map(|node| name::of_shard("web", node, &bits))
    );
    // And the status of that server, which follows.
    assert!(writes.len() <= NODES.len() + 1, "{}", writes.len());
    obey(&mut cluster, writes);
    settle(&mut cluster, 2);
    is_sound(&cluster, 2_000);
    cluster.look_at_everything();
    assert_eq!(all(&mut cluster, 3), []);
}

#[test]
fn shards_split_and_join_and_nothing_is_left_over() {
    let mut cluster = scene(10);
    assert_eq!(of_node(&cluster, "a").1.len(), 0);
    let mut counts = Vec::new();
    for count in [150, 600, 1_200] {
        (0..count).for_each(|n| cluster.take(one(n, 1, 1)));
        settle(&mut cluster, 1);
        is_sound(&cluster, usize::from(count));
        counts.push(of_node(&cluster, "a").1.len());
    }
    for count in [600, 150, 10] {
        (count..1_200).for_each(|n| cluster.take(without(n)));
        settle(&mut cluster, 2);
        is_sound(&cluster, usize::from(count));
        counts.push(of_node(&cluster, "a").1.len());
    }
    let [first, second, third, fourth, fifth, last] = counts[..] else {
        panic!("{counts:?}");
    };
    assert!(first < second && second < third, "{counts:?}");
    assert_eq!(
        [fourth, fifth, last],
        [second, first, 0],
        "only what is there counts"
    );
    assert_eq!(cluster.shards.routers().count(), 0);
    cluster.take(Change::Gone(Kind::Router, "web".to_owned()));
    settle(&mut cluster, 3);
    assert_eq!(cluster.configs.len(), NODES.len());
}

#[test]
fn shards_come_before_the_object_that_names_them_and_go_after_it() {
    let mut cluster = scene(10);
    let mains = NODES.map(|node| name::of_router("web", node));
    (10..600).for_each(|n| cluster.take(one(n, 1, 1)));
    let first = all(&mut cluster, 1);
    let written = configs(&first);
    assert!(!written.is_empty() && mains.iter().all(|m| !written.contains(m)));
    obey(&mut cluster, first);
    let second = all(&mut cluster, 1);
    assert_eq!(configs(&second), mains);
    obey(&mut cluster, second);
    settle(&mut cluster, 1);
    (10..600).for_each(|n| cluster.take(without(n)));
    let first = all(&mut cluster, 2);
    assert_eq!(configs(&first), mains);
    obey(&mut cluster, first);
    let removed = configs(&all(&mut cluster, 2));
    assert!(removed.len() >= 2 * NODES.len() && removed.iter().all(|r| r.starts_with('-')));
    // What the router itself says waits for no shard.
    let mut cluster = scene(10);
    (10..600).for_each(|n| cluster.take(one(n, 1, 1)));
    let mut edited = cluster.routers["web"].clone();
    edited.metadata.generation = Some(4);
    edited.spec.advertisement_interval = Some("500ms".parse().unwrap());
    cluster.take(Change::Router(Box::new(edited)));
    let written = configs(&all(&mut cluster, 1));
    assert!(mains.iter().all(|m| written.contains(m)));
}

#[test]
fn a_candidate_that_goes_loses_its_shards_and_somebody_elses_edit_is_undone() {
    let mut cluster = scene(300);
    let (_, shards) = of_node(&cluster, "b");
    let mut bent = shards[0].clone();
    bent.spec.shard.as_mut().unwrap().servers.pop();
    let lost = shards[1].metadata.name.clone().unwrap();
    let mut foreign = shards[0].clone();
    foreign.metadata.name = Some("foreign".to_owned());
    let bent_name = bent.metadata.name.clone().unwrap();
    let mut other = shards[2].clone();
    other.spec.shard.as_mut().unwrap().bits = "111111111111".to_owned();
    let other_name = other.metadata.name.clone().unwrap();
    cluster.take(Change::Config(Box::new(other)));
    cluster.take(Change::Config(Box::new(bent)));
    cluster.take(Change::Config(Box::new(foreign)));
    cluster.take(Change::Gone(Kind::Config, lost.clone()));
    let mut written = configs(&all(&mut cluster, 1));
    written.sort_unstable();
    let mut expected = vec![bent_name, other_name, lost, "-foreign".to_owned()];
    expected.sort_unstable();
    assert_eq!(written, expected);
    cluster.look_at_everything();
    settle(&mut cluster, 1);
    is_sound(&cluster, 300);
    cluster.take(Change::Gone(Kind::Node, "b".to_owned()));
    settle(&mut cluster, 2);
    assert!(cluster.configs.values().all(|c| c.spec.node_name != "b"));
}

#[test]
fn those_that_leave_for_a_new_identity_lose_their_shards_and_get_them_back() {
    let mut cluster = scene(300);
    report(&mut cluster, "web", "a", ElectionState::Active);
    settle(&mut cluster, 1);
    let mut edited = cluster.routers["web"].clone();
    let before = edited.status.as_ref().unwrap().virtual_router_id.unwrap();
    edited.spec.virtual_router_id = Some(before % 255 + 1);
    edited.metadata.generation = Some(4);
    cluster.take(Change::Router(Box::new(edited)));
    settle(&mut cluster, 10);
    report(&mut cluster, "web", "a", ElectionState::Active);
    settle(&mut cluster, 11);
    let of = |cluster: &Cluster, node: &str| {
        let all = cluster.configs.values().filter(|c| c.spec.router.is_some());
        all.filter(|c| c.spec.node_name == node).count()
    };
    assert_eq!([of(&cluster, "b"), of(&cluster, "c")], [0, 0]);
    let (_, shards) = of_node(&cluster, "a");
    assert!(!shards.is_empty());
    settle(&mut cluster, 12);
    report(&mut cluster, "web", "a", ElectionState::Active);
    settle(&mut cluster, 13);
    is_sound(&cluster, 300);
}

#[test]
fn a_refused_edit_keeps_what_was_served_also_for_the_next_operator() {
    let mut first = scene(300);
    first.take(server(&name_of(7), 2, |spec| {
        spec["ports"] = json!([{"port": 99_999}]);
    }));
    settle(&mut first, 1);
    is_sound(&first, 300);
    let mut second = cluster(&NODES, &[]);
    for config in first.configs.values() {
        second.take(Change::Config(Box::new(config.clone())));
    }
    second.take(Change::Router(Box::new(first.routers["web"].clone())));
    for object in first.servers() {
        second.take(Change::Server(Box::new(object.clone())));
    }
    assert_eq!(all(&mut second, 2), []);
    assert_eq!(
        accepted(&second, &name_of(7)),
        (ConditionStatus::False, Reason::Invalid)
    );
}

/// The agent of `node` says in the status of `config` how its servers stand.
fn tell(cluster: &mut Cluster, config: &str, healthy: i64) {
    let mut config = cluster.configs[config].clone();
    let reports = shards::servers(&config).map(|server| ServerStatus {
        server: server.name.clone(),
        generation: server.generation,
        health: ServerHealth {
            programmed: true,
            quorum: healthy > 0,
            healthy,
            total: 1,
            ..ServerHealth::default()
        },
        conditions: Vec::new(),
    });
    let reports = reports.collect();
    config.status.get_or_insert_default().servers = reports;
    cluster.take(Change::Config(Box::new(config)));
}

#[test]
fn what_agents_say_in_a_shard_is_the_status_of_its_servers_alone() {
    let mut cluster = scene(300);
    report(&mut cluster, "web", "a", ElectionState::Active);
    settle(&mut cluster, 1);
    let (_, shards) = of_node(&cluster, "a");
    let names: Vec<String> = shards
        .iter()
        .map(|s| s.metadata.name.clone().unwrap())
        .collect();
    let inside: Vec<ServerName> = servers(shards[0]).iter().map(|s| s.name.clone()).collect();
    tell(&mut cluster, &names[0], 1);
    let writes = all(&mut cluster, 2);
    let mut told: Vec<String> = writes.iter().map(|w| w.subject().name).collect();
    told.sort_unstable();
    let expected: Vec<String> = inside.iter().map(ServerName::to_string).collect();
    assert_eq!(told, expected);
    obey(&mut cluster, writes);
    let summary = |cluster: &Cluster, name: &ServerName| {
        let status = cluster.server(name).unwrap().status.clone().unwrap();
        status.ready_summary
    };
    assert_eq!(summary(&cluster, &inside[0]), "1/1");
    // Few again, they are told beside the router.
    (10..300).for_each(|n| cluster.take(without(n)));
    settle(&mut cluster, 3);
    let left = named(&name_of(3));
    assert_eq!(summary(&cluster, &left), "");
    tell(&mut cluster, &name::of_router("web", "a"), 1);
    settle(&mut cluster, 4);
    assert_eq!(summary(&cluster, &left), "1/1");
    assert_eq!(
        said(&cluster, &left.name, ConditionType::Ready),
        Some((ConditionStatus::True, Reason::Serving))
    );
}

#[test]
fn a_shard_that_an_agent_refuses_shows_in_the_router() {
    let mut cluster = scene(300);
    for node in NODES {
        report(&mut cluster, "web", node, ElectionState::Backup);
    }
    let (_, shards) = of_node(&cluster, "b");
    let mut refused = shards[0].clone();
    let mut answer = |accepted: bool| {
        refused.status.get_or_insert_default().acceptance = Some(Acceptance {
            generation: 0,
            accepted,
            reason: Reason::UnsupportedFeature,
            message: "it has no such thing".to_owned(),
        });
        Change::Config(Box::new(refused.clone()))
    };
    cluster.take(answer(false));
    settle(&mut cluster, 1);
    let accepted = |cluster: &Cluster| condition(cluster, "web", ConditionType::Accepted);
    assert_eq!(
        accepted(&cluster),
        Some((ConditionStatus::False, Reason::UnsupportedFeature))
    );
    cluster.take(answer(true));
    settle(&mut cluster, 2);
    assert_eq!(
        accepted(&cluster),
        Some((ConditionStatus::True, Reason::Valid))
    );
}
