//! For any values: what is written is read back. For any bytes: no panic, and only the truth.

use proptest::prelude::*;

use super::*;
use crate::arbitrary;

/// Owned values of an [`Advertisement`] that can be sent, and between whom.
#[derive(Clone, Debug)]
struct Sendable {
    vrid: Vrid,
    priority: u8,
    body: Body,
    addresses: Vec<IpAddr>,
    endpoints: Endpoints,
}

fn sendable() -> impl Strategy<Value = Sendable> {
    let body_v3 = || {
        (1..=4095_u16, any::<bool>()).prop_map(|(centiseconds, pseudo_header)| {
            let form = if pseudo_header {
                ChecksumForm::Rfc5798
            } else {
                ChecksumForm::Rfc9568
            };
            Body::V3 { centiseconds, form }
        })
    };
    let body_v2 = (1..=255_u8, any::<Option<[u8; 8]>>())
        .prop_map(|(seconds, password)| Body::V2 { seconds, password });
    let list_v4 =
        prop::collection::vec(any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())), 1..12);
    let list_v6 = prop::collection::vec(
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
        1..12,
    );
    let over_v4 = (prop_oneof![body_v2, body_v3()], list_v4, endpoints_v4());
    let over_v6 = (body_v3(), list_v6, endpoints_v6());
    (1..=255_u8, any::<u8>(), prop_oneof![over_v4, over_v6]).prop_map(
        |(id, priority, (body, addresses, endpoints))| Sendable {
            vrid: vrid(id),
            priority,
            body,
            addresses,
            endpoints,
        },
    )
}

fn endpoints_v4() -> impl Strategy<Value = Endpoints> {
    any::<(u32, u32)>().prop_map(|(source, destination)| Endpoints::V4 {
        source: source.into(),
        destination: destination.into(),
    })
}

fn endpoints_v6() -> impl Strategy<Value = Endpoints> {
    any::<(u128, u128)>().prop_map(|(source, destination)| Endpoints::V6 {
        source: source.into(),
        destination: destination.into(),
    })
}

impl Sendable {
    fn message(&self) -> Vec<u8> {
        let Self {
            vrid,
            priority,
            body,
            ref addresses,
            ref endpoints,
        } = *self;
        let advertisement = Advertisement {
            vrid,
            priority,
            body,
            addresses,
        };
        let mut buffer = vec![0xa5; advertisement.buffer_len()];
        advertisement.emit(endpoints, &mut buffer).unwrap();
        buffer
    }

    /// The narrowest way to accept it.
    fn accept(&self) -> Accept {
        match self.body {
            Body::V2 { .. } => RFC9568,
            Body::V3 { form, .. } => Accept::Only(form),
        }
    }
}

/// What a packet says, as the values that would send it. The form of IPv6 is taken from `sent`.
fn resent(packet: &Packet<'_>, sent: &Sendable) -> Sendable {
    let body = match (packet.authentication(), sent.body) {
        (Some((0, [0, 0, 0, 0, 0, 0, 0, 0])), _) => Body::V2 {
            seconds: packet.interval().as_secs() as u8,
            password: None,
        },
        (Some((kind, data)), _) => {
            assert_eq!(kind, 1);
            Body::V2 {
                seconds: packet.interval().as_secs() as u8,
                password: Some(data),
            }
        }
        (None, Body::V3 { form, .. }) => Body::V3 {
            centiseconds: (packet.interval().as_millis() / 10) as u16,
            form: packet.checksum_form().unwrap_or(form),
        },
        (None, Body::V2 { .. }) => panic!("sent as version 2, read as version 3"),
    };
    Sendable {
        vrid: packet.vrid(),
        priority: packet.priority(),
        body,
        addresses: packet.addresses().collect(),
        endpoints: sent.endpoints,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_is_read_back_and_gives_the_same_bytes(sent in sendable()) {
        let message = sent.message();
        let packet = Packet::parse(&message, &sent.endpoints, sent.accept()).unwrap();
        let again = resent(&packet, &sent);
        prop_assert_eq!(again.vrid, sent.vrid);
        prop_assert_eq!(again.priority, sent.priority);
        prop_assert_eq!(again.body, sent.body);
        prop_assert_eq!(&again.addresses, &sent.addresses);
        prop_assert_eq!(packet.address_count(), sent.addresses.len());
        prop_assert_eq!(again.message(), message);
    }

    #[test]
    fn a_flipped_bit_is_refused(sent in sendable(), at in any::<prop::sample::Index>()) {
        let mut message = sent.message();
        let bit = at.index(message.len() * 8);
        message[bit / 8] ^= 0x80 >> (bit % 8);
        prop_assert!(Packet::parse(&message, &sent.endpoints, sent.accept()).is_err());
    }

    #[test]
    fn the_two_forms_are_told_apart(sent in sendable()) {
        let Body::V3 { centiseconds, form } = sent.body else { return Ok(()) };
        let other_form = match form {
            ChecksumForm::Rfc9568 => ChecksumForm::Rfc5798,
            ChecksumForm::Rfc5798 => ChecksumForm::Rfc9568,
        };
        let other = Sendable { body: Body::V3 { centiseconds, form: other_form }, ..sent.clone() };
        let message = sent.message();
        let either = Packet::parse(&message, &sent.endpoints, Accept::Either).unwrap();
        match sent.endpoints.family() {
            Family::V6 => {
                prop_assert_eq!(either.checksum_form(), None);
                prop_assert_eq!(message, other.message());
            }
            // A pseudo-header of 0xffff, one in 65,535, makes the forms the same.
            Family::V4 if sent.endpoints.pseudo_header(message.len()).fold() == 0xffff => {
                prop_assert_eq!(message, other.message());
            }
            Family::V4 => {
                prop_assert_eq!(either.checksum_form(), Some(form));
                let refused = Packet::parse(&message, &sent.endpoints, Accept::Only(other_form));
                prop_assert_eq!(refused, Err(ParseError::Checksum));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in arbitrary::bytes(0, 120),
        sender in prop_oneof![endpoints_v4(), endpoints_v6()],
    ) {
        for accept in [RFC9568, RFC5798, Accept::Either] {
            if let Ok(packet) = Packet::parse(&bytes, &sender, accept) {
                prop_assert_eq!(packet.addresses().count(), packet.address_count());
            }
        }
        prop_assert_eq!(Header::peek(&bytes).is_some(), bytes.len() >= 8);
    }

    #[test]
    fn arbitrary_bytes_of_a_plausible_header_never_panic_and_say_what_they_say(
        version in 2..=3_u8,
        mut bytes in arbitrary::bytes(8, 120),
        sender in prop_oneof![endpoints_v4(), endpoints_v6()],
    ) {
        bytes[0] = version << 4 | 1;
        let family = sender.family();
        let kind = if version == 2 { Version::V2 } else { Version::V3 };
        let fixed = message_len(kind, family, 0);
        let size = message_len(kind, family, 1) - fixed;
        bytes[3] = (bytes.len().saturating_sub(fixed) / size) as u8;
        let bytes = match kind {
            Version::V2 => summed_again(bytes, &multicast()),
            Version::V3 => summed_again(bytes, &sender),
        };
        let header = Header::peek(&bytes).unwrap();
        match Packet::parse(&bytes, &sender, Accept::Either) {
            Ok(packet) => {
                prop_assert_eq!(packet.vrid().get(), header.vrid);
                prop_assert_eq!(packet.priority(), header.priority);
                prop_assert_eq!(packet.address_count(), usize::from(header.count));
            }
            Err(ParseError::Version(2)) => prop_assert_eq!((version, family), (2, Family::V6)),
            Err(ParseError::Length { expected, actual }) => {
                prop_assert!(expected != actual && actual == bytes.len());
            }
            Err(ParseError::NoAddresses) => prop_assert_eq!(header.count, 0),
            Err(ParseError::VridZero) => prop_assert_eq!(header.vrid, 0),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}
