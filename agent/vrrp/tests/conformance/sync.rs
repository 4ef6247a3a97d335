//! Sync groups: two routers on two interfaces of this node that move together.

use vipkeeper_vrrp::{
    Command, Fact, Ifindex, InterfaceState, Member, Output, Preemption, Priority, Reason, Report,
    RouterConfig, StateName, SyncGroup,
};
use vipkeeper_wire::Family;

use crate::bench::{
    Bench, IFINDEX, Kernel, Log, OTHER_IFINDEX, SECOND, addresses, down, millis, router, router_v6,
    running, sent, skew, story,
};
use crate::forge::{Frame, from, from_v6};

use StateName::{Active, Backup, Initialize};

/// Router `name` of the group; both have VRID 10, each on an interface of its own.
fn member(name: &str, priority: u8) -> RouterConfig {
    let (interface, address) = match name {
        "inside" => (IFINDEX, "10.77.0.100"),
        _ => (OTHER_IFINDEX, "10.77.1.100"),
    };
    RouterConfig {
        name: name.into(),
        interface: Some(interface),
        addresses: addresses(&[address.parse().unwrap()]),
        sync: Some(SyncGroup::Named("gateway".into())),
        ..router(priority)
    }
}

fn pair(priority: u8) -> [RouterConfig; 2] {
    [member("inside", priority), member("outside", priority)]
}

/// The pair, Active and announced.
fn active() -> Bench {
    let mut bench = Bench::new(&pair(100));
    bench.until_active();
    bench.advance(10 * SECOND);
    bench
}

/// An advertisement for the router that runs on `interface`.
fn on(interface: Ifindex, last: u8, priority: u8) -> Frame {
    let address = match interface == IFINDEX {
        true => "10.77.0.100",
        false => "10.77.1.100",
    };
    Frame {
        interface,
        addresses: vec![address.parse().unwrap()],
        ..from(last, priority)
    }
}

fn states(bench: &Bench) -> [StateName; 2] {
    let status = |name| bench.status_of(name).state;
    [status("inside"), status("outside")]
}

fn why(bench: &Bench, name: &str) -> (Reason, Option<String>) {
    let status = bench.status_of(name);
    (status.reason, status.member.map(|m| m.name.to_string()))
}

/// Who it was, why, and who caused it.
fn transitions(log: &Log) -> Vec<(String, StateName, Reason, Option<String>)> {
    let mut all = Vec::new();
    for (_, output) in log {
        if let Output::Report(Report::Transition {
            name,
            to,
            reason,
            member,
            ..
        }) = output
        {
            let member = member.as_ref().map(|m| m.name.to_string());
            all.push((name.to_string(), *to, *reason, member));
        }
    }
    all
}

fn dead() -> InterfaceState {
    InterfaceState {
        running: false,
        ..running()
    }
}

#[test]
fn x02_the_group_becomes_active_when_its_last_member_wants_to() {
    let mut bench = Bench::new(&pair(100));
    bench.advance(SECOND);
    bench.hear(&on(OTHER_IFINDEX, 9, 200));
    let log = bench.advance(3 * SECOND + skew(100) - millis(1));
    assert_eq!(story(&log), [""; 0], "inside waits for outside");
    assert_eq!(states(&bench), [Backup, Backup]);
    let log = bench.advance(millis(1));
    assert_eq!(states(&bench), [Active, Active]);
    assert_eq!(sent(&log).len(), 2);
    assert_eq!(transitions(&log).len(), 2);
}

#[test]
fn x02_while_one_member_defers_to_an_active_the_others_stay_backup() {
    let mut bench = Bench::new(&pair(100));
    for _ in 0..30 {
        bench.hear(&on(OTHER_IFINDEX, 9, 100));
        assert_eq!(story(&bench.advance(SECOND)), [""; 0]);
    }
    assert_eq!(states(&bench), [Backup, Backup]);
}

#[test]
fn x02_who_hears_a_higher_priority_takes_the_others_to_backup_with_priority_0() {
    let mut bench = active();
    let log = bench.hear(&on(IFINDEX, 9, 200));
    assert_eq!(states(&bench), [Backup, Backup]);
    let sent = sent(&log);
    assert_eq!(sent.len(), 1, "who yields says nothing");
    assert_eq!((sent[0].interface, sent[0].priority), (OTHER_IFINDEX, 0));
    assert_eq!(why(&bench, "inside").0, Reason::HigherPriority);
    let blamed = (Reason::SyncGroup, Some("inside".to_owned()));
    assert_eq!(why(&bench, "outside"), blamed);
    assert_eq!(transitions(&log).len(), 2);
}

#[test]
fn x02_a_fault_takes_all_out_and_names_the_member() {
    let mut bench = active();
    let log = bench.link(OTHER_IFINDEX, dead());
    assert_eq!(states(&bench), [Initialize, Initialize]);
    let sent = sent(&log);
    assert_eq!(sent.len(), 1, "a dead link carries nothing");
    assert_eq!((sent[0].interface, sent[0].priority), (IFINDEX, 0));
    assert_eq!(why(&bench, "outside"), (Reason::InterfaceDown, None));
    let blamed = (Reason::SyncGroup, Some("outside".to_owned()));
    assert_eq!(why(&bench, "inside"), blamed);

    let log = bench.link(OTHER_IFINDEX, running());
    assert_eq!(states(&bench), [Backup, Backup]);
    assert_eq!(transitions(&log).len(), 2);
    bench.advance(down(100));
    assert_eq!(states(&bench), [Active, Active]);
}

#[test]
fn x02_a_member_without_an_interface_keeps_all_in_initialize_and_nobody_flickers() {
    let mut routers = pair(100);
    routers[1].interface = None;
    let (mut bench, log) = Bench::started(&routers);
    assert_eq!(transitions(&log), []);
    let blamed = (Reason::SyncGroup, Some("outside".to_owned()));
    assert_eq!(why(&bench, "inside"), blamed);
    assert_eq!(why(&bench, "outside"), (Reason::InterfaceMissing, None));
    let log = bench.apply(&pair(100));
    assert_eq!(transitions(&log).len(), 2);
    assert_eq!(states(&bench), [Backup, Backup]);
}

#[test]
fn x02_refused_addresses_take_all_out_until_they_are_tried_again() {
    let mut bench = Bench::new(&pair(100));
    bench.kernel = Kernel::Fails;
    bench.until_active_or_out();
    assert_eq!(states(&bench), [Initialize, Initialize]);
    let reasons = [why(&bench, "inside").0, why(&bench, "outside").0];
    assert!(reasons.contains(&Reason::InstallFailed), "{reasons:?}");
    bench.kernel = Kernel::Confirms;
    bench.advance(4 * SECOND + down(100));
    assert_eq!(states(&bench), [Active, Active]);
}

#[test]
fn x02_all_advertise_the_lowest_priority_of_the_group() {
    let mut bench = Bench::new(&[member("inside", 200), member("outside", 100)]);
    bench.until_active();
    let log = bench.advance(SECOND);
    let priorities: Vec<_> = sent(&log).iter().map(|s| s.priority).collect();
    assert_eq!(priorities, [100, 100]);
    bench.fact(Fact::Weight {
        name: "inside".into(),
        family: Family::V4,
        weight: -150,
    });
    let log = bench.advance(SECOND);
    let priorities: Vec<_> = sent(&log).iter().map(|s| s.priority).collect();
    assert_eq!(priorities, [50, 50], "one member's tracker moves all");
    assert_eq!(bench.status_of("outside").priority, 100);
    assert_eq!(bench.status_of("outside").effective_priority, 50);
}

#[test]
fn x02_a_released_group_follows_in_the_skew_time() {
    let mut bench = Bench::new(&pair(100));
    for interface in [IFINDEX, OTHER_IFINDEX] {
        bench.hear(&on(interface, 9, 200));
    }
    bench.advance(SECOND);
    for interface in [IFINDEX, OTHER_IFINDEX] {
        bench.hear(&on(interface, 9, 0));
    }
    bench.advance(skew(100));
    assert_eq!(states(&bench), [Active, Active]);
    assert_eq!(why(&bench, "inside").0, Reason::Released);
}

#[test]
fn x02_a_preemption_delay_of_one_member_delays_all() {
    let mut routers = pair(100);
    routers[1].preemption = Preemption::Delayed(10 * SECOND);
    let mut bench = Bench::new(&routers);
    for second in 0..10 {
        assert_eq!(states(&bench), [Backup, Backup], "after {second} s");
        for interface in [IFINDEX, OTHER_IFINDEX] {
            bench.hear(&on(interface, 9, 50));
        }
        bench.advance(SECOND);
    }
    assert_eq!(states(&bench), [Active, Active]);
}

#[test]
fn x02_a_group_that_never_preempts_stays_backup_to_a_lower_active() {
    let routers = pair(100).map(|r| RouterConfig {
        preemption: Preemption::Never,
        ..r
    });
    let mut bench = Bench::new(&routers);
    for _ in 0..10 {
        bench.hear(&on(OTHER_IFINDEX, 9, 50));
        bench.advance(SECOND);
    }
    assert_eq!(states(&bench), [Backup, Backup], "inside hears nobody");
}

#[test]
fn x02_a_member_that_slept_makes_all_listen() {
    let mut routers = pair(100);
    routers[1].protocol = crate::bench::v3(1_000);
    let mut bench = Bench::new(&routers);
    bench.until_active();
    bench.advance(20 * SECOND);
    bench.stall(5 * SECOND);
    let log = bench.settle();
    assert_eq!(states(&bench), [Backup, Backup]);
    assert_eq!(sent(&log), []);
    assert_eq!(why(&bench, "outside").0, Reason::Stalled);
}

#[test]
fn x02_a_member_that_joins_an_active_group_disturbs_nobody() {
    let alone = RouterConfig {
        sync: None,
        ..member("inside", 100)
    };
    let mut bench = Bench::active(alone);
    let log = bench.apply(&pair(100));
    assert_eq!(states(&bench), [Active, Backup]);
    assert_eq!(transitions(&log).len(), 1, "{log:?}");
    let log = bench.advance(down(100));
    assert_eq!(states(&bench), [Active, Active]);
    assert_eq!(transitions(&log).len(), 1);
}

#[test]
fn x02_a_member_that_joins_and_hears_a_higher_active_takes_the_group_there() {
    let alone = RouterConfig {
        sync: None,
        ..member("inside", 100)
    };
    let mut bench = Bench::active(alone);
    bench.apply(&pair(100));
    bench.hear(&on(OTHER_IFINDEX, 9, 200));
    assert_eq!(states(&bench), [Backup, Backup]);
    let blamed = (Reason::SyncGroup, Some("outside".to_owned()));
    assert_eq!(why(&bench, "inside"), blamed);
}

#[test]
fn x02_a_group_that_loses_or_renames_a_member_goes_on() {
    let mut bench = active();
    let mut routers = pair(100);
    routers[1].sync = Some(SyncGroup::Named("other".into()));
    assert_eq!(transitions(&bench.apply(&routers)), []);
    bench.hear(&on(OTHER_IFINDEX, 9, 200));
    assert_eq!(states(&bench), [Active, Backup], "they move alone now");

    let mut bench = active();
    let log = bench.apply(&pair(100)[..1]);
    assert_eq!(transitions(&log).len(), 1, "{log:?}");
    assert_eq!(bench.state(), Active);
}

#[test]
fn x02_shutdown_releases_every_member_for_its_own_reason() {
    let mut bench = active();
    let log = bench.command(Command::Shutdown);
    assert_eq!(states(&bench), [Initialize, Initialize]);
    assert_eq!(sent(&log).len(), 2);
    assert_eq!(why(&bench, "inside").0, Reason::Shutdown);
    assert_eq!(why(&bench, "outside").0, Reason::Shutdown);
}

#[test]
fn x02_the_address_owner_is_not_moved_and_moves_the_others_by_its_faults_alone() {
    let mut routers = pair(100);
    routers[0].priority = Priority::OWNER;
    let mut bench = Bench::new(&routers);
    assert_eq!(states(&bench), [Active, Backup]);
    bench.advance(down(100));
    assert_eq!(states(&bench), [Active, Active]);
    let sent = sent(&bench.advance(SECOND));
    let priorities: Vec<_> = sent.iter().map(|s| s.priority).collect();
    assert_eq!(priorities.iter().max(), Some(&255));
    assert_eq!(priorities.iter().min(), Some(&100));
    bench.hear(&on(OTHER_IFINDEX, 9, 200));
    assert_eq!(states(&bench), [Active, Backup]);
    bench.link(OTHER_IFINDEX, dead());
    assert_eq!(states(&bench), [Active, Initialize]);
    bench.link(OTHER_IFINDEX, running());
    bench.link(IFINDEX, dead());
    assert_eq!(states(&bench), [Initialize, Initialize]);
}

#[test]
fn x02_equal_priorities_are_decided_on_the_first_members_link() {
    // Our address ends in 5.
    let mut bench = Bench::new(&pair(100));
    bench.until_active();
    bench.hear(&on(OTHER_IFINDEX, 9, 100));
    assert_eq!(states(&bench), [Active, Active], "not within two intervals");
    bench.hear(&on(IFINDEX, 3, 100));
    assert_eq!(states(&bench), [Active, Active]);
    bench.advance(2 * SECOND);
    bench.hear(&on(OTHER_IFINDEX, 9, 100));
    assert_eq!(states(&bench), [Backup, Backup], "then as ever");

    let mut bench = Bench::new(&pair(100));
    bench.until_active();
    bench.hear(&on(IFINDEX, 9, 100));
    assert_eq!(states(&bench), [Backup, Backup], "the first link decides");
    assert_eq!(why(&bench, "inside").0, Reason::HigherAddress);
}

#[test]
fn x02_the_families_of_a_router_move_together_when_they_are_a_group() {
    let together = Some(SyncGroup::Families("web".into()));
    let routers = [router(100), router_v6(100)].map(|r| RouterConfig {
        sync: together.clone(),
        ..r
    });
    let mut bench = Bench::new(&routers);
    bench.until_active();
    let log = bench.link(
        IFINDEX,
        InterfaceState {
            ipv6: None,
            ..running()
        },
    );
    let of = |bench: &Bench| {
        let routers = bench.election.snapshot(bench.now).routers;
        let all: Vec<_> = routers.iter().map(|r| (r.state, r.reason)).collect();
        (all, routers[0].member.clone())
    };
    let (all, member) = of(&bench);
    let out = |reason| (Initialize, reason);
    assert_eq!(all, [out(Reason::SyncGroup), out(Reason::SourceMissing)]);
    let v6 = Member {
        name: "web".into(),
        family: Family::V6,
    };
    assert_eq!(member, Some(v6));
    assert_eq!(sent(&log)[0].priority, 0, "IPv4 still can say so");

    bench.link(IFINDEX, running());
    bench.hear(&from_v6(9, 200));
    bench.advance(2 * SECOND);
    bench.hear(&from_v6(9, 200));
    bench.advance(2 * SECOND);
    assert_eq!(of(&bench).0[0].0, Backup, "IPv6 has another Active");
}

#[test]
fn x02_a_router_alone_in_its_group_is_as_without() {
    let mut bench = Bench::new(&[member("inside", 100)]);
    bench.advance(down(100));
    assert_eq!(bench.state(), Active);
}
