//! What the kernel counts of services and destinations.

/// Traffic of a service or a destination, since it was made or last zeroed, and at present.
///
/// What answers is counted with [`Forwarding::Masquerade`](crate::Forwarding::Masquerade) and
/// [`LocalNode`](crate::Forwarding::LocalNode) only: with the other methods it does not pass the director. Rates are
/// averages that forget within seconds; all are 0 where `net.ipv4.vs.run_estimation` is 0.
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
