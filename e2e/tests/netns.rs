//! The netns rung: real daemons on the real kernel, in network namespaces. Needs root.

use std::process::ExitCode;

use vipkeeper_e2e::harness;

#[path = "netns/lab.rs"]
mod lab;
#[path = "netns/machine.rs"]
mod machine;

fn main() -> ExitCode {
    let tests: Vec<harness::Test> = [lab::TESTS].concat();
    harness::main("netns", &tests)
}
