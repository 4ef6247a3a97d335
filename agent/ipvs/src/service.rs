//! A virtual service: what is balanced, by which scheduler, and how long a client stays with its real server.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::{EngineName, Odd, SchedulerName};

/// An IP address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4 (`AF_INET`, 2).
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6 (`AF_INET6`, 10).
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The length of an address, in bits: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl From<Family> for u16 {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }
}

impl TryFrom<u16> for Family {
    type Error = Odd;

    fn try_from(number: u16) -> Result<Self, Odd> {
        match number {
            2 => Ok(Self::V4),
            10 => Ok(Self::V6),
            other => Err(Odd::Unknown {
                what: "an address family",
                number: other.into(),
            }),
        }
    }
}

/// A transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// 6.
    #[serde(rename = "TCP")]
    Tcp,
    /// 17.
    #[serde(rename = "UDP")]
    Udp,
    /// 132.
    #[serde(rename = "SCTP")]
    Sctp,
    /// Any other number: only of somebody else's service. Made by [`Protocol::from`], which knows the others.
    #[serde(untagged)]
    Other(u16),
}

impl From<u16> for Protocol {
    fn from(number: u16) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }
}

impl From<Protocol> for u16 {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
            Protocol::Other(number) => number,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("TCP"),
            Self::Udp => f.write_str("UDP"),
            Self::Sctp => f.write_str("SCTP"),
            Self::Other(number) => write!(f, "protocol {number}"),
        }
    }
}

/// What the kernel tells services apart by. Displayed as `TCP 192.0.2.1:80`, `UDP [2001:db8::1]:53`, `FWM 7 IPv4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceKey {
    /// Packets to an address and port.
    Address {
        /// Their transport protocol.
        protocol: Protocol,
        /// Their destination.
        address: IpAddr,
        /// Their destination port. 0 is every port that has no service of its own, and needs persistence.
        port: u16,
    },
    /// Packets that carry a firewall mark, whatever their protocol, destination and port.
    Mark {
        /// Their family; the same mark may stand for one service of each.
        family: Family,
        /// The mark (`skb->mark`), all 32 bits of it.
        mark: NonZeroU32,
    },
}

impl ServiceKey {
    /// The family of the packets.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(address),
            Self::Mark { family, .. } => *family,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address {
                protocol,
                address: IpAddr::V4(address),
                port,
            } => write!(f, "{protocol} {address}:{port}"),
            Self::Address {
                protocol,
                address: IpAddr::V6(address),
                port,
            } => write!(f, "{protocol} [{address}]:{port}"),
            Self::Mark { family, mark } => write!(f, "FWM {mark} {family}"),
        }
    }
}

/// A virtual service. Two equal ones are the same to the kernel: nothing has to be written to make one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// What it balances.
    pub key: ServiceKey,
    /// Who chooses the real server; the kernel answers ENOENT where it lacks it.
    pub scheduler: SchedulerName,
    /// What else is told to the scheduler.
    pub flags: ServiceFlags,
    /// Whether a client stays with its real server; `None` is the kernel's flag `IP_VS_SVC_F_PERSISTENT` unset.
    pub persistence: Option<Persistence>,
    /// What makes a client the same, besides its address; of use with persistence only. The kernel answers ENOENT where
    /// it lacks it.
    pub engine: Option<EngineName>,
}

/// How long new connections of a client go to the real server that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// Since its last connection ended, in seconds. ipvsadm: default 300, at most 2,678,400 (31 days).
    pub timeout: u32,
    /// Which clients count as one.
    pub netmask: Netmask,
}

/// The part of a client's address by which it is told from others. Kept as the kernel has it, for it takes any mask of
/// IPv4, also one with holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Netmask(Mask);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mask {
    V4(u32),
    V6(u32),
}

impl Netmask {
    /// The first `length` bits: 0..=32 of IPv4, 1..=128 of IPv6 (the kernel answers EINVAL to 0); else `None`.
    #[must_use]
    pub fn prefix(family: Family, length: u8) -> Option<Self> {
        match family {
            Family::V4 if length <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Some(Self(Mask::V4(mask)))
            }
            Family::V6 if (1..=128).contains(&length) => Some(Self(Mask::V6(length.into()))),
            Family::V4 | Family::V6 => None,
        }
    }

    /// The whole address: every client for itself.
    #[must_use]
    pub const fn whole(family: Family) -> Self {
        match family {
            Family::V4 => Self(Mask::V4(u32::MAX)),
            Family::V6 => Self(Mask::V6(128)),
        }
    }

    /// Its length in bits; `None` if it has holes.
    #[must_use]
    pub fn length(self) -> Option<u8> {
        match self.0 {
            Mask::V4(mask) if mask.leading_ones() + mask.trailing_zeros() >= 32 => {
                u8::try_from(mask.leading_ones()).ok()
            }
            Mask::V4(_) => None,
            Mask::V6(length) => u8::try_from(length).ok().filter(|length| *length <= 128),
        }
    }
}

impl Netmask {
    /// As the kernel has it: IPv4 a mask in network byte order, IPv6 the prefix's length in the machine's.
    pub(crate) const fn to_bytes(self) -> [u8; 4] {
        match self.0 {
            Mask::V4(mask) => mask.to_be_bytes(),
            Mask::V6(length) => length.to_ne_bytes(),
        }
    }

    /// The inverse of [`Self::to_bytes`].
    pub(crate) const fn from_bytes(family: Family, bytes: [u8; 4]) -> Self {
        Self(match family {
            Family::V4 => Mask::V4(u32::from_be_bytes(bytes)),
            Family::V6 => Mask::V6(u32::from_ne_bytes(bytes)),
        })
    }
}

/// Flags of a service that its owner decides. The kernel's own (`IP_VS_SVC_F_HASHED`) and the one that [`Persistence`]
/// stands for are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceFlags {
    /// Each datagram is scheduled for itself, and no connection is kept; UDP only (`IP_VS_SVC_F_ONEPACKET`, 0x4).
    pub one_packet: bool,
    /// The scheduler's first flag (0x8). `sh` and `mh`: `fallback`, another real server where the hashed one has no
    /// weight or is overloaded.
    pub scheduler_1: bool,
    /// The scheduler's second flag (0x10). `sh` and `mh`: `port`, the client's port is hashed too.
    pub scheduler_2: bool,
    /// The scheduler's third flag (0x20). No scheduler has a use for it.
    pub scheduler_3: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_ipvsadm_shows_them() {
        let key = |protocol: u16, address: &str, port| ServiceKey::Address {
            protocol: protocol.into(),
            address: address.parse().unwrap(),
            port,
        };
        let mark = ServiceKey::Mark {
            family: Family::V4,
            mark: NonZeroU32::new(7).unwrap(),
        };
        assert_eq!(key(6, "192.0.2.1", 80).to_string(), "TCP 192.0.2.1:80");
        assert_eq!(
            key(17, "2001:db8::1", 53).to_string(),
            "UDP [2001:db8::1]:53"
        );
        assert_eq!(
            key(50, "192.0.2.1", 0).to_string(),
            "protocol 50 192.0.2.1:0"
        );
        assert_eq!(mark.to_string(), "FWM 7 IPv4");
    }

    #[test]
    fn a_netmask_is_a_prefix_of_its_family() {
        for (family, shortest) in [(Family::V4, 0), (Family::V6, 1)] {
            for length in 0..=u8::MAX {
                let mask = Netmask::prefix(family, length);
                assert_eq!(mask.is_some(), (shortest..=family.bits()).contains(&length));
                assert_eq!(mask.and_then(Netmask::length), mask.map(|_| length));
            }
            assert_eq!(
                Netmask::prefix(family, family.bits()),
                Some(Netmask::whole(family))
            );
        }
        assert_eq!(Netmask(Mask::V4(0xff00_ff00)).length(), None);
    }
}
