//! What the network thread asks of the kernel, as a trait: `rtnetlink` is the real one, `fake` the tests'.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use vipkeeper_vrrp::{Ifindex, VirtualAddress};

/// `IFA_PROTO` of an address that an Active holds: the mark by which it is known to be ours.
pub const TAG: u8 = 0x56;
/// `IFA_PROTO` of an address that is parked: held for what is on its way, answered for by nobody.
pub const PARKED_TAG: u8 = 0x57;

/// Whether a tag says that an address is an agent's.
#[must_use]
pub const fn is_ours(tag: u8) -> bool {
    matches!(tag, TAG | PARKED_TAG)
}

/// `lo`, which has this index in every network namespace; addresses of ours on it are parked.
pub const LOOPBACK: Ifindex = match Ifindex::new(1) {
    Some(index) => index,
    None => unreachable!(),
};

/// The tag of an address of ours on `interface`.
#[must_use]
pub fn tag_of(interface: Ifindex) -> u8 {
    if interface == LOOPBACK {
        PARKED_TAG
    } else {
        TAG
    }
}

/// The kernel, as far as addresses and their interfaces' settings go.
pub trait Kernel {
    /// Carries out `changes` in their order and gives the outcome of each, in the same order.
    ///
    /// # Errors
    /// If the kernel cannot be asked; then nothing is known of any change.
    fn change(&mut self, changes: &[Change]) -> io::Result<Vec<Result<(), Errno>>>;

    /// Every address of every interface.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn addresses(&mut self) -> io::Result<Vec<Present>>;

    /// Whether addresses keep their tag: Linux 5.18 and later.
    fn keeps_tags(&self) -> bool;

    /// The value of a setting of an interface.
    ///
    /// # Errors
    /// If the interface is gone, or /proc/sys cannot be read.
    fn setting(&mut self, interface: Ifindex, setting: Setting) -> io::Result<u32>;

    /// Changes a setting of an interface.
    ///
    /// # Errors
    /// If the interface is gone, or /proc/sys cannot be written.
    fn change_setting(
        &mut self,
        interface: Ifindex,
        setting: Setting,
        value: u32,
    ) -> io::Result<()>;
}

/// An address as an interface has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_length: u8,
}

impl From<&VirtualAddress> for Address {
    fn from(address: &VirtualAddress) -> Self {
        Self {
            address: address.address,
            prefix_length: address.prefix_length,
        }
    }
}

/// One change of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What to do.
    pub action: Action,
    /// Where.
    pub interface: Ifindex,
    /// With which address.
    pub address: Address,
}

/// What to do with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put it there, unless it is there already: EEXIST.
    Add {
        /// How long it stays if nobody renews it; `None` for ever.
        lifetime: Option<Duration>,
    },
    /// Put it there, or renew what is there. For addresses that are ours alone.
    Replace {
        /// How long it stays if nobody renews it; `None` for ever.
        lifetime: Option<Duration>,
    },
    /// Take it off.
    Remove,
}

/// An address that the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// Where.
    pub interface: Ifindex,
    /// Which.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_length: u8,
    /// Its tag, where the kernel keeps one.
    pub tag: Option<u8>,
}

/// A setting of one interface that we change where our addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// Answer ARP only on the interface that has the address.
    ArpIgnore,
    /// Never use a virtual address as the sender of ARP on another interface.
    ArpAnnounce,
}

impl Setting {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ArpIgnore, Self::ArpAnnounce];

    /// Its file in `/proc/sys/net/ipv4/conf/{interface}`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
        }
    }

    /// The value that we want.
    #[must_use]
    pub const fn wanted(self) -> u32 {
        match self {
            Self::ArpIgnore => 1,
            Self::ArpAnnounce => 2,
        }
    }
}
