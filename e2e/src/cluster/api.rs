//! The lab's own way to the API server: requests by path, as an administrator or as whoever a kubeconfig names.
//!
//! Sockets are made by threads that live inside the control plane's namespace. Blocks its caller; a request without
//! an answer is an error after [`ANSWER`].

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::Request;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::namespace::Namespace;
use crate::wait::{self, Seen};

/// The path of VirtualRouters.
pub const ROUTERS: &str = "/apis/vipkeeper.io/v1alpha1/virtualrouters";
/// The path of NodeConfigs.
pub const CONFIGS: &str = "/apis/vipkeeper.io/v1alpha1/nodeconfigs";
/// The path of Nodes.
pub const NODES: &str = "/api/v1/nodes";

/// The longest that a request may take.
const ANSWER: Duration = Duration::from_secs(20);
/// Under whose name the lab applies.
const MANAGER: &str = "lab";

/// A way to the API server, as one user.
#[derive(Clone)]
pub struct Api {
    runtime: Arc<Runtime>,
    client: Client,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}

/// What the API server said instead of doing it.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP's status code.
    pub code: u16,
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

impl Api {
    /// Whoever `kubeconfig` names, from inside `namespace`.
    pub(crate) fn new(namespace: &Namespace, kubeconfig: &Path) -> Result<Self> {
        let inside = namespace.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lab-api")
            // A thread that stays outside reaches nobody, and its requests say so.
            .on_thread_start(move || drop(inside.take_thread()))
            .enable_all()
            .build()?;
        let runtime = Arc::new(runtime);
        let client = client(&runtime, kubeconfig)?;
        Ok(Self { runtime, client })
    }

    /// Somebody else, on the same threads.
    ///
    /// # Errors
    /// When the kubeconfig is none.
    pub fn of(&self, kubeconfig: &Path) -> Result<Self> {
        Ok(Self {
            runtime: Arc::clone(&self.runtime),
            client: client(&self.runtime, kubeconfig)?,
        })
    }

    /// Begins something that goes on beside the caller.
    pub(crate) fn begin<F>(&self, work: impl FnOnce(Client) -> F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(work(self.client.clone()))
    }

    /// The answer to a request, or the refusal.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn ask(&self, request: Request<Vec<u8>>) -> Result<Result<String, Refusal>> {
        let what = format!("{} {}", request.method(), request.uri());
        let client = self.client.clone();
        let asked = async move { timeout(ANSWER, client.request_text(request)).await };
        let answer = self.runtime.block_on(self.runtime.spawn(asked))?;
        match answer {
            Ok(Ok(text)) => Ok(Ok(text)),
            Ok(Err(kube::Error::Api(status))) => Ok(Err(Refusal {
                code: status.code,
                reason: status.reason.clone(),
                message: status.message.clone(),
            })),
            Ok(Err(error)) => Err(error).context(what),
            Err(_) => bail!("{what}: no answer within {ANSWER:?}"),
        }
    }

    /// What is at `path`, as text.
    ///
    /// # Errors
    /// When it is refused or not answered.
    pub fn text(&self, path: &str) -> Result<String> {
        let request = Request::get(path).body(Vec::new())?;
        self.ask(request)?.map_err(|refusal| refusal.at(path))
    }

    /// What is at `path`; `None` if there is nothing.
    ///
    /// # Errors
    /// When it is refused otherwise, not answered, or not of this type.
    pub fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let request = Request::get(path).body(Vec::new())?;
        match self.ask(request)? {
            Ok(text) => Ok(Some(
                serde_json::from_str(&text).with_context(|| format!("in the answer to {path}"))?,
            )),
            Err(refusal) if refusal.code == 404 => Ok(None),
            Err(refusal) => Err(refusal.at(path)),
        }
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// When there is nothing, or as [`find`](Self::find).
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let found = self.find(path)?;
        found.with_context(|| format!("nothing at {path}"))
    }

    /// Everything in the collection at `path`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        #[derive(serde::Deserialize)]
        struct List<T> {
            items: Vec<T>,
        }
        Ok(self.get::<List<T>>(path)?.items)
    }

    /// Makes `object` in the collection at `path`; `None` if its name is taken.
    ///
    /// # Errors
    /// When it is refused otherwise or not answered.
    pub fn create(&self, path: &str, object: &Value) -> Result<Option<Value>> {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(object)?)?;
        match self.ask(request)? {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(refusal) if refusal.reason == "AlreadyExists" => Ok(None),
            Err(refusal) => Err(refusal.at(path)),
        }
    }

    /// Applies `object` at `path` by server-side apply, with force.
    ///
    /// # Errors
    /// When it is refused or not answered.
    pub fn apply(&self, path: &str, object: &Value) -> Result<Value> {
        let refused = |refusal: Refusal| refusal.at(path);
        let text = self.try_apply(path, object)?.map_err(refused)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The same, for who wants to see the refusal.
    ///
    /// # Errors
    /// When it is not answered.
    pub fn try_apply(&self, path: &str, object: &Value) -> Result<Result<String, Refusal>> {
        let to = format!("{path}?fieldManager={MANAGER}&force=true");
        let request = Request::patch(to)
            .header("content-type", "application/apply-patch+yaml")
            .body(serde_json::to_vec(object)?)?;
        self.ask(request)
    }

    /// Merges `patch` into what is at `path`.
    ///
    /// # Errors
    /// When it is refused or not answered.
    pub fn merge(&self, path: &str, patch: &Value) -> Result<()> {
        let request = Request::patch(path)
            .header("content-type", "application/merge-patch+json")
            .body(serde_json::to_vec(patch)?)?;
        self.ask(request)?.map_err(|refusal| refusal.at(path))?;
        Ok(())
    }

    /// Deletes what is at `path`, at once; nothing happens if there is nothing.
    ///
    /// # Errors
    /// When it is refused or not answered.
    pub fn delete(&self, path: &str) -> Result<()> {
        let request = Request::delete(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&json!({"gracePeriodSeconds": 0}))?)?;
        match self.ask(request)? {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code == 404 => Ok(()),
            Err(refusal) => Err(refusal.at(path)),
        }
    }

    /// Waits until what is at `path` is as `wanted`. A server that does not answer is waited for.
    ///
    /// # Errors
    /// When it is not `within`; with what was there last.
    pub fn await_object<T: DeserializeOwned + std::fmt::Debug>(
        &self,
        path: &str,
        what: &str,
        within: Duration,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<T> {
        wait::until(&format!("{path}: {what}"), within, || {
            Ok(match self.find::<T>(path) {
                Ok(Some(object)) => Seen::when(object, &wanted),
                Ok(None) => Seen::NotYet("nothing there".to_owned()),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        })
    }

    /// Waits until the collection at `path` is as `wanted`. A server that does not answer is waited for.
    ///
    /// # Errors
    /// When it is not `within`; with what was there last.
    pub fn await_list<T: DeserializeOwned + std::fmt::Debug>(
        &self,
        path: &str,
        what: &str,
        within: Duration,
        wanted: impl Fn(&[T]) -> bool,
    ) -> Result<Vec<T>> {
        wait::until(&format!("{path}: {what}"), within, || {
            Ok(match self.list::<T>(path) {
                Ok(items) => Seen::when(items, |items| wanted(items)),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        })
    }
}

impl Refusal {
    fn at(self, path: &str) -> anyhow::Error {
        anyhow::anyhow!("{path}: {} {}: {}", self.code, self.reason, self.message)
    }
}

fn client(runtime: &Runtime, kubeconfig: &Path) -> Result<Client> {
    let path = kubeconfig.to_owned();
    let made = async move {
        let kubeconfig = Kubeconfig::read_from(path)?;
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    };
    runtime.block_on(runtime.spawn(made))?
}
