use proptest::prelude::*;

use super::*;
use crate::arbitrary;
use crate::{Family, Vrid};

/// R and O set, 2001:db8::100 at the virtual MAC address of VRID 10; computed apart from this code.
const GOLDEN: [u8; 32] = [
    0x88, 0x00, 0x19, 0x23, 0xa0, 0x00, 0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x02, 0x01, 0x00, 0x00, 0x5e, 0x00, 0x02, 0x0a,
];

fn vip() -> Ipv6Addr {
    "2001:db8::100".parse().unwrap()
}

/// 00:00:5e:00:02:0a.
fn virtual_mac() -> MacAddr {
    MacAddr::of_virtual_router(Family::V6, Vrid::new(10).unwrap())
}

/// A datagram to all nodes around `message`.
fn datagram(message: &[u8]) -> Datagram<'_> {
    Datagram {
        source: vip().into(),
        destination: ALL_NODES.into(),
        protocol: PROTOCOL,
        ttl: HOP_LIMIT,
        header: &[],
        payload: message,
    }
}

/// `message` with its checksum made right again for `destination`.
fn summed_again(mut message: Vec<u8>, destination: Ipv6Addr) -> Vec<u8> {
    message[2..4].fill(0);
    let checksum = pseudo_header(vip(), destination, message.len())
        .bytes(&message)
        .checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

fn with_byte(at: usize, value: u8) -> Vec<u8> {
    let mut message = GOLDEN.to_vec();
    message[at] = value;
    summed_again(message, ALL_NODES)
}

#[test]
fn c40_the_advertisement_has_the_golden_bytes_from_the_vip_to_all_nodes() {
    let frame = unsolicited_advertisement(virtual_mac(), vip(), true);
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(frame[6..12], virtual_mac().0);
    assert_eq!(frame[12..14], [0x86, 0xdd]);
    assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255]);
    assert_eq!(frame[22..38], vip().octets());
    assert_eq!(frame[38..54], ALL_NODES.octets());
    assert_eq!(frame[54..], GOLDEN);
}

#[test]
fn c40_router_and_override_are_set_and_solicited_is_not() {
    let frame = unsolicited_advertisement(virtual_mac(), vip(), true);
    let datagram = Datagram::parse(ethernet::Frame::parse(&frame).unwrap().payload).unwrap();
    let expected = NeighborAdvertisement {
        router: true,
        solicited: false,
        override_: true,
        target: vip(),
        target_mac: Some(virtual_mac()),
    };
    assert_eq!(NeighborAdvertisement::parse(&datagram), Ok(expected));
}

/// The checksum was computed apart from this code.
#[test]
#[rustfmt::skip]
fn a_probe_asks_the_solicited_node_group_and_comes_from_nobody() {
    let frame = probe(virtual_mac(), vip());
    assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x00, 0x01, 0x00]);
    assert_eq!(frame[6..12], virtual_mac().0);
    assert_eq!(frame[12..14], [0x86, 0xdd]);
    assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 24, 58, 255]);
    assert_eq!(frame[22..38], [0; 16]);
    assert_eq!(frame[38..54], [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x00, 0x01, 0x00]);
    assert_eq!(frame[54..62], [0x87, 0x00, 0x4a, 0xef, 0, 0, 0, 0]);
    assert_eq!(frame[62..], vip().octets());
}

#[test]
fn a_host_that_does_not_forward_says_so() {
    let frame = unsolicited_advertisement(virtual_mac(), vip(), false);
    assert_eq!(frame[58], 0x20);
    let datagram = Datagram::parse(&frame[14..]).unwrap();
    let advertisement = NeighborAdvertisement::parse(&datagram).unwrap();
    assert!(!advertisement.router && advertisement.override_);
}

#[test]
fn all_nodes_have_the_multicast_address_of_rfc_2464() {
    assert_eq!(ethernet::multicast(ALL_NODES.into()), Some(ALL_NODES_MAC));
}

#[test]
fn every_flipped_bit_is_refused() {
    for bit in 0..GOLDEN.len() * 8 {
        let mut flipped = GOLDEN;
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        assert!(
            NeighborAdvertisement::parse(&datagram(&flipped)).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn every_truncation_is_refused() {
    for length in 1..24 {
        let refused = NeighborAdvertisement::parse(&datagram(&GOLDEN[..length]));
        assert_eq!(refused, Err(NdpError::Truncated(length)));
    }
    assert_eq!(
        NeighborAdvertisement::parse(&datagram(&[])),
        Err(NdpError::Kind)
    );
    for length in 24..GOLDEN.len() {
        let refused = NeighborAdvertisement::parse(&datagram(&GOLDEN[..length]));
        assert_eq!(refused, Err(NdpError::Checksum));
    }
}

#[test]
fn what_a_router_could_have_forwarded_is_refused() {
    for ttl in [0, 1, 64, 254] {
        let far = Datagram {
            ttl,
            ..datagram(&GOLDEN)
        };
        assert_eq!(
            NeighborAdvertisement::parse(&far),
            Err(NdpError::HopLimit(ttl))
        );
    }
}

#[test]
fn other_protocols_messages_and_families_are_no_neighbour_advertisements() {
    let vrrp = Datagram {
        protocol: 112,
        ..datagram(&GOLDEN)
    };
    let v4: IpAddr = "10.77.0.1".parse().unwrap();
    let over_v4 = Datagram {
        source: v4,
        destination: v4,
        ..datagram(&GOLDEN)
    };
    let solicitation = with_byte(0, 135);
    for datagram in [vrrp, over_v4, datagram(&solicitation)] {
        assert_eq!(NeighborAdvertisement::parse(&datagram), Err(NdpError::Kind));
    }
}

#[test]
fn a_code_and_a_multicast_target_are_refused() {
    let refused = NeighborAdvertisement::parse(&datagram(&with_byte(1, 7))).unwrap_err();
    assert_eq!(refused, NdpError::Code(7));
    let refused = NeighborAdvertisement::parse(&datagram(&with_byte(8, 0xff))).unwrap_err();
    assert!(matches!(refused, NdpError::Target(target) if target.is_multicast()));
}

#[test]
fn a_solicited_advertisement_is_unicast() {
    let to_all = with_byte(4, 0x60);
    let refused = NeighborAdvertisement::parse(&datagram(&to_all));
    assert_eq!(refused, Err(NdpError::SolicitedMulticast));

    let destination = "2001:db8::2".parse().unwrap();
    let to_one = summed_again(to_all, destination);
    let unicast = Datagram {
        destination: destination.into(),
        ..datagram(&to_one)
    };
    let advertisement = NeighborAdvertisement::parse(&unicast).unwrap();
    assert!(advertisement.solicited && advertisement.override_ && !advertisement.router);
}

#[test]
fn an_advertisement_may_lack_a_link_layer_address_or_carry_other_options() {
    let with_options = |options: &[u8]| {
        let message = [&GOLDEN[..24], options].concat();
        let message = summed_again(message, ALL_NODES);
        NeighborAdvertisement::parse(&datagram(&message)).map(|read| read.target_mac)
    };
    assert_eq!(with_options(&[]), Ok(None));
    // Nonce (RFC 3971), then the address; an address of 14 bytes, as on InfiniBand.
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let nonce_first = [&nonce[..], &GOLDEN[24..]].concat();
    assert_eq!(with_options(&nonce_first), Ok(Some(virtual_mac())));
    assert_eq!(with_options(&[&[2, 2][..], &[0; 14]].concat()), Ok(None));
    // The first of two addresses counts.
    let second = [&GOLDEN[24..], &[2, 1, 9, 9, 9, 9, 9, 9]].concat();
    assert_eq!(with_options(&second), Ok(Some(virtual_mac())));
    // No length, beyond the end, cut short, half a header.
    for wrong in [
        &[2, 0, 0, 0, 0, 0, 0, 0][..],
        &[2, 2, 0, 0, 0, 0, 0, 0],
        &[2, 1, 0, 0],
        &[2],
    ] {
        assert_eq!(with_options(wrong), Err(NdpError::Option), "{wrong:?}");
    }
    let wrong_second = [&GOLDEN[24..], &[14, 0]].concat();
    assert_eq!(with_options(&wrong_second), Err(NdpError::Option));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn arbitrary_bytes_never_panic(
        protocol in prop_oneof![Just(PROTOCOL), any::<u8>()],
        bytes in arbitrary::bytes(0, 80),
    ) {
        let datagram = Datagram { protocol, ..datagram(&bytes) };
        if NeighborAdvertisement::parse(&datagram).is_ok() {
            prop_assert!(bytes.len() >= 24);
        }
    }

    #[test]
    fn arbitrary_options_of_a_well_summed_message_never_panic(
        flags: u8,
        target: u128,
        options in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..24),
    ) {
        let message = [&[136, 0, 0, 0, flags, 0, 0, 0][..], &target.to_be_bytes(), &options].concat();
        let message = summed_again(message, ALL_NODES);
        if let Ok(read) = NeighborAdvertisement::parse(&datagram(&message)) {
            prop_assert_eq!(read.target.to_bits(), target);
        }
    }

    #[test]
    fn what_is_announced_is_read_back(mac: [u8; 6], address: Ipv6Addr, router: bool) {
        prop_assume!(!address.is_multicast());
        let frame = unsolicited_advertisement(MacAddr(mac), address, router);
        let datagram = Datagram::parse(&frame[14..]).unwrap();
        prop_assert_eq!(datagram.source, IpAddr::V6(address));
        let read = NeighborAdvertisement::parse(&datagram).unwrap();
        let expected = NeighborAdvertisement {
            router, solicited: false, override_: true, target: address, target_mac: Some(MacAddr(mac)),
        };
        prop_assert_eq!(read, expected);
    }
}
