//! The VRRP election of all virtual routers of a node (RFC 9568, RFC 3768), without sockets, clock or threads.
//!
//! [`Election`] is the whole of it, and its documentation is the contract: inputs are `handle_*` calls with the
//! time as an argument, outputs are [`Output`] values that a driver carries out. Everything is decided here:
//! whether a frame counts, who is Active, when an advertisement or an announcement leaves.
//!
//! | Looking for | Open |
//! |---|---|
//! | what makes a Backup Active, and when | `router`, `backup`, `timers` |
//! | what an Active does | `active`, `phase` (when it advertises), `announce` (whom it tells) |
//! | why a frame was refused | `receive`; form alone is [`vipkeeper_wire`]'s |
//! | what a new plan changes | `router/reconfigure`, `election` |
//! | what another node's word does, and a stranger's | `router/evidence`, `arbiter`; the heartbeat itself `heartbeat` |
//! | what becomes of addresses that the kernel refuses | `router/holding` |
//! | what a record of a run is, and how it is told again | `record`, `redaction` |
//! | which routers move together, and when | `sync`, `router/bond` |
//! | what the address owner does otherwise, and whose addresses are not ours to take | `router/host` |
//! | which interface an address is on that is not the router's | `places` |
//! | how a planned move loses no packet | `router/handover` |
//! | how an election moves to another process | `frozen` |
//!
//! # What it never does
//!
//! It never opens, reads or writes anything, never asks for the time, never starts a thread and never panics,
//! whatever it is told. A frame that is refused changes no state and moves no timer. Memory is bounded by the
//! plan: what strangers send is kept in tables of fixed size. Nothing is installed, withdrawn or announced but
//! by an [`Output`]. A failover is never delayed by a probe, and no promotion without positive evidence.
//!
//! # Where it departs from RFC 9568
//!
//! | What | Why |
//! |---|---|
//! | Interface MAC mode: addresses answer with the interface's own MAC address, not the virtual router's (§7.3, §8.1.2); promotion is advertise, install, announce | virtual MAC addresses are refused by many switches, hypervisors and clouds; a move is announced by gratuitous ARP and neighbour advertisements instead. Virtual MAC mode comes later |
//! | Accept_Mode is on, in both versions (§6.1, RFC 3768 §6.4.3) | the addresses are those of services that this node serves |
//! | A version 2 Active answers a lower priority at once, as §6.4.3 says for version 3; RFC 3768 is silent | the duel ends in one round trip, and peers of RFC 3768 only hear an advertisement early |
//! | Answers to a lower or a leaving router leave at most every 10 ms (§6.4.3 sends one for each) | forged frames would otherwise make us send as many |
//! | An answer does not set the Adver_Timer anew, and the first pause after a promotion may be shorter than an interval (§6.4.2, §6.4.3) | all routers of an interface and interval advertise in one batch, at one phase; a pause is never longer |
//! | After a stall longer than Active_Down_Interval an Active listens for an interval and its skew, as Backup | its peers took over meanwhile, and the proof may have been lost with the queue |
//! | A first IPv6 address that is not link-local (erratum 8300) and, in version 3, other intervals and lists are accepted, counted and reported; refused where `strict` | deployed routers send them, and refusing them makes a second Active |
//! | Over IPv4 both forms of the version 3 checksum are accepted, and sent until peers have taught one | most deployed routers use that of RFC 5798 (§5.2.8) |
//! | Unicast peers, with a least TTL of their own; [`Preemption::Delayed`], which promotes at once when the delay ends | extensions, for networks without multicast and for nodes that need time after they came back |
//! | Routers of a sync group advertise the lowest priority of all, move together, and for two intervals after a promotion leave ties to the link of the first (§6.4.2, §6.4.3 know one router alone) | services that only work on one node; the rules are those of keepalived's `vrrp_sync_group` |
//! | Proof that another is Active, by a signed heartbeat, delays a promotion for a limited time and makes the lower of two Actives yield (§6.4.2, §6.4.3 know advertisements alone) | where advertisements are lost and nothing else is, two Actives would stay |
//! | A first claim is held back while a stranger answers for an address and nobody advertises | two hosts with one address serve nobody |
//! | After priority 0, and after a higher advertisement, addresses serve on until the successor is known to the neighbours: on the interface, in silence, then on the loopback interface (§6.4.2, §6.4.3 take them off at once) | a planned move loses no packet; a `linger` of zero takes them off at once |
//! | An address may be on another interface than the one on which its router is elected (§1, §7: one LAN) | gateways and services that are to be in one place, with one election |
//! | No router advertisements, no redirects, no proxy ARP (§6.4.3, §8) | a virtual address is a service's, not a gateway's |
//! | Version 2 refuses a count of zero (erratum 8299 is about version 3) | whoever obeyed it would leave every address unserved |
//!
#![doc = include_str!("conformance.md")]

mod active;
mod announce;
mod arbiter;
mod backup;
mod checksums;
mod config;
mod counters;
mod deadlines;
mod effects;
mod election;
mod foreign;
mod frames;
mod frozen;
mod heartbeat;
mod hexadecimal;
mod input;
mod output;
mod phase;
mod places;
mod receive;
mod record;
mod redaction;
mod router;
mod status;
mod sync;
mod time;
mod timers;
mod transmit;

pub use config::{
    AnnouncementBudget, Centiseconds, ChecksumForm, ChecksumPolicy, Ifindex, InvalidRouter, Peer,
    Plan, Preemption, Priority, Protocol, RouterConfig, SyncGroup, Transport, VirtualAddress,
};
pub use counters::{NodeCounters, RouterCounters};
pub use election::Election;
pub use frozen::FORMAT;
pub use heartbeat::{
    Beat, HeartbeatCounters, HeartbeatPeer, HeartbeatPlan, HeartbeatRouter, SHORTEST_BEAT,
};
pub use input::{Command, Fact, Input, InterfaceState, Received, RouterId, Ticket};
pub use output::{
    Announcement, Evidence, GratuitousForm, Install, Member, Output, Park, Probe, Reason, Report,
    SplitCause, StateName, Transmit, Withdraw,
};
pub use receive::Refusal;
pub use record::{Divergence, Line, Replay};
pub use redaction::Redaction;
pub use status::{
    ForeignRouter, LastAdvertisement, Remainder, RouterStatus, Snapshot, Standing, Transitions,
};
pub use time::Time;
pub use timers::INSTALL_PATIENCE;
