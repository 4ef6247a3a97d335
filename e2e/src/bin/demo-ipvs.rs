//! `make demo-ipvs`: two directors, two web servers, in a guest whose kernel has IPVS.

use std::process::ExitCode;

use clap::Parser;
use vipkeeper_e2e::demo::servers::{self, Options};

fn main() -> anyhow::Result<ExitCode> {
    servers::run(&Options::parse())
}
