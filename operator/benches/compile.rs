//! What compiling costs: 1,000 routers on 100 nodes with 5 candidates each, from nothing, and one edit after another;
//! then 10,000 VirtualServers on one router with 3 candidates.
//!
//! `make bench-operator` runs it; `--write FILE` writes the page.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has nothing better to do"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use vipkeeper_compiler::{Configurations, Index, ReportedInterface, Setting};
use vipkeeper_crds::{AttachFrom, NodeConfig, VirtualRouter, VirtualServer};
use vipkeeper_operator::change::{Change, Kind, Now, Write};
use vipkeeper_operator::cluster::Cluster;
use vipkeeper_operator::name;

const ROUTERS: usize = 1_000;
const NODES: usize = 100;
const CANDIDATES: usize = 5;
/// Links that every node is on: a link has room for 255 routers.
const LINKS: usize = 8;
/// VirtualServers of one router, its candidates, and the real servers of each.
const SERVERS: u32 = 10_000;
const SERVING: usize = 3;
const REAL_SERVERS: u8 = 5;
/// Edits of each kind.
const EDITS: usize = 200;
/// From nothing so often.
const COMPILES: usize = 5;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let write = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => None,
        (Some("--write"), Some(path)) => Some(path),
        _ => panic!("--write FILE, or nothing"),
    };
    let page = page();
    print!("{page}");
    if let Some(path) = write {
        std::fs::write(path, page).unwrap();
    }
}

fn page() -> String {
    let routers: Vec<VirtualRouter> = (0..ROUTERS).map(router).collect();
    let compile: Vec<Duration> = (0..COMPILES).map(|_| compile(&routers)).collect();
    let mut world = World::default();
    let first = world.begin(&routers);
    let edits = world.edits();
    let mut serving = World::default();
    let first_of_servers = serving.begin_to_serve();
    let mut server_edits = vec![render_servers()];
    server_edits.extend(serving.server_edits());
    let mut text = String::new();
    let best = |all: &[Duration]| *all.iter().min().unwrap();
    let worst = |all: &[Duration]| *all.iter().max().unwrap();
    writeln!(text, "# What compiling costs\n").unwrap();
    writeln!(text, "{ROUTERS} VirtualRouters on {NODES} nodes, {CANDIDATES} candidates each, so {} configurations, on {LINKS} links with", ROUTERS * CANDIDATES).unwrap();
    writeln!(text, "inventories of {LINKS} interfaces a node; placement, VRIDs and priorities are the compiler's. One thread, optimised.").unwrap();
    writeln!(text, "Everything is in memory: what the API server takes for a write is not in it. Times are of the processor, which others that").unwrap();
    writeln!(
        text,
        "compute meanwhile do not lengthen; `elapsed` is by the clock.\n"
    )
    .unwrap();
    writeln!(
        text,
        "```\nmake bench-operator ARGS=\"--write docs/benchmarks-operator.md\"\n```\n"
    )
    .unwrap();
    writeln!(
        text,
        "| processor | load average |\n|---|--:|\n| {} | {} |\n",
        processor(),
        load()
    )
    .unwrap();
    writeln!(
        text,
        "| From nothing | best | worst of {COMPILES} |\n|---|--:|--:|"
    )
    .unwrap();
    writeln!(
        text,
        "| {} configurations: rules, VRIDs, placement, rendering | {} | {} |",
        ROUTERS * CANDIDATES,
        millis(best(&compile)),
        millis(worst(&compile))
    )
    .unwrap();
    writeln!(
        text,
        "| the operator's first look: the same, and every write | {} | |\n",
        millis(first)
    )
    .unwrap();
    writeln!(
        text,
        "Goal: at most 1 s: {}.\n",
        met(worst(&compile) <= Duration::from_secs(1))
    )
    .unwrap();
    text.push_str(&table(&edits));
    let mut router_edits = edits[0].2.clone();
    router_edits.sort_unstable();
    let p99 = router_edits[router_edits.len() * 99 / 100];
    writeln!(
        text,
        "\nGoal: an edit of a router at most 5 ms at p99: {}.",
        met(p99 <= Duration::from_millis(5))
    )
    .unwrap();
    writeln!(text, "\n## {SERVERS} VirtualServers\n\nOn one router with {SERVING} candidates, {REAL_SERVERS} real servers each; the first look takes {}.\n", millis(first_of_servers)).unwrap();
    text.push_str(&table(&server_edits));
    let mut rendered = server_edits[0].2.clone();
    rendered.sort_unstable();
    let p99 = rendered[rendered.len() * 99 / 100];
    writeln!(
        text,
        "\nGoal: an edit of a VirtualServer is rendered within 5 ms at p99, and is a write for each candidate: {}.",
        met(p99 <= Duration::from_millis(5) && server_edits[1].1 <= SERVING + 1)
    )
    .unwrap();
    text.push_str("One write more is the status of the VirtualServer itself; one that goes or comes may split a shard or join two,\nand then every shard is of a new set.\n");
    text
}

/// What each kind of edit costs.
fn table(edits: &[Edits]) -> String {
    let mut text = String::new();
    writeln!(text, "| One edit, {EDITS} of each: the change taken in, to the list of writes | writes | median | p99 | maximum | elapsed, median |\n|---|--:|--:|--:|--:|--:|").unwrap();
    for (what, writes, times, elapsed) in edits {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let mut elapsed = elapsed.clone();
        elapsed.sort_unstable();
        let elapsed = millis(elapsed[elapsed.len() / 2]);
        let at = |share: usize| millis(sorted[(sorted.len() * share / 100).min(sorted.len() - 1)]);
        writeln!(
            text,
            "| {what} | {writes} | {} | {} | {} | {elapsed} |",
            at(50),
            at(99),
            at(100)
        )
        .unwrap();
    }
    text
}

/// Objects to configurations, from nothing.
fn compile(routers: &[VirtualRouter]) -> Duration {
    let begun = processor_time();
    let mut index = Index::new(Setting::Cluster);
    for n in 0..NODES {
        index.set_node(&serde_json::from_value(node(n, false)).unwrap());
        let interfaces = (0..LINKS).map(|link| ReportedInterface {
            name: format!("eth{link}"),
            prefixes: vec![(format!("10.{link}.0.{}", n + 1).parse().unwrap(), 24)],
            default_route: [].into(),
        });
        index.set_interfaces(&node_name(n), Some(interfaces.collect()));
    }
    for (seniority, router) in (0..).zip(routers) {
        index.set_router(router, seniority);
    }
    let mut configurations = Configurations::default();
    configurations.refresh(&mut index);
    assert_eq!(configurations.configs().len(), ROUTERS * CANDIDATES);
    assert_eq!(configurations.allocations().findings, []);
    processor_time() - begun
}

/// Rendering alone: rules, conflicts and shards, but nothing of what is written.
fn render_servers() -> Edits {
    let mut index = Index::new(Setting::Cluster);
    for n in 0..SERVING {
        index.set_node(&serde_json::from_value(node(n, false)).unwrap());
    }
    let mut router = router(0);
    router.spec.attach.namespaces.from = AttachFrom::All;
    index.set_router(&router, 0);
    for n in 0..SERVERS {
        index.set_server(&server(n, 1), 0);
    }
    let mut configurations = Configurations::default();
    configurations.refresh(&mut index);
    let mut elapsed = Vec::new();
    let times = (0..EDITS).map(|edit| {
        let number = u32::try_from(edit).unwrap() * 37 % SERVERS;
        let server = server(number, 2 + i64::try_from(edit).unwrap());
        let (begun, started) = (processor_time(), Instant::now());
        index.set_server(&server, 0);
        let changed = configurations.refresh(&mut index);
        let took = processor_time() - begun;
        elapsed.push(started.elapsed());
        assert_eq!(changed.configs.len(), SERVING);
        took
    });
    let times = times.collect();
    ("a real server's weight, rendered alone", 0, times, elapsed)
}

/// What was edited, the most writes of one, and the times of the processor and of the clock.
type Edits = (&'static str, usize, Vec<Duration>, Vec<Duration>);

/// What this thread computed so far.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// A cluster with an API server that takes every write.
#[derive(Default)]
struct World {
    cluster: Cluster,
    routers: BTreeMap<String, VirtualRouter>,
    servers: BTreeMap<String, VirtualServer>,
    configs: BTreeMap<String, NodeConfig>,
    version: u64,
    clock: u64,
}

impl World {
    /// All objects; how long the first look took.
    fn begin(&mut self, routers: &[VirtualRouter]) -> Duration {
        for n in 0..NODES {
            self.take_node(n, false);
            let config = inventory(n);
            self.configs
                .insert(name::of_node(&node_name(n)), config.clone());
            self.cluster.take(Change::Config(Box::new(config)));
        }
        for router in routers {
            self.take_router(router.clone());
        }
        self.first_look()
    }

    /// The operator has listed everything; how long its first look took.
    fn first_look(&mut self) -> Duration {
        for kind in Kind::ALL {
            self.cluster.take(Change::Listed(kind));
        }
        let begun = processor_time();
        let writes = self.look();
        let first = processor_time() - begun;
        self.obey(writes);
        self.settle();
        first
    }

    fn edits(&mut self) -> Vec<Edits> {
        let mut all = Vec::new();
        let name = |edit: usize| format!("router-{:04}", edit * 37 % ROUTERS);
        all.push(self.each("a router's interval", |world, edit| {
            let mut router = world.routers[&name(edit)].clone();
            router.metadata.generation = router.metadata.generation.map(|g| g + 1);
            let interval = format!("{}ms", 500 + 10 * (edit % 7));
            router.spec.advertisement_interval = Some(interval.parse().unwrap());
            world.versioned(&mut router.metadata.resource_version);
            Change::Router(Box::new(router))
        }));
        all.push(self.each("an agent becomes Active", |world, edit| {
            let configs = world.configs.values();
            let mut of_router = configs.filter(|c| c.spec.router == Some(name(edit)));
            let mut config = of_router.next().unwrap().clone();
            let generation = config.spec.config.as_ref().unwrap().generation;
            config.status = Some(serde_json::from_value(active(generation, edit)).unwrap());
            world.versioned(&mut config.metadata.resource_version);
            Change::Config(Box::new(config))
        }));
        all.push(self.each("a Node's heartbeat", |_, edit| {
            let node = node(edit % NODES, false);
            Change::Node(Box::new(serde_json::from_value(node).unwrap()))
        }));
        all.push(self.each("a Node is cordoned or let in again", |_, edit| {
            let node = node(edit / 2 % NODES, edit % 2 == 0);
            Change::Node(Box::new(serde_json::from_value(node).unwrap()))
        }));
        all
    }

    /// All objects of the second part; how long the first look took.
    fn begin_to_serve(&mut self) -> Duration {
        for n in 0..SERVING {
            self.take_node(n, false);
            self.cluster.take(Change::Config(Box::new(inventory(n))));
        }
        let mut router = router(0);
        router.spec.attach.namespaces.from = AttachFrom::All;
        self.take_router(router);
        for n in 0..SERVERS {
            self.take_server(server(n, 1));
        }
        self.first_look()
    }

    fn server_edits(&mut self) -> Vec<Edits> {
        let mut all = Vec::new();
        let number = |edit: usize| u32::try_from(edit).unwrap() * 37 % SERVERS;
        all.push(self.each("a real server's weight", |world, edit| {
            let generation = 2 + i64::try_from(edit).unwrap();
            let mut server = server(number(edit), generation);
            server.status = world.servers[&server.name_any()].status.clone();
            world.versioned(&mut server.metadata.resource_version);
            Change::Server(Box::new(server))
        }));
        all.push(self.each("an agent reports all of a shard", |world, edit| {
            let shards = world.configs.values().filter(|c| c.spec.shard.is_some());
            let shards: Vec<&NodeConfig> = shards.collect();
            let mut config = shards[edit % shards.len()].clone();
            let healthy = i64::try_from(edit % 5).unwrap();
            let servers = config.spec.shard.iter().flat_map(|s| &s.servers);
            let servers = servers.map(|s| {
                json!({"namespace": s.name.namespace, "name": s.name.name, "generation": s.generation,
                    "programmed": true, "quorum": true, "healthy": healthy, "total": 5})
            });
            let status = json!({"servers": servers.collect::<Vec<_>>()});
            config.status = Some(serde_json::from_value(status).unwrap());
            world.versioned(&mut config.metadata.resource_version);
            Change::Config(Box::new(config))
        }));
        all.push(
            self.each("a VirtualServer goes, or comes back", |world, edit| {
                let mut server = server(number(edit / 2), 1_000);
                if edit % 2 == 0 {
                    return Change::Gone(Kind::Server, format!("shop/{}", server.name_any()));
                }
                server.metadata.uid = Some(format!("uid-again-{edit}"));
                world.versioned(&mut server.metadata.resource_version);
                Change::Server(Box::new(server))
            }),
        );
        all
    }

    fn each(&mut self, what: &'static str, edit: impl Fn(&mut Self, usize) -> Change) -> Edits {
        let mut most = 0;
        let mut elapsed = Vec::new();
        let times = (0..EDITS).map(|n| {
            let change = edit(self, n);
            self.remember(&change);
            let (begun, started) = (processor_time(), Instant::now());
            self.cluster.take(change);
            let writes = self.look();
            let took = processor_time() - begun;
            elapsed.push(started.elapsed());
            most = most.max(writes.len());
            self.obey(writes);
            self.settle();
            took
        });
        let times = times.collect();
        (what, most, times, elapsed)
    }

    fn look(&mut self) -> Vec<Write> {
        self.clock += 1;
        let seconds = i64::try_from(self.clock).unwrap();
        let now = Now {
            date: Time(Timestamp::from_second(1_800_000_000 + seconds).unwrap()),
            clock: Duration::from_secs(self.clock),
        };
        let writes = self.cluster.writes(&now).into_iter();
        writes.flat_map(|(_, writes)| writes).collect()
    }

    fn settle(&mut self) {
        for _ in 0..10 {
            let writes = self.look();
            if writes.is_empty() {
                return;
            }
            self.obey(writes);
        }
        panic!("it is never content");
    }

    fn obey(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Config(mut config) => {
                    let name = config.metadata.name.clone().unwrap();
                    config.metadata.uid = Some(format!("uid-{name}-{}", self.version));
                    self.versioned(&mut config.metadata.resource_version);
                    config.status = self.configs.get(&name).and_then(|c| c.status.clone());
                    self.configs.insert(name, (*config).clone());
                    self.cluster.take(Change::Config(config));
                }
                Write::Remove { name, .. } => {
                    self.configs.remove(&name);
                    self.cluster.take(Change::Gone(Kind::Config, name));
                }
                Write::Status { router, status, .. } => {
                    let mut router = self.routers[&router].clone();
                    router.status = Some(*status);
                    self.take_router(router);
                }
                Write::ServerStatus { server, status, .. } => {
                    let mut server = self.servers[&server.name].clone();
                    server.status = Some(*status);
                    self.take_server(server);
                }
                Write::Annotations {
                    router,
                    annotations,
                    ..
                } => {
                    let mut router = self.routers[&router].clone();
                    router.metadata.annotations = Some(annotations);
                    self.take_router(router);
                }
            }
        }
    }

    fn remember(&mut self, change: &Change) {
        match change {
            Change::Router(router) => {
                let name = router.metadata.name.clone().unwrap();
                self.routers.insert(name, (**router).clone());
            }
            Change::Config(config) => {
                let name = config.metadata.name.clone().unwrap();
                self.configs.insert(name, (**config).clone());
            }
            Change::Server(server) => {
                self.servers.insert(server.name_any(), (**server).clone());
            }
            Change::Node(_)
            | Change::Settings(_)
            | Change::Namespace(_)
            | Change::ConfigMap(..)
            | Change::Gone(..)
            | Change::Removed(..)
            | Change::Listing(_)
            | Change::Listed(_) => {}
        }
    }

    fn take_router(&mut self, mut router: VirtualRouter) {
        self.versioned(&mut router.metadata.resource_version);
        let name = router.metadata.name.clone().unwrap();
        self.routers.insert(name, router.clone());
        self.cluster.take(Change::Router(Box::new(router)));
    }

    fn take_server(&mut self, mut server: VirtualServer) {
        self.versioned(&mut server.metadata.resource_version);
        self.servers.insert(server.name_any(), server.clone());
        self.cluster.take(Change::Server(Box::new(server)));
    }

    fn take_node(&mut self, n: usize, cordoned: bool) {
        let node = serde_json::from_value(node(n, cordoned)).unwrap();
        self.cluster.take(Change::Node(Box::new(node)));
    }

    fn versioned(&mut self, version: &mut Option<String>) {
        self.version += 1;
        *version = Some(self.version.to_string());
    }
}

fn node_name(n: usize) -> String {
    format!("node-{n:03}")
}

fn router(n: usize) -> VirtualRouter {
    let name = format!("router-{n:04}");
    let (link, host) = (n % LINKS, n / LINKS);
    serde_json::from_value(json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"addresses": [{"address": format!("10.{link}.0.{}", 120 + host)}]},
    }))
    .unwrap()
}

/// A VirtualServer on a port of its own.
fn server(n: u32, generation: i64) -> VirtualServer {
    let name = format!("server-{n:05}");
    let real = (1..=REAL_SERVERS)
        .map(|host| json!({"address": format!("10.9.0.{host}"), "weight": generation}));
    serde_json::from_value(json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualServer",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "generation": generation,
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "routerRef": {"name": "router-0000"}, "ports": [{"port": 1 + n}],
            "realServers": real.collect::<Vec<_>>(),
            "probes": [{"name": "web", "type": "TCP"}],
        },
    }))
    .unwrap()
}

fn node(n: usize, cordoned: bool) -> Value {
    json!({
        "metadata": {"name": node_name(n), "uid": format!("uid-{n}"), "labels": {"kubernetes.io/os": "linux"}},
        "spec": {"unschedulable": cordoned},
        "status": {
            "addresses": [{"type": "InternalIP", "address": format!("172.16.0.{}", n + 1)}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        },
    })
}

fn inventory(n: usize) -> NodeConfig {
    let interfaces = (0..LINKS).map(|link| {
        json!({"name": format!("eth{link}"), "mtu": 1500, "prefixes": [format!("10.{link}.0.{}/24", n + 1)]})
    });
    let interfaces: Vec<Value> = interfaces.collect();
    serde_json::from_value(json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfig",
        "metadata": {"name": name::of_node(&node_name(n)), "uid": format!("uid-config-{n}")},
        "spec": {"nodeName": node_name(n)},
        "status": {"inventory": {"interfaces": interfaces}},
    }))
    .unwrap()
}

fn active(generation: i64, transitions: usize) -> Value {
    json!({
        "acceptance": {"generation": generation, "accepted": true, "reason": "Valid"},
        "families": [{"family": "IPv4", "state": "Active", "effectivePriority": 254, "interface": "eth0",
            "programmed": true, "transitions": transitions}],
    })
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

const fn met(is_so: bool) -> &'static str {
    if is_so { "met" } else { "MISSED" }
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = text.lines();
    let model = lines.find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |m| m.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cores} cores")
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
