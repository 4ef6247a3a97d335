//! `kubectl vipkeeper`: who holds each virtual address and why, planned moves, and what is wrong, from the objects of
//! the cluster.
//!
//! Writes two annotations, `vipkeeper.io/drain` of a Node and `vipkeeper.io/active-node` of a VirtualRouter, and nothing
//! else. Never speaks to an agent.
//!
//! - `cli`: the command line. `client`: the way to the API server, and why it fails. `objects`: what is read from it.
//! - `status`, `why`, `doctor`, `drain`, `failover`: a verb each: what it says is a function of the objects.
//! - `knowledge`: the objects as the compiler takes them.
//! - `validate`: manifests, without a cluster.
//! - `remedy`: what to do about a condition. `table`, `age`, `output`: how things are shown.

mod age;
pub mod cli;
mod client;
mod doctor;
mod drain;
mod failover;
mod knowledge;
mod objects;
mod output;
mod remedy;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod validate;
mod why;

use std::io::Write;
use std::process::ExitCode;

use cli::{Cli, Verb};

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0: it is done, or all is well.
    Good,
    /// Exit code 1: it is not done, or something is not well.
    Bad,
    /// Exit code 2: nothing could be asked, or what was asked for does not exist.
    CannotTell,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Good => 0,
            Outcome::Bad => 1,
            Outcome::CannotTell => 2,
        })
    }
}

/// Does what the command line asks for, and writes to `out`.
///
/// # Errors
/// If the API server or a file cannot be asked, if what was asked for does not exist, or if nothing can be written.
pub async fn run(cli: &Cli, out: &mut impl Write) -> anyhow::Result<Outcome> {
    match &cli.verb {
        Verb::Validate(args) => validate::run(args, out),
        Verb::Status(args) => status::run(cli, args, out).await,
        Verb::Why(args) => why::run(cli, args, out).await,
        Verb::Drain(args) => drain::drain(cli, args, out).await,
        Verb::Undrain(args) => drain::undrain(cli, args, out).await,
        Verb::Failover(args) => failover::run(cli, args, out).await,
        Verb::Doctor(args) => doctor::run(cli, args, out).await,
    }
}
