//! The heartbeat: what the candidates of a virtual router tell each other by unicast, besides advertisements.
//!
//! It says who is Active in the eyes of each node, so that two of them notice each other even where advertisements
//! are lost. Our own protocol, over UDP port [`PORT`]. Version 1, big endian:
//!
//! | Offset | Bytes | Field |
//! |---|---|---|
//! | 0 | 4 | `VKHB` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | authentication: 0 none, 1 HMAC-SHA-256 |
//! | 6 | 1 | number of rows, 0..=26 |
//! | 7 | 1 | zero |
//! | 8 | 8 | the sender: a hash of its node's name |
//! | 16 | 8 | its incarnation: greater after each start |
//! | 24 | 8 | sequence: greater in each datagram of an incarnation |
//! | 32 | 8 | the addressee's incarnation as the sender knows it; 0 before it knows |
//! | 40 | 4 | milliseconds between heartbeats |
//! | 44 | 4 | zero |
//! | 48 | 44 each | rows |
//! | end | 32 | HMAC-SHA-256 (RFC 2104) of all before it, where authenticated |
//!
//! A row is one router instance of the sender:
//!
//! | Offset | Bytes | Field |
//! |---|---|---|
//! | 0 | 8 | a hash of the virtual router's name |
//! | 8 | 1 | family, 4 or 6 |
//! | 9 | 1 | VRID, 1..=255 |
//! | 10 | 1 | state: 0 Initialize, 1 Backup, 2 Active |
//! | 11 | 1 | effective priority |
//! | 12 | 4 | milliseconds since it heard the last advertisement; all ones if none |
//! | 16 | 4 | milliseconds of its advertisement interval |
//! | 20 | 6 | the Ethernet address of its interface, or zeroes |
//! | 26 | 2 | zero |
//! | 28 | 16 | the source of its advertisements, IPv4 mapped into IPv6; all zeroes if it has none |
//!
//! A datagram fits the least MTU of IPv6. What does not fit goes into another one with its own sequence number.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{Family, MacAddr, Vrid};

/// The UDP port.
pub const PORT: u16 = 9651;
/// The most rows of a datagram.
pub const MAX_ROWS: usize = 26;
/// The longest datagram: 1,224 bytes, and 1,272 with the headers of UDP and IPv6.
pub const MAX_LEN: usize = HEADER_LEN + MAX_ROWS * ROW_LEN + TRAILER_LEN;
/// The shortest key, in bytes: as long as half of the hash's output (RFC 2104 §3 discourages shorter ones).
pub const MIN_KEY_LEN: usize = 16;

const HEADER_LEN: usize = 48;
const ROW_LEN: usize = 44;
const TRAILER_LEN: usize = 32;
const MAGIC: [u8; 4] = *b"VKHB";
const VERSION: u8 = 1;
const OPEN: u8 = 0;
const AUTHENTICATED: u8 = 1;
const NEVER: u32 = u32::MAX;

/// One datagram, authentication aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender: [`hash`] of its node's name.
    pub node: u64,
    /// Greater after each start of the sender.
    pub incarnation: u64,
    /// Greater in each datagram of an incarnation.
    pub sequence: u64,
    /// The addressee's incarnation as the sender knows it; 0 before it knows.
    pub echo: u64,
    /// Milliseconds between two heartbeats of the sender.
    pub interval_ms: u32,
    /// At most [`MAX_ROWS`] router instances of the sender.
    pub rows: Vec<Row>,
}

/// One router instance of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// [`hash`] of the virtual router's name.
    pub router: u64,
    /// Its family.
    pub family: Family,
    /// Its VRID.
    pub vrid: Vrid,
    /// Its state.
    pub state: State,
    /// Its effective priority.
    pub priority: u8,
    /// Milliseconds since it heard the last advertisement of another; `None` if it never did.
    pub heard_ms: Option<u32>,
    /// Milliseconds between its advertisements.
    pub interval_ms: u32,
    /// The Ethernet address of its interface.
    pub mac: Option<MacAddr>,
    /// The source of its advertisements, of its family.
    pub source: Option<IpAddr>,
}

/// A state of RFC 9568 §6.4 on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Takes no part.
    Initialize,
    /// Listens.
    Backup,
    /// Holds the addresses.
    Active,
}

/// Whether a datagram proved who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Authenticity {
    /// Its sender has one of our keys.
    Proven,
    /// We have no key: anybody may have sent it.
    Unproven,
}

/// Why a datagram is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum HeartbeatError {
    /// Its first bytes are not ours.
    #[error("not a heartbeat")]
    Kind,
    /// A version that this one cannot read.
    #[error("heartbeat version {0}; this is version 1")]
    Version(u8),
    /// Its length is not what its fields say.
    #[error("{0} bytes, which its fields do not add up to")]
    Length(usize),
    /// We have a key and it brings no HMAC.
    #[error("without authentication")]
    Unauthenticated,
    /// No key of ours made its HMAC.
    #[error("not authenticated by a key of ours")]
    Authentication,
    /// A field that no sender of version 1 writes.
    #[error("a field has an impossible value")]
    Field,
}

/// More rows than a datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} rows; a heartbeat carries 26")]
pub struct TooManyRows(pub usize);

/// An installation key. Never printed, never serialised.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// `secret` as a key, or `None` if it is shorter than [`MIN_KEY_LEN`].
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        if secret.len() < MIN_KEY_LEN {
            return None;
        }
        Hmac::new_from_slice(secret).ok().map(Self)
    }

    fn sign(&self, bytes: &[u8]) -> [u8; TRAILER_LEN] {
        let mut mac = self.0.clone();
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }

    /// In constant time.
    fn verifies(&self, bytes: &[u8], trailer: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(bytes);
        mac.verify_slice(trailer).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// FNV-1a of a name, 64 bits: what stands for it on the wire. No protection against who has the key; two names that
/// meet in it are told apart by nothing, at odds of one in 2⁶⁴ for a pair.
#[must_use]
pub fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Heartbeat {
    /// The datagram, with an HMAC if there is a `key`.
    ///
    /// # Errors
    /// If there are more rows than it carries.
    pub fn to_bytes(&self, key: Option<&Key>) -> Result<Vec<u8>, TooManyRows> {
        let count = u8::try_from(self.rows.len()).unwrap_or(u8::MAX);
        if usize::from(count) > MAX_ROWS {
            return Err(TooManyRows(self.rows.len()));
        }
        let authentication = if key.is_some() { AUTHENTICATED } else { OPEN };
        let mut bytes = Vec::with_capacity(MAX_LEN);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, authentication, count, 0]);
        for number in [self.node, self.incarnation, self.sequence, self.echo] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.interval_ms.to_be_bytes());
        bytes.extend([0; 4]);
        for row in &self.rows {
            bytes.extend(row.to_bytes());
        }
        if let Some(key) = key {
            let trailer = key.sign(&bytes);
            bytes.extend(trailer);
        }
        Ok(bytes)
    }

    /// Reads a datagram. With `keys`, one of them must have made its HMAC, which is checked before any row is read;
    /// without, an HMAC that it brings is not looked at.
    ///
    /// # Errors
    /// If it is none of ours, or proves nothing though it should.
    pub fn parse(bytes: &[u8], keys: &[Key]) -> Result<(Self, Authenticity), HeartbeatError> {
        let length = HeartbeatError::Length(bytes.len());
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(length)?;
        let mut fields = Fields(header);
        if fields.take()? != MAGIC {
            return Err(HeartbeatError::Kind);
        }
        let [version, authentication, count, zero] = fields.take()?;
        if version != VERSION {
            return Err(HeartbeatError::Version(version));
        }
        let trailer = match authentication {
            OPEN => 0,
            AUTHENTICATED => TRAILER_LEN,
            _ => return Err(HeartbeatError::Field),
        };
        if usize::from(count) > MAX_ROWS || zero != 0 {
            return Err(HeartbeatError::Field);
        }
        if rest.len() != usize::from(count) * ROW_LEN + trailer {
            return Err(length);
        }
        let authenticity = authenticate(bytes, trailer, keys)?;
        let heartbeat = Self {
            node: u64::from_be_bytes(fields.take()?),
            incarnation: u64::from_be_bytes(fields.take()?),
            sequence: u64::from_be_bytes(fields.take()?),
            echo: u64::from_be_bytes(fields.take()?),
            interval_ms: u32::from_be_bytes(fields.take()?),
            rows: rest
                .as_chunks::<ROW_LEN>()
                .0
                .iter()
                .take(usize::from(count))
                .map(Row::parse)
                .collect::<Result<_, _>>()?,
        };
        match fields.take()? {
            [0, 0, 0, 0] => Ok((heartbeat, authenticity)),
            [_, _, _, _] => Err(HeartbeatError::Field),
        }
    }
}

fn authenticate(
    bytes: &[u8],
    trailer: usize,
    keys: &[Key],
) -> Result<Authenticity, HeartbeatError> {
    if keys.is_empty() {
        return Ok(Authenticity::Unproven);
    }
    if trailer == 0 {
        return Err(HeartbeatError::Unauthenticated);
    }
    let signed = bytes.len().saturating_sub(trailer);
    let (signed, trailer) = bytes
        .split_at_checked(signed)
        .ok_or(HeartbeatError::Length(bytes.len()))?;
    match keys.iter().any(|key| key.verifies(signed, trailer)) {
        true => Ok(Authenticity::Proven),
        false => Err(HeartbeatError::Authentication),
    }
}

impl Row {
    fn to_bytes(self) -> [u8; ROW_LEN] {
        let family = match self.family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        let state = match self.state {
            State::Initialize => 0,
            State::Backup => 1,
            State::Active => 2,
        };
        let source = match self.source {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
            Some(IpAddr::V6(address)) => address,
            None => Ipv6Addr::UNSPECIFIED,
        };
        let fields = self
            .router
            .to_be_bytes()
            .into_iter()
            .chain([family, self.vrid.get(), state, self.priority])
            // The last number stands for never.
            .chain(self.heard_ms.unwrap_or(NEVER).to_be_bytes())
            .chain(self.interval_ms.to_be_bytes())
            .chain(self.mac.map_or([0; 6], |mac| mac.0))
            .chain([0; 2])
            .chain(source.octets());
        let mut bytes = [0; ROW_LEN];
        for (slot, byte) in bytes.iter_mut().zip(fields) {
            *slot = byte;
        }
        bytes
    }

    fn parse(bytes: &[u8; ROW_LEN]) -> Result<Self, HeartbeatError> {
        let mut fields = Fields(bytes);
        let router = u64::from_be_bytes(fields.take()?);
        let [family, vrid, state, priority] = fields.take()?;
        let family = match family {
            4 => Family::V4,
            6 => Family::V6,
            _ => return Err(HeartbeatError::Field),
        };
        let state = match state {
            0 => State::Initialize,
            1 => State::Backup,
            2 => State::Active,
            _ => return Err(HeartbeatError::Field),
        };
        let heard = u32::from_be_bytes(fields.take()?);
        let interval_ms = u32::from_be_bytes(fields.take()?);
        let mac: [u8; 6] = fields.take()?;
        if fields.take()? != [0; 2] {
            return Err(HeartbeatError::Field);
        }
        let source = Ipv6Addr::from(fields.take::<16>()?);
        let source = match (family, source.to_ipv4_mapped()) {
            (_, None) if source.is_unspecified() => None,
            (Family::V4, Some(address)) => Some(IpAddr::V4(address)),
            (Family::V6, None) => Some(IpAddr::V6(source)),
            (Family::V4, None) | (Family::V6, Some(_)) => return Err(HeartbeatError::Field),
        };
        Ok(Self {
            router,
            family,
            vrid: Vrid::new(vrid).ok_or(HeartbeatError::Field)?,
            state,
            priority,
            heard_ms: (heard != NEVER).then_some(heard),
            interval_ms,
            mac: (mac != [0; 6]).then_some(MacAddr(mac)),
            source,
        })
    }
}

/// What of a header or row has not been read yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeartbeatError> {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .ok_or(HeartbeatError::Length(self.0.len()))?;
        self.0 = rest;
        Ok(*field)
    }
}

#[cfg(test)]
mod tests;
