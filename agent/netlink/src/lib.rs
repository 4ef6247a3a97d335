//! What every netlink protocol shares: messages in a datagram, attributes in a message, acknowledgements and refusals
//! (`include/uapi/linux/netlink.h`, RFC 3549 §2.3). IPVS and nftables are said with it.
//!
//! | Module | Holds |
//! |---|---|
//! | [`writer`] | messages and attributes to bytes |
//! | [`reader`] | bytes to messages and attributes |
//! | [`control`] | what the kernel says of a request: acknowledged, refused and why, the end of a dump |
//!
//! The crate is pure: no socket, no clock, no state, no allocation while reading. It knows no protocol: what an attribute
//! means is its user's. Numbers are in the machine's byte order, as netlink has them, unless a name says otherwise.
//!
//! # Panics
//!
//! Never, whatever the input.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod control;
pub mod reader;
pub mod writer;

pub use control::{Control, Errno, Refusal};
pub use reader::{Attribute, Attributes, Malformed, Message, Messages, attributes, messages};
pub use writer::{Draft, TooLong};

/// Length of a message's header, in bytes (`struct nlmsghdr`).
pub const HEADER_LEN: usize = 16;
/// Length of an attribute's header, in bytes (`struct nlattr`).
pub const ATTRIBUTE_HEADER_LEN: usize = 4;

/// Flags of a request (`NLM_F_*`).
pub mod flags {
    /// It is a request.
    pub const REQUEST: u16 = 0x1;
    /// Of an answer: one of several, which end with [`Control::Done`](crate::Control::Done).
    pub const MULTI: u16 = 0x2;
    /// It is to be acknowledged.
    pub const ACK: u16 = 0x4;
    /// Of an answer: what is dumped changed meanwhile, the dump may lack something or have it twice.
    pub const DUMP_INTERRUPTED: u16 = 0x10;
    /// Asks for everything.
    pub const DUMP: u16 = 0x300;
    /// Makes what does not exist.
    pub const CREATE: u16 = 0x400;
    /// Puts it after what exists.
    pub const APPEND: u16 = 0x800;
    /// Of a refusal: it quotes the header of the request only.
    pub(crate) const CAPPED: u16 = 0x100;
    /// Of a refusal: attributes follow that say more.
    pub(crate) const ACK_ATTRIBUTES: u16 = 0x200;
}

/// `NLA_F_NESTED`: the attribute's value is attributes.
const NESTED: u16 = 0x8000;

/// `length` rounded up to 4, to which messages and attributes are aligned.
const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}
