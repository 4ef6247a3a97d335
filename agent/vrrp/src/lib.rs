//! The VRRP election of all virtual routers of a node. Sans-IO.

mod active;
mod announce;
mod backup;
mod checksums;
mod config;
mod counters;
mod deadlines;
mod effects;
mod election;
mod foreign;
mod frames;
mod input;
mod output;
mod phase;
mod receive;
mod router;
mod status;
mod time;
mod timers;
mod transmit;

pub use config::{
    AnnouncementBudget, Centiseconds, ChecksumForm, ChecksumPolicy, Ifindex, InvalidRouter, Peer,
    Plan, Preemption, Priority, Protocol, RouterConfig, Transport, VirtualAddress,
};
pub use counters::{NodeCounters, RouterCounters};
pub use election::Election;
pub use input::{Command, Fact, InterfaceState, Received, RouterId, Ticket};
pub use output::{
    Announcement, GratuitousForm, Install, Output, Reason, Report, StateName, Transmit, Withdraw,
};
pub use receive::Refusal;
pub use status::{ForeignRouter, LastAdvertisement, RouterStatus, Snapshot};
pub use time::Time;
