//! The cluster rung: operators and agents of both charts against a real control plane. Needs root, openssl, and the
//! programs that scripts/kubernetes builds.

use std::process::ExitCode;

use vipkeeper_e2e::harness;

#[path = "cluster/apply.rs"]
mod apply;
#[path = "cluster/charts.rs"]
mod charts;
#[path = "cluster/rbac.rs"]
mod rbac;
#[path = "cluster/scene.rs"]
mod scene;

fn main() -> ExitCode {
    let tests = [apply::TESTS, charts::TESTS, rbac::TESTS];
    harness::main("cluster", &tests.concat())
}
