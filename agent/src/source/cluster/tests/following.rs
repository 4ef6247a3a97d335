//! The follower and an API server that does what API servers do on bad days: nothing in force changes that should not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vipkeeper_crds::NodeConfigSpec;

use super::super::Roster;
use super::super::cache::Cache;
use super::super::follower::Follower;
use super::super::server::Server;
use super::world::World;
use super::{main_of, node_config, shard_of};
use crate::scratch::Directory;
use crate::source::Desired;

const SOON: Duration = Duration::from_secs(20);

/// A follower of `world` that keeps its cache in `directory`.
pub(super) struct Followed {
    pub(super) desired: watch::Receiver<Arc<Desired>>,
    roster: watch::Receiver<Arc<Roster>>,
    in_charge: watch::Sender<bool>,
    pub(super) task: JoinHandle<anyhow::Result<()>>,
}

impl Followed {
    pub(super) fn start(client: &kube::Client, directory: &Directory) -> Self {
        let server = Server::new(client.clone(), "keys".to_owned());
        let cache = Cache::new(directory.path(), "a");
        let (in_charge, may_write) = watch::channel(true);
        let (follower, desired, roster) = Follower::new("a".to_owned(), server, cache, may_write);
        Self {
            desired,
            roster,
            in_charge,
            task: tokio::spawn(follower.run()),
        }
    }

    fn routers(&self) -> Vec<String> {
        let desired = self.desired.borrow();
        desired.configs.iter().map(|c| c.router.clone()).collect()
    }

    pub(super) async fn until(&mut self, what: &str, seen: impl Fn(&Desired) -> bool) {
        let waiting = self.desired.wait_for(|desired| seen(desired));
        let found = timeout(SOON, waiting).await.is_ok();
        assert!(found, "{what} did not happen: {:?}", self.routers());
    }

    async fn until_routers(&mut self, wanted: &[&str]) {
        let what = format!("{wanted:?}");
        self.until(&what, |desired| {
            let routers = desired.configs.iter().map(|c| c.router.as_str());
            routers.eq(wanted.iter().copied())
        })
        .await;
    }

    /// Ends it as a killed process ends, once nothing is being written any more.
    async fn kill(self, directory: &Directory) {
        let in_force = Arc::clone(&self.desired.borrow().configs);
        eventually("the cache", || cached(directory) == *in_force).await;
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        drop(self.in_charge);
    }
}

pub(super) async fn eventually(what: &str, seen: impl Fn() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !seen() {
            look.tick().await;
        }
    };
    assert!(
        timeout(SOON, waiting).await.is_ok(),
        "{what} did not happen"
    );
}

fn plain(router: &str) -> serde_json::Value {
    node_config(router, |_| {})
}

/// What routers do, in the cache.
fn cached(directory: &Directory) -> Vec<NodeConfigSpec> {
    let cache = Cache::new(directory.path(), "a");
    let objects = cache.read().map_or_else(Vec::new, |saved| saved.objects);
    let configs = objects.into_iter().filter_map(|object| object.config);
    configs.map(Arc::unwrap_or_clone).collect()
}

#[tokio::test]
async fn what_the_api_server_has_and_changes_is_in_force() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    world.apply(plain("web"));
    let mut followed = Followed::start(&client, &directory);
    followed.until_routers(&["web"]).await;
    world.apply(plain("db"));
    followed.until_routers(&["web", "db"]).await;
    world.delete("web");
    followed.until_routers(&["db"]).await;
    let names = followed
        .roster
        .borrow()
        .iter()
        .map(|a| a.name.clone())
        .collect::<Vec<_>>();
    assert_eq!(names, ["db"]);
    followed.kill(&directory).await;
}

#[tokio::test]
async fn without_the_api_server_the_cache_is_served_and_then_followed_again() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    world.apply(plain("web"));
    let mut first = Followed::start(&client, &directory);
    first.until_routers(&["web"]).await;
    first.kill(&directory).await;
    world.go_away(true);

    let mut second = Followed::start(&client, &directory);
    assert_eq!(second.routers(), ["web"], "it is there at once");
    let asked = world.questions();
    eventually("an attempt", || world.questions() > asked).await;
    second
        .until("a finding", |desired| !desired.findings.is_empty())
        .await;
    assert_eq!(second.routers(), ["web"]);
    world.apply(plain("db"));
    world.go_away(false);
    second.until_routers(&["web", "db"]).await;
    second
        .until("peace", |desired| desired.findings.is_empty())
        .await;
    second.kill(&directory).await;
}

#[tokio::test]
async fn without_cache_and_api_server_nothing_is_verified() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    world.apply(plain("web"));
    world.go_away(true);
    let mut followed = Followed::start(&client, &directory);
    eventually("an attempt", || world.questions() > 0).await;
    assert_eq!(followed.desired.borrow().generation, 0);
    world.go_away(false);
    followed.until_routers(&["web"]).await;
    assert_eq!(followed.desired.borrow().generation, 1);
    followed.kill(&directory).await;
}

#[tokio::test]
async fn another_clusters_api_server_changes_nothing() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    world.apply(plain("web"));
    let mut followed = Followed::start(&client, &directory);
    followed.until_routers(&["web"]).await;
    world.become_another("uid-of-another");
    world.have_only(&[plain("stranger")]);
    world.compact();
    followed
        .until("a finding", |desired| !desired.findings.is_empty())
        .await;
    let finding = followed.desired.borrow().findings[0].to_string();
    assert!(finding.contains("uid-of-another"), "{finding}");
    assert_eq!(followed.routers(), ["web"]);
    followed.kill(&directory).await;
}

#[tokio::test]
async fn a_follower_that_is_too_far_behind_lists_anew() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    world.apply(plain("web"));
    let mut followed = Followed::start(&client, &directory);
    followed.until_routers(&["web"]).await;
    let lists = world.lists();
    world.compact();
    world.apply(plain("db"));
    followed.until_routers(&["web", "db"]).await;
    assert!(world.lists() > lists);
    followed.kill(&directory).await;
}

#[tokio::test]
async fn all_gone_in_one_list_is_kept() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    world.apply(plain("web"));
    let mut followed = Followed::start(&client, &directory);
    followed.until_routers(&["web"]).await;
    world.have_only(&[]);
    world.compact();
    followed
        .until("a finding", |desired| !desired.findings.is_empty())
        .await;
    assert_eq!(followed.routers(), ["web"]);
    world.apply(plain("web"));
    followed
        .until("peace", |desired| desired.findings.is_empty())
        .await;
    followed.kill(&directory).await;
}

#[tokio::test]
async fn objects_that_go_with_their_definition_are_kept() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    world.apply(plain("web"));
    world.apply(plain("db"));
    let mut followed = Followed::start(&client, &directory);
    followed.until_routers(&["db", "web"]).await;
    world.define(false);
    world.delete("web");
    world.delete("db");
    followed
        .until("findings", |desired| desired.findings.len() == 2)
        .await;
    assert_eq!(followed.routers(), ["db", "web"]);
    world.define(true);
    world.apply(plain("db"));
    world.apply(plain("web"));
    world.compact();
    followed
        .until("peace", |desired| desired.findings.is_empty())
        .await;
    assert_eq!(followed.routers(), ["db", "web"]);
    followed.kill(&directory).await;
}

#[tokio::test]
async fn a_router_runs_when_its_key_is_known() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    world.apply(node_config("web", |spec| {
        spec["config"]["version"] = "V2".into();
        spec["config"]["authentication"] = json!({"type": "Password", "secret": {
            "namespace": "vipkeeper-keys", "name": "vr", "key": "password"}});
    }));
    world.apply(plain("db"));
    let mut followed = Followed::start(&client, &directory);
    followed.until_routers(&["db"]).await;
    // "secret"
    world.keep_secret("vr", json!({"password": "c2VjcmV0"}));
    followed.until_routers(&["db", "web"]).await;
    let desired = Arc::clone(&followed.desired.borrow());
    let key = desired.keys.names().next().unwrap();
    assert_eq!(desired.keys.get(key), Some(&b"secret"[..]));
    followed.kill(&directory).await;
}

#[tokio::test]
async fn after_a_restore_from_a_backup_what_the_backup_has_is_followed() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    for router in ["a", "b", "c", "d"] {
        world.apply(plain(router));
    }
    let mut followed = Followed::start(&client, &directory);
    followed.until_routers(&["a", "b", "c", "d"]).await;
    world.go_away(true);
    followed
        .until("a finding", |desired| !desired.findings.is_empty())
        .await;
    world.restore(&[plain("a"), plain("b"), plain("c")]);
    world.go_away(false);
    followed.until_routers(&["a", "b", "c"]).await;
    world.apply(plain("new"));
    followed.until_routers(&["a", "b", "c", "new"]).await;
    followed.kill(&directory).await;
}

/// The servers that run, and of which generation.
fn served(desired: &Desired) -> Vec<(&str, i64)> {
    let servers = desired.configs.iter().flat_map(|config| &config.servers);
    servers
        .map(|s| (s.name.name.as_str(), s.generation))
        .collect()
}

#[tokio::test]
async fn servers_in_shards_are_in_force_and_each_shard_has_its_own_to_report() {
    let (world, client) = World::start().await;
    let directory = Directory::new();
    let all = [
        main_of(1, &["0", "1"]),
        shard_of("web-0", 1, "0", [("b", 1)]),
        shard_of("web-1", 1, "1", [("a", 1)]),
    ];
    world.have_only(&all);
    let mut followed = Followed::start(&client, &directory);
    followed
        .until("a whole set", |d| served(d) == [("a", 1), ("b", 1)])
        .await;
    world.apply(shard_of("web-0", 1, "0", [("c", 1)]));
    followed
        .until("an edit", |d| served(d) == [("a", 1), ("c", 1)])
        .await;
    let has = |followed: &Followed| -> Vec<(String, usize)> {
        let roster = Arc::clone(&followed.roster.borrow());
        let roster = roster.iter();
        roster.map(|a| (a.name.clone(), a.servers.len())).collect()
    };
    let each = [("web", 0), ("web-0", 1), ("web-1", 1)];
    let each = each.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(has(&followed), each);

    // One is lost, by a list, and the other as it was at first.
    world.have_only(&all[..2]);
    world.compact();
    followed
        .until("a finding", |d| {
            let mut findings = d.findings.iter();
            findings.any(|f| {
                f.message
                    .starts_with("shard 1 of set 0000000000000001 is missing")
            })
        })
        .await;
    let desired = Arc::clone(&followed.desired.borrow());
    assert_eq!(served(&desired), [("a", 1), ("b", 1), ("c", 1)]);
    followed.kill(&directory).await;
    world.go_away(true);
    let after = Followed::start(&client, &directory);
    assert_eq!(after.desired.borrow().configs, desired.configs);
    after.kill(&directory).await;
}
