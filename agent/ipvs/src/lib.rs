//! The kernel's IP virtual server as values, and those values as bytes of generic netlink.
//!
//! | Module | Holds | Source |
//! |---|---|---|
//! | [`service`] | virtual services: key, scheduler, flags, persistence | `ip_vs.h`, ipvsadm(8) |
//! | [`destination`] | real servers of a service: forwarding, weight, thresholds | `ip_vs.h`, ipvsadm(8) |
//! | [`statistics`] | what the kernel counts of both | `ip_vs.h` |
//! | [`settings`] | what a network namespace has once: timeouts, table, sync daemons | `ip_vs.h`, ipvsadm(8) |
//! | [`request`] | what can be said to the kernel, to bytes | `ip_vs.h`, `net/netfilter/ipvs/ip_vs_ctl.c` |
//! | [`answer`] | what it answers, from bytes | the same |
//! | [`name`] | names of schedulers, persistence engines and interfaces | `ip_vs.h` |
//!
//! `ip_vs.h` is the kernel's `include/uapi/linux/ip_vs.h`.
//!
//! The crate is pure: no socket, no clock, no state. It knows how things are said to the kernel; what should be said,
//! and what to do with an answer, is its user's.
//!
//! # Panics
//!
//! Never, whatever the input. What a kernel says that this crate does not know is kept beside what it does, and a message
//! that makes no sense is an error of that message alone.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod answer;
pub mod destination;
pub mod name;
mod numbers;
pub mod request;
pub mod service;
pub mod settings;
pub mod statistics;

pub use answer::{
    Answer, Content, ObservedDestination, ObservedService, Odd, UnknownAttribute, answers,
};
pub use destination::{Destination, DestinationKey, Forwarding, Tunnel, TunnelChecksum};
pub use name::{EngineName, InterfaceName, InvalidName, SchedulerName};
pub use request::{FamilyId, Request, emit_family_request};
pub use service::{Family, Netmask, Persistence, Protocol, Service, ServiceFlags, ServiceKey};
pub use settings::{Daemon, DaemonRole, Info, Timeouts, Version};
pub use statistics::{DestinationCounters, Statistics};
pub use vipkeeper_netlink::{Errno, Malformed, Refusal};
