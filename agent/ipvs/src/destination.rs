//! A destination: a real server of a service, and how packets reach it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// What the kernel tells the destinations of a service apart by. Displayed as `192.0.2.1:80`, `[2001:db8::1]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DestinationKey {
    /// The real server. Its family may differ from the service's with [`Forwarding::Tunnel`] only, and while no sync
    /// daemon runs (the kernel answers EINVAL otherwise).
    pub address: IpAddr,
    /// Its port. Only [`Forwarding::Masquerade`] rewrites it; with the others packets arrive with the service's port.
    pub port: u16,
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// A destination. Two equal ones are the same to the kernel: nothing has to be written to make one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The real server.
    pub key: DestinationKey,
    /// How packets reach it.
    pub forwarding: Forwarding,
    /// Its share, relative to the others'; 0 takes no new connections. At most 2,147,483,647 (ERANGE beyond); ipvsadm
    /// and keepalived stop at 65,535.
    pub weight: u32,
    /// With so many connections it is overloaded and takes no new ones; 0 is no limit. At least
    /// [`lower_threshold`](Self::lower_threshold) (ERANGE otherwise).
    pub upper_threshold: u32,
    /// Below so many it takes new ones again; 0 is three quarters of the upper threshold.
    pub lower_threshold: u32,
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// 0: destination address and port are rewritten; answers must come back through the director (NAT).
    Masquerade,
    /// 1: to the director itself.
    LocalNode,
    /// 2: in another packet; the real server answers clients directly.
    Tunnel(Tunnel),
    /// 3: unchanged, to the real server's link-layer address; it answers clients directly (DR).
    DirectRoute,
    /// 4: to where the packet was going; the kernel's own use for transparent caches.
    Bypass,
    /// From the kernel: one that was not known when this was written. Made by the codec, which knows the others.
    Other(u32),
}

/// What a tunnelled packet is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// 0: IP in IP (RFC 2003, RFC 2473).
    Ipip,
    /// 1: generic UDP encapsulation; Linux 5.2.
    Gue {
        /// The real server's port.
        port: NonZeroU16,
        /// What protects the outer packet.
        checksum: TunnelChecksum,
    },
    /// 2: GRE (RFC 2784); Linux 5.3.
    Gre {
        /// What protects it. GRE knows no [`TunnelChecksum::Remote`], and the kernel sends none then.
        checksum: TunnelChecksum,
    },
    /// From the kernel: one that was not known when this was written. Made by the codec, which knows the others.
    Other {
        /// The type's number.
        kind: u8,
        /// Its port; 0 is none.
        port: u16,
        /// Its flags.
        flags: u16,
    },
}

/// What protects a packet in a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TunnelChecksum {
    /// No checksum.
    #[default]
    None,
    /// A checksum of the outer packet (`IP_VS_TUNNEL_ENCAP_FLAG_CSUM`).
    Full,
    /// Remote checksum offload: the inner packet's checksum is the receiver's work (`IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM`).
    Remote,
}

impl Forwarding {
    /// Its number, of the kernel's `IP_VS_CONN_F_FWD_MASK`.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Masquerade => 0,
            Self::LocalNode => 1,
            Self::Tunnel(_) => 2,
            Self::DirectRoute => 3,
            Self::Bypass => 4,
            Self::Other(number) => number,
        }
    }

    /// The inverse of [`Self::number`]; `tunnel` is of meaning with a tunnel only.
    pub(crate) const fn of(number: u32, tunnel: Tunnel) -> Self {
        match number {
            0 => Self::Masquerade,
            1 => Self::LocalNode,
            2 => Self::Tunnel(tunnel),
            3 => Self::DirectRoute,
            4 => Self::Bypass,
            other => Self::Other(other),
        }
    }
}

impl Tunnel {
    /// Type, port and flags.
    pub(crate) const fn numbers(self) -> (u8, u16, u16) {
        match self {
            Self::Ipip => (0, 0, 0),
            Self::Gue { port, checksum } => (1, port.get(), checksum.flags()),
            Self::Gre { checksum } => (2, 0, checksum.flags()),
            Self::Other { kind, port, flags } => (kind, port, flags),
        }
    }

    /// The inverse of [`Self::numbers`]. The kernel keeps a port and flags where they mean nothing, too.
    pub(crate) fn of(kind: u8, port: u16, flags: u16) -> Self {
        let checksum = TunnelChecksum::of(flags);
        match (kind, NonZeroU16::new(port), checksum) {
            (0, _, _) => Self::Ipip,
            (1, Some(port), Some(checksum)) => Self::Gue { port, checksum },
            (2, _, Some(checksum)) => Self::Gre { checksum },
            _ => Self::Other { kind, port, flags },
        }
    }
}

impl TunnelChecksum {
    const fn flags(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Full => 1,
            Self::Remote => 2,
        }
    }

    const fn of(flags: u16) -> Option<Self> {
        match flags {
            0 => Some(Self::None),
            1 => Some(Self::Full),
            2 => Some(Self::Remote),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_addresses_with_ports() {
        let key = |address: &str| DestinationKey {
            address: address.parse().unwrap(),
            port: 80,
        };
        assert_eq!(key("192.0.2.1").to_string(), "192.0.2.1:80");
        assert_eq!(key("2001:db8::1").to_string(), "[2001:db8::1]:80");
    }
}
