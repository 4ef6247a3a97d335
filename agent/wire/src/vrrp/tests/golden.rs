//! Golden bytes, both ways: every field is read, and the same values give the same bytes.

use super::*;

struct Golden {
    bytes: &'static str,
    endpoints: Endpoints,
    /// A form that takes it, and one that must not where two exist.
    accept: Accept,
    refuse: Option<Accept>,
    priority: u8,
    body: Body,
    addresses: &'static [&'static str],
}

const PLAIN: Body = Body::V2 {
    seconds: 1,
    password: None,
};
const PASSWORD: Body = Body::V2 {
    seconds: 1,
    password: Some(*b"1234\0\0\0\0"),
};

const fn v3(form: ChecksumForm) -> Body {
    Body::V3 {
        centiseconds: 100,
        form,
    }
}

fn all() -> Vec<Golden> {
    let v2 = Golden {
        bytes: V2,
        endpoints: multicast(),
        accept: Accept::Either,
        refuse: None,
        priority: 100,
        body: PLAIN,
        addresses: &["10.77.0.100"],
    };
    vec![
        Golden {
            bytes: V2_RELEASE,
            priority: 0,
            ..v2
        },
        Golden {
            bytes: V2_PASSWORD,
            body: PASSWORD,
            ..v2
        },
        Golden {
            bytes: V3_RFC9568,
            accept: RFC9568,
            refuse: Some(RFC5798),
            body: v3(ChecksumForm::Rfc9568),
            ..v2
        },
        Golden {
            bytes: V3_RFC5798,
            accept: RFC5798,
            refuse: Some(RFC9568),
            body: v3(ChecksumForm::Rfc5798),
            ..v2
        },
        Golden {
            bytes: V3_RFC5798_UNICAST,
            endpoints: v4("10.77.0.1", "10.77.0.2"),
            accept: RFC5798,
            refuse: Some(RFC9568),
            body: v3(ChecksumForm::Rfc5798),
            ..v2
        },
        Golden {
            bytes: V3_IPV6,
            endpoints: multicast_v6(),
            body: v3(ChecksumForm::Rfc9568),
            addresses: &["fe80::100", "2001:db8::100"],
            ..v2
        },
        v2,
    ]
}

#[test]
fn every_golden_message_is_read_field_by_field() {
    for golden in all() {
        let bytes = hex(golden.bytes);
        for accept in [golden.accept, Accept::Either] {
            let packet = Packet::parse(&bytes, &golden.endpoints, accept).unwrap();
            assert_eq!(packet.vrid(), vrid(10));
            assert_eq!(packet.priority(), golden.priority);
            assert_eq!(packet.interval(), Duration::from_secs(1));
            let (version, form, authentication) = match golden.body {
                Body::V2 { password: None, .. } => (Version::V2, None, Some((0, [0; 8]))),
                Body::V2 {
                    password: Some(text),
                    ..
                } => (Version::V2, None, Some((1, text))),
                Body::V3 { form, .. } => {
                    let of_v4 = golden.endpoints.family() == Family::V4;
                    (Version::V3, of_v4.then_some(form), None)
                }
            };
            assert_eq!(packet.version(), version);
            assert_eq!(packet.checksum_form(), form);
            assert_eq!(packet.authentication(), authentication);
            assert_eq!(
                packet.addresses().collect::<Vec<_>>(),
                addresses(golden.addresses)
            );
            assert_eq!(packet.address_count(), golden.addresses.len());
        }
        if let Some(refuse) = golden.refuse {
            let refused = Packet::parse(&bytes, &golden.endpoints, refuse);
            assert_eq!(refused, Err(ParseError::Checksum), "{}", golden.bytes);
        }
    }
}

#[test]
fn every_golden_message_is_written_byte_by_byte() {
    for golden in all() {
        let list = addresses(golden.addresses);
        let advertisement = Advertisement {
            vrid: vrid(10),
            priority: golden.priority,
            body: golden.body,
            addresses: &list,
        };
        assert_eq!(advertisement.buffer_len(), golden.bytes.len() / 2);
        assert_eq!(
            advertisement.to_vec(&golden.endpoints).unwrap(),
            hex(golden.bytes)
        );
    }
}

#[test]
fn the_header_of_a_golden_message_can_be_read_before_anything_is_verified() {
    let expected = Header {
        version: 3,
        kind: 1,
        vrid: 10,
        priority: 100,
        count: 2,
    };
    assert_eq!(Header::peek(&hex(V3_IPV6)), Some(expected));
}
