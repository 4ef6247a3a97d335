//! What the election is told to run: the plan, its routers and the values they are made of.
//!
//! Values are checked where they are made, so that no rule of the election meets an illegal one: a password
//! exists only with version 2, a checksum policy only with version 3, an interval only in its version's unit.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
pub use vipkeeper_wire::vrrp::ChecksumForm;
use vipkeeper_wire::{Family, Vrid};

use crate::heartbeat::HeartbeatPlan;

/// A network interface by its kernel index. An interface that is deleted and made again has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ifindex(pub NonZeroU32);

impl Ifindex {
    /// `index` as the kernel numbers it, or `None` for 0, which names no interface.
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        match NonZeroU32::new(index) {
            Some(index) => Some(Self(index)),
            None => None,
        }
    }

    /// The kernel's number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Ifindex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A configured priority, 1..=255; 255 is the address owner's. Zero exists on the wire alone
/// (RFC 9568 §5.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Priority(NonZeroU8);

impl Priority {
    /// The address owner's priority (RFC 9568 §5.2.4).
    pub const OWNER: Self = Self(NonZeroU8::MAX);
    /// What a router has if nothing is said (RFC 9568 §6.1).
    pub const DEFAULT: Self = match Self::new(100) {
        Some(priority) => priority,
        None => Self::OWNER,
    };

    /// `value` as a priority, or `None` for 0.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        match NonZeroU8::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The number, 1..=255.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// Whether this is the address owner's priority.
    #[must_use]
    pub const fn is_owner(self) -> bool {
        self.get() == Self::OWNER.get()
    }
}

/// An advertisement interval of VRRP version 3: 1..=4095 centiseconds (RFC 9568 §6.1, erratum 8301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Centiseconds(NonZeroU16);

impl Centiseconds {
    /// The largest interval the 12 bits on the wire carry.
    pub const MAX: u16 = 4095;

    /// `value` centiseconds, or `None` outside 1..=4095.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(nonzero) if value <= Self::MAX => Some(Self(nonzero)),
            Some(_) | None => None,
        }
    }

    /// The number, 1..=4095.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// The protocol version with what exists in that version alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// VRRP version 2 (RFC 3768), IPv4 only.
    V2 {
        /// Advertisement_Interval in seconds; all routers must have the same.
        seconds: NonZeroU8,
        /// The simple text password of RFC 2338, zero padded; `None` sends and demands type 0.
        password: Option<[u8; 8]>,
    },
    /// VRRP version 3 (RFC 9568).
    V3 {
        /// Advertisement_Interval.
        interval: Centiseconds,
        /// Which checksum is sent and accepted over IPv4; over IPv6 there is only one.
        checksum: ChecksumPolicy,
    },
}

impl Protocol {
    /// The configured Advertisement_Interval.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        match self {
            Self::V2 { seconds, .. } => Duration::from_secs(seconds.get() as u64),
            Self::V3 { interval, .. } => Duration::from_millis(interval.get() as u64 * 10),
        }
    }

    /// The version number on the wire, 2 or 3.
    #[must_use]
    pub const fn version(&self) -> u8 {
        match self {
            Self::V2 { .. } => 2,
            Self::V3 { .. } => 3,
        }
    }
}

/// Which checksum a version 3 router uses over IPv4. RFC 5798, as deployed, covers a pseudo-header; RFC 9568
/// §5.2.8 does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumPolicy {
    /// Accept either; send both until the peers have taught one.
    #[default]
    Auto,
    /// One form, sent and demanded.
    Only(ChecksumForm),
}

/// Whether a Backup of higher priority takes over from an Active of lower priority (RFC 9568 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preemption {
    /// It does, when its Active_Down_Timer ends.
    #[default]
    Always,
    /// It waits until the Active leaves.
    Never,
    /// It does, at once when this long has passed since it first heard the lower priority.
    Delayed(Duration),
}

/// Where advertisements go and where they are accepted from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// To a group of the local link; accepted with TTL 255 from anybody.
    Multicast {
        /// 224.0.0.18 or ff02::12 unless told otherwise.
        group: IpAddr,
        /// Peers that also get, and may send, unicast advertisements.
        extra_peers: Vec<Peer>,
    },
    /// To each peer; accepted from the peers alone.
    Unicast {
        /// The other candidates.
        peers: Vec<Peer>,
    },
}

impl Transport {
    /// The peers that are spoken to by unicast.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        match self {
            Self::Multicast { extra_peers, .. } => extra_peers,
            Self::Unicast { peers } => peers,
        }
    }

    /// The peer that sends from `address`, if there is one.
    #[must_use]
    pub fn peer(&self, address: IpAddr) -> Option<&Peer> {
        self.peers().iter().find(|peer| peer.address == address)
    }
}

/// A unicast peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where it is reached and what it sends from.
    pub address: IpAddr,
    /// The lowest TTL or hop limit accepted from it; 0 accepts any (keepalived sends IPv6 with 64).
    pub min_ttl: u8,
}

/// An address that the Active holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length on the interface, 0..=32 or 0..=128.
    pub prefix_length: u8,
    /// The interface that it is put on; `None` for the router's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Ifindex>,
}

impl VirtualAddress {
    /// Where it is put if its router runs on `router`.
    #[must_use]
    pub fn on(&self, router: Ifindex) -> Ifindex {
        self.interface.unwrap_or(router)
    }
}

/// One router instance: (interface, family, VRID) on this node, and how it behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterConfig {
    /// The VirtualRouter's name; with `family` the identity over plans.
    pub name: Arc<str>,
    /// The family of every address here.
    pub family: Family,
    /// The VRID, unique per interface and family.
    pub vrid: Vrid,
    /// Where it runs; `None` while no interface matches, which keeps it in Initialize.
    pub interface: Option<Ifindex>,
    /// Version, interval, and password or checksum.
    pub protocol: Protocol,
    /// The configured priority.
    pub priority: Priority,
    /// The virtual addresses in the order they are advertised, 1..=255.
    pub addresses: Arc<[VirtualAddress]>,
    /// How long the kernel keeps an address that nobody renews; `None` for ever.
    pub address_lifetime: Option<Duration>,
    /// Multicast or unicast.
    pub transport: Transport,
    /// The source address of advertisements; `None` for the interface's primary IPv4 or link-local IPv6
    /// address.
    pub source: Option<IpAddr>,
    /// Who takes over from a lower priority, and when.
    pub preemption: Preemption,
    /// How many advertisements may be missed: the 3 of Active_Down_Interval (RFC 9568 §6.1).
    pub down_advertisements: NonZeroU8,
    /// Refuse, rather than report, what RFC errata forbid and deployed routers send: a first IPv6 address
    /// that is not link-local, an address list or a version 3 interval that differs from ours.
    pub strict: bool,
    /// The routers of this node that it moves together with; `None` moves alone.
    pub sync: Option<SyncGroup>,
    /// How long addresses serve on, parked, after another router took over; at least as long as its announcements
    /// need. Zero takes them off at once, as RFC 9568 §6.4.3 says.
    pub linger: Duration,
    /// The node's operator wants others to have the addresses: it takes part with priority 1, whatever its
    /// configured priority and weights say. Means nothing to an address owner.
    pub drained: bool,
}

/// Which routers of a node move together: those that say the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SyncGroup {
    /// The families of the VirtualRouter of this name.
    Families(Arc<str>),
    /// Everybody who names this group.
    Named(Arc<str>),
}

impl RouterConfig {
    /// The interfaces of addresses that are not on the router's own.
    pub fn side_interfaces(&self) -> impl Iterator<Item = Ifindex> {
        let of_addresses = self.addresses.iter().filter_map(|a| a.interface);
        of_addresses.filter(|interface| self.interface != Some(*interface))
    }

    /// Why this cannot run, if it cannot.
    ///
    /// # Errors
    /// The first rule of [`InvalidRouter`] that it breaks.
    pub fn validate(&self) -> Result<(), InvalidRouter> {
        if self.addresses.is_empty() || self.addresses.len() > 255 {
            return Err(InvalidRouter::AddressCount(self.addresses.len()));
        }
        if let Some(odd) = self
            .addresses
            .iter()
            .find(|a| Family::of(&a.address) != self.family)
        {
            return Err(InvalidRouter::MixedFamily(odd.address));
        }
        if matches!(
            (self.family, &self.protocol),
            (Family::V6, Protocol::V2 { .. })
        ) {
            return Err(InvalidRouter::Version2OverIpv6);
        }
        let group = match self.transport {
            Transport::Multicast { group, .. } => Some(group),
            Transport::Unicast { .. } => None,
        };
        let spoken_to = self.transport.peers().iter().map(|p| p.address);
        if let Some(odd) = spoken_to
            .chain(group)
            .chain(self.source)
            .find(|a| Family::of(a) != self.family)
        {
            return Err(InvalidRouter::MixedFamily(odd));
        }
        Ok(())
    }
}

/// Why a [`RouterConfig`] cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRouter {
    /// The count byte carries 1..=255 addresses (RFC 9568 §5.2.5).
    #[error("a virtual router has 1 to 255 addresses, not {0}")]
    AddressCount(usize),
    /// RFC 9568 §5.2.9: an advertisement carries addresses of its own family.
    #[error("{0} is not of the router's address family")]
    MixedFamily(IpAddr),
    /// RFC 3768 knows IPv4 only.
    #[error("VRRP version 2 exists for IPv4 only")]
    Version2OverIpv6,
}

/// How announcements (gratuitous ARP, unsolicited NA) are limited on each interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncementBudget {
    /// Frames a second in the long run.
    pub frames_per_second: u32,
    /// Frames that may go at once after a quiet time.
    pub burst: u32,
}

impl Default for AnnouncementBudget {
    /// 1,000 frames a second, 1,024 at once: a node's worth of addresses moves without delay.
    fn default() -> Self {
        Self {
            frames_per_second: 1_000,
            burst: 1_024,
        }
    }
}

/// Everything the election runs. A plan replaces the one before it as a whole; what did not change is not
/// touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The router instances, unique by (name, family) and by (interface, family, VRID).
    pub routers: Vec<RouterConfig>,
    /// The announcement limit of every interface.
    pub announcements: AnnouncementBudget,
    /// What the node tells other candidates by unicast; `None` for nothing, and then it hears nothing either.
    pub heartbeat: Option<Arc<HeartbeatPlan>>,
    /// Whether a router that was just configured asks if its addresses are free while it listens for the first time.
    pub probes: bool,
}
