//! The IP addresses between which a message travels, as the pseudo-header needs them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Family;
use crate::checksum::Sum;
use crate::vrrp::PROTOCOL;

/// Source and destination of the datagram that carries a message: one family by construction.
///
/// For unicast the destination is the peer's address, not the group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoints {
    /// Over IPv4.
    V4 {
        /// Sender.
        source: Ipv4Addr,
        /// Receiver or group.
        destination: Ipv4Addr,
    },
    /// Over IPv6.
    V6 {
        /// Sender.
        source: Ipv6Addr,
        /// Receiver or group.
        destination: Ipv6Addr,
    },
}

impl Endpoints {
    /// Both addresses, or `None` where their families differ.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 {
                source,
                destination,
            }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 {
                source,
                destination,
            }),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// The family of both.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// The sum of the pseudo-header before a message of `length` bytes: RFC 8200 §8.1 over IPv6, RFC 793 §3.1 over IPv4.
    pub(super) fn pseudo_header(&self, length: usize) -> Sum {
        let addresses = match self {
            Self::V4 {
                source,
                destination,
            } => Sum::new()
                .bytes(&source.octets())
                .bytes(&destination.octets()),
            Self::V6 {
                source,
                destination,
            } => Sum::new()
                .bytes(&source.octets())
                .bytes(&destination.octets()),
        };
        // IPv4 has a 16-bit length where IPv6 has 32: the same sum, for no datagram is longer than 65,535.
        addresses
            .bytes(&(length as u32).to_be_bytes())
            .word(PROTOCOL.into())
    }
}
