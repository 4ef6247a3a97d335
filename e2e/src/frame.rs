//! Ethernet frames as an observer reads them: VRRP advertisements, ARP, and neighbour discovery.
//!
//! Shares nothing with the codec under test: an observer with the same mistake would see nothing. Judges
//! nothing: what can be read is shown, checksums and lengths included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// VRRP, any version.
    Advertisement(Advertisement),
    /// ARP for IPv4 over Ethernet.
    Arp(Arp),
    /// An ICMPv6 neighbour advertisement.
    NeighbourAdvertisement(NeighbourAdvertisement),
    /// Something else, or cut short.
    Other,
}

/// A VRRP message with its IP header's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub traffic_class: u8,
    /// VRRP version.
    pub version: u8,
    /// VRID.
    pub vrid: u8,
    /// Priority; 0 says that the sender leaves.
    pub priority: u8,
    /// Version 2: authentication type; 0 in version 3.
    pub authentication_type: u8,
    /// Advertisement interval.
    pub interval: Duration,
    /// As on the wire.
    pub checksum: u16,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// The VRRP message: the IP payload.
    pub message: Vec<u8>,
}

/// An ARP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Sender's hardware address.
    pub sender_mac: [u8; 6],
    /// Sender's protocol address.
    pub sender: Ipv4Addr,
    /// Target's hardware address.
    pub target_mac: [u8; 6],
    /// Target's protocol address.
    pub target: Ipv4Addr,
}

/// A neighbour advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourAdvertisement {
    /// IP source.
    pub source: Ipv6Addr,
    /// IP destination.
    pub destination: Ipv6Addr,
    /// The address it is about.
    pub target: Ipv6Addr,
    /// Override flag.
    pub overrides: bool,
    /// Solicited flag.
    pub solicited: bool,
    /// The target link-layer address option.
    pub link_layer: Option<[u8; 6]>,
}

impl Content {
    /// Reads an Ethernet frame.
    #[must_use]
    pub fn read(frame: &[u8]) -> Self {
        match u16_at(frame, 12) {
            Some(0x0806) => arp(frame).map_or(Self::Other, Self::Arp),
            Some(0x0800) => ipv4(frame).map_or(Self::Other, Self::Advertisement),
            Some(0x86dd) => ipv6(frame).unwrap_or(Self::Other),
            _ => Self::Other,
        }
    }

    /// The address whose place is announced, if this is a gratuitous ARP or an unsolicited neighbour
    /// advertisement to all nodes.
    #[must_use]
    pub fn announced(&self) -> Option<IpAddr> {
        match self {
            Self::Arp(arp) if arp.sender == arp.target => Some(arp.sender.into()),
            Self::NeighbourAdvertisement(na) if !na.solicited && na.destination.is_multicast() => {
                Some(na.target.into())
            }
            Self::Arp(_)
            | Self::NeighbourAdvertisement(_)
            | Self::Advertisement(_)
            | Self::Other => None,
        }
    }
}

fn arp(frame: &[u8]) -> Option<Arp> {
    let packet = frame.get(14..42)?;
    Some(Arp {
        operation: u16_at(packet, 6)?,
        sender_mac: *packet.get(8..)?.first_chunk()?,
        sender: Ipv4Addr::from(*packet.get(14..)?.first_chunk::<4>()?),
        target_mac: *packet.get(18..)?.first_chunk()?,
        target: Ipv4Addr::from(*packet.get(24..)?.first_chunk::<4>()?),
    })
}

fn ipv4(frame: &[u8]) -> Option<Advertisement> {
    let packet = frame.get(14..)?;
    let header_length = usize::from(packet.first()? & 0x0f) * 4;
    let message = packet.get(header_length..u16_at(packet, 2)?.into())?;
    if *packet.get(9)? != 112 {
        return None;
    }
    let address = |at| Some(IpAddr::from(*packet.get(at..)?.first_chunk::<4>()?));
    let ip = IpFields {
        source: address(12)?,
        destination: address(16)?,
        ttl: *packet.get(8)?,
        traffic_class: *packet.get(1)?,
    };
    advertisement(ip, message)
}

fn ipv6(frame: &[u8]) -> Option<Content> {
    let packet = frame.get(14..)?;
    let payload = packet.get(40..40 + usize::from(u16_at(packet, 4)?))?;
    let address = |at| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?));
    let (source, destination) = (address(8)?, address(24)?);
    match (*packet.get(6)?, *payload.first()?) {
        (112, _) => {
            let ip = IpFields {
                source: source.into(),
                destination: destination.into(),
                ttl: *packet.get(7)?,
                traffic_class: ((u16_at(packet, 0)? >> 4) & 0xff) as u8,
            };
            advertisement(ip, payload).map(Content::Advertisement)
        }
        (58, 136) => {
            let flags = *payload.get(4)?;
            Some(Content::NeighbourAdvertisement(NeighbourAdvertisement {
                source,
                destination,
                target: Ipv6Addr::from(*payload.get(8..)?.first_chunk::<16>()?),
                overrides: flags & 0x20 != 0,
                solicited: flags & 0x40 != 0,
                link_layer: match payload.get(24..26) {
                    Some([2, 1]) => payload.get(26..)?.first_chunk().copied(),
                    _ => None,
                },
            }))
        }
        _ => None,
    }
}

struct IpFields {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    traffic_class: u8,
}

fn advertisement(ip: IpFields, message: &[u8]) -> Option<Advertisement> {
    let [kind, vrid, priority, count, fourth, fifth, _, _] = *message.first_chunk::<8>()?;
    let version = kind >> 4;
    let width = if ip.source.is_ipv4() { 4 } else { 16 };
    let list = message.get(8..8 + usize::from(count) * width)?;
    let (authentication_type, interval) = if version == 2 {
        (fourth, Duration::from_secs(fifth.into()))
    } else {
        let centiseconds = u64::from(fourth & 0x0f) << 8 | u64::from(fifth);
        (0, Duration::from_millis(centiseconds * 10))
    };
    Some(Advertisement {
        source: ip.source,
        destination: ip.destination,
        ttl: ip.ttl,
        traffic_class: ip.traffic_class,
        version,
        vrid,
        priority,
        authentication_type,
        interval,
        checksum: u16_at(message, 6)?,
        addresses: list
            .chunks_exact(width)
            .filter_map(|bytes| match bytes.first_chunk::<16>() {
                Some(v6) => Some(IpAddr::from(*v6)),
                None => bytes.first_chunk::<4>().map(|v4| IpAddr::from(*v4)),
            })
            .collect(),
        message: message.to_vec(),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn a_version_3_advertisement_over_ipv4_is_read() {
        let frame = bytes(
            "01005e000012 020000000001 0800 \
             45c0002000010000ff70d3ea 0a4d0001 e0000012 310a640100645fdf0a4d0064",
        );
        let Content::Advertisement(read) = Content::read(&frame) else {
            panic!("{:?}", Content::read(&frame));
        };
        assert_eq!(read.source, IpAddr::from([10, 77, 0, 1]));
        assert_eq!((read.ttl, read.traffic_class), (255, 0xc0));
        assert_eq!((read.version, read.vrid, read.priority), (3, 10, 100));
        assert_eq!(read.interval, Duration::from_secs(1));
        assert_eq!(read.addresses, [IpAddr::from([10, 77, 0, 100])]);
    }

    #[test]
    fn a_gratuitous_arp_announces_its_address() {
        let frame = bytes(
            "ffffffffffff00005e00010a0806000108000604000100005e00010a0a4d0064ffffffffffff0a4d0064",
        );
        let announced = Content::read(&frame).announced();
        assert_eq!(announced, Some(IpAddr::from([10, 77, 0, 100])));
    }

    #[test]
    fn an_ordinary_arp_request_announces_nothing() {
        let frame = bytes(
            "ffffffffffff00005e00010a0806000108000604000100005e00010a0a4d0001ffffffffffff0a4d0064",
        );
        assert_eq!(Content::read(&frame).announced(), None);
    }

    #[test]
    fn a_truncated_frame_is_no_frame_of_ours() {
        let frame = bytes(
            "01005e000012 020000000001 0800 \
             45c0002000010000ff70d3ea 0a4d0001 e0000012 310a640100645fdf0a4d0064",
        );
        for length in 0..frame.len() {
            assert_eq!(Content::read(&frame[..length]), Content::Other);
        }
    }
}
