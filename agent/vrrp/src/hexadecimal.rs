//! Bytes as hexadecimal text, for people who read a record of inputs and outputs.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Writes bytes, two digits each.
pub(crate) fn serialize<S: Serializer>(bytes: &Arc<[u8]>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&Digits(bytes))
}

/// Reads what [`serialize`] wrote.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[u8]>, D::Error> {
    from.deserialize_str(Reader)
}

struct Digits<'a>(&'a [u8]);

impl fmt::Display for Digits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Arc<[u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes as pairs of hexadecimal digits")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |pair: &[u8]| match pair {
            &[high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        let bytes = bytes.ok_or_else(|| E::custom("not pairs of hexadecimal digits"))?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Bytes(#[serde(with = "super")] Arc<[u8]>);

    #[test]
    fn bytes_are_digits_and_come_back() {
        for (bytes, text) in [(&[][..], r#""""#), (&[0, 0x3f, 0xff], r#""003fff""#)] {
            let bytes = Bytes(bytes.into());
            assert_eq!(serde_json::to_string(&bytes).unwrap(), text);
            assert_eq!(serde_json::from_str::<Bytes>(text).unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_no_pair_of_digits_is_refused() {
        for text in [r#""0""#, r#""0g""#, r#""+1""#, "7"] {
            assert!(serde_json::from_str::<Bytes>(text).is_err(), "{text}");
        }
    }
}
