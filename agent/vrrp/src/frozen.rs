//! A frozen election: what one process hands to its successor, as a serde value.
//!
//! Serialising an [`Election`](crate::Election) freezes it, deserialising restores it, and the restored one goes
//! on exactly where the frozen one stood: its times are those of CLOCK_BOOTTIME, which all processes of one boot
//! share. All state of the election is in it but what is made anew from the rest. Frozen between two wake-ups,
//! nothing is on its way.
//!
//! Whatever changes the meaning of what is frozen raises [`FORMAT`]. Another format is refused, and what is
//! missing or unknown is refused as well: an election that would go on with half its memory must not go on.

use serde::de::{Deserializer, Error as _};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// The format of frozen elections that this version writes and reads.
pub const FORMAT: u32 = 3;

/// A frozen election's first word: always [`FORMAT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Format;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FORMAT.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            FORMAT => Ok(Self),
            other => Err(D::Error::custom(format_args!(
                "a frozen election of format {other}, not {FORMAT}"
            ))),
        }
    }
}

/// Maps whose keys are no strings, as lists of pairs.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::de::Deserializer;
    use serde::ser::Serializer;
    use serde::{Deserialize, Serialize};

    pub(crate) fn serialize<K, V, S>(map: &BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
    where
        K: Serialize,
        V: Serialize,
        S: Serializer,
    {
        serializer.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Vec::deserialize(deserializer).map(|pairs: Vec<(K, V)>| pairs.into_iter().collect())
    }
}
