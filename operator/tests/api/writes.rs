//! One scenario for each way in which a write fails: it concerns its object alone, is tried again with growing
//! pauses, and nothing is lost.

use serde_json::json;
use tokio::time::{Duration, sleep};
use vipkeeper_operator::name;

use crate::server::{Fault, FaultKind, Server};
use crate::{operator, until};

fn cluster() -> Server {
    let server = Server::default();
    for node in ["a", "b", "c"] {
        let labels = json!({"labels": {"kubernetes.io/os": "linux"}});
        server.apply("nodes", node, json!({ "metadata": labels }));
    }
    server
}

fn router(server: &Server, name: &str, address: &str) {
    let spec = json!({"addresses": [{"address": address}]});
    let kind =
        json!({"apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter", "spec": spec});
    server.apply("virtualrouters", name, kind);
}

fn fail(server: &Server, path: &str, kind: FaultKind, times: usize) {
    let path = path.to_owned();
    server.state().faults.push_back(Fault { path, kind, times });
}

fn has_status(server: &Server, router: &str) -> bool {
    let router = server.get("virtualrouters", router).unwrap();
    router["status"]["virtualRouterId"].is_number()
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_concerns_its_object_alone_and_is_made_after_all() {
    let refusals = [409, 422, 404, 429, 500, 403].map(FaultKind::Code);
    for kind in refusals.into_iter().chain([FaultKind::Silence]) {
        let server = cluster();
        let broken = name::of_router("web", "a");
        fail(&server, &broken, kind, 3);
        let running = operator(&server, "one");
        router(&server, "web", "192.0.2.1");
        router(&server, "db", "192.0.2.2");
        until("the others are written", || {
            server.configs("web").len() == 2 && server.configs("db").len() == 3
        })
        .await;
        assert!(
            server.count(&broken) <= 1,
            "{kind:?}: before it is tried again"
        );
        until("it is written after all", || {
            server.configs("web").len() == 3
        })
        .await;
        // A request without an answer is not in the list.
        let tries = if kind == FaultKind::Silence { 1 } else { 4 };
        assert_eq!(server.count(&broken), tries, "{kind:?}");
        until("the status", || has_status(&server, "web")).await;
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_ever_is_tried_ever_less_and_edits_go_on() {
    let server = cluster();
    let broken = name::of_router("web", "a");
    fail(&server, &broken, FaultKind::Code(422), usize::MAX);
    let running = operator(&server, "one");
    router(&server, "web", "192.0.2.1");
    until("the others are written", || {
        server.configs("web").len() == 2
    })
    .await;
    sleep(Duration::from_secs(3_600)).await;
    let tries = server.count(&broken);
    assert!((60..90).contains(&tries), "{tries} in an hour");
    router(&server, "web", "192.0.2.7");
    let address = "/config/families/0/addresses/0/address";
    until("an edit comes through", || {
        let configs = server.configs("web");
        configs.len() == 2
            && configs
                .values()
                .all(|c| c.pointer(address) == Some(&json!("192.0.2.7")))
    })
    .await;
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_status_and_what_is_remembered_survive_failures_too() {
    for kind in [409, 422, 429, 500].map(FaultKind::Code) {
        let server = cluster();
        fail(&server, "/virtualrouters/web", kind, 2);
        fail(&server, "/virtualrouters/web/status", kind, 2);
        let running = operator(&server, "one");
        router(&server, "web", "192.0.2.1");
        until("the status", || has_status(&server, "web")).await;
        let object = server.get("virtualrouters", "web").unwrap();
        let annotations = &object["metadata"]["annotations"];
        let id = &annotations["vipkeeper.io/virtual-router-id"];
        assert_eq!(*id, object["status"]["virtualRouterId"].to_string());
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_is_made_after_all_and_one_of_another_object_never() {
    let server = cluster();
    let running = operator(&server, "one");
    router(&server, "web", "192.0.2.1");
    until("all are written", || server.configs("web").len() == 3).await;
    let gone = name::of_router("web", "a");
    fail(&server, &gone, FaultKind::Code(500), 2);
    let listed =
        json!({"priorities": [{"node": "b", "priority": 9}, {"node": "c", "priority": 1}]});
    let spec = json!({"addresses": [{"address": "192.0.2.1"}], "nodes": listed});
    server.apply("virtualrouters", "web", json!({ "spec": spec }));
    until("it is gone", || server.get("nodeconfigs", &gone).is_none()).await;
    let deletions = server.state().requests.clone();
    let deletions = deletions.iter().filter(|(method, ..)| method == "DELETE");
    assert!(deletions.clone().all(|(_, path, _)| path.ends_with(&gone)));
    assert_eq!(deletions.count(), 3);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_operator_writes_nothing_and_repeats_no_event() {
    let server = cluster();
    let running = operator(&server, "one");
    router(&server, "web", "192.0.2.1");
    router(&server, "bad", "192.0.2.1");
    until("it is told", || server.count("/events") == 1).await;
    until("the status", || has_status(&server, "web")).await;
    sleep(Duration::from_secs(5)).await;
    let before = server.state().requests.len();
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(server.state().requests.len(), before, "six full passes");
    running.abort();
    let another = operator(&server, "two");
    sleep(Duration::from_secs(60)).await;
    let requests = server.state().requests.split_off(before);
    assert_eq!(
        requests,
        [],
        "another operator finds everything done and told"
    );
    another.abort();
}
