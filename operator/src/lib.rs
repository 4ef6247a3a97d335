//! The operator: it watches the objects of a cluster, compiles them, writes the configurations of the nodes, and shows
//! in the user's objects what the agents report.
//!
//! No agent needs it to be alive.
//!
//! - `watch`: the API server's streams as changes.
//! - `cluster`: all objects as they are, and what has to be written; pure.
//! - `name`, `projection`: names of NodeConfigs; reports of agents as a router's status; pure.
//! - `apply`: carries writes out.
//! - `lease`: of several operators one writes.
//! - `runtime`: the loop that joins them.
//! - `teardown`: what comes before an uninstallation.

pub mod apply;
pub mod cli;
pub mod cluster;
pub mod lease;
pub mod name;
pub mod projection;
pub mod runtime;
pub mod teardown;
pub mod watch;
