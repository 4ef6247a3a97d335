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

use crate::change::{Change, Kind};

/// Objects of a list that are read at once: what a page took at its largest stays taken.
const PAGE: u32 = 100;
/// Changes that wait to be taken in; a stream waits when they are so many.
const WAITING: usize = 1_024;

/// Begins to watch; the tasks end when the set is dropped.
#[must_use]
pub fn start(client: &Client) -> (mpsc::Receiver<Change>, JoinSet<()>) {
    let (changes, receiver) = mpsc::channel(WAITING);
    let ends = Ends {
        client: client.clone(),
        changes,
    };
    let mut tasks = JoinSet::new();
    let router = |object| Change::Router(Box::new(object));
    tasks.spawn(follow::<VirtualRouter>(ends.clone(), Kind::Router, router));
    let node = |object| Change::Node(Box::new(object));
    tasks.spawn(follow::<Node>(ends.clone(), Kind::Node, node));
    let config = |object| Change::Config(Box::new(object));
    tasks.spawn(follow::<NodeConfig>(ends.clone(), Kind::Config, config));
    let settings = |object| Change::Settings(Box::new(object));
    tasks.spawn(follow::<Settings>(ends.clone(), Kind::Settings, settings));
    (receiver, tasks)
}

/// Who tells, and who is told.
#[derive(Clone)]
struct Ends {
    client: Client,
    changes: mpsc::Sender<Change>,
}

async fn follow<K>(ends: Ends, kind: Kind, wrap: impl Fn(K) -> Change + Send)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api = Api::<K>::all(ends.client);
    let stream =
        watcher::watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff();
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
            if ends.changes.send(change).await.is_err() {
                return;
            }
        }
    }
}
