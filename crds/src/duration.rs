//! Lengths of time as the API writes them: `250ms`, `1s`, `1m30s`.
//!
//! Exact: whole numbers of the units `h`, `m`, `s` and `ms`, largest first, each at most once. No fractions, so
//! that what is written is what runs.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The units with their milliseconds, in the order in which they are written.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// A pattern for the schema; [`FromStr`] is the authority.
const PATTERN: &str = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
/// The longest text that is looked at.
const MAX_LENGTH: usize = 32;

/// A length of time in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

/// A text is not a [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration: write whole numbers with the units h, m, s and ms, largest first, such as `250ms`, `1s` or `1m30s`"
)]
pub struct InvalidDuration(String);

impl Duration {
    /// `millis` milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// `seconds` seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// The number of milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_millis(duration.0)
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration(text.chars().take(MAX_LENGTH).collect());
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(invalid());
        }
        parse(text).map(Self).ok_or_else(invalid)
    }
}

/// The milliseconds of `text`, or `None` if it is malformed or overflows.
fn parse(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let length = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(length);
        // The iterator goes on where it stopped: a unit that is repeated or out of order is not found.
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*millis)?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    Some(total)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "minLength": 2, "maxLength": MAX_LENGTH})
    }
}

/// How long the kernel keeps a virtual address that nobody renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressLifetime {
    /// This long after the last renewal.
    Finite(Duration),
    /// Until it is removed.
    Forever,
}

impl AddressLifetime {
    /// The word for [`Self::Forever`].
    const FOREVER: &'static str = "Forever";
}

impl Default for AddressLifetime {
    /// 30 s.
    fn default() -> Self {
        Self::Finite(Duration::from_secs(30))
    }
}

impl fmt::Display for AddressLifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(duration) => duration.fmt(f),
            Self::Forever => f.write_str(Self::FOREVER),
        }
    }
}

impl Serialize for AddressLifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressLifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if text == Self::FOREVER {
            return Ok(Self::Forever);
        }
        text.parse()
            .map(Self::Finite)
            .map_err(|error| de::Error::custom(format_args!("{error}, or `{}`", Self::FOREVER)))
    }
}

impl JsonSchema for AddressLifetime {
    fn schema_name() -> Cow<'static, str> {
        "AddressLifetime".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = format!("{PATTERN}|^{}$", Self::FOREVER);
        json_schema!({"type": "string", "pattern": pattern, "minLength": 2, "maxLength": MAX_LENGTH})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_exactly_and_written_canonically() {
        for (text, millis, canonical) in [
            ("250ms", 250, "250ms"),
            ("1s", 1_000, "1s"),
            ("1000ms", 1_000, "1s"),
            ("90s", 90_000, "1m30s"),
            ("1m30s", 90_000, "1m30s"),
            ("1h", 3_600_000, "1h"),
            ("40950ms", 40_950, "40s950ms"),
            ("1h1ms", 3_600_001, "1h1ms"),
            ("0s", 0, "0s"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(duration.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(duration), "{canonical}");
        }
    }

    #[test]
    fn what_is_not_exactly_a_duration_is_refused() {
        for text in [
            "",
            "1",
            "s",
            "1.5s",
            "-1s",
            "+1s",
            " 1s",
            "1 s",
            "1S",
            "1us",
            "1d",
            "1s1s",
            "1ms1s",
            "1s1m",
            "99999999999999999999s",
            "18446744073709551615h",
            "1s250",
            "٣s",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_lifetime_is_a_duration_or_forever() {
        let read = |text: &str| serde_json::from_value::<AddressLifetime>(text.into());
        assert_eq!(read("Forever").unwrap(), AddressLifetime::Forever);
        assert_eq!(read("30s").unwrap(), AddressLifetime::default());
        let error = read("forever").unwrap_err().to_string();
        assert!(error.contains("or `Forever`"), "{error}");
    }
}
