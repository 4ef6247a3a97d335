//! The API server's streams as changes of the cluster.
//!
//! One task a kind. A list that is told anew says what has gone since the one before. What the API server refuses or
//! loses is tried again with growing pauses; nothing is forgotten meanwhile. ConfigMaps are not watched: see
//! `config_maps`.

mod config_maps;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::warn;
use vipkeeper_compiler::ConfigMapName;
use vipkeeper_crds::{NodeConfig, Settings, VirtualRouter, VirtualServer};

use crate::change::{Change, Kind, full_name};

/// Objects of a list that are read at once: what a page took at its largest stays taken.
const PAGE: u32 = 100;
/// Between an interruption and the next list.
const PAUSE: Duration = Duration::from_secs(1);
/// Changes that wait to be taken in; a stream waits when they are so many.
const WAITING: usize = 1_024;

/// The ConfigMaps that are to be read.
pub type Wanted = BTreeSet<ConfigMapName>;

/// Begins to watch, and to read the ConfigMaps that are `wanted`; the tasks end when the set is dropped.
#[must_use]
pub fn start(
    client: &Client,
    wanted: watch::Receiver<Wanted>,
) -> (mpsc::Receiver<Change>, JoinSet<()>) {
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
    let server = |object| Change::Server(Box::new(object));
    tasks.spawn(follow::<VirtualServer>(ends.clone(), Kind::Server, server));
    let namespace = |object| Change::Namespace(Box::new(object));
    tasks.spawn(follow::<Namespace>(
        ends.clone(),
        Kind::Namespace,
        namespace,
    ));
    tasks.spawn(config_maps::follow(ends, wanted));
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
    let api = Api::<K>::all(ends.client.clone());
    let mut known = BTreeSet::new();
    // What was restored from a backup while a watch was interrupted has versions that a watch from the last one known
    // would pass over in silence: everything is listed anew.
    while let Interrupted::Again = stretch(&api, &ends, kind, &wrap, &mut known).await {
        sleep(PAUSE).await;
    }
}

/// Whether the API server does not know the kind.
fn is_not_defined(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// How a stretch of watching ends.
enum Interrupted {
    Again,
    NobodyListens,
}

/// A list and what changes after it, until that is interrupted.
async fn stretch<K>(
    api: &Api<K>,
    ends: &Ends,
    kind: Kind,
    wrap: &(impl Fn(K) -> Change + Send),
    known: &mut BTreeSet<String>,
) -> Interrupted
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().page_size(PAGE);
    let stream = watcher::watcher(api.clone(), config).default_backoff();
    let mut stream = std::pin::pin!(stream.into_stream());
    let mut listing = BTreeSet::new();
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            // It lists anew by itself.
            Err(watcher::Error::WatchError(status)) if status.code == 410 => continue,
            Err(watcher::Error::InitialListFailed(error)) => {
                warn!(?kind, %error, "the API server does not tell");
                let is_new = kind == Kind::Server && known.is_empty();
                if is_new && is_not_defined(&error) {
                    // Definitions are upgraded after, or taken back before the operator: there is none of that kind,
                    // and the others go on.
                    let none = ends.changes.send(Change::Listed(kind));
                    if none.await.is_err() {
                        return Interrupted::NobodyListens;
                    }
                }
                continue;
            }
            Err(error) => {
                warn!(?kind, %error, "the API server does not tell any more");
                return Interrupted::Again;
            }
        };
        let told = match event {
            Event::Init => {
                listing.clear();
                vec![Change::Listing(kind)]
            }
            Event::InitApply(object) => {
                listing.insert(full_name(&object));
                vec![wrap(object)]
            }
            Event::InitDone => {
                let gone = known.difference(&listing);
                let mut told: Vec<_> = gone
                    .map(|n: &String| Change::Gone(kind, n.clone()))
                    .collect();
                *known = std::mem::take(&mut listing);
                told.push(Change::Listed(kind));
                told
            }
            Event::Apply(object) => {
                known.insert(full_name(&object));
                vec![wrap(object)]
            }
            Event::Delete(object) => {
                let name = full_name(&object);
                known.remove(&name);
                vec![Change::Gone(kind, name)]
            }
        };
        for change in told {
            if ends.changes.send(change).await.is_err() {
                return Interrupted::NobodyListens;
            }
        }
    }
    Interrupted::Again
}
