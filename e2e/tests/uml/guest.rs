//! The guest itself: what it has, and that its results are those of its test.

use anyhow::{Result, ensure};
use vipkeeper_e2e::{Ipvsadm, Lab, keepalived, tests};

tests! {
    beside it_has_ipvs_with_every_scheduler_in_each_namespace,
    beside it_has_keepalived_2_3,
}

const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos",
];

fn it_has_ipvs_with_every_scheduler_in_each_namespace() -> Result<()> {
    let lab = Lab::new(&["a", "b"], 1)?;
    let [a, b] = ["a", "b"].map(|name| lab.node(name).map(Ipvsadm::at));
    let (a, b) = (a?, b?);
    for (port, scheduler) in (8000..).zip(SCHEDULERS) {
        for address in ["192.0.2.100", "[2001:db8::100]"] {
            let service = format!("{address}:{port}");
            a.run(&format!("-A -t {service} -s {scheduler}"))?;
        }
    }
    let of_a = a.table()?;
    ensure!(of_a.len() == 2 * SCHEDULERS.len(), "{of_a:?}");
    let of_b = b.table()?;
    ensure!(of_b.is_empty(), "{of_b:?}");
    Ok(())
}

fn it_has_keepalived_2_3() -> Result<()> {
    let version = keepalived::version()?;
    ensure!(version.starts_with("2.3"), "{version}");
    Ok(())
}
