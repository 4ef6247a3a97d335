//! A real server of the labs, as a process: it answers with its name.

use std::net::SocketAddr;

use anyhow::Result;
use clap::Parser;
use vipkeeper_e2e::real_server::serve;

/// Answers over TCP, HTTP, SCTP and UDP with its name until it is killed.
#[derive(Debug, Parser)]
struct Options {
    /// What it answers with.
    #[arg(long)]
    name: String,
    /// Where it listens, over TCP and UDP, and SCTP if the kernel has it.
    #[arg(required = true)]
    addresses: Vec<SocketAddr>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    serve(&options.name, &options.addresses)
}
