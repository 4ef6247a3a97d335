//! Whatever bytes come, they are read to an end, and what is odd in one message is no other's fault.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the recorded bytes are in files")]

mod recording;

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::LazyLock;

use proptest::prelude::*;
use recording::{FAMILY, Recording, emitted, reread};
use vipkeeper_ipvs::*;

static DATAGRAMS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let all = Recording::all().into_iter();
    all.flat_map(|recording| recording.answers().to_vec())
        .collect()
});

#[test]
fn a_method_or_tunnel_that_is_not_known_yet_is_kept() {
    let recording = Recording::read("destination-tunnels");
    let dump = datagram_with(&recording, |content| {
        matches!(content, Content::Destination(_))
    });
    let count = answers(Some(FAMILY), &dump).count();
    let with = |find: &[u8], replace: &[u8]| -> Vec<Forwarding> {
        let mut dump = dump.clone();
        let at = dump
            .windows(find.len())
            .position(|window| window == find)
            .unwrap();
        dump[at..at + find.len()].copy_from_slice(replace);
        destinations(&dump)
            .into_iter()
            .map(|observed| observed.destination.forwarding)
            .collect()
    };
    let method = with(&[8, 0, 3, 0, 2, 0, 0, 0], &[8, 0, 3, 0, 6, 0, 0, 0]);
    assert_eq!((method.len(), method[0]), (count, Forwarding::Other(6)));
    let tunnel = with(&[5, 0, 13, 0, 2], &[5, 0, 13, 0, 9]);
    let kept = Tunnel::Other {
        kind: 9,
        port: 0,
        flags: 1,
    };
    assert_eq!((tunnel.len(), tunnel[0]), (count, Forwarding::Tunnel(kept)));
}

#[test]
fn an_attribute_that_is_not_known_yet_is_kept() {
    let recording = Recording::read("service-tcp");
    let mut answer = datagram_with(&recording, |content| matches!(content, Content::Service(_)));
    let unknown = [8, 0, 99, 0, 1, 2, 3, 4];
    answer.extend(unknown);
    for (at, added) in [(0, 8), (20, 8)] {
        let length = u16::from_le_bytes([answer[at], answer[at + 1]]) + added;
        answer[at..at + 2].copy_from_slice(&length.to_le_bytes());
    }
    let answer = answers(Some(FAMILY), &answer).next().unwrap().unwrap();
    let Ok(Content::Service(observed)) = answer.content else {
        panic!("{answer:?}");
    };
    let kept = UnknownAttribute {
        kind: 99,
        value: vec![1, 2, 3, 4],
    };
    assert_eq!(observed.unknown, [kept]);
}

#[test]
fn an_odd_message_of_a_dump_leaves_the_others_alone() {
    let recording = Recording::read("services");
    let mut dump = datagram_with(&recording, |content| matches!(content, Content::Service(_)));
    // The first service's family, 2 or 10, becomes 99.
    dump[28] = 99;
    let all: Vec<_> = answers(Some(FAMILY), &dump)
        .map(|answer| answer.unwrap().content)
        .collect();
    let odd = Odd::Unknown {
        what: "an address family",
        number: 99,
    };
    assert_eq!(all[0], Err(odd));
    assert!(
        all.len() > 1 && all[1..].iter().all(Result::is_ok),
        "{all:?}"
    );
}

#[test]
fn a_datagram_cut_anywhere_is_read_as_far_as_it_goes() {
    for datagram in DATAGRAMS.iter() {
        let whole: Vec<_> = answers(Some(FAMILY), datagram).collect();
        for length in (0..datagram.len()).step_by(if datagram.len() > 2000 { 7 } else { 1 }) {
            let cut: Vec<_> = answers(Some(FAMILY), &datagram[..length]).collect();
            let complete = cut.iter().take_while(|answer| answer.is_ok()).count();
            assert_eq!(cut[..complete], whole[..complete]);
            assert!(cut.len() - complete <= 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(answers(Some(FAMILY), &bytes).count() <= bytes.len() / 16 + 1);
    }

    #[test]
    fn any_message_of_ipvs_is_read(
        command in 0u8..20,
        attributes in prop::collection::vec((0u16..20, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        nest in 0u16..5,
    ) {
        let inner: Vec<u8> = attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)).collect();
        let payload = [vec![command, 1, 0, 0], attribute(nest, &inner)].concat();
        let length = u32::try_from(payload.len() + 16).unwrap().to_ne_bytes();
        let message = [&length[..], &FAMILY.0.to_ne_bytes(), &[0; 10], &payload].concat();
        prop_assert_eq!(answers(Some(FAMILY), &message).count(), 1);
    }

    #[test]
    fn what_the_kernel_said_with_bytes_changed_is_read(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = which.get(&DATAGRAMS).clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(answers(Some(FAMILY), &bytes).count() <= bytes.len() / 16 + 1);
    }

    #[test]
    fn any_service_reads_back_as_it_was_written(service in any_service()) {
        let request = Request::SetService(service);
        let mut bytes = emitted(&request, 1);
        prop_assert!(bytes.len() <= 256);
        // The kernel answers with the command that adds.
        bytes[16] = 1;
        prop_assert_eq!(reread(&bytes), Some(Request::NewService(service)));
    }

    #[test]
    fn any_destination_reads_back_as_it_was_written(service in any_service(), destination in any_destination()) {
        let bytes = emitted(&Request::NewDestination(service.key, destination), 1);
        prop_assert!(bytes.len() <= 256);
        let observed = destinations(&bytes);
        prop_assert_eq!(observed.len(), 1);
        prop_assert_eq!(observed[0].destination, destination);
    }
}

fn datagram_with(recording: &Recording, wanted: impl Fn(&Content) -> bool) -> Vec<u8> {
    let has = |datagram: &&Vec<u8>| {
        answers(Some(FAMILY), datagram).any(|answer| wanted(&answer.unwrap().content.unwrap()))
    };
    recording.answers().iter().find(has).unwrap().clone()
}

fn destinations(datagram: &[u8]) -> Vec<ObservedDestination> {
    answers(Some(FAMILY), datagram)
        .filter_map(|answer| {
            let Content::Destination(observed) = answer.unwrap().content.unwrap() else {
                return None;
            };
            Some(observed)
        })
        .collect()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn any_service() -> impl Strategy<Value = Service> {
    let key = prop_oneof![
        (any::<u16>(), any::<IpAddr>(), any::<u16>()).prop_map(|(protocol, address, port)| {
            ServiceKey::Address {
                protocol: protocol.into(),
                address,
                port,
            }
        }),
        (any_family(), any::<NonZeroU32>())
            .prop_map(|(family, mark)| ServiceKey::Mark { family, mark }),
    ];
    (
        key,
        "[a-z]{1,15}",
        any::<[bool; 4]>(),
        prop::option::of((any::<u32>(), 1u8..=32)),
        prop::option::of("[a-z]{1,15}"),
    )
        .prop_map(|(key, scheduler, flags, persistence, engine)| Service {
            key,
            scheduler: scheduler.parse().unwrap(),
            flags: ServiceFlags {
                one_packet: flags[0],
                scheduler_1: flags[1],
                scheduler_2: flags[2],
                scheduler_3: flags[3],
            },
            persistence: persistence.map(|(timeout, length)| Persistence {
                timeout,
                netmask: Netmask::prefix(key.family(), length).unwrap(),
            }),
            engine: engine.map(|engine| engine.parse().unwrap()),
        })
}

fn any_destination() -> impl Strategy<Value = Destination> {
    let checksum = prop::sample::select(vec![
        TunnelChecksum::None,
        TunnelChecksum::Full,
        TunnelChecksum::Remote,
    ]);
    let forwarding = prop_oneof![
        Just(Forwarding::Masquerade),
        Just(Forwarding::LocalNode),
        Just(Forwarding::DirectRoute),
        Just(Forwarding::Bypass),
        (5u32..8).prop_map(Forwarding::Other),
        Just(Forwarding::Tunnel(Tunnel::Ipip)),
        (any::<NonZeroU16>(), checksum.clone())
            .prop_map(|(port, checksum)| Forwarding::Tunnel(Tunnel::Gue { port, checksum })),
        checksum.prop_map(|checksum| Forwarding::Tunnel(Tunnel::Gre { checksum })),
    ];
    (any::<IpAddr>(), any::<u16>(), forwarding, any::<[u32; 3]>()).prop_map(
        |(address, port, forwarding, [weight, upper_threshold, lower_threshold])| Destination {
            key: DestinationKey { address, port },
            forwarding,
            weight,
            upper_threshold,
            lower_threshold,
        },
    )
}

fn any_family() -> impl Strategy<Value = Family> {
    prop::sample::select(vec![Family::V4, Family::V6])
}
