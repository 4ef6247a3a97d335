//! `make demo`: two nodes share two virtual addresses, one dies, the other answers.

use std::process::ExitCode;

use clap::Parser;
use vipkeeper_e2e::demo::{self, Options};

fn main() -> anyhow::Result<ExitCode> {
    demo::run(&Options::parse())
}
