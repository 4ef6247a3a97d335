//! A schedule in words: one JSON object a line, for reading what led to a violation.

use std::fmt;
use std::io::Write;

use serde::Serialize;
use serde_json::{Value, json};

use crate::group::{Member, Nanos};

/// Writes to standard output, or nowhere.
pub(crate) struct Trace {
    on: bool,
}

impl Trace {
    pub(crate) const OFF: Self = Self { on: false };
    pub(crate) const ON: Self = Self { on: true };

    pub(crate) fn plan(&self, node: usize, plan: &[Option<Member>]) {
        self.line(|| json!({"node": node, "plan": plan}));
    }

    pub(crate) fn heal(&self, now: Nanos) {
        self.line(|| json!({"at": seconds(now), "healed": true}));
    }

    pub(crate) fn overflow(&self, now: Nanos, node: usize) {
        self.line(|| json!({"at": seconds(now), "node": node, "overflow": true}));
    }

    pub(crate) fn fault(&self, now: Nanos, fault: &impl Serialize) {
        self.line(|| json!({"at": seconds(now), "fault": fault}));
    }

    pub(crate) fn input(&self, now: Nanos, node: usize, input: impl Serialize) {
        self.line(|| json!({"at": seconds(now), "node": node, "in": input}));
    }

    pub(crate) fn output(&self, now: Nanos, node: usize, output: &impl Serialize) {
        self.line(|| json!({"at": seconds(now), "node": node, "out": output}));
    }

    /// One line, made only if somebody reads it.
    fn line(&self, make: impl FnOnce() -> Value) {
        if self.on {
            print(format_args!("{}", make()));
        }
    }
}

/// Writes a line past the test harness, which would keep it until the end or drop it.
pub(crate) fn print(line: fmt::Arguments<'_>) {
    // A reader who has seen enough and gone is no failure of the test.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Nanoseconds as seconds with all their digits.
pub(crate) fn seconds(nanos: Nanos) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}
