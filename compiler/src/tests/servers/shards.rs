//! Servers in shards: who is where, how much there is in each, and what an edit changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use vipkeeper_crds::NodeConfigShard;
use vipkeeper_crds::node_server::NodeRealServer;

use super::*;
use crate::{
    Configurations, Index, MOST_BITS, MOST_SIZE, SHARD_SIZE, Setting, Shards, Weighed, shard_hash,
};

static PLAIN: LazyLock<NodeServer> = LazyLock::new(|| served(&alone(json!({})))[0].clone());

/// A server with so many real servers, about 80 bytes each.
fn weighed(name: &str, real_servers: u16) -> Weighed {
    let real = |n: u16| NodeRealServer {
        address: format!("10.1.{}.{}", n / 256, n % 256).parse().unwrap(),
        port: 0,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
        forwarding: None,
    };
    let mut server = PLAIN.clone();
    server.name.name = name.to_owned();
    server.members = Members::Static {
        real_servers: (0..real_servers).map(real).collect(),
    };
    Weighed::new(Arc::new(server))
}

type Model = BTreeMap<u16, u16>;

fn all(model: &Model) -> Vec<Weighed> {
    let all = model.iter();
    all.map(|(n, real)| weighed(&format!("s{n:05}"), *real))
        .collect()
}

fn size(servers: &[NodeServer]) -> usize {
    serde_json::to_string(servers).unwrap().len()
}

/// Many small ones and some large ones.
fn any_model() -> impl Strategy<Value = Model> {
    let real = prop_oneof![8 => 0u16..30, 1 => 300u16..900];
    prop::collection::btree_map(any::<u16>(), real, 0..160)
}

fn begins(server: &NodeServer, bits: &str) -> bool {
    format!("{:064b}", shard_hash(&server.name)).starts_with(bits)
}

/// What must hold of shards whatever is in them.
fn sound(servers: &[Weighed], shards: &Shards) -> Result<(), TestCaseError> {
    let bits = &shards.set.shards;
    prop_assert!(bits.len() >= 2 && bits.is_sorted());
    let share = |b: &String| 1u32 << (MOST_BITS as usize - b.len());
    let covered: u32 = bits.iter().map(share).sum();
    prop_assert_eq!(covered, 1 << MOST_BITS, "every hash is somewhere, and once");
    let mut seen = BTreeSet::new();
    for (bits, shard) in bits.iter().zip(&shards.shards) {
        let NodeConfigShard {
            set,
            bits: own,
            requires: _,
            servers,
        } = &**shard;
        prop_assert_eq!((set, own), (&shards.set.name, bits));
        prop_assert!(servers.is_sorted_by_key(|s| &s.name));
        prop_assert!(servers.iter().all(|s| begins(s, bits)));
        let whole =
            size(servers) <= SHARD_SIZE || servers.len() == 1 || bits.len() == MOST_BITS as usize;
        prop_assert!(whole && size(servers) <= MOST_SIZE, "{}", size(servers));
        for server in servers {
            prop_assert!(
                seen.insert(server.name.clone()),
                "{} is there twice",
                server.name
            );
        }
        prop_assert!(Arc::ptr_eq(shards.get(bits).unwrap(), shard));
    }
    let names: BTreeSet<_> = servers.iter().map(|s| s.server.name.clone()).collect();
    prop_assert_eq!(seen, names, "all are there");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_server_is_in_the_one_shard_of_its_hash_and_none_is_too_large(
        model in any_model(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(0u16..900)), 1..6),
    ) {
        let mut model = model;
        let mut servers = all(&model);
        let mut before: Option<Shards> = None;
        for (n, real) in edits {
            let plain: Vec<NodeServer> = servers.iter().map(|s| (*s.server).clone()).collect();
            let now = Shards::of(&servers, before.as_ref());
            prop_assert_eq!(now.is_some(), size(&plain) > SHARD_SIZE);
            prop_assert_eq!(&now, &Shards::of(&all(&model), None), "nothing depends on before");
            if let Some(now) = &now {
                sound(&servers, now)?;
            }
            if let (Some(before), Some(now)) = (&before, &now) {
                let same = before.set.shards == now.set.shards;
                prop_assert_eq!(same, before.set.name == now.set.name);
                let mut shards = now.shards.iter().zip(&before.shards);
                let others = shards.by_ref().filter(|(now, before)| now != before).count();
                prop_assert!(!same || others <= 1, "one edit, {} shards", others);
                let kept = now.shards.iter().filter(|s| before.shards.iter().any(|b| Arc::ptr_eq(b, s)));
                prop_assert!(!same || kept.count() + 1 >= now.shards.len());
            }
            before = now;
            let Some(key) = model.keys().nth(n.index(model.len().max(1))).copied() else {
                return Ok(());
            };
            let at = model.keys().position(|k| *k == key).unwrap();
            match real {
                Some(real) => {
                    model.insert(key, real);
                    servers[at] = weighed(&format!("s{key:05}"), real);
                }
                None => {
                    model.remove(&key);
                    servers.remove(at);
                }
            }
        }
    }
}

#[test]
fn hashes_of_names_that_count_up_are_spread() {
    let bucket = |n: u16| shard_hash(&weighed(&format!("web-{n}"), 0).server.name) >> 60;
    let mut counts = [0; 16];
    for n in 0..1_600 {
        counts[usize::try_from(bucket(n)).unwrap()] += 1;
    }
    assert!(counts.iter().all(|c| (60..140).contains(c)), "{counts:?}");
}

#[test]
fn the_hash_of_a_name_stays_as_it_is() {
    // Another one would move every server, and lose what was kept of a shard.
    assert_eq!(
        format!("{:016x}", shard_hash(&weighed("s", 0).server.name)),
        "4c292659cb5202e6"
    );
}

fn cluster(servers: &[(String, Value)]) -> (Index, Configurations) {
    let mut index = Index::new(Setting::Cluster);
    for name in ["a", "b"] {
        index.set_node(&super::super::node(name, &[]));
    }
    let everybody = json!({"attach": {"namespaces": {"from": "All"}}});
    index.set_router(&router("r", everybody), 0);
    for (seniority, (name, patch)) in (0..).zip(servers) {
        index.set_server(&server(name, patch.clone()), seniority);
    }
    let mut configurations = Configurations::default();
    configurations.refresh(&mut index);
    (index, configurations)
}

/// One on a port of its own with so many real servers.
fn one(port: u16, real_servers: u16) -> Value {
    let real = |n: u16| json!({"address": format!("10.1.{}.{}", n / 256, n % 256)});
    json!({
        "ports": [{"port": port}],
        "realServers": (0..real_servers).map(real).collect::<Vec<_>>(),
    })
}

#[test]
fn a_router_with_many_servers_has_them_in_shards_and_says_so() {
    let many: Vec<_> = (1..=200).map(|n| (format!("s{n}"), one(n, 2))).collect();
    let (mut index, mut configurations) = cluster(&many);
    let config = configurations.configs().values().next().unwrap();
    assert_eq!(config.requires, ["VirtualServers", "Shards"]);
    assert_eq!(config.servers, []);
    let shards = configurations.shards("r").unwrap();
    assert_eq!(
        shards.shards.iter().map(|s| s.servers.len()).sum::<usize>(),
        200
    );
    assert!(
        shards
            .shards
            .iter()
            .all(|s| s.requires == ["VirtualServers", "Shards"])
    );
    // Few again, they are back beside the router.
    for n in 5..=200 {
        index.remove_server(&ServerName {
            namespace: "shop".to_owned(),
            name: format!("s{n}"),
        });
    }
    let changed = configurations.refresh(&mut index);
    assert_eq!(changed.configs.len(), 2);
    let config = configurations.configs().values().next().unwrap();
    assert_eq!(config.requires, ["VirtualServers"]);
    assert_eq!(config.servers.len(), 4);
    assert_eq!(configurations.shards("r"), None);
}

/// 64 ports of 256 addresses: more than anybody can be told at once.
fn too_large() -> (Value, Value) {
    let addresses = (0..=255).map(|n| json!({"address": format!("198.51.100.{n}")}));
    let addresses = addresses.skip(1).take(254).collect::<Vec<_>>();
    let ports = (1..=64).map(|n| json!({"port": n}));
    let wide = json!({"addresses": addresses, "attach": {"namespaces": {"from": "All"}}});
    (wide, json!({"ports": ports.collect::<Vec<_>>()}))
}

#[test]
fn one_server_that_is_too_large_is_refused_everywhere_and_stops_nobody() {
    let (wide, large) = too_large();
    let small = json!({"ports": [{"port": 443}]});
    let servers = vec![server("large", large), server("small", small)];
    let compiled = compile(&with_router(servers, wide), "a");
    assert_eq!(names(served(&compiled)), ["small"]);
    let [finding] = &text(&compiled.findings)[..] else {
        panic!("{:?}", compiled.findings);
    };
    let begin = "VirtualServer shop/large error spec.ports: nodes are told ";
    assert!(finding.starts_with(begin), "{finding}");
    assert!(finding.contains("at most 262144"), "{finding}");
}

#[test]
fn those_that_no_split_parts_are_refused_where_they_become_too_large() {
    // Names whose hashes begin with the same twelve bits.
    let mut alike: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let names = (0..).map(|n| format!("s{n}")).find_map(|name| {
        let full = ServerName {
            namespace: "shop".to_owned(),
            name: name.clone(),
        };
        let all = alike.entry(shard_hash(&full) >> 52).or_default();
        all.push(name);
        (all.len() == 4).then(|| all.clone())
    });
    let names = names.unwrap();
    let large: Vec<_> = (1..)
        .zip(&names)
        .map(|(port, n)| (n.clone(), one(port, 1_000)))
        .collect();
    let small = ("small".to_owned(), one(99, 1));
    let (mut index, mut configurations) = cluster(&[large, vec![small]].concat());
    let errors = |configurations: &Configurations| text(&configurations.allocations().findings);
    let found = errors(&configurations);
    let begin = format!(
        "VirtualServer shop/{} error metadata.name: it and others",
        names[3]
    );
    assert!(
        found.len() == 1 && found[0].starts_with(&begin),
        "{found:?}"
    );
    let shards = configurations.shards("r").unwrap();
    assert_eq!(
        shards.shards.iter().map(|s| s.servers.len()).sum::<usize>(),
        4
    );
    assert!(shards.shards.iter().all(|s| size(&s.servers) <= MOST_SIZE));
    // There is room when another goes.
    index.remove_server(&ServerName {
        namespace: "shop".to_owned(),
        name: names[0].clone(),
    });
    configurations.refresh(&mut index);
    assert_eq!(errors(&configurations), [""; 0]);
    // Standalone nobody splits.
    let mut index = Index::new(Setting::Standalone);
    let everybody = json!({"attach": {"namespaces": {"from": "All"}}});
    index.set_router(&router("r", everybody), 0);
    for (port, name) in (1..).zip(&names) {
        index.set_server(&server(name, one(port, 1_000)), 0);
    }
    assert_eq!(crate::allocate(&index).servers["r"].len(), 4);
}
