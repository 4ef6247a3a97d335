//! ARP over Ethernet.

use serde::{Deserialize, Serialize};

/// The two forms of a gratuitous ARP. Some receivers honour only one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GratuitousForm {
    /// Operation 1.
    Request,
    /// Operation 2.
    Reply,
}
