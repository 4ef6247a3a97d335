//! What scheduler and kubelets do for the objects of a cluster whose nodes are namespaces: Nodes that are Ready and
//! whose Leases are renewed, pods that are bound, Running, and gone when they are deleted.
//!
//! Runs no container: which process stands for a pod is the test's to say. While nothing changes it writes the Leases
//! alone, as kubelets do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use http::Request;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::NAMESPACE;
use super::api::{Api, NODES};
use crate::lab::Node;
use crate::wait::{self, Seen};

/// Between two renewals of a Lease: the kubelet's default.
const RENEWAL: Duration = Duration::from_secs(10);
/// Between two looks at the pods.
const LOOK: Duration = Duration::from_millis(250);
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// A pod, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Pod {
    pub(crate) metadata: Metadata,
    pub(crate) spec: PodSpec,
    #[serde(default)]
    pub(crate) status: PodStatus,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) deletion_timestamp: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    pub(crate) node_name: Option<String>,
    pub(crate) service_account_name: String,
    pub(crate) containers: Vec<Container>,
    affinity: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Container {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) args: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct PodStatus {
    #[serde(default)]
    pub(crate) phase: String,
}

impl Pod {
    /// Whether it is one of a part of the chart: `agent`, `operator`, `teardown`.
    pub(crate) fn is_of(&self, component: &str) -> bool {
        let label = self.metadata.labels.get("app.kubernetes.io/component");
        label.is_some_and(|label| label == component)
    }

    /// The arguments of its only container.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let containers = self.spec.containers.iter();
        containers
            .flat_map(|container| container.args.clone())
            .collect()
    }

    /// The node that a DaemonSet made it for.
    fn wanted_node(&self) -> Option<&str> {
        let terms =
            "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
        let terms = self.spec.affinity.as_ref()?.pointer(terms)?;
        terms.pointer("/0/matchFields/0/values/0")?.as_str()
    }
}

/// Makes the Node object of a host, and its Lease.
pub(crate) fn register(api: &Api, node: &Node) -> Result<()> {
    let name = node.name();
    let addresses = [
        json!({"type": "InternalIP", "address": node.ipv4(0)}),
        json!({"type": "InternalIP", "address": node.ipv6(0)}),
        json!({"type": "Hostname", "address": name}),
    ];
    let capacity = json!({"cpu": "2", "memory": "2Gi", "pods": "110", "ephemeral-storage": "10Gi"});
    let object = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name,
        }},
        "status": {
            "addresses": addresses, "capacity": capacity, "allocatable": capacity,
            "conditions": [ready(true)],
        },
    });
    api.create(NODES, &object)?;
    // What the API server puts on a new Node, and a node life cycle controller takes off when it is Ready.
    let path = format!("{NODES}/{name}");
    api.merge(&path, &json!({"spec": {"taints": null}}))?;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now()},
    });
    wait::until(
        "the namespace of the nodes' Leases",
        Duration::from_secs(20),
        || {
            Ok(match api.create(LEASES, &lease) {
                Ok(_) => Seen::Yes(()),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        },
    )
}

/// What a node life cycle controller says of a node.
pub(crate) fn set_ready(api: &Api, node: &str, is_ready: bool) -> Result<()> {
    let path = format!("{NODES}/{node}/status");
    api.merge(&path, &json!({"status": {"conditions": [ready(is_ready)]}}))
}

fn ready(is_ready: bool) -> Value {
    let (status, reason) = if is_ready {
        ("True", "KubeletReady")
    } else {
        ("Unknown", "NodeStatusUnknown")
    };
    json!({
        "type": "Ready", "status": status, "reason": reason, "message": reason,
        "lastHeartbeatTime": Timestamp::now().strftime("%FT%TZ").to_string(),
        "lastTransitionTime": Timestamp::now().strftime("%FT%TZ").to_string(),
    })
}

/// Does the kubelets' work until it is aborted.
pub(crate) async fn work(client: Client, nodes: Vec<String>) {
    let mut renewed = Instant::now();
    let mut next = nodes.iter().cycle();
    loop {
        if renewed.elapsed() >= RENEWAL {
            renewed = Instant::now();
            for node in &nodes {
                let renewal = json!({"spec": {"renewTime": now()}});
                send(&client, "PATCH", &format!("{LEASES}/{node}"), &renewal).await;
            }
        }
        for pod in pods(&client).await {
            let path = format!("{}/{}", pods_path(), pod.metadata.name);
            if pod.metadata.deletion_timestamp.is_some() {
                send(&client, "DELETE", &path, &json!({"gracePeriodSeconds": 0})).await;
            } else if pod.spec.node_name.is_none() {
                let node = pod
                    .wanted_node()
                    .or_else(|| next.next().map(String::as_str));
                let binding = json!({
                    "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.metadata.name},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": node},
                });
                send(&client, "POST", &format!("{path}/binding"), &binding).await;
            } else if pod.status.phase == "Pending" {
                send(&client, "PATCH", &format!("{path}/status"), &running(&pod)).await;
            }
        }
        sleep(LOOK).await;
    }
}

fn running(pod: &Pod) -> Value {
    let condition = |name: &str| json!({"type": name, "status": "True"});
    let since = Timestamp::now().strftime("%FT%TZ").to_string();
    let containers = pod.spec.containers.iter().map(|container| {
        json!({
            "name": container.name, "ready": true, "started": true, "restartCount": 0,
            "image": "lab", "imageID": "lab", "state": {"running": {"startedAt": since}},
        })
    });
    let mut conditions: Vec<Value> = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(condition)
        .into();
    for condition in &mut conditions {
        condition["lastTransitionTime"] = since.clone().into();
    }
    json!({"status": {
        "phase": "Running", "startTime": since, "conditions": conditions,
        "containerStatuses": containers.collect::<Vec<_>>(),
    }})
}

/// The pods of our namespace; none while the API server is away.
async fn pods(client: &Client) -> Vec<Pod> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Pod>,
    }
    let Ok(request) = Request::get(pods_path()).body(Vec::new()) else {
        return Vec::new();
    };
    let list = client.request::<List>(request).await;
    list.map(|list| list.items).unwrap_or_default()
}

/// The path of our namespace's pods.
pub(crate) fn pods_path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods")
}

/// Asks once; what is refused or lost comes again with the next look.
async fn send(client: &Client, method: &str, path: &str, body: &Value) {
    let content = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(body.to_string().into_bytes());
    if let Ok(request) = request {
        drop(client.request_text(request).await);
    }
}

fn now() -> String {
    Timestamp::now().strftime("%FT%T.%6fZ").to_string()
}
