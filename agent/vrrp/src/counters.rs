//! What is counted, under the names of RFC 8347 where it has one.

use serde::{Deserialize, Serialize};

/// Counted for the node: the frame did not get as far as a router instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounters {
    /// Datagrams whose IP header is cut short, inconsistent or wrongly summed, and fragments.
    pub malformed: u64,
    /// `ip-ttl-errors`: multicast with a TTL or hop limit other than 255, or below a peer's minimum.
    pub ip_ttl_errors: u64,
    /// `version-errors`: another version than the router's, or an unknown one.
    pub version_errors: u64,
    /// `checksum-errors`: no accepted checksum form matches.
    pub checksum_errors: u64,
    /// `vrid-errors`: no router instance of this VRID on the interface.
    pub vrid_errors: u64,
    /// Too short to name a router instance, or of no known router and wrong in form.
    pub packet_length_errors: u64,
    /// Our own frames come back.
    pub looped: u64,
}

/// Counted for a router instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterCounters {
    /// `master-transitions`: times it became Active.
    pub active_transitions: u64,
    /// `advertisement-rcvd`: acceptable advertisements; two checksum forms of one count once.
    pub advertisements_received: u64,
    /// `advertisement-sent`: two checksum forms, or several peers, count once.
    pub advertisements_sent: u64,
    /// `priority-zero-pkts-rcvd`.
    pub priority_zero_received: u64,
    /// `priority-zero-pkts-sent`.
    pub priority_zero_sent: u64,
    /// TTL or hop limit refused; also in the node's `ip_ttl_errors`.
    pub ip_ttl_errors: u64,
    /// Version refused; also in the node's `version_errors`.
    pub version_errors: u64,
    /// Checksum refused; also in the node's `checksum_errors`.
    pub checksum_errors: u64,
    /// `invalid-type-pkts-rcvd`.
    pub invalid_type_errors: u64,
    /// `packet-length-errors`, a count of zero addresses included.
    pub packet_length_errors: u64,
    /// `interval-errors`: refused in version 2, accepted in version 3 unless zero or strict.
    pub interval_errors: u64,
    /// `address-list-errors`: refused in version 2 or when strict, otherwise accepted.
    pub address_list_errors: u64,
    /// The first IPv6 address is not link-local (erratum 8300): refused when strict, otherwise accepted.
    pub link_local_errors: u64,
    /// Version 2: another authentication type than ours.
    pub authentication_type_errors: u64,
    /// Version 2: the password differs.
    pub authentication_failures: u64,
    /// Sent to an address that this router does not listen on: unicast for multicast, or the reverse.
    pub destination_errors: u64,
    /// Unicast from an address that is no peer.
    pub unknown_peers: u64,
    /// Heard while we are the address owner (erratum 8298: processed all the same).
    pub owner_conflicts: u64,
    /// Equal priority from our own source address.
    pub duplicate_sources: u64,
    /// Version 3 over IPv4 accepted with the RFC 9568 checksum.
    pub checksum_rfc9568: u64,
    /// Version 3 over IPv4 accepted with the RFC 5798 checksum.
    pub checksum_rfc5798: u64,
    /// Announcements sent.
    pub announcements_sent: u64,
    /// Times another Active was noticed beside us for longer than the protocol needs to end it.
    pub split_brains: u64,
    /// ARP and neighbour advertisements of others that claimed an address of ours while we were Active.
    pub address_conflicts: u64,
}
