//! Requirements of RFC 9568, its errata and RFC 3768 that concern bytes, each named after its id.

use super::*;

fn read(message: &[u8]) -> Result<Packet<'_>, ParseError> {
    Packet::parse(message, &multicast(), RFC9568)
}

#[test]
fn c11_a_version_other_than_2_and_3_is_refused() {
    for version in (0..16).filter(|version| *version != 2 && *version != 3) {
        for message in [V2, V3_RFC9568] {
            let message = with_byte(message, 0, version << 4 | 1);
            assert_eq!(read(&message), Err(ParseError::Version(version)));
        }
    }
}

#[test]
fn c11_c102_the_version_is_told_so_that_a_group_can_refuse_the_other() {
    assert_eq!(read(&hex(V2)).unwrap().version(), Version::V2);
    assert_eq!(read(&hex(V3_RFC9568)).unwrap().version(), Version::V3);
}

#[test]
fn c11_a_message_relabelled_as_the_other_version_is_refused() {
    let as_v2 = with_byte(V3_RFC9568, 0, 0x21);
    assert_eq!(
        read(&as_v2),
        Err(ParseError::Length {
            expected: 20,
            actual: 12
        })
    );
    let as_v3 = with_byte(V2, 0, 0x31);
    assert_eq!(
        read(&as_v3),
        Err(ParseError::Length {
            expected: 12,
            actual: 20
        })
    );
}

#[test]
fn c12_a_type_other_than_1_is_refused() {
    for kind in (0..16).filter(|kind| *kind != 1) {
        let v2 = with_byte(V2, 0, 0x20 | kind);
        let v3 = with_byte(V3_RFC9568, 0, 0x30 | kind);
        assert_eq!(read(&v2), Err(ParseError::Type(kind)));
        assert_eq!(read(&v3), Err(ParseError::Type(kind)));
    }
}

#[test]
fn c13_every_vrid_but_0_is_read() {
    for id in 1..=255 {
        assert_eq!(read(&with_byte(V2, 1, id)).unwrap().vrid(), vrid(id));
        assert_eq!(
            read(&with_byte(V3_RFC9568, 1, id)).unwrap().vrid(),
            vrid(id)
        );
    }
    assert_eq!(read(&with_byte(V2, 1, 0)), Err(ParseError::VridZero));
    assert_eq!(
        read(&with_byte(V3_RFC9568, 1, 0)),
        Err(ParseError::VridZero)
    );
}

#[test]
fn c14_c17_every_priority_is_carried_from_release_to_owner() {
    let list = addresses(&["10.77.0.100"]);
    for priority in 0..=255 {
        for body in [
            Body::V2 {
                seconds: 1,
                password: None,
            },
            Body::V3 {
                centiseconds: 1,
                form: ChecksumForm::Rfc9568,
            },
        ] {
            let advertisement = Advertisement {
                vrid: vrid(1),
                priority,
                body,
                addresses: &list,
            };
            let message = advertisement.to_vec(&multicast()).unwrap();
            assert_eq!(
                (message[2], read(&message).unwrap().priority()),
                (priority, priority)
            );
        }
    }
}

#[test]
fn c18_a_count_of_zero_is_refused_in_both_versions() {
    let v3 = summed_again(hex("310a640000640000"), &multicast());
    assert_eq!(read(&v3), Err(ParseError::NoAddresses));
    let v2 = summed_again(hex("210a6400000100000000000000000000"), &multicast());
    assert_eq!(read(&v2), Err(ParseError::NoAddresses));
    let v6 = summed_again(hex("310a640000640000"), &multicast_v6());
    let read_v6 = Packet::parse(&v6, &multicast_v6(), Accept::Either);
    assert_eq!(read_v6, Err(ParseError::NoAddresses));
}

#[test]
fn c19_the_reserved_bits_are_sent_as_zero() {
    let list = addresses(&["10.77.0.100"]);
    for centiseconds in 1..=4095 {
        let body = Body::V3 {
            centiseconds,
            form: ChecksumForm::Rfc9568,
        };
        let advertisement = Advertisement {
            vrid: vrid(1),
            priority: 1,
            body,
            addresses: &list,
        };
        assert_eq!(advertisement.to_vec(&multicast()).unwrap()[4] & 0xf0, 0);
    }
}

#[test]
fn c20_the_reserved_bits_are_ignored() {
    for reserved in 0..16 {
        let message = with_byte(V3_RFC9568, 4, reserved << 4);
        assert_eq!(read(&message).unwrap().interval(), Duration::from_secs(1));
    }
}

#[test]
fn c21_every_interval_of_12_bits_is_carried_in_centiseconds() {
    let list = addresses(&["10.77.0.100"]);
    for centiseconds in 1..=4095 {
        let body = Body::V3 {
            centiseconds,
            form: ChecksumForm::Rfc9568,
        };
        let advertisement = Advertisement {
            vrid: vrid(1),
            priority: 1,
            body,
            addresses: &list,
        };
        let message = advertisement.to_vec(&multicast()).unwrap();
        let interval = Duration::from_millis(10 * u64::from(centiseconds));
        assert_eq!(message[4..6], centiseconds.to_be_bytes());
        assert_eq!(read(&message).unwrap().interval(), interval);
    }
}

#[test]
fn c23_an_interval_of_zero_is_told_as_zero_for_the_receiver_to_refuse() {
    assert_eq!(
        read(&with_byte(V3_RFC9568, 5, 0)).unwrap().interval(),
        Duration::ZERO
    );
    assert_eq!(
        read(&with_byte(V2, 5, 0)).unwrap().interval(),
        Duration::ZERO
    );
}

#[test]
fn c24_the_checksum_over_ipv4_covers_the_message_alone() {
    let message = hex(V3_RFC9568);
    for endpoints in [
        multicast(),
        v4("192.0.2.1", "198.51.100.7"),
        v4("0.0.0.0", "0.0.0.0"),
    ] {
        assert!(Packet::parse(&message, &endpoints, RFC9568).is_ok());
    }
    assert_eq!(read(&hex(V3_RFC5798)), Err(ParseError::Checksum));
}

#[test]
fn c24_the_form_with_a_pseudo_header_covers_source_destination_and_length() {
    let message = hex(V3_RFC5798);
    assert!(Packet::parse(&message, &multicast(), RFC5798).is_ok());
    for endpoints in [v4("10.77.0.2", "224.0.0.18"), v4("10.77.0.1", "10.77.0.2")] {
        let refused = Packet::parse(&message, &endpoints, RFC5798);
        assert_eq!(refused, Err(ParseError::Checksum));
    }
}

#[test]
fn c25_the_checksum_over_ipv6_covers_the_pseudo_header() {
    let message = hex(V3_IPV6);
    for accept in [RFC9568, RFC5798, Accept::Either] {
        assert!(Packet::parse(&message, &multicast_v6(), accept).is_ok());
        for (source, destination) in [("fe80::2", "ff02::12"), ("fe80::1", "fe80::2")] {
            let endpoints = Endpoints::V6 {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
            };
            let refused = Packet::parse(&message, &endpoints, accept);
            assert_eq!(refused, Err(ParseError::Checksum));
        }
        let mut alone = message.clone();
        alone[6..8].fill(0);
        let checksum = Sum::new().bytes(&alone).checksum();
        alone[6..8].copy_from_slice(&checksum.to_be_bytes());
        let refused = Packet::parse(&alone, &multicast_v6(), accept);
        assert_eq!(refused, Err(ParseError::Checksum));
    }
}

#[test]
fn c25_the_pseudo_header_has_a_length_of_32_bits_and_next_header_112() {
    let mut bytes = Vec::new();
    bytes.extend(hex("fe800000000000000000000000000001"));
    bytes.extend(hex("ff020000000000000000000000000012"));
    bytes.extend(hex("0000002800000070"));
    bytes.extend(hex(V3_IPV6));
    assert!(Sum::new().bytes(&bytes).is_valid());
    let message_sum = Sum::new().bytes(&hex(V3_IPV6));
    assert_eq!(
        multicast_v6()
            .pseudo_header(0x28)
            .bytes(&hex(V3_IPV6))
            .fold(),
        Sum::new()
            .bytes(&bytes[..40])
            .word(message_sum.fold())
            .fold()
    );
}

#[test]
fn c27_addresses_are_read_in_the_family_of_the_datagram() {
    // 16 bytes: four addresses over IPv4, one over IPv6.
    let message = hex("310a6404006400000a4d00640a4d00650a4d00660a4d0067");
    let over_v4 = summed_again(message.clone(), &multicast());
    let read_v4 = read(&over_v4).unwrap();
    assert!(read_v4.addresses().all(|address| address.is_ipv4()));
    assert_eq!(read_v4.address_count(), 4);

    let mut message = message;
    message[3] = 1;
    let over_v6 = summed_again(message, &multicast_v6());
    let read_v6 = Packet::parse(&over_v6, &multicast_v6(), RFC9568).unwrap();
    let expected = addresses(&["a4d:64:a4d:65:a4d:66:a4d:67"]);
    assert_eq!(read_v6.addresses().collect::<Vec<_>>(), expected);
}

#[test]
fn c27_endpoints_of_two_families_do_not_exist() {
    let v4: IpAddr = "10.77.0.1".parse().unwrap();
    let v6: IpAddr = "fe80::1".parse().unwrap();
    assert_eq!(Endpoints::new(v4, v6), None);
    assert_eq!(Endpoints::new(v6, v4), None);
    assert_eq!(Endpoints::new(v4, GROUP_V4.into()), Some(multicast()));
    assert_eq!(Endpoints::new(v6, GROUP_V6.into()), Some(multicast_v6()));
}

#[test]
fn c28_c30_addresses_are_sent_and_read_in_their_order() {
    for list in [
        addresses(&["fe80::100", "2001:db8::2", "2001:db8::1"]),
        addresses(&["2001:db8::1", "fe80::100", "2001:db8::1"]),
    ] {
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
        let message = advertisement.to_vec(&multicast_v6()).unwrap();
        let packet = Packet::parse(&message, &multicast_v6(), RFC9568).unwrap();
        assert!(packet.addresses().eq(list));
    }
}

#[test]
fn c29_a_first_address_that_is_not_link_local_is_well_formed() {
    // keepalived sends such lists by default: the election counts them, and refuses them only when strict.
    let list = addresses(&["2001:db8::100"]);
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
    let message = advertisement.to_vec(&multicast_v6()).unwrap();
    assert!(Packet::parse(&message, &multicast_v6(), RFC9568).is_ok());
}

#[test]
fn c81_the_virtual_mac_addresses_have_the_bytes_of_the_rfc() {
    for id in 1..=255 {
        let v4 = crate::MacAddr::of_virtual_router(Family::V4, vrid(id));
        let v6 = crate::MacAddr::of_virtual_router(Family::V6, vrid(id));
        assert_eq!(v4.0, [0x00, 0x00, 0x5e, 0x00, 0x01, id]);
        assert_eq!(v6.0, [0x00, 0x00, 0x5e, 0x00, 0x02, id]);
    }
    let v4 = crate::MacAddr::of_virtual_router(Family::V4, vrid(10));
    assert_eq!(v4.to_string(), "00:00:5e:00:01:0a");
}

#[test]
fn c101_version_3_carries_no_authentication() {
    assert_eq!(read(&hex(V3_RFC9568)).unwrap().authentication(), None);
}

#[test]
fn c102_version_2_over_ipv6_is_refused() {
    let message = hex(V2);
    let refused = Packet::parse(&message, &multicast_v6(), Accept::Either);
    assert_eq!(refused, Err(ParseError::Version(2)));
}

#[test]
fn c103_every_authentication_type_is_told_with_its_data_for_the_receiver_to_compare() {
    for kind in 0..=255 {
        let message = with_byte(V2_PASSWORD, 4, kind);
        let authentication = read(&message).unwrap().authentication();
        assert_eq!(authentication, Some((kind, *b"1234\0\0\0\0")));
    }
}

#[test]
fn c104_the_interval_of_version_2_is_in_whole_seconds() {
    for seconds in 1..=255 {
        let message = with_byte(V2, 5, seconds);
        assert_eq!(
            read(&message).unwrap().interval(),
            Duration::from_secs(seconds.into())
        );
    }
}

#[test]
fn c105_the_checksum_of_version_2_covers_the_authentication_data_and_no_pseudo_header() {
    for message in [V2, V2_PASSWORD] {
        assert!(Sum::new().bytes(&hex(message)).is_valid());
        for endpoints in [multicast(), v4("192.0.2.1", "198.51.100.7")] {
            for accept in [RFC9568, RFC5798, Accept::Either] {
                assert!(Packet::parse(&hex(message), &endpoints, accept).is_ok());
            }
        }
        for at in 12..20 {
            let mut changed = hex(message);
            changed[at] ^= 0xff;
            assert_eq!(read(&changed), Err(ParseError::Checksum));
        }
    }
}

#[test]
fn c106_authentication_data_of_type_0_is_sent_as_zeros_and_ignored() {
    let list = addresses(&["10.77.0.100"]);
    let body = Body::V2 {
        seconds: 1,
        password: None,
    };
    let advertisement = Advertisement {
        vrid: vrid(10),
        priority: 100,
        body,
        addresses: &list,
    };
    assert_eq!(advertisement.to_vec(&multicast()).unwrap()[12..], [0; 8]);
    let message = with_byte(V2, 19, 0xff);
    assert_eq!(
        read(&message).unwrap().authentication(),
        Some((0, [0, 0, 0, 0, 0, 0, 0, 0xff]))
    );
}

#[test]
fn errors_come_in_their_order() {
    // Everything wrong at once; then one fault after the other is mended.
    let mut message = hex("42006400006400010a");
    let mut expect = |error, at: usize, mended| {
        assert_eq!(read(&message), Err(error));
        message[at] = mended;
    };
    expect(ParseError::Version(4), 0, 0x32);
    expect(ParseError::Type(2), 0, 0x31);
    expect(
        ParseError::Length {
            expected: 8,
            actual: 9,
        },
        8,
        0,
    );
    message.truncate(8);
    assert_eq!(read(&message), Err(ParseError::NoAddresses));
    message[3] = 1;
    message.extend([10, 77, 0, 100]);
    assert_eq!(read(&message), Err(ParseError::Checksum));
    let message = summed_again(message, &multicast());
    assert_eq!(read(&message), Err(ParseError::VridZero));
}

#[test]
fn below_8_bytes_there_is_no_header() {
    let message = hex(V3_RFC9568);
    for length in 0..8 {
        assert_eq!(Header::peek(&message[..length]), None);
    }
    assert!(Header::peek(&message[..8]).is_some());
}

#[test]
fn the_iterator_knows_its_length() {
    let message = hex(V3_IPV6);
    let packet = Packet::parse(&message, &multicast_v6(), RFC9568).unwrap();
    let mut list = packet.addresses();
    let again = list.clone();
    for left in [2, 1] {
        assert_eq!(list.len(), left);
        assert!(list.next().is_some());
    }
    assert_eq!((list.len(), list.next()), (0, None));
    assert_eq!(again.count(), 2);
}
