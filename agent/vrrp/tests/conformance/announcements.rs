//! When neighbours are told where an address is, and how much is said at once.

use vipkeeper_vrrp::{
    AnnouncementBudget, GratuitousForm, InterfaceState, Output, RouterConfig, StateName,
};

use crate::bench::{
    Bench, IFINDEX, Log, OWN_MAC, SECOND, addresses, announced, millis, router, router_v6, running,
    sent,
};
use crate::forge::{from, peer};

fn times(log: &Log, start: vipkeeper_vrrp::Time) -> Vec<u128> {
    announced(log, start).iter().map(|row| row.0).collect()
}

#[test]
fn an_address_is_announced_six_times_counted_from_the_kernels_confirmation() {
    let mut bench = Bench::new(&[router(100)]);
    let mut log = bench.until_active();
    let start = bench.now;
    log.extend(bench.advance(60 * SECOND));
    assert_eq!(times(&log, start), [0, 20, 100, 500, 2_000, 5_000]);
    assert_eq!(bench.counters().announcements_sent, 6);
}

#[test]
fn requests_and_replies_take_turns_with_the_interfaces_mac_address() {
    let mut bench = Bench::new(&[router(100)]);
    let mut log = bench.until_active();
    log.extend(bench.advance(millis(30)));
    let mut forms = Vec::new();
    for (_, output) in &log {
        if let Output::Announce(announcement) = output {
            assert_eq!(
                (announcement.interface, announcement.mac),
                (IFINDEX, OWN_MAC)
            );
            forms.push(announcement.form);
        }
    }
    assert_eq!(forms, [GratuitousForm::Request, GratuitousForm::Reply]);
}

#[test]
fn the_router_flag_is_that_of_the_interface() {
    for forwards_ipv6 in [true, false] {
        let mut bench = Bench::new(&[router_v6(100)]);
        bench.link(
            IFINDEX,
            InterfaceState {
                forwards_ipv6,
                ..running()
            },
        );
        let log = bench.until_active();
        let Some((_, Output::Announce(announcement))) = log.last() else {
            panic!("{log:?}");
        };
        assert_eq!(announcement.forwards, forwards_ipv6);
    }
}

#[test]
fn an_interface_without_a_mac_address_announces_nothing() {
    let mut bench = Bench::new(&[router(100)]);
    bench.link(
        IFINDEX,
        InterfaceState {
            mac: None,
            ..running()
        },
    );
    let mut log = bench.until_active();
    log.extend(bench.advance(10 * SECOND));
    assert_eq!(announced(&log, bench.now), []);
    assert_eq!(sent(&log).len(), 11);
}

#[test]
fn the_budget_spreads_the_announcements_of_many_addresses() {
    let list: Vec<_> = (100..110).map(peer).collect();
    let config = RouterConfig {
        addresses: addresses(&list),
        ..router(100)
    };
    let mut bench = Bench::new(&[]);
    let budget = AnnouncementBudget {
        frames_per_second: 100,
        burst: 4,
    };
    bench.apply_with(&[config], budget);
    let mut log = bench.until_active();
    let start = bench.now;
    log.extend(bench.advance(10 * SECOND));
    let rows = announced(&log, start);
    let first: Vec<_> = rows[..10].iter().map(|row| row.0).collect();
    assert_eq!(first, [0, 0, 0, 0, 10, 20, 30, 40, 50, 60]);
    let in_order: Vec<_> = rows[..10].iter().map(|row| row.1).collect();
    assert_eq!(in_order, list, "each once before any twice");
    for (n, row) in rows.iter().enumerate().skip(4) {
        let allowed = 4 + row.0 / 10;
        assert!(n as u128 <= allowed, "frame {n} at {} ms", row.0);
    }
}

#[test]
fn the_budget_is_one_for_all_routers_of_an_interface() {
    let named = |name: &str, vrid| RouterConfig {
        name: name.into(),
        vrid: vipkeeper_wire::Vrid::new(vrid).unwrap(),
        ..router(100)
    };
    let mut other = RouterConfig {
        addresses: addresses(&[peer(101)]),
        ..named("b", 11)
    };
    let mut counts = Vec::new();
    for interface in [IFINDEX, crate::bench::OTHER_IFINDEX] {
        other.interface = Some(interface);
        let mut bench = Bench::new(&[]);
        let budget = AnnouncementBudget {
            frames_per_second: 1,
            burst: 1,
        };
        bench.apply_with(&[named("a", 10), other.clone()], budget);
        let log = bench.advance(bench.timeout());
        counts.push(announced(&log, bench.now).len());
    }
    assert_eq!(counts, [1, 2]);
}

#[test]
fn announcements_end_with_the_addresses() {
    let mut bench = Bench::new(&[router(100)]);
    bench.until_active();
    bench.advance(millis(50));
    bench.hear(&from(1, 200));
    let log = bench.advance(millis(2_900));
    assert_eq!(announced(&log, bench.now), []);
}

#[test]
fn a_winner_announces_again_also_between_its_late_rounds() {
    let mut bench = Bench::new(&[router(100)]);
    bench.until_active();
    bench.advance(millis(2_500));
    let start = bench.now;
    let mut log = bench.hear(&from(1, 90));
    log.extend(bench.advance(10 * SECOND));
    assert_eq!(times(&log, start), [0, 20, 100, 500, 2_000, 5_000]);
}

#[test]
fn early_rounds_that_are_under_way_go_on() {
    let mut bench = Bench::new(&[router(100)]);
    bench.until_active();
    let start = bench.now;
    bench.advance(millis(50));
    let mut log = bench.hear(&from(1, 90));
    log.extend(bench.advance(10 * SECOND));
    assert_eq!(times(&log, start), [100, 500, 2_000, 5_000]);
}

#[test]
fn a_flood_of_lower_priorities_makes_a_few_announcements_a_second() {
    let mut bench = Bench::active(router(100));
    let mut log = Log::new();
    for _ in 0..1_000 {
        log.extend(bench.hear(&from(1, 99)));
        log.extend(bench.advance(millis(1)));
    }
    let count = announced(&log, bench.now).len();
    assert!((4..=9).contains(&count), "{count}");
    assert_eq!(bench.state(), StateName::Active);
}

#[test]
fn a_new_mac_address_is_announced_from_the_first_round_on() {
    let mut bench = Bench::new(&[router(100)]);
    bench.until_active();
    bench.advance(millis(200));
    let start = bench.now;
    let mac = Some(vipkeeper_wire::MacAddr([2, 0, 0, 0, 0xff, 2]));
    let mut log = bench.link(IFINDEX, InterfaceState { mac, ..running() });
    log.extend(bench.advance(10 * SECOND));
    assert_eq!(times(&log, start), [0, 20, 100, 500, 2_000, 5_000]);
}
