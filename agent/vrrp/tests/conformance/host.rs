//! Addresses that the host has by its own configuration: the owner's are used, everybody else's are a conflict; and
//! addresses of which nobody says what became of them.

use std::net::IpAddr;

use vipkeeper_vrrp::{
    Command, Fact, INSTALL_PATIENCE, InterfaceState, Output, Reason, RouterConfig, StateName,
};

use crate::bench::{
    Bench, IFINDEX, Kernel, Log, SECOND, VIP, addresses, deeds, down, millis, router, running,
    sent, story,
};
use crate::forge::{from, peer};

/// Everything that was said to others or ordered of the kernel.
fn traffic(log: &Log) -> Vec<String> {
    deeds(log)
}

#[test]
fn the_owner_neither_installs_nor_withdraws() {
    let (mut bench, mut log) = Bench::started(&[router(255)]);
    log.extend(bench.advance(10 * SECOND));
    // Another lifetime is nothing to renew, another owner nothing to take the address off for.
    log.extend(bench.apply(&[RouterConfig {
        address_lifetime: None,
        ..router(255)
    }]));
    log.extend(bench.hear(&from(9, 255)));
    assert_eq!(bench.state(), StateName::Backup);
    log.extend(bench.until_active());
    log.extend(bench.command(Command::Shutdown));
    let touches = |(_, o): &&(_, Output)| matches!(o, Output::Install(_) | Output::Withdraw(_));
    assert_eq!(log.iter().filter(touches).count(), 0, "{:?}", story(&log));
    assert_eq!(bench.status().reason, Reason::Shutdown);
}

#[test]
fn the_owner_holds_what_the_host_has() {
    let bench = Bench::active(router(255));
    let status = bench.status();
    assert_eq!((status.installed, status.refused.len()), (1, 0));
    assert_eq!(status.conflicts, [] as [IpAddr; 0]);
}

#[test]
fn priority_255_without_the_address_takes_no_part_and_says_why() {
    let mut bench = Bench::empty();
    let mut log = bench.apply(&[router(255)]);
    log.extend(bench.link(IFINDEX, running()));
    log.extend(bench.advance(10 * SECOND));
    assert_eq!(story(&log), [] as [&str; 0]);
    let status = bench.status();
    assert_eq!(
        (status.state, status.reason),
        (StateName::Initialize, Reason::NotAddressOwner)
    );
    // One of two is not enough.
    let two = RouterConfig {
        addresses: addresses(&[peer(100), peer(101)]),
        ..router(255)
    };
    bench.apply(&[two]);
    assert_eq!(story(&bench.host(IFINDEX, &[VIP])), [] as [&str; 0]);
    let log = bench.host(IFINDEX, &[peer(100), peer(101)]);
    assert_eq!(
        story(&log)[..2],
        ["send 255", "Initialize > Active: AddressOwner"]
    );
}

#[test]
fn an_owner_whose_address_goes_leaves_with_priority_0_and_is_back_with_it() {
    let mut bench = Bench::active(router(255));
    let log = bench.host(IFINDEX, &[]);
    assert_eq!(
        story(&log),
        ["send 0", "Active > Initialize: NotAddressOwner"]
    );
    let log = bench.host(IFINDEX, &[VIP]);
    assert_eq!(deeds(&log)[..2], ["send 255", "announce 10.77.0.100"]);
}

#[test]
fn who_stops_being_the_owner_lets_the_host_keep_the_address_and_contends_no_more() {
    let mut bench = Bench::active(router(255));
    let log = bench.apply(&[router(200)]);
    assert_eq!(traffic(&log), ["send 0"]);
    assert_eq!(bench.status().reason, Reason::AddressConflict);
}

#[test]
fn who_becomes_the_owner_gives_back_what_it_installed() {
    let mut bench = Bench::active(router(200));
    let log = bench.apply(&[router(255)]);
    assert_eq!(traffic(&log), ["send 0", "withdraw"]);
    assert_eq!(bench.status().reason, Reason::NotAddressOwner);
}

#[test]
fn a_router_whose_addresses_are_all_somebody_elses_does_not_contend() {
    let mut bench = Bench::new(&[router(200)]);
    let log = bench.host(IFINDEX, &[VIP]);
    assert_eq!(
        story(&log),
        [
            "address conflict: 1",
            "Backup > Initialize: AddressConflict"
        ]
    );
    assert_eq!(bench.status().conflicts, [VIP]);
    let mut log = bench.hear(&from(1, 100));
    log.extend(bench.advance(100 * SECOND));
    assert_eq!(
        story(&log),
        [] as [&str; 0],
        "not a word, for as long as it lasts"
    );
    assert_eq!(
        story(&bench.host(IFINDEX, &[])),
        ["Initialize > Backup: Startup"],
        "and at once when it ends"
    );
    assert_eq!(bench.timeout(), down(200));
}

#[test]
fn a_conflict_that_was_there_first_is_told_with_the_plan() {
    let mut bench = Bench::empty();
    bench.host(IFINDEX, &[VIP, peer(7)]);
    bench.link(IFINDEX, running());
    assert_eq!(story(&bench.apply(&[router(200)])), ["address conflict: 1"]);
    assert_eq!(bench.status().reason, Reason::AddressConflict);
    assert_eq!(bench.apply(&[router(200)]), [], "and once");
}

#[test]
fn an_active_beside_whose_address_the_host_puts_its_own_leaves_in_order() {
    let mut bench = Bench::active(router(200));
    let log = bench.host(IFINDEX, &[VIP]);
    assert_eq!(
        story(&log),
        [
            "address conflict: 1",
            "send 0",
            "withdraw",
            "Active > Initialize: AddressConflict"
        ]
    );
}

#[test]
fn one_address_of_several_is_done_without_until_the_host_lets_go_of_it() {
    let two = RouterConfig {
        addresses: addresses(&[peer(100), peer(101)]),
        ..router(200)
    };
    let mut bench = Bench::new(&[two]);
    bench.kernel = Kernel::Refuses(vec![peer(101)]);
    bench.host(IFINDEX, &[peer(101)]);
    assert_eq!(bench.state(), StateName::Backup);
    bench.until_active();
    let status = bench.status();
    assert_eq!((status.installed, status.refused), (1, vec![peer(101)]));
    assert_eq!(status.conflicts, [peer(101)]);
    bench.kernel = Kernel::Confirms;
    let log = bench.host(IFINDEX, &[]);
    assert_eq!(
        deeds(&log),
        ["install", "announce 10.77.0.100", "announce 10.77.0.101"]
    );
    assert_eq!(bench.status().installed, 2);
}

#[test]
fn a_refusal_does_not_outlast_the_conflict_that_caused_it() {
    let mut bench = Bench::new(&[router(200)]);
    bench.kernel = Kernel::Refuses(vec![VIP]);
    bench.until_active_or_out();
    assert_eq!(bench.status().reason, Reason::InstallFailed);
    // The monitor's word comes a little later than the kernel's.
    bench.host(IFINDEX, &[VIP]);
    bench.host(IFINDEX, &[]);
    assert_eq!(bench.state(), StateName::Backup);
}

#[test]
fn an_order_that_nobody_answers_ends_with_priority_0_and_a_later_attempt() {
    let mut bench = Bench::new(&[router(200)]);
    bench.kernel = Kernel::Waits;
    bench.until_active();
    let log = bench.advance(INSTALL_PATIENCE);
    let end = &story(&log)[story(&log).len() - 3..];
    assert_eq!(
        end,
        ["send 0", "withdraw", "Active > Initialize: InstallTimeout"]
    );
    let sent = sent(&log);
    assert!(sent.len() >= 3, "it advertised meanwhile: {sent:?}");
    bench.kernel = Kernel::Confirms;
    let log = bench.advance(SECOND);
    assert_eq!(story(&log), ["Initialize > Backup: Startup"]);
    bench.until_active();
    assert_eq!(bench.status().installed, 1);
}

#[test]
fn an_answer_in_time_ends_the_waiting() {
    let mut bench = Bench::new(&[router(200)]);
    bench.kernel = Kernel::Waits;
    let log = bench.until_active();
    let install = log.iter().find_map(|(_, output)| match output {
        Output::Install(install) => Some(install),
        _ => None,
    });
    let install = install.unwrap();
    bench.advance(INSTALL_PATIENCE - millis(1));
    bench.fact(Fact::Installed {
        router: install.router,
        ticket: install.ticket,
        refused: Vec::new(),
    });
    bench.advance(10 * SECOND);
    assert_eq!(bench.state(), StateName::Active);
}

#[test]
fn what_was_put_back_is_announced_anew() {
    let mut bench = Bench::new(&[router(200)]);
    let log = bench.until_active();
    let id = log.iter().find_map(|(_, output)| match output {
        Output::Install(install) => Some(install.router),
        _ => None,
    });
    let id = id.unwrap();
    bench.advance(10 * SECOND);
    let log = bench.fact(Fact::Restored { router: id });
    assert_eq!(story(&log), ["announce 10.77.0.100"]);
    bench.hear(&from(1, 250));
    assert_eq!(bench.fact(Fact::Restored { router: id }), []);
}

#[test]
fn another_mtu_is_announced_like_another_ethernet_address() {
    let mut bench = Bench::active(router(200));
    let log = bench.link(
        IFINDEX,
        InterfaceState {
            mtu: 9_000,
            ..running()
        },
    );
    assert_eq!(story(&log), ["announce 10.77.0.100"]);
}
