//! Bytes to messages and attributes. Values borrow from the datagram; nothing is copied.

use crate::{ATTRIBUTE_HEADER_LEN, HEADER_LEN, NESTED, aligned};

/// The part of an attribute's type that is its type; above it are `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const KIND_MASK: u16 = 0x3fff;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A message claims more bytes than there are, or fewer than its header has.
    #[error("a message claims {claimed} bytes where {present} are left")]
    Message {
        /// The length in its header; 0 if the header itself is cut.
        claimed: u32,
        /// Bytes from its beginning to the datagram's end.
        present: usize,
    },
    /// The same of an attribute.
    #[error("an attribute claims {claimed} bytes where {present} are left")]
    Attribute {
        /// The length in its header; 0 if the header itself is cut.
        claimed: u16,
        /// Bytes from its beginning to the end of what holds it.
        present: usize,
    },
    /// A protocol's own header is cut.
    #[error("the header has {present} of {expected} bytes")]
    Header {
        /// Bytes that there should be.
        expected: usize,
        /// Bytes that there are.
        present: usize,
    },
    /// An attribute's value has another length than its type has.
    #[error("attribute {kind} has {present} bytes instead of {expected}")]
    Value {
        /// The attribute.
        kind: u16,
        /// Bytes of its type.
        expected: usize,
        /// Bytes that there are.
        present: usize,
    },
    /// An attribute's value should be a text and is no UTF-8.
    #[error("attribute {kind} is no UTF-8")]
    Text {
        /// The attribute.
        kind: u16,
    },
}

/// A message, without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its type; below 16 it is of netlink itself ([`Control::of`](crate::Control::of)).
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The sequence number of the request that it answers.
    pub sequence: u32,
    /// The port to which, or from which, it goes.
    pub port: u32,
    /// What follows its header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The payload as the protocol's own header of `N` bytes, and the attributes behind it.
    ///
    /// # Errors
    ///
    /// It has fewer bytes.
    pub fn split<const N: usize>(&self) -> Result<([u8; N], Attributes<'a>), Malformed> {
        let cut = Malformed::Header {
            expected: N,
            present: self.payload.len(),
        };
        let header = self.payload.first_chunk().ok_or(cut)?;
        let rest = self.payload.get(aligned(N)..).unwrap_or_default();
        Ok((*header, attributes(rest)))
    }
}

/// The messages of a datagram; see [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

/// The messages of `datagram`. One that is malformed is the last: where the next begins is not known then.
#[must_use]
pub const fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { rest: datagram }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.rest);
        if bytes.is_empty() {
            return None;
        }
        let header: Option<&[u8; HEADER_LEN]> = bytes.first_chunk();
        let Some(
            &[
                l0,
                l1,
                l2,
                l3,
                k0,
                k1,
                f0,
                f1,
                s0,
                s1,
                s2,
                s3,
                p0,
                p1,
                p2,
                p3,
            ],
        ) = header
        else {
            return Some(Err(Malformed::Message {
                claimed: 0,
                present: bytes.len(),
            }));
        };
        let claimed = u32::from_ne_bytes([l0, l1, l2, l3]);
        let length = usize::try_from(claimed).unwrap_or(usize::MAX);
        let Some(payload) = bytes.get(HEADER_LEN..length) else {
            return Some(Err(Malformed::Message {
                claimed,
                present: bytes.len(),
            }));
        };
        self.rest = bytes.get(aligned(length)..).unwrap_or_default();
        Some(Ok(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port: u32::from_ne_bytes([p0, p1, p2, p3]),
            payload,
        }))
    }
}

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, without flags.
    pub kind: u16,
    /// Its value is marked as attributes. The kernel leaves the mark out of some answers.
    pub nested: bool,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The value as exactly `N` bytes.
    ///
    /// # Errors
    ///
    /// It has another length; so below.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], Malformed> {
        self.value.try_into().map_err(|_| Malformed::Value {
            kind: self.kind,
            expected: N,
            present: self.value.len(),
        })
    }

    /// The value as a number.
    ///
    /// # Errors
    ///
    /// It has another length.
    pub fn u8(&self) -> Result<u8, Malformed> {
        self.bytes().map(u8::from_ne_bytes)
    }

    /// The value as a number.
    ///
    /// # Errors
    ///
    /// It has another length.
    pub fn u16(&self) -> Result<u16, Malformed> {
        self.bytes().map(u16::from_ne_bytes)
    }

    /// The value as a number.
    ///
    /// # Errors
    ///
    /// It has another length.
    pub fn u32(&self) -> Result<u32, Malformed> {
        self.bytes().map(u32::from_ne_bytes)
    }

    /// The value as a number.
    ///
    /// # Errors
    ///
    /// It has another length.
    pub fn u64(&self) -> Result<u64, Malformed> {
        self.bytes().map(u64::from_ne_bytes)
    }

    /// The value as a number in network byte order.
    ///
    /// # Errors
    ///
    /// It has another length.
    pub fn be16(&self) -> Result<u16, Malformed> {
        self.bytes().map(u16::from_be_bytes)
    }

    /// The value as a number in network byte order.
    ///
    /// # Errors
    ///
    /// It has another length.
    pub fn be32(&self) -> Result<u32, Malformed> {
        self.bytes().map(u32::from_be_bytes)
    }

    /// The value up to the first zero.
    #[must_use]
    pub fn until_zero(&self) -> &'a [u8] {
        self.value
            .split(|&byte| byte == 0)
            .next()
            .unwrap_or_default()
    }

    /// The value up to the first zero, as a text.
    ///
    /// # Errors
    ///
    /// It is no UTF-8.
    pub fn text(&self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.until_zero()).map_err(|_| Malformed::Text { kind: self.kind })
    }

    /// The value as attributes.
    #[must_use]
    pub const fn nested(&self) -> Attributes<'a> {
        attributes(self.value)
    }
}

/// Attributes one after another; see [`attributes`].
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

/// The attributes of `bytes`. One that is malformed is the last.
#[must_use]
pub const fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.rest);
        if bytes.is_empty() {
            return None;
        }
        let header: Option<&[u8; ATTRIBUTE_HEADER_LEN]> = bytes.first_chunk();
        let Some(&[l0, l1, k0, k1]) = header else {
            return Some(Err(Malformed::Attribute {
                claimed: 0,
                present: bytes.len(),
            }));
        };
        let claimed = u16::from_ne_bytes([l0, l1]);
        let Some(value) = bytes.get(ATTRIBUTE_HEADER_LEN..claimed.into()) else {
            return Some(Err(Malformed::Attribute {
                claimed,
                present: bytes.len(),
            }));
        };
        self.rest = bytes.get(aligned(claimed.into())..).unwrap_or_default();
        let kind = u16::from_ne_bytes([k0, k1]);
        Some(Ok(Attribute {
            kind: kind & KIND_MASK,
            nested: kind & NESTED != 0,
            value,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_acknowledgement_is_one_message() {
        // ipvsadm -A, Linux 7.2.
        let bytes = [
            0x24, 0, 0, 0, 2, 0, 0, 1, 0xa7, 0x25, 0xf3, 0x94, 0x42, 0, 0x40, 0xcd, 0, 0, 0, 0,
            0x68, 0, 0, 0, 0x17, 0, 5, 0, 0xa7, 0x25, 0xf3, 0x94, 0x42, 0, 0x40, 0xcd,
        ];
        let read: Vec<_> = messages(&bytes).map(Result::unwrap).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(
            (read[0].kind, read[0].flags, read[0].sequence),
            (2, 0x100, 0x94f3_25a7)
        );
        assert_eq!(read[0].payload.len(), 20);
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_reading() {
        for claimed in [0u32, 15, 17, u32::MAX] {
            let mut bytes = [0; HEADER_LEN];
            bytes[..4].copy_from_slice(&claimed.to_ne_bytes());
            let all: Vec<_> = messages(&bytes).collect();
            assert_eq!(
                all,
                [Err(Malformed::Message {
                    claimed,
                    present: 16
                })]
            );
        }
        for claimed in [0u16, 3, 5, u16::MAX] {
            let mut bytes = [0; ATTRIBUTE_HEADER_LEN];
            bytes[..2].copy_from_slice(&claimed.to_ne_bytes());
            let all: Vec<_> = attributes(&bytes).collect();
            assert_eq!(
                all,
                [Err(Malformed::Attribute {
                    claimed,
                    present: 4
                })]
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(4), Just(16), any::<u8>()], 0..200)) {
            for message in messages(&bytes).flatten() {
                std::hint::black_box(crate::Control::of(&message).is_ok());
                if let Ok((_, attributes)) = message.split::<4>() {
                    for attribute in attributes.flatten() {
                        std::hint::black_box(attribute.text().is_ok());
                        prop_assert!(attribute.nested().count() <= 50);
                    }
                }
            }
            prop_assert!(attributes(&bytes).count() <= 51);
        }
    }
}
