//! Planned moves: the lame duck, what is parked and for how long, and everything that cuts either short.
//!
//! Priority 200, every second: a lame duck waits three intervals, the largest skew (one interval) and 200 ms.

use std::time::Duration;

use vipkeeper_vrrp::{
    Command, Output, Preemption, Priority, Remainder, RouterConfig, StateName, VirtualAddress,
};

use crate::bench::{
    Bench, IFINDEX, Kernel, Log, SECOND, VIP, addresses, deeds, down, millis, router, router_v2,
    router_v6, running, sent, skew, story,
};
use crate::forge::{from, from_v6, peer};

const LINGER: Duration = SECOND;
const PATIENCE: Duration = millis(4_200);

fn lingering(priority: u8) -> RouterConfig {
    RouterConfig {
        linger: LINGER,
        ..router(priority)
    }
}

fn drained(config: &RouterConfig) -> RouterConfig {
    RouterConfig {
        drained: true,
        ..config.clone()
    }
}

fn never(priority: u8) -> RouterConfig {
    RouterConfig {
        preemption: Preemption::Never,
        ..lingering(priority)
    }
}

/// An Active that was told to stop, and what it did.
fn stopping() -> (Bench, Log) {
    let mut bench = Bench::active(lingering(200));
    let log = bench.command(Command::Shutdown);
    (bench, log)
}

/// A drained Active whose peers do not preempt: a lame duck that comes back if nobody takes over.
fn aside() -> Bench {
    let mut bench = Bench::active(never(200));
    let log = bench.apply(&[drained(&never(200))]);
    assert_eq!(story(&log), ["send 0", "Active > Initialize: Drained"]);
    assert_eq!(bench.status().remainder, Some(Remainder::LameDuck));
    bench
}

fn parked() -> Bench {
    let mut bench = Bench::active(lingering(100));
    let log = bench.hear(&from(1, 200));
    assert_eq!(story(&log), ["park", "Active > Backup: HigherPriority"]);
    bench
}

#[test]
fn x09_a_stopping_active_serves_in_silence_until_its_successor_advertises() {
    let (mut bench, log) = stopping();
    assert_eq!(story(&log), ["send 0", "Active > Initialize: Shutdown"]);
    assert!(!bench.election.has_left());
    assert_eq!(deeds(&bench.advance(millis(4))), [""; 0]);
    assert_eq!(
        deeds(&bench.advance(millis(1))),
        ["send 0"],
        "in case the first was lost"
    );
    assert_eq!(deeds(&bench.advance(SECOND)), [""; 0]);
    assert_eq!(story(&bench.hear(&from(1, 100))), ["park"]);
    assert_eq!(bench.status().remainder, Some(Remainder::Parked));
    assert!(!bench.election.has_left());
    assert_eq!(
        deeds(&bench.advance(LINGER - Duration::from_nanos(1))),
        [""; 0]
    );
    assert_eq!(deeds(&bench.advance(Duration::from_nanos(1))), ["withdraw"]);
    assert!(bench.election.has_left());
    assert_eq!(bench.election.next_timeout(), None);
}

#[test]
fn x09_priority_zero_is_not_repeated_once_the_successor_was_heard() {
    let (mut bench, _) = stopping();
    bench.advance(millis(1));
    assert_eq!(story(&bench.hear(&from(1, 100))), ["park"]);
    assert_eq!(sent(&bench.advance(LINGER)), []);
}

#[test]
fn x09_over_ipv6_and_in_version_2_it_is_the_same() {
    let v6 = RouterConfig {
        linger: LINGER,
        ..router_v6(200)
    };
    let mut bench = Bench::active(v6);
    bench.command(Command::Shutdown);
    assert_eq!(story(&bench.hear(&from_v6(1, 100))), ["park"]);
    let v2 = RouterConfig {
        linger: LINGER,
        ..router_v2(200)
    };
    let mut bench = Bench::active(v2);
    bench.command(Command::Shutdown);
    assert_eq!(deeds(&bench.advance(PATIENCE)), ["send 0", "park"]);
}

#[test]
fn x09_a_stop_that_nobody_takes_over_ends_when_its_patience_and_the_linger_do() {
    let (mut bench, _) = stopping();
    let log = bench.advance(PATIENCE - Duration::from_nanos(1));
    assert_eq!(deeds(&log), ["send 0"]);
    assert_eq!(deeds(&bench.advance(Duration::from_nanos(1))), ["park"]);
    assert_eq!(deeds(&bench.advance(LINGER)), ["withdraw"]);
    assert!(bench.election.has_left());
    assert_eq!(lingering(200).longest_handover(), PATIENCE + LINGER);
}

#[test]
fn x09_another_that_leaves_is_no_successor_of_a_stopping_one() {
    let (mut bench, _) = stopping();
    assert_eq!(story(&bench.hear(&from(1, 0))), [""; 0]);
    assert_eq!(bench.status().remainder, Some(Remainder::LameDuck));
}

#[test]
fn x09_a_linger_of_zero_takes_the_addresses_off_at_once() {
    let mut bench = Bench::active(router(200));
    let log = bench.command(Command::Shutdown);
    assert_eq!(deeds(&log), ["send 0", "withdraw"]);
    assert!(bench.election.has_left());
    let mut bench = Bench::active(router(100));
    assert_eq!(deeds(&bench.hear(&from(1, 200))), ["withdraw"]);
    assert_eq!(router(100).longest_handover(), Duration::ZERO);
}

#[test]
fn x09_what_the_kernel_has_not_confirmed_is_withdrawn_and_not_parked() {
    let mut bench = Bench::new(&[lingering(200)]);
    bench.kernel = Kernel::Waits;
    bench.until_active();
    assert_eq!(
        deeds(&bench.command(Command::Shutdown)),
        ["send 0", "withdraw"]
    );
}

#[test]
fn x09_a_demoted_active_parks_until_its_neighbours_know() {
    let mut bench = parked();
    assert_eq!(bench.status().remainder, Some(Remainder::Parked));
    assert_eq!(deeds(&bench.advance(LINGER)), ["withdraw"]);
    assert_eq!(bench.status().remainder, None);
}

#[test]
fn x09_the_order_to_park_says_what_and_for_how_long() {
    let mut bench = Bench::active(lingering(100));
    let log = bench.hear(&from(1, 200));
    let parks = |output: &Output| match output {
        Output::Park(park) => Some((park.interface, park.linger, park.addresses.to_vec())),
        _ => None,
    };
    let vip = VirtualAddress {
        address: VIP,
        prefix_length: 32,
        interface: None,
    };
    let found: Vec<_> = log.iter().filter_map(|(_, output)| parks(output)).collect();
    assert_eq!(found, [(IFINDEX, LINGER, vec![vip])]);
}

#[test]
fn x09_one_that_is_promoted_again_while_parked_takes_its_addresses_back() {
    let long = RouterConfig {
        linger: 60 * SECOND,
        ..router(100)
    };
    let mut bench = Bench::active(long);
    bench.hear(&from(1, 200));
    bench.hear(&from(1, 0));
    let log = bench.advance(skew(100));
    let expected = [
        "send 100",
        "install",
        "Backup > Active: Released",
        "announce 10.77.0.100",
    ];
    assert_eq!(story(&log), expected);
    assert_eq!(bench.status().remainder, None);
    let later = deeds(&bench.advance(60 * SECOND));
    assert!(!later.contains(&"withdraw".to_owned()), "{later:?}");
}

#[test]
fn x09_an_interface_that_is_lost_ends_it_at_once() {
    let down = vipkeeper_vrrp::InterfaceState {
        running: false,
        ..running()
    };
    let (mut bench, _) = stopping();
    assert_eq!(deeds(&bench.link(IFINDEX, down)), ["withdraw"]);
    assert!(bench.election.has_left());
    let mut bench = parked();
    assert_eq!(deeds(&bench.link(IFINDEX, down)), ["withdraw"]);
    assert_eq!(deeds(&bench.advance(10 * SECOND)), [""; 0]);
    let mut bench = aside();
    assert_eq!(deeds(&bench.link(IFINDEX, down)), ["withdraw"]);
}

#[test]
fn x09_a_router_that_is_removed_or_becomes_another_ends_it_at_once() {
    let another = RouterConfig {
        vrid: vipkeeper_wire::Vrid::new(11).unwrap(),
        ..never(200)
    };
    for plan in [vec![], vec![another]] {
        assert_eq!(deeds(&aside().apply(&plan)), ["withdraw"]);
        assert_eq!(deeds(&parked().apply(&plan)), ["withdraw"]);
    }
}

#[test]
fn x09_an_address_that_the_configuration_drops_is_withdrawn_while_the_others_linger() {
    let two = RouterConfig {
        addresses: addresses(&[VIP, peer(101)]),
        ..lingering(100)
    };
    let mut bench = Bench::active(two);
    bench.hear(&from(1, 200));
    let log = bench.apply(&[lingering(100)]);
    let withdrawn = log.iter().find_map(|(_, output)| match output {
        Output::Withdraw(withdraw) => Some(withdraw.addresses[0].address),
        _ => None,
    });
    assert_eq!(withdrawn, Some(peer(101)));
    assert_eq!(bench.status().remainder, Some(Remainder::Parked));
}

#[test]
fn x09_a_backup_that_stops_while_parked_leaves_when_the_linger_ends() {
    let mut bench = parked();
    let log = bench.command(Command::Shutdown);
    assert_eq!(story(&log), ["Backup > Initialize: Shutdown"]);
    assert!(!bench.election.has_left());
    assert_eq!(deeds(&bench.advance(LINGER)), ["withdraw"]);
    assert!(bench.election.has_left());
}

#[test]
fn x09_a_stop_that_is_taken_back_serves_on() {
    let (mut bench, _) = stopping();
    let log = bench.apply(&[lingering(200)]);
    let expected = [
        "send 200",
        "install",
        "Initialize > Active: Resumed",
        "announce 10.77.0.100",
    ];
    assert_eq!(story(&log), expected);
}

#[test]
fn x09_a_stalled_active_parks_and_listens() {
    let mut bench = Bench::active(lingering(200));
    bench.stall(10 * SECOND);
    assert_eq!(deeds(&bench.settle()), ["park"]);
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn x10_a_drained_active_advertises_1_and_serves_until_it_is_preempted() {
    let mut bench = Bench::active(lingering(200));
    assert_eq!(bench.apply(&[drained(&lingering(200))]), []);
    let log = bench.advance(10 * SECOND);
    assert_eq!(sent(&log).len(), 10);
    assert!(sent(&log).iter().all(|s| s.priority == 1));
    let status = bench.status();
    assert_eq!((status.priority, status.effective_priority), (200, 1));
    assert!(status.drained);
    assert_eq!(
        story(&bench.hear(&from(1, 100))),
        ["park", "Active > Backup: HigherPriority"]
    );
}

#[test]
fn x10_weights_do_not_matter_to_a_drained_router() {
    let mut bench = Bench::active(drained(&lingering(200)));
    bench.weight(20);
    assert_eq!(bench.status().effective_priority, 1);
}

#[test]
fn x10_a_drained_backup_waits_with_priority_1_and_serves_if_nobody_else_does() {
    let mut bench = Bench::new(&[drained(&lingering(200))]);
    bench.hear(&from(1, 100));
    assert_eq!(bench.timeout(), down(1));
    let log = bench.advance(down(1));
    assert_eq!(deeds(&log)[..2], ["send 1", "install"]);
}

#[test]
fn x10_an_address_owner_cannot_be_drained() {
    let owner = RouterConfig {
        priority: Priority::OWNER,
        ..lingering(200)
    };
    let mut bench = Bench::active(owner.clone());
    assert_eq!(bench.apply(&[drained(&owner)]), []);
    let status = bench.status();
    assert_eq!((status.effective_priority, status.drained), (255, false));
}

#[test]
fn x10_where_peers_do_not_preempt_a_drained_active_says_priority_zero_and_follows_its_successor() {
    let mut bench = aside();
    assert_eq!(deeds(&bench.advance(millis(5))), ["send 0"]);
    let log = bench.hear(&from(1, 100));
    assert_eq!(story(&log), ["park", "Initialize > Backup: Drained"]);
    assert_eq!(bench.timeout(), LINGER);
    assert_eq!(deeds(&bench.advance(LINGER)), ["withdraw"]);
    assert_eq!(bench.timeout(), down(1) - LINGER);
}

#[test]
fn x10_a_drained_lame_duck_that_nobody_relieves_is_active_again_and_asks_once_a_minute() {
    let mut bench = aside();
    let log = bench.advance(PATIENCE);
    let expected = [
        "send 0",
        "send 1",
        "install",
        "Initialize > Active: NoSuccessor",
        "announce 10.77.0.100",
    ];
    assert_eq!(story(&log), expected);
    let log = bench.advance(59 * SECOND);
    assert!(sent(&log).iter().all(|s| s.priority == 1));
    let log = bench.advance(SECOND);
    assert_eq!(sent(&log).last().map(|s| s.priority), Some(0));
    assert_eq!(bench.status().remainder, Some(Remainder::LameDuck));
}

#[test]
fn x10_a_drained_lame_duck_serves_on_when_the_other_leaves_too() {
    let mut bench = aside();
    let log = bench.hear(&from(1, 0));
    let expected = [
        "send 1",
        "install",
        "Initialize > Active: Released",
        "announce 10.77.0.100",
    ];
    assert_eq!(story(&log), expected);
}

#[test]
fn x10_a_drain_that_is_taken_back_serves_on_with_its_own_priority() {
    let mut bench = aside();
    let log = bench.apply(&[never(200)]);
    let expected = [
        "send 200",
        "install",
        "Initialize > Active: Resumed",
        "announce 10.77.0.100",
    ];
    assert_eq!(story(&log), expected);
    let later = bench.advance(120 * SECOND);
    assert!(sent(&later).iter().all(|s| s.priority == 200));
}

#[test]
fn x10_news_of_its_interface_do_not_end_a_drained_lame_duck() {
    let mut bench = aside();
    assert_eq!(bench.link(IFINDEX, running()), []);
    assert_eq!(bench.status().remainder, Some(Remainder::LameDuck));
}

#[test]
fn x10_a_drained_lame_duck_that_is_stopped_does_not_come_back() {
    let mut bench = aside();
    bench.command(Command::Shutdown);
    assert_eq!(
        deeds(&bench.advance(PATIENCE + LINGER)),
        ["send 0", "park", "withdraw"]
    );
    assert!(bench.election.has_left());
}

#[test]
fn x10_a_drained_lame_duck_that_stalled_listens_before_it_is_back() {
    let mut bench = aside();
    bench.stall(PATIENCE + 2 * SECOND);
    let log = bench.settle();
    assert_eq!(
        story(&log),
        ["park", "Initialize > Backup: Stalled", "stalled"]
    );
    let mut bench = aside();
    bench.stall(PATIENCE + 2 * SECOND);
    let successor = bench.now - SECOND;
    bench.hear_late(&from(1, 100), successor);
    assert_eq!(bench.state(), StateName::Backup);
    assert_eq!(bench.timeout(), LINGER);
}

#[test]
fn x10_without_a_linger_a_drained_active_leaves_at_once_and_listens() {
    let strict = RouterConfig {
        linger: Duration::ZERO,
        ..never(200)
    };
    let mut bench = Bench::active(strict.clone());
    let log = bench.apply(&[drained(&strict)]);
    assert_eq!(
        story(&log),
        ["send 0", "withdraw", "Active > Backup: Drained"]
    );
    assert_eq!(bench.timeout(), down(1));
    let log = bench.advance(300 * SECOND);
    assert_eq!(deeds(&log).iter().filter(|d| *d == "withdraw").count(), 0);
    assert_eq!(bench.state(), StateName::Active);
}
