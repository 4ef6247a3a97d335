//! The agent of a node, as modules; `main.rs` is its command line.

pub mod admin;
pub mod check;
pub mod cleanup;
pub mod cli;
pub mod client;
pub mod clock;
pub mod distribution;
pub mod drain;
pub mod election;
pub mod guardian;
pub mod home;
pub mod incarnation;
pub mod inventory;
pub mod metrics;
pub mod monitor;
pub mod netlink;
pub mod network;
pub mod plan;
pub mod prepare;
pub mod probe;
pub mod record;
pub mod ring;
pub mod runtime;
pub mod services;
pub mod source;
pub mod standby;
pub mod state;
pub mod status;
pub mod supply;
pub mod sys;
pub mod takeover;
pub mod telling;

#[cfg(test)]
mod scratch;
