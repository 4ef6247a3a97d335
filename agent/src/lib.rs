//! The agent of a node, as modules; `main.rs` is its command line.

pub mod check;
pub mod inventory;
pub mod plan;
pub mod source;
