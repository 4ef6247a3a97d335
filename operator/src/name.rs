//! The names of NodeConfigs.
//!
//! A name says which router and node it is for without being read back: the spec has both in full.

/// The longest name of an object (RFC 1123 subdomain).
const MOST: usize = 253;
/// Hexadecimal digits of the hash: 64 bits.
const HASH: usize = 16;
/// A shard's bits, at most, and what stands before them.
const BITS: usize = 12 + 1;

/// `<router, cut>-<hash of router and node>`.
#[must_use]
pub fn of_router(router: &str, node: &str) -> String {
    let mut head = router;
    while head.len() > MOST - BITS - HASH - 1 {
        head = &head[..head.len() - 1];
    }
    format!("{head}-{:016x}", hash(&[router, node]))
}

/// `<the router's NodeConfig on the node>-<bits>`: a shard of its servers.
#[must_use]
pub fn of_shard(router: &str, node: &str, bits: &str) -> String {
    format!("{}-{bits}", of_router(router, node))
}

/// `node-<hash of the node>`: the node's own object.
#[must_use]
pub fn of_node(node: &str) -> String {
    format!("node-{:016x}", hash(&["", node]))
}

/// FNV-1a of 64 bits; each part ends with a byte that no name has.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_the_same() {
        assert_eq!(of_router("web", "node-a"), of_router("web", "node-a"));
        assert!(of_router("web", "node-a").starts_with("web-"));
    }

    #[test]
    fn no_two_pairs_share_a_name() {
        let names = [
            of_router("web", "a"),
            of_router("web", "b"),
            of_router("web-a", ""),
            of_router("weba", ""),
            of_node("a"),
            of_node("web"),
            of_shard("web", "a", "0"),
            of_shard("web", "a", "01"),
            of_shard("web", "b", "0"),
            // A hash is longer than the longest word of bits.
            of_router(&of_router("web", "a"), "a"),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn a_long_name_is_cut() {
        let router = "r".repeat(253);
        let name = of_router(&router, "node");
        assert_ne!(name, of_router(&router, "other"));
        let shard = of_shard(&router, "node", "010101010101");
        assert_eq!(shard.len(), 253);
        assert!(shard.starts_with(&name));
    }
}
