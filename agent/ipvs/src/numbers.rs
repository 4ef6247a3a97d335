//! The numbers of the protocol: `IPVS_*` of `ip_vs.h`, `CTRL_*` and `GENL_*` of `genetlink.h`.

/// The family's name and version.
pub(crate) const FAMILY_NAME: &str = "IPVS";
pub(crate) const FAMILY_VERSION: u8 = 1;

/// `struct genlmsghdr`: command, version, two bytes unused.
pub(crate) const GENERIC_HEADER_LEN: usize = 4;

/// The controller of generic netlink, which knows the families.
pub(crate) mod controller {
    pub(crate) const MESSAGE: u16 = 0x10;
    pub(crate) const VERSION: u8 = 1;
    pub(crate) const NEW_FAMILY: u8 = 1;
    pub(crate) const GET_FAMILY: u8 = 3;
    pub(crate) const FAMILY_ID: u16 = 1;
    pub(crate) const FAMILY_NAME: u16 = 2;
}

pub(crate) mod command {
    pub(crate) const NEW_SERVICE: u8 = 1;
    pub(crate) const SET_SERVICE: u8 = 2;
    pub(crate) const DEL_SERVICE: u8 = 3;
    pub(crate) const GET_SERVICE: u8 = 4;
    pub(crate) const NEW_DEST: u8 = 5;
    pub(crate) const SET_DEST: u8 = 6;
    pub(crate) const DEL_DEST: u8 = 7;
    pub(crate) const GET_DEST: u8 = 8;
    pub(crate) const NEW_DAEMON: u8 = 9;
    pub(crate) const DEL_DAEMON: u8 = 10;
    pub(crate) const GET_DAEMON: u8 = 11;
    pub(crate) const SET_CONFIG: u8 = 12;
    pub(crate) const GET_CONFIG: u8 = 13;
    pub(crate) const SET_INFO: u8 = 14;
    pub(crate) const GET_INFO: u8 = 15;
    pub(crate) const ZERO: u8 = 16;
}

/// Attributes of a message.
pub(crate) mod top {
    pub(crate) const SERVICE: u16 = 1;
    pub(crate) const DESTINATION: u16 = 2;
    pub(crate) const DAEMON: u16 = 3;
    pub(crate) const TIMEOUT_TCP: u16 = 4;
    pub(crate) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(crate) const TIMEOUT_UDP: u16 = 6;
}

/// Attributes of a message of the command `SET_INFO`.
pub(crate) mod info {
    pub(crate) const VERSION: u16 = 1;
    pub(crate) const CONNECTION_TABLE_SIZE: u16 = 2;
}

pub(crate) mod service {
    pub(crate) const FAMILY: u16 = 1;
    pub(crate) const PROTOCOL: u16 = 2;
    pub(crate) const ADDRESS: u16 = 3;
    pub(crate) const PORT: u16 = 4;
    pub(crate) const MARK: u16 = 5;
    pub(crate) const SCHEDULER: u16 = 6;
    pub(crate) const FLAGS: u16 = 7;
    pub(crate) const TIMEOUT: u16 = 8;
    pub(crate) const NETMASK: u16 = 9;
    pub(crate) const STATISTICS: u16 = 10;
    pub(crate) const ENGINE: u16 = 11;
    pub(crate) const STATISTICS_64: u16 = 12;
}

/// Flags of a service.
pub(crate) mod flag {
    pub(crate) const PERSISTENT: u32 = 0x1;
    pub(crate) const ONE_PACKET: u32 = 0x4;
    pub(crate) const SCHEDULER_1: u32 = 0x8;
    pub(crate) const SCHEDULER_2: u32 = 0x10;
    pub(crate) const SCHEDULER_3: u32 = 0x20;
}

pub(crate) mod destination {
    pub(crate) const ADDRESS: u16 = 1;
    pub(crate) const PORT: u16 = 2;
    pub(crate) const FORWARDING: u16 = 3;
    pub(crate) const WEIGHT: u16 = 4;
    pub(crate) const UPPER_THRESHOLD: u16 = 5;
    pub(crate) const LOWER_THRESHOLD: u16 = 6;
    pub(crate) const ACTIVE: u16 = 7;
    pub(crate) const INACTIVE: u16 = 8;
    pub(crate) const PERSISTENT: u16 = 9;
    pub(crate) const STATISTICS: u16 = 10;
    pub(crate) const FAMILY: u16 = 11;
    pub(crate) const STATISTICS_64: u16 = 12;
    pub(crate) const TUNNEL_KIND: u16 = 13;
    pub(crate) const TUNNEL_PORT: u16 = 14;
    pub(crate) const TUNNEL_FLAGS: u16 = 15;
}

pub(crate) mod daemon {
    pub(crate) const ROLE: u16 = 1;
    pub(crate) const INTERFACE: u16 = 2;
    pub(crate) const SYNC_ID: u16 = 3;
    pub(crate) const LONGEST_MESSAGE: u16 = 4;
    pub(crate) const GROUP: u16 = 5;
    pub(crate) const GROUP_6: u16 = 6;
    pub(crate) const PORT: u16 = 7;
    pub(crate) const TTL: u16 = 8;
}

pub(crate) mod statistics {
    pub(crate) const CONNECTIONS: u16 = 1;
    pub(crate) const INCOMING_PACKETS: u16 = 2;
    pub(crate) const OUTGOING_PACKETS: u16 = 3;
    pub(crate) const INCOMING_BYTES: u16 = 4;
    pub(crate) const OUTGOING_BYTES: u16 = 5;
    pub(crate) const CONNECTION_RATE: u16 = 6;
    pub(crate) const INCOMING_PACKET_RATE: u16 = 7;
    pub(crate) const OUTGOING_PACKET_RATE: u16 = 8;
    pub(crate) const INCOMING_BYTE_RATE: u16 = 9;
    pub(crate) const OUTGOING_BYTE_RATE: u16 = 10;
}
