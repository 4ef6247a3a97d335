//! The agent's own unit tests that need a kernel with IPVS: those that it ignores elsewhere.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::tests;

tests! {
    beside the_agents_own_tests_of_the_real_ipvs_pass,
}

fn the_agents_own_tests_of_the_real_ipvs_pass() -> Result<()> {
    let Some(program) = env::var_os("VIPKEEPER_AGENT_TESTS") else {
        return Err(Skip::because(
            "not told where the agent's unit tests are: scripts/test uml does",
        ));
    };
    let output = Command::new(program)
        .args(["--ignored", "--test-threads", "1", "real_"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../agent"))
        .output()
        .context("start the agent's unit tests")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{text}");
    // Nothing would pass as well, if they had another name.
    ensure!(!text.contains(" 0 passed"), "{text}");
    Ok(())
}
