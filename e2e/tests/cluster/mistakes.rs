//! What an administrator deletes and did not mean to: no address moves.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use vipkeeper_crds::NodeConfig;
use vipkeeper_e2e::cluster::api::CONFIGS;
use vipkeeper_e2e::cluster::chart;

use crate::scene::{self, SOON, Scene as _, VIP};

vipkeeper_e2e::tests! {
    beside a_configuration_deleted_while_its_agent_was_away_takes_no_address_away,
    beside the_definition_of_node_configs_deleted_by_mistake_moves_nothing,
}

fn a_configuration_deleted_while_its_agent_was_away_takes_no_address_away() -> Result<()> {
    let mut cluster = scene::cluster(&["a"])?;
    cluster.serve(&scene::router("web", VIP, &json!({})))?;
    // Without an operator nobody makes it again.
    let mut operator = cluster.operators.remove(0);
    operator.process.stop(SOON)?;
    let mut agent = cluster.take_agent("a")?;
    agent.process_mut().stop(SOON)?;
    let configs: Vec<NodeConfig> = cluster.api.list(CONFIGS)?;
    let of_web = configs.iter().find(|config| config.spec.router.is_some());
    let name = of_web
        .and_then(|c| c.metadata.name.as_deref())
        .context("no NodeConfig of web")?;
    cluster.api.delete(&format!("{CONFIGS}/{name}"))?;

    let mut agent = agent.again()?;
    agent.await_state("web", "Active", SOON)?;
    cluster.await_holders(VIP, &["a"])?;
    let findings = agent.state()?.findings();
    ensure!(
        findings.iter().any(|f| f.contains(name)),
        "it is not said: {findings:?}"
    );
    cluster.agents.push(agent);

    let before = cluster.transitions("web")?;
    cluster.start_operator()?;
    cluster.await_active("web", |_| true)?;
    ensure!(cluster.transitions("web")? == before, "web moved");
    Ok(())
}

fn the_definition_of_node_configs_deleted_by_mistake_moves_nothing() -> Result<()> {
    let mut cluster = scene::cluster(&["a", "b"])?;
    let holder = cluster.serve(&scene::router("web", VIP, &json!({})))?;
    let before = cluster.transitions("web")?;
    let definition = "nodeconfigs.vipkeeper.io";
    cluster.kubectl(
        &[
            "delete",
            "customresourcedefinition",
            definition,
            "--timeout=30s",
        ],
        None,
    )?;
    for agent in &mut cluster.agents {
        let kept = |state: &vipkeeper_e2e::agent::State| !state.findings().is_empty();
        agent.await_whole("says that its configuration vanished", SOON, kept)?;
    }
    ensure!(cluster.transitions("web")? == before, "web moved");

    let file = format!("{}/templates/nodeconfigs.yaml", chart("vipkeeper-crds"));
    cluster.kubectl(&["apply", "--server-side", "-f", &file], None)?;
    cluster.await_active("web", |node| node == holder)?;
    ensure!(cluster.transitions("web")? == before, "web moved");
    cluster.await_holders(VIP, &[&holder])
}
