//! Of any ruleset: the batch makes the table that is compared with. Of any bytes: they are read to an end.
#![cfg(test)]

mod wanted;

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use vipkeeper_nft::*;
use wanted::{table, whole};

#[test]
fn thousands_of_services_are_divided_over_messages() {
    let mut ruleset = Ruleset::default();
    for port in 1..=4000 {
        for address in ["192.0.2.1", "2001:db8::1"] {
            let endpoint = Endpoint {
                address: address.parse().unwrap(),
                protocol: Protocol::Tcp,
                port,
            };
            let prefix = Prefix::new(address.parse().unwrap(), 24).unwrap();
            ruleset.restricted.insert(endpoint, [prefix].into());
            ruleset.masqueraded.insert(endpoint.into());
        }
    }
    let table = table(&ruleset);
    assert_eq!(table.compare(&made_by(&table)), Ok(()));
}

#[test]
fn a_ruleset_without_anything_needs_no_table() {
    assert!(Ruleset::default().is_empty());
    assert!(table(&Ruleset::default()).is_empty());
    assert!(!table(&whole()).is_empty());
}

#[test]
fn a_batch_is_done_when_its_last_message_is_acknowledged() {
    let mut batch = Batch::replacement(&table(&whole()), u32::MAX - 3);
    let last = batch.next_sequence().wrapping_sub(2);
    let refusal = Refusal {
        errno: Errno::EOPNOTSUPP,
        text: None,
        offset: None,
    };
    let answer = |sequence, content: Content| Answer {
        sequence,
        interrupted: false,
        content: Ok(content),
    };
    let foreign = answer(u32::MAX - 4, Content::Acknowledged);
    assert_eq!(batch.take(&foreign), None);
    assert_eq!(
        batch.clone().take(&answer(last, Content::Acknowledged)),
        Some(Ok(()))
    );
    // Of the first message: all of it, at once.
    let whole = answer(u32::MAX - 3, Content::Refused(refusal.clone()));
    assert_eq!(batch.clone().take(&whole), Some(Err(refusal.clone())));
    // Of one between: nothing is done, though the last is acknowledged.
    assert_eq!(
        batch.take(&answer(2, Content::Refused(refusal.clone()))),
        None
    );
    assert_eq!(
        batch.take(&answer(last, Content::Acknowledged)),
        Some(Err(refusal))
    );
}

#[test]
fn names_of_tables_need_no_quotes() {
    for name in ["vipkeeper", "vipkeeper-edge_2", "v"] {
        assert!(TableName::new(name).is_ok(), "{name}");
    }
    for name in ["", "2nd", "a b", "a\"b", "-a", "ä", &"a".repeat(101)] {
        assert!(TableName::new(name).is_err(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_batch_of_any_ruleset_makes_its_table(ruleset in any_ruleset(), other in any_ruleset()) {
        let (table, other) = (table(&ruleset), table(&other));
        let made = made_by(&table);
        prop_assert_eq!(table.compare(&made), Ok(()));
        prop_assert_eq!(other.compare(&made).is_ok(), other == table);
        prop_assert_eq!(table.is_empty(), ruleset.is_empty());
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut observed = Observation::new(TableName::new("vipkeeper").unwrap());
        answers(&bytes).flatten().for_each(|answer| observed.take(answer));
        prop_assert!(!observed.exists());
    }

    #[test]
    fn a_batch_with_bytes_changed_is_read(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
    ) {
        let table = table(&whole());
        let mut bytes = Batch::replacement(&table, 1).bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut observed = Observation::new(table.name().clone());
        answers(&bytes).flatten().for_each(|answer| observed.take(answer));
        std::hint::black_box(table.compare(&observed).is_ok());
    }
}

/// What the kernel would have after the batch: its messages are those with which the kernel answers.
fn made_by(table: &Table) -> Observation {
    let mut observed = Observation::new(table.name().clone());
    for answer in answers(Batch::replacement(table, 1).bytes()) {
        observed.take(answer.unwrap());
    }
    observed
}

fn any_ruleset() -> impl Strategy<Value = Ruleset> {
    // Few addresses and ports, so that they meet.
    let address = prop::sample::select(vec!["192.0.2.1", "192.0.2.2", "2001:db8::1"])
        .prop_map(|address| address.parse::<IpAddr>().unwrap());
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let ports = prop_oneof![Just(Ports::All), (1u16..4).prop_map(Ports::One)];
    let traffic = (address.clone(), protocol.clone(), ports.clone()).prop_map(
        |(address, protocol, ports)| Traffic {
            address,
            protocol,
            ports,
        },
    );
    let mark =
        (prop::sample::select(vec![Family::V4, Family::V6]), 1u32..4).prop_map(|(family, mark)| {
            Mark {
                family,
                mark: mark.try_into().unwrap(),
            }
        });
    let endpoint =
        (address.clone(), protocol.clone(), 1u16..4).prop_map(|(address, protocol, port)| {
            Endpoint {
                address,
                protocol,
                port,
            }
        });
    let real_server = (address.clone(), 1u16..4).prop_map(SocketAddr::from);
    let real_servers = prop::collection::btree_set(real_server, 0..3);
    let prefix = (address.clone(), 0u8..=32)
        .prop_map(|(address, length)| Prefix::new(address, length).unwrap());
    let prefixes = prop::collection::btree_set(prefix, 0..5);
    let open = prop::collection::btree_set((protocol, ports), 0..4);
    (
        prop::collection::btree_set(traffic, 0..6),
        prop::collection::btree_map(endpoint.clone(), real_servers, 0..4),
        prop::collection::btree_set(mark, 0..2),
        prop::collection::btree_map(endpoint, prefixes, 0..4),
        prop::collection::btree_map(address, open, 0..3),
    )
        .prop_map(
            |(masqueraded, unmasqueraded, masqueraded_marks, restricted, closed)| Ruleset {
                masqueraded,
                unmasqueraded,
                masqueraded_marks,
                restricted,
                closed,
            },
        )
}
