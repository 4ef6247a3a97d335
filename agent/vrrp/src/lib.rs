//! The VRRP election of all virtual routers of a node. Sans-IO.

mod config;
mod counters;
mod input;
mod output;
mod receive;
mod status;
mod time;

pub use config::{
    AnnouncementBudget, Centiseconds, ChecksumForm, ChecksumPolicy, Ifindex, InvalidRouter, Peer,
    Plan, Preemption, Priority, Protocol, RouterConfig, Transport, VirtualAddress,
};
pub use counters::{NodeCounters, RouterCounters};
pub use input::{Command, Fact, InterfaceState, Received, RouterId, Ticket};
pub use output::{
    Announcement, GratuitousForm, Install, Output, Reason, Report, StateName, Transmit, Withdraw,
};
pub use receive::Refusal;
pub use status::{ForeignRouter, LastAdvertisement, RouterStatus, Snapshot};
pub use time::Time;
