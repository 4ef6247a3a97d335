//! What a neighbour says about where an address is: ARP and neighbour advertisements, read.

use std::net::IpAddr;

use vipkeeper_wire::arp::ArpPacket;
use vipkeeper_wire::ip;
use vipkeeper_wire::ndp::NeighborAdvertisement;
use vipkeeper_wire::{Family, MacAddr};

use crate::sys::Datagram;

/// The address that the sender says it has, and its Ethernet address. `None` for what is no such word: the filter lets
/// through a little more than that.
pub(super) fn read(family: Family, datagram: &Datagram<'_>) -> Option<(IpAddr, MacAddr)> {
    match family {
        Family::V4 => {
            let packet = ArpPacket::parse(datagram.bytes).ok()?;
            Some((packet.sender_address.into(), packet.sender_mac))
        }
        Family::V6 => {
            let whole = ip::Datagram::parse(datagram.bytes).ok()?;
            let advertisement = NeighborAdvertisement::parse(&whole).ok()?;
            let mac = advertisement.target_mac.or(datagram.source_mac)?;
            Some((advertisement.target.into(), mac))
        }
    }
}
