//! What a received frame has to be before the election acts on it: everything but the bytes' form, which is
//! `vipkeeper_wire`'s.
//!
//! The checks run in the order of RFC 9568 §7.1 with its errata. A refused frame is counted and changes
//! nothing: no timer, no state. Where an erratum forbids what deployed routers send, the frame is accepted
//! with a remark, unless the router is strict: refusing it would make a second Active.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::vrrp::{self, Accept, Endpoints, Header, Packet, ParseError};

use crate::config::{ChecksumPolicy, Protocol, Transport};
use crate::counters::{NodeCounters, RouterCounters};
use crate::input::Received;
use crate::router::{Heard, Router};
use crate::time::Time;

/// IP protocol number of the Authentication Header (RFC 4302).
pub(crate) const AUTHENTICATION_HEADER: u8 = 51;

/// How many remarks one accepted frame can cause: owner, link-local, interval, list, duplicate source.
pub(crate) const MOST_REMARKS: usize = 5;

/// Why a frame was refused, or accepted with a remark. In the order of the checks (RFC 9568 §7.1 with its
/// errata).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// The IP header is unusable.
    Malformed,
    /// Our own frame.
    Looped,
    /// TTL or hop limit.
    Ttl,
    /// Version.
    Version,
    /// Type.
    Type,
    /// Length, or no addresses.
    Length,
    /// Checksum.
    Checksum,
    /// VRID.
    Vrid,
    /// Destination.
    Destination,
    /// Unicast from nobody we know.
    UnknownPeer,
    /// Another advertises addresses that we own; processed.
    OwnerConflict,
    /// Authentication type.
    AuthenticationType,
    /// Password.
    Authentication,
    /// Interval.
    Interval,
    /// First IPv6 address not link-local. Checked after an interval of zero and before another than ours.
    LinkLocal,
    /// Address list.
    AddressList,
    /// Equal priority from our own source address.
    DuplicateSource,
}

impl Refusal {
    /// All of them, in the order of the checks.
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::Looped,
        Self::Ttl,
        Self::Version,
        Self::Type,
        Self::Length,
        Self::Checksum,
        Self::Vrid,
        Self::Destination,
        Self::UnknownPeer,
        Self::OwnerConflict,
        Self::AuthenticationType,
        Self::Authentication,
        Self::Interval,
        Self::LinkLocal,
        Self::AddressList,
        Self::DuplicateSource,
    ];

    /// A word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "Malformed",
            Self::Looped => "Looped",
            Self::Ttl => "Ttl",
            Self::Version => "Version",
            Self::Type => "Type",
            Self::Length => "Length",
            Self::Checksum => "Checksum",
            Self::Vrid => "Vrid",
            Self::Destination => "Destination",
            Self::UnknownPeer => "UnknownPeer",
            Self::OwnerConflict => "OwnerConflict",
            Self::AuthenticationType => "AuthenticationType",
            Self::Authentication => "Authentication",
            Self::Interval => "Interval",
            Self::LinkLocal => "LinkLocal",
            Self::AddressList => "AddressList",
            Self::DuplicateSource => "DuplicateSource",
        }
    }

    /// Whether a frame that was refused for this may be another Active's, unheard because of how it is configured.
    pub(crate) const fn may_hide_a_peer(self) -> bool {
        match self {
            Self::Ttl
            | Self::Version
            | Self::Length
            | Self::Checksum
            | Self::Destination
            | Self::UnknownPeer
            | Self::AuthenticationType
            | Self::Authentication
            | Self::Interval
            | Self::LinkLocal
            | Self::AddressList => true,
            Self::Malformed
            | Self::Looped
            | Self::Type
            | Self::Vrid
            | Self::OwnerConflict
            | Self::DuplicateSource => false,
        }
    }

    /// Counts it for the node, where RFC 8347 has the counter there.
    pub(crate) fn count_for_node(self, counters: &mut NodeCounters, router_known: bool) {
        match self {
            Self::Malformed => counters.malformed += 1,
            Self::Looped => counters.looped += 1,
            Self::Ttl => counters.ip_ttl_errors += 1,
            Self::Version => counters.version_errors += 1,
            Self::Checksum => counters.checksum_errors += 1,
            Self::Vrid => counters.vrid_errors += 1,
            Self::Type | Self::Length if !router_known => counters.packet_length_errors += 1,
            Self::Type
            | Self::Length
            | Self::Destination
            | Self::UnknownPeer
            | Self::OwnerConflict
            | Self::AuthenticationType
            | Self::Authentication
            | Self::Interval
            | Self::LinkLocal
            | Self::AddressList
            | Self::DuplicateSource => {}
        }
    }

    /// Counts it for the router it concerned.
    pub(crate) fn count_for_router(self, counters: &mut RouterCounters) {
        let counter = match self {
            Self::Malformed | Self::Looped | Self::Vrid => return,
            Self::Ttl => &mut counters.ip_ttl_errors,
            Self::Version => &mut counters.version_errors,
            Self::Type => &mut counters.invalid_type_errors,
            Self::Length => &mut counters.packet_length_errors,
            Self::Checksum => &mut counters.checksum_errors,
            Self::Destination => &mut counters.destination_errors,
            Self::UnknownPeer => &mut counters.unknown_peers,
            Self::OwnerConflict => &mut counters.owner_conflicts,
            Self::AuthenticationType => &mut counters.authentication_type_errors,
            Self::Authentication => &mut counters.authentication_failures,
            Self::Interval => &mut counters.interval_errors,
            Self::LinkLocal => &mut counters.link_local_errors,
            Self::AddressList => &mut counters.address_list_errors,
            Self::DuplicateSource => &mut counters.duplicate_sources,
        };
        *counter += 1;
    }
}

/// The VRRP message of a frame with the fields that can be read before anything is verified.
///
/// # Errors
/// `Length` where there is none.
pub(crate) fn peek(frame: &Received<'_>) -> Result<Header, Refusal> {
    let message = match frame.protocol {
        vrrp::PROTOCOL => Some(frame.payload),
        AUTHENTICATION_HEADER => behind_authentication_header(frame.payload),
        _ => None,
    };
    message.and_then(Header::peek).ok_or(Refusal::Length)
}

/// What follows an Authentication Header whose next header is VRRP (RFC 4302 §2).
fn behind_authentication_header(payload: &[u8]) -> Option<&[u8]> {
    let (&next_header, &words) = (payload.first()?, payload.get(1)?);
    (next_header == vrrp::PROTOCOL).then_some(())?;
    payload.get((usize::from(words) + 2) * 4..)
}

/// TTL, version, type, length and checksum: what can be judged without knowing the virtual router, by the
/// rules of `router` where there is one.
pub(crate) fn check_form<'a>(
    frame: &Received<'a>,
    header: &Header,
    router: Option<&Router>,
) -> Result<Packet<'a>, Refusal> {
    if frame.ttl < least_ttl(frame, router) {
        return Err(Refusal::Ttl);
    }
    if router.is_some_and(|r| r.config.protocol.version() != header.version) {
        return Err(Refusal::Version);
    }
    if frame.protocol == AUTHENTICATION_HEADER {
        return Err(if router.is_some() {
            Refusal::AuthenticationType
        } else {
            Refusal::Vrid
        });
    }
    let endpoints = Endpoints::new(frame.source, frame.destination).ok_or(Refusal::Malformed)?;
    let accept = match router.map(|r| r.config.protocol) {
        Some(Protocol::V3 {
            checksum: ChecksumPolicy::Only(form),
            ..
        }) => Accept::Only(form),
        Some(
            Protocol::V3 {
                checksum: ChecksumPolicy::Auto,
                ..
            }
            | Protocol::V2 { .. },
        )
        | None => Accept::Either,
    };
    Packet::parse(frame.payload, &endpoints, accept).map_err(|error| match error {
        ParseError::Version(_) => Refusal::Version,
        ParseError::Type(_) => Refusal::Type,
        ParseError::Length { .. } | ParseError::NoAddresses => Refusal::Length,
        ParseError::Checksum => Refusal::Checksum,
        ParseError::VridZero => Refusal::Vrid,
    })
}

/// 255 proves that a multicast frame was sent on this link; by unicast a peer owes what it is configured with.
fn least_ttl(frame: &Received<'_>, router: Option<&Router>) -> u8 {
    if frame.destination.is_multicast() {
        return 255;
    }
    let peer = router.and_then(|r| r.config.transport.peer(frame.source));
    peer.map_or(0, |peer| peer.min_ttl)
}

/// Whether `frame`, a well-formed message for `router`, may be heard. `remark` is told what is odd about an
/// accepted one.
pub(crate) fn check_meaning(
    router: &Router,
    frame: &Received<'_>,
    packet: &Packet<'_>,
    mut remark: impl FnMut(Refusal),
) -> Result<Heard, Refusal> {
    check_path(router, frame)?;
    if router.config.priority.is_owner() {
        remark(Refusal::OwnerConflict);
    }
    check_authentication(router, packet)?;
    if packet.interval() == Duration::ZERO {
        return Err(Refusal::Interval);
    }
    check_first_address(router, packet, &mut remark)?;
    check_interval(router, packet, &mut remark)?;
    check_addresses(router, packet, &mut remark)?;
    if packet.priority() == router.effective_priority() && Some(frame.source) == router.source() {
        remark(Refusal::DuplicateSource);
    }
    Ok(Heard {
        source: frame.source,
        source_mac: frame.source_mac,
        priority: packet.priority(),
        interval: packet.interval(),
        arrival: frame.arrival,
    })
}

/// The group, or unicast to us from a peer.
fn check_path(router: &Router, frame: &Received<'_>) -> Result<(), Refusal> {
    if frame.destination.is_multicast() {
        return match router.config.transport {
            Transport::Multicast { group, .. } if group == frame.destination => Ok(()),
            Transport::Multicast { .. } | Transport::Unicast { .. } => Err(Refusal::Destination),
        };
    }
    if Some(frame.destination) != router.source() {
        return Err(Refusal::Destination);
    }
    if router.config.transport.peers().is_empty() {
        return Err(Refusal::Destination);
    }
    match router.config.transport.peer(frame.source) {
        None => Err(Refusal::UnknownPeer),
        Some(_) => Ok(()),
    }
}

/// RFC 3768 §7.1: the type must be ours, and the password with it.
fn check_authentication(router: &Router, packet: &Packet<'_>) -> Result<(), Refusal> {
    const NONE: u8 = 0;
    const SIMPLE_TEXT: u8 = 1;
    let Protocol::V2 { password, .. } = router.config.protocol else {
        return Ok(());
    };
    let Some((kind, data)) = packet.authentication() else {
        return Err(Refusal::AuthenticationType);
    };
    match password {
        None if kind == NONE => Ok(()),
        Some(password) if kind == SIMPLE_TEXT => {
            let same = same_in_constant_time(&password, &data);
            if same {
                Ok(())
            } else {
                Err(Refusal::Authentication)
            }
        }
        None | Some(_) => Err(Refusal::AuthenticationType),
    }
}

fn same_in_constant_time(a: &[u8; 8], b: &[u8; 8]) -> bool {
    a.iter()
        .zip(b)
        .fold(0, |differences, (x, y)| differences | (x ^ y))
        == 0
}

/// Over IPv6 it is the virtual router's link-local address (erratum 8300).
fn check_first_address(
    router: &Router,
    packet: &Packet<'_>,
    remark: &mut impl FnMut(Refusal),
) -> Result<(), Refusal> {
    match packet.addresses().next() {
        Some(IpAddr::V6(first)) if !first.is_unicast_link_local() => {}
        Some(_) | None => return Ok(()),
    }
    if router.config.strict {
        return Err(Refusal::LinkLocal);
    }
    remark(Refusal::LinkLocal);
    Ok(())
}

/// Version 2 demands our interval, version 3 takes any; zero is refused before (erratum 8301).
fn check_interval(
    router: &Router,
    packet: &Packet<'_>,
    remark: &mut impl FnMut(Refusal),
) -> Result<(), Refusal> {
    let ours = router.config.protocol.interval();
    if packet.interval() == ours {
        return Ok(());
    }
    let refuse = match router.config.protocol {
        Protocol::V2 { .. } => true,
        Protocol::V3 { .. } => router.config.strict,
    };
    if refuse {
        return Err(Refusal::Interval);
    }
    remark(Refusal::Interval);
    Ok(())
}

/// The same addresses in any order. Version 2 refuses another list but the owner's; version 3 remarks it.
fn check_addresses(
    router: &Router,
    packet: &Packet<'_>,
    remark: &mut impl FnMut(Refusal),
) -> Result<(), Refusal> {
    if is_our_list(router, packet) {
        return Ok(());
    }
    let refuse = match router.config.protocol {
        Protocol::V2 { .. } => packet.priority() != 255,
        Protocol::V3 { .. } => router.config.strict,
    };
    if refuse {
        return Err(Refusal::AddressList);
    }
    remark(Refusal::AddressList);
    Ok(())
}

fn is_our_list(router: &Router, packet: &Packet<'_>) -> bool {
    let ours = &router.config.addresses;
    if ours.len() != packet.address_count() {
        return false;
    }
    if packet.addresses().eq(ours.iter().map(|a| a.address)) {
        return true;
    }
    let mut named = [false; u8::MAX as usize];
    packet.addresses().all(|address| {
        let place = router.sorted.binary_search(&address).ok();
        let named = place.and_then(|place| named.get_mut(place));
        named.is_some_and(|named| !std::mem::replace(named, true))
    })
}

/// Limits what is told about refused frames: each reason once for a source until the router's state changes,
/// and never more than once a second however many sources there are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remarks {
    told: [Option<(IpAddr, Time)>; Refusal::ALL.len()],
}

impl Remarks {
    /// Whether to tell of `reason` now.
    pub(crate) fn may_tell(&mut self, reason: Refusal, source: IpAddr, now: Time) -> bool {
        let told = &mut self.told[reason as usize];
        let may = told.is_none_or(|(last_source, at)| {
            last_source != source && now.since(at) >= Duration::from_secs(1)
        });
        if may {
            *told = Some((source, now));
        }
        may
    }

    /// The router's state changed: everything is news again.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
