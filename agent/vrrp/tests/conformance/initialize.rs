//! RFC 9568 §6.4.1, Initialize.

use vipkeeper_vrrp::StateName;

use crate::bench::{Bench, IFINDEX, SECOND, down, router, router_v6, running, sent, story};
use crate::forge::from;

#[test]
fn c38_the_owner_advertises_announces_and_is_active_at_once() {
    let (bench, log) = Bench::started(&[router(255)]);
    let expected = [
        "send 255",
        "Initialize > Active: AddressOwner",
        "announce 10.77.0.100",
    ];
    assert_eq!(story(&log), expected);
    assert_eq!(sent(&log)[0].at, bench.now);
}

#[test]
fn c38_the_owners_adver_timer_runs_from_its_first_advertisement() {
    let (mut bench, log) = Bench::started(&[router(255)]);
    let start = sent(&log)[0].at;
    let next = sent(&bench.advance(SECOND));
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].at, start + SECOND);
}

#[test]
fn c38_every_address_of_the_owner_is_announced() {
    let (_, log) = Bench::started(&[router_v6(255)]);
    let expected = ["announce fe80::100", "announce 2001:db8::100"];
    assert_eq!(&story(&log)[2..], expected);
}

#[test]
fn c41_everybody_else_waits_as_backup_and_says_nothing() {
    let (bench, log) = Bench::started(&[router(254)]);
    assert_eq!(story(&log), ["Initialize > Backup: Startup"]);
    assert_eq!(bench.timeout(), down(254));
    let status = bench.status();
    assert_eq!(status.advertisement_interval, SECOND, "its own");
    assert_eq!(status.active_down_interval, down(254));
}

#[test]
fn advertisements_leave_a_router_in_initialize_alone() {
    let mut bench = Bench::empty();
    bench.apply(&[router(100)]);
    assert_eq!(bench.hear(&from(1, 200)), []);
    assert_eq!(bench.hear(&from(1, 0)), []);
    assert_eq!(bench.state(), StateName::Initialize);
    assert_eq!(bench.election.next_timeout(), None);
    bench.link(IFINDEX, running());
    assert_eq!(
        bench.timeout(),
        down(100),
        "what was heard before does not count"
    );
}
