//! What operators and agents may do, and what not, with the tokens that their pods get.

use anyhow::{Result, ensure};
use http::Request;
use serde_json::{Value, json};
use vipkeeper_e2e::Cluster;
use vipkeeper_e2e::cluster::Api;
use vipkeeper_e2e::cluster::api::{CONFIGS, NODES, ROUTERS, Refusal};
use vipkeeper_e2e::wait::{self, Seen};

use crate::scene::{self, SOON};

vipkeeper_e2e::tests! {
    beside an_agent_writes_the_status_of_its_own_nodes_configurations_alone,
    beside an_agent_reads_its_configurations_and_keys_by_name_and_nothing_else,
    beside an_operator_writes_configurations_and_reads_no_key,
    beside the_admission_policy_has_no_complaints_of_the_api_server,
}

const SECRETS: &str = "/api/v1/namespaces/vipkeeper-keys/secrets";
const POLICY: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/vipkeeper-agent";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/vipkeeper-system/leases";

fn config(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfig",
        "metadata": {"name": name}, "spec": {"nodeName": node},
    })
}

/// A cluster where nobody runs, with a configuration for each node.
fn cluster(nodes: &[&str]) -> Result<Cluster> {
    scene::need()?;
    let cluster = Cluster::install(nodes)?;
    for node in nodes {
        let name = format!("web-{node}");
        cluster
            .api
            .apply(&format!("{CONFIGS}/{name}"), &config(&name, node))?;
    }
    Ok(cluster)
}

/// Applies a status to a configuration as `api`.
fn report(api: &Api, name: &str) -> Result<Result<String, Refusal>> {
    let status = json!({"acceptance": {"generation": 1, "accepted": true, "reason": "Valid"}});
    let object = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "NodeConfig",
        "metadata": {"name": name}, "status": status,
    });
    api.try_apply(&format!("{CONFIGS}/{name}/status"), &object)
}

fn ask(api: &Api, method: &str, path: &str, body: &Value) -> Result<Result<String, Refusal>> {
    let content = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", content);
    let body = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body)?
    };
    api.ask(request.body(body)?)
}

/// That each of these is done.
fn allowed(api: &Api, requests: &[(&str, &str, Value)]) -> Result<()> {
    for (method, path, body) in requests {
        let answer = ask(api, method, path, body)?;
        ensure!(answer.is_ok(), "{method} {path}: {answer:?}");
    }
    Ok(())
}

/// That each of these is forbidden.
fn forbidden(api: &Api, requests: &[(&str, &str, Value)]) -> Result<()> {
    for (method, path, body) in requests {
        let answer = ask(api, method, path, body)?;
        let code = answer.as_ref().err().map(|refusal| refusal.code);
        ensure!(code == Some(403), "{method} {path}: {answer:?}");
    }
    Ok(())
}

fn an_agent_writes_the_status_of_its_own_nodes_configurations_alone() -> Result<()> {
    let cluster = cluster(&["a", "b"])?;
    // A token of the same account that no kubelet got for a pod. An API server takes up a new policy in a while.
    let unbound = cluster.as_account("vipkeeper-agent")?;
    let unbound = wait::until("the policy in force", SOON, || {
        Ok(match report(&unbound, "web-a")? {
            Ok(accepted) => Seen::NotYet(accepted),
            Err(refusal) => Seen::Yes((refusal.code, refusal.message)),
        })
    })?;
    ensure!(
        unbound.0 == 403 && unbound.1.contains("not bound to a node"),
        "an unbound token: {unbound:?}"
    );
    let a = cluster.as_agent("a")?;
    ensure!(report(&a, "web-a")?.is_ok(), "its own is refused");
    let refused = report(&a, "web-b")?;
    let refused = refused.err().map(|r| (r.code, r.message));
    let why = "the agent of node a may write the status of its own NodeConfigs alone";
    ensure!(
        refused
            .as_ref()
            .is_some_and(|(code, message)| *code == 403 && message.contains(why)),
        "another node's: {refused:?}"
    );
    ensure!(report(&cluster.as_agent("b")?, "web-b")?.is_ok());

    let own = format!("{CONFIGS}/web-a");
    forbidden(
        &a,
        &[
            ("PATCH", &own, json!({"spec": {"nodeName": "b"}})),
            ("PATCH", &own, json!({"metadata": {"labels": {"a": "b"}}})),
            ("PUT", &own, config("web-a", "b")),
            ("DELETE", &own, Value::Null),
            ("POST", CONFIGS, config("more", "a")),
        ],
    )?;
    // By the status it changes nothing but the status.
    let sly = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "b"}});
    let answer = ask(&a, "PATCH", &format!("{own}/status"), &sly)?;
    let now: Value = cluster.api.get(&own)?;
    ensure!(
        now["spec"] == json!({"nodeName": "a"}) && now["metadata"]["labels"].is_null(),
        "{answer:?} made {now}"
    );
    Ok(())
}

fn an_agent_reads_its_configurations_and_keys_by_name_and_nothing_else() -> Result<()> {
    let cluster = cluster(&["a"])?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"},
        "stringData": {"key": "0123456789abcdef"},
    });
    let elsewhere = "/api/v1/namespaces/default/secrets";
    cluster.api.create(SECRETS, &secret)?;
    cluster.api.create(elsewhere, &secret)?;
    let a = cluster.as_agent("a")?;
    let key = format!("{SECRETS}/web");
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let get = |path: &'static str| ("GET", path, Value::Null);
    allowed(
        &a,
        &[
            ("GET", &key, Value::Null),
            get(CONFIGS),
            get("/apis/vipkeeper.io/v1alpha1/nodeconfigs?fieldSelector=spec.nodeName%3Da"),
            get("/api/v1/namespaces/kube-system"),
            get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"),
        ],
    )?;
    forbidden(
        &a,
        &[
            ("GET", SECRETS, Value::Null),
            get("/api/v1/namespaces/vipkeeper-keys/secrets?watch=true"),
            get("/api/v1/secrets"),
            get("/api/v1/namespaces/default/secrets/web"),
            get("/api/v1/namespaces/vipkeeper-system/secrets/sh.helm.release.v1.vipkeeper.v1"),
            get("/api/v1/namespaces/default"),
            get(NODES),
            get(ROUTERS),
            get("/apis/vipkeeper.io/v1alpha1/virtualservers"),
            get("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"),
            get(definitions),
            get("/api/v1/namespaces/vipkeeper-system/pods"),
            ("PATCH", &key, json!({"data": null})),
            ("DELETE", &key, Value::Null),
            ("POST", SECRETS, secret),
        ],
    )
}

fn an_operator_writes_configurations_and_reads_no_key() -> Result<()> {
    let cluster = cluster(&["a"])?;
    let operator = cluster.as_operator()?;
    let router = scene::router("web", scene::VIP, &json!({}));
    cluster.api.apply(&scene::path("web"), &router)?;
    let (own, router) = (format!("{CONFIGS}/web-a"), scene::path("web"));
    let router_status = format!("{router}/status");
    let lease = format!("{LEASES}/vipkeeper-operator");
    let get = |path: &'static str| ("GET", path, Value::Null);
    let annotated = json!({"metadata": {"annotations": {"a": "b"}}});
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "web.1"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Compile", "reason": "Invalid",
        "type": "Warning", "note": "one", "reportingController": "vipkeeper.io/operator",
        "reportingInstance": "op", "regarding": {"kind": "VirtualRouter", "name": "web"},
    });
    allowed(
        &operator,
        &[
            ("PATCH", &own, json!({"spec": {"confirm": "1"}})),
            ("POST", CONFIGS, config("more", "a")),
            (
                "DELETE",
                "/apis/vipkeeper.io/v1alpha1/nodeconfigs/more",
                Value::Null,
            ),
            ("PATCH", &router, annotated.clone()),
            (
                "PATCH",
                &router_status,
                json!({"status": {"nodeSummary": "0/0"}}),
            ),
            get("/apis/vipkeeper.io/v1alpha1/settings"),
            get("/apis/vipkeeper.io/v1alpha1/virtualservers"),
            get("/api/v1/namespaces"),
            get("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"),
            get(NODES),
            ("GET", &lease, Value::Null),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/default/events",
                event,
            ),
        ],
    )?;
    forbidden(
        &operator,
        &[
            get("/api/v1/namespaces/vipkeeper-keys/secrets/web"),
            ("GET", SECRETS, Value::Null),
            get("/api/v1/secrets"),
            get("/api/v1/pods"),
            get("/api/v1/configmaps"),
            get("/apis/discovery.k8s.io/v1/endpointslices"),
            ("GET", LEASES, Value::Null),
            get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/other"),
            ("PATCH", "/api/v1/nodes/a", annotated.clone()),
            (
                "PATCH",
                &format!("{own}/status"),
                json!({"status": {"families": []}}),
            ),
            ("DELETE", &router, Value::Null),
            ("POST", ROUTERS, scene::router("b", scene::VIP, &json!({}))),
            (
                "PATCH",
                "/apis/vipkeeper.io/v1alpha1/settings/default",
                annotated,
            ),
        ],
    )
}

fn the_admission_policy_has_no_complaints_of_the_api_server() -> Result<()> {
    let cluster = cluster(&["a"])?;
    let checked = |policy: &Value| {
        policy["status"]["observedGeneration"] == policy["metadata"]["generation"]
            && policy["status"]["typeChecking"].is_object()
    };
    let policy: Value = cluster
        .api
        .await_object(POLICY, "type checks", SOON, checked)?;
    let complaints = &policy["status"]["typeChecking"]["expressionWarnings"];
    ensure!(complaints.is_null(), "{complaints}");
    Ok(())
}
