//! Why a frame is refused.

use serde::{Deserialize, Serialize};

/// Why a frame was refused, or accepted with a remark. In the order of the checks (RFC 9568 §7.1 with its
/// errata).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// The IP header is unusable.
    Malformed,
    /// Our own frame.
    Looped,
    /// TTL or hop limit.
    Ttl,
    /// Version.
    Version,
    /// Type.
    Type,
    /// Length, or no addresses.
    Length,
    /// Checksum.
    Checksum,
    /// VRID.
    Vrid,
    /// Destination.
    Destination,
    /// Unicast from nobody we know.
    UnknownPeer,
    /// Another advertises addresses that we own; processed.
    OwnerConflict,
    /// Authentication type.
    AuthenticationType,
    /// Password.
    Authentication,
    /// Interval.
    Interval,
    /// First IPv6 address not link-local.
    LinkLocal,
    /// Address list.
    AddressList,
    /// Equal priority from our own source address.
    DuplicateSource,
}
