//! What is sent, and its bytes.

use std::net::IpAddr;

use crate::checksum::Sum;
use crate::vrrp::{
    ADVERTISEMENT, AUTHENTICATION_LEN, ChecksumForm, Endpoints, HEADER_LEN, Version, message_len,
};
use crate::{Family, Vrid};

/// The longest message: version 3 with 255 IPv6 addresses, in bytes. No [`Advertisement`] that can be sent is longer.
pub const MAX_LEN: usize = message_len(Version::V3, Family::V6, 255);

/// The most that 12 bits hold (RFC 9568 §5.2.7).
const MAX_CENTISECONDS: u16 = 4095;
/// Authentication types of RFC 2338 §5.3.6.
const NO_AUTHENTICATION: u8 = 0;
const SIMPLE_TEXT_PASSWORD: u8 = 1;

/// An advertisement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement<'a> {
    /// VRID.
    pub vrid: Vrid,
    /// Priority; 0 releases, 255 is the address owner's.
    pub priority: u8,
    /// What differs between the versions.
    pub body: Body,
    /// 1 to 255 addresses of the family it is sent over, in the order in which they are written.
    pub addresses: &'a [IpAddr],
}

/// What differs between the versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Version 2, over IPv4 only.
    V2 {
        /// Advertisement interval in seconds, 1..=255.
        seconds: u8,
        /// The simple text password of RFC 2338, zero padded; `None` sends type 0 and zeros.
        password: Option<[u8; AUTHENTICATION_LEN]>,
    },
    /// Version 3.
    V3 {
        /// Advertisement interval in centiseconds, 1..=4095.
        centiseconds: u16,
        /// What the checksum covers over IPv4. Without effect over IPv6, which has one form.
        form: ChecksumForm,
    },
}

/// Why an advertisement cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The count is one byte.
    #[error("{0} addresses; an advertisement carries 255 at most")]
    TooManyAddresses(usize),
    /// No receiver obeys an advertisement without addresses.
    #[error("an advertisement carries at least one address")]
    NoAddresses,
    /// The address is not of the family the advertisement is sent over.
    #[error("{0} is of another family than the datagram")]
    Family(IpAddr),
    /// Version 2 exists over IPv4 only.
    #[error("version 2 over IPv6")]
    Version2OverIpv6,
    /// Out of the version's range, in its own unit.
    #[error("an advertisement interval of {0}; 1 to 255 s in version 2, 1 to 4095 cs in version 3")]
    Interval(u16),
    /// The buffer is not as long as the message.
    #[error("a buffer of {actual} bytes for a message of {expected}")]
    Buffer {
        /// [`Advertisement::buffer_len`].
        expected: usize,
        /// What was given.
        actual: usize,
    },
}

impl Advertisement<'_> {
    /// Length of the message in bytes: what [`emit`](Self::emit) writes, no more and no less.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        let trailer = match self.body {
            Body::V2 { .. } => AUTHENTICATION_LEN,
            Body::V3 { .. } => 0,
        };
        let addresses: usize = self.addresses.iter().map(address_len).sum();
        HEADER_LEN + addresses + trailer
    }

    /// Writes the message as it is sent between `endpoints`, checksum included.
    ///
    /// Contract: `buffer` is exactly [`buffer_len`](Self::buffer_len) bytes; its content does not matter and every byte
    /// is written. The bytes depend on nothing but `self` and `endpoints`. With an error nothing is written.
    ///
    /// # Errors
    ///
    /// What [`EmitError`] lists, in its order.
    pub fn emit(&self, endpoints: &Endpoints, buffer: &mut [u8]) -> Result<(), EmitError> {
        let count = self.checked_count(endpoints)?;
        let wrong = EmitError::Buffer {
            expected: self.buffer_len(),
            actual: buffer.len(),
        };
        if buffer.len() != self.buffer_len() {
            return Err(wrong);
        }
        let mut sum = self.pseudo_header(endpoints, buffer.len());
        let (header, rest) = buffer.split_first_chunk_mut::<HEADER_LEN>().ok_or(wrong)?;
        self.emit_rest(rest).ok_or(wrong)?;
        let [version_type, byte4, byte5] = self.body.header_bytes();
        let fields = [
            version_type,
            self.vrid.get(),
            self.priority,
            count,
            byte4,
            byte5,
        ];
        sum = sum.bytes(&fields).bytes(rest);
        let [a, b, c, d, e, f] = fields;
        let [sum0, sum1] = sum.checksum().to_be_bytes();
        *header = [a, b, c, d, e, f, sum0, sum1];
        Ok(())
    }

    /// The message in a new vector.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), but for the buffer, which fits.
    pub fn to_vec(&self, endpoints: &Endpoints) -> Result<Vec<u8>, EmitError> {
        self.checked_count(endpoints)?;
        let mut buffer = vec![0; self.buffer_len()];
        self.emit(endpoints, &mut buffer)?;
        Ok(buffer)
    }

    /// How many addresses there are, if the advertisement may be sent between `endpoints`.
    fn checked_count(&self, endpoints: &Endpoints) -> Result<u8, EmitError> {
        let count = u8::try_from(self.addresses.len())
            .map_err(|_| EmitError::TooManyAddresses(self.addresses.len()))?;
        if count == 0 {
            return Err(EmitError::NoAddresses);
        }
        let family = endpoints.family();
        if let Some(foreign) = self
            .addresses
            .iter()
            .find(|address| Family::of(address) != family)
        {
            return Err(EmitError::Family(*foreign));
        }
        match self.body {
            Body::V2 { .. } if family == Family::V6 => Err(EmitError::Version2OverIpv6),
            Body::V2 { seconds: 0, .. } => Err(EmitError::Interval(0)),
            Body::V3 { centiseconds, .. } if !(1..=MAX_CENTISECONDS).contains(&centiseconds) => {
                Err(EmitError::Interval(centiseconds))
            }
            Body::V2 { .. } | Body::V3 { .. } => Ok(count),
        }
    }

    /// What the checksum covers besides the message.
    fn pseudo_header(&self, endpoints: &Endpoints, length: usize) -> Sum {
        let covered = match (self.body, endpoints.family()) {
            (Body::V3 { .. }, Family::V6) => true,
            (Body::V3 { form, .. }, Family::V4) => form == ChecksumForm::Rfc5798,
            (Body::V2 { .. }, Family::V4 | Family::V6) => false,
        };
        if covered {
            endpoints.pseudo_header(length)
        } else {
            Sum::new()
        }
    }

    /// Writes what follows the header; `None` if it does not fit.
    fn emit_rest(&self, mut rest: &mut [u8]) -> Option<()> {
        for address in self.addresses {
            rest = match address {
                IpAddr::V4(address) => put(rest, address.octets()),
                IpAddr::V6(address) => put(rest, address.octets()),
            }?;
        }
        if let Body::V2 { password, .. } = self.body {
            put(rest, password.unwrap_or_default())?;
        }
        Some(())
    }
}

impl Body {
    /// Bytes 0, 4 and 5 of the header.
    fn header_bytes(self) -> [u8; 3] {
        match self {
            Self::V2 { seconds, password } => {
                let authentication = if password.is_some() {
                    SIMPLE_TEXT_PASSWORD
                } else {
                    NO_AUTHENTICATION
                };
                [2 << 4 | ADVERTISEMENT, authentication, seconds]
            }
            Self::V3 { centiseconds, .. } => {
                let [high, low] = centiseconds.to_be_bytes();
                [3 << 4 | ADVERTISEMENT, high, low]
            }
        }
    }
}

/// Length of `address` in a message.
const fn address_len(address: &IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 16,
    }
}

/// Writes `bytes` at the front and returns what is left of `buffer`; `None` if they do not fit.
fn put<const N: usize>(buffer: &mut [u8], bytes: [u8; N]) -> Option<&mut [u8]> {
    let (slot, rest) = buffer.split_first_chunk_mut::<N>()?;
    *slot = bytes;
    Some(rest)
}
