//! VRRP.

use serde::{Deserialize, Serialize};

/// Which bytes a version 3 checksum over IPv4 covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumForm {
    /// The message alone (RFC 9568 §5.2.8).
    Rfc9568,
    /// The message and an IPv4 pseudo-header: RFC 5798 as keepalived and others deployed it.
    Rfc5798,
}
