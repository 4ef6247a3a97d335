//! Bytes to values and back: what vipkeeper reads from and writes to the wire.
//!
//! | Module | Holds | Source |
//! |---|---|---|
//! | [`vrrp`] | advertisements of version 2 and 3, over IPv4 and IPv6 | RFC 9568, RFC 5798, RFC 3768, RFC 2338 (simple text password) |
//! | [`arp`] | gratuitous ARP, and any ARP packet over Ethernet | RFC 826, RFC 5227 |
//! | [`ndp`] | unsolicited neighbour advertisements | RFC 4861 §4.4, §7.2.6 |
//! | [`heartbeat`] | what candidates tell each other besides advertisements | our own; RFC 2104, FIPS 180-4 |
//! | [`ip`] | IPv4 and IPv6 headers | RFC 791, RFC 8200 |
//! | [`ethernet`] | Ethernet headers, multicast addresses | RFC 1112 §6.4, RFC 2464 §7 |
//! | [`checksum`] | the Internet checksum | RFC 1071 |
//!
//! The crate is pure: no clock, no socket, no allocation while parsing, no state. It judges *form* only: whether bytes are
//! a well-formed message. What a message means for a virtual router (its VRID, TTL, interval, password, address list) is
//! judged by `vipkeeper-vrrp`, its main user; the agent's sockets use the header codecs, and the end-to-end tests forge
//! frames with all of them.
//!
//! # Panics
//!
//! Never, whatever the input. Every `parse` takes any bytes and refuses what it cannot vouch for with an error that says
//! why. Every `emit` checks its whole input before the first write: it either fills the buffer completely or returns an
//! error and leaves it untouched. Property tests hold both to it.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

#[cfg(test)]
mod arbitrary;
mod types;

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod heartbeat;
pub mod ip;
pub mod ndp;
pub mod vrrp;

pub use types::{Family, InvalidVrid, MacAddr, Vrid};
