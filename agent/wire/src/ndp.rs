//! Neighbour advertisements (RFC 4861 §4.4): unsolicited ones to announce a virtual address, and a view of any, by which
//! another host's use of one is seen. Solicitations to ask whether an address is free (RFC 4862 §5.4.2).

use std::net::{IpAddr, Ipv6Addr};

use crate::checksum::Sum;
use crate::ip::{Datagram, IPV6_HEADER_LEN, ipv6_header};
use crate::{MacAddr, ethernet};

/// Next header of ICMPv6.
pub const PROTOCOL: u8 = 58;
/// ff02::1.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Where frames to [`ALL_NODES`] go.
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
/// What every neighbour discovery message carries, so that it cannot come from beyond the link (RFC 4861 §3.1).
pub const HOP_LIMIT: u8 = 255;
/// Length of a frame with an unsolicited advertisement, in bytes.
pub const FRAME_LEN: usize = ethernet::HEADER_LEN + IPV6_HEADER_LEN + FIXED_LEN + OPTION_LEN;

/// Length of a frame with a [`probe`], in bytes.
pub const PROBE_LEN: usize = ethernet::HEADER_LEN + IPV6_HEADER_LEN + FIXED_LEN;

/// Length of an advertisement or solicitation without options.
const FIXED_LEN: usize = 24;
/// Length of a link-layer address option for Ethernet.
const OPTION_LEN: usize = 8;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// The Ethernet frame of an unsolicited neighbour advertisement: `address` is at `mac`, told to all nodes.
///
/// It overrides what neighbours have cached, and its source is `address` itself. `router` says that this node forwards
/// IPv6; hosts drop a default router that says it does not (RFC 4861 §7.2.5).
#[must_use]
pub fn unsolicited_advertisement(mac: MacAddr, address: Ipv6Addr, router: bool) -> [u8; FRAME_LEN] {
    const MESSAGE_LEN: u16 = (FIXED_LEN + OPTION_LEN) as u16;
    let flags = if router { ROUTER | OVERRIDE } else { OVERRIDE };
    let message = |[sum0, sum1]: [u8; 2]| {
        [NEIGHBOR_ADVERTISEMENT, 0, sum0, sum1, flags, 0, 0, 0]
            .into_iter()
            .chain(address.octets())
            .chain([TARGET_LINK_LAYER_ADDRESS, 1])
            .chain(mac.0)
    };
    let mut unsummed = [0; FIXED_LEN + OPTION_LEN];
    fill(&mut unsummed, message([0, 0]));
    let checksum = pseudo_header(address, ALL_NODES, unsummed.len())
        .bytes(&unsummed)
        .checksum();

    let mut frame = [0; FRAME_LEN];
    let bytes = ethernet::header(ALL_NODES_MAC, mac, ethernet::IPV6)
        .into_iter()
        .chain(ipv6_header(
            address,
            ALL_NODES,
            PROTOCOL,
            MESSAGE_LEN,
            HOP_LIMIT,
            0,
        ))
        .chain(message(checksum.to_be_bytes()));
    fill(&mut frame, bytes);
    frame
}

/// The Ethernet frame of a neighbour solicitation for `address` from nobody: whoever has the address tells all nodes
/// (RFC 4862 §5.4.2), and nobody learns where we are.
#[must_use]
pub fn probe(mac: MacAddr, address: Ipv6Addr) -> [u8; PROBE_LEN] {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let message = |[sum0, sum1]: [u8; 2]| {
        [NEIGHBOR_SOLICITATION, 0, sum0, sum1, 0, 0, 0, 0]
            .into_iter()
            .chain(address.octets())
    };
    let mut unsummed = [0; FIXED_LEN];
    fill(&mut unsummed, message([0, 0]));
    let checksum = pseudo_header(Ipv6Addr::UNSPECIFIED, group, FIXED_LEN)
        .bytes(&unsummed)
        .checksum();

    let mut frame = [0; PROBE_LEN];
    let bytes = ethernet::header(MacAddr([0x33, 0x33, 0xff, a, b, c]), mac, ethernet::IPV6)
        .into_iter()
        .chain(ipv6_header(
            Ipv6Addr::UNSPECIFIED,
            group,
            PROTOCOL,
            FIXED_LEN as u16,
            HOP_LIMIT,
            0,
        ))
        .chain(message(checksum.to_be_bytes()));
    fill(&mut frame, bytes);
    frame
}

/// A received neighbour advertisement, validated as RFC 4861 §7.1.2 asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborAdvertisement {
    /// The sender forwards.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It replaces what is cached.
    pub override_: bool,
    /// Whose link-layer address it tells.
    pub target: Ipv6Addr,
    /// That address, from the target link-layer address option; `None` where there is none for Ethernet.
    pub target_mac: Option<MacAddr>,
}

/// Why a datagram is not a neighbour advertisement one may believe, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NdpError {
    /// Not ICMPv6 over IPv6, or another ICMPv6 message.
    #[error("not a neighbour advertisement")]
    Kind,
    /// The hop limit is not 255: a router has forwarded it.
    #[error("hop limit {0}; 255 on the link")]
    HopLimit(u8),
    /// Fewer than 24 bytes.
    #[error("{0} bytes; a neighbour advertisement has 24 at least")]
    Truncated(usize),
    /// The checksum is wrong.
    #[error("wrong ICMPv6 checksum")]
    Checksum,
    /// The code is not 0.
    #[error("ICMPv6 code {0}; 0 in a neighbour advertisement")]
    Code(u8),
    /// The target is a multicast group.
    #[error("the target {0} is a multicast group")]
    Target(Ipv6Addr),
    /// Sent to a group, and yet said to answer a solicitation.
    #[error("solicited, but sent to a multicast group")]
    SolicitedMulticast,
    /// An option has length 0 or reaches beyond the end.
    #[error("an option of a wrong length")]
    Option,
}

impl NeighborAdvertisement {
    /// Reads and validates a datagram.
    ///
    /// # Errors
    ///
    /// The first of [`NdpError`]'s, in their order.
    pub fn parse(datagram: &Datagram<'_>) -> Result<Self, NdpError> {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (datagram.source, datagram.destination)
        else {
            return Err(NdpError::Kind);
        };
        let message = datagram.payload;
        if datagram.protocol != PROTOCOL || message.first() != Some(&NEIGHBOR_ADVERTISEMENT) {
            return Err(NdpError::Kind);
        }
        if datagram.ttl != HOP_LIMIT {
            return Err(NdpError::HopLimit(datagram.ttl));
        }
        let (&[_, code, _, _, flags, _, _, _, ref target @ ..], options) = message
            .split_first_chunk::<FIXED_LEN>()
            .ok_or(NdpError::Truncated(message.len()))?;
        if !pseudo_header(source, destination, message.len())
            .bytes(message)
            .is_valid()
        {
            return Err(NdpError::Checksum);
        }
        if code != 0 {
            return Err(NdpError::Code(code));
        }
        let target = Ipv6Addr::from(*target);
        if target.is_multicast() {
            return Err(NdpError::Target(target));
        }
        let solicited = flags & SOLICITED != 0;
        if solicited && destination.is_multicast() {
            return Err(NdpError::SolicitedMulticast);
        }
        Ok(Self {
            router: flags & ROUTER != 0,
            solicited,
            override_: flags & OVERRIDE != 0,
            target,
            target_mac: target_mac(options)?,
        })
    }
}

/// The first target link-layer address of Ethernet's length; every option is checked, unknown ones are skipped.
fn target_mac(mut options: &[u8]) -> Result<Option<MacAddr>, NdpError> {
    let mut found = None;
    while let [kind, eights, ..] = *options {
        let length = usize::from(eights) * 8;
        let (option, rest) = options.split_at_checked(length).ok_or(NdpError::Option)?;
        match (kind, option) {
            (_, []) => return Err(NdpError::Option),
            (TARGET_LINK_LAYER_ADDRESS, &[_, _, a, b, c, d, e, f]) => {
                found = found.or(Some(MacAddr([a, b, c, d, e, f])));
            }
            (_, _) => {}
        }
        options = rest;
    }
    if options.is_empty() {
        Ok(found)
    } else {
        Err(NdpError::Option)
    }
}

/// The sum of the pseudo-header (RFC 8200 §8.1).
fn pseudo_header(source: Ipv6Addr, destination: Ipv6Addr, length: usize) -> Sum {
    Sum::new()
        .bytes(&source.octets())
        .bytes(&destination.octets())
        .bytes(&(length as u32).to_be_bytes())
        .word(PROTOCOL.into())
}

/// Fills `buffer` from the front.
fn fill(buffer: &mut [u8], bytes: impl Iterator<Item = u8>) {
    for (slot, byte) in buffer.iter_mut().zip(bytes) {
        *slot = byte;
    }
}

#[cfg(test)]
mod tests;
