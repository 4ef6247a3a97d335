//! A lab for hands-on work: makes nodes and a client, says how to enter them, and removes all of it when it is
//! interrupted.

use std::io::{self, Write};

use anyhow::Result;
use clap::Parser;
use vipkeeper_e2e::Lab;

/// Network namespaces on a bridge, until interrupted or standard input ends.
#[derive(Debug, Parser)]
struct Options {
    /// Names of the nodes.
    #[arg(default_values = ["a", "b"])]
    nodes: Vec<String>,
    /// Ethernet segments, 1 or 2.
    #[arg(long, default_value_t = 1)]
    segments: u8,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let names: Vec<&str> = options.nodes.iter().map(String::as_str).collect();
    let lab = Lab::new(&names, options.segments)?;
    let mut out = io::stdout().lock();
    for node in lab.nodes().iter().chain([lab.client()]) {
        let (address, name) = (node.ipv4(0), node.namespace().name());
        writeln!(out, "{address}  ip netns exec {name} …")?;
    }
    writeln!(out, "files: {}", lab.directory().display())?;
    out.flush()?;
    drop(out);
    // Until the end of standard input; signals are the library's.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}
