//! Records of real agents, told again: the same inputs at the same times give the same outputs.
//!
//! `VIPKEEPER_REPLAY` names a record of `vipkeeper-agent record` to replay instead of the one beside this file,
//! which is a Backup's of a failover between two agents in network namespaces. A change of what the election is,
//! is told or does makes that one obsolete; this takes it anew (as root, with the agent built):
//!
//! ```text
//! VIPKEEPER_RECORD_TO=$PWD/agent/vrrp/tests/simulator/failover.jsonl \
//!     cargo test -p vipkeeper-e2e --test netns -- a_record_of_a_failover
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "a record is a file that the environment may name"
)]

use std::path::PathBuf;
use std::{env, fs};

use vipkeeper_vrrp::{Line, Output, Reason, Replay, Report, StateName};

use crate::trace;

/// The record to replay.
const FILE: &str = "VIPKEEPER_REPLAY";

#[test]
fn a_recorded_run_replays_to_exactly_the_recorded_outputs() {
    let named = env::var_os(FILE).map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| {
        let manifest = env!("CARGO_MANIFEST_DIR");
        PathBuf::from(manifest).join("tests/simulator/failover.jsonl")
    });
    let text = fs::read_to_string(&path).unwrap();
    let mut replay = Replay::new();
    let mut promotions = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let told = |why: &dyn std::fmt::Display| format!("{}:{number}: {why}", path.display());
        let line: Line = match serde_json::from_str(line) {
            Ok(line) => line,
            Err(error) => panic!(
                "{}",
                told(&format_args!("{error}; take it anew, see `replay`"))
            ),
        };
        promotions += u32::from(is_failover(&line));
        if let Err(divergence) = replay.take(line) {
            panic!("{}", told(&divergence));
        }
    }
    let (inputs, outputs, gaps) = (replay.inputs(), replay.outputs(), replay.gaps());
    trace::print(format_args!(
        "replay: {inputs} inputs, {outputs} outputs, {gaps} gaps"
    ));
    if named.is_none() {
        assert!(inputs > 50 && outputs > 20 && gaps == 0);
        assert!(promotions >= 2, "no failover in it: {promotions}");
    }
}

fn is_failover(line: &Line) -> bool {
    matches!(
        line,
        Line::Out(Output::Report(Report::Transition {
            from: StateName::Backup,
            to: StateName::Active,
            reason: Reason::NoResponse,
            ..
        }))
    )
}
