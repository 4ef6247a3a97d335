//! VRRP advertisements: version 2 (RFC 3768, with the simple text password of RFC 2338) and version 3 (RFC 9568).
//!
//! Owns the message's bytes: [`Packet`] is the checked view of a received one, [`Advertisement`] the values of one to
//! send. It never looks at the IP header (TTL, source) and never asks what a value means to a router: an interval of 0, a
//! list without a link-local address or a wrong password are well formed here and judged by the election.
//!
//! A message is exactly as long as the IP datagram's payload. Bytes after the last address would be covered by no check
//! of version 3 over IPv4, and there a flipped count could pass as a shorter message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::slice;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checksum::Sum;
use crate::{Family, Vrid};

mod advertisement;
mod endpoints;

pub use advertisement::{Advertisement, Body, EmitError, MAX_LEN};
pub use endpoints::Endpoints;

/// IP protocol number, and IPv6 next header, of VRRP (RFC 9568 §5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// Where advertisements over IPv4 are sent (RFC 9568 §5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where advertisements over IPv6 are sent (RFC 9568 §5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The only type there is: advertisement (RFC 9568 §5.2.2).
const ADVERTISEMENT: u8 = 1;
/// Length of what precedes the addresses.
const HEADER_LEN: usize = 8;
/// Length of version 2's trailer.
const AUTHENTICATION_LEN: usize = 8;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Version {
    /// RFC 3768, and RFC 2338 before it: IPv4 only, whole seconds.
    V2,
    /// RFC 9568, and RFC 5798 before it.
    V3,
}

/// Which bytes a version 3 checksum over IPv4 covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumForm {
    /// The message alone (RFC 9568 §5.2.8).
    Rfc9568,
    /// The message and an IPv4 pseudo-header: RFC 5798 as keepalived and others deployed it.
    Rfc5798,
}

/// Which forms a receiver accepts for version 3 over IPv4. Everything else has one form, which is always demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Accept {
    /// This form; then every single flipped bit is refused.
    Only(ChecksumForm),
    /// Any of the two. Weaker: a flip that changes the sum by just the pseudo-header's passes as the other form.
    Either,
}

/// The first fields of a message, unverified: enough to say whom a refused one concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version, 0..=15.
    pub version: u8,
    /// Type, 0..=15; 1 is an advertisement.
    pub kind: u8,
    /// VRID, 0 included.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// How many addresses are said to follow.
    pub count: u8,
}

impl Header {
    /// Reads the fields; `None` below 8 bytes, the shortest there could be.
    #[must_use]
    pub fn peek(payload: &[u8]) -> Option<Self> {
        let &[version_type, vrid, priority, count, ..] = payload.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            version: version_type >> 4,
            kind: version_type & 0x0f,
            vrid,
            priority,
            count,
        })
    }
}

/// Why a payload is not an advertisement, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Neither 2 nor 3, or 2 over IPv6.
    #[error("VRRP version {0}")]
    Version(u8),
    /// Not an advertisement.
    #[error("VRRP type {0} is not an advertisement")]
    Type(u8),
    /// The payload is shorter or longer than the message.
    #[error("{actual} bytes, but the message has {expected}")]
    Length {
        /// Bytes the message has by its version and count; 8 when there are too few to read them.
        expected: usize,
        /// Bytes of the payload.
        actual: usize,
    },
    /// The count of addresses is 0.
    #[error("no addresses")]
    NoAddresses,
    /// No accepted form of the checksum matches.
    #[error("wrong checksum")]
    Checksum,
    /// The VRID is 0.
    #[error("VRID 0")]
    VridZero,
}

/// A checked view of a received advertisement. Its addresses stay where they were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    vrid: Vrid,
    priority: u8,
    body: PacketBody,
    addresses: AddressList<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketBody {
    V2 {
        seconds: u8,
        authentication: (u8, [u8; AUTHENTICATION_LEN]),
    },
    V3 {
        centiseconds: u16,
        form: Option<ChecksumForm>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressList<'a> {
    V4(&'a [[u8; 4]]),
    V6(&'a [[u8; 16]]),
}

impl<'a> Packet<'a> {
    /// Reads the payload of the IP datagram that travelled between `endpoints`, all of it.
    ///
    /// Version 3's reserved bits are ignored (RFC 9568 §5.2.6), as is authentication data of type 0 (RFC 3768 §5.3.10).
    ///
    /// # Errors
    ///
    /// The first of [`ParseError`]'s, in their order. [`ParseError::NoAddresses`] is erratum 8299 of RFC 9568 and goes
    /// for version 2 as well: RFC 3768 states no minimum, but an advertisement that names no address claims nothing, and
    /// whoever obeyed it would leave every address of the virtual router unserved.
    pub fn parse(
        payload: &'a [u8],
        endpoints: &Endpoints,
        accept: Accept,
    ) -> Result<Self, ParseError> {
        let short = ParseError::Length {
            expected: HEADER_LEN,
            actual: payload.len(),
        };
        let header = Header::peek(payload).ok_or(short)?;
        let (&[.., byte4, byte5, _, _], rest) =
            payload.split_first_chunk::<HEADER_LEN>().ok_or(short)?;
        let version = known_version(header.version, endpoints.family())?;
        if header.kind != ADVERTISEMENT {
            return Err(ParseError::Type(header.kind));
        }
        let (addresses, trailer) = split_rest(rest, version, header.count, endpoints.family())?;
        if header.count == 0 {
            return Err(ParseError::NoAddresses);
        }
        let body = match version {
            Version::V2 => {
                verify(Sum::new().bytes(payload))?;
                PacketBody::V2 {
                    seconds: byte5,
                    authentication: (byte4, trailer),
                }
            }
            Version::V3 => PacketBody::V3 {
                centiseconds: u16::from_be_bytes([byte4 & 0x0f, byte5]),
                form: verify_v3(payload, endpoints, accept)?,
            },
        };
        let vrid = Vrid::new(header.vrid).ok_or(ParseError::VridZero)?;
        Ok(Self {
            vrid,
            priority: header.priority,
            body,
            addresses,
        })
    }

    /// Version.
    #[must_use]
    pub fn version(&self) -> Version {
        match self.body {
            PacketBody::V2 { .. } => Version::V2,
            PacketBody::V3 { .. } => Version::V3,
        }
    }

    /// VRID.
    #[must_use]
    pub fn vrid(&self) -> Vrid {
        self.vrid
    }

    /// Priority; 0 releases.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// Advertisement interval: version 2 in whole seconds to 255 s, version 3 in steps of 10 ms to 40.95 s. May be zero.
    #[must_use]
    pub fn interval(&self) -> Duration {
        match self.body {
            PacketBody::V2 { seconds, .. } => Duration::from_secs(seconds.into()),
            PacketBody::V3 { centiseconds, .. } => {
                Duration::from_millis(u64::from(centiseconds) * 10)
            }
        }
    }

    /// The form that matched, for version 3 over IPv4; the RFC 9568 form where both do.
    #[must_use]
    pub fn checksum_form(&self) -> Option<ChecksumForm> {
        match self.body {
            PacketBody::V2 { .. } => None,
            PacketBody::V3 { form, .. } => form,
        }
    }

    /// Version 2's authentication type and data as received. 0: none, the data says nothing; 1: a password, zero padded.
    #[must_use]
    pub fn authentication(&self) -> Option<(u8, [u8; AUTHENTICATION_LEN])> {
        match self.body {
            PacketBody::V2 { authentication, .. } => Some(authentication),
            PacketBody::V3 { .. } => None,
        }
    }

    /// The advertised addresses in their order, all of the family that carried the message.
    #[must_use]
    pub fn addresses(&self) -> Addresses<'a> {
        Addresses(match self.addresses {
            AddressList::V4(list) => Remaining::V4(list.iter()),
            AddressList::V6(list) => Remaining::V6(list.iter()),
        })
    }

    /// How many addresses are advertised, 1..=255.
    #[must_use]
    pub fn address_count(&self) -> usize {
        self.addresses().len()
    }
}

fn known_version(version: u8, family: Family) -> Result<Version, ParseError> {
    match (version, family) {
        (2, Family::V4) => Ok(Version::V2),
        (3, Family::V4 | Family::V6) => Ok(Version::V3),
        (other, Family::V4 | Family::V6) => Err(ParseError::Version(other)),
    }
}

/// The addresses and version 2's trailer (zeros in version 3) of what follows the header.
fn split_rest(
    rest: &[u8],
    version: Version,
    count: u8,
    family: Family,
) -> Result<(AddressList<'_>, [u8; AUTHENTICATION_LEN]), ParseError> {
    let wrong = ParseError::Length {
        expected: message_len(version, family, count.into()),
        actual: HEADER_LEN + rest.len(),
    };
    let (bytes, trailer) = match version {
        Version::V2 => rest
            .split_last_chunk::<AUTHENTICATION_LEN>()
            .map(|(bytes, trailer)| (bytes, *trailer))
            .ok_or(wrong)?,
        Version::V3 => (rest, [0; AUTHENTICATION_LEN]),
    };
    let (list, counted, odd) = match family {
        Family::V4 => {
            let (list, odd) = bytes.as_chunks::<4>();
            (AddressList::V4(list), list.len(), odd)
        }
        Family::V6 => {
            let (list, odd) = bytes.as_chunks::<16>();
            (AddressList::V6(list), list.len(), odd)
        }
    };
    if counted == usize::from(count) && odd.is_empty() {
        Ok((list, trailer))
    } else {
        Err(wrong)
    }
}

/// Length of a whole message.
const fn message_len(version: Version, family: Family, count: usize) -> usize {
    let address_len = match family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    let trailer = match version {
        Version::V2 => AUTHENTICATION_LEN,
        Version::V3 => 0,
    };
    HEADER_LEN + count * address_len + trailer
}

/// Checks a version 3 checksum; over IPv4, in which form it is right.
fn verify_v3(
    payload: &[u8],
    endpoints: &Endpoints,
    accept: Accept,
) -> Result<Option<ChecksumForm>, ParseError> {
    let message = Sum::new().bytes(payload);
    let with_pseudo_header = endpoints.pseudo_header(payload.len()).bytes(payload);
    match (endpoints.family(), accept) {
        (Family::V6, Accept::Only(_) | Accept::Either) => verify(with_pseudo_header).map(|()| None),
        (Family::V4, Accept::Only(ChecksumForm::Rfc9568)) => {
            verify(message).map(|()| Some(ChecksumForm::Rfc9568))
        }
        (Family::V4, Accept::Only(ChecksumForm::Rfc5798)) => {
            verify(with_pseudo_header).map(|()| Some(ChecksumForm::Rfc5798))
        }
        (Family::V4, Accept::Either) => verify(message)
            .map(|()| Some(ChecksumForm::Rfc9568))
            .or_else(|_| verify(with_pseudo_header).map(|()| Some(ChecksumForm::Rfc5798))),
    }
}

fn verify(sum: Sum) -> Result<(), ParseError> {
    if sum.is_valid() {
        Ok(())
    } else {
        Err(ParseError::Checksum)
    }
}

/// The addresses of a [`Packet`], in order.
#[derive(Clone, Debug)]
pub struct Addresses<'a>(Remaining<'a>);

#[derive(Clone, Debug)]
enum Remaining<'a> {
    V4(slice::Iter<'a, [u8; 4]>),
    V6(slice::Iter<'a, [u8; 16]>),
}

impl Iterator for Addresses<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        match &mut self.0 {
            Remaining::V4(list) => list.next().map(|octets| IpAddr::from(*octets)),
            Remaining::V6(list) => list.next().map(|octets| IpAddr::from(*octets)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Remaining::V4(list) => list.size_hint(),
            Remaining::V6(list) => list.size_hint(),
        }
    }
}

impl ExactSizeIterator for Addresses<'_> {}

#[cfg(test)]
mod tests;
