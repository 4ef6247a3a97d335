//! An API server in memory: the few requests that the operator makes, with versions and preconditions, and with
//! faults that a test asks for. Changes are told to all who watch.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tower::service_fn;
use vipkeeper_operator::change::{Change, Kind};

/// What happens to requests whose path ends so.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) kind: FaultKind,
    /// How often.
    pub(crate) times: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// It is refused with this code.
    Code(u16),
    /// No answer comes.
    Silence,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(crate) struct State {
    /// By path.
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Method, path and code of each request but reads.
    pub(crate) requests: Vec<(String, String, u16)>,
    pub(crate) faults: VecDeque<Fault>,
    watches: Vec<mpsc::Sender<Change>>,
}

const GROUP: &str = "/apis/vipkeeper.io/v1alpha1";

impl Server {
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Tells everything there is, then what changes.
    pub(crate) fn watch(&self) -> mpsc::Receiver<Change> {
        let (sender, receiver) = mpsc::channel(10_000);
        let mut state = self.state();
        for (path, object) in &state.objects {
            if let Some(change) = change(path, object) {
                sender.try_send(change).unwrap();
            }
        }
        for kind in Kind::ALL {
            sender.try_send(Change::Listed(kind)).unwrap();
        }
        state.watches.push(sender);
        receiver
    }

    /// A user makes an object, or edits its spec.
    pub(crate) fn apply(&self, kind: &str, name: &str, body: Value) {
        let path = match kind {
            "nodes" => format!("/api/v1/nodes/{name}"),
            _ => format!("{GROUP}/{kind}/{name}"),
        };
        let mut state = self.state();
        let mut object = state.objects.get(&path).cloned().unwrap_or(json!({}));
        for (key, value) in body.as_object().unwrap() {
            if key == "metadata" {
                continue;
            }
            object[key] = value.clone();
        }
        for (key, value) in body["metadata"].as_object().into_iter().flatten() {
            object["metadata"][key] = value.clone();
        }
        object["metadata"]["name"] = json!(name);
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
        object["metadata"]["generation"] = json!(generation + 1);
        state.store(&path, object);
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let path = format!("{GROUP}/{kind}/{name}");
        self.state().objects.get(&path).cloned()
    }

    /// An object goes.
    pub(crate) fn forget(&self, kind: &str, name: &str, change: Change) {
        let mut state = self.state();
        state.objects.remove(&format!("{GROUP}/{kind}/{name}"));
        state.tell(Some(change));
    }

    /// The spec of each NodeConfig of a router, by node.
    pub(crate) fn configs(&self, router: &str) -> BTreeMap<String, Value> {
        let state = self.state();
        let specs = state.objects.values().map(|object| &object["spec"]);
        let own = specs.filter(|spec| spec["router"] == router);
        own.map(|spec| (spec["nodeName"].as_str().unwrap().to_owned(), spec.clone()))
            .collect()
    }

    /// How many requests were made to paths that end so.
    pub(crate) fn count(&self, end: &str) -> usize {
        let state = self.state();
        let alike = state
            .requests
            .iter()
            .filter(|(_, path, _)| path.ends_with(end));
        alike.count()
    }

    async fn answer(
        &self,
        request: Request<Body>,
    ) -> Response<http_body_util::Full<hyper::body::Bytes>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let fault = self.state().fault(&path);
        let (code, answer) = match fault {
            Some(FaultKind::Silence) => {
                sleep(Duration::from_secs(100_000)).await;
                (504, status(504))
            }
            Some(FaultKind::Code(code)) => (code, status(code)),
            None => {
                let bytes = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                self.state().serve(&parts.method, &path, body)
            }
        };
        if parts.method != Method::GET {
            let request = (parts.method.to_string(), path, code);
            self.state().requests.push(request);
        }
        let text = serde_json::to_vec(&answer).unwrap();
        let mut response = Response::new(http_body_util::Full::new(text.into()));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    }
}

impl State {
    fn fault(&mut self, path: &str) -> Option<FaultKind> {
        let mut faults = self.faults.iter_mut();
        let fault = faults.find(|f| f.times > 0 && path.ends_with(&f.path))?;
        fault.times -= 1;
        Some(fault.kind)
    }

    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
        }
        self.objects.insert(path.to_owned(), object.clone());
        self.tell(change(path, &object));
        object
    }

    fn tell(&mut self, change: Option<Change>) {
        let Some(change) = change else {
            return;
        };
        self.watches
            .retain(|watch| watch.try_send(change.clone()).is_ok());
    }

    fn serve(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        let (target, is_status) = match path.strip_suffix("/status") {
            Some(target) => (target.to_owned(), true),
            None => (path.to_owned(), false),
        };
        let known = self.objects.get(&target).cloned();
        let asked = &body["metadata"]["resourceVersion"];
        let differs =
            |known: &Value| !asked.is_null() && *asked != known["metadata"]["resourceVersion"];
        match (method.as_str(), known) {
            ("GET", Some(known)) => (200, known),
            ("POST", _) => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                let target = format!("{path}/{name}");
                if self.objects.contains_key(&target) {
                    return (409, status(409));
                }
                (201, self.store(&target, body))
            }
            ("PUT" | "PATCH", Some(known)) if differs(&known) => (409, status(409)),
            ("PUT", Some(_)) => (200, self.store(&target, body)),
            ("PATCH", Some(mut known)) if is_status => {
                known["status"] = body["status"].clone();
                (200, self.store(&target, known))
            }
            ("PATCH", Some(mut known)) => {
                if !body["spec"].is_null() {
                    known["spec"] = body["spec"].clone();
                    known["metadata"]["ownerReferences"] =
                        body["metadata"]["ownerReferences"].clone();
                }
                let annotations = body["metadata"]["annotations"].as_object();
                for (key, value) in annotations.into_iter().flatten() {
                    known["metadata"]["annotations"][key] = value.clone();
                }
                (200, self.store(&target, known))
            }
            // With a version it is an edit of what is not there.
            ("PATCH", None) if !is_status && asked.is_null() => (201, self.store(&target, body)),
            ("DELETE", Some(known)) => {
                let uid = &body["preconditions"]["uid"];
                if !uid.is_null() && *uid != known["metadata"]["uid"] {
                    return (409, status(409));
                }
                self.objects.remove(&target);
                let name = known["metadata"]["name"].as_str().unwrap_or_default();
                self.tell(Some(Change::Gone(Kind::Config, name.to_owned())));
                (
                    200,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
                )
            }
            _ => (404, status(404)),
        }
    }
}

fn status(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Refused" };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": reason, "code": code})
}

fn change(path: &str, object: &Value) -> Option<Change> {
    let kind = path.rsplit('/').nth(1)?;
    let parse = || object.clone();
    Some(match kind {
        "virtualrouters" => Change::Router(serde_json::from_value(parse()).unwrap()),
        "nodeconfigs" => Change::Config(serde_json::from_value(parse()).unwrap()),
        "nodes" => Change::Node(serde_json::from_value(parse()).unwrap()),
        "settings" => Change::Settings(serde_json::from_value(parse()).unwrap()),
        _ => return None,
    })
}
