//! What a person asks with kubectl and its plugin.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vipkeeper_e2e::Cluster;
use vipkeeper_e2e::cluster::{Said, plugin};
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::wait::{self, Seen};

use crate::scene::{self, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    beside kubectl_shows_state_first_and_explains_every_field,
    beside the_plugin_tells_who_holds_an_address_and_why_and_moves_it,
    beside the_plugin_says_what_is_wrong_with_the_installation,
    beside the_plugin_tells_how_a_virtual_server_stands_on_each_node,
}

fn kubectl_shows_state_first_and_explains_every_field() -> Result<()> {
    let cluster = cluster_of(&["a"])?;
    cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let heads = |table: &str| {
        let first = table.lines().next().unwrap_or_default();
        first.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let table = cluster.kubectl(&["get", "vkr"], None)?;
    ensure!(
        heads(&table) == "NAME ACTIVE READY VRID ADDRESSES NODES AGE",
        "{table}"
    );
    let row: Vec<&str> = table
        .lines()
        .nth(1)
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let is_row = matches!(
        row.as_slice(),
        ["web", "a", "True", _, "192.0.2.100", "1/1", _]
    );
    ensure!(is_row, "{table}");

    let settings = json!({"apiVersion": "vipkeeper.io/v1alpha1", "kind": "Settings",
        "metadata": {"name": "default"}, "spec": {}});
    cluster.kubectl(&["apply", "-f", "-"], Some(&settings.to_string()))?;
    let all = cluster.kubectl(&["get", "vip", "-o", "name"], None)?;
    ensure!(all.contains("virtualrouter.vipkeeper.io/web"), "{all}");
    ensure!(all.contains("settings.vipkeeper.io/default"), "{all}");

    let described = cluster.kubectl(&["describe", "vkr", "web"], None)?;
    ensure!(described.contains("one node is Active"), "{described}");

    let explained = cluster.kubectl(&["explain", "vkr.spec"], None)?;
    let flat = explained.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "`10s` to `1h`, or `Forever`. Default: `30s`.",
        "Default: `250ms` with version 3, `1s` with version 2.",
        "Default: `linger: 1s`.",
    ] {
        ensure!(flat.contains(words), "{words}: {explained}");
    }
    Ok(())
}

fn the_plugin_tells_who_holds_an_address_and_why_and_moves_it() -> Result<()> {
    let cluster = cluster_of(&["a", "b"])?;
    let holder = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let other = if holder == "a" { "b" } else { "a" };

    let status = said(&cluster, &["status"], 0)?;
    ensure!(
        status.contains(&format!("web    True    {holder} ")),
        "{status}"
    );
    let status: Value =
        serde_json::from_str(&said(&cluster, &["status", "web", "-o", "json"], 0)?)?;
    ensure!(
        status["routers"][0]["families"][0]["active"] == *holder,
        "{status}"
    );

    let why = said(&cluster, &["why", "web"], 0)?;
    ensure!(
        why.contains(&format!(
            "{holder} is Active: its priority, 254, is the highest"
        )),
        "{why}"
    );

    // Away from its holder, and no longer back.
    let drained = said(&cluster, &["drain", &holder, "--wait"], 0)?;
    ensure!(
        drained.contains(&format!("web: moves to {other}")),
        "{drained}"
    );
    ensure!(
        drained.ends_with(&format!("{holder} is Active for nothing.\n")),
        "{drained}"
    );
    cluster.await_holder(VIP, |node| node == other)?;
    let why = said(&cluster, &["why", "web"], 0)?;
    ensure!(
        why.contains("below all others: its Node has the annotation vipkeeper.io/drain"),
        "{why}"
    );
    let refused = said(&cluster, &["failover", "web", "--to", &holder], 1)?;
    ensure!(
        refused.contains(&format!("refused: {holder} shall not be used")),
        "{refused}"
    );

    // The last one stays where it is, and says why.
    let stuck = said(&cluster, &["drain", other, "--wait", "--timeout", "5s"], 1)?;
    ensure!(
        stuck.contains("web: stays: every other candidate shall not be used either"),
        "{stuck}"
    );
    said(&cluster, &["undrain", other], 0)?;
    said(&cluster, &["undrain", &holder], 0)?;

    let moved = said(&cluster, &["failover", "web", "--to", &holder, "--wait"], 0)?;
    ensure!(
        moved.ends_with(&format!("web: {holder} is Active.\n")),
        "{moved}"
    );
    cluster.await_holder(VIP, |node| node == holder)?;
    let why = said(&cluster, &["why", "web"], 0)?;
    ensure!(
        why.contains("first, because vipkeeper.io/active-node names it"),
        "{why}"
    );
    said(&cluster, &["failover", "web", "--clear"], 0)?;
    cluster.await_active("web", |node| node == holder)?;

    // What does not exist, and what is refused.
    said(&cluster, &["why", "nothing"], 2)?;
    said(&cluster, &["drain", "nobody"], 2)?;
    cluster.api.apply(
        &scene::path("twice"),
        &scene::router("twice", VIP, &json!({})),
    )?;
    wait::until("a refused router is told", SOON, || {
        let why = cluster.plugin(&["why", "twice"], None)?;
        let is_refused = |said: &Said| {
            said.code == Some(1) && said.out.contains("error: spec.addresses[0].address: ")
        };
        Ok(Seen::when(why, is_refused).map(|_| ()))
    })?;
    said(&cluster, &["status"], 1)?;
    Ok(())
}

fn the_plugin_says_what_is_wrong_with_the_installation() -> Result<()> {
    let mut cluster = cluster_of(&["a", "b"])?;
    cluster.serve(&scene::router("web", VIP, &json!({})))?;
    wait::until("nothing is a Failure", SOON, || {
        Ok(Seen::when(cluster.plugin(&["doctor"], None)?, |said| {
            said.code == Some(0)
        })
        .map(|_| ()))
    })?;
    let report: Value = serde_json::from_str(&said(&cluster, &["doctor", "-o", "json"], 0)?)?;
    ensure!(report["installation"][1]["status"] == "Pass", "{report}");
    for name in [
        "Capabilities",
        "Sysctls",
        "KubeProxy",
        "Multicast",
        "RealTime",
        "Memory",
    ] {
        let checks = report["nodes"][0]["checks"].as_array();
        let found = checks.is_some_and(|all| all.iter().any(|check| check["name"] == name));
        ensure!(found, "no {name} in {report}");
    }

    // Operators that are killed do not give their Lease back.
    cluster.operators.clear();
    let lost = wait::until(
        "an operator that does not run is a Failure",
        SOON + SOON,
        || {
            let is_said = |said: &Said| said.out.contains("Operator: Failure: ");
            Ok(Seen::when(cluster.plugin(&["doctor"], None)?, is_said))
        },
    )?;
    ensure!(lost.code == Some(1), "{lost:?}");

    let good = scene::router("good", "192.0.2.120".parse()?, &json!({})).to_string();
    let bad = good.replace("192.0.2.120", "192.0.2.300");
    let valid = cluster.plugin(&["validate", "-"], Some(&good))?;
    ensure!(valid.code == Some(0), "{valid:?}");
    let invalid = cluster.plugin(&["validate", "-"], Some(&bad))?;
    ensure!(
        invalid.code == Some(1) && invalid.out.contains(": error: spec.addresses[0].address: "),
        "{invalid:?}"
    );
    Ok(())
}

/// A cluster, and a plugin to ask it with; or the reason why there is none here.
fn cluster_of(nodes: &[&str]) -> Result<Cluster> {
    plugin::program().map_err(|error| Skip::because(error.to_string()))?;
    scene::cluster(nodes)
}

/// What the plugin writes, which ends with `code`.
fn said(cluster: &Cluster, arguments: &[&str], code: i32) -> Result<String> {
    let said = cluster.plugin(arguments, None)?;
    ensure!(
        said.code == Some(code),
        "{arguments:?}, not {code}: {said:?}"
    );
    Ok(said.out)
}

fn the_plugin_tells_how_a_virtual_server_stands_on_each_node() -> Result<()> {
    let cluster = cluster_of(&["a", "b"])?;
    let attach = json!({"attach": {"namespaces": {"from": "All"}}});
    let holder = cluster.serve(&scene::router("web", VIP, &attach))?;
    let server = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualServer",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"routerRef": {"name": "web"}, "ports": [{"port": 80}],
            "realServers": [{"address": "10.0.0.1"}]},
    });
    cluster.kubectl(&["apply", "-f", "-"], Some(&server.to_string()))?;
    // Whether its kernel has IPVS is the machine's.
    let arguments = ["why", "vks/one", "-n", "default", "-o", "json"];
    let report = wait::until("both nodes say how it stands", SOON, || {
        let said = cluster.plugin(&arguments, None)?;
        let report: Value = serde_json::from_str(&said.out)?;
        let tells = |node: &Value| node["total"] == 1;
        let is_told = |report: &Value| {
            let nodes = report["nodes"].as_array();
            nodes.is_some_and(|all| all.len() == 2 && all.iter().all(tells))
        };
        Ok(Seen::when(report, is_told))
    })?;
    ensure!(report["families"][0]["node"] == *holder, "{report}");
    let told = cluster.plugin(&["why", "default/one"], None)?;
    let who = format!("IPv4: {holder} holds the addresses, ");
    ensure!(told.out.contains(&who), "{told:?}");
    ensure!(told.code == Some(0) || told.code == Some(1), "{told:?}");

    // What a kernel lacks is said of its node, once, with the command.
    let lacks_ipvs = report["nodes"][0]["programmed"] == false;
    let doctor = cluster.plugin(&["doctor"], None)?;
    let command = "node a: IPVSMissing: the kernel has no IPVS; `modprobe ip_vs`";
    ensure!(!lacks_ipvs || doctor.out.contains(command), "{doctor:?}");

    let nothing = cluster.plugin(&["why", "default/nothing"], None)?;
    ensure!(nothing.code == Some(2), "{nothing:?}");
    Ok(())
}
