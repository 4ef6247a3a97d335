//! What holds for any sequence of edits: looking at what changed finds what looking at everything finds.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NODES: [&str; 4] = ["a", "b", "c", "d"];
const ROUTERS: [&str; 3] = ["web", "db", "mail"];
const SERVERS: [&str; 3] = ["one", "two", "three"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Edit {
    Router(usize, Option<Value>),
    Node(usize, Option<bool>),
    Report(usize, usize, ElectionState),
    /// As a report, by an agent that does not give the nonce back.
    Silence(usize, usize, ElectionState),
    Inventory(usize, bool),
    Tampered(usize, usize),
    Deleted(usize, usize),
    Settings(i64),
    Server(usize, Option<Value>),
    Namespace(bool),
    Health(usize, usize, i64),
}

fn any_spec() -> impl Strategy<Value = Value> {
    let parts = (
        1u8..6,
        prop::option::of(1u8..4),
        any::<bool>(),
        any::<bool>(),
    );
    parts.prop_map(|(host, vrid, unicast, named)| {
        let mut spec = json!({"addresses": [{"address": format!("192.0.2.{host}")}]});
        let selector = json!({"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}});
        spec["attach"] = match host {
            1 | 2 => json!({"namespaces": {"from": "All"}}),
            3 => json!({ "namespaces": selector }),
            _ => json!({}),
        };
        if let Some(vrid) = vrid {
            spec["virtualRouterId"] = json!(vrid);
        }
        if unicast {
            spec["transport"] = json!({"mode": "Unicast"});
        }
        if named {
            spec["interface"] = json!({"type": "Name", "name": "eth1"});
        }
        spec
    })
}

fn any_server() -> impl Strategy<Value = Value> {
    (0..ROUTERS.len(), 79u32..82, any::<bool>()).prop_map(|(router, port, good)| {
        json!({
            "routerRef": {"name": ROUTERS[router]},
            "ports": [{"port": if good { port } else { 99_999 }}],
            "realServers": [{"address": "10.1.0.1"}],
        })
    })
}

fn any_state() -> impl Strategy<Value = ElectionState> {
    prop_oneof![
        2 => Just(ElectionState::Active),
        1 => Just(ElectionState::Backup),
        1 => Just(ElectionState::Initialize),
    ]
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let router = || 0..ROUTERS.len();
    let node = || 0..NODES.len();
    let spec = prop::option::weighted(0.85, any_spec());
    let cordoned = prop::option::weighted(0.8, any::<bool>());
    prop_oneof![
        4 => (router(), spec).prop_map(|(r, s)| Edit::Router(r, s)),
        3 => (node(), cordoned).prop_map(|(n, c)| Edit::Node(n, c)),
        8 => (router(), node(), any_state()).prop_map(|(r, n, s)| Edit::Report(r, n, s)),
        2 => (router(), node(), any_state()).prop_map(|(r, n, s)| Edit::Silence(r, n, s)),
        2 => (node(), any::<bool>()).prop_map(|(n, f)| Edit::Inventory(n, f)),
        1 => (router(), node()).prop_map(|(r, n)| Edit::Tampered(r, n)),
        1 => (router(), node()).prop_map(|(r, n)| Edit::Deleted(r, n)),
        1 => (10i64..13).prop_map(Edit::Settings),
        5 => (0..SERVERS.len(), prop::option::weighted(0.85, any_server()))
            .prop_map(|(s, spec)| Edit::Server(s, spec)),
        1 => any::<bool>().prop_map(Edit::Namespace),
        3 => (router(), node(), 0i64..2).prop_map(|(r, n, h)| Edit::Health(r, n, h)),
    ]
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Box<T> {
    Box::new(serde_json::from_value(value).unwrap())
}

/// What the API server tells of an edit.
fn change(edit: &Edit, generation: i64, cluster: &Cluster) -> Option<Change> {
    let config = |r: usize, n: usize| {
        let name = name::of_router(ROUTERS[r], NODES[n]);
        cluster.configs.get(&name).cloned()
    };
    Some(match edit {
        Edit::Router(r, None) => Change::Gone(Kind::Router, ROUTERS[*r].to_owned()),
        Edit::Router(r, Some(spec)) => {
            let name = ROUTERS[*r];
            let known = cluster
                .routers
                .get(name)
                .and_then(|r| r.metadata.uid.clone());
            let uid = known.unwrap_or_else(|| format!("uid-{name}-{generation}"));
            let mut now: Box<VirtualRouter> = parse(json!({
                "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter",
                "metadata": {"name": name, "uid": uid, "generation": generation}, "spec": spec,
            }));
            let before = cluster.routers.get(name);
            now.status = before.and_then(|b| b.status.clone());
            now.metadata.annotations = before.and_then(|b| b.metadata.annotations.clone());
            Change::Router(now)
        }
        Edit::Node(n, None) => Change::Gone(Kind::Node, NODES[*n].to_owned()),
        Edit::Node(n, Some(cordoned)) => {
            let address = json!({"type": "InternalIP", "address": format!("10.0.0.{n}")});
            Change::Node(parse(json!({
                "metadata": {"name": NODES[*n], "uid": format!("uid-{}", NODES[*n]), "labels": {"kubernetes.io/os": "linux"}},
                "spec": {"unschedulable": cordoned}, "status": {"addresses": [address]},
            })))
        }
        Edit::Report(r, n, state) => {
            let mut now = config(*r, *n)?;
            reported(&mut now, *state);
            Change::Config(Box::new(now))
        }
        Edit::Silence(r, n, state) => {
            let mut now = config(*r, *n)?;
            let confirm = now.status.as_ref().and_then(|s| s.confirm.clone());
            reported(&mut now, *state);
            now.status.as_mut()?.confirm = confirm;
            Change::Config(Box::new(now))
        }
        Edit::Inventory(n, foreign) => {
            let mut now = cluster.configs.get(&name::of_node(NODES[*n]))?.clone();
            let heard = json!({"interface": "eth1", "family": "IPv4", "virtualRouterId": 2,
                "source": "192.0.2.77", "addressesHash": "00000000000000ff"});
            let interface = json!({"name": "eth1", "mtu": 1500, "prefixes": ["192.0.2.200/24"]});
            let heard = if *foreign { vec![heard] } else { vec![] };
            let inventory = json!({"interfaces": [interface], "foreign": heard});
            now.status = Some(*parse(json!({ "inventory": inventory })));
            Change::Config(Box::new(now))
        }
        Edit::Tampered(r, n) => {
            let mut now = config(*r, *n)?;
            now.spec.confirm = Some("somebody".to_owned());
            now.metadata.owner_references = None;
            Change::Config(Box::new(now))
        }
        Edit::Deleted(r, n) => Change::Gone(Kind::Config, name::of_router(ROUTERS[*r], NODES[*n])),
        Edit::Server(s, None) => Change::Gone(Kind::Server, format!("shop/{}", SERVERS[*s])),
        Edit::Server(s, Some(spec)) => {
            let name = ServerName {
                namespace: "shop".to_owned(),
                name: SERVERS[*s].to_owned(),
            };
            let before = cluster.server(&name);
            let uid = before.and_then(|s| s.metadata.uid.clone());
            let uid = uid.unwrap_or_else(|| format!("uid-{name}-{generation}"));
            let mut now: Box<vipkeeper_crds::VirtualServer> = parse(json!({
                "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualServer",
                "metadata": {"namespace": "shop", "name": SERVERS[*s], "uid": uid, "generation": generation},
                "spec": spec,
            }));
            now.status = before.and_then(|b| b.status.clone());
            Change::Server(now)
        }
        Edit::Namespace(labelled) => {
            let labels = if *labelled {
                json!({"team": "shop"})
            } else {
                json!({})
            };
            Change::Namespace(parse(
                json!({"metadata": {"name": "shop", "labels": labels}}),
            ))
        }
        Edit::Health(r, n, healthy) => {
            let mut now = config(*r, *n)?;
            let servers = now.spec.config.as_ref()?.servers.iter().map(|s| {
                json!({"namespace": s.name.namespace, "name": s.name.name, "generation": s.generation,
                    "programmed": true, "quorum": *healthy > 0, "healthy": healthy, "total": 1})
            });
            let servers = json!(servers.collect::<Vec<_>>());
            now.status.get_or_insert_default().servers = *parse(servers);
            Change::Config(Box::new(now))
        }
        Edit::Settings(rate) => Change::Settings(parse(json!({
            "apiVersion": "vipkeeper.io/v1alpha1", "kind": "Settings", "metadata": {"name": "default"},
            "spec": {"announcements": {"framesPerSecond": rate}},
        }))),
    })
}

fn found(cluster: &mut Cluster, second: u64) -> Vec<(Owner, Vec<Write>)> {
    let all = cluster.writes(&now(second)).into_iter();
    all.filter(|(_, writes)| !writes.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn looking_at_what_changed_finds_what_looking_at_everything_finds(
        edits in prop::collection::vec(
            (any_edit(), 0u64..4, any::<prop::sample::Index>(), any::<bool>()),
            1..60,
        ),
    ) {
        let [mut lazy, mut thorough] =
            [(); 2].map(|()| cluster(&["a", "b"], &[("web", "192.0.2.1")]));
        let mut second = 0;
        for (generation, (edit, passed, lost, loses)) in (10..).zip(edits) {
            if let Some(change) = change(&edit, generation, &lazy) {
                lazy.take(change.clone());
                thorough.take(change);
            }
            second += passed;
            thorough.look_at_everything();
            let all = found(&mut lazy, second);
            prop_assert_eq!(&all, &found(&mut thorough, second), "{:?}", edit);
            let mut subjects = BTreeSet::new();
            for (at, (owner, writes)) in all.iter().enumerate() {
                for write in writes {
                    prop_assert!(subjects.insert(write.subject()), "two writes of one object");
                }
                // The API server does not take what one owner wants: it is looked at again.
                if loses && at == lost.index(all.len()) {
                    lazy.look_at(owner.clone());
                    continue;
                }
                obey(&mut lazy, writes.clone());
                obey(&mut thorough, writes.clone());
            }
        }
    }
}
