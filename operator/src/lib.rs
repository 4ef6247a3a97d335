//! The operator: it watches the objects of a cluster, compiles them, writes the configurations of the nodes, and shows
//! in the user's objects what the agents report.
//!
//! No agent needs it to be alive.
//!
//! - `watch`: the API server's streams as changes.
//! - `change`: what comes in and goes out, as data.
//! - `cluster`: all objects as they are, and what has to be written; pure.
//! - `name`: names of NodeConfigs; pure.
//! - `claims`, `vacancy`, `roll`: who is Active of those who say so; whether nobody is; a new identity step by step; pure.
//! - `lag`: whether a node is about to report on an edit of a VirtualServer; pure.
//! - `projection`, `news`: reports of agents as a router's status; what of it is worth telling; pure.
//! - `apply`, `publish`: carries writes out; tells news as Events.
//! - `lease`: of several operators one writes.
//! - `metrics`, `listen`: what the process does, as numbers; the port that serves them.
//! - `runtime`: the loop that joins them.
//! - `teardown`: what comes before an uninstallation.

pub mod apply;
pub mod change;
mod claims;
pub mod cli;
pub mod cluster;
mod lag;
pub mod lease;
pub mod listen;
pub mod metrics;
pub mod name;
pub mod news;
mod projection;
pub mod publish;
mod roll;
pub mod runtime;
pub mod teardown;
mod vacancy;
pub mod watch;
