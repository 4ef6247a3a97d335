//! The numbers of the protocol: `include/uapi/linux/netfilter/nf_tables.h` and `nfnetlink.h`.

/// `struct nfgenmsg`: family, version, resource.
pub(crate) const HEADER_LEN: usize = 4;
/// `NFPROTO_INET`: IPv4 and IPv6.
pub(crate) const INET: u8 = 1;

/// Types of messages: of nfnetlink itself, and of its subsystem 10, nftables.
pub(crate) mod message {
    pub(crate) const SUBSYSTEM: u8 = 10;
    const fn of_nftables(number: u8) -> u16 {
        u16::from_be_bytes([SUBSYSTEM, number])
    }
    pub(crate) const BATCH_BEGIN: u16 = 16;
    pub(crate) const BATCH_END: u16 = 17;
    pub(crate) const NEW_TABLE: u16 = of_nftables(0);
    pub(crate) const GET_TABLE: u16 = of_nftables(1);
    pub(crate) const DEL_TABLE: u16 = of_nftables(2);
    pub(crate) const NEW_CHAIN: u16 = of_nftables(3);
    pub(crate) const GET_CHAIN: u16 = of_nftables(4);
    pub(crate) const NEW_RULE: u16 = of_nftables(6);
    pub(crate) const GET_RULE: u16 = of_nftables(7);
    pub(crate) const NEW_SET: u16 = of_nftables(9);
    pub(crate) const GET_SET: u16 = of_nftables(10);
    pub(crate) const NEW_ELEMENTS: u16 = of_nftables(12);
    pub(crate) const GET_ELEMENTS: u16 = of_nftables(13);
    pub(crate) const NEW_GENERATION: u16 = of_nftables(15);
    pub(crate) const GET_GENERATION: u16 = of_nftables(16);
}

/// The members of a list are attributes of this type.
pub(crate) const LIST_MEMBER: u16 = 1;

pub(crate) mod generation {
    pub(crate) const ID: u16 = 1;
}

pub(crate) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    pub(crate) const USER_DATA: u16 = 6;
}

pub(crate) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
    /// Within [`HOOK`].
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
}

pub(crate) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const EXPRESSIONS: u16 = 4;
    /// Within a member of [`EXPRESSIONS`].
    pub(crate) const EXPRESSION_NAME: u16 = 1;
    pub(crate) const EXPRESSION_DATA: u16 = 2;
}

pub(crate) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LEN: u16 = 5;
    pub(crate) const DESCRIPTION: u16 = 9;
    pub(crate) const ID: u16 = 10;
    /// Within [`DESCRIPTION`]: the fields of a concatenation with ranges, and the length of one.
    pub(crate) const CONCATENATION: u16 = 2;
    pub(crate) const FIELD_LEN: u16 = 1;
    /// Flags.
    pub(crate) const INTERVAL: u32 = 0x4;
    pub(crate) const CONCATENATED: u32 = 0x80;
}

pub(crate) mod elements {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const SET: u16 = 2;
    pub(crate) const LIST: u16 = 3;
    /// Within a member of [`LIST`].
    pub(crate) const KEY: u16 = 1;
    pub(crate) const KEY_END: u16 = 10;
}

/// Data: a value, or a verdict with the chain to which it goes.
pub(crate) mod data {
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;
}
