//! The cluster rung: operators and agents of both charts against a real control plane. Needs root, openssl, and the
//! programs that scripts/kubernetes builds.

use std::process::ExitCode;

use vipkeeper_e2e::harness;

#[path = "cluster/apply.rs"]
mod apply;
#[path = "cluster/charts.rs"]
mod charts;
#[path = "cluster/control_plane.rs"]
mod control_plane;
#[path = "cluster/crash.rs"]
mod crash;
#[path = "cluster/drain.rs"]
mod drain;
#[path = "cluster/many.rs"]
mod many;
#[path = "cluster/mistakes.rs"]
mod mistakes;
#[path = "cluster/plugin.rs"]
mod plugin;
#[path = "cluster/rbac.rs"]
mod rbac;
#[path = "cluster/scene.rs"]
mod scene;
#[path = "cluster/servers.rs"]
mod servers;
#[path = "cluster/uninstall.rs"]
mod uninstall;
#[path = "cluster/upgrade.rs"]
mod upgrade;
#[path = "cluster/writes.rs"]
mod writes;

fn main() -> ExitCode {
    let tests = [
        apply::TESTS,
        charts::TESTS,
        rbac::TESTS,
        crash::TESTS,
        control_plane::TESTS,
        mistakes::TESTS,
        drain::TESTS,
        plugin::TESTS,
        writes::TESTS,
        servers::TESTS,
        many::TESTS,
        uninstall::TESTS,
        upgrade::TESTS,
    ];
    harness::main("cluster", &tests.concat())
}
