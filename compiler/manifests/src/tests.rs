//! Manifests and what comes of them, and of editing them.

mod servers;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A router of two nodes.
fn router(name: &str, vrid: u8, address: &str) -> String {
    format!(
        "apiVersion: vipkeeper.io/v1alpha1
kind: VirtualRouter
metadata:
  name: {name}
spec:
  virtualRouterId: {vrid}
  interface: {{type: Name, name: eth1}}
  addresses:
  - address: {address}
  nodes:
    priorities:
    - {{node: a, priority: 100}}
    - {{node: b, priority: 90}}
"
    )
}

fn file(name: &str, text: impl Into<String>) -> File {
    File {
        name: name.to_owned(),
        text: Ok(text.into()),
    }
}

fn update(store: &mut Store, files: &[(&str, &str)]) -> Loaded {
    let files: Vec<File> = files.iter().map(|(n, t)| file(n, *t)).collect();
    store.update(&files, "a")
}

fn once(files: &[(&str, &str)]) -> Loaded {
    update(&mut Store::default(), files)
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.configs.iter().map(|c| c.router.as_str()).collect()
}

fn said(loaded: &Loaded) -> Vec<String> {
    loaded.findings.iter().map(ToString::to_string).collect()
}

/// Asserts that exactly one finding begins with `place` and contains `text`, and gives all findings back.
#[track_caller]
fn assert_said(loaded: &Loaded, place: &str, text: &str) {
    let said = said(loaded);
    let alike = |s: &&String| s.starts_with(place) && s.contains(text);
    assert_eq!(
        said.iter().filter(alike).count(),
        1,
        "{place} {text}: {said:#?}"
    );
}

const NODE_B: &str = "apiVersion: v1
kind: Node
metadata: {name: b}
status:
  addresses:
  - {type: InternalIP, address: 192.0.2.2}
";
const NODE_A: &str = "apiVersion: v1
kind: Node
metadata: {name: a}
status:
  addresses:
  - {type: InternalIP, address: 192.0.2.1}
";
const SECRET: &str = "apiVersion: v1
kind: Secret
metadata: {name: vr}
stringData: {password: hunter2}
";

fn with_password() -> String {
    router("r", 51, "192.0.2.100")
        + "  version: 2\n  authentication: {type: Password, password: {secretRef: {name: vr, key: password}}}\n"
}

#[test]
fn several_documents_of_several_files_are_read() {
    let first = router("one", 51, "192.0.2.101") + "---\n" + &router("two", 52, "192.0.2.102");
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter", "metadata": {"name": "three"},
         "spec": {"virtualRouterId": 53, "addresses": [{"address": "192.0.2.103"}],
                  "nodes": {"priorities": [{"node": "a", "priority": 1}]}}}]}"#;
    let loaded = once(&[("a.yaml", &first), ("b.json", json)]);
    assert_eq!(names(&loaded), ["one", "two", "three"]);
    // `three` has another form of interface, but its own VRID.
    assert_eq!(said(&loaded), [""; 0]);
}

#[test]
fn without_priorities_the_described_nodes_take_part() {
    let text = router("r", 51, "192.0.2.100");
    let (spec, _) = text.split_once("  nodes:").unwrap();
    let selected = format!("{spec}  nodes:\n    selectors:\n    - matchLabels: {{role: edge}}\n");
    let labelled = |node: &str| node.replace("metadata: {", "metadata: {labels: {role: edge}, ");
    let (a, b) = (labelled(NODE_A), labelled(NODE_B));
    let mut store = Store::default();
    let loaded = update(&mut store, &[("r", &selected), ("a", &a), ("b", &b)]);
    assert_eq!(said(&loaded), [""; 0]);
    assert_eq!(names(&loaded), ["r"]);
    assert_eq!(store.candidates(), &["a", "b"].map(str::to_owned).into());
    let first = loaded.configs[0].priority;
    assert!([254, 248].contains(&first), "{first}");

    let drained = a.replace(
        "metadata: {",
        "metadata: {annotations: {vipkeeper.io/drain: ''}, ",
    );
    let loaded = update(&mut store, &[("r", &selected), ("a", &drained), ("b", &b)]);
    assert_eq!(loaded.configs[0].priority, 248);

    let loaded = update(&mut store, &[("r", &selected), ("b", &b)]);
    assert_eq!(loaded.configs, []);
    assert_eq!(store.candidates(), &["b".to_owned()].into());

    let loaded = update(&mut store, &[("r", spec)]);
    assert_said(&loaded, "r:", "list each node with its priority");
    let typo = selected.replace("matchLabels", "matchLabel");
    assert_said(
        &once(&[("r", &typo)]),
        "r:12:7: error: spec.nodes.selectors[0].matchLabel: ",
        "known here are matchExpressions, matchLabels",
    );
}

#[test]
fn every_kind_of_mistake_is_said_with_its_place() {
    let good = router("r", 51, "192.0.2.100");
    let patched = |from: &str, to: &str| good.replace(from, to);
    for (text, place, message) in [
        (patched("  name: r\n", "  name: r\n bad\n"), "m.yaml:5:", ""),
        (
            patched("metadata:\n  name: r\n", ""),
            "m.yaml:1:1: error: metadata.name: ",
            "required",
        ),
        (
            patched("kind: VirtualRouter\n", ""),
            "m.yaml:1:1: error: kind: ",
            "required",
        ),
        (
            patched("  virtualRouterId", "  virtualRouterID"),
            "m.yaml:6:3: error: spec.virtualRouterID: ",
            "no such field",
        ),
        (
            patched("{node: a, priority: 100}", "{node: a, prio: 100}"),
            "m.yaml:12:7: error: spec.nodes.priorities[0]",
            "missing field `priority`",
        ),
        (
            patched(
                "{node: a, priority: 100}",
                "{node: a, priority: 100, weight: 1}",
            ),
            "m.yaml:12:32: error: spec.nodes.priorities[0].weight: ",
            "no such field",
        ),
        (
            patched("virtualRouterId: 51", "virtualRouterId: fifty"),
            "m.yaml:6:20: error: spec.virtualRouterId: ",
            "invalid type",
        ),
        (
            patched("type: Name", "type: name"),
            "m.yaml:7:21: error: spec.interface.type: ",
            "expected one of `Name`",
        ),
        (
            patched("virtualRouterId: 51", "advertisementInterval: 1.5s"),
            "m.yaml:6:26: error: spec.advertisementInterval: ",
            "not a duration",
        ),
        (
            patched("192.0.2.100", "192.0.2.300"),
            "m.yaml:9:14: error: spec.addresses[0].address: ",
            "not an IP address",
        ),
        (
            patched("  virtualRouterId: 51\n", ""),
            "m.yaml:5:1: error: spec.virtualRouterId: ",
            "required",
        ),
        (
            patched("priority: 90", "priority: 100"),
            "m.yaml:13:27: warning: spec.nodes.priorities[1].priority: ",
            "too",
        ),
        (
            patched("v1alpha1", "v1"),
            "m.yaml:1:13: error: apiVersion: ",
            "write `vipkeeper.io/v1alpha1`",
        ),
        (
            patched("VirtualRouter", "VirtualRoutr"),
            "m.yaml:2:7: error: kind: ",
            "write `VirtualRouter`",
        ),
        (
            patched("VirtualRouter", "AddressPool"),
            "m.yaml:2:7: warning: kind: ",
            "kind AddressPool is not used by the standalone agent",
        ),
        (
            good.clone() + "---\napiVersion: v1\nkind: Pod\n",
            "m.yaml:16:7: warning: kind: ",
            "kind Pod is not used",
        ),
        (
            good.clone() + "status: {}\n",
            "m.yaml:14:1: warning: status: ",
            "not read",
        ),
        ("- 1\n".to_owned(), "m.yaml:1:1: error: kind: ", "required"),
        (
            "{apiVersion: v1, kind: List}\n".to_owned(),
            "m.yaml:1:1: error: items: ",
            "required",
        ),
        (
            NODE_A.replace("status", "statos"),
            "m.yaml:4:1: warning: statos: ",
            "no such field",
        ),
        (
            NODE_A
                .replace("[", "")
                .replace("  addresses:", "  addresses: 1\n  x:"),
            "m.yaml:5:14: error: status.addresses: ",
            "invalid type",
        ),
    ] {
        let loaded = once(&[("m.yaml", &text)]);
        assert_said(&loaded, place, message);
        let refused = said(&loaded).iter().any(|s| s.contains(": error: "));
        assert_eq!(
            loaded.configs.is_empty(),
            refused || !text.contains("kind: VirtualRouter\n"),
            "{text}"
        );
    }
}

#[test]
fn no_diagnosis_and_no_print_quotes_a_secret() {
    for text in [
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {password: hunter2!}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: hunter2!\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: {hunter2!: 1}}\n",
        SECRET,
    ] {
        let mut store = Store::default();
        let loaded = store.update(&[file("s.yaml", text)], "a");
        let printed = format!("{loaded:?} {store:?} {:?}", said(&loaded));
        assert!(!printed.contains("hunter2"), "{printed}");
        assert_eq!(
            loaded.findings.is_empty(),
            text == SECRET,
            "{:?}",
            said(&loaded)
        );
    }
}

#[test]
fn a_secret_without_namespace_is_in_the_key_namespace() {
    let encoded = SECRET.replace(
        "stringData: {password: hunter2}",
        "data: {password: aHVudGVyMg==}",
    );
    for secret in [SECRET, &encoded] {
        let loaded = once(&[("r.yaml", &with_password()), ("s.yaml", secret)]);
        assert_eq!(names(&loaded), ["r"], "{:?}", said(&loaded));
        let key = loaded.keys.names().next().unwrap();
        assert_eq!(key.to_string(), "vipkeeper-keys/vr[password]");
        assert_eq!(loaded.keys.get(key), Some(&b"hunter2"[..]));
    }
}

#[test]
fn a_password_that_cannot_be_sent_is_said() {
    for (value, text) in [("''", "is empty"), ("123456789", "only the first 8")] {
        let secret = SECRET.replace("hunter2", value);
        let secret = secret.replace("123456789", "'123456789'");
        let loaded = once(&[("r.yaml", &with_password()), ("s.yaml", &secret)]);
        assert_said(&loaded, "r.yaml:15:", text);
        assert!(!said(&loaded)[0].contains("12345"));
    }
}

#[test]
fn an_object_described_twice_names_both_places() {
    let (a, b) = (
        router("r", 51, "192.0.2.100"),
        router("r", 52, "192.0.2.101"),
    );
    let loaded = once(&[("a.yaml", &a), ("b.yaml", &b)]);
    assert_said(
        &loaded,
        "b.yaml:4:9: error: metadata.name: ",
        "VirtualRouter r is at a.yaml:4:9 already",
    );
    assert_eq!(loaded.configs[0].virtual_router_id, 51);

    // What was there first counts, whatever its file is called.
    let mut store = Store::default();
    update(&mut store, &[("b.yaml", &b)]);
    let loaded = update(&mut store, &[("a.yaml", &a), ("b.yaml", &b)]);
    assert_said(&loaded, "a.yaml:4:9: error: ", "is at b.yaml:4:9 already");
    assert_eq!(loaded.configs[0].virtual_router_id, 52);
}

#[test]
fn at_start_a_bad_object_is_refused_and_the_others_run() {
    let bad = router("bad", 51, "192.0.2.300") + "---\n" + &router("good", 52, "192.0.2.101");
    let loaded = once(&[
        ("a.yaml", &bad),
        ("b.yaml", "a: [\n"),
        ("c.yaml", &router("fine", 53, "192.0.2.102")),
    ]);
    assert_eq!(names(&loaded), ["good", "fine"]);
    assert_said(&loaded, "a.yaml:9:14: error: ", "not an IP address");
    assert_said(&loaded, "b.yaml:1:4: error: document: ", "unclosed");
}

#[test]
fn a_file_that_no_longer_parses_keeps_its_objects() {
    let mut store = Store::default();
    let good = router("r", 51, "192.0.2.100");
    let other = router("other", 52, "192.0.2.101");
    let before = update(&mut store, &[("r.yaml", &good), ("s.yaml", &other)]);
    let changed = other.replace("100}", "120}");
    let after = update(&mut store, &[("r.yaml", "a: [\n"), ("s.yaml", &changed)]);
    assert_eq!(after.configs[0], before.configs[0]);
    assert_eq!(after.configs[1].priority, 120, "the other file is read");
    assert_said(&after, "r.yaml:1:4: error: document: ", "unclosed");
    assert_said(
        &after,
        "r.yaml:1:1: warning: ",
        "VirtualRouter r keeps its last good state",
    );

    let unreadable = File {
        name: "r.yaml".into(),
        text: Err("cannot be read: denied".into()),
    };
    let after = store.update(&[unreadable, file("s.yaml", other.clone())], "a");
    assert_eq!(names(&after), ["r", "other"]);

    let after = update(&mut store, &[("s.yaml", &other)]);
    assert_eq!(
        names(&after),
        ["other"],
        "a deleted file removes its routers"
    );
    assert_eq!(said(&after), [""; 0]);
}

#[test]
fn an_object_that_no_longer_validates_keeps_what_it_ran() {
    let good = router("r", 51, "192.0.2.100");
    let other = router("other", 52, "192.0.2.101");
    for (from, to) in [
        ("192.0.2.100", "192.0.2.300"),
        ("virtualRouterId: 51", "virtualRouterId: 52"),
        ("virtualRouterId", "virtualRouterID"),
        ("virtualRouterId: 51", "virtualRouterId: x"),
        ("kind: VirtualRouter", "kind: VirtualRoutr"),
        ("  name: r", "  nam: r"),
    ] {
        let mut store = Store::default();
        let text = |r: &str| format!("{r}---\n{other}");
        let before = update(&mut store, &[("r.yaml", &text(&good))]);
        for _ in 0..2 {
            let after = update(&mut store, &[("r.yaml", &text(&good.replace(from, to)))]);
            assert_eq!(after.configs, before.configs, "{to}: {:?}", said(&after));
            assert_said(
                &after,
                "r.yaml:",
                "VirtualRouter r keeps its last good state",
            );
            assert!(said(&after).iter().any(|s| s.contains(": error: ")), "{to}");
        }
        let after = update(
            &mut store,
            &[("r.yaml", &text(&good.replace("100}", "77}")))],
        );
        assert!(after.configs.iter().any(|c| c.priority == 77), "{to}");
        assert_eq!(said(&after), [""; 0], "{to}");
        let after = update(&mut store, &[("r.yaml", &other)]);
        assert_eq!(names(&after), ["other"], "{to}: a deleted object is gone");
    }
}

#[test]
fn no_edit_takes_anything_from_a_router_that_runs() {
    let mut store = Store::default();
    let running = router("running", 51, "192.0.2.100");
    update(&mut store, &[("z.yaml", &running)]);
    let thief = router("thief", 51, "192.0.2.100");
    let after = update(&mut store, &[("a.yaml", &thief), ("z.yaml", &running)]);
    assert_eq!(names(&after), ["running"]);
    assert_said(
        &after,
        "a.yaml:9:14: error: ",
        "belongs to VirtualRouter running",
    );
    // It was refused, so it has no right from then either, though it is older than the edit.
    let moved = running.replace("virtualRouterId: 51", "virtualRouterId: 52");
    let after = update(&mut store, &[("a.yaml", &thief), ("z.yaml", &moved)]);
    assert_eq!(names(&after), ["running"], "{:?}", said(&after));
    // Once the address is free it runs.
    let gone = moved.replace("192.0.2.100", "192.0.2.101");
    let after = update(&mut store, &[("a.yaml", &thief), ("z.yaml", &gone)]);
    assert_eq!(after.configs.len(), 2, "{:?}", said(&after));
}

#[test]
fn half_of_an_exchange_is_none() {
    let mut store = Store::default();
    let (a, b) = (
        router("a", 51, "192.0.2.100"),
        router("b", 52, "192.0.2.101"),
    );
    let before = update(&mut store, &[("a.yaml", &a), ("b.yaml", &b)]);
    let a = a.replace(": 51", ": 52");
    let bad = b.replace(": 52", ": 999");
    let after = update(&mut store, &[("a.yaml", &a), ("b.yaml", &bad)]);
    assert_eq!(after.configs, before.configs);
    assert_said(
        &after,
        "a.yaml:6:20: error: ",
        "VRID 52 is used by VirtualRouter b",
    );
    assert_said(&after, "b.yaml:6:20: error: ", "999");
    let b = b.replace(": 52", ": 51");
    let after = update(&mut store, &[("a.yaml", &a), ("b.yaml", &b)]);
    assert_eq!(said(&after), [""; 0]);
    let vrids: Vec<_> = after
        .configs
        .iter()
        .map(|c| (c.router.as_str(), c.virtual_router_id))
        .collect();
    assert_eq!(vrids, [("a", 52), ("b", 51)]);
}

#[test]
fn what_a_running_router_needs_is_kept_and_said() {
    let unicast = router("r", 51, "192.0.2.100") + "  transport: {mode: Unicast}\n";
    let mut store = Store::default();
    let all = [("a.yaml", NODE_A), ("b.yaml", NODE_B), ("r.yaml", &unicast)];
    let before = update(&mut store, &all);
    assert_eq!(said(&before), [""; 0]);
    let after = update(&mut store, &[all[0], all[2]]);
    assert_eq!(after.configs, before.configs);
    assert_said(
        &after,
        "r.yaml:13:14: error: spec.nodes.priorities[1].node: ",
        "Node b is gone",
    );
    assert_eq!(
        names(&once(&[all[0], all[2]])),
        [""; 0],
        "from nothing it is refused"
    );

    let mut store = Store::default();
    let before = update(
        &mut store,
        &[("r.yaml", &with_password()), ("s.yaml", SECRET)],
    );
    let after = update(&mut store, &[("r.yaml", &with_password())]);
    assert_eq!(after.configs, before.configs);
    assert_eq!(after.keys, before.keys);
    assert_said(&after, "r.yaml:15:", "vipkeeper-keys/vr[password] is gone");
    let after = update(&mut store, &[]);
    assert_eq!(after, Loaded::default(), "nobody needs it any more");
}

/// Contents of a file that describes router `i`: absent, good in several ways, in the way of others, bad in several
/// ways.
fn any_contents(i: usize) -> impl Strategy<Value = Option<String>> {
    let contents = move |(form, vrid, address): (u8, u8, u8)| {
        let good = router(&format!("r{i}"), vrid, &format!("192.0.2.{address}"));
        match form {
            0 => None,
            1 => Some("a: [".to_owned()),
            2 => Some(good.replace("spec:", "spek:")),
            3 => Some(good.replace("priority: 90", "priority: 900")),
            4 => Some(good.replace("kind: VirtualRouter", "kind: VirtualRoutr")),
            _ => Some(good),
        }
    };
    (0_u8..12, 1_u8..7, 1_u8..7).prop_map(contents)
}

proptest! {
    #[test]
    fn whatever_is_edited_who_is_not_edited_goes_on(
        rounds in prop::collection::vec(
            prop::collection::vec(prop::option::weighted(0.4, 0_u8..3), 4),
            1..6,
        ),
        contents in prop::collection::vec(
            (any_contents(0), any_contents(1), any_contents(2), any_contents(3)),
            3,
        ),
    ) {
        let mut store = Store::default();
        let mut files: [Option<String>; 4] = Default::default();
        let mut before = Loaded::default();
        for round in rounds {
            let mut edited = BTreeSet::new();
            for (i, choice) in round.into_iter().enumerate() {
                if let Some(choice) = choice {
                    let (a, b, c, d) = contents[usize::from(choice)].clone();
                    files[i] = [a, b, c, d][i].clone();
                    edited.insert(format!("r{i}"));
                }
            }
            let named = |(i, text): (usize, &Option<String>)| Some(file(&format!("{i}.yaml"), text.clone()?));
            let present: Vec<File> = files.iter().enumerate().filter_map(named).collect();
            let now = store.update(&present, "a");
            for ran in &before.configs {
                let i: usize = ran.router[1..].parse().unwrap();
                // An edit that was refused takes effect when nothing is in its way any more.
                let pending = before.findings.iter().any(|f| f.file == format!("{i}.yaml"));
                prop_assert!(
                    edited.contains(&ran.router) || pending || now.configs.contains(ran),
                    "{} was not edited: {:?}", ran.router, said(&now)
                );
                // An edit that is bad changes nothing; only a deletion ends it.
                prop_assert!(
                    files[i].is_none() || now.configs.iter().any(|c| c.router == ran.router),
                    "{} is still there: {:?}", ran.router, said(&now)
                );
            }
            let vrids: BTreeSet<_> = now.configs.iter().map(|c| c.virtual_router_id).collect();
            let addresses: BTreeSet<_> = now.configs.iter().map(|c| c.families[0].addresses[0].address).collect();
            prop_assert_eq!(vrids.len(), now.configs.len());
            prop_assert_eq!(addresses.len(), now.configs.len());
            // Reading again changes nothing, though more may be said: who was refused now finds all others running.
            let again = store.update(&present, "a");
            prop_assert_eq!(&again.configs, &now.configs);
            prop_assert_eq!(&store.update(&present, "a"), &again);
            before = now;
        }
    }
}

const SETTINGS: &str = "apiVersion: vipkeeper.io/v1alpha1
kind: Settings
metadata: {name: default}
spec:
  announcements: {framesPerSecond: 50}
  heartbeat:
    secretRef: {name: installation, key: key}
";
const INSTALLATION: &str = "apiVersion: v1
kind: Secret
metadata: {name: installation}
stringData: {key: 0123456789abcdef}
";

#[test]
fn settings_and_their_key_reach_the_agent() {
    let mut store = Store::default();
    let loaded = update(
        &mut store,
        &[("s.yaml", SETTINGS), ("k.yaml", INSTALLATION)],
    );
    assert_eq!(said(&loaded), [""; 0]);
    assert_eq!(loaded.settings.announcements_per_second, 50);
    let key = loaded.settings.heartbeat_key.clone().unwrap();
    assert_eq!(loaded.keys.get(&key), Some(&b"0123456789abcdef"[..]));

    let loaded = update(&mut store, &[("s.yaml", SETTINGS)]);
    assert_said(
        &loaded,
        "s.yaml:7:16: error: spec.heartbeat.secretRef",
        "is gone",
    );
    assert!(loaded.keys.get(&key).is_some());

    let loaded = update(&mut store, &[]);
    assert_eq!(loaded.settings, NodeSettings::default());
}

#[test]
fn bad_settings_keep_the_last_good_ones_and_say_where() {
    let files = |settings: &str| [file("s.yaml", settings), file("k.yaml", INSTALLATION)];
    for (text, place, message) in [
        (
            SETTINGS.replace("50", "5"),
            "s.yaml:5:36: error: spec.announcements.framesPerSecond",
            "10 to 100000",
        ),
        (
            SETTINGS.replace("framesPerSecond", "frames"),
            "s.yaml:5:19: error: spec.announcements.frames",
            "known here are burst, framesPerSecond",
        ),
        (
            SETTINGS.replace("key: key", "key: other"),
            "s.yaml:7:42: error: spec.heartbeat.secretRef.key",
            "has no key `other`",
        ),
    ] {
        let mut store = Store::default();
        let good = store.update(&files(SETTINGS), "a").settings;
        let loaded = store.update(&files(&text), "a");
        assert_said(&loaded, place, message);
        assert_said(
            &loaded,
            "s.yaml",
            "Settings default keeps its last good state",
        );
        assert_eq!(loaded.settings, good);
    }
    let other = SETTINGS.replace("name: default", "name: mine");
    let loaded = Store::default().update(&files(&other), "a");
    assert_said(
        &loaded,
        "s.yaml:3:18: error: metadata.name",
        "its name is `default`",
    );
    let short = INSTALLATION.replace("0123456789abcdef", "short");
    let loaded = update(
        &mut Store::default(),
        &[("s.yaml", SETTINGS), ("k.yaml", &short)],
    );
    assert_said(
        &loaded,
        "s.yaml:7:42: warning: spec.heartbeat.secretRef.key",
        "5 bytes",
    );
}

#[test]
fn for_a_cluster_neither_nodes_nor_secrets_nor_other_kinds_are_missed() {
    let listed = router("r", 51, "192.0.2.101").replace("  virtualRouterId: 51\n", "");
    let secret = "  version: 2\n  authentication: {type: Password, password: {secretRef: {name: s, key: k}}}\n";
    let other = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
    let text = format!("{listed}{secret}{other}");
    assert_eq!(review(&[file("m.yaml", text.as_str())]), []);
    assert_eq!(said(&once(&[("m.yaml", &text)])).len(), 2);
}

#[test]
fn for_a_cluster_the_rules_between_objects_hold_and_have_their_places() {
    let one = router("one", 51, "192.0.2.101");
    let two = router("two", 51, "192.0.2.101");
    let found = review(&[file("1.yaml", one.as_str()), file("2.yaml", two.as_str())]);
    let said: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(
        said.iter()
            .any(|s| s.starts_with("2.yaml:9:14: error: spec.addresses[0].address: ")),
        "{said:?}"
    );
    assert!(said.iter().all(|s| s.starts_with("2.yaml:")), "{said:?}");
}

#[test]
fn nodes_among_the_files_are_looked_at() {
    let node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: a}\n";
    let text = format!("{}{node}", router("r", 51, "192.0.2.101"));
    let found = review(&[file("m.yaml", text)]);
    let messages: Vec<&str> = found.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        messages,
        ["there is no Node b: it takes no part until it joins"]
    );
}
