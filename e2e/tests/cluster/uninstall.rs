//! What an uninstallation leaves.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vipkeeper_crds::NodeConfig;
use vipkeeper_e2e::cluster::NAMESPACE;
use vipkeeper_e2e::cluster::api::CONFIGS;

use crate::scene::{self, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    beside an_uninstallation_leaves_nothing_on_nodes_and_no_object_but_the_users,
}

fn an_uninstallation_leaves_nothing_on_nodes_and_no_object_but_the_users() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b"])?;
    let clean: Vec<_> = cluster
        .lab
        .nodes()
        .iter()
        .map(left)
        .collect::<Result<_>>()?;
    cluster.serve(&scene::router("web", VIP, &json!({})))?;
    cluster.uninstall()?;
    cluster.await_holders(VIP, &[])?;
    let configs: Vec<NodeConfig> = cluster.api.list(CONFIGS)?;
    ensure!(configs.is_empty(), "NodeConfigs are left: {configs:?}");
    // A kubelet ends the containers of pods that are deleted.
    for agent in &mut cluster.agents {
        agent.process_mut().stop(SOON)?;
    }
    for operator in &mut cluster.operators {
        operator.process.stop(SOON)?;
    }
    let now: Vec<_> = cluster
        .lab
        .nodes()
        .iter()
        .map(left)
        .collect::<Result<_>>()?;
    ensure!(
        now == clean,
        "left on nodes:\n{now:#?}\nbefore:\n{clean:#?}"
    );

    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    cluster
        .api
        .await_list(&pods, "none", SOON, |pods: &[Value]| pods.is_empty())?;
    let kinds = "deployments,daemonsets,jobs,serviceaccounts,roles,rolebindings,poddisruptionbudgets,\
        clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let selector = "app.kubernetes.io/part-of=vipkeeper";
    let objects = cluster.kubectl(
        &[
            "get",
            kinds,
            "--all-namespaces",
            "-l",
            selector,
            "-o",
            "name",
        ],
        None,
    )?;
    ensure!(objects.trim().is_empty(), "objects are left:\n{objects}");
    // The user's own stay.
    cluster.kubectl(&["get", "virtualrouter", "web"], None)?;
    Ok(())
}

/// What a node has that an agent could have put there: addresses, links, routes, rules.
fn left(node: &vipkeeper_e2e::Node) -> Result<String> {
    let shown = [
        ["address"].as_slice(),
        &["link"],
        &["route", "show", "table", "all"],
        &["rule"],
        &["-6", "rule"],
    ];
    let mut text = String::new();
    for arguments in shown {
        let mut command = std::process::Command::new("ip");
        command.arg("-o").args(arguments);
        node.namespace().enter(&mut command);
        let output = command.output()?;
        text.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    Ok(text)
}
