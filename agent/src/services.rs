//! The services thread: makes the kernel's IPVS as a [`Table`] says, keeps it so, and tells what the kernel has.
//!
//! | Module | Holds |
//! |---|---|
//! | [`table`] | what the kernel should have |
//! | [`present`] | what the kernel has |
//! | [`kernel`] | how it is asked and told, as a trait |
//! | [`report`] | what is told of it all |
//! | [`mailbox`] | how the thread is reached |
//! | [`ledger`] | what is ours, for whoever comes after a crash |
//!
//! Owns every service of IPVS that its ledger calls ours. Decides nothing: which real servers a service has, and with
//! which weights, is the table's to say. Touches nothing of anybody else's, flushes nothing, and starts no program.

pub mod kernel;
pub mod ledger;
pub mod mailbox;
pub mod present;
pub mod report;
pub mod table;
mod thread;

pub use self::mailbox::{Finished, Mailbox};
pub use self::report::{Counts, Observed, ServiceReport, Trouble};
pub use self::table::{Entry, Table};
pub use self::thread::{Context, run};
