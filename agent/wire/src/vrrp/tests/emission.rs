//! The contract of writing: every byte, only with legal values, and nothing with an error.

use super::*;

const RFC9568_BODY: Body = Body::V3 {
    centiseconds: 100,
    form: ChecksumForm::Rfc9568,
};
const RFC5798_BODY: Body = Body::V3 {
    centiseconds: 100,
    form: ChecksumForm::Rfc5798,
};
const V2_BODY: Body = Body::V2 {
    seconds: 1,
    password: None,
};

fn advertisement(body: Body, addresses: &[IpAddr]) -> Advertisement<'_> {
    Advertisement {
        vrid: vrid(10),
        priority: 100,
        body,
        addresses,
    }
}

/// The error, which must have left the buffer as it was.
fn refused(advertisement: &Advertisement<'_>, endpoints: &Endpoints) -> EmitError {
    let mut buffer = vec![0xa5; advertisement.buffer_len()];
    let error = advertisement.emit(endpoints, &mut buffer).unwrap_err();
    assert!(
        buffer.iter().all(|byte| *byte == 0xa5),
        "{error}: {buffer:02x?}"
    );
    assert_eq!(advertisement.to_vec(endpoints), Err(error));
    error
}

#[test]
fn every_byte_is_written_whatever_the_buffer_held() {
    let list_v4 = addresses(&["10.77.0.100", "10.77.0.101"]);
    let list_v6 = addresses(&["fe80::100", "2001:db8::100"]);
    let password = Body::V2 {
        seconds: 255,
        password: Some(*b"12345678"),
    };
    for (body, list, endpoints) in [
        (V2_BODY, &list_v4, multicast()),
        (password, &list_v4, multicast()),
        (RFC9568_BODY, &list_v4, multicast()),
        (RFC5798_BODY, &list_v4, multicast()),
        (RFC9568_BODY, &list_v6, multicast_v6()),
    ] {
        let advertisement = advertisement(body, list);
        let mut first = vec![0xa5; advertisement.buffer_len()];
        let mut second = vec![0x5a; advertisement.buffer_len()];
        advertisement.emit(&endpoints, &mut first).unwrap();
        advertisement.emit(&endpoints, &mut second).unwrap();
        assert_eq!(first, second);
        assert_eq!(first, advertisement.to_vec(&endpoints).unwrap());
    }
}

#[test]
fn a_buffer_of_any_other_length_is_refused_untouched() {
    let list = addresses(&["10.77.0.100"]);
    for (body, expected) in [(RFC9568_BODY, 12), (V2_BODY, 20)] {
        let advertisement = advertisement(body, &list);
        for actual in (0..64).filter(|actual| *actual != expected) {
            let mut buffer = vec![0xa5; actual];
            let error = advertisement.emit(&multicast(), &mut buffer).unwrap_err();
            assert_eq!(error, EmitError::Buffer { expected, actual });
            assert_eq!(buffer, vec![0xa5; actual]);
        }
    }
}

#[test]
fn c27_a_list_of_another_or_of_mixed_families_is_refused() {
    let mixed = addresses(&["10.77.0.100", "2001:db8::100"]);
    let [v4, v6] = mixed[..] else { unreachable!() };
    for body in [RFC9568_BODY, RFC5798_BODY, V2_BODY] {
        assert_eq!(
            refused(&advertisement(body, &mixed), &multicast()),
            EmitError::Family(v6)
        );
        assert_eq!(
            refused(&advertisement(body, &[v6]), &multicast()),
            EmitError::Family(v6)
        );
        assert_eq!(
            refused(&advertisement(body, &mixed), &multicast_v6()),
            EmitError::Family(v4)
        );
        assert_eq!(
            refused(&advertisement(body, &[v4]), &multicast_v6()),
            EmitError::Family(v4)
        );
    }
}

#[test]
fn c18_a_list_without_addresses_is_refused() {
    for body in [RFC9568_BODY, RFC5798_BODY, V2_BODY] {
        assert_eq!(
            refused(&advertisement(body, &[]), &multicast()),
            EmitError::NoAddresses
        );
    }
}

#[test]
fn as_many_addresses_as_the_count_can_say_are_sent_and_no_more() {
    let list: Vec<IpAddr> = (0..=255)
        .map(|host| Ipv4Addr::new(192, 0, 2, host).into())
        .collect();
    for body in [RFC9568_BODY, RFC5798_BODY, V2_BODY] {
        let error = refused(&advertisement(body, &list), &multicast());
        assert_eq!(error, EmitError::TooManyAddresses(256));
        let message = advertisement(body, &list[1..])
            .to_vec(&multicast())
            .unwrap();
        let packet = Packet::parse(&message, &multicast(), Accept::Either).unwrap();
        assert_eq!(packet.address_count(), 255);
        assert!(packet.addresses().eq(list[1..].iter().copied()));
    }
    let list_v6 = vec![IpAddr::V6(Ipv6Addr::LOCALHOST); 255];
    let longest = advertisement(RFC9568_BODY, &list_v6)
        .to_vec(&multicast_v6())
        .unwrap();
    assert_eq!(longest.len(), MAX_LEN);
    assert!(Packet::parse(&longest, &multicast_v6(), RFC9568).is_ok());
}

#[test]
fn c102_version_2_is_not_sent_over_ipv6() {
    let list = addresses(&["fe80::100"]);
    let error = refused(&advertisement(V2_BODY, &list), &multicast_v6());
    assert_eq!(error, EmitError::Version2OverIpv6);
}

#[test]
fn c22_an_interval_of_zero_or_beyond_twelve_bits_is_not_sent() {
    let list = addresses(&["10.77.0.100"]);
    for centiseconds in [0, 4096, 4097, 0x1064, u16::MAX] {
        for form in [ChecksumForm::Rfc9568, ChecksumForm::Rfc5798] {
            let body = Body::V3 { centiseconds, form };
            let error = refused(&advertisement(body, &list), &multicast());
            assert_eq!(error, EmitError::Interval(centiseconds));
        }
    }
    let body = Body::V2 {
        seconds: 0,
        password: None,
    };
    assert_eq!(
        refused(&advertisement(body, &list), &multicast()),
        EmitError::Interval(0)
    );
}

#[test]
fn over_ipv6_the_form_has_no_effect() {
    let list = addresses(&["fe80::100", "2001:db8::100"]);
    let sent = |body| advertisement(body, &list).to_vec(&multicast_v6()).unwrap();
    assert_eq!(sent(RFC9568_BODY), sent(RFC5798_BODY));
}

#[test]
fn c78_the_checksum_follows_every_field() {
    let one = addresses(&["10.77.0.100"]);
    let other = addresses(&["10.77.0.101"]);
    let base = advertisement(RFC5798_BODY, &one);
    let slower = Body::V3 {
        centiseconds: 101,
        form: ChecksumForm::Rfc5798,
    };
    let variants = [
        (
            Advertisement {
                priority: 0,
                ..base
            },
            multicast(),
        ),
        (
            Advertisement {
                vrid: vrid(11),
                ..base
            },
            multicast(),
        ),
        (
            Advertisement {
                body: slower,
                ..base
            },
            multicast(),
        ),
        (
            Advertisement {
                addresses: &other,
                ..base
            },
            multicast(),
        ),
        (base, v4("10.77.0.2", "224.0.0.18")),
        (base, v4("10.77.0.1", "10.77.0.2")),
    ];
    let checksum = |message: &[u8]| [message[6], message[7]];
    let before = checksum(&base.to_vec(&multicast()).unwrap());
    for (variant, endpoints) in variants {
        let message = variant.to_vec(&endpoints).unwrap();
        assert_ne!(checksum(&message), before, "{variant:?}");
        assert!(Packet::parse(&message, &endpoints, RFC5798).is_ok());
    }
}
