//! What the kernel says of a request, in messages of netlink itself.

use std::fmt;

use crate::{HEADER_LEN, Malformed, Message, aligned, attributes, flags};

const NOOP: u16 = 1;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const OVERRUN: u16 = 4;
/// The first type of a protocol's own messages.
const FIRST_OF_PROTOCOLS: u16 = 0x10;
/// Attributes of a refusal: a text for people, and where in the request the reason is.
const TEXT: u16 = 1;
const OFFSET: u16 = 2;

/// A message of netlink itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The request is done.
    Acknowledged,
    /// The request, or the rest of a dump, is refused.
    Refused(Refusal),
    /// The dump is complete.
    Done,
    /// Messages were lost.
    Overrun,
    /// Nothing, or a type that has no meaning yet.
    Nothing,
}

/// Why the kernel refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{errno}{}{}", if text.is_some() { ": " } else { "" }, text.as_deref().unwrap_or_default())]
pub struct Refusal {
    /// The error.
    pub errno: Errno,
    /// The kernel's words, where it has any and the socket asked for them (`NETLINK_EXT_ACK`).
    pub text: Option<String>,
    /// The byte of the request, counted from its header, whose attribute is the reason; on the same condition.
    pub offset: Option<u32>,
}

impl Control {
    /// `message` as one of netlink itself; `None` if it is a protocol's.
    ///
    /// # Errors
    ///
    /// It is too short to say what it should.
    pub fn of(message: &Message<'_>) -> Result<Option<Self>, Malformed> {
        Ok(Some(match message.kind {
            ERROR => Self::verdict(message, Self::Acknowledged)?,
            DONE => Self::verdict(message, Self::Done)?,
            OVERRUN => Self::Overrun,
            NOOP => Self::Nothing,
            kind if kind < FIRST_OF_PROTOCOLS => Self::Nothing,
            _ => return Ok(None),
        }))
    }

    /// `fine`, unless the number that begins the payload is an error.
    fn verdict(message: &Message<'_>, fine: Self) -> Result<Self, Malformed> {
        let number: &[u8; 4] = message.payload.first_chunk().ok_or(Malformed::Header {
            expected: 4,
            present: message.payload.len(),
        })?;
        let number = i32::from_ne_bytes(*number);
        if number >= 0 {
            return Ok(fine);
        }
        let mut refusal = Refusal {
            errno: Errno(number.saturating_neg()),
            text: None,
            offset: None,
        };
        // What explains a refusal may be malformed; it is one all the same.
        for attribute in attributes(explanation(message)).flatten() {
            match attribute.kind {
                TEXT => {
                    refusal.text =
                        Some(String::from_utf8_lossy(attribute.until_zero()).into_owned())
                }
                OFFSET => refusal.offset = attribute.u32().ok(),
                _ => {}
            }
        }
        Ok(Self::Refused(refusal))
    }
}

/// The attributes that explain a refusal: after the number, and in an error after the request that it quotes.
fn explanation<'a>(message: &Message<'a>) -> &'a [u8] {
    if message.flags & flags::ACK_ATTRIBUTES == 0 {
        return &[];
    }
    let after_number = message.payload.get(4..).unwrap_or_default();
    let quoted = if message.kind == DONE {
        0
    } else if message.flags & flags::CAPPED != 0 {
        HEADER_LEN
    } else {
        after_number
            .first_chunk()
            .and_then(|length| usize::try_from(u32::from_ne_bytes(*length)).ok())
            .unwrap_or(usize::MAX)
    };
    after_number.get(aligned(quoted)..).unwrap_or_default()
}

/// An error number of the kernel, positive (`errno-base.h` and, from 35, `asm-generic/errno.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

macro_rules! errno {
    ($($name:ident = $number:literal, $meaning:literal;)*) => {
        impl Errno {
            $(#[doc = $meaning] pub const $name: Self = Self($number);)*

            /// Its symbol.
            const fn symbol(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errno! {
    EPERM = 1, "The process lacks a capability.";
    ENOENT = 2, "What is named does not exist.";
    ESRCH = 3, "What is named does not exist; IPVS says so of services and sync daemons.";
    EINTR = 4, "What is dumped changed meanwhile.";
    EAGAIN = 11, "To be tried again.";
    ENOMEM = 12, "The kernel lacks memory.";
    EBUSY = 16, "It is in use.";
    EEXIST = 17, "It exists already.";
    ENODEV = 19, "There is no such interface.";
    EINVAL = 22, "The request makes no sense to this kernel.";
    ERANGE = 34, "A number is out of its range.";
    EMSGSIZE = 90, "It does not fit a message.";
    EOPNOTSUPP = 95, "The kernel lacks it.";
    EAFNOSUPPORT = 97, "The kernel lacks the address family.";
    ENOBUFS = 105, "Messages were lost.";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.symbol() {
            Some(symbol) => f.write_str(symbol),
            None => write!(f, "errno {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why() {
        let text = b"\x0c\0\x01\0no such\0";
        let offset = b"\x08\0\x02\0\x14\0\0\0";
        let errno = (-22i32).to_ne_bytes();
        let request = [24u32.to_ne_bytes().as_slice(), &[0; 20]].concat();
        let whole = [errno.as_slice(), &request, text, offset].concat();
        let capped = [errno.as_slice(), &request[..16], text, offset].concat();
        let end = [errno.as_slice(), text, offset].concat();
        for (kind, flags, payload) in [
            (ERROR, 0x200, &whole),
            (ERROR, 0x300, &capped),
            (DONE, 0x202, &end),
        ] {
            let Ok(Some(Control::Refused(refusal))) = Control::of(&message(kind, flags, payload))
            else {
                panic!("{kind} {flags:x}");
            };
            assert_eq!(refusal.to_string(), "EINVAL: no such");
            assert_eq!(refusal.offset, Some(20));
        }
        let plain = Control::of(&message(ERROR, 0, &whole)).unwrap().unwrap();
        assert_eq!(
            plain,
            Control::Refused(Refusal {
                errno: Errno::EINVAL,
                text: None,
                offset: None
            })
        );
    }

    #[test]
    fn what_is_no_refusal_is_told_apart() {
        for (kind, expected) in [
            (ERROR, Some(Control::Acknowledged)),
            (DONE, Some(Control::Done)),
            (OVERRUN, Some(Control::Overrun)),
            (NOOP, Some(Control::Nothing)),
            (9, Some(Control::Nothing)),
            (0x17, None),
        ] {
            assert_eq!(Control::of(&message(kind, 0, &[0; 20])), Ok(expected));
        }
        assert!(Control::of(&message(ERROR, 0, &[0; 3])).is_err());
        assert_eq!(Errno(11_111).to_string(), "errno 11111");
    }

    const fn message(kind: u16, flags: u16, payload: &[u8]) -> Message<'_> {
        Message {
            kind,
            flags,
            sequence: 1,
            port: 0,
            payload,
        }
    }
}
