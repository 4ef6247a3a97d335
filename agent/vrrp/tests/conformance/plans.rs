//! What a new plan changes, and what it leaves alone; and how a node leaves.

use std::sync::Arc;

use vipkeeper_vrrp::{
    Command, Fact, Output, Plan, Preemption, Priority, Reason, RouterConfig, StateName, Transport,
};
use vipkeeper_wire::Vrid;

use crate::bench::{
    Bench, IFINDEX, Log, OTHER_IFINDEX, SECOND, VIP, addresses, deeds, down, millis, router,
    router_v2, router_v6, sent, story, unicast, v3,
};
use crate::forge::{from, peer};

/// `router` under another name and VRID, with 10.77.0.`vip`.
fn named(name: &str, vrid: u8, vip: u8) -> RouterConfig {
    RouterConfig {
        name: name.into(),
        vrid: Vrid::new(vrid).unwrap(),
        addresses: addresses(&[peer(vip)]),
        ..router(100)
    }
}

#[test]
fn the_same_plan_again_changes_nothing() {
    for mut bench in [Bench::new(&[router(100)]), Bench::active(router(100))] {
        bench.advance(millis(300));
        let before = bench.untouched();
        assert_eq!(bench.apply(&[router(100)]), []);
        assert_eq!(bench.untouched(), before);
    }
}

#[test]
fn what_a_plan_does_not_change_notices_nothing() {
    let mut bench = Bench::new(&[router(100), named("b", 11, 101)]);
    bench.until_active();
    bench.advance(millis(300));
    let before = bench.untouched();
    let changed = RouterConfig {
        priority: Priority::new(50).unwrap(),
        ..named("b", 11, 101)
    };
    let log = bench.apply(&[router(100), changed, named("c", 12, 102)]);
    assert_eq!(story(&log), ["Initialize > Backup: Startup"]);
    assert_eq!(bench.untouched(), before);
}

#[test]
fn a_removed_active_releases_and_withdraws() {
    let mut bench = Bench::active(router(100));
    let log = bench.apply(&[]);
    assert_eq!(
        story(&log),
        ["send 0", "withdraw", "Active > Initialize: Removed"]
    );
    assert_eq!(bench.election.next_timeout(), None);
    assert_eq!(bench.election.snapshot(bench.now).routers, []);
    assert_eq!(story(&bench.hear(&from(1, 200))), ["refused: Vrid"]);
}

#[test]
fn a_removed_backup_leaves_without_a_word() {
    let mut bench = Bench::new(&[router(100)]);
    assert_eq!(story(&bench.apply(&[])), ["Backup > Initialize: Removed"]);
}

#[test]
fn a_router_id_is_not_used_again() {
    let install_of = |log: &Log| {
        log.iter().find_map(|(_, output)| match output {
            Output::Install(install) => Some(install.router),
            _ => None,
        })
    };
    let mut bench = Bench::new(&[router(100)]);
    let first = install_of(&bench.until_active());
    bench.apply(&[]);
    bench.apply(&[router(100)]);
    let second = install_of(&bench.until_active());
    assert_ne!(first.unwrap(), second.unwrap());
}

#[test]
fn the_order_of_the_snapshot_is_that_of_the_plan() {
    let mut bench = Bench::new(&[named("a", 10, 100), named("b", 11, 101)]);
    bench.apply(&[
        named("c", 12, 102),
        named("b", 11, 101),
        named("a", 10, 100),
    ]);
    let routers = bench.election.snapshot(bench.now).routers;
    let names: Vec<&str> = routers.iter().map(|r| &*r.name).collect();
    assert_eq!(names, ["c", "b", "a"]);
}

#[test]
fn priority_preemption_and_lifetime_change_in_place() {
    let mut bench = Bench::active(router(100));
    let next = bench.election.next_timeout();
    let edited = RouterConfig {
        preemption: Preemption::Never,
        ..router(150)
    };
    assert_eq!(bench.apply(std::slice::from_ref(&edited)), []);
    assert_eq!(bench.election.next_timeout(), next);
    let log = bench.apply(&[RouterConfig {
        address_lifetime: None,
        ..edited
    }]);
    assert_eq!(deeds(&log), ["install", "announce 10.77.0.100"]);
    assert_eq!(sent(&bench.advance(SECOND))[0].priority, 150);
    assert_eq!(bench.state(), StateName::Active);
}

#[test]
fn a_backups_timer_follows_its_new_priority_from_the_last_advertisement() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 250));
    let heard = bench.now;
    bench.advance(millis(400));
    bench.apply(&[router(200)]);
    assert_eq!(bench.election.next_timeout(), Some(heard + down(200)));
}

#[test]
fn a_backup_that_becomes_the_owner_is_active_at_once() {
    let mut bench = Bench::new(&[router(100)]);
    bench.host(IFINDEX, &[VIP]);
    let log = bench.apply(&[router(255)]);
    assert_eq!(deeds(&log)[..2], ["send 255", "announce 10.77.0.100"]);
    assert_eq!(bench.status().reason, Reason::AddressOwner);
}

#[test]
fn an_active_takes_a_shorter_interval_at_once_and_a_longer_one_after_the_next_advertisement() {
    let mut bench = Bench::active(router(100));
    bench.advance(millis(100));
    let start = bench.now;
    let interval = |cs| RouterConfig {
        protocol: v3(cs),
        ..router(100)
    };
    bench.apply(&[interval(20)]);
    let log = bench.advance(SECOND);
    let after: Vec<u128> = sent(&log)
        .iter()
        .map(|s| s.at.since(start).as_millis())
        .collect();
    assert_eq!(after, [200, 400, 600, 800, 1_000]);
    bench.apply(&[interval(400)]);
    let start = bench.now;
    let log = bench.advance(8 * SECOND);
    let after: Vec<u128> = sent(&log)
        .iter()
        .map(|s| s.at.since(start).as_millis())
        .collect();
    assert_eq!(after, [200, 4_000, 8_000]);
}

#[test]
fn a_backup_that_heard_nobody_takes_its_own_new_interval() {
    let mut bench = Bench::new(&[router(100)]);
    let start = bench.now;
    bench.advance(millis(100));
    bench.apply(&[RouterConfig {
        protocol: v3(50),
        ..router(100)
    }]);
    assert_eq!(bench.election.next_timeout(), Some(start + down(100) / 2));
}

#[test]
fn what_a_backup_learned_outlives_its_own_new_interval() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200).centiseconds(20));
    bench.apply(&[RouterConfig {
        protocol: v3(50),
        ..router(100)
    }]);
    assert_eq!(bench.timeout(), down(100) / 5);
}

#[test]
fn addresses_come_and_go_under_an_active() {
    let with = |list: &[u8]| RouterConfig {
        addresses: addresses(&list.iter().map(|&n| peer(n)).collect::<Vec<_>>()),
        ..router(100)
    };
    let mut bench = Bench::active(with(&[100, 101]));
    let log = bench.apply(&[with(&[102, 100])]);
    let Output::Withdraw(withdraw) = &log[0].1 else {
        panic!("{log:?}");
    };
    let gone: Vec<_> = withdraw.addresses.iter().map(|a| a.address).collect();
    assert_eq!(gone, [peer(101)]);
    let Output::Install(install) = &log[1].1 else {
        panic!("{log:?}");
    };
    let wanted: Vec<_> = install.addresses.iter().map(|a| a.address).collect();
    assert_eq!(wanted, [peer(102), peer(100)]);
    assert!(
        withdraw.ticket < install.ticket,
        "or the order would cancel its successor"
    );
    assert_eq!(
        sent(&bench.advance(SECOND))[0].addresses,
        [peer(102), peer(100)]
    );
}

#[test]
fn another_identity_leaves_and_starts_anew() {
    let multicast = |group: &str| Transport::Multicast {
        group: group.parse().unwrap(),
        extra_peers: Vec::new(),
    };
    let identities = [
        RouterConfig {
            vrid: Vrid::new(11).unwrap(),
            ..router(100)
        },
        RouterConfig {
            interface: Some(OTHER_IFINDEX),
            ..router(100)
        },
        router_v2(100),
        RouterConfig {
            transport: unicast(&[("10.77.0.1", 0)]),
            ..router(100)
        },
        RouterConfig {
            transport: multicast("224.0.0.100"),
            ..router(100)
        },
    ];
    for identity in identities {
        let mut bench = Bench::active(router(100));
        let log = bench.apply(&[identity]);
        let expected = [
            "send 0",
            "withdraw",
            "Active > Initialize: Reconfigured",
            "Initialize > Backup: Startup",
        ];
        assert_eq!(story(&log), expected);
        let release = &sent(&log)[0];
        let old = (release.vrid, release.version, release.interface);
        assert_eq!(old, (10, 3, IFINDEX), "the old identity releases");
        assert_eq!(bench.timeout(), down(100));
    }
}

#[test]
fn a_router_whose_interface_is_not_found_any_more_waits() {
    let mut bench = Bench::active(router(100));
    let log = bench.apply(&[RouterConfig {
        interface: None,
        ..router(100)
    }]);
    assert_eq!(deeds(&log), ["send 0", "withdraw"]);
    assert_eq!(bench.status().reason, Reason::InterfaceMissing);
    bench.apply(&[router(100)]);
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn new_peers_are_spoken_to_from_the_next_advertisement_on() {
    let to = |peers: &[(&str, u8)]| RouterConfig {
        transport: unicast(peers),
        ..router(100)
    };
    let mut bench = Bench::active(to(&[("10.77.0.1", 0)]));
    bench.apply(&[to(&[("10.77.0.1", 0), ("10.77.0.2", 0)])]);
    let log = bench.advance(SECOND);
    let destinations: Vec<_> = sent(&log).iter().map(|s| s.destination).collect();
    assert_eq!(destinations, [peer(1), peer(2)]);
    assert_eq!(bench.state(), StateName::Active);
}

#[test]
fn c27_a_router_with_addresses_of_both_families_is_not_run() {
    let mixed = RouterConfig {
        addresses: addresses(&[VIP, "2001:db8::1".parse().unwrap()]),
        ..router(100)
    };
    assert_eq!(
        mixed.validate().unwrap_err().to_string(),
        "2001:db8::1 is not of the router's address family"
    );
    let mut bench = Bench::new(&[mixed, named("b", 11, 101)]);
    let names: Vec<_> = bench.election.snapshot(bench.now).routers;
    assert_eq!(names.len(), 1, "the other one runs");
    bench.until_active();
}

#[test]
fn of_two_routers_of_one_vrid_or_name_the_first_runs() {
    let bench = Bench::new(&[
        named("a", 10, 100),
        named("b", 10, 101),
        named("a", 11, 102),
    ]);
    let routers = bench.election.snapshot(bench.now).routers;
    assert_eq!(routers.len(), 1);
    let mut bench = Bench::new(&[router(100), router_v6(100)]);
    assert_eq!(
        bench.election.snapshot(bench.now).routers.len(),
        2,
        "families are apart"
    );
    bench.until_active();
}

#[test]
fn shutdown_releases_every_router_before_it_withdraws_it_and_stays() {
    let mut bench = Bench::new(&[named("a", 10, 100), named("b", 11, 101)]);
    bench.until_active();
    bench.advance(10 * SECOND);
    let log = bench.command(Command::Shutdown);
    assert_eq!(deeds(&log), ["send 0", "withdraw", "send 0", "withdraw"]);
    assert_eq!(bench.election.next_timeout(), None);
    bench.link(IFINDEX, crate::bench::running());
    bench.hear(&from(1, 0));
    assert_eq!(
        bench.election.next_timeout(),
        None,
        "nothing brings it back"
    );
    assert_eq!(bench.status().reason, Reason::Shutdown);
    let plan = Plan {
        routers: vec![named("a", 10, 100)],
        ..Plan::default()
    };
    bench.command(Command::Apply(Arc::new(plan)));
    assert_eq!(bench.state(), StateName::Backup, "but a plan");
}

#[test]
fn shutdown_ends_the_wait_after_a_refused_installation() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = crate::bench::Kernel::Fails;
    bench.until_active_or_out();
    bench.command(Command::Shutdown);
    bench.advance(120 * SECOND);
    assert_eq!(bench.state(), StateName::Initialize);
    assert_eq!(bench.status().reason, Reason::Shutdown);
}

#[test]
fn a_new_configuration_ends_the_wait_after_a_refused_installation() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = crate::bench::Kernel::Fails;
    bench.until_active_or_out();
    bench.apply(&[router(100)]);
    assert_eq!(
        bench.state(),
        StateName::Initialize,
        "the same is no reason"
    );
    bench.apply(&[RouterConfig {
        addresses: addresses(&[peer(101)]),
        ..router(100)
    }]);
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn routers_of_one_interface_and_interval_advertise_together() {
    let mut bench = Bench::new(&[named("a", 10, 100)]);
    let log = bench.until_active();
    let tick = sent(&log)[0].at;
    bench.advance(millis(300));
    bench.apply(&[
        named("a", 10, 100),
        named("b", 11, 101),
        named("c", 12, 102),
    ]);
    while bench.status_of("c").state != StateName::Active {
        bench.fire();
    }
    let log = bench.advance(10 * SECOND);
    for batch in sent(&log).chunks(3) {
        let vrids: Vec<u8> = batch.iter().map(|s| s.vrid).collect();
        assert_eq!(vrids, [10, 11, 12]);
        assert!(
            batch.iter().all(|s| s.at == batch[0].at),
            "one wake-up for all"
        );
        assert_eq!(batch[0].at.since(tick).as_nanos() % SECOND.as_nanos(), 0);
    }
}

#[test]
fn the_first_pause_on_a_shared_phase_is_shorter_and_never_longer() {
    let mut bench = Bench::new(&[named("a", 10, 100)]);
    bench.until_active();
    bench.advance(millis(300));
    bench.apply(&[named("a", 10, 100), named("b", 11, 101)]);
    while bench.status_of("b").state != StateName::Active {
        bench.fire();
    }
    let promoted = bench.now;
    let log = bench.advance(SECOND);
    let next = sent(&log).into_iter().find(|s| s.vrid == 11).unwrap();
    assert!(next.at.since(promoted) < SECOND);
}

#[test]
fn other_intervals_interfaces_and_families_have_phases_of_their_own() {
    let other_interval = RouterConfig {
        protocol: v3(30),
        ..named("b", 11, 101)
    };
    let other_interface = RouterConfig {
        interface: Some(OTHER_IFINDEX),
        ..named("c", 12, 102)
    };
    let mut bench = Bench::new(&[named("a", 10, 100)]);
    bench.until_active();
    bench.advance(millis(350));
    bench.apply(&[named("a", 10, 100), other_interval, other_interface]);
    bench.advance(10 * SECOND);
    let log = bench.advance(3 * SECOND);
    let of = |vrid: u8| -> Vec<_> {
        sent(&log)
            .into_iter()
            .filter(|s| s.vrid == vrid)
            .map(|s| s.at)
            .collect()
    };
    assert_eq!(of(11).len(), 10);
    assert!(of(12).iter().all(|at| !of(10).contains(at)));
}

#[test]
fn an_address_that_moves_between_routers_is_withdrawn_before_it_is_installed() {
    let with = |name, vrid, list: &[u8]| RouterConfig {
        addresses: addresses(&list.iter().map(|&n| peer(n)).collect::<Vec<_>>()),
        ..named(name, vrid, 1)
    };
    let mut bench = Bench::new(&[with("a", 10, &[100]), with("b", 11, &[101, 102])]);
    bench.until_active();
    bench.advance(10 * SECOND);
    let log = bench.apply(&[with("a", 10, &[100, 102]), with("b", 11, &[101])]);
    let orders: Vec<String> = deeds(&log)
        .into_iter()
        .filter(|deed| deed == "withdraw" || deed == "install")
        .collect();
    assert_eq!(orders, ["withdraw", "install", "install"]);
}

#[test]
fn a_foreign_vrid_that_becomes_ours_is_foreign_no_more() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200).vrid(11));
    bench.hear(&from(1, 200).vrid(12));
    bench.apply(&[router(100), named("b", 11, 101)]);
    let foreign = bench.election.snapshot(bench.now).foreign;
    let vrids: Vec<u8> = foreign.iter().map(|row| row.vrid.get()).collect();
    assert_eq!(vrids, [12]);
}

#[test]
fn a_foreign_vrid_is_forgotten_with_its_interface() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200).vrid(11));
    bench.hear(&from(1, 200).vrid(11).on(OTHER_IFINDEX));
    bench.fact(Fact::InterfaceGone {
        interface: OTHER_IFINDEX,
    });
    let foreign = bench.election.snapshot(bench.now).foreign;
    assert_eq!(foreign.len(), 1);
    assert_eq!(foreign[0].interface, IFINDEX);
}

#[test]
fn a_backup_that_followed_nobody_takes_its_own_new_interval() {
    let mut bench = Bench::new(&[router(100)]);
    let start = bench.now;
    bench.hear(&from(1, 50).centiseconds(20));
    bench.apply(&[RouterConfig {
        protocol: v3(50),
        ..router(100)
    }]);
    assert_eq!(
        bench.election.next_timeout(),
        Some(start + down(100) / 2),
        "it discarded the lower priority, and its interval with it"
    );
}
