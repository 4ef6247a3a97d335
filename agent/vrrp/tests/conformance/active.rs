//! RFC 9568 §6.4.3, Active.

use std::net::IpAddr;
use std::num::NonZeroU8;

use vipkeeper_vrrp::{
    Command, InterfaceState, Output, Preemption, Reason, RouterConfig, StateName,
};

use crate::bench::{
    Bench, IFINDEX, OTHER_IFINDEX, OWN, OWN_V6, SECOND, deeds, down, millis, nanos, router,
    router_v6, running, sent, skew, story,
};
use crate::forge::{from, from_v6, peer};

#[test]
fn c17_c62_shutdown_releases_once_and_then_withdraws() {
    let mut bench = Bench::active(router(100));
    let log = bench.command(Command::Shutdown);
    let expected = ["send 0", "withdraw", "Active > Initialize: Shutdown"];
    assert_eq!(story(&log), expected);
    assert_eq!(bench.election.next_timeout(), None);
    assert_eq!(bench.counters().priority_zero_sent, 1);
    assert_eq!(bench.command(Command::Shutdown), [], "once");
}

#[test]
fn c17_priority_zero_is_sent_on_release_and_never_otherwise() {
    let mut bench = Bench::active(router(1));
    bench.weight(-200);
    let log = bench.advance(60 * SECOND);
    assert_eq!(sent(&log).len(), 60);
    assert!(sent(&log).iter().all(|s| s.priority == 1));
}

#[test]
fn c63_advertisements_leave_every_interval_without_drift() {
    let mut bench = Bench::new(&[router(100)]);
    bench.until_active();
    let promoted = bench.now;
    let log = bench.advance(1_000 * SECOND);
    let sent = sent(&log);
    assert_eq!(sent.len(), 1_000);
    for (n, advertisement) in (1..).zip(&sent) {
        assert_eq!(advertisement.at, promoted + n * SECOND);
    }
    assert_eq!(bench.counters().advertisements_sent, 1_001);
}

#[test]
fn c63_lateness_does_not_shift_the_schedule_and_missed_ticks_are_not_made_up() {
    let mut bench = Bench::active(router(100));
    let due = bench.election.next_timeout().unwrap();
    bench.now = due + millis(300);
    assert_eq!(sent(&bench.settle()).len(), 1);
    assert_eq!(bench.election.next_timeout(), Some(due + SECOND));
    bench.now = due + millis(2_500);
    assert_eq!(sent(&bench.settle()).len(), 1, "one for two missed ticks");
    assert_eq!(bench.election.next_timeout(), Some(due + 3 * SECOND));
}

#[test]
fn c64_a_leaving_router_is_answered_at_once_and_advertisements_go_on() {
    let mut bench = Bench::active(router(100));
    bench.advance(millis(400));
    let log = bench.hear(&from(1, 0));
    assert_eq!(story(&log), ["send 100"]);
    assert_eq!(bench.state(), StateName::Active);
    assert!(bench.timeout() <= SECOND);
}

#[test]
fn c65_a_higher_priority_makes_it_backup_with_the_learned_interval() {
    let mut bench = Bench::active(router(100));
    let log = bench.hear(&from(1, 101).centiseconds(20));
    assert_eq!(deeds(&log), ["withdraw"]);
    assert_eq!(bench.status().reason, Reason::HigherPriority);
    assert_eq!(bench.timeout(), down(100) / 5);
    assert_eq!(bench.status().advertisement_interval, millis(200));
    assert!(sent(&bench.advance(down(100) / 5 - nanos(1))).is_empty());
}

#[test]
fn c66_an_equal_priority_from_a_greater_address_makes_it_backup() {
    let mut bench = Bench::active(router(100));
    let log = bench.hear(&from(6, 100));
    assert_eq!(story(&log), ["withdraw", "Active > Backup: HigherAddress"]);
    assert_eq!(bench.timeout(), down(100));
}

#[test]
fn c67_an_equal_priority_from_a_smaller_address_is_answered() {
    let mut bench = Bench::active(router(100));
    let log = bench.hear(&from(4, 100));
    assert_eq!(deeds(&log), ["send 100", "announce 10.77.0.100"]);
    assert_eq!(bench.state(), StateName::Active);
}

#[test]
fn c68_a_lower_priority_is_answered_at_once() {
    for last in [4, 6] {
        let mut bench = Bench::active(router(100));
        bench.advance(millis(400));
        let log = bench.hear(&from(last, 99));
        assert_eq!(sent(&log).len(), 1);
        assert_eq!(sent(&log)[0].at, bench.now);
        assert_eq!(bench.state(), StateName::Active);
    }
}

#[test]
fn c69_addresses_compare_as_unsigned_numbers_in_network_order() {
    // Ours, theirs, whether theirs is greater.
    let pairs = [
        ("10.0.0.9", "10.0.0.200", true),
        ("10.0.0.200", "10.0.0.9", false),
        ("10.255.255.255", "192.0.2.1", true),
        ("192.0.2.1", "10.255.255.255", false),
        ("127.255.255.255", "128.0.0.1", true),
    ];
    for (ours, theirs, greater) in pairs {
        let config = RouterConfig {
            source: Some(ours.parse().unwrap()),
            ..router(100)
        };
        let mut bench = Bench::active(config);
        bench.hear(&from(1, 100).source(theirs));
        let yielded = bench.state() == StateName::Backup;
        assert_eq!(yielded, greater, "{ours} against {theirs}");
    }
    for (ours, theirs, greater) in [
        ("fe80::7f", "fe80::80", true),
        ("fe80::80", "fe80::7f", false),
    ] {
        let config = RouterConfig {
            source: Some(ours.parse().unwrap()),
            ..router_v6(100)
        };
        let mut bench = Bench::active(config);
        bench.hear(&from_v6(1, 100).source(theirs));
        let yielded = bench.state() == StateName::Backup;
        assert_eq!(yielded, greater, "{ours} against {theirs}");
    }
}

#[test]
fn c70_preemption_is_not_asked_about_as_active() {
    for mode in [Preemption::Never, Preemption::Delayed(60 * SECOND)] {
        let config = RouterConfig {
            preemption: mode,
            ..router(100)
        };
        let mut bench = Bench::active(config);
        bench.hear(&from(1, 101));
        assert_eq!(bench.state(), StateName::Backup);
    }
}

#[test]
fn c94_an_owner_that_hears_another_reports_it_and_the_greater_address_wins() {
    let mut bench = Bench::active(router(255));
    let log = bench.hear(&from(4, 255));
    let expected = ["refused: OwnerConflict", "send 255", "announce 10.77.0.100"];
    assert_eq!(story(&log), expected);
    let log = bench.hear(&from(6, 255));
    assert!(story(&log).contains(&"Active > Backup: HigherAddress".into()));
    assert_eq!(bench.counters().owner_conflicts, 2);
}

#[test]
fn c73_what_an_owner_hears_is_reported_and_obeyed_by_the_rules() {
    let mut bench = Bench::active(router(255));
    let log = bench.hear(&from(1, 100));
    assert_eq!(story(&log)[..2], ["refused: OwnerConflict", "send 255"]);
    assert_eq!(bench.state(), StateName::Active);
    assert_eq!(bench.counters().advertisements_received, 1);
    let log = bench.hear(&from(1, 100));
    assert!(
        !story(&log).contains(&"refused: OwnerConflict".into()),
        "told once"
    );
    assert_eq!(bench.counters().owner_conflicts, 2, "counted each time");
}

#[test]
fn our_priority_from_our_address_is_reported_and_nobody_yields() {
    let mut bench = Bench::active(router(100));
    let log = bench.hear(&from(5, 100));
    assert_eq!(story(&log), ["refused: DuplicateSource"]);
    assert_eq!(bench.state(), StateName::Active);
    assert_eq!(bench.counters().duplicate_sources, 1);
}

#[test]
fn answers_leave_at_most_every_ten_milliseconds() {
    let mut bench = Bench::active(router(100));
    let start = bench.now;
    let mut answers = Vec::new();
    for _ in 0..50_000 {
        answers.extend(sent(&bench.hear(&from(1, 99))));
        bench.advance(nanos(2_000));
    }
    assert_eq!(bench.now.since(start), millis(100));
    assert_eq!(answers.len(), 10);
    for pair in answers.windows(2) {
        assert!(pair[1].at.since(pair[0].at) >= millis(10));
    }
}

#[test]
fn a_flood_of_lower_priorities_does_not_delay_our_own_advertisements() {
    let mut bench = Bench::active(router(100));
    let tick = bench.election.next_timeout().unwrap();
    let mut log = Vec::new();
    for _ in 0..300 {
        log.extend(bench.hear(&from(1, 99)));
        log.extend(bench.advance(millis(10)));
    }
    let times: Vec<_> = sent(&log).iter().map(|s| s.at).collect();
    for n in 0..3 {
        assert!(times.contains(&(tick + n * SECOND)), "tick {n}");
    }
}

#[test]
fn a_demoted_router_becomes_active_again_when_the_other_leaves() {
    let mut bench = Bench::active(router(100));
    bench.hear(&from(1, 200));
    bench.hear(&from(1, 0));
    assert_eq!(bench.timeout(), skew(100));
    bench.fire();
    let status = bench.status();
    assert_eq!(
        (status.state, status.reason),
        (StateName::Active, Reason::Released)
    );
    assert_eq!(status.counters.active_transitions, 2);
}

#[test]
fn the_transition_says_who_caused_it() {
    let mut bench = Bench::active(router(100));
    let log = bench.hear(&from(9, 200));
    let Some((_, Output::Report(vipkeeper_vrrp::Report::Transition { source, .. }))) = log.last()
    else {
        panic!("{log:?}");
    };
    assert_eq!(*source, Some(peer(9)));
}

#[test]
fn c14_the_owner_advertises_255_whatever_its_trackers_say() {
    let mut bench = Bench::active(router(255));
    bench.weight(-100);
    let log = bench.advance(SECOND);
    assert_eq!(sent(&log)[0].priority, 255);
    assert_eq!(bench.status().effective_priority, 255);
}

#[test]
fn c78_each_field_is_what_it_is_now() {
    let mut bench = Bench::active(router(100));
    bench.weight(-30);
    assert_eq!(sent(&bench.advance(SECOND))[0].priority, 70);
    let edited = RouterConfig {
        protocol: crate::bench::v3(50),
        addresses: crate::bench::addresses(&[peer(101), peer(100)]),
        down_advertisements: NonZeroU8::new(5).unwrap(),
        ..router(120)
    };
    bench.apply(&[edited]);
    let log = bench.advance(SECOND);
    let last = sent(&log).pop().unwrap();
    assert_eq!(last.priority, 90);
    assert_eq!(last.interval, millis(500));
    assert_eq!(last.addresses, [peer(101), peer(100)]);
}

#[test]
fn c01_advertisements_leave_from_the_primary_address_and_without_one_not_at_all() {
    let mut bench = Bench::active(router(100));
    assert_eq!(sent(&bench.advance(SECOND))[0].source, IpAddr::from(OWN));
    let moved = "10.77.0.7".parse().ok();
    bench.link(
        IFINDEX,
        InterfaceState {
            ipv4: moved,
            ..running()
        },
    );
    assert_eq!(sent(&bench.advance(SECOND))[0].source, peer(7));
    let log = bench.link(
        IFINDEX,
        InterfaceState {
            ipv4: None,
            ..running()
        },
    );
    assert_eq!(deeds(&log), ["withdraw"]);
    assert_eq!(bench.advance(10 * SECOND), []);
}

#[test]
fn c06_over_ipv6_they_leave_from_the_link_local_address() {
    let mut bench = Bench::active(router_v6(100));
    assert_eq!(sent(&bench.advance(SECOND))[0].source, IpAddr::from(OWN_V6));
}

#[test]
fn c80_each_router_advertises_out_of_its_interface_to_its_group() {
    let other = RouterConfig {
        name: "other".into(),
        interface: Some(OTHER_IFINDEX),
        ..router_v6(100)
    };
    let mut bench = Bench::new(&[router(100), other]);
    bench.advance(5 * SECOND);
    for advertisement in sent(&bench.advance(SECOND)) {
        let (interface, group) = match advertisement.source {
            IpAddr::V4(_) => (IFINDEX, "224.0.0.18"),
            IpAddr::V6(_) => (OTHER_IFINDEX, "ff02::12"),
        };
        assert_eq!(advertisement.interface, interface);
        assert_eq!(advertisement.destination.to_string(), group);
    }
}
