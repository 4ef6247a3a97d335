//! The API server's streams as changes of the cluster.
//!
//! One task a kind. A list that is told anew says what has gone since the one before. What the API server refuses or
//! loses is tried again with growing pauses; nothing is forgotten meanwhile.

use std::collections::BTreeSet;
use std::fmt::Debug;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::warn;
use vipkeeper_crds::{NodeConfig, Settings, VirtualRouter};

use crate::cluster::{Change, Kind};

/// Changes that wait to be taken in; a stream waits when they are so many.
const WAITING: usize = 1_024;

/// Begins to watch; the tasks end when the set is dropped.
#[must_use]
pub fn start(client: &Client) -> (mpsc::Receiver<Change>, JoinSet<()>) {
    let (changes, receiver) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    let all = |client: &Client| client.clone();
    tasks.spawn(follow::<VirtualRouter>(
        Api::all(all(client)),
        Kind::Router,
        |o| Change::Router(Box::new(o)),
        changes.clone(),
    ));
    tasks.spawn(follow::<Node>(
        Api::all(all(client)),
        Kind::Node,
        |o| Change::Node(Box::new(o)),
        changes.clone(),
    ));
    tasks.spawn(follow::<NodeConfig>(
        Api::all(all(client)),
        Kind::Config,
        |o| Change::Config(Box::new(o)),
        changes.clone(),
    ));
    tasks.spawn(follow::<Settings>(
        Api::all(all(client)),
        Kind::Settings,
        |o| Change::Settings(Box::new(o)),
        changes,
    ));
    (receiver, tasks)
}

async fn follow<K>(
    api: Api<K>,
    kind: Kind,
    wrap: impl Fn(K) -> Change + Send,
    changes: mpsc::Sender<Change>,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let stream = watcher::watcher(api, watcher::Config::default()).default_backoff();
    let mut stream = std::pin::pin!(stream.into_stream());
    let mut known = BTreeSet::new();
    let mut listing = BTreeSet::new();
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                warn!(?kind, %error, "the API server does not tell");
                continue;
            }
        };
        let told = match event {
            Event::Init => {
                listing.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                listing.insert(object.name_any());
                vec![wrap(object)]
            }
            Event::InitDone => {
                let gone = known.difference(&listing);
                let mut told: Vec<_> = gone
                    .map(|n: &String| Change::Gone(kind, n.clone()))
                    .collect();
                known = std::mem::take(&mut listing);
                told.push(Change::Listed(kind));
                told
            }
            Event::Apply(object) => {
                known.insert(object.name_any());
                vec![wrap(object)]
            }
            Event::Delete(object) => {
                let name = object.name_any();
                known.remove(&name);
                vec![Change::Gone(kind, name)]
            }
        };
        for change in told {
            if changes.send(change).await.is_err() {
                return;
            }
        }
    }
}
