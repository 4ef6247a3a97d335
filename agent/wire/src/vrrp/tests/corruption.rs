//! What a damaged message must not do: pass. Exhaustive over every golden message, for each checksum form alone.

use super::*;

/// Every kind of message, with the one form that takes it.
fn messages() -> Vec<(Vec<u8>, Endpoints, Accept)> {
    let mut messages: Vec<_> = [
        (V2, multicast(), RFC9568),
        (V2_RELEASE, multicast(), RFC5798),
        (V2_PASSWORD, multicast(), RFC9568),
        (V3_RFC9568, multicast(), RFC9568),
        (V3_RFC5798, multicast(), RFC5798),
        (V3_RFC5798_UNICAST, v4("10.77.0.1", "10.77.0.2"), RFC5798),
        (V3_IPV6, multicast_v6(), RFC9568),
        (V3_IPV6, multicast_v6(), RFC5798),
    ]
    .into_iter()
    .map(|(bytes, endpoints, accept)| (hex(bytes), endpoints, accept))
    .collect();
    messages.extend(long_messages());
    for (message, endpoints, accept) in &messages {
        assert!(Packet::parse(message, endpoints, *accept).is_ok());
    }
    messages
}

/// 20 addresses, an uneven interval, and a count with several bits set.
fn long_messages() -> Vec<(Vec<u8>, Endpoints, Accept)> {
    let list_v4: Vec<IpAddr> = (0..20)
        .map(|host| Ipv4Addr::new(192, 0, 2, host * 7).into())
        .collect();
    let list_v6: Vec<IpAddr> = (0..19)
        .map(|host| Ipv6Addr::new(0xfe80, 0, 0, host, 0, 0, 1, host * 99).into())
        .collect();
    let password = Some(*b"\xff\x00secret");
    let rfc9568 = Body::V3 {
        centiseconds: 0xabc,
        form: ChecksumForm::Rfc9568,
    };
    let rfc5798 = Body::V3 {
        centiseconds: 0x123,
        form: ChecksumForm::Rfc5798,
    };
    [
        (
            Body::V2 {
                seconds: 0xaa,
                password,
            },
            &list_v4,
            multicast(),
            RFC9568,
        ),
        (rfc9568, &list_v4, multicast(), RFC9568),
        (
            rfc5798,
            &list_v4,
            v4("172.31.255.1", "172.31.0.254"),
            RFC5798,
        ),
        (rfc9568, &list_v6, multicast_v6(), RFC9568),
    ]
    .into_iter()
    .map(|(body, addresses, endpoints, accept)| {
        let advertisement = Advertisement {
            vrid: vrid(0x5a),
            priority: 201,
            body,
            addresses,
        };
        (advertisement.to_vec(&endpoints).unwrap(), endpoints, accept)
    })
    .collect()
}

#[test]
fn c26_every_single_flipped_bit_is_refused() {
    for (message, endpoints, accept) in messages() {
        for bit in 0..message.len() * 8 {
            let mut flipped = message.clone();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            let read = Packet::parse(&flipped, &endpoints, accept);
            assert!(read.is_err(), "bit {bit} of {message:02x?}: {read:?}");
        }
    }
}

#[test]
fn c26_every_two_flipped_bits_of_one_byte_are_refused() {
    for (message, endpoints, accept) in messages() {
        for at in 0..message.len() {
            for pair in (0..=255_u8).filter(|pair| pair.count_ones() == 2) {
                let mut flipped = message.clone();
                flipped[at] ^= pair;
                let read = Packet::parse(&flipped, &endpoints, accept);
                assert!(
                    read.is_err(),
                    "{pair:#04x} in byte {at} of {message:02x?}: {read:?}"
                );
            }
        }
    }
}

#[test]
fn c26_a_flip_of_the_pseudo_headers_sum_passes_only_where_both_forms_are_accepted() {
    // From this address the pseudo-header sums to what bit 0 of a high byte, such as the priority's, is worth.
    let endpoints = v4("31.255.0.114", "224.0.0.18");
    assert_eq!(endpoints.pseudo_header(12).fold(), 0x0100);
    let mut message = hex(V3_RFC9568);
    message[2] = 101;
    let message = summed_again(message, &endpoints);
    let mut flipped = message;
    flipped[2] = 100;
    assert_eq!(
        Packet::parse(&flipped, &endpoints, RFC9568),
        Err(ParseError::Checksum)
    );
    let read = Packet::parse(&flipped, &endpoints, Accept::Either).unwrap();
    assert_eq!(read.checksum_form(), Some(ChecksumForm::Rfc5798));
}

#[test]
fn c71_every_truncation_is_refused_as_a_length() {
    for (message, endpoints, accept) in messages() {
        for length in 0..message.len() {
            let expected = if length < 8 { 8 } else { message.len() };
            for accept in [accept, Accept::Either] {
                assert_eq!(
                    Packet::parse(&message[..length], &endpoints, accept),
                    Err(ParseError::Length {
                        expected,
                        actual: length
                    })
                );
            }
        }
    }
}

#[test]
fn c71_every_extension_is_refused_as_a_length() {
    for (message, endpoints, accept) in messages() {
        for (extra, byte) in (1..=64).flat_map(|extra| [(extra, 0), (extra, 0xff), (extra, 0xa5)]) {
            let mut longer = message.clone();
            longer.resize(message.len() + extra, byte);
            assert_eq!(
                Packet::parse(&longer, &endpoints, accept),
                Err(ParseError::Length {
                    expected: message.len(),
                    actual: longer.len()
                })
            );
        }
    }
}

#[test]
fn c71_a_count_that_disagrees_with_the_length_is_refused_even_with_a_right_checksum() {
    for (message, endpoints, _) in messages() {
        for count in (0..=255).filter(|count| *count != message[3]) {
            let mut changed = message.clone();
            changed[3] = count;
            let changed = summed_again(changed, &endpoints);
            let read = Packet::parse(&changed, &endpoints, Accept::Either);
            assert!(
                matches!(read, Err(ParseError::Length { .. })),
                "{count}: {read:?}"
            );
        }
    }
}

#[test]
fn c71_two_swapped_addresses_are_the_only_reordering_a_checksum_allows() {
    // The sum does not see order: a receiver that compares lists has to.
    let list = addresses(&["10.77.0.1", "10.77.0.2"]);
    let body = Body::V3 {
        centiseconds: 100,
        form: ChecksumForm::Rfc9568,
    };
    let advertisement = Advertisement {
        vrid: vrid(1),
        priority: 1,
        body,
        addresses: &list,
    };
    let mut message = advertisement.to_vec(&multicast()).unwrap();
    message[8..].rotate_left(4);
    let read = Packet::parse(&message, &multicast(), RFC9568).unwrap();
    assert_eq!(
        read.addresses().collect::<Vec<_>>(),
        addresses(&["10.77.0.2", "10.77.0.1"])
    );
}
