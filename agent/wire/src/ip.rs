//! IPv4 and IPv6 headers: a checked view of a received datagram, and headers to send.
//!
//! Fragments are refused and IPv6 extension headers are not walked: nothing we receive needs either, and neither would be
//! from a VRRP router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::Sum;

/// Length of an IPv4 header without options, in bytes.
pub const IPV4_HEADER_LEN: usize = 20;
/// Length of the fixed IPv6 header, in bytes.
pub const IPV6_HEADER_LEN: usize = 40;
/// The longest payload an IPv4 datagram without options carries, in bytes.
pub const IPV4_MAX_PAYLOAD: u16 = u16::MAX - 20;
/// The bits of flags and offset that only a fragment has: more fragments, and any offset (RFC 791 §3.1).
const FRAGMENT: u16 = 0x3fff;

/// An IP datagram, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Sender.
    pub source: IpAddr,
    /// Receiver; of the same family.
    pub destination: IpAddr,
    /// IPv4 protocol, or the next header of the fixed IPv6 header, which may be an extension header's.
    pub protocol: u8,
    /// IPv4 time to live, or IPv6 hop limit.
    pub ttl: u8,
    /// The header, with IPv4 options.
    pub header: &'a [u8],
    /// What follows, exactly as long as the header says: link-layer padding is cut off.
    pub payload: &'a [u8],
}

/// Why bytes are not a datagram we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// Neither 4 nor 6.
    #[error("IP version {0} is neither 4 nor 6")]
    Version(u8),
    /// Fewer bytes than the header is long, or than it promises.
    #[error("{actual} bytes, but the IP datagram has {expected}")]
    Truncated {
        /// Bytes a header needs, or says there are.
        expected: usize,
        /// Bytes there are.
        actual: usize,
    },
    /// The IPv4 header length, given in 32-bit words, is below 5.
    #[error("an IPv4 header of {0} words; at least 5")]
    HeaderLength(u8),
    /// The IPv4 total length does not even cover the header.
    #[error("IPv4 total length {0} is shorter than the header")]
    TotalLength(u16),
    /// The IPv4 header checksum is wrong.
    #[error("wrong IPv4 header checksum")]
    Checksum,
    /// One fragment of an IPv4 datagram.
    #[error("a fragment of an IPv4 datagram")]
    Fragment,
}

impl<'a> Datagram<'a> {
    /// Reads the datagram at the start of `bytes`; what follows its end is ignored.
    ///
    /// # Errors
    ///
    /// For IPv4, in this order: version, header length, truncated header, checksum, total length, truncated datagram,
    /// fragment. For IPv6: version, truncated header, truncated datagram.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => Self::parse_v4(bytes),
            Some(6) => Self::parse_v6(bytes),
            Some(version) => Err(DatagramError::Version(version)),
            None => Err(DatagramError::Truncated {
                expected: IPV4_HEADER_LEN,
                actual: 0,
            }),
        }
    }

    fn parse_v4(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        let truncated = |expected| DatagramError::Truncated {
            expected,
            actual: bytes.len(),
        };
        let fixed = bytes
            .first_chunk::<IPV4_HEADER_LEN>()
            .ok_or(truncated(IPV4_HEADER_LEN))?;
        #[rustfmt::skip]
        let &[
            version_words, _tos, length0, length1,
            _id0, _id1, fragment0, fragment1,
            ttl, protocol, _sum0, _sum1,
            s0, s1, s2, s3,
            d0, d1, d2, d3,
        ] = fixed;
        let words = version_words & 0x0f;
        if words < 5 {
            return Err(DatagramError::HeaderLength(words));
        }
        let header_len = usize::from(words) * 4;
        let header = bytes.get(..header_len).ok_or(truncated(header_len))?;
        if !Sum::new().bytes(header).is_valid() {
            return Err(DatagramError::Checksum);
        }
        let total = u16::from_be_bytes([length0, length1]);
        if usize::from(total) < header_len {
            return Err(DatagramError::TotalLength(total));
        }
        let payload = bytes
            .get(header_len..usize::from(total))
            .ok_or(truncated(usize::from(total)))?;
        if u16::from_be_bytes([fragment0, fragment1]) & FRAGMENT != 0 {
            return Err(DatagramError::Fragment);
        }
        Ok(Self {
            source: Ipv4Addr::new(s0, s1, s2, s3).into(),
            destination: Ipv4Addr::new(d0, d1, d2, d3).into(),
            protocol,
            ttl,
            header,
            payload,
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        let truncated = |expected| DatagramError::Truncated {
            expected,
            actual: bytes.len(),
        };
        let (header, rest) = bytes
            .split_first_chunk::<IPV6_HEADER_LEN>()
            .ok_or(truncated(IPV6_HEADER_LEN))?;
        let &[
            _,
            _,
            _,
            _,
            length0,
            length1,
            protocol,
            ttl,
            ref addresses @ ..,
        ] = header;
        let length = usize::from(u16::from_be_bytes([length0, length1]));
        let payload = rest
            .get(..length)
            .ok_or(truncated(IPV6_HEADER_LEN + length))?;
        let ([source, destination], []) = addresses.as_chunks::<16>() else {
            // 32 bytes are two chunks of 16: the compiler cannot know, so the shape is an error, not a panic.
            return Err(truncated(IPV6_HEADER_LEN));
        };
        Ok(Self {
            source: Ipv6Addr::from(*source).into(),
            destination: Ipv6Addr::from(*destination).into(),
            protocol,
            ttl,
            header,
            payload,
        })
    }
}

/// An IPv4 header without options and with its checksum; may be fragmented on its way.
///
/// `payload_len` is in bytes, 0..=[`IPV4_MAX_PAYLOAD`]; beyond it the total length stays at 65,535.
#[must_use]
pub fn ipv4_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    payload_len: u16,
    ttl: u8,
    tos: u8,
    identification: u16,
) -> [u8; IPV4_HEADER_LEN] {
    let [length0, length1] = payload_len.saturating_add(20).to_be_bytes();
    let [id0, id1] = identification.to_be_bytes();
    let [s0, s1, s2, s3] = source.octets();
    let [d0, d1, d2, d3] = destination.octets();
    let with_checksum = |[sum0, sum1]: [u8; 2]| {
        #[rustfmt::skip]
        let header = [
            0x45, tos, length0, length1,
            id0, id1, 0, 0,
            ttl, protocol, sum0, sum1,
            s0, s1, s2, s3,
            d0, d1, d2, d3,
        ];
        header
    };
    let checksum = Sum::new().bytes(&with_checksum([0, 0])).checksum();
    with_checksum(checksum.to_be_bytes())
}

/// The fixed IPv6 header, flow label 0. `payload_len` is in bytes and counts extension headers.
#[must_use]
pub fn ipv6_header(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    payload_len: u16,
    hop_limit: u8,
    traffic_class: u8,
) -> [u8; IPV6_HEADER_LEN] {
    let [length0, length1] = payload_len.to_be_bytes();
    let fixed = [
        0x60 | traffic_class >> 4,
        traffic_class << 4,
        0,
        0,
        length0,
        length1,
        next_header,
        hop_limit,
    ];
    let mut header = [0; IPV6_HEADER_LEN];
    let bytes = fixed
        .into_iter()
        .chain(source.octets())
        .chain(destination.octets());
    for (slot, byte) in header.iter_mut().zip(bytes) {
        *slot = byte;
    }
    header
}

#[cfg(test)]
mod tests;
