//! Where things are: in a packet, of a connection, and in the key of a set; for either family.

use std::net::IpAddr;

use crate::ruleset::Family;

/// Something that an expression loads into a register.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    /// Of the packet's description (`NFT_META_*`).
    Meta { key: u32, length: u32 },
    /// Of its connection (`NFT_CT_*`).
    Connection {
        key: u32,
        direction: u8,
        length: u32,
    },
    /// Of the packet: in its network header (1) or transport header (2).
    Payload { base: u32, offset: u32, length: u32 },
}

impl Field {
    /// `NFT_META_MARK`, in the machine's byte order.
    pub(crate) const MARK: Self = Self::Meta { key: 3, length: 4 };
    /// `NFT_META_IIF`, where it came from, in the machine's byte order.
    pub(crate) const INTERFACE: Self = Self::Meta { key: 4, length: 4 };
    /// `NFT_META_NFPROTO`.
    pub(crate) const FAMILY: Self = Self::Meta { key: 15, length: 1 };
    /// `NFT_META_L4PROTO`.
    pub(crate) const PROTOCOL: Self = Self::Meta { key: 16, length: 1 };
    /// Of TCP, UDP and SCTP.
    pub(crate) const DESTINATION_PORT: Self = Self::Payload {
        base: 2,
        offset: 2,
        length: 2,
    };
    /// Of ICMP and ICMPv6.
    pub(crate) const ICMP_TYPE: Self = Self::Payload {
        base: 2,
        offset: 0,
        length: 1,
    };
    /// `NFT_CT_PROTO_DST` of the original direction: the port to which the client connected.
    pub(crate) const ORIGINAL_DESTINATION_PORT: Self = Self::Connection {
        key: 12,
        direction: 0,
        length: 2,
    };
    /// `NFT_CT_PROTO_SRC` of the reply: the port that answers.
    pub(crate) const REPLY_SOURCE_PORT: Self = Self::Connection {
        key: 11,
        direction: 1,
        length: 2,
    };

    /// Its length, in bytes.
    pub(crate) const fn length(self) -> u32 {
        match self {
            Self::Meta { length, .. }
            | Self::Connection { length, .. }
            | Self::Payload { length, .. } => length,
        }
    }

    /// Words of four bytes that it takes in registers and keys.
    pub(crate) const fn words(self) -> u32 {
        self.length().div_ceil(4)
    }
}

/// What differs between the families.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) family: Family,
    /// The sets of the family have it at the end of their names.
    pub(crate) suffix: &'static str,
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    pub(crate) number: u8,
    pub(crate) source: Field,
    pub(crate) destination: Field,
    /// The address to which the client connected.
    pub(crate) original_destination: Field,
    /// The address that answers: the real server's if IPVS rewrites, the virtual one if not.
    pub(crate) reply_source: Field,
    /// `nft`'s name for an address in a key.
    pub(crate) address_type: KeyType,
    pub(crate) icmp: Icmp,
}

/// ICMP of a family.
#[derive(Debug)]
pub(crate) struct Icmp {
    /// Its number as a protocol.
    pub(crate) protocol: u8,
    pub(crate) key_type: KeyType,
    /// The types that a closed address takes: errors, for they are of connections that it has, echo requests, neighbour
    /// solicitations and advertisements (RFC 792, RFC 4443, RFC 4861).
    pub(crate) taken: &'static [u8],
}

/// What a part of a key is; `nft` shows it by this number, the kernel only keeps it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyType(pub(crate) u32);

impl KeyType {
    pub(crate) const PROTOCOL: Self = Self(12);
    pub(crate) const PORT: Self = Self(13);
}

pub(crate) static LAYOUTS: [Layout; 2] = [
    Layout {
        family: Family::V4,
        suffix: "4",
        number: 2,
        source: network(12, 4),
        destination: network(16, 4),
        original_destination: connection(20, 0, 4),
        reply_source: connection(19, 1, 4),
        address_type: KeyType(7),
        icmp: Icmp {
            protocol: 1,
            key_type: KeyType(14),
            taken: &[3, 8, 11, 12],
        },
    },
    Layout {
        family: Family::V6,
        suffix: "6",
        number: 10,
        source: network(8, 16),
        destination: network(24, 16),
        original_destination: connection(22, 0, 16),
        reply_source: connection(21, 1, 16),
        address_type: KeyType(8),
        icmp: Icmp {
            protocol: 58,
            key_type: KeyType(29),
            taken: &[1, 2, 3, 4, 128, 135, 136],
        },
    },
];

const fn network(offset: u32, length: u32) -> Field {
    Field::Payload {
        base: 1,
        offset,
        length,
    }
}

/// `NFT_CT_{SRC,DST}_{IP,IP6}`.
const fn connection(key: u32, direction: u8, length: u32) -> Field {
    Field::Connection {
        key,
        direction,
        length,
    }
}

/// The bytes of `address`.
pub(crate) fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The parts of a key one after another, each padded to words.
pub(crate) fn key(parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::new();
    for part in parts {
        key.extend_from_slice(part);
        key.resize(key.len().next_multiple_of(4), 0);
    }
    key
}
