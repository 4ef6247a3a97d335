//! Arbitrary bytes for property tests.

use proptest::prelude::*;

/// `shortest..=longest` bytes; drawn eight at a time, for a strategy per byte is slow.
pub(crate) fn bytes(shortest: usize, longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let words = longest.div_ceil(8);
    (
        shortest..=longest,
        prop::collection::vec(any::<u64>(), words),
    )
        .prop_map(|(length, words)| {
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            bytes.truncate(length);
            bytes
        })
}
