//! An API server in memory, by HTTP: it has what a test gives it, and it lies, forgets and goes away when it is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// See the module.
#[derive(Clone)]
pub(super) struct World {
    inner: Arc<Mutex<Inner>>,
    /// Wakes every watch; false ends it.
    wake: broadcast::Sender<bool>,
}

struct Inner {
    uid: String,
    objects: BTreeMap<String, Value>,
    /// Every line that watchers were told; a resource version is how many there were.
    history: Vec<String>,
    slices: BTreeMap<String, Value>,
    /// The same for EndpointSlices.
    slice_history: Vec<String>,
    slice_lists: usize,
    definitions: bool,
    secrets: BTreeMap<String, Value>,
    away: bool,
    lists: usize,
    questions: usize,
}

impl World {
    /// One that is there and has no objects; and a client of it.
    pub(super) async fn start() -> (Self, Client) {
        let world = Self {
            inner: Arc::new(Mutex::new(Inner {
                uid: "uid-cluster".to_owned(),
                objects: BTreeMap::new(),
                history: Vec::new(),
                slices: BTreeMap::new(),
                slice_history: Vec::new(),
                slice_lists: 0,
                definitions: true,
                secrets: BTreeMap::new(),
                away: false,
                lists: 0,
                questions: 0,
            })),
            wake: broadcast::channel(64).0,
        };
        let routes = Router::new()
            .route("/api/v1/namespaces/{name}", get(namespace))
            .route("/api/v1/namespaces/{namespace}/secrets/{name}", get(secret))
            .route("/apis/vipkeeper.io/v1alpha1/nodeconfigs", get(node_configs))
            .route(
                "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
                get(endpoint_slices),
            )
            .route(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}",
                get(definition),
            )
            .with_state(world.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // It ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let url = format!("http://{address}").parse().unwrap();
        let client = Client::try_from(Config::new(url)).unwrap();
        (world, client)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The object is there from now on, and watchers are told.
    pub(super) fn apply(&self, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.inner().objects.insert(name, object.clone());
        self.tell("MODIFIED", object);
    }

    /// The slice is there from now on, and watchers are told.
    pub(super) fn apply_slice(&self, mut slice: Value) {
        let mut inner = self.inner();
        let name = slice["metadata"]["name"].as_str().unwrap().to_owned();
        inner.slices.insert(name, slice.clone());
        let version = inner.slice_history.len() + 1;
        slice["metadata"]["resourceVersion"] = version.to_string().into();
        let line = json!({"type": "MODIFIED", "object": slice});
        inner.slice_history.push(format!("{line}\n"));
        drop(inner);
        self.wake.send(true).ok();
    }

    /// The slice is not there any more, and watchers are told that they are too far behind.
    pub(super) fn lose_slice(&self, name: &str) {
        let line = json!({"type": "ERROR", "object": too_old()});
        let mut inner = self.inner();
        inner.slices.remove(name).unwrap();
        inner.slice_history.push(format!("{line}\n"));
        drop(inner);
        self.wake.send(true).ok();
    }

    /// How often slices were listed.
    pub(super) fn slice_lists(&self) -> usize {
        self.inner().slice_lists
    }

    /// The object is not there any more, and watchers are told.
    pub(super) fn delete(&self, name: &str) {
        let object = self.inner().objects.remove(name).unwrap();
        self.tell("DELETED", object);
    }

    /// It has these objects and no others, and nobody is told.
    pub(super) fn have_only(&self, objects: &[Value]) {
        let named = |object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap();
            (name.to_owned(), object.clone())
        };
        self.inner().objects = objects.iter().map(named).collect();
    }

    /// Its store is restored from a backup that has these objects: versions begin again from where they were then.
    pub(super) fn restore(&self, objects: &[Value]) {
        self.have_only(objects);
        self.inner().history.clear();
    }

    /// Whether the definitions are there.
    pub(super) fn define(&self, there: bool) {
        self.inner().definitions = there;
    }

    /// A Secret of the key namespace has `data`, in base64.
    pub(super) fn keep_secret(&self, name: &str, data: Value) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": "keys"}, "data": data,
        });
        self.inner().secrets.insert(name.to_owned(), secret);
    }

    /// From now on it is the API server of another cluster.
    pub(super) fn become_another(&self, uid: &str) {
        uid.clone_into(&mut self.inner().uid);
    }

    /// Whether it answers; what is being watched ends if not.
    pub(super) fn go_away(&self, away: bool) {
        self.inner().away = away;
        if away {
            // Nobody may be watching.
            self.wake.send(false).ok();
        }
    }

    /// Watchers are told that they are too far behind.
    pub(super) fn compact(&self) {
        self.tell("ERROR", too_old());
    }

    /// How often everything was listed.
    pub(super) fn lists(&self) -> usize {
        self.inner().lists
    }

    /// How many questions there were.
    pub(super) fn questions(&self) -> usize {
        self.inner().questions
    }

    fn tell(&self, kind: &str, mut object: Value) {
        let mut inner = self.inner();
        let version = inner.history.len() + 1;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let line = json!({"type": kind, "object": object});
        inner.history.push(format!("{line}\n"));
        drop(inner);
        self.wake.send(true).ok();
    }

    /// Counts a question; the answer to every one while it is away.
    fn asked(&self) -> Option<Response> {
        let mut inner = self.inner();
        inner.questions += 1;
        inner
            .away
            // Not 503, after which the client would try again by itself.
            .then(|| (StatusCode::INTERNAL_SERVER_ERROR, "away").into_response())
    }
}

fn too_old() -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410,
    })
}

fn unknown() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "not found", "reason": "NotFound", "code": 404,
    });
    (StatusCode::NOT_FOUND, Json(status)).into_response()
}

async fn namespace(State(world): State<World>, Path(name): Path<String>) -> Response {
    if let Some(refusal) = world.asked() {
        return refusal;
    }
    let uid = world.inner().uid.clone();
    let kind = "PartialObjectMetadata";
    Json(json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "metadata": {"name": name, "uid": uid}}))
        .into_response()
}

async fn secret(State(world): State<World>, Path((_, name)): Path<(String, String)>) -> Response {
    if let Some(refusal) = world.asked() {
        return refusal;
    }
    let secret = world.inner().secrets.get(&name).cloned();
    secret.map_or_else(unknown, |secret| Json(secret).into_response())
}

async fn definition(State(world): State<World>, Path(name): Path<String>) -> Response {
    if let Some(refusal) = world.asked() {
        return refusal;
    }
    if !world.inner().definitions {
        return unknown();
    }
    let kind = "PartialObjectMetadata";
    Json(json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "metadata": {"name": name}}))
        .into_response()
}

async fn node_configs(State(world): State<World>, uri: Uri) -> Response {
    if let Some(refusal) = world.asked() {
        return refusal;
    }
    if !world.inner().definitions {
        return unknown();
    }
    let query = uri.query().unwrap_or_default();
    assert!(query.contains("fieldSelector=spec.nodeName%3Da"), "{query}");
    let version = query
        .split('&')
        .find_map(|p| p.strip_prefix("resourceVersion="));
    if query.contains("watch=true") {
        return watch(world, version.unwrap().parse().unwrap(), |inner| {
            &inner.history
        });
    }
    let mut inner = world.inner();
    inner.lists += 1;
    let items: Vec<&Value> = inner.objects.values().collect();
    let version = inner.history.len().to_string();
    Json(json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfigList",
        "metadata": {"resourceVersion": version}, "items": items,
    }))
    .into_response()
}

async fn endpoint_slices(State(world): State<World>, uri: Uri) -> Response {
    if let Some(refusal) = world.asked() {
        return refusal;
    }
    let query = uri.query().unwrap_or_default();
    let selector = "labelSelector=kubernetes.io%2Fservice-name%3Dweb";
    assert!(query.contains(selector), "{query}");
    let version = query
        .split('&')
        .find_map(|p| p.strip_prefix("resourceVersion="));
    if query.contains("watch=true") {
        let version = version.unwrap().parse().unwrap();
        return watch(world, version, |inner| &inner.slice_history);
    }
    let mut inner = world.inner();
    inner.slice_lists += 1;
    let items: Vec<&Value> = inner.slices.values().collect();
    let version = inner.slice_history.len().to_string();
    Json(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList",
        "metadata": {"resourceVersion": version}, "items": items,
    }))
    .into_response()
}

/// Every line of a history after the first `seen`.
fn watch(world: World, seen: usize, history: fn(&Inner) -> &Vec<String>) -> Response {
    let woken = world.wake.subscribe();
    let stream = futures::stream::unfold(
        (world, woken, seen),
        move |(world, mut woken, seen)| async move {
            loop {
                let line = history(&world.inner()).get(seen).cloned();
                if let Some(line) = line {
                    return Some((Ok::<_, Infallible>(line), (world, woken, seen + 1)));
                }
                if !woken.recv().await.ok()? {
                    return None;
                }
            }
        },
    );
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, Body::from_stream(stream)).into_response()
}
