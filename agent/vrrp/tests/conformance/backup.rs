//! RFC 9568 §6.4.2, Backup.

use vipkeeper_vrrp::{Command, Preemption, Reason, RouterConfig, StateName};

use crate::bench::{
    Bench, SECOND, addresses, deeds, down, millis, nanos, router, router_v6, sent, skew, story,
};
use crate::forge::{Frame, from, from_v6, peer};

fn preempting(mode: Preemption) -> RouterConfig {
    RouterConfig {
        preemption: mode,
        ..router(100)
    }
}

#[test]
fn c47_shutdown_as_backup_says_nothing_and_stops_the_timer() {
    let mut bench = Bench::new(&[router(100)]);
    let log = bench.command(Command::Shutdown);
    assert_eq!(story(&log), ["Backup > Initialize: Shutdown"]);
    assert_eq!(bench.election.next_timeout(), None);
}

#[test]
fn c48_when_nothing_is_heard_it_advertises_installs_and_announces() {
    let mut bench = Bench::new(&[router(100)]);
    let start = bench.now;
    let log = bench.fire();
    let expected = [
        "send 100",
        "install",
        "Backup > Active: NoResponse",
        "announce 10.77.0.100",
    ];
    assert_eq!(story(&log), expected);
    assert_eq!(bench.now, start + down(100), "to the nanosecond");
    let promoted = bench.now;
    let next = sent(&bench.advance(SECOND));
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].at, promoted + SECOND);
}

#[test]
fn c48_not_a_nanosecond_early() {
    let mut bench = Bench::new(&[router(100)]);
    assert_eq!(bench.advance(down(100) - nanos(1)), []);
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn c48_a_promotion_is_counted_with_its_reason() {
    let mut bench = Bench::new(&[router(100)]);
    bench.until_active();
    let status = bench.status();
    assert_eq!(status.counters.active_transitions, 1);
    assert_eq!(status.reason, Reason::NoResponse);
    assert_eq!(status.since, bench.now);
    assert_eq!(status.transitions, 2);
}

#[test]
fn c50_priority_zero_sets_the_timer_to_skew() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200));
    bench.advance(millis(300));
    bench.hear(&from(1, 0));
    assert_eq!(bench.timeout(), skew(100));
    let log = bench.fire();
    assert_eq!(story(&log)[2], "Backup > Active: Released");
    assert_eq!(bench.counters().priority_zero_received, 1);
}

#[test]
fn c50_an_advertisement_after_priority_zero_sets_the_whole_timer_again() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 0));
    bench.hear(&from(2, 150));
    assert_eq!(bench.timeout(), down(100));
}

#[test]
fn c50_the_skew_is_that_of_the_learned_interval() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200).centiseconds(10));
    bench.hear(&from(1, 0).centiseconds(10));
    assert_eq!(bench.timeout(), skew(100) / 10);
}

#[test]
fn c51_a_higher_or_equal_priority_sets_the_timer_and_teaches_its_interval() {
    for priority in [100, 101, 255] {
        let mut bench = Bench::new(&[router(100)]);
        bench.advance(3 * SECOND);
        assert_eq!(bench.hear(&from(1, priority)), []);
        assert_eq!(bench.timeout(), down(100));
        bench.advance(SECOND);
        bench.hear(&from(1, priority).centiseconds(20));
        assert_eq!(bench.timeout(), down(100) / 5, "{priority}");
        let status = bench.status();
        assert_eq!(status.advertisement_interval, millis(200));
        assert_eq!(status.active_down_interval, down(100) / 5);
        assert_eq!(status.skew_time, skew(100) / 5);
        assert_eq!(status.last_advertisement.unwrap().from, peer(1));
        assert_eq!(status.last_advertisement.unwrap().priority, priority);
    }
}

#[test]
fn c51_the_timer_counts_from_the_arrival_and_not_from_when_it_was_read() {
    let mut bench = Bench::new(&[router(100)]);
    let arrival = bench.now + millis(500);
    bench.advance(millis(700));
    bench.hear_late(&from(1, 200), arrival);
    assert_eq!(bench.timeout(), down(100) - millis(200));
}

#[test]
fn c51_an_active_keeps_its_own_interval_whatever_it_learned_as_backup() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200).centiseconds(20));
    bench.until_active();
    let promoted = bench.now;
    let log = bench.advance(SECOND);
    assert_eq!(sent(&log)[0].at, promoted + SECOND);
    assert_eq!(sent(&log)[0].interval, SECOND);
    assert_eq!(bench.status().advertisement_interval, SECOND);
}

#[test]
fn c52_without_preemption_a_lower_priority_is_followed_like_a_higher_one() {
    let mut bench = Bench::new(&[preempting(Preemption::Never)]);
    bench.advance(3 * SECOND);
    bench.hear(&from(1, 1).centiseconds(20));
    assert_eq!(bench.timeout(), down(100) / 5);
    for _ in 0..50 {
        bench.hear(&from(1, 1));
        assert_eq!(bench.advance(SECOND), []);
    }
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn c53_with_preemption_a_lower_priority_does_not_touch_the_timer() {
    let mut bench = Bench::new(&[router(100)]);
    let due = bench.election.next_timeout();
    for _ in 0..3 {
        bench.advance(SECOND);
        bench.hear(&from(1, 99).centiseconds(20));
        assert_eq!(bench.election.next_timeout(), due);
    }
    assert_eq!(
        bench.status().advertisement_interval,
        SECOND,
        "nothing is learned"
    );
    let log = bench.fire();
    assert_eq!(story(&log)[2], "Backup > Active: Preempted");
}

#[test]
fn c54_a_backup_follows_an_equal_priority_whatever_its_address() {
    for last in [1, 9] {
        let mut bench = Bench::new(&[router(100)]);
        bench.advance(2 * SECOND);
        bench.hear(&from(last, 100));
        assert_eq!(bench.timeout(), down(100), "10.77.0.{last}");
    }
}

#[test]
fn c33_the_owner_preempts_even_where_preemption_is_off() {
    for mode in [Preemption::Never, Preemption::Delayed(60 * SECOND)] {
        let owner = RouterConfig {
            priority: vipkeeper_vrrp::Priority::OWNER,
            ..preempting(mode)
        };
        let mut bench = Bench::new(&[owner]);
        bench.hear(&from(9, 255));
        assert_eq!(
            bench.state(),
            StateName::Backup,
            "to another owner of a higher address"
        );
        let due = bench.election.next_timeout();
        bench.hear(&from(1, 254));
        assert_eq!(
            bench.election.next_timeout(),
            due,
            "a lower priority is not followed"
        );
        assert_eq!(story(&bench.fire())[1], "Backup > Active: Preempted");
    }
}

#[test]
fn c31_the_two_families_of_a_vrid_elect_apart() {
    let mut bench = Bench::new(&[router(100), router_v6(100)]);
    bench.advance(3 * SECOND);
    bench.hear(&from_v6(1, 200));
    bench.advance(SECOND);
    let states = |bench: &Bench| -> Vec<StateName> {
        let routers = bench.election.snapshot(bench.now).routers;
        routers.iter().map(|r| r.state).collect()
    };
    assert_eq!(states(&bench), [StateName::Active, StateName::Backup]);
    bench.hear(&from(1, 200));
    assert_eq!(states(&bench), [StateName::Backup, StateName::Backup]);
    bench.hear(&from_v6(1, 0));
    bench.advance(SECOND);
    assert_eq!(states(&bench), [StateName::Backup, StateName::Active]);
}

#[test]
fn as_many_advertisements_may_be_missed_as_configured() {
    let patient = RouterConfig {
        down_advertisements: std::num::NonZeroU8::new(7).unwrap(),
        ..router(100)
    };
    let mut bench = Bench::new(&[patient]);
    assert_eq!(bench.timeout(), 7 * SECOND + skew(100));
    bench.hear(&from(1, 200));
    assert_eq!(bench.status().active_down_interval, 7 * SECOND + skew(100));
}

#[test]
fn addresses_change_under_a_backup_without_a_word() {
    let mut bench = Bench::new(&[router(100)]);
    bench.advance(SECOND);
    let due = bench.election.next_timeout();
    let more = RouterConfig {
        addresses: addresses(&[peer(100), peer(101)]),
        ..router(100)
    };
    assert_eq!(bench.apply(&[more]), []);
    assert_eq!(bench.election.next_timeout(), due);
    let frame: Frame = from(1, 200).addresses(&["10.77.0.100", "10.77.0.101"]);
    assert_eq!(bench.hear(&frame), [], "it compares with the new list");
    assert_eq!(deeds(&bench.until_active())[..2], ["send 100", "install"]);
}
