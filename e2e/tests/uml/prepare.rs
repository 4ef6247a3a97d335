//! What the chart's value `sysctls` relies on: the settings of IPVS, from inside a container.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::{Lab, program, tests};

tests! {
    beside a_machine_is_prepared_from_a_container_that_has_its_root,
    beside a_mount_of_the_settings_is_written_with_net_admin_alone,
}

/// What `script` says in the network namespace of the node `a`, in a mount namespace of its own.
fn said(lab: &Lab, script: &str) -> Result<String> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", script]);
    lab.node("a")?.namespace().enter(&mut command);
    let output = command.output().context("unshare")?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{text}");
    Ok(text)
}

/// The value of a setting below /proc/sys/net in the namespace of the node `a`.
fn value(lab: &Lab, setting: &str) -> Result<String> {
    lab.node("a")?.namespace().run(|| {
        let text = fs::read_to_string(format!("/proc/sys/net/{setting}"))?;
        Ok(text.trim().to_owned())
    })
}

fn a_machine_is_prepared_from_a_container_that_has_its_root() -> Result<()> {
    let lab = Lab::new(&["a"], 1)?;
    let agent = program::built("VIPKEEPER_AGENT", "vipkeeper-agent")?;
    let agent = agent.display();
    let before = value(&lab, "ipv4/vs/conntrack")?;
    ensure!(before == "0", "{before}");
    // As a kubelet mounts it: the directory read-only, what is mounted below as it was.
    let host = format!(
        "mount -t tmpfs none /mnt; mkdir /mnt/host; mount --rbind / /mnt/host; \
         mount -o remount,bind,ro /mnt/host; {agent} prepare --root /mnt/host"
    );
    let first = said(&lab, &host)?;
    ensure!(first.contains("IPVS: there already"), "{first}");
    ensure!(
        first.contains("net.ipv4.vs.conntrack: 0, now 1\n"),
        "{first}"
    );
    for setting in ["conntrack", "expire_nodest_conn", "sloppy_tcp"] {
        let now = value(&lab, &format!("ipv4/vs/{setting}"))?;
        ensure!(now == "1", "{setting} is {now}: {first}");
    }
    let again = said(&lab, &format!("{agent} prepare"))?;
    ensure!(
        again.contains("net.ipv4.vs.conntrack: 1 already\n"),
        "{again}"
    );
    ensure!(!again.contains("now"), "{again}");
    Ok(())
}

fn a_mount_of_the_settings_is_written_with_net_admin_alone() -> Result<()> {
    let lab = Lab::new(&["a"], 1)?;
    // As in the chart's container: /proc/sys is read-only, and the node's is somewhere else.
    let said = said(
        &lab,
        "mount -t tmpfs none /mnt; mkdir /mnt/net; mount --bind /proc/sys/net /mnt/net; \
         mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; \
         setpriv --bounding-set=-all,+net_admin --inh-caps=-all sh -c '\
         echo 1 >/proc/sys/net/ipv4/vs/sloppy_tcp || echo read-only; \
         echo 1 >/mnt/net/ipv4/vs/sloppy_tcp'",
    )?;
    ensure!(said.contains("read-only"), "{said}");
    let now = value(&lab, "ipv4/vs/sloppy_tcp")?;
    ensure!(now == "1", "{now}: {said}");
    Ok(())
}
