//! ipvsadm inside a node: what an administrator would program, and what the kernel has.

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::lab::Node;

/// ipvsadm of one node.
#[derive(Clone, Debug)]
pub struct Ipvsadm {
    node: Node,
}

impl Ipvsadm {
    /// That of `node`.
    #[must_use]
    pub fn at(node: &Node) -> Self {
        Self { node: node.clone() }
    }

    /// Runs it with `arguments`, separated by spaces, and returns its output.
    ///
    /// # Errors
    /// When it is not installed or refuses; with its words.
    pub fn run(&self, arguments: &str) -> Result<String> {
        let mut command = Command::new("ipvsadm");
        command.args(arguments.split_whitespace());
        self.node.namespace().enter(&mut command);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().context("start ipvsadm")?;
        if !status.success() {
            let error = String::from_utf8_lossy(&stderr);
            let node = self.node.name();
            bail!("ipvsadm {arguments} at {node}: {status}: {}", error.trim());
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Every service and destination of the kernel's table, a line each as `ipvsadm --restore` takes them, sorted.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn table(&self) -> Result<Vec<String>> {
        let text = self.run("--save --numeric")?;
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        Ok(lines)
    }
}
