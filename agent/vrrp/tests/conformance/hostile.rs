//! Frames that nobody should send: no panic, no change, bounded memory.

use std::net::IpAddr;

use proptest::prelude::*;
use vipkeeper_vrrp::{Received, Refusal, RouterConfig, StateName};
use vipkeeper_wire::{Family, MacAddr, Vrid};

use crate::bench::{
    Bench, IFINDEX, SECOND, VIP, millis, router, router_v2, router_v6, story, unicast,
};
use crate::forge::{from, from_v6, peer};

fn routers() -> Vec<RouterConfig> {
    let unicast = RouterConfig {
        name: "unicast".into(),
        vrid: Vrid::new(11).unwrap(),
        transport: unicast(&[("10.77.0.1", 0)]),
        ..router(100)
    };
    let v2 = RouterConfig {
        name: "v2".into(),
        vrid: Vrid::new(12).unwrap(),
        ..router_v2(100)
    };
    vec![router(100), router_v6(100), unicast, v2]
}

fn address() -> impl Strategy<Value = IpAddr> {
    let known = [
        "10.77.0.1",
        "10.77.0.5",
        "224.0.0.18",
        "fe80::1",
        "fe80::5",
        "ff02::12",
    ]
    .map(|text| text.parse::<IpAddr>().unwrap());
    prop_oneof![
        4 => prop::sample::select(known.to_vec()),
        1 => any::<IpAddr>(),
    ]
}

/// Mostly the beginning of an advertisement of a router that exists; the checksum is right by chance alone.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = prop::collection::vec(any::<u8>(), 0..80);
    let plausible = (
        prop::sample::select(vec![0x21_u8, 0x31, 0x41, 0x32]),
        10..14_u8,
        any::<u8>(),
        0..4_u8,
        prop::collection::vec(any::<u8>(), 0..80),
    );
    let plausible = plausible.prop_map(|(version_type, vrid, priority, count, rest)| {
        let mut bytes = vec![version_type, vrid, priority, count];
        bytes.extend(rest);
        bytes
    });
    prop_oneof![1 => any_bytes, 3 => plausible]
}

fn is_valid_by_chance(bench: &Bench) -> bool {
    let routers = bench.election.snapshot(bench.now).routers;
    routers
        .iter()
        .any(|r| r.counters.advertisements_received > 0)
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic_and_change_nothing(
        active in any::<bool>(),
        protocol in prop::sample::select(vec![112_u8, 112, 112, 51, 0, 255]),
        ttl in prop::sample::select(vec![255_u8, 255, 255, 254, 0]),
        source in address(),
        destination in address(),
        own_mac in any::<bool>(),
        payload in payload(),
    ) {
        let mut bench = Bench::new(&routers());
        if active {
            bench.advance(20 * SECOND);
        }
        bench.advance(millis(300));
        let before = bench.untouched();
        let source_mac = own_mac.then_some(crate::bench::OWN_MAC);
        bench.election.handle_frame(bench.now, &Received {
            interface: IFINDEX,
            arrival: bench.now,
            source_mac,
            source,
            destination,
            protocol,
            ttl,
            ip_header: &[],
            payload: &payload,
        });
        let log = bench.settle();
        prop_assume!(!is_valid_by_chance(&bench));
        prop_assert_eq!(bench.untouched(), before);
        prop_assert!(log.len() <= 1, "{:?}", story(&log));
    }

    #[test]
    fn arbitrary_datagrams_never_panic_and_change_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        version in prop::sample::select(vec![0x45_u8, 0x46, 0x60, 0x00]),
    ) {
        let mut bench = Bench::new(&routers());
        let before = bench.untouched();
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        bench.election.handle_datagram(bench.now, IFINDEX, bench.now, None, &bytes);
        bench.settle();
        prop_assert_eq!(bench.untouched(), before);
    }

    #[test]
    fn an_advertisement_with_any_byte_changed_is_refused(
        offset in 0..12_usize,
        flip in 1..=255_u8,
        priority in any::<u8>(),
    ) {
        let mut bench = Bench::new(&[router(100)]);
        bench.advance(millis(300));
        let before = bench.untouched();
        let frame = from(1, priority);
        let mut bytes = frame.with(bench.now, |received| received.payload.to_vec());
        bytes[offset] ^= flip;
        frame.with(bench.now, |received| {
            let changed = Received { payload: &bytes, ..*received };
            bench.election.handle_frame(bench.now, &changed);
        });
        bench.settle();
        prop_assert_eq!(bench.untouched(), before);
    }
}

#[test]
fn a_datagram_that_is_cut_short_is_malformed() {
    let mut bench = Bench::new(&[router(100)]);
    for bytes in [&[][..], &[0x45], &[0x60; 39], &[0x15; 60]] {
        bench
            .election
            .handle_datagram(bench.now, IFINDEX, bench.now, None, bytes);
    }
    assert_eq!(bench.election.snapshot(bench.now).counters.malformed, 4);
}

#[test]
fn a_whole_datagram_is_heard() {
    let mut bench = Bench::new(&[router(100)]);
    bench.advance(SECOND);
    let frame = from(1, 200);
    let payload = frame.with(bench.now, |received| received.payload.to_vec());
    let mut bytes = vec![
        0x45, 0xc0, 0, 32, 0, 1, 0, 0, 255, 112, 0, 0, 10, 77, 0, 1, 224, 0, 0, 18,
    ];
    let sum: u32 = bytes
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(payload);
    // Ethernet pads to 46 bytes.
    bytes.resize(46, 0xa5);
    let mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
    bench
        .election
        .handle_datagram(bench.now, IFINDEX, bench.now, mac, &bytes);
    bench.settle();
    assert_eq!(bench.counters().advertisements_received, 1);
    assert_eq!(bench.status().last_advertisement.unwrap().from, peer(1));
}

#[test]
fn an_advertisement_of_an_unknown_vrid_is_evidence_of_a_foreign_router() {
    let mut bench = Bench::new(&[router(100), router_v6(100)]);
    bench.hear(&from(1, 200).vrid(77));
    bench.hear(&from_v6(1, 200).vrid(77));
    let foreign = bench.election.snapshot(bench.now).foreign;
    let rows: Vec<_> = foreign
        .iter()
        .map(|r| (r.family, r.vrid.get(), r.source))
        .collect();
    let expected = [
        (Family::V4, 77, peer(1)),
        (Family::V6, 77, "fe80::1".parse().unwrap()),
    ];
    assert_eq!(rows, expected);
    assert_eq!(bench.election.snapshot(bench.now).counters.vrid_errors, 2);
}

#[test]
fn the_evidence_tells_equal_lists_from_others_and_is_refreshed_once_a_second() {
    let mut bench = Bench::new(&[router(100)]);
    let hash_of = |bench: &Bench| bench.election.snapshot(bench.now).foreign[0].addresses_hash;
    bench.hear(&from(1, 200).vrid(77).addresses(&["10.0.0.1", "10.0.0.2"]));
    let first = (bench.now, hash_of(&bench));
    bench.advance(millis(999));
    bench.hear(&from(1, 200).vrid(77).addresses(&["10.0.0.3"]));
    assert_eq!(hash_of(&bench), first.1);
    assert_eq!(
        bench.election.snapshot(bench.now).foreign[0].last_heard,
        first.0
    );
    bench.advance(millis(1));
    bench.hear(&from(1, 200).vrid(77).addresses(&["10.0.0.2", "10.0.0.1"]));
    assert_eq!(hash_of(&bench), first.1, "in any order");
    assert_eq!(
        bench.election.snapshot(bench.now).foreign[0].last_heard,
        bench.now
    );
}

#[test]
fn what_is_not_valid_is_no_evidence() {
    let mut bench = Bench::new(&[router(100)]);
    let frame = from(1, 200).vrid(77);
    let invalid = [
        frame.clone().ttl(254),
        frame.clone().bad_checksum(),
        frame.clone().byte(3, 9),
        frame.clone().bits(0, 0xf0, 0x40),
        frame.authentication_header(),
    ];
    for frame in &invalid {
        bench.hear(frame);
    }
    assert_eq!(bench.election.snapshot(bench.now).foreign, []);
}

#[test]
fn a_flood_of_unknown_vrids_and_senders_is_kept_in_a_bounded_table() {
    let mut bench = Bench::new(&[router(100)]);
    let before = bench.untouched();
    for n in 0..5_000_u32 {
        let source = format!("10.{}.{}.1", n / 250, n % 250);
        bench.hear(&from(1, 200).vrid((n % 200 + 20) as u8).source(&source));
    }
    assert_eq!(bench.election.snapshot(bench.now).foreign.len(), 256);
    assert_eq!(bench.untouched(), before);
}

#[test]
fn a_flood_of_senders_of_our_vrid_cannot_keep_the_outputs_growing() {
    let mut bench = Bench::active(router(100));
    let before = bench.untouched();
    for n in 0..5_000_u32 {
        let source = format!("10.{}.{}.1", n / 250, n % 250);
        from(1, 200)
            .source(&source)
            .bad_checksum()
            .with(bench.now, |received| {
                bench.election.handle_frame(bench.now, received);
            });
    }
    assert_eq!(bench.settle().len(), 1);
    assert_eq!(bench.untouched(), before);
    assert_eq!(bench.counters().checksum_errors, 5_000);
}

#[test]
fn every_refusal_has_a_word_and_a_place_of_its_own() {
    let words: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|r| r.as_str()).collect();
    assert_eq!(words.len(), Refusal::ALL.len());
    for (place, refusal) in Refusal::ALL.iter().enumerate() {
        assert_eq!(*refusal as usize, place);
    }
}

#[test]
fn a_lower_priority_from_everywhere_moves_nobody() {
    let mut bench = Bench::active(router(100));
    for last in 1..=4 {
        bench.hear(&from(last, 99).addresses(&[&VIP.to_string()]));
        assert_eq!(bench.state(), StateName::Active);
    }
}
