//! `make bench`: failover beside keepalived, as tables.

use clap::Parser;
use vipkeeper_e2e::bench::{self, Options};

fn main() -> anyhow::Result<()> {
    bench::run(&Options::parse())
}
