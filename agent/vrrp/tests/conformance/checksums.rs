//! Version 3 over IPv4 with `checksum: Auto`: both forms until the peers have taught one.

use vipkeeper_vrrp::{
    Centiseconds, ChecksumForm, ChecksumPolicy, Protocol, RouterConfig, StateName,
};
use vipkeeper_wire::vrrp::Body;

use ChecksumForm::{Rfc5798, Rfc9568};

use crate::bench::{Bench, Log, SECOND, millis, router, router_v6, sent, story};
use crate::forge::{Frame, from};

fn auto(priority: u8) -> RouterConfig {
    RouterConfig {
        protocol: Protocol::V3 {
            interval: Centiseconds::new(100).unwrap(),
            checksum: ChecksumPolicy::Auto,
        },
        ..router(priority)
    }
}

fn forms(log: &Log) -> Vec<ChecksumForm> {
    sent(log).iter().filter_map(|s| s.form).collect()
}

/// 10.77.0.`last` with a lower priority.
fn lower(last: u8, form: ChecksumForm) -> Frame {
    from(last, 50).form(form)
}

#[test]
fn both_forms_are_sent_back_to_back_until_a_peer_has_taught_one() {
    let mut bench = Bench::new(&[auto(100)]);
    let log = bench.until_active();
    assert_eq!(forms(&log), [Rfc9568, Rfc5798]);
    assert_eq!(sent(&log)[0].at, sent(&log)[1].at);
    assert_eq!(
        bench.counters().advertisements_sent,
        1,
        "a pair counts once"
    );
    assert_eq!(forms(&bench.advance(SECOND)), [Rfc9568, Rfc5798]);
    bench.hear(&lower(1, Rfc5798));
    assert_eq!(forms(&bench.advance(SECOND)), [Rfc5798]);
}

#[test]
fn the_answer_to_a_lower_priority_is_in_its_own_form() {
    for form in [Rfc9568, Rfc5798] {
        let mut bench = Bench::active(auto(100));
        assert_eq!(forms(&bench.hear(&lower(1, form))), [form]);
    }
}

#[test]
fn a_lesson_lasts_an_hour() {
    let mut bench = Bench::active(auto(100));
    bench.hear(&lower(1, Rfc5798));
    let log = bench.advance(3_600 * SECOND);
    assert!(forms(&log).iter().all(|form| *form == Rfc5798));
    assert_eq!(forms(&bench.advance(SECOND)), [Rfc9568, Rfc5798]);
}

#[test]
fn peers_of_different_forms_keep_both() {
    let mut bench = Bench::active(auto(100));
    bench.hear(&lower(1, Rfc5798));
    bench.hear(&lower(2, Rfc9568));
    assert_eq!(forms(&bench.advance(SECOND)), [Rfc9568, Rfc5798]);
}

#[test]
fn a_sender_of_both_forms_within_three_intervals_teaches_nothing() {
    let mut bench = Bench::active(auto(100));
    bench.hear(&lower(1, Rfc9568));
    bench.advance(3 * SECOND);
    bench.hear(&lower(1, Rfc5798));
    assert_eq!(forms(&bench.advance(SECOND)), [Rfc9568, Rfc5798]);
    bench.advance(3 * SECOND);
    bench.hear(&lower(1, Rfc5798));
    assert_eq!(
        forms(&bench.advance(SECOND)),
        [Rfc5798],
        "it has given up the other"
    );
}

#[test]
fn a_pair_of_forms_counts_as_one_advertisement() {
    let mut bench = Bench::new(&[auto(100)]);
    for _ in 0..5 {
        bench.hear(&from(1, 200).form(Rfc9568));
        bench.advance(millis(1));
        bench.hear(&from(1, 200).form(Rfc5798));
        bench.advance(millis(999));
    }
    let counters = bench.counters();
    assert_eq!(counters.advertisements_received, 5);
    assert_eq!(
        (counters.checksum_rfc9568, counters.checksum_rfc5798),
        (5, 5)
    );
}

#[test]
fn a_pair_of_releases_sets_the_timer_once() {
    let mut bench = Bench::new(&[auto(100)]);
    bench.hear(&from(1, 0).form(Rfc9568));
    let due = bench.election.next_timeout();
    bench.advance(millis(1));
    bench.hear(&from(1, 0).form(Rfc5798));
    assert_eq!(bench.election.next_timeout(), due);
    assert_eq!(bench.counters().priority_zero_received, 1);
}

#[test]
fn either_form_is_heard() {
    for form in [Rfc9568, Rfc5798] {
        let mut bench = Bench::active(auto(100));
        bench.hear(&from(1, 200).form(form));
        assert_eq!(bench.state(), StateName::Backup);
    }
}

#[test]
fn over_ipv6_and_in_version_2_there_is_one_form() {
    let v6 = RouterConfig {
        protocol: auto(100).protocol,
        ..router_v6(100)
    };
    assert_eq!(sent(&Bench::new(&[v6]).until_active()).len(), 1);
    let log = Bench::new(&[crate::bench::router_v2(100)]).until_active();
    assert_eq!(sent(&log).len(), 1);
}

#[test]
fn a_release_is_sent_in_both_forms() {
    let mut bench = Bench::active(auto(100));
    let log = bench.command(vipkeeper_vrrp::Command::Shutdown);
    assert_eq!(story(&log)[..3], ["send 0", "send 0", "withdraw"]);
    assert_eq!(bench.counters().priority_zero_sent, 1);
}

#[test]
fn a_refused_frame_teaches_nothing() {
    let mut bench = Bench::active(auto(100));
    bench.hear(&lower(1, Rfc5798).ttl(254));
    bench.hear(&lower(1, Rfc5798).vrid(11));
    let zero = lower(1, Rfc5798).byte(4, 0).byte(5, 0);
    assert!(matches!(zero.body, Body::V3 { .. }));
    bench.hear(&zero);
    assert_eq!(forms(&bench.advance(SECOND)), [Rfc9568, Rfc5798]);
}

#[test]
fn every_peer_gets_every_form() {
    let config = RouterConfig {
        transport: crate::bench::unicast(&[("10.77.0.1", 0), ("10.77.0.2", 0)]),
        ..auto(100)
    };
    let log = Bench::new(&[config]).until_active();
    let rows: Vec<_> = sent(&log).iter().map(|s| (s.destination, s.form)).collect();
    assert_eq!(rows.len(), 4);
    for last in [1, 2] {
        for form in [Rfc9568, Rfc5798] {
            assert!(rows.contains(&(crate::forge::peer(last), Some(form))));
        }
    }
}
