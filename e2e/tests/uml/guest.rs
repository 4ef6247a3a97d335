//! The guest itself: what it has, and that its results are those of its test.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::{Lab, keepalived, tests};

tests! {
    beside it_has_ipvs_with_every_scheduler_in_each_namespace,
    beside it_has_keepalived_2_3,
}

const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos",
];

fn it_has_ipvs_with_every_scheduler_in_each_namespace() -> Result<()> {
    let lab = Lab::new(&["a", "b"], 1)?;
    let ipvsadm = |node: &str, arguments: &[&str]| -> Result<String> {
        let mut command = Command::new("ipvsadm");
        command.args(arguments);
        lab.node(node)?.namespace().enter(&mut command);
        let output = command.output().context("start ipvsadm")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {error}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for (port, scheduler) in (8000..).zip(SCHEDULERS) {
        for address in ["192.0.2.100", "[2001:db8::100]"] {
            let service = format!("{address}:{port}");
            ipvsadm("a", &["-A", "-t", &service, "-s", scheduler])?;
        }
    }
    let of_a = ipvsadm("a", &["-S", "-n"])?;
    ensure!(of_a.lines().count() == 2 * SCHEDULERS.len(), "{of_a}");
    let of_b = ipvsadm("b", &["-S", "-n"])?;
    ensure!(of_b.is_empty(), "{of_b}");
    Ok(())
}

fn it_has_keepalived_2_3() -> Result<()> {
    let version = keepalived::version()?;
    ensure!(version.starts_with("2.3"), "{version}");
    Ok(())
}
