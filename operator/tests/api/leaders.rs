//! Several operators: one writes, another takes over, and what a deposed one still writes is refused or undone.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use vipkeeper_operator::apply::Writer;
use vipkeeper_operator::change::{Change, Kind, Now, Owner, Write};
use vipkeeper_operator::cluster::Cluster;
use vipkeeper_operator::metrics::Metrics;
use vipkeeper_operator::name;

use crate::server::Server;
use crate::{contender, until};

const ADDRESS: &str = "/config/families/0/addresses/0/address";

fn cluster() -> Server {
    let server = Server::default();
    for node in ["a", "b"] {
        let labels = json!({"labels": {"kubernetes.io/os": "linux"}});
        server.apply("nodes", node, json!({ "metadata": labels }));
    }
    server
}

fn router(server: &Server, address: &str) {
    let spec = json!({"addresses": [{"address": address}]});
    let kind =
        json!({"apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter", "spec": spec});
    server.apply("virtualrouters", "web", kind);
}

fn serves(server: &Server, address: &str) -> bool {
    let configs = server.configs("web");
    let right = |c: &Value| c.pointer(ADDRESS) == Some(&json!(address));
    configs.len() == 2 && configs.values().all(right)
}

#[tokio::test(start_paused = true)]
async fn the_second_takes_over_when_the_first_dies_and_goes_on_with_what_it_finds() {
    let server = cluster();
    let first = contender(&server, "first");
    sleep(Duration::from_secs(1)).await;
    let second = contender(&server, "second");
    router(&server, "192.0.2.1");
    until("the first writes", || serves(&server, "192.0.2.1")).await;
    sleep(Duration::from_secs(60)).await;
    let writes = server.state().requests.len();
    first.abort();
    let died = Instant::now();
    router(&server, "192.0.2.2");
    until("the second writes", || serves(&server, "192.0.2.2")).await;
    assert!(
        died.elapsed() >= Duration::from_secs(13),
        "a Lease holds: {:?}",
        died.elapsed()
    );
    assert!(
        died.elapsed() <= Duration::from_secs(20),
        "{:?}",
        died.elapsed()
    );
    let requests = server.state().requests.split_off(writes);
    let creations = requests.iter().filter(|(_, _, code)| *code == 201);
    assert_eq!(creations.count(), 0, "nothing is made anew: {requests:?}");
    second.abort();
}

/// What an operator knows, and decides, that is not the leader any more.
struct Deposed {
    cluster: Cluster,
    writer: Writer,
}

impl Deposed {
    fn new(server: &Server) -> Self {
        let metrics = Metrics::new().unwrap();
        let mut told = server.watch();
        let mut cluster = Cluster::default();
        while let Ok(change) = told.try_recv() {
            cluster.take(change);
        }
        let writer = Writer::new(server.client(), metrics);
        Self { cluster, writer }
    }

    fn decide(&mut self) -> Vec<(Owner, Vec<Write>)> {
        let now = Now {
            date: serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap(),
            clock: Duration::ZERO,
        };
        self.cluster.writes(&now)
    }

    /// Writes what was decided; how many were taken.
    async fn write(&mut self, decided: Vec<(Owner, Vec<Write>)>) -> usize {
        let count: usize = decided.iter().map(|(_, writes)| writes.len()).sum();
        for (owner, writes) in decided {
            self.writer.plan(&owner, writes);
        }
        self.writer.start();
        let mut taken = 0;
        for _ in 0..count {
            taken += usize::from(self.writer.next().await.change.is_some());
        }
        taken
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_deposed_leader_still_writes_is_refused() {
    let server = cluster();
    let leader = contender(&server, "leader");
    router(&server, "192.0.2.1");
    until("the leader writes", || serves(&server, "192.0.2.1")).await;
    sleep(Duration::from_secs(10)).await;
    router(&server, "192.0.2.2");
    // It decides upon that edit, and sleeps.
    let mut deposed = Deposed::new(&server);
    let decided = deposed.decide();
    assert!(
        decided.iter().map(|(_, w)| w.len()).sum::<usize>() >= 3,
        "{decided:?}"
    );
    until("the leader writes", || serves(&server, "192.0.2.2")).await;
    router(&server, "192.0.2.3");
    until("the leader writes", || serves(&server, "192.0.2.3")).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(deposed.write(decided).await, 0, "every write is refused");
    assert!(serves(&server, "192.0.2.3"));
    leader.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_deposed_leader_makes_that_should_not_be_is_removed() {
    let server = cluster();
    router(&server, "192.0.2.1");
    let mut deposed = Deposed::new(&server);
    let decided = deposed.decide();
    let leader = contender(&server, "leader");
    until("the leader writes", || serves(&server, "192.0.2.1")).await;
    // The router goes, and its NodeConfigs with it.
    let gone = Change::Gone(Kind::Router, "web".to_owned());
    server.forget("virtualrouters", "web", gone);
    until("all are gone", || server.configs("web").is_empty()).await;
    deposed.write(decided).await;
    let made = server.count(&name::of_router("web", "a"));
    assert!(made >= 3, "made, removed, made again: {made}");
    until("all are gone again", || server.configs("web").is_empty()).await;
    leader.abort();
}
