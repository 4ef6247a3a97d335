//! The endpoints of the Services that configurations name, followed as kube-proxy follows them: a changed endpoint
//! costs no write at all.
//!
//! One watch for each Service, and none for any other. What is known stays while the API server is away, and is kept in
//! a file for the next start. Never decides who becomes a real server.

mod saved;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::ResetTimerBackoff;
use kube::runtime::watcher::{self, Event};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use vipkeeper_compiler::{Endpoints, SERVICE_LABEL, ServiceName};
use vipkeeper_crds::NodeConfigSpec;

use super::pauses::Pauses;
use super::server::Server;
pub(super) use saved::SavedEndpoints;

/// What waits to be taken in.
const WAITING: usize = 256;
/// Changes that come together are taken together.
const TOGETHER: Duration = Duration::from_millis(50);
/// How long a Service of which nothing is known keeps a configuration waiting: what it serves now would be taken off.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses between attempts are short again after a time without failure that is so long.
const CALM: Duration = Duration::from_secs(30);
/// The file is written so often at most.
const SAVING: Duration = Duration::from_secs(5);

/// What a watch tells.
#[derive(Debug)]
enum Told {
    /// All slices of a Service.
    All(ServiceName, Vec<EndpointSlice>),
    One(EndpointSlice),
    Gone(EndpointSlice),
}

/// A slice's namespace and name.
type SliceId = (String, String);
/// Configurations, and the cluster's identity.
type Followed = (Arc<[NodeConfigSpec]>, Option<String>);

/// See the module.
#[derive(Debug)]
pub(super) struct Slices {
    server: Server,
    /// What slices say, in the order of their names.
    slices: BTreeMap<SliceId, EndpointSlice>,
    /// Which of them each Service has.
    owned: BTreeMap<ServiceName, BTreeSet<SliceId>>,
    endpoints: Arc<Endpoints>,
    /// The Services of which something is known, be it that they have no slices.
    known: BTreeSet<ServiceName>,
    /// Of what the Services were read that are followed: the same need not be read again.
    followed: Option<Followed>,
    /// Until when the others keep configurations waiting.
    waiting: BTreeMap<ServiceName, Instant>,
    watches: BTreeMap<ServiceName, AbortHandle>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    /// Whether there is something to write since it was written.
    is_dirty: bool,
    /// Whether the last attempt to write it failed.
    is_failing: bool,
    save_at: Instant,
}

impl Slices {
    /// Begins with what was known before.
    pub(super) fn new(server: Server, saved: Option<SavedEndpoints>) -> Self {
        let (sender, told) = mpsc::channel(WAITING);
        let mut slices = Self {
            server,
            slices: BTreeMap::new(),
            owned: BTreeMap::new(),
            endpoints: Arc::default(),
            followed: None,
            known: BTreeSet::new(),
            waiting: BTreeMap::new(),
            watches: BTreeMap::new(),
            tasks: JoinSet::new(),
            sender,
            told,
            is_dirty: false,
            is_failing: false,
            save_at: Instant::now(),
        };
        for (service, all) in saved.into_iter().flat_map(SavedEndpoints::into_services) {
            slices.known.insert(service);
            all.into_iter().for_each(|slice| slices.set(slice));
        }
        slices.is_dirty = false;
        slices
    }

    /// Follows the Services that `configs` name, of the cluster with this identity, and forgets all others.
    pub(super) fn follow(&mut self, configs: &Arc<[NodeConfigSpec]>, cluster: Option<&str>) {
        let now = (Arc::clone(configs), cluster.map(str::to_owned));
        if self.followed.as_ref() == Some(&now) {
            return;
        }
        self.followed = Some(now);
        let wanted: BTreeSet<ServiceName> = services(configs).collect();
        self.watches.retain(|service, watch| {
            let stays = wanted.contains(service);
            if !stays {
                watch.abort();
            }
            stays
        });
        if let Some(cluster) = cluster {
            for service in &wanted {
                if self.watches.contains_key(service) {
                    continue;
                }
                let watch = Watch {
                    server: self.server.clone(),
                    service: service.clone(),
                    cluster: cluster.to_owned(),
                    tell: self.sender.clone(),
                };
                let handle = self.tasks.spawn(watch.run());
                self.watches.insert(service.clone(), handle);
            }
        }
        let until = Instant::now() + PATIENCE;
        self.waiting.retain(|service, _| wanted.contains(service));
        for service in wanted.difference(&self.known) {
            self.waiting.entry(service.clone()).or_insert(until);
        }
        if !self.known.is_subset(&wanted) {
            self.known.retain(|service| wanted.contains(service));
            Arc::make_mut(&mut self.endpoints).retain(|service| wanted.contains(service));
            self.slices
                .retain(|_, slice| service_of(slice).is_some_and(|s| wanted.contains(&s)));
            self.owned.retain(|service, _| wanted.contains(service));
            self.is_dirty = true;
        }
    }

    /// Until when configurations wait, because nothing is known of a Service that they name.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.values().copied();
        waiting.filter(|until| *until > now).max()
    }

    /// What is known.
    pub(super) const fn endpoints(&self) -> &Arc<Endpoints> {
        &self.endpoints
    }

    /// Waits for changes and takes them in. What was taken in stays so if nobody waits for the end of it.
    pub(super) async fn changed(&mut self) {
        // The sender is here, so that this never ends without one.
        let Some(told) = self.told.recv().await else {
            return std::future::pending().await;
        };
        self.take(told);
        sleep(TOGETHER).await;
        while let Ok(told) = self.told.try_recv() {
            self.take(told);
        }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::All(service, all) => {
                if !self.watches.contains_key(&service) {
                    return;
                }
                let names: BTreeSet<_> = all.iter().map(id).collect();
                let own = self.owned.get(&service).cloned().unwrap_or_default();
                for id in own.difference(&names) {
                    self.lose(id);
                }
                all.into_iter().for_each(|slice| self.set(slice));
                self.waiting.remove(&service);
                self.is_dirty |= self.known.insert(service);
            }
            Told::One(slice) => {
                let is_wanted = service_of(&slice).is_some_and(|s| self.watches.contains_key(&s));
                if is_wanted {
                    self.set(slice);
                }
            }
            Told::Gone(slice) => self.lose(&id(&slice)),
        }
    }

    fn set(&mut self, mut slice: EndpointSlice) {
        // Of the metadata only this counts.
        let service = slice.labels().get(SERVICE_LABEL).cloned();
        let (namespace, name) = id(&slice);
        slice.metadata = kube::api::ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            labels: service.map(|s| BTreeMap::from([(SERVICE_LABEL.to_owned(), s)])),
            ..kube::api::ObjectMeta::default()
        };
        let id = (namespace, name);
        if self.slices.get(&id) != Some(&slice) {
            self.lose(&id);
            Arc::make_mut(&mut self.endpoints).set_slice(&slice);
            self.is_dirty = true;
            if let Some(service) = service_of(&slice) {
                self.owned.entry(service).or_default().insert(id.clone());
            }
            self.slices.insert(id, slice);
        }
    }

    fn lose(&mut self, id: &SliceId) {
        if let Some(slice) = self.slices.remove(id) {
            if let Some(own) = service_of(&slice).and_then(|s| self.owned.get_mut(&s)) {
                own.remove(id);
            }
            Arc::make_mut(&mut self.endpoints).remove_slice(&id.0, &id.1);
            self.is_dirty = true;
        }
    }

    /// When the file is to be written.
    pub(super) fn next_save(&self) -> Option<Instant> {
        self.is_dirty.then_some(self.save_at)
    }

    /// Writes what is known to the file at `path`, if that is due; nothing waits for it to reach the disk. After a failure
    /// it is due again.
    pub(super) async fn save(&mut self, path: &Path, node: &str, cluster: &str) {
        if !self.is_dirty || self.save_at > Instant::now() {
            return;
        }
        self.save_at = Instant::now() + SAVING;
        let all = self.known.iter().map(|service| {
            let own = self.owned.get(service).into_iter().flatten();
            let own = own.filter_map(|id| self.slices.get(id));
            (service.clone(), own.cloned().collect())
        });
        let saved = SavedEndpoints::new(node, cluster, all.collect());
        let to = path.to_owned();
        let written = tokio::task::spawn_blocking(move || saved.write(&to)).await;
        let written = written.unwrap_or_else(|error| Err(error.into()));
        self.is_dirty = written.is_err();
        let failed_before = std::mem::replace(&mut self.is_failing, self.is_dirty);
        let Err(error) = written else {
            return;
        };
        let path = path.display();
        if failed_before {
            debug!(%path, %error, "endpoints still cannot be kept");
        } else {
            warn!(%path, %error, "endpoints cannot be kept: a restart without the API server would not find them");
        }
    }
}

/// The Services that configurations name.
fn services(configs: &[NodeConfigSpec]) -> impl Iterator<Item = ServiceName> {
    let servers = configs.iter().flat_map(|c| &c.servers);
    servers.filter_map(ServiceName::of)
}

fn id(slice: &EndpointSlice) -> SliceId {
    (slice.namespace().unwrap_or_default(), slice.name_any())
}

fn service_of(slice: &EndpointSlice) -> Option<ServiceName> {
    let name = slice.labels().get(SERVICE_LABEL)?.clone();
    let namespace = slice.namespace()?;
    Some(ServiceName { namespace, name })
}

/// The watch of one Service.
struct Watch {
    server: Server,
    service: ServiceName,
    /// Whose slices count.
    cluster: String,
    tell: mpsc::Sender<Told>,
}

impl Watch {
    /// Tells until nobody listens. After an interruption everything is listed anew, as with configurations.
    async fn run(self) {
        let mut pauses = Pauses::new();
        while !self.tell.is_closed() {
            self.stretch().await;
            sleep(pauses.next().unwrap_or_default()).await;
        }
    }

    /// A list and what changes after it, until that is interrupted.
    async fn stretch(&self) {
        let service = &self.service;
        let selector = format!("{SERVICE_LABEL}={}", service.name);
        let config = watcher::Config::default().labels(&selector);
        let api = self.server.endpoint_slices(&service.namespace);
        let stream = watcher::watcher(api, config);
        let stream = stream.backoff(ResetTimerBackoff::new(Pauses::new(), CALM));
        let mut stream = std::pin::pin!(stream);
        let mut listing = Vec::new();
        while let Some(event) = stream.next().await {
            let told = match event {
                Ok(Event::Init) => {
                    listing.clear();
                    continue;
                }
                Ok(Event::InitApply(slice)) => {
                    listing.push(slice);
                    continue;
                }
                Ok(Event::InitDone) => {
                    if !self.is_of_the_cluster().await {
                        return;
                    }
                    Told::All(service.clone(), std::mem::take(&mut listing))
                }
                Ok(Event::Apply(slice)) => Told::One(slice),
                Ok(Event::Delete(slice)) => Told::Gone(slice),
                Err(watcher::Error::WatchError(status)) if status.code == 410 => continue,
                Err(error @ watcher::Error::InitialListFailed(_)) => {
                    debug!(%service, %error, "the API server does not tell of endpoints");
                    continue;
                }
                Err(error) => {
                    debug!(%service, %error, "the API server does not tell of endpoints any more");
                    return;
                }
            };
            if self.tell.send(told).await.is_err() {
                return;
            }
        }
    }

    /// Nothing that a list says counts before it is known whose it is.
    async fn is_of_the_cluster(&self) -> bool {
        match self.server.identity().await {
            Ok(found) => found == self.cluster,
            Err(error) => {
                debug!(%error, "the API server does not say whose it is");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::{Client, Config};
    use tokio::time::advance;

    use super::*;
    use crate::scratch::Directory;

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_written_is_written_later() {
        let nobody = Config::new("http://127.0.0.1:9".parse().unwrap());
        let client = Client::try_from(nobody).unwrap();
        let mut slices = Slices::new(Server::new(client, "keys".to_owned()), None);
        slices.set(EndpointSlice::default());
        let directory = Directory::new();
        let path = directory.path().join("state").join("endpoints");
        slices.save(&path, "a", "uid-cluster").await;
        assert_eq!(slices.next_save(), Some(slices.save_at));
        std::fs::create_dir(directory.path().join("state")).unwrap();
        slices.save(&path, "a", "uid-cluster").await;
        assert!(!path.exists(), "not before its time");
        advance(SAVING).await;
        slices.save(&path, "a", "uid-cluster").await;
        assert!(SavedEndpoints::read(&path, "a", "uid-cluster").is_some());
        assert_eq!(slices.next_save(), None);
    }
}
