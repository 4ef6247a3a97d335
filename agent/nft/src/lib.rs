//! Our one table of nftables: what it does, as bytes of netlink, and whether it stands.
//!
//! | Module | Holds |
//! |---|---|
//! | [`ruleset`] | what is wanted, in terms of virtual addresses, ports and clients |
//! | [`table`] | the table that does it: its sets, chains and rules |
//! | [`batch`] | the messages that put it in place of the one before, or remove it, all or nothing |
//! | [`observation`] | what the kernel has, as far as it was asked |
//! | [`answer`] | what the kernel answers, from bytes |
//!
//! The table is of the family `inet` and has up to three base chains; only those are there that have something to do,
//! for a chain that translates addresses makes the kernel track every connection.
//!
//! | Chain | Hook | Does |
//! |---|---|---|
//! | `fullnat` | postrouting, 100 (`srcnat`) | gives connections to some services an address of this node as source |
//! | `source-ranges` | input, 90 | drops what comes to a service from elsewhere than its source ranges |
//! | `accept-mode` | input, 110 | drops what comes to a closed address and is not meant to be answered |
//!
//! IPVS takes a service's packets in the hook input at the priorities 98 and 99 (`NF_IP_PRI_NAT_SRC - 2` and `- 1`,
//! `net/netfilter/ipvs/ip_vs_core.c`). Source ranges come before it, or they would see nothing; closing an address comes
//! after it, and sees what IPVS left. What the node itself sends to a service is not held to source ranges: IPVS takes it in the
//! hook output, and if it delivers it to the node, it comes in by `lo`.
//!
//! `nft list table inet NAME` shows the table as if `nft` had made it. Linux 5.6 or newer: concatenations with ranges.
//!
//! The crate is pure: no socket, no clock, no state. Its user sends and receives.
//!
//! # Panics
//!
//! Never, whatever the input.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod answer;
pub mod batch;
mod expression;
mod layout;
mod numbers;
pub mod observation;
pub mod ruleset;
pub mod table;

pub use answer::{Answer, Content, Observed, answers};
pub use batch::Batch;
pub use observation::{Difference, Observation, Question};
pub use ruleset::{Endpoint, Family, Mark, Ports, Prefix, Protocol, Ruleset, Traffic};
pub use table::{InvalidTableName, Table, TableName};
pub use vipkeeper_netlink::{Errno, Malformed, Refusal};
