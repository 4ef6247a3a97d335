//! Frames that a real keepalived sent, read field by field and written again byte by byte.
//!
//! `keepalived/README.md` says how they were captured; each `.hex` lies beside the configuration that caused it.
#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vipkeeper_wire::arp::{ArpPacket, GratuitousForm, gratuitous_with_target};
use vipkeeper_wire::ethernet::{self, Frame};
use vipkeeper_wire::ip::{Datagram, ipv4_header};
use vipkeeper_wire::ndp::{NeighborAdvertisement, unsolicited_advertisement};
use vipkeeper_wire::vrrp::{
    self, Accept, Advertisement, Body, ChecksumForm, Endpoints, Packet, ParseError, Version,
};
use vipkeeper_wire::{Family, MacAddr, Vrid};

const V2: &str = include_str!("keepalived/v2.hex");
const V2_PASS: &str = include_str!("keepalived/v2-pass.hex");
const V3: &str = include_str!("keepalived/v3.hex");
const V3_UNICAST: &str = include_str!("keepalived/v3-unicast.hex");
const V3_IPV6: &str = include_str!("keepalived/v3-ipv6.hex");
const V3_IPV6_UNICAST: &str = include_str!("keepalived/v3-ipv6-unicast.hex");
const V3_VMAC: &str = include_str!("keepalived/v3-vmac.hex");

const RFC5798: Accept = Accept::Only(ChecksumForm::Rfc5798);
const RFC9568: Accept = Accept::Only(ChecksumForm::Rfc9568);
const SENDER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// What a capture's advertisements must say.
struct Expected<'a> {
    capture: &'a str,
    accept: Accept,
    body: Body,
    source_mac: MacAddr,
    destination_mac: MacAddr,
    source: &'a str,
    destination: &'a str,
    ttl: u8,
    addresses: &'a [&'a str],
}

const V3_BODY: Body = Body::V3 {
    centiseconds: 100,
    form: ChecksumForm::Rfc5798,
};

fn expected() -> Vec<Expected<'static>> {
    let v2 = Expected {
        capture: V2,
        accept: RFC9568,
        body: Body::V2 {
            seconds: 1,
            password: None,
        },
        source_mac: SENDER,
        destination_mac: ethernet::multicast(vrrp::GROUP_V4.into()).unwrap(),
        source: "10.77.0.1",
        destination: "224.0.0.18",
        ttl: 255,
        addresses: &["10.77.0.100"],
    };
    let v3 = Expected {
        capture: V3,
        accept: RFC5798,
        body: V3_BODY,
        ..v2
    };
    let v3_ipv6 = Expected {
        capture: V3_IPV6,
        destination_mac: ethernet::multicast(vrrp::GROUP_V6.into()).unwrap(),
        source: "fe80::1",
        destination: "ff02::12",
        addresses: &["fe80::100", "2001:db8::100"],
        ..v3
    };
    let peer = MacAddr([2, 0, 0, 0, 0, 2]);
    vec![
        Expected {
            capture: V2_PASS,
            body: Body::V2 {
                seconds: 1,
                password: Some(*b"1234\0\0\0\0"),
            },
            addresses: &["10.77.0.100", "10.77.0.101"],
            ..v2
        },
        Expected {
            capture: V3_UNICAST,
            destination_mac: peer,
            destination: "10.77.0.2",
            ..v3
        },
        Expected {
            capture: V3_IPV6_UNICAST,
            destination_mac: peer,
            destination: "fe80::2",
            // keepalived leaves the hop limit of unicast at the kernel's default.
            ttl: 64,
            addresses: &["fe80::100"],
            ..v3_ipv6
        },
        Expected {
            capture: V3_VMAC,
            body: Body::V3 {
                centiseconds: 25,
                form: ChecksumForm::Rfc5798,
            },
            source_mac: virtual_mac(),
            ..v3
        },
        v2,
        v3,
        v3_ipv6,
    ]
}

#[test]
fn every_advertisement_is_read_field_by_field() {
    for expected in expected() {
        let frames = frames(expected.capture);
        let mut priorities = Vec::new();
        for (frame, datagram) in advertisements(&frames) {
            assert_eq!(frame.source, expected.source_mac);
            assert_eq!(frame.destination, expected.destination_mac);
            assert_eq!(datagram.source, address(expected.source));
            assert_eq!(datagram.destination, address(expected.destination));
            assert_eq!(datagram.ttl, expected.ttl);
            let packet =
                Packet::parse(datagram.payload, &endpoints(&datagram), expected.accept).unwrap();
            assert_eq!(packet.vrid(), vrid());
            let listed: Vec<_> = expected
                .addresses
                .iter()
                .map(|text| address(text))
                .collect();
            assert_eq!(packet.addresses().collect::<Vec<_>>(), listed);
            match expected.body {
                Body::V2 { seconds, password } => {
                    assert_eq!(packet.version(), Version::V2);
                    assert_eq!(packet.interval(), Duration::from_secs(seconds.into()));
                    let kind = u8::from(password.is_some());
                    let data = password.unwrap_or_default();
                    assert_eq!(packet.authentication(), Some((kind, data)));
                }
                Body::V3 { centiseconds, form } => {
                    assert_eq!(packet.version(), Version::V3);
                    let interval = Duration::from_millis(10 * u64::from(centiseconds));
                    assert_eq!(packet.interval(), interval);
                    let over_v4 = datagram.source.is_ipv4();
                    assert_eq!(packet.checksum_form(), over_v4.then_some(form));
                }
            }
            priorities.push(packet.priority());
        }
        assert_eq!(priorities, [100, 0], "Active, then the release at its stop");
    }
}

#[test]
fn every_advertisement_is_written_as_keepalived_wrote_it() {
    for expected in expected() {
        let frames = frames(expected.capture);
        let listed: Vec<_> = expected
            .addresses
            .iter()
            .map(|text| address(text))
            .collect();
        for ((_, datagram), priority) in advertisements(&frames).into_iter().zip([100, 0]) {
            let body = expected.body;
            let advertisement = Advertisement {
                vrid: vrid(),
                priority,
                body,
                addresses: &listed,
            };
            let mut buffer = vec![0xa5; advertisement.buffer_len()];
            advertisement
                .emit(&endpoints(&datagram), &mut buffer)
                .unwrap();
            assert_eq!(buffer, datagram.payload);
        }
    }
}

#[test]
fn every_ipv4_header_is_written_as_linux_wrote_it() {
    for capture in [V2, V2_PASS, V3, V3_UNICAST, V3_VMAC] {
        for (_, datagram) in advertisements(&frames(capture)) {
            let (IpAddr::V4(source), IpAddr::V4(destination)) =
                (datagram.source, datagram.destination)
            else {
                panic!("IPv6 in an IPv4 capture");
            };
            let length = u16::try_from(datagram.payload.len()).unwrap();
            let identification = u16::from_be_bytes([datagram.header[4], datagram.header[5]]);
            let header = ipv4_header(
                source,
                destination,
                vrrp::PROTOCOL,
                length,
                255,
                0xc0,
                identification,
            );
            assert_eq!(header, datagram.header);
        }
    }
}

#[test]
fn version_3_over_ipv4_is_refused_where_only_the_rfc_9568_form_is_accepted() {
    for capture in [V3, V3_UNICAST, V3_VMAC] {
        for (_, datagram) in advertisements(&frames(capture)) {
            let refused = Packet::parse(datagram.payload, &endpoints(&datagram), RFC9568);
            assert_eq!(refused, Err(ParseError::Checksum));
            let either = Packet::parse(datagram.payload, &endpoints(&datagram), Accept::Either);
            assert_eq!(either.unwrap().checksum_form(), Some(ChecksumForm::Rfc5798));
        }
    }
}

#[test]
fn c26_every_flipped_bit_of_a_captured_advertisement_is_refused() {
    for expected in expected() {
        for (_, datagram) in advertisements(&frames(expected.capture)) {
            for bit in 0..datagram.payload.len() * 8 {
                let mut flipped = datagram.payload.to_vec();
                flipped[bit / 8] ^= 0x80 >> (bit % 8);
                let read = Packet::parse(&flipped, &endpoints(&datagram), expected.accept);
                assert!(read.is_err(), "bit {bit}: {read:?}");
            }
        }
    }
}

#[test]
fn c39_gratuitous_arp_is_written_as_keepalived_wrote_it() {
    for (capture, mac, vips) in [
        (V2, SENDER, &[100][..]),
        (V2_PASS, SENDER, &[100, 101]),
        (V3, SENDER, &[100]),
        (V3_UNICAST, SENDER, &[100]),
        (V3_VMAC, virtual_mac(), &[100]),
    ] {
        let captured: Vec<_> = frames(capture)
            .into_iter()
            .filter(|bytes| is_gratuitous_arp(bytes))
            .collect();
        let written: Vec<_> = vips
            .iter()
            .map(|host| {
                let vip = Ipv4Addr::new(10, 77, 0, *host);
                let form = GratuitousForm::Request;
                gratuitous_with_target(mac, vip, form, MacAddr::BROADCAST).to_vec()
            })
            .collect();
        assert_eq!(captured, written);
    }
}

#[test]
fn the_arp_of_linux_itself_is_read_and_is_not_gratuitous() {
    let packets: Vec<_> = frames(V3_UNICAST)
        .iter()
        .map(|bytes| Frame::parse(bytes).unwrap().payload)
        .filter_map(|payload| ArpPacket::parse(payload).ok())
        .filter(|packet| !packet.is_gratuitous())
        .map(|packet| {
            (
                u16::from(packet.operation),
                packet.sender_mac,
                packet.target_mac,
            )
        })
        .collect();
    let peer = MacAddr([2, 0, 0, 0, 0, 2]);
    assert_eq!(packets, [(1, SENDER, MacAddr([0; 6])), (2, peer, SENDER)]);
}

#[test]
fn c40_neighbour_advertisements_are_written_as_keepalived_wrote_them() {
    for (capture, vips) in [
        (V3_IPV6, &["fe80::100", "2001:db8::100"][..]),
        (V3_IPV6_UNICAST, &["fe80::100"]),
    ] {
        let captured: Vec<_> = frames(capture)
            .into_iter()
            .filter(|bytes| neighbor_advertisement(bytes).is_some_and(|read| !read.solicited))
            .collect();
        // The namespace did not forward: R is 0.
        let written: Vec<_> = vips
            .iter()
            .map(|vip| unsolicited_advertisement(SENDER, vip.parse().unwrap(), false).to_vec())
            .collect();
        assert_eq!(captured, written);
    }
}

#[test]
fn the_solicited_answer_of_linux_itself_is_read() {
    let frames = frames(V3_IPV6_UNICAST);
    let read = neighbor_advertisement(&frames[0]).unwrap();
    let expected = NeighborAdvertisement {
        router: false,
        solicited: true,
        override_: true,
        target: "fe80::2".parse().unwrap(),
        target_mac: Some(MacAddr([2, 0, 0, 0, 0, 2])),
    };
    assert_eq!(read, expected);
}

#[test]
fn every_captured_frame_is_of_a_known_kind() {
    for expected in expected() {
        let frames = frames(expected.capture);
        let known = frames.iter().filter(|bytes| {
            let frame = Frame::parse(bytes).unwrap();
            ArpPacket::parse(frame.payload).is_ok() || neighbor_advertisement(bytes).is_some()
        });
        assert_eq!(known.count() + advertisements(&frames).len(), frames.len());
    }
}

/// The frames of a capture.
fn frames(capture: &str) -> Vec<Vec<u8>> {
    let byte = |[high, low]: &[u8; 2]| {
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
        digit(*high) << 4 | digit(*low)
    };
    capture
        .lines()
        .map(|line| line.as_bytes().as_chunks().0.iter().map(byte).collect())
        .collect()
}

/// Those that carry VRRP.
fn advertisements(frames: &[Vec<u8>]) -> Vec<(Frame<'_>, Datagram<'_>)> {
    frames
        .iter()
        .map(|bytes| Frame::parse(bytes).unwrap())
        .filter(|frame| frame.ethertype != ethernet::ARP)
        .map(|frame| (frame, Datagram::parse(frame.payload).unwrap()))
        .filter(|(_, datagram)| datagram.protocol == vrrp::PROTOCOL)
        .collect()
}

fn is_gratuitous_arp(frame: &[u8]) -> bool {
    let frame = Frame::parse(frame).unwrap();
    frame.ethertype == ethernet::ARP && ArpPacket::parse(frame.payload).unwrap().is_gratuitous()
}

fn neighbor_advertisement(frame: &[u8]) -> Option<NeighborAdvertisement> {
    let frame = Frame::parse(frame)?;
    let datagram = Datagram::parse(frame.payload).ok()?;
    NeighborAdvertisement::parse(&datagram).ok()
}

fn endpoints(datagram: &Datagram<'_>) -> Endpoints {
    Endpoints::new(datagram.source, datagram.destination).unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn vrid() -> Vrid {
    Vrid::new(10).unwrap()
}

fn virtual_mac() -> MacAddr {
    MacAddr::of_virtual_router(Family::V4, vrid())
}
