//! Names that the kernel keeps in 16 bytes with the zero that ends them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: `IP_VS_SCHEDNAME_MAXLEN`, `IP_VS_PENAME_MAXLEN` and `IP_VS_IFNAME_MAXLEN` without the
/// zero.
pub const LONGEST: usize = 15;

/// A text that cannot be such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// No byte at all.
    #[error("a name must not be empty")]
    Empty,
    /// More than [`LONGEST`] bytes.
    #[error("a name has at most {LONGEST} bytes, not {length}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A zero byte, which would end it early.
    #[error("a name must not contain a zero byte")]
    Zero,
    /// From the kernel: bytes that are no UTF-8.
    #[error("a name must be UTF-8")]
    NotText,
}

/// The name of a scheduler (`rr`, `wlc`, `mh`): 1..=15 bytes. The kernel has it as the module `ip_vs_NAME`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SchedulerName(Name);

/// The name of a persistence engine: 1..=15 bytes. The only one of the kernel is `sip`, the module `ip_vs_pe_sip`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineName(Name);

/// The name of a network interface: 1..=15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(Name);

macro_rules! name {
    ($type:ident) => {
        impl $type {
            /// `text` as a name.
            ///
            /// # Errors
            ///
            /// It is empty, longer than [`LONGEST`] bytes or contains a zero byte.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                Name::new(text.as_bytes()).map(Self)
            }

            /// `bytes`, without the zero that ends them in the kernel, as a name.
            ///
            /// # Errors
            ///
            /// As [`Self::new`], or they are no UTF-8.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidName> {
                Name::new(bytes).map(Self)
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }
    };
}

name!(SchedulerName);
name!(EngineName);
name!(InterfaceName);

/// UTF-8 of 1..=15 bytes without zero, padded with zeros: small enough to be copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name([u8; LONGEST]);

impl Name {
    fn new(text: &[u8]) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.contains(&0) {
            return Err(InvalidName::Zero);
        }
        std::str::from_utf8(text).map_err(|_| InvalidName::NotText)?;
        let mut bytes = [0; LONGEST];
        bytes
            .get_mut(..text.len())
            .ok_or(InvalidName::TooLong { length: text.len() })?
            .copy_from_slice(text);
        Ok(Self(bytes))
    }

    fn as_str(&self) -> &str {
        let length = self.0.iter().position(|&byte| byte == 0).unwrap_or(LONGEST);
        // Only `new` makes one, of UTF-8.
        self.0
            .get(..length)
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_1_to_15_bytes_of_text_without_zero() {
        assert_eq!(SchedulerName::new("mh").unwrap().as_str(), "mh");
        assert_eq!(
            SchedulerName::new("abcdefghijklmno").unwrap().as_str(),
            "abcdefghijklmno"
        );
        assert_eq!(SchedulerName::new(""), Err(InvalidName::Empty));
        assert_eq!(SchedulerName::new("r\0r"), Err(InvalidName::Zero));
        assert_eq!(
            SchedulerName::new("abcdefghijklmnop"),
            Err(InvalidName::TooLong { length: 16 })
        );
        assert_eq!(
            SchedulerName::from_bytes(&[0xff, 0xfe]),
            Err(InvalidName::NotText)
        );
    }
}
