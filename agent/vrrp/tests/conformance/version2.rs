//! RFC 3768, version 2.

use vipkeeper_vrrp::{RouterConfig, StateName};

use crate::bench::{
    Bench, SECOND, addresses, deeds, down, router, router_v2, router_v6, sent, skew, story, v2,
};
use crate::forge::{from, from_v2, peer};

fn slow(priority: u8) -> RouterConfig {
    RouterConfig {
        protocol: v2(30, None),
        ..router(priority)
    }
}

#[test]
fn c102_version_2_alone_is_sent_and_heard() {
    let mut bench = Bench::new(&[router_v2(100)]);
    assert_eq!(story(&bench.hear(&from(1, 200))), ["refused: Version"]);
    assert_eq!(bench.hear(&from_v2(1, 200)), []);
    let log = bench.until_active();
    assert_eq!(sent(&log)[0].version, 2);
    assert_eq!(sent(&log).len(), 1);
}

#[test]
fn c102_version_2_over_ipv6_is_not_run() {
    let config = RouterConfig {
        protocol: v2(1, None),
        ..router_v6(100)
    };
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "VRRP version 2 exists for IPv4 only"
    );
    let bench = Bench::new(&[config]);
    assert_eq!(bench.election.snapshot(bench.now).routers, []);
}

#[test]
fn c103_another_or_an_unknown_authentication_type_is_refused() {
    let password = Some(*b"secret\0\0");
    for (ours, kinds) in [(None, &[1, 2, 3, 255][..]), (password, &[0, 2, 3, 255])] {
        let config = RouterConfig {
            protocol: v2(1, ours),
            ..router(100)
        };
        for &kind in kinds {
            let mut bench = Bench::new(std::slice::from_ref(&config));
            bench.advance(SECOND);
            let frame = from_v2(1, 200).password(b"secret\0\0").byte(4, kind);
            assert_eq!(story(&bench.hear(&frame)), ["refused: AuthenticationType"]);
            assert_eq!(bench.timeout(), down(100) - SECOND, "type {kind}");
        }
    }
}

#[test]
fn c103_the_password_is_compared_to_its_last_byte() {
    let config = RouterConfig {
        protocol: v2(1, Some(*b"password")),
        ..router(100)
    };
    let mut bench = Bench::new(&[config]);
    for wrong in [b"Password", b"passworD", b"passwor\0", b"\0\0\0\0\0\0\0\0"] {
        bench.hear(&from_v2(1, 200).password(wrong));
    }
    assert_eq!(bench.counters().authentication_failures, 4);
    assert_eq!(bench.counters().advertisements_received, 0);
    bench.hear(&from_v2(1, 200).password(b"password"));
    assert_eq!(bench.counters().advertisements_received, 1);
}

#[test]
fn a_password_is_sent_with_every_advertisement() {
    let config = RouterConfig {
        protocol: v2(1, Some(*b"password")),
        ..router(100)
    };
    let mut bench = Bench::active(config);
    let log = bench.command(vipkeeper_vrrp::Command::Shutdown);
    assert_eq!(sent(&log)[0].authentication, Some((1, *b"password")));
}

#[test]
fn c106_without_a_password_the_data_is_zero_when_sent_and_ignored_when_heard() {
    let mut bench = Bench::active(router_v2(100));
    let log = bench.advance(SECOND);
    assert_eq!(sent(&log)[0].authentication, Some((0, [0; 8])));
    let mut bench = Bench::new(&[router_v2(100)]);
    let frame = from_v2(1, 200).password(b"whatever").byte(4, 0);
    assert_eq!(bench.hear(&frame), []);
    assert_eq!(bench.counters().advertisements_received, 1);
}

#[test]
fn c107_the_skew_is_a_fraction_of_a_second_whatever_the_interval() {
    let mut bench = Bench::new(&[slow(100)]);
    assert_eq!(bench.timeout(), 90 * SECOND + skew(100));
    bench.hear(&from_v2(1, 0).seconds(30));
    assert_eq!(bench.timeout(), skew(100));
}

#[test]
fn c108_another_interval_is_refused() {
    let mut bench = Bench::new(&[router_v2(100)]);
    bench.advance(SECOND);
    for seconds in [0, 2, 255] {
        bench.hear(&from_v2(1, 200).seconds(1).byte(5, seconds));
        assert_eq!(bench.timeout(), down(100) - SECOND);
    }
    assert_eq!(bench.counters().interval_errors, 3);
    assert_eq!(bench.counters().advertisements_received, 0);
}

#[test]
fn c109_another_address_list_is_refused_but_from_the_owner() {
    let mut bench = Bench::new(&[router_v2(100)]);
    bench.advance(SECOND);
    let other = ["10.77.0.101"];
    bench.hear(&from_v2(1, 254).addresses(&other));
    assert_eq!(bench.timeout(), down(100) - SECOND);
    bench.hear(&from_v2(1, 255).addresses(&other));
    assert_eq!(bench.timeout(), down(100));
    assert_eq!(bench.counters().address_list_errors, 2, "both are counted");
    assert_eq!(bench.counters().advertisements_received, 1);
}

#[test]
fn c110_a_lower_priority_is_answered_as_in_version_3() {
    let mut bench = Bench::active(router_v2(100));
    let log = bench.hear(&from_v2(1, 99));
    assert_eq!(deeds(&log)[0], "send 100");
    let log = bench.hear(&from_v2(9, 100));
    assert_eq!(deeds(&log), ["withdraw"]);
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn version_2_learns_no_interval() {
    let mut bench = Bench::new(&[slow(100)]);
    bench.hear(&from_v2(1, 200).seconds(30));
    let edited = RouterConfig {
        addresses: addresses(&[peer(100)]),
        ..router_v2(100)
    };
    bench.apply(&[edited]);
    assert_eq!(
        bench.status().advertisement_interval,
        SECOND,
        "it is always our own"
    );
    assert_eq!(bench.timeout(), down(100));
}
