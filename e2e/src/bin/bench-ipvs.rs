//! `make bench-ipvs`: a thousand virtual servers, beside keepalived, in a guest whose kernel has IPVS.

use std::process::ExitCode;

use clap::Parser;
use vipkeeper_e2e::bench::servers::{self, Options};

fn main() -> anyhow::Result<ExitCode> {
    servers::run(&Options::parse())
}
