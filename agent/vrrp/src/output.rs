//! What the election wants done and what it has to tell: data, in order, for the driver to carry out.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
pub use vipkeeper_wire::arp::GratuitousForm;
use vipkeeper_wire::{Family, MacAddr};

use crate::config::{Ifindex, VirtualAddress};
use crate::heartbeat::Beat;
use crate::input::{RouterId, Ticket};
use crate::receive::Refusal;
use crate::time::Time;

/// One effect. The driver carries them out in the order they are polled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum Output {
    /// Send an advertisement.
    Send(Transmit),
    /// Put addresses on their interfaces and answer with `Fact::Installed` or `Fact::InstallFailed`. Names the
    /// whole set: what is there already is confirmed.
    Install(Install),
    /// Move addresses from their interfaces to the loopback interface: what is sent to them is served still, and nobody
    /// is told where they are. An `Install` brings them back, a `Withdraw` takes them off there, too. Needs no
    /// answer.
    Park(Park),
    /// Take addresses off their interfaces. Needs no answer.
    Withdraw(Withdraw),
    /// Tell the neighbours of an interface where an address is now.
    Announce(Announcement),
    /// Ask the neighbours of an interface whether an address is free. An answer is a `Fact::Neighbour`.
    Probe(Probe),
    /// Tell another candidate how our routers are.
    Beat(Beat),
    /// Something a person or a metric wants to know. May be dropped when nobody reads; the snapshot has it all.
    Report(Report),
}

/// An advertisement to send, IP header excluded: TTL 255, traffic class 0xC0, protocol 112.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transmit {
    /// Whose.
    pub router: RouterId,
    /// Out of this interface.
    pub interface: Ifindex,
    /// From this address, which is the interface's.
    pub source: IpAddr,
    /// To a group or a peer.
    pub destination: IpAddr,
    /// The VRRP message.
    #[serde(with = "crate::hexadecimal")]
    pub payload: Arc<[u8]>,
}

/// An order to install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// Whose.
    pub router: RouterId,
    /// Under this number the outcome comes back.
    pub ticket: Ticket,
    /// The router's interface: where those are that have none of their own.
    pub interface: Ifindex,
    /// What.
    pub addresses: Arc<[VirtualAddress]>,
    /// How long an address stays that nobody renews; `None` for ever.
    pub lifetime: Option<Duration>,
}

/// An order to park.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Park {
    /// Whose.
    pub router: RouterId,
    /// Cancels every `Install` of this router with a lower number that is still on its way.
    pub ticket: Ticket,
    /// The router's interface: where those are now that have none of their own.
    pub interface: Ifindex,
    /// What. Those that are not there are not parked.
    pub addresses: Arc<[VirtualAddress]>,
    /// A `Withdraw` follows after this long.
    pub linger: Duration,
}

/// An order to withdraw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdraw {
    /// Whose.
    pub router: RouterId,
    /// Cancels every `Install` of this router with a lower number that is still on its way.
    pub ticket: Ticket,
    /// The router's interface: where those are that have none of their own.
    pub interface: Ifindex,
    /// What.
    pub addresses: Arc<[VirtualAddress]>,
}

/// `addresses` with the interface of each.
fn places(
    router: Ifindex,
    addresses: &[VirtualAddress],
) -> impl Iterator<Item = (Ifindex, &VirtualAddress)> {
    addresses.iter().map(move |a| (a.on(router), a))
}

impl Install {
    /// Its addresses with the interface of each.
    pub fn places(&self) -> impl Iterator<Item = (Ifindex, &VirtualAddress)> {
        places(self.interface, &self.addresses)
    }
}

impl Park {
    /// Its addresses with the interface of each.
    pub fn places(&self) -> impl Iterator<Item = (Ifindex, &VirtualAddress)> {
        places(self.interface, &self.addresses)
    }
}

impl Withdraw {
    /// Its addresses with the interface of each.
    pub fn places(&self) -> impl Iterator<Item = (Ifindex, &VirtualAddress)> {
        places(self.interface, &self.addresses)
    }
}

/// One gratuitous ARP (IPv4) or unsolicited neighbour advertisement (IPv6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Out of this interface.
    pub interface: Ifindex,
    /// The Ethernet address that holds `address` now, and the frame's source.
    pub mac: MacAddr,
    /// The virtual address.
    pub address: IpAddr,
    /// Request or reply; IPv6 has one form and ignores this.
    pub form: GratuitousForm,
    /// The router flag of a neighbour advertisement.
    pub forwards: bool,
}

/// One ARP probe (RFC 5227 §2.1.1) or neighbour solicitation from nobody (RFC 4862 §5.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Out of this interface.
    pub interface: Ifindex,
    /// The frame's source.
    pub mac: MacAddr,
    /// The address in question.
    pub address: IpAddr,
}

/// The protocol's states (RFC 9568 §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StateName {
    /// Takes no part.
    Initialize,
    /// Listens to the Active.
    Backup,
    /// Holds the addresses.
    Active,
}

impl StateName {
    /// All of them, in the RFC's order.
    pub const ALL: [Self; 3] = [Self::Initialize, Self::Backup, Self::Active];

    /// The RFC's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "Initialize",
            Self::Backup => "Backup",
            Self::Active => "Active",
        }
    }
}

/// Why a router instance changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// It was configured, and its interface is usable.
    Startup,
    /// It owns the addresses: priority 255.
    AddressOwner,
    /// Nothing acceptable was heard for Active_Down_Interval.
    NoResponse,
    /// The Active left with priority 0.
    Released,
    /// It preempted an Active of lower priority.
    Preempted,
    /// An advertisement of higher priority arrived.
    HigherPriority,
    /// An advertisement of equal priority arrived from a higher address.
    HigherAddress,
    /// Another Active, which ranks above, was heard by its heartbeat alone.
    PeerActive,
    /// Another said that it is Active, but its advertisements stayed out for as long as a promotion may be held.
    HoldEnded,
    /// No interface matches its configuration, or that of one of its addresses.
    InterfaceMissing,
    /// Its interface, or that of one of its addresses, is down or has no carrier.
    InterfaceDown,
    /// Its interface has no address to advertise from.
    SourceMissing,
    /// The kernel refused its addresses.
    InstallFailed,
    /// Nobody said within [`INSTALL_PATIENCE`](crate::INSTALL_PATIENCE) what became of its addresses.
    InstallTimeout,
    /// All of its addresses are on its interface already, and not because of us.
    AddressConflict,
    /// It has priority 255, and its interface lacks an address that it would own.
    NotAddressOwner,
    /// The process was not running for longer than Active_Down_Interval.
    Stalled,
    /// VRID, version, interface or transport changed.
    Reconfigured,
    /// It was taken out of the configuration.
    Removed,
    /// The agent is stopping.
    Shutdown,
    /// Another member of its sync group cannot take part, or left its addresses to another node.
    SyncGroup,
    /// The node's operator drained it, and its peers leave even priority 1 in peace: it said priority 0.
    Drained,
    /// It was drained and nobody took over: it serves on.
    NoSuccessor,
    /// It was about to leave, and need not.
    Resumed,
}

impl Reason {
    /// A word for logs, metrics and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::AddressOwner => "AddressOwner",
            Self::NoResponse => "NoResponse",
            Self::Released => "Released",
            Self::Preempted => "Preempted",
            Self::HigherPriority => "HigherPriority",
            Self::HigherAddress => "HigherAddress",
            Self::PeerActive => "PeerActive",
            Self::HoldEnded => "HoldEnded",
            Self::InterfaceMissing => "InterfaceMissing",
            Self::InterfaceDown => "InterfaceDown",
            Self::SourceMissing => "SourceMissing",
            Self::InstallFailed => "InstallFailed",
            Self::InstallTimeout => "InstallTimeout",
            Self::AddressConflict => "AddressConflict",
            Self::NotAddressOwner => "NotAddressOwner",
            Self::Stalled => "Stalled",
            Self::Reconfigured => "Reconfigured",
            Self::Removed => "Removed",
            Self::Shutdown => "Shutdown",
            Self::SyncGroup => "SyncGroup",
            Self::Drained => "Drained",
            Self::NoSuccessor => "NoSuccessor",
            Self::Resumed => "Resumed",
        }
    }
}

/// A router instance as its sync group names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The VirtualRouter's name.
    pub name: Arc<str>,
    /// Its family.
    pub family: Family,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.family)
    }
}

/// What the election has to tell. Of fixed size, so that a ring can carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// A router instance changed its state.
    Transition {
        /// When.
        at: Time,
        /// The VirtualRouter's name.
        name: Arc<str>,
        /// Its family.
        family: Family,
        /// Where it runs.
        interface: Option<Ifindex>,
        /// From.
        from: StateName,
        /// To.
        to: StateName,
        /// Why.
        reason: Reason,
        /// Whose advertisement caused it, if one did.
        source: Option<IpAddr>,
        /// The member of its sync group that caused it, if the reason is `SyncGroup`.
        member: Option<Member>,
    },
    /// A frame was refused, or accepted with a remark. Rate-limited: the counters count each.
    Refused {
        /// When.
        at: Time,
        /// The interface it arrived on.
        interface: Ifindex,
        /// The router it concerned, if it got that far.
        name: Option<Arc<str>>,
        /// Its sender.
        source: IpAddr,
        /// Why.
        reason: Refusal,
    },
    /// A Backup that heard an Active took its place, and announced its addresses for the first time: the network
    /// has its answer.
    Announced {
        /// When.
        at: Time,
        /// The VirtualRouter's name.
        name: Arc<str>,
        /// Its family.
        family: Family,
        /// Why it became Active.
        reason: Reason,
        /// Since the last advertisement of the Active before it.
        silence: Duration,
    },
    /// Addresses that could not be installed were skipped; the others are held.
    AddressesRefused {
        /// When.
        at: Time,
        /// The VirtualRouter's name.
        name: Arc<str>,
        /// Its family.
        family: Family,
        /// How many.
        count: u16,
        /// The first.
        first: IpAddr,
    },
    /// Addresses of a router are on its interface already, and not because of us: untouched.
    AddressConflict {
        /// When.
        at: Time,
        /// The VirtualRouter's name.
        name: Arc<str>,
        /// Its family.
        family: Family,
        /// Where.
        interface: Ifindex,
        /// How many.
        count: u16,
        /// The first.
        first: IpAddr,
    },
    /// Evidence of something that should not be appeared or is over.
    Evidence {
        /// When.
        at: Time,
        /// The VirtualRouter's name.
        name: Arc<str>,
        /// Its family.
        family: Family,
        /// Of what.
        evidence: Evidence,
        /// Whether it is over.
        ended: bool,
    },
    /// The election was not run for longer than a router could bear; it listens before it acts.
    Stalled {
        /// When it noticed.
        at: Time,
        /// How long after the first missed deadline.
        late: Duration,
    },
}

/// What should not be, as far as a router instance can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "condition", rename_all_fields = "camelCase")]
pub enum Evidence {
    /// Another node is Active as well.
    SplitBrain {
        /// Where the other advertises from.
        peer: IpAddr,
        /// What tells.
        cause: SplitCause,
        /// Whether the other proved to have the installation key.
        proven: bool,
    },
    /// Somebody who takes no part uses an address that we hold.
    AddressConflict {
        /// Which.
        address: IpAddr,
        /// Where the other is.
        mac: MacAddr,
    },
    /// Advertisements for this router are refused while it is Active: their sender may be Active, too.
    PeerRejected {
        /// Whose.
        source: IpAddr,
        /// Why the last was.
        reason: Refusal,
    },
    /// It would be Active by now, but a peer says that it is.
    PromotionHeld {
        /// Where the peer's heartbeat comes from.
        peer: IpAddr,
    },
    /// It would make its first claim by now, but somebody who does not advertise has one of its addresses.
    ClaimHeld {
        /// Which.
        address: IpAddr,
        /// Where the other is.
        mac: MacAddr,
    },
}

impl Evidence {
    /// The condition (DESIGN §5) that it is evidence for, or what is held back.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SplitBrain { .. } => "SplitBrain",
            Self::AddressConflict { .. } => "AddressConflict",
            Self::PeerRejected { .. } => "PeerRejected",
            Self::PromotionHeld { .. } => "PromotionHeld",
            Self::ClaimHeld { .. } => "ClaimHeld",
        }
    }

    /// The words of [`as_str`](Self::as_str).
    pub const WORDS: [&'static str; 5] = [
        "SplitBrain",
        "AddressConflict",
        "PeerRejected",
        "PromotionHeld",
        "ClaimHeld",
    ];
}

/// What tells that there are two Actives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SplitCause {
    /// The other's heartbeat, while its advertisements stay out.
    Heartbeat,
    /// The other's advertisements, which go on though they rank below ours: it does not hear us.
    Advertisements,
    /// ARP or neighbour advertisements from the other's Ethernet address.
    Neighbour,
}

impl SplitCause {
    /// A word for logs, metrics and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heartbeat => "Heartbeat",
            Self::Advertisements => "Advertisements",
            Self::Neighbour => "Neighbour",
        }
    }
}
