//! What IPVS has once in a network namespace: timeouts, version and table, sync daemons.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16};

use crate::{InterfaceName, Odd};

/// How long a connection without packets is kept, in seconds each. When they are set, 0 leaves one as it is. The kernel
/// begins with 900, 120 and 300.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established.
    pub tcp: u32,
    /// TCP, after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Version of IPVS.
    pub version: Version,
    /// Buckets of the connection table.
    pub connection_table_size: u32,
}

/// A version of IPVS, displayed as `1.2.1`: one byte each, the lowest last (`NVERSION` of `ip_vs.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, major, minor, patch] = self.0.to_be_bytes();
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// A daemon of the kernel that tells connections to other directors, or hears of theirs. A network namespace has at most
/// one of each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// What it does.
    pub role: DaemonRole,
    /// Where its multicasts go out or come in.
    pub interface: InterfaceName,
    /// Only daemons of one id talk; a backup with 0 hears all.
    pub sync_id: u8,
    /// Bytes of a message; `None` is the interface's MTU less headers. Linux 4.3, like all below.
    pub longest_message: Option<NonZeroU16>,
    /// The multicast group; `None` is 224.0.0.81.
    pub group: Option<IpAddr>,
    /// The UDP port of the first of its threads; `None` is 8848.
    pub port: Option<NonZeroU16>,
    /// TTL or hop limit; `None` is 1.
    pub ttl: Option<NonZeroU8>,
}

/// What a sync daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DaemonRole {
    /// 1: tells.
    Master,
    /// 2: hears.
    Backup,
}

impl From<DaemonRole> for u32 {
    fn from(role: DaemonRole) -> Self {
        match role {
            DaemonRole::Master => 1,
            DaemonRole::Backup => 2,
        }
    }
}

impl TryFrom<u32> for DaemonRole {
    type Error = Odd;

    fn try_from(number: u32) -> Result<Self, Odd> {
        match number {
            1 => Ok(Self::Master),
            2 => Ok(Self::Backup),
            other => Err(Odd::Unknown {
                what: "a sync daemon's role",
                number: other,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers() {
        assert_eq!(Version(0x01_02_01).to_string(), "1.2.1");
    }
}
