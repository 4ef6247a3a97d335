//! The uml rung: real daemons and real traffic on a kernel that has IPVS, each test in a guest of its own. Needs root.

use std::process::ExitCode;

use vipkeeper_e2e::uml;

#[path = "uml/guest.rs"]
mod guest;

fn main() -> ExitCode {
    uml::main(&[guest::TESTS].concat())
}
