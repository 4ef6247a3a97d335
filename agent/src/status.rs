//! What this node writes into its NodeConfigs: how its elections and virtual servers stand, and what it
//! has.
//!
//! - `composition`: a snapshot of the election as the status of each NodeConfig. Pure.
//! - `conditions`: what is abnormal about a router instance. Pure.
//! - `inventory`: interfaces, kernel and agent as the status of the node's own NodeConfig. Pure.
//! - `servers`: how the virtual servers stand, as part of that. Pure.
//! - `checks`: what is looked at on the machine.
//! - `bucket`: how many writes there may be. Pure.
//! - `turns`: whose status is written first. Pure.
//! - `writer`: the task that writes, on change alone, and not too often.
//!
//! Never writes anything but the status of this node's NodeConfigs; nothing waits for it.

mod bucket;
mod checks;
mod composition;
mod conditions;
mod inventory;
mod lacks;
mod servers;
#[cfg(test)]
mod tests;
mod turns;
mod writer;

pub use writer::{Sources, Writer};
