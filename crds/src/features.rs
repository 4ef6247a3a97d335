//! What an agent can do that an older one could not: names for `requires` of a NodeConfig.

/// Several routers, or the families of one, that one node holds together.
pub const MOVE_TOGETHER: &str = "MoveTogether";
/// Priority 255: addresses that the node's own configuration has.
pub const ADDRESS_OWNER: &str = "AddressOwner";
/// Addresses with an interface of their own.
pub const ADDRESS_INTERFACE: &str = "AddressInterface";
/// Servers on the addresses.
pub const VIRTUAL_SERVERS: &str = "VirtualServers";
/// Servers that are in shards.
pub const SHARDS: &str = "Shards";

/// All that there are.
pub const ALL: [&str; 5] = [
    MOVE_TOGETHER,
    ADDRESS_OWNER,
    ADDRESS_INTERFACE,
    VIRTUAL_SERVERS,
    SHARDS,
];
