//! The agent with no more than its container in the chart has: root with four capabilities and no way to more,
//! /proc/sys read-only, and the interfaces' settings in a directory of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::lab::Node;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::{Agent, agent, tests};

use crate::scene::{SOON, Scene, VIP4};

tests! {
    alone with_the_capabilities_of_its_container_an_agent_does_everything,
    beside without_the_directory_of_settings_those_of_the_kernel_are_set,
}

/// Those of charts/vipkeeper/templates/agent/daemonset.yaml.
const CAPABILITIES: &str = "-all,+net_admin,+net_raw,+sys_nice,+ipc_lock";

/// A program that becomes the agent in such a container.
fn contained(node: &Node) -> Result<PathBuf> {
    let directory = node.directory().join("container");
    fs::create_dir_all(directory.join("conf"))?;
    let (agent, settings) = (agent::program()?, directory.join("conf"));
    let (agent, settings) = (agent.display(), settings.display());
    let script = format!(
        "#!/bin/sh
exec unshare --mount sh -euc '
mount --bind /proc/sys/net/ipv4/conf {settings}
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
case $1 in
--*) set -- \"$@\" --interface-settings {settings} ;;
esac
exec setpriv --bounding-set {CAPABILITIES} --inh-caps -all --no-new-privs --clear-groups {agent} \"$@\"
' contained \"$@\"
"
    );
    let program = directory.join("agent");
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

fn arp_ignore(node: &Node) -> Result<String> {
    node.namespace().run(|| {
        let path = "/proc/sys/net/ipv4/conf/eth0/arp_ignore";
        fs::read_to_string(path).context(path)
    })
}

fn with_the_capabilities_of_its_container_an_agent_does_everything() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], &[("a", 110)]);
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let a = scene.lab.node("a")?.clone();
    scene.agent("a")?.process_mut().stop(SOON)?;
    let before = (a.addresses()?, arp_ignore(&a)?);
    ensure!(before.1.trim() == "0", "nothing to set");

    scene.agents[0] = Agent::restart_as(&a, &contained(&a)?)?;
    scene.await_active(&router, "a")?;
    let status = fs::read_to_string(format!("/proc/{}/status", scene.agents[0].process().id()))?;
    ensure!(
        status.contains("CapEff:\t0000000000807000"),
        "more or less than it has in the chart:\n{status}"
    );
    ensure!(arp_ignore(&a)?.trim() == "1", "arp_ignore stays as it is");
    let log = scene.agents[0].process().log();
    ensure!(!log.contains("WARN"), "{log}");

    // The guardian, which has no more, takes the address off a dead agent.
    let children = scene.agents[0].process().children();
    let agent = children.first().context("no agent")?;
    nix::sys::signal::kill(*agent, nix::sys::signal::Signal::SIGKILL)?;
    scene.agents[0].process_mut().ended(SOON)?;
    ensure!(!a.holds(VIP4)?, "the guardian left the address");

    scene.agents[0] = Agent::restart_as(&a, &contained(&a)?)?;
    scene.await_active(&router, "a")?;
    let status = scene.agents[0].process_mut().stop(SOON)?;
    ensure!(status.success(), "{status}");
    ensure!((a.addresses()?, arp_ignore(&a)?) == before);
    Ok(())
}

fn without_the_directory_of_settings_those_of_the_kernel_are_set() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], &[("a", 110)]);
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
    let a = scene.lab.node("a")?.clone();
    scene.agent("a")?.process_mut().stop(SOON)?;
    ensure!(arp_ignore(&a)?.trim() == "0", "nothing to set");
    scene.agents[0] = Agent::restart_with(&a, &["--interface-settings", "/nowhere"])?;
    scene.await_active(&router, "a")?;
    ensure!(arp_ignore(&a)?.trim() == "1", "arp_ignore stays as it is");
    let log = scene.agents[0].process().log();
    ensure!(log.contains("/nowhere"), "{log}");
    Ok(())
}
