//! Virtual servers: who serves, and the kernel's IPVS made so.
//!
//! Two halves with a [`Table`] between them. The director, a task, decides by the [`model`] which real servers each
//! service has, and with which weights. The services thread makes the kernel as the table says, keeps it so, and tells
//! what the kernel has.
//!
//! | Module | Holds |
//! |---|---|
//! | [`model`] | who serves: configuration, endpoints, verdicts, quorum, drains; pure |
//! | [`director`] | the task that asks the model and tells everybody |
//! | [`verdicts`] | what the probes said, for whoever comes next |
//! | [`table`] | what the kernel should have |
//! | [`present`] | what the kernel has |
//! | [`kernel`] | how it is asked and told, as a trait |
//! | [`netlink`] | the real one |
//! | [`firewall`] | our table of nftables; `nftables` is the real one |
//! | [`report`] | what is told of it all |
//! | [`mailbox`] | how the thread is reached |
//! | [`settings`] | what the network namespace should be like, and is not |
//! | [`ledger`] | what is ours, for whoever comes after a crash |
//! | [`reconcile`] | what has to be done to make one of the other |
//! | `upkeep` | when it is done, and what is learnt from refusals (`refusal`, `holds`) |
//!
//! Owns every service of IPVS that its ledger calls ours. Touches nothing of anybody else's, flushes nothing, and starts
//! no program.

pub mod director;
#[cfg(test)]
mod fake;
pub mod firewall;
mod holds;
pub mod kernel;
pub mod ledger;
pub mod mailbox;
pub mod model;
pub mod netlink;
mod nftables;
pub mod present;
pub mod reconcile;
mod refusal;
pub mod report;
pub mod settings;
mod socket;
pub mod table;
mod thread;
mod upkeep;
mod verdicts;

pub use self::director::{Channels, Director};
pub use self::mailbox::{Finished, Mailbox};
pub use self::model::{MemberStanding, Model, Report, Standing};
pub use self::netlink::Netlink;
pub use self::present::{Present, PresentDestination, PresentService};
pub use self::report::{Counts, FirewallReport, Observed, ServiceReport, Trouble};
pub use self::settings::{Lack, SystemSettings};
pub use self::table::{Entry, Table};
pub use self::thread::{Context, clean, run};
