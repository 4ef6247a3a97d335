//! What keeps a router out of the election, and how it comes back: interfaces, addresses, weights.

use vipkeeper_vrrp::{
    Fact, InterfaceState, Output, Reason, Report, RouterConfig, StateName, Ticket,
};

use crate::bench::{
    Bench, IFINDEX, Kernel, OTHER_IFINDEX, SECOND, VIP, addresses, announced, deeds, down, millis,
    router, router_v6, running, sent, skew, story,
};
use crate::forge::{from, peer};

#[test]
fn a_router_waits_for_its_interface_and_says_what_it_waits_for() {
    let mut bench = Bench::empty();
    bench.apply(&[router(100)]);
    assert_eq!(bench.status().reason, Reason::InterfaceMissing);
    let states = [
        (
            InterfaceState {
                running: false,
                ..running()
            },
            Reason::InterfaceDown,
        ),
        (
            InterfaceState {
                ipv4: None,
                ..running()
            },
            Reason::SourceMissing,
        ),
    ];
    for (state, reason) in states {
        assert_eq!(bench.link(IFINDEX, state), []);
        assert_eq!(bench.status().reason, reason);
        assert_eq!(bench.election.next_timeout(), None);
    }
    bench.link(OTHER_IFINDEX, running());
    assert_eq!(
        bench.state(),
        StateName::Initialize,
        "that is not its interface"
    );
    bench.link(IFINDEX, running());
    assert_eq!(bench.state(), StateName::Backup);
    assert_eq!(bench.timeout(), down(100));
}

#[test]
fn each_family_needs_its_own_kind_of_address() {
    let mut bench = Bench::empty();
    bench.apply(&[router(100), router_v6(100)]);
    let of = |state: InterfaceState, bench: &mut Bench| -> Vec<StateName> {
        bench.link(IFINDEX, state);
        let routers = bench.election.snapshot(bench.now).routers;
        routers.iter().map(|r| r.state).collect()
    };
    let without_v6 = InterfaceState {
        ipv6: None,
        ..running()
    };
    assert_eq!(
        of(without_v6, &mut bench),
        [StateName::Backup, StateName::Initialize]
    );
    let without_v4 = InterfaceState {
        ipv4: None,
        ..running()
    };
    assert_eq!(
        of(without_v4, &mut bench),
        [StateName::Initialize, StateName::Backup]
    );
}

#[test]
fn an_active_whose_interface_fails_leaves_and_starts_anew_when_it_is_back() {
    let faults = [
        (
            Some(InterfaceState {
                running: false,
                ..running()
            }),
            Reason::InterfaceDown,
        ),
        (
            Some(InterfaceState {
                ipv4: None,
                ..running()
            }),
            Reason::SourceMissing,
        ),
        (None, Reason::InterfaceMissing),
    ];
    for (fault, reason) in faults {
        let mut bench = Bench::active(router(100));
        let log = match fault {
            Some(state) => bench.link(IFINDEX, state),
            None => bench.fact(Fact::InterfaceGone { interface: IFINDEX }),
        };
        assert_eq!(
            deeds(&log),
            ["withdraw"],
            "there is nothing left to send from"
        );
        assert_eq!(bench.status().reason, reason);
        assert_eq!(bench.election.next_timeout(), None);
        bench.advance(SECOND);
        bench.link(IFINDEX, running());
        assert_eq!(bench.state(), StateName::Backup);
        assert_eq!(bench.timeout(), down(100));
    }
}

#[test]
fn a_fact_that_repeats_what_is_known_changes_nothing() {
    for mut bench in [Bench::new(&[router(100)]), Bench::active(router(100))] {
        bench.advance(millis(300));
        let before = bench.untouched();
        assert_eq!(bench.link(IFINDEX, running()), []);
        assert_eq!(bench.untouched(), before);
    }
}

#[test]
fn a_new_primary_address_is_advertised_from_at_once() {
    let mut bench = Bench::active(router(100));
    let moved = InterfaceState {
        ipv4: "10.77.0.7".parse().ok(),
        ..running()
    };
    assert_eq!(bench.link(IFINDEX, moved), []);
    assert_eq!(sent(&bench.advance(SECOND))[0].source, peer(7));
    bench.hear(&from(6, 100));
    assert_eq!(bench.state(), StateName::Active, "and compares with it");
}

#[test]
fn a_new_mac_address_is_announced() {
    let mut bench = Bench::active(router(100));
    let mac = vipkeeper_wire::MacAddr([2, 0, 0, 0, 0xff, 2]);
    let start = bench.now;
    let mut log = bench.link(
        IFINDEX,
        InterfaceState {
            mac: Some(mac),
            ..running()
        },
    );
    log.extend(bench.advance(10 * SECOND));
    let times: Vec<u128> = announced(&log, start).iter().map(|a| a.0).collect();
    assert_eq!(times, [0, 20, 100, 500, 2_000, 5_000]);
    for (_, output) in &log {
        if let Output::Announce(announcement) = output {
            assert_eq!(announcement.mac, mac);
        }
    }
}

#[test]
fn a_refused_installation_gives_up_and_tries_again_later_and_later() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = Kernel::Fails;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let mut log = bench.until_active_or_out();
        log.extend(bench.settle());
        let expected = [
            "send 100",
            "install",
            "Backup > Active: NoResponse",
            "send 0",
            "withdraw",
            "Active > Initialize: InstallFailed",
        ];
        assert_eq!(story(&log), expected);
        pauses.push(bench.timeout().as_secs());
        assert_eq!(story(&bench.fire()), ["Initialize > Backup: Startup"]);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn a_successful_installation_forgets_earlier_failures() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = Kernel::Fails;
    for _ in 0..4 {
        bench.until_active_or_out();
        bench.fire();
    }
    bench.kernel = Kernel::Confirms;
    bench.until_active();
    bench.hear(&from(1, 200));
    bench.kernel = Kernel::Fails;
    bench.until_active_or_out();
    assert_eq!(bench.timeout(), SECOND);
}

#[test]
fn an_interface_that_comes_back_does_not_shorten_the_wait() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = Kernel::Fails;
    bench.until_active_or_out();
    let retry = bench.election.next_timeout();
    bench.advance(millis(500));
    bench.link(
        IFINDEX,
        InterfaceState {
            running: false,
            ..running()
        },
    );
    bench.link(IFINDEX, running());
    assert_eq!(bench.state(), StateName::Initialize);
    assert_eq!(bench.election.next_timeout(), retry);
    let reason = bench.status().reason;
    assert_eq!(reason, Reason::InstallFailed, "that is what it waits for");
    bench.fire();
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn an_interface_that_is_down_at_the_end_of_the_wait_is_waited_for() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = Kernel::Fails;
    bench.until_active_or_out();
    bench.link(
        IFINDEX,
        InterfaceState {
            running: false,
            ..running()
        },
    );
    bench.advance(2 * SECOND);
    assert_eq!(bench.status().reason, Reason::InterfaceDown);
    bench.link(IFINDEX, running());
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn a_single_refused_address_is_skipped_and_reported() {
    let mut config = router(100);
    config.addresses = addresses(&[peer(100), peer(101), peer(102)]);
    let mut bench = Bench::new(&[config]);
    bench.kernel = Kernel::Refuses(vec![peer(101)]);
    let mut log = bench.until_active();
    let start = bench.now;
    log.extend(bench.advance(10 * SECOND));
    assert!(story(&log).contains(&"addresses refused: 1".into()));
    let rows = announced(&log, start);
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().all(|(_, address)| *address != peer(101)));
    let status = bench.status();
    assert_eq!((status.state, status.installed), (StateName::Active, 2));
    assert_eq!(status.refused, [peer(101)]);
    let told = log.iter().find_map(|(_, output)| match output {
        Output::Report(Report::AddressesRefused { first, .. }) => Some(*first),
        _ => None,
    });
    assert_eq!(told, Some(peer(101)));
}

#[test]
fn when_every_address_is_refused_it_gives_up() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = Kernel::Refuses(vec![VIP]);
    bench.until_active_or_out();
    assert_eq!(bench.status().reason, Reason::InstallFailed);
    assert_eq!(bench.timeout(), SECOND);
}

#[test]
fn c86_nothing_is_announced_before_the_kernel_confirmed() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = Kernel::Waits;
    let mut log = bench.until_active();
    log.extend(bench.advance(millis(700)));
    assert_eq!(announced(&log, bench.now), []);
    let install = log.iter().find_map(|(_, output)| match output {
        Output::Install(install) => Some(install.clone()),
        _ => None,
    });
    let (router, ticket) = install.map(|i| (i.router, i.ticket)).unwrap();
    let confirm = |ticket| Fact::Installed {
        router,
        ticket,
        refused: Vec::new(),
    };
    assert_eq!(
        bench.fact(confirm(Ticket(ticket.0 + 1))),
        [],
        "of no order of ours"
    );
    let start = bench.now;
    let mut log = bench.fact(confirm(ticket));
    log.extend(bench.advance(10 * SECOND));
    let times: Vec<u128> = announced(&log, start).iter().map(|a| a.0).collect();
    assert_eq!(times, [0, 20, 100, 500, 2_000, 5_000]);
}

#[test]
fn answers_to_orders_that_nobody_waits_for_any_more_mean_nothing() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = Kernel::Waits;
    let log = bench.until_active();
    let Some((_, Output::Install(first))) = log
        .iter()
        .find(|(_, output)| matches!(output, Output::Install(_)))
    else {
        panic!("{log:?}");
    };
    let (router, ticket) = (first.router, first.ticket);
    bench.hear(&from(1, 200));
    bench.until_active();
    let before = bench.untouched();
    assert_eq!(bench.fact(Fact::InstallFailed { router, ticket }), []);
    let refused = Vec::new();
    assert_eq!(
        bench.fact(Fact::Installed {
            router,
            ticket,
            refused
        }),
        []
    );
    assert_eq!(bench.untouched(), before);
}

#[test]
fn c15_weights_move_the_priority_between_1_and_254() {
    let rows = [
        (0, 100),
        (-20, 80),
        (50, 150),
        (-100, 1),
        (-32_768, 1),
        (154, 254),
        (32_767, 254),
    ];
    for (weight, effective) in rows {
        let mut bench = Bench::active(router(100));
        bench.weight(weight);
        assert_eq!(sent(&bench.advance(SECOND))[0].priority, effective);
        let status = bench.status();
        assert_eq!(
            (status.priority, status.effective_priority),
            (100, effective)
        );
    }
}

#[test]
fn a_weight_changes_a_backups_timer_from_its_last_advertisement() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200));
    let heard = bench.now;
    bench.advance(millis(400));
    bench.weight(100);
    assert_eq!(bench.election.next_timeout(), Some(heard + down(200)));
    bench.weight(-50);
    assert_eq!(bench.election.next_timeout(), Some(heard + down(50)));
}

#[test]
fn a_weight_that_ends_a_backups_wait_promotes_it_at_once() {
    let mut bench = Bench::new(&[router(1)]);
    bench.advance(3 * SECOND + skew(100));
    assert_eq!(bench.state(), StateName::Backup);
    let log = bench.weight(150);
    assert_eq!(deeds(&log)[0], "send 151");
}

#[test]
fn a_lowered_active_yields_to_the_next_advertisement_that_beats_it() {
    let mut bench = Bench::active(router(100));
    bench.hear(&from(1, 90));
    assert_eq!(bench.state(), StateName::Active);
    bench.weight(-20);
    bench.hear(&from(1, 90));
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn a_weight_may_come_before_its_router() {
    let mut bench = Bench::empty();
    bench.weight(-30);
    bench.apply(&[router(100)]);
    assert_eq!(bench.status().effective_priority, 70);
}

#[test]
fn an_explicit_source_is_advertised_from() {
    let config = RouterConfig {
        source: Some(peer(8)),
        ..router(100)
    };
    let mut bench = Bench::active(config);
    assert_eq!(sent(&bench.advance(SECOND))[0].source, peer(8));
}

#[test]
fn a_weight_is_forgotten_with_its_router() {
    let mut bench = Bench::new(&[router(100)]);
    bench.weight(-30);
    bench.apply(&[]);
    bench.apply(&[router(100)]);
    assert_eq!(bench.status().effective_priority, 100);
}
