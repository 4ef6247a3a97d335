//! What is wanted of the table, in terms of virtual addresses, ports and clients.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

/// Everything that the table does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Connections to these get an address of this node as source, so that answers come back to it whatever the real
    /// server's routes say. Only those that IPVS rewrites (`Masquerade`): those of a service that go out with another
    /// method keep their source. Needs `net.ipv4.vs.conntrack=1`.
    pub masqueraded: BTreeSet<Traffic>,
    /// Of these, the real servers that see the client all the same, though IPVS rewrites their connections, too. What is
    /// not masqueraded, and a real server of the other family, means nothing here.
    pub unmasqueraded: BTreeMap<Endpoint, BTreeSet<SocketAddr>>,
    /// The same for services of a mark. IPVS must rewrite all of their connections.
    pub masqueraded_marks: BTreeSet<Mark>,
    /// To these comes only what is from one of the prefixes, or from the node itself. Prefixes of the other family mean nothing: with none of its
    /// own family, nothing comes.
    pub restricted: BTreeMap<Endpoint, BTreeSet<Prefix>>,
    /// These addresses answer neighbour discovery and echo requests, take ICMP errors, and else only what is to their
    /// ports here. What IPVS sends to another node passes without being named; what it delivers to this one (`LocalNode`)
    /// has to be.
    pub closed: BTreeMap<IpAddr, BTreeSet<(Protocol, Ports)>>,
}

impl Ruleset {
    /// There is nothing for a table to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            masqueraded,
            unmasqueraded: _,
            masqueraded_marks,
            restricted,
            closed,
        } = self;
        masqueraded.is_empty()
            && masqueraded_marks.is_empty()
            && restricted.is_empty()
            && closed.is_empty()
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// 6.
    Tcp,
    /// 17.
    Udp,
    /// 132.
    Sctp,
}

impl Protocol {
    /// Its number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// An IP address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
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
}

/// Ports of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// Every port, and packets without one.
    All,
    /// One port.
    One(u16),
}

/// Packets to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Traffic {
    /// The virtual address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    pub ports: Ports,
}

/// Packets to an address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The virtual address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

impl From<Endpoint> for Traffic {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            address: endpoint.address,
            protocol: endpoint.protocol,
            ports: Ports::One(endpoint.port),
        }
    }
}

/// Packets of a family that carry a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The family.
    pub family: Family,
    /// All 32 bits of the mark.
    pub mark: NonZeroU32,
}

/// A range of addresses, written as its first and the number of bits that are the same in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    // In this order: a prefix sorts before those that it contains.
    first: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of `length` bits that `address` is in; `None` if an address of its family has fewer bits.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let first = match address {
            IpAddr::V4(address) if length <= 32 => IpAddr::V4(Ipv4Addr::from_bits(
                address.to_bits() & !host_bits_v4(length),
            )),
            IpAddr::V6(address) if length <= 128 => IpAddr::V6(Ipv6Addr::from_bits(
                address.to_bits() & !host_bits_v6(length),
            )),
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { first, length })
    }

    /// Its first address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// Its last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(
                first.to_bits() | host_bits_v4(self.length),
            )),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(
                first.to_bits() | host_bits_v6(self.length),
            )),
        }
    }
}

fn host_bits_v4(length: u8) -> u32 {
    u32::MAX.checked_shr(length.into()).unwrap_or(0)
}

fn host_bits_v6(length: u8) -> u128 {
    u128::MAX.checked_shr(length.into()).unwrap_or(0)
}

/// The prefixes of `family`, without those that another contains: the kernel refuses ranges that overlap.
pub(crate) fn disjoint(prefixes: &BTreeSet<Prefix>, family: Family) -> Vec<Prefix> {
    let mut kept: Vec<Prefix> = Vec::new();
    for prefix in prefixes {
        let contained = kept.last().is_some_and(|last| prefix.first <= last.last());
        if Family::of(&prefix.first) == family && !contained {
            kept.push(*prefix);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_its_first_and_last_address() {
        for (address, length, first, last) in [
            ("198.51.100.7", 24, "198.51.100.0", "198.51.100.255"),
            ("198.51.100.7", 32, "198.51.100.7", "198.51.100.7"),
            ("198.51.100.7", 0, "0.0.0.0", "255.255.255.255"),
            (
                "2001:db8::7",
                64,
                "2001:db8::",
                "2001:db8::ffff:ffff:ffff:ffff",
            ),
            ("2001:db8::7", 128, "2001:db8::7", "2001:db8::7"),
            (
                "2001:db8::7",
                0,
                "::",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ),
        ] {
            let prefix = Prefix::new(address.parse().unwrap(), length).unwrap();
            assert_eq!(prefix.first().to_string(), first);
            assert_eq!(prefix.last().to_string(), last);
        }
        assert_eq!(Prefix::new("192.0.2.1".parse().unwrap(), 33), None);
        assert_eq!(Prefix::new("::".parse().unwrap(), 129), None);
    }

    #[test]
    fn prefixes_within_others_are_left_out() {
        let all: BTreeSet<_> = [
            ("10.1.0.0", 16),
            ("10.0.0.0", 8),
            ("10.0.0.0", 9),
            ("10.255.255.255", 32),
            ("11.0.0.0", 8),
            ("2001:db8::", 32),
            ("2001:db8:1::", 48),
        ]
        .map(|(address, length)| Prefix::new(address.parse().unwrap(), length).unwrap())
        .into();
        let texts = |family| -> Vec<_> {
            let kept = disjoint(&all, family).into_iter();
            kept.map(|prefix| format!("{}/{}", prefix.first, prefix.length))
                .collect()
        };
        assert_eq!(texts(Family::V4), ["10.0.0.0/8", "11.0.0.0/8"]);
        assert_eq!(texts(Family::V6), ["2001:db8::/32"]);
    }
}
