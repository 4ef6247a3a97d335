//! RFC 9568 §7.1: what a frame must be to be heard, in which order it is asked, and what is counted.

use vipkeeper_vrrp::{
    ChecksumForm, ChecksumPolicy, InterfaceState, NodeCounters, Peer, Protocol, Refusal,
    RouterConfig, RouterCounters, StateName, Transport,
};
use vipkeeper_wire::vrrp::GROUP_V6;

use crate::bench::{
    Bench, IFINDEX, OTHER_IFINDEX, OWN_MAC, SECOND, down, millis, nanos, router, router_v2,
    router_v6, story, unicast, v2, v3,
};
use crate::forge::{Frame, from, from_v2, from_v6, peer};

/// One thing that is wrong with a frame.
#[derive(Clone, Copy)]
struct Defect {
    reason: Refusal,
    make: fn(Frame) -> Frame,
}

const fn defect(reason: Refusal, make: fn(Frame) -> Frame) -> Defect {
    Defect { reason, make }
}

/// What can be wrong with any frame, in the order of the checks.
const FORM: [Defect; 7] = [
    defect(Refusal::Ttl, |f| f.ttl(254)),
    defect(Refusal::Version, |f| f.bits(0, 0xf0, 0x40)),
    defect(Refusal::Type, |f| f.bits(0, 0x0f, 0x02)),
    defect(Refusal::Length, |f| f.byte(3, 7)),
    defect(Refusal::Checksum, Frame::bad_checksum),
    defect(Refusal::Vrid, |f| f.vrid(11)),
    defect(Refusal::Destination, elsewhere),
];

/// To another group of the link.
fn elsewhere(frame: Frame) -> Frame {
    match frame.destination == GROUP_V6 {
        true => frame.destination("ff02::99"),
        false => frame.destination("224.0.0.99"),
    }
}

/// A router, a frame that it hears, and all that may be wrong with such a frame in the order of the checks.
struct Case {
    router: RouterConfig,
    frame: fn(u8, u8) -> Frame,
    defects: Vec<Defect>,
}

fn cases() -> Vec<Case> {
    let strict = |router| RouterConfig {
        strict: true,
        ..router
    };
    let with_password = RouterConfig {
        protocol: v2(1, Some(*b"secret\0\0")),
        ..router(100)
    };
    let of_unicast = RouterConfig {
        transport: unicast(&[("10.77.0.1", 255)]),
        ..router(100)
    };
    let and = |more: &[Defect]| [&FORM[..], more].concat();
    let zero = defect(Refusal::Interval, |f| f.byte(4, 0).byte(5, 0));
    let global_first = defect(Refusal::LinkLocal, |f| {
        f.addresses(&["2001:db8::100", "fe80::100"])
    });
    vec![
        Case {
            router: router(100),
            frame: from,
            defects: and(&[zero]),
        },
        Case {
            router: strict(router_v6(100)),
            frame: from_v6,
            defects: and(&[zero, global_first]),
        },
        Case {
            router: strict(router_v6(100)),
            frame: from_v6,
            defects: and(&[
                global_first,
                defect(Refusal::Interval, |f| f.centiseconds(99)),
            ]),
        },
        Case {
            router: strict(router(100)),
            frame: from,
            defects: and(&[
                defect(Refusal::Interval, |f| f.centiseconds(99)),
                defect(Refusal::AddressList, |f| f.addresses(&["10.77.0.101"])),
            ]),
        },
        Case {
            router: router_v2(100),
            frame: from_v2,
            defects: and(&[
                defect(Refusal::AuthenticationType, |f| f.password(b"secret\0\0")),
                defect(Refusal::Interval, |f| f.seconds(2)),
                defect(Refusal::AddressList, |f| f.addresses(&["10.77.0.101"])),
            ]),
        },
        Case {
            router: with_password,
            frame: |last, priority| from_v2(last, priority).password(b"secret\0\0"),
            defects: and(&[
                defect(Refusal::Authentication, |f| f.password(b"secreT\0\0")),
                defect(Refusal::Interval, |f| f.seconds(2)),
                defect(Refusal::AddressList, |f| f.addresses(&["10.77.0.101"])),
            ]),
        },
        Case {
            router: of_unicast,
            frame: |last, priority| from(last, priority).unicast(),
            defects: [
                &FORM[..6],
                &[
                    defect(Refusal::Destination, |f| f.destination("10.77.0.6")),
                    defect(Refusal::UnknownPeer, |f| f.source("10.77.0.2")),
                    zero,
                ],
            ]
            .concat(),
        },
    ]
}

/// `router` in `state`.
fn bench(router: &RouterConfig, state: StateName) -> Bench {
    let mut bench = match state {
        StateName::Initialize => {
            let mut bench = Bench::empty();
            let running = false;
            let down = InterfaceState {
                running,
                ..crate::bench::running()
            };
            bench.link(IFINDEX, down);
            bench
        }
        StateName::Backup => Bench::new(std::slice::from_ref(router)),
        StateName::Active => return Bench::active(router.clone()),
    };
    bench.apply(std::slice::from_ref(router));
    // In the middle of whatever timer runs.
    bench.advance(millis(700));
    bench
}

/// A priority that would move a router in `state`.
fn moving(state: StateName) -> u8 {
    match state {
        StateName::Initialize | StateName::Active => 200,
        StateName::Backup => 0,
    }
}

/// The counters that `reason` raises by one.
fn count(reason: Refusal, node: &mut NodeCounters, router: &mut RouterCounters) {
    match reason {
        Refusal::Malformed => node.malformed += 1,
        Refusal::Looped => node.looped += 1,
        Refusal::Vrid => node.vrid_errors += 1,
        Refusal::Ttl => {
            node.ip_ttl_errors += 1;
            router.ip_ttl_errors += 1;
        }
        Refusal::Version => {
            node.version_errors += 1;
            router.version_errors += 1;
        }
        Refusal::Checksum => {
            node.checksum_errors += 1;
            router.checksum_errors += 1;
        }
        Refusal::Type => router.invalid_type_errors += 1,
        Refusal::Length => router.packet_length_errors += 1,
        Refusal::Destination => router.destination_errors += 1,
        Refusal::UnknownPeer => router.unknown_peers += 1,
        Refusal::OwnerConflict => router.owner_conflicts += 1,
        Refusal::AuthenticationType => router.authentication_type_errors += 1,
        Refusal::Authentication => router.authentication_failures += 1,
        Refusal::Interval => router.interval_errors += 1,
        Refusal::LinkLocal => router.link_local_errors += 1,
        Refusal::AddressList => router.address_list_errors += 1,
        Refusal::DuplicateSource => router.duplicate_sources += 1,
    }
}

/// Without a known router, RFC 8347 has a counter for the node or none.
fn count_of_unknown(reason: Refusal, node: &mut NodeCounters) {
    match reason {
        Refusal::Type | Refusal::Length => node.packet_length_errors += 1,
        other => count(other, node, &mut RouterCounters::default()),
    }
}

fn hears_nothing_of(bench: &mut Bench, frame: &Frame, reason: Refusal, known: bool, what: &str) {
    let before = bench.untouched();
    let mut node = bench.election.snapshot(bench.now).counters;
    let mut router = bench.counters();
    match known {
        true => count(reason, &mut node, &mut router),
        false => count_of_unknown(reason, &mut node),
    }
    let log = bench.hear(frame);
    assert_eq!(
        story(&log),
        [format!("refused: {}", reason.as_str())],
        "{what}"
    );
    assert_eq!(bench.untouched(), before, "{what}");
    assert_eq!(bench.counters(), router, "{what}");
    assert_eq!(bench.election.snapshot(bench.now).counters, node, "{what}");
}

#[test]
fn each_frame_without_a_defect_is_heard() {
    for case in cases() {
        let mut bench = bench(&case.router, StateName::Backup);
        bench.hear(&(case.frame)(1, 200));
        assert_eq!(bench.timeout(), down(100));
        assert_eq!(bench.counters().advertisements_received, 1);
        bench.hear(&(case.frame)(1, 0));
        assert_eq!(bench.counters().priority_zero_received, 1);
    }
}

#[test]
fn c74_c75_a_failed_check_is_counted_and_told_and_changes_nothing_in_any_state() {
    for case in cases() {
        for defect in &case.defects {
            for state in StateName::ALL {
                let mut bench = bench(&case.router, state);
                assert_eq!(bench.state(), state);
                let frame = (defect.make)((case.frame)(1, moving(state)));
                let known = defect.reason != Refusal::Vrid;
                let what = format!("{} as {}", defect.reason.as_str(), state.as_str());
                hears_nothing_of(&mut bench, &frame, defect.reason, known, &what);
            }
        }
    }
}

#[test]
fn c75_a_reason_is_told_once_for_a_source_and_counted_each_time() {
    let mut bench = Bench::new(&[router(100)]);
    for _ in 0..3 {
        bench.advance(millis(500));
        bench.hear(&from(1, 200));
    }
    assert_eq!(story(&bench.hear(&from(1, 200).ttl(1))), ["refused: Ttl"]);
    for _ in 0..100 {
        assert_eq!(bench.hear(&from(1, 200).ttl(1)), []);
    }
    assert_eq!(bench.counters().ip_ttl_errors, 101);
    assert_eq!(
        bench.hear(&from(2, 200).ttl(1)),
        [],
        "another source, within a second"
    );
    bench.advance(SECOND);
    assert_eq!(story(&bench.hear(&from(2, 200).ttl(1))), ["refused: Ttl"]);
    assert_eq!(
        story(&bench.hear(&from(2, 200).bad_checksum())),
        ["refused: Checksum"]
    );
}

#[test]
fn c75_after_a_change_of_state_everything_is_news_again() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200).ttl(1));
    bench.until_active();
    assert_eq!(story(&bench.hear(&from(1, 200).ttl(1))), ["refused: Ttl"]);
}

#[test]
fn c75_of_a_flood_from_many_sources_one_in_a_second_is_told() {
    let mut bench = Bench::new(&[router(100)]);
    let mut told = 0;
    for n in 0..20_000_u32 {
        let source = format!("10.78.{}.{}", n / 250 % 250, n % 250);
        let known = bench.hear(&from(1, 200).source(&source).ttl(1));
        let unknown = bench.hear(&from(1, 200).source(&source).vrid(99));
        told += known.len() + unknown.len();
        bench.advance(nanos(100_000));
    }
    assert_eq!(told, 4, "two seconds, two places");
}

#[test]
fn c04_c09_multicast_demands_ttl_255() {
    for ttl in [0, 1, 64, 254] {
        let mut bench = Bench::new(&[router(100), router_v6(100)]);
        assert_eq!(story(&bench.hear(&from(1, 200).ttl(ttl))), ["refused: Ttl"]);
        assert_eq!(
            story(&bench.hear(&from_v6(1, 200).ttl(ttl))),
            ["refused: Ttl"]
        );
    }
}

#[test]
fn c11_another_version_is_refused_by_each_version() {
    for version in [0, 2, 4, 15] {
        let mut bench = Bench::new(&[router(100)]);
        let frame = from(1, 200).bits(0, 0xf0, version << 4);
        assert_eq!(
            story(&bench.hear(&frame)),
            ["refused: Version"],
            "{version}"
        );
    }
    let mut bench = Bench::new(&[router(100)]);
    assert_eq!(story(&bench.hear(&from_v2(1, 200))), ["refused: Version"]);
}

#[test]
fn c12_another_type_is_refused() {
    for kind in [0, 2, 15] {
        let mut bench = Bench::new(&[router(100)]);
        let frame = from(1, 200).bits(0, 0x0f, kind);
        assert_eq!(story(&bench.hear(&frame)), ["refused: Type"], "{kind}");
    }
}

#[test]
fn c18_a_count_of_zero_is_refused() {
    let mut bench = Bench::new(&[router(100)]);
    let frame = from(1, 200).byte(3, 0).cut(4);
    assert_eq!(story(&bench.hear(&frame)), ["refused: Length"]);
    assert_eq!(bench.counters().packet_length_errors, 1);
}

#[test]
fn c20_reserved_bits_are_ignored() {
    let mut bench = Bench::new(&[router(100)]);
    assert_eq!(bench.hear(&from(1, 200).bits(4, 0xf0, 0xf0)), []);
    assert_eq!(bench.timeout(), down(100));
    assert_eq!(bench.counters().advertisements_received, 1);
}

#[test]
fn c23_a_received_interval_of_zero_is_refused() {
    let mut bench = Bench::new(&[router(100)]);
    let frame = from(1, 200).byte(4, 0).byte(5, 0);
    assert_eq!(story(&bench.hear(&frame)), ["refused: Interval"]);
    assert_eq!(bench.counters().advertisements_received, 0);
}

#[test]
fn c24_only_the_configured_form_of_the_checksum_is_taken() {
    use ChecksumForm::{Rfc5798, Rfc9568};
    for (ours, theirs) in [(Rfc9568, Rfc5798), (Rfc5798, Rfc9568)] {
        let checksum = ChecksumPolicy::Only(ours);
        let interval = vipkeeper_vrrp::Centiseconds::new(100).unwrap();
        let config = RouterConfig {
            protocol: Protocol::V3 { interval, checksum },
            ..router(100)
        };
        let mut bench = Bench::new(&[config]);
        let refused = bench.hear(&from(1, 200).form(theirs));
        assert_eq!(story(&refused), ["refused: Checksum"]);
        assert_eq!(bench.hear(&from(1, 200).form(ours)), []);
    }
}

#[test]
fn c28_c29_a_list_that_begins_with_a_global_address_is_heard_and_reported() {
    let mut bench = Bench::new(&[router_v6(100)]);
    bench.advance(SECOND);
    let frame = from_v6(1, 200).addresses(&["2001:db8::100", "fe80::100"]);
    assert_eq!(story(&bench.hear(&frame)), ["refused: LinkLocal"]);
    assert_eq!(bench.timeout(), down(100), "heard all the same");
    assert_eq!(bench.counters().link_local_errors, 1);
    assert_eq!(bench.counters().advertisements_received, 1);
}

#[test]
fn c29_a_strict_router_refuses_it() {
    let strict = RouterConfig {
        strict: true,
        ..router_v6(100)
    };
    let mut bench = Bench::new(&[strict]);
    bench.advance(SECOND);
    let frame = from_v6(1, 200).addresses(&["2001:db8::100", "fe80::100"]);
    bench.hear(&frame);
    assert_eq!(bench.timeout(), down(100) - SECOND);
    bench.hear(&from_v6(1, 200).addresses(&["fe80::100", "2001:db8::100"]));
    assert_eq!(bench.timeout(), down(100));
}

#[test]
fn c72_a_vrid_counts_on_the_interface_where_it_is_configured() {
    let mut bench = Bench::new(&[router(100)]);
    bench.advance(SECOND);
    let log = bench.hear(&from(1, 200).on(OTHER_IFINDEX));
    assert_eq!(story(&log), ["refused: Vrid"]);
    assert_eq!(bench.timeout(), down(100) - SECOND);
    bench.hear(&from(1, 200).on(IFINDEX));
    assert_eq!(bench.timeout(), down(100));
}

#[test]
fn c76_another_interval_is_heard_learned_counted_and_reported() {
    let mut bench = Bench::new(&[router(100)]);
    let log = bench.hear(&from(1, 200).centiseconds(300));
    assert_eq!(story(&log), ["refused: Interval"]);
    assert_eq!(bench.timeout(), 3 * down(100));
    assert_eq!(bench.counters().interval_errors, 1);
    assert_eq!(bench.counters().advertisements_received, 1);
}

#[test]
fn c76_a_strict_router_refuses_another_interval() {
    let strict = RouterConfig {
        strict: true,
        ..router(100)
    };
    let mut bench = Bench::new(&[strict]);
    bench.hear(&from(1, 200).centiseconds(300));
    assert_eq!(bench.timeout(), down(100));
    assert_eq!(bench.counters().interval_errors, 1);
    assert_eq!(bench.counters().advertisements_received, 0);
}

#[test]
fn c77_another_address_list_is_heard_counted_and_reported() {
    for list in [&["10.77.0.101"][..], &["10.77.0.100", "10.77.0.101"]] {
        let mut bench = Bench::new(&[router(100)]);
        bench.advance(SECOND);
        let log = bench.hear(&from(1, 200).addresses(list));
        assert_eq!(story(&log), ["refused: AddressList"]);
        assert_eq!(bench.timeout(), down(100));
        assert_eq!(bench.counters().address_list_errors, 1);
        assert_eq!(bench.counters().advertisements_received, 1);
    }
}

#[test]
fn c77_the_order_of_a_list_does_not_matter() {
    let config = RouterConfig {
        addresses: crate::bench::addresses(&[
            "10.77.0.102".parse().unwrap(),
            "10.77.0.100".parse().unwrap(),
            "10.77.0.101".parse().unwrap(),
        ]),
        strict: true,
        ..router(100)
    };
    let mut bench = Bench::new(&[config]);
    let list = ["10.77.0.100", "10.77.0.101", "10.77.0.102"];
    assert_eq!(bench.hear(&from(1, 200).addresses(&list)), []);
    assert_eq!(bench.counters().address_list_errors, 0);
}

#[test]
fn an_own_frame_that_comes_back_is_dropped_and_counted() {
    for state in [StateName::Backup, StateName::Active] {
        let mut bench = bench(&router(100), state);
        let own = from(5, 100).mac(Some(OWN_MAC));
        let before = bench.untouched();
        assert_eq!(story(&bench.hear(&own)), ["refused: Looped"]);
        assert_eq!(bench.untouched(), before);
        assert_eq!(bench.election.snapshot(bench.now).counters.looped, 1);
    }
}

#[test]
fn our_address_from_another_mac_address_is_no_loop() {
    let mut bench = Bench::active(router(100));
    bench.hear(&from(5, 200));
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn behind_an_authentication_header_the_authentication_type_is_wrong() {
    for state in StateName::ALL {
        let mut bench = bench(&router_v2(100), state);
        let frame = from_v2(1, moving(state)).authentication_header();
        let reason = Refusal::AuthenticationType;
        hears_nothing_of(&mut bench, &frame, reason, true, state.as_str());
        let other = frame.vrid(99);
        hears_nothing_of(&mut bench, &other, Refusal::Vrid, false, state.as_str());
    }
}

#[test]
fn what_is_too_short_to_name_a_router_is_counted_for_the_node() {
    let mut bench = Bench::new(&[router(100)]);
    let reason = Refusal::Length;
    for cut in 5..=12 {
        let mut bench = Bench::new(&[router(100)]);
        hears_nothing_of(&mut bench, &from(1, 0).cut(cut), reason, false, "cut");
    }
    let foreign_protocol = Frame {
        protocol: 113,
        ..from(1, 0)
    };
    hears_nothing_of(&mut bench, &foreign_protocol, reason, false, "protocol");
}

#[test]
fn vrid_zero_is_nobodys() {
    let mut bench = Bench::new(&[router(100)]);
    hears_nothing_of(
        &mut bench,
        &from(1, 0).vrid(0),
        Refusal::Vrid,
        false,
        "VRID 0",
    );
    assert_eq!(bench.election.snapshot(bench.now).foreign, []);
}

#[test]
fn unicast_is_heard_from_peers_with_the_ttl_they_owe() {
    let config = RouterConfig {
        transport: unicast(&[("10.77.0.1", 0), ("10.77.0.2", 64)]),
        ..router(100)
    };
    // Last byte of the source, TTL, whether it is heard.
    let rows = [(1, 1, true), (2, 64, true), (2, 255, true), (2, 63, false)];
    for (last, ttl, heard) in rows {
        let mut bench = Bench::new(std::slice::from_ref(&config));
        bench.hear(&from(last, 200).unicast().ttl(ttl));
        let counters = bench.counters();
        assert_eq!(
            counters.advertisements_received,
            u64::from(heard),
            "{last}, TTL {ttl}"
        );
        assert_eq!(counters.ip_ttl_errors, u64::from(!heard));
    }
    let mut bench = Bench::new(&[config]);
    assert_eq!(
        story(&bench.hear(&from(3, 200).unicast())),
        ["refused: UnknownPeer"]
    );
    assert_eq!(story(&bench.hear(&from(1, 200))), ["refused: Destination"]);
}

#[test]
fn a_multicast_router_hears_unicast_from_its_extra_peers_alone() {
    let mut bench = Bench::new(&[router(100)]);
    let log = bench.hear(&from(1, 200).unicast());
    assert_eq!(story(&log), ["refused: Destination"]);
    let mut config = router(100);
    if let Transport::Multicast { extra_peers, .. } = &mut config.transport {
        let address = "10.77.0.1".parse().unwrap();
        extra_peers.push(Peer {
            address,
            min_ttl: 0,
        });
    }
    let mut bench = Bench::new(&[config]);
    assert_eq!(bench.hear(&from(1, 200).unicast().ttl(3)), []);
    assert_eq!(bench.hear(&from(2, 200)), []);
    assert_eq!(bench.counters().advertisements_received, 2);
}

#[test]
fn a_group_of_its_own_is_the_only_one_that_is_heard() {
    let config = RouterConfig {
        transport: Transport::Multicast {
            group: "224.0.0.100".parse().unwrap(),
            extra_peers: Vec::new(),
        },
        protocol: v3(100),
        ..router(100)
    };
    let mut bench = Bench::new(&[config]);
    assert_eq!(story(&bench.hear(&from(1, 200))), ["refused: Destination"]);
    assert_eq!(bench.hear(&from(1, 200).destination("224.0.0.100")), []);
}

#[test]
fn of_two_defects_the_one_that_is_checked_first_is_told() {
    for case in cases() {
        let unicast = matches!(case.router.transport, Transport::Unicast { .. });
        for (place, first) in case.defects.iter().enumerate() {
            for second in &case.defects[place + 1..] {
                let mut bench = bench(&case.router, StateName::Backup);
                let frame = (second.make)((first.make)((case.frame)(1, 0)));
                let of_peer = [Refusal::Vrid, Refusal::UnknownPeer].contains(&second.reason);
                if unicast && first.reason == Refusal::Ttl && of_peer {
                    // What a peer owes is known with the router and the peer alone.
                    continue;
                }
                let known = second.reason != Refusal::Vrid && first.reason != Refusal::Vrid;
                let what = format!("{} and {}", first.reason.as_str(), second.reason.as_str());
                hears_nothing_of(&mut bench, &frame, first.reason, known, &what);
            }
        }
    }
}

#[test]
fn an_own_frame_is_known_by_a_configured_source_too() {
    let config = RouterConfig {
        source: "10.77.0.8".parse().ok(),
        ..router(100)
    };
    let mut bench = Bench::active(config);
    let own = from(8, 100).mac(Some(OWN_MAC));
    assert_eq!(story(&bench.hear(&own)), ["refused: Looped"]);
    assert_eq!(bench.counters().duplicate_sources, 0);
}

#[test]
fn everything_odd_about_one_frame_is_counted() {
    let mut bench = Bench::active(router_v6(255));
    let frame = from_v6(5, 255)
        .centiseconds(99)
        .addresses(&["2001:db8::99", "2001:db8::98"]);
    let log = bench.hear(&frame);
    let expected = [
        "refused: OwnerConflict",
        "refused: LinkLocal",
        "refused: Interval",
        "refused: AddressList",
        "refused: DuplicateSource",
    ];
    assert_eq!(story(&log), expected);
    assert_eq!(bench.counters().duplicate_sources, 1);
}

#[test]
fn c77_an_address_named_twice_does_not_stand_for_another() {
    let config = RouterConfig {
        addresses: crate::bench::addresses(&[peer(100), peer(101)]),
        ..router(100)
    };
    let mut bench = Bench::new(&[config]);
    let log = bench.hear(&from(1, 200).addresses(&["10.77.0.100", "10.77.0.100"]));
    assert_eq!(story(&log), ["refused: AddressList"]);
}
