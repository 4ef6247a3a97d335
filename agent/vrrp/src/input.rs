//! What the election is told: frames, commands, and facts about the node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::heartbeat::{Authenticity, Heartbeat};
use vipkeeper_wire::{Family, MacAddr};

use crate::config::{Ifindex, Plan};
use crate::time::Time;

/// One IP datagram as a socket received it, unjudged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// The interface it arrived on.
    pub interface: Ifindex,
    /// When the kernel saw it, clamped by the driver to the time since its last wake-up.
    pub arrival: Time,
    /// The sender's Ethernet address, where the socket knows it.
    pub source_mac: Option<MacAddr>,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// IP protocol or the last IPv6 next header: 112 for VRRP.
    pub protocol: u8,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// The IP header's bytes.
    pub ip_header: &'a [u8],
    /// What follows it, as long as the IP header says: link-layer padding is cut off.
    pub payload: &'a [u8],
}

/// One input of the election, owned, so that it can be written down and told again: an election that is told the
/// same inputs at the same times from the same beginning gives the same outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// An IP datagram was read: [`Election::handle_datagram`](crate::Election::handle_datagram).
    Datagram {
        /// The interface it arrived on.
        interface: Ifindex,
        /// When the kernel saw it.
        arrival: Time,
        /// The sender's Ethernet address, where the socket knows it.
        source_mac: Option<MacAddr>,
        /// From the IP header on.
        #[serde(with = "crate::hexadecimal")]
        bytes: Arc<[u8]>,
    },
    /// Something became known: [`Election::handle_fact`](crate::Election::handle_fact).
    Fact(Fact),
    /// Something is asked for: [`Election::handle_command`](crate::Election::handle_command).
    Command(Command),
    /// Everything else of this wake-up was told: [`Election::handle_timeout`](crate::Election::handle_timeout).
    Timeout,
}

/// What the operator of the node, or its configuration, asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Run this plan from now on.
    Apply(Arc<Plan>),
    /// Leave every election: priority 0 where Active; addresses serve on until a successor has them, or a while has
    /// passed: [`Election::has_left`](crate::Election::has_left). Only a later `Apply` ends it.
    Shutdown,
}

/// A router instance of this election, as outputs name it and facts refer to it. Never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouterId(pub u32);

/// One order to the network; its outcome comes back under the same number. Rises.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Ticket(pub u64);

/// What became known about the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// An interface as it is now. Told once for every interface a plan names, and at each change.
    Interface {
        /// Which.
        interface: Ifindex,
        /// How it is.
        state: InterfaceState,
    },
    /// The addresses that an interface has and that are not there because of us, in order of value: those of the
    /// address owner, and those that nobody else may take. Told before the first `Interface`, and at each change.
    HostAddresses {
        /// Which interface.
        interface: Ifindex,
        /// All of them.
        addresses: Arc<[IpAddr]>,
    },
    /// An interface is gone.
    InterfaceGone {
        /// Which.
        interface: Ifindex,
    },
    /// An `Install` was carried out and the kernel confirmed it.
    Installed {
        /// Whose.
        router: RouterId,
        /// Which order.
        ticket: Ticket,
        /// Addresses that the kernel or the ledger refused; the others are held.
        refused: Vec<IpAddr>,
    },
    /// An `Install` failed as a whole: nothing of it is held.
    InstallFailed {
        /// Whose.
        router: RouterId,
        /// Which order.
        ticket: Ticket,
    },
    /// A heartbeat arrived, well-formed, and authenticated as far as there are keys.
    Heartbeat {
        /// From this address.
        from: IpAddr,
        /// When the kernel saw it, clamped as that of a frame.
        arrival: Time,
        /// Whether its sender has a key of ours.
        authenticity: Authenticity,
        /// What it says.
        heartbeat: Heartbeat,
    },
    /// A neighbour told by ARP or neighbour advertisement that it has an address.
    Neighbour {
        /// On this interface.
        interface: Ifindex,
        /// When the kernel saw it, clamped as that of a frame.
        arrival: Time,
        /// The address.
        address: IpAddr,
        /// Where the neighbour says that it is.
        mac: MacAddr,
    },
    /// Somebody had taken addresses of a router off, and they are back: the neighbours are told again.
    Restored {
        /// Whose.
        router: RouterId,
    },
    /// The sum of a router's tracked weights changed: added to the configured priority, 1..=254 afterwards.
    /// May come before the plan that names the router; the next plan that does not name it forgets it.
    Weight {
        /// The VirtualRouter's name.
        name: Arc<str>,
        /// Its family.
        family: Family,
        /// The sum.
        weight: i16,
    },
}

/// An interface as the election needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceState {
    /// Administratively up and with carrier.
    pub running: bool,
    /// Its Ethernet address; `None` where it has none, and then nothing is announced.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its primary IPv4 address: the first that is not a virtual one.
    pub ipv4: Option<Ipv4Addr>,
    /// Its link-local IPv6 address, not virtual and not tentative.
    pub ipv6: Option<Ipv6Addr>,
    /// Whether it forwards IPv6: the router flag of its neighbour advertisements.
    pub forwards_ipv6: bool,
}
