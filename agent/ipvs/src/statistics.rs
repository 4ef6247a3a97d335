//! What the kernel counts of services and destinations.

use vipkeeper_netlink::{Attribute, Attributes, Malformed};

use crate::numbers::statistics;

/// Traffic of a service or a destination, since it was made or last zeroed, and at present.
///
/// What answers is counted with [`Forwarding::Masquerade`](crate::Forwarding::Masquerade) and
/// [`LocalNode`](crate::Forwarding::LocalNode) only: with the other methods it does not pass the director. Linux
/// sums up its processors' counts every 2 s, so that all may be so old, and stay as they are where
/// `net.ipv4.vs.run_estimation` is 0. Rates are averages that forget within seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections that were scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub incoming_packets: u64,
    /// Packets to clients.
    pub outgoing_packets: u64,
    /// Bytes from clients, with IP headers.
    pub incoming_bytes: u64,
    /// Bytes to clients, with IP headers.
    pub outgoing_bytes: u64,
    /// New connections a second.
    pub connection_rate: u64,
    /// Packets a second from clients.
    pub incoming_packet_rate: u64,
    /// Packets a second to clients.
    pub outgoing_packet_rate: u64,
    /// Bytes a second from clients.
    pub incoming_byte_rate: u64,
    /// Bytes a second to clients.
    pub outgoing_byte_rate: u64,
}

impl Statistics {
    /// From attributes of 32 or of 64 bits; Linux has both, and packets and connections of the former wrap.
    pub(crate) fn parse(attributes: Attributes<'_>) -> Result<Self, Malformed> {
        let mut all = Self::default();
        for attribute in attributes {
            let attribute = attribute?;
            let field = match attribute.kind {
                statistics::CONNECTIONS => &mut all.connections,
                statistics::INCOMING_PACKETS => &mut all.incoming_packets,
                statistics::OUTGOING_PACKETS => &mut all.outgoing_packets,
                statistics::INCOMING_BYTES => &mut all.incoming_bytes,
                statistics::OUTGOING_BYTES => &mut all.outgoing_bytes,
                statistics::CONNECTION_RATE => &mut all.connection_rate,
                statistics::INCOMING_PACKET_RATE => &mut all.incoming_packet_rate,
                statistics::OUTGOING_PACKET_RATE => &mut all.outgoing_packet_rate,
                statistics::INCOMING_BYTE_RATE => &mut all.incoming_byte_rate,
                statistics::OUTGOING_BYTE_RATE => &mut all.outgoing_byte_rate,
                _ => continue,
            };
            *field = number(&attribute)?;
        }
        Ok(all)
    }
}

fn number(attribute: &Attribute<'_>) -> Result<u64, Malformed> {
    match attribute.value.len() {
        4 => attribute.u32().map(u64::from),
        _ => attribute.u64(),
    }
}

/// Connections that a destination has at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestinationCounters {
    /// In a state that counts as active: TCP established, and the like of other protocols.
    pub active: u32,
    /// In any other state: half open, closing, or of a protocol without states, UDP.
    pub inactive: u32,
    /// Persistence templates: clients that stay with it.
    pub persistent: u32,
}
