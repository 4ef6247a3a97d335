use proptest::prelude::*;

use super::*;
use crate::arbitrary;

/// `ip_datagram` of an advertisement as a real sender makes it is in `tests/keepalived.rs`; these are made by hand.
fn v4_datagram(payload: &[u8]) -> Vec<u8> {
    let mut bytes = ipv4_header(
        Ipv4Addr::new(10, 77, 0, 1),
        Ipv4Addr::new(224, 0, 0, 18),
        112,
        payload.len() as u16,
        255,
        0xc0,
        0x1234,
    )
    .to_vec();
    bytes.extend(payload);
    bytes
}

fn v6_datagram(payload: &[u8]) -> Vec<u8> {
    let source = "fe80::1".parse().unwrap();
    let destination = "ff02::12".parse().unwrap();
    let mut bytes = ipv6_header(source, destination, 112, payload.len() as u16, 255, 0xc0).to_vec();
    bytes.extend(payload);
    bytes
}

/// `bytes`, whose first 20 are an IPv4 header, with its checksum made right again.
fn summed_again(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[10..12].fill(0);
    let header_len = usize::from(bytes[0] & 0x0f) * 4;
    let checksum = Sum::new()
        .bytes(&bytes[..header_len.min(bytes.len())])
        .checksum();
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[test]
fn an_ipv4_datagram_is_read_field_by_field() {
    let bytes = v4_datagram(b"vrrp");
    let datagram = Datagram::parse(&bytes).unwrap();
    assert_eq!(
        datagram,
        Datagram {
            source: "10.77.0.1".parse().unwrap(),
            destination: "224.0.0.18".parse().unwrap(),
            protocol: 112,
            ttl: 255,
            header: &bytes[..20],
            payload: b"vrrp",
        }
    );
}

#[test]
fn an_ipv4_header_has_the_bytes_of_rfc_791() {
    let header = ipv4_header(
        Ipv4Addr::new(192, 168, 0, 1),
        Ipv4Addr::new(192, 168, 0, 199),
        17,
        95,
        64,
        0,
        0,
    );
    // The worked example of the header checksum that textbooks share, without its DF flag.
    assert_eq!(
        header,
        [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x00, 0x00, 0x40, 0x11, 0xf8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7
        ]
    );
}

#[test]
fn an_ipv6_datagram_is_read_field_by_field() {
    let bytes = v6_datagram(b"vrrp");
    let datagram = Datagram::parse(&bytes).unwrap();
    assert_eq!(
        datagram,
        Datagram {
            source: "fe80::1".parse().unwrap(),
            destination: "ff02::12".parse().unwrap(),
            protocol: 112,
            ttl: 255,
            header: &bytes[..40],
            payload: b"vrrp",
        }
    );
}

#[test]
fn an_ipv6_header_has_the_bytes_of_rfc_8200() {
    let header = ipv6_header(
        "fe80::1".parse().unwrap(),
        "ff02::12".parse().unwrap(),
        58,
        0x1234,
        64,
        0xc5,
    );
    let mut expected = vec![0x6c, 0x50, 0, 0, 0x12, 0x34, 58, 64];
    expected.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12]);
    assert_eq!(header[..], expected);
}

#[test]
fn c71_link_layer_padding_is_cut_off() {
    for mut bytes in [v4_datagram(b"vrrp"), v6_datagram(b"vrrp")] {
        bytes.extend([0xa5; 18]);
        assert_eq!(Datagram::parse(&bytes).unwrap().payload, b"vrrp");
    }
}

#[test]
fn options_belong_to_the_header() {
    let mut bytes = v4_datagram(b"");
    bytes[0] = 0x46;
    bytes[3] = 28;
    bytes.extend([0x94, 0x04, 0x00, 0x00]); // router alert
    bytes.extend(b"vrrp");
    let bytes = summed_again(bytes);
    let datagram = Datagram::parse(&bytes).unwrap();
    assert_eq!(
        (datagram.header, datagram.payload),
        (&bytes[..24], &b"vrrp"[..])
    );
}

#[test]
fn c71_every_truncation_is_refused() {
    for bytes in [v4_datagram(b"vrrp"), v6_datagram(b"vrrp")] {
        for length in 0..bytes.len() {
            let error = Datagram::parse(&bytes[..length]).unwrap_err();
            assert!(
                matches!(error, DatagramError::Truncated { expected, actual } if actual == length && expected > length),
                "{length}: {error}"
            );
        }
    }
}

#[test]
fn other_versions_are_refused() {
    for version in (0..16).filter(|version| *version != 4 && *version != 6) {
        let mut bytes = v4_datagram(b"vrrp");
        bytes[0] = version << 4 | 5;
        assert_eq!(
            Datagram::parse(&bytes),
            Err(DatagramError::Version(version))
        );
    }
}

#[test]
fn an_ipv4_header_below_five_words_is_refused() {
    for words in 0..5 {
        let mut bytes = v4_datagram(b"vrrp");
        bytes[0] = 0x40 | words;
        assert_eq!(
            Datagram::parse(&bytes),
            Err(DatagramError::HeaderLength(words))
        );
    }
}

#[test]
fn an_ipv4_total_length_within_the_header_is_refused() {
    for total in 0..20 {
        let mut bytes = v4_datagram(b"vrrp");
        bytes[2..4].copy_from_slice(&u16::to_be_bytes(total));
        let bytes = summed_again(bytes);
        assert_eq!(
            Datagram::parse(&bytes),
            Err(DatagramError::TotalLength(total))
        );
    }
}

#[test]
fn fragments_are_refused_and_dont_fragment_is_not_one() {
    let with_flags = |flags: u16| {
        let mut bytes = v4_datagram(b"vrrp");
        bytes[6..8].copy_from_slice(&flags.to_be_bytes());
        summed_again(bytes)
    };
    for fragment in [0x2000, 0x0001, 0x1000, 0x3fff] {
        assert_eq!(
            Datagram::parse(&with_flags(fragment)),
            Err(DatagramError::Fragment)
        );
    }
    assert!(Datagram::parse(&with_flags(0x4000)).is_ok());
}

#[test]
fn every_flipped_bit_of_an_ipv4_header_is_refused() {
    let bytes = v4_datagram(b"vrrp");
    for bit in 0..20 * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        assert!(Datagram::parse(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn extension_headers_are_not_walked() {
    let mut bytes = v6_datagram(&[112, 0, 1, 4, 0, 0, 0, 0]);
    bytes[6] = 0; // hop-by-hop options
    let datagram = Datagram::parse(&bytes).unwrap();
    assert_eq!((datagram.protocol, datagram.payload.len()), (0, 8));
}

#[test]
fn the_longest_payload_fits_and_a_longer_one_stays_at_the_largest_length() {
    let any = Ipv4Addr::new(192, 0, 2, 1);
    for payload_len in [IPV4_MAX_PAYLOAD, IPV4_MAX_PAYLOAD + 1, u16::MAX] {
        let header = ipv4_header(any, any, 112, payload_len, 255, 0, 0);
        assert_eq!(header[2..4], [0xff, 0xff]);
        assert!(Sum::new().bytes(&header).is_valid());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in arbitrary::bytes(0, 120)) {
        if let Ok(datagram) = Datagram::parse(&bytes) {
            prop_assert!(datagram.header.len() + datagram.payload.len() <= bytes.len());
        }
    }

    #[test]
    fn almost_right_headers_never_panic_and_never_reach_beyond_the_bytes(
        first in prop_oneof![0x40..=0x4f_u8, 0x60..=0x6f_u8],
        mut bytes in arbitrary::bytes(20, 120),
        length in 0..140_u16,
    ) {
        bytes[0] = first;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[6] = 0;
        bytes[7] = 0;
        let bytes = if first < 0x60 { summed_again(bytes) } else { bytes };
        if let Ok(datagram) = Datagram::parse(&bytes) {
            prop_assert!(datagram.header.len() + datagram.payload.len() <= bytes.len());
        }
    }

    #[test]
    fn a_header_that_is_sent_is_read_back(
        source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, ttl: u8, tos: u8, identification: u16,
        payload in arbitrary::bytes(0, 60),
    ) {
        let mut bytes = ipv4_header(
            source, destination, protocol, payload.len() as u16, ttl, tos, identification,
        ).to_vec();
        bytes.extend(&payload);
        let datagram = Datagram::parse(&bytes).unwrap();
        prop_assert_eq!(datagram.source, IpAddr::V4(source));
        prop_assert_eq!(datagram.destination, IpAddr::V4(destination));
        prop_assert_eq!((datagram.protocol, datagram.ttl, datagram.payload), (protocol, ttl, &payload[..]));
        prop_assert_eq!((bytes[1], &bytes[4..6]), (tos, &identification.to_be_bytes()[..]));
    }

    #[test]
    fn an_ipv6_header_that_is_sent_is_read_back(
        source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, ttl: u8, class: u8,
        payload in arbitrary::bytes(0, 60),
    ) {
        let mut bytes =
            ipv6_header(source, destination, protocol, payload.len() as u16, ttl, class).to_vec();
        bytes.extend(&payload);
        let datagram = Datagram::parse(&bytes).unwrap();
        prop_assert_eq!(datagram.source, IpAddr::V6(source));
        prop_assert_eq!(datagram.destination, IpAddr::V6(destination));
        prop_assert_eq!((datagram.protocol, datagram.ttl, datagram.payload), (protocol, ttl, &payload[..]));
    }
}
