//! The Internet checksum (RFC 1071): a one's complement sum of 16-bit words in network order.

/// A one's complement sum under way.
///
/// Pieces are added in any order, as long as each begins at an even offset of what is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u16);

impl Sum {
    /// The sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds `bytes`. An odd last byte counts as if a zero byte followed, so only the last piece may be odd.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (words, odd) = bytes.as_chunks::<2>();
        let words = words
            .iter()
            .map(|word| u64::from(u16::from_be_bytes(*word)));
        let odd = odd.iter().map(|byte| u64::from(*byte) << 8);
        Self::folded(u64::from(self.0) + words.chain(odd).sum::<u64>())
    }

    /// Adds one 16-bit word.
    #[must_use]
    pub fn word(self, word: u16) -> Self {
        Self::folded(u64::from(self.0) + u64::from(word))
    }

    /// The sum with all carries added back in.
    #[must_use]
    pub const fn fold(self) -> u16 {
        self.0
    }

    /// What goes into a checksum field, when this is the sum of everything with that field as zero.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Whether this, the sum of everything with the checksum field as received, says that nothing changed.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }

    /// Brings `sum` into 16 bits: adding the carries back does not change it modulo 0xffff.
    const fn folded(mut sum: u64) -> Self {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        Self(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        let sum = Sum::new().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
        assert_eq!(sum.checksum(), 0x220d);
    }

    #[test]
    fn an_odd_last_byte_is_padded_with_zero() {
        assert_eq!(
            Sum::new().bytes(&[0x12, 0x34, 0x56]),
            Sum::new().bytes(&[0x12, 0x34, 0x56, 0])
        );
    }

    #[test]
    fn carries_come_around_more_than_once() {
        assert_eq!(Sum::new().bytes(&[0xff; 65_536]).fold(), 0xffff);
        assert_eq!(Sum::new().word(0xffff).word(0xffff).word(1).fold(), 1);
    }

    #[test]
    fn nothing_sums_to_zero_and_is_not_valid() {
        assert_eq!(Sum::new().fold(), 0);
        assert!(!Sum::new().is_valid());
    }

    proptest! {
        #[test]
        fn pieces_add_up_to_the_whole(words in prop::collection::vec(any::<[u8; 2]>(), 0..200), at in any::<prop::sample::Index>()) {
            let (first, second) = words.split_at(at.index(words.len() + 1));
            let whole = Sum::new().bytes(words.as_flattened());
            prop_assert_eq!(Sum::new().bytes(first.as_flattened()).bytes(second.as_flattened()), whole);
            prop_assert_eq!(Sum::new().bytes(second.as_flattened()).bytes(first.as_flattened()), whole);
        }

        #[test]
        fn what_carries_its_checksum_is_valid_and_no_flipped_bit_is(
            words in prop::collection::vec(any::<[u8; 2]>(), 1..60),
        ) {
            let mut bytes = words.as_flattened().to_vec();
            bytes.extend(Sum::new().bytes(&bytes).checksum().to_be_bytes());
            prop_assert!(Sum::new().bytes(&bytes).is_valid());
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 0x80 >> (bit % 8);
                prop_assert!(!Sum::new().bytes(&bytes).is_valid(), "bit {}", bit);
                bytes[bit / 8] ^= 0x80 >> (bit % 8);
            }
        }
    }
}
