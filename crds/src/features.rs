//! What an agent can do that an older one could not: names for `requires` of a NodeConfig.

/// Several routers, or the families of one, that one node holds together.
pub const MOVE_TOGETHER: &str = "MoveTogether";
/// Priority 255: addresses that the node's own configuration has.
pub const ADDRESS_OWNER: &str = "AddressOwner";

/// All that there are.
pub const ALL: [&str; 2] = [MOVE_TOGETHER, ADDRESS_OWNER];
