use std::time::Duration;

use vipkeeper_vrrp::{Ifindex, Park, Plan, RouterConfig, RouterId, Ticket};

use super::*;
use crate::network::holdings::tests::{
    Machine, Running, address, addresses, at, eth0, router, withdraw,
};
use crate::network::kernel::{PARKED_TAG, TAG};

const LINGER: Duration = Duration::from_secs(1);
const BOTH: [&str; 2] = ["192.0.2.1/32", "2001:db8::1/128"];

fn park(router: u32, texts: &[&str]) -> Park {
    Park {
        router: RouterId(router),
        ticket: Ticket(8),
        interface: eth0(),
        addresses: addresses(texts),
        linger: LINGER,
    }
}

fn prepare(running: &mut Running, texts: &[&str]) {
    let router = RouterConfig {
        linger: LINGER,
        ..router(eth0(), 100, addresses(texts))
    };
    running.holdings.prepare(&Plan {
        routers: vec![router],
        ..Plan::default()
    });
}

/// Both addresses installed by router 1.
fn holding() -> Running {
    let mut running = Machine::new().start();
    prepare(&mut running, &BOTH);
    running.install(at(1), &BOTH);
    running.kernel().log.clear();
    running
}

fn tags(running: &mut Running) -> Vec<Option<u8>> {
    let there = running.kernel().addresses.iter();
    there.map(|present| present.tag).collect()
}

#[test]
fn the_rows_of_what_may_be_parked_are_in_the_ledger_when_the_plan_arrives() {
    let running = holding();
    let rows = running.recorded().addresses;
    for text in BOTH {
        assert!(rows.contains(&(LOOPBACK, address(text))), "{rows:?}");
    }
}

#[test]
fn an_address_is_on_the_loopback_interface_before_it_leaves_its_own() {
    let mut running = holding();
    running.holdings.park(at(2), &park(1, &BOTH));
    assert_eq!(running.kernel().on(LOOPBACK), BOTH);
    // The kernel does not route to a new IPv6 address at once.
    assert_eq!(running.kernel().on(eth0()), [BOTH[1]]);
    assert_eq!(running.holdings.next_due(), Some(at(2) + OVERLAP));
    running.holdings.maintain(at(2) + OVERLAP, true);
    assert_eq!(running.kernel().on(eth0()), [""; 0]);
    assert_eq!(tags(&mut running), [Some(PARKED_TAG); 2]);
    let interfaces: Vec<Ifindex> = running.kernel().log.iter().map(|c| c.interface).collect();
    assert_eq!(interfaces, [LOOPBACK, LOOPBACK, eth0(), eth0()]);
    assert_eq!(running.holdings.count(), 0);
}

#[test]
fn a_parked_address_has_the_prefix_of_a_host_and_goes_by_itself_if_nobody_takes_it_off() {
    let mut running = Machine::new().start();
    prepare(&mut running, &["192.0.2.1/24"]);
    running.install(at(1), &["192.0.2.1/24"]);
    running.holdings.park(at(2), &park(1, &["192.0.2.1/24"]));
    assert_eq!(running.kernel().on(LOOPBACK), ["192.0.2.1/32"]);
    let lifetime = running.kernel().lifetimes[&"192.0.2.1".parse().unwrap()];
    assert_eq!(lifetime, Some(LINGER + SPARE));
}

#[test]
fn a_withdrawal_after_the_linger_leaves_nothing() {
    let mut running = holding();
    running.holdings.park(at(2), &park(1, &BOTH));
    running.holdings.maintain(at(3), true);
    running.holdings.withdraw(at(3), &withdraw(1, &BOTH));
    assert_eq!(running.kernel().addresses, []);
}

#[test]
fn another_routers_withdrawal_leaves_what_is_parked() {
    let mut running = holding();
    running.holdings.park(at(2), &park(1, &BOTH));
    running.holdings.withdraw(at(3), &withdraw(2, &BOTH));
    assert_eq!(running.kernel().on(LOOPBACK), BOTH);
}

#[test]
fn an_install_brings_what_is_parked_back() {
    let mut running = holding();
    running.holdings.park(at(2), &park(1, &BOTH));
    running.install(at(2), &BOTH);
    running.holdings.maintain(at(3), true);
    assert_eq!(
        running.kernel().on(eth0()),
        [BOTH[1], BOTH[0]],
        "taken back in the overlap"
    );
    running.holdings.park(at(4), &park(1, &BOTH));
    running.holdings.maintain(at(5), true);
    running.kernel().log.clear();
    running.install(at(5), &BOTH);
    assert_eq!(running.kernel().on(eth0()), BOTH);
    assert_eq!(running.kernel().on(LOOPBACK), [""; 0]);
    assert_eq!(tags(&mut running), [Some(TAG); 2]);
    let first = running.kernel().log[0].interface;
    assert_eq!(first, eth0(), "it is nowhere in between");
}

#[test]
fn an_address_that_the_host_has_on_loopback_by_itself_is_left_there() {
    let mut machine = Machine::new();
    machine.kernel.put(LOOPBACK, "192.0.2.1", 32, None);
    let mut running = machine.start();
    prepare(&mut running, &BOTH);
    running.install(at(1), &BOTH);
    assert!(
        !running
            .recorded()
            .addresses
            .contains(&(LOOPBACK, address(BOTH[0])))
    );
    running.holdings.park(at(2), &park(1, &BOTH));
    running.holdings.maintain(at(3), true);
    assert_eq!(running.kernel().on(eth0()), [""; 0]);
    running.holdings.withdraw(at(3), &withdraw(1, &BOTH));
    running.holdings.finish(at(4));
    assert_eq!(running.kernel().on(LOOPBACK), ["192.0.2.1/32"]);
}

#[test]
fn what_cannot_be_parked_is_told_and_taken_off_all_the_same() {
    let mut running = holding();
    let failing = "192.0.2.1".parse().unwrap();
    running
        .kernel()
        .parking_failures
        .insert(failing, Errno::EACCES);
    running.holdings.park(at(2), &park(1, &BOTH));
    running.holdings.maintain(at(3), true);
    assert_eq!(running.kernel().on(LOOPBACK), [BOTH[1]]);
    assert_eq!(running.kernel().on(eth0()), [""; 0]);
    assert_eq!(
        running.notices(),
        ["NotParked { address: 192.0.2.1, errno: EACCES }"]
    );
}

#[test]
fn a_kernel_that_does_not_answer_once_parks_nothing_and_loses_nothing_for_ever() {
    let mut running = holding();
    running.kernel().broken.push_back(io::ErrorKind::TimedOut);
    running.holdings.park(at(2), &park(1, &BOTH));
    running.holdings.maintain(at(3), true);
    assert_eq!(running.kernel().addresses, []);
}

#[test]
fn what_a_process_before_left_parked_is_swept() {
    let mut running = holding();
    running.holdings.park(at(2), &park(1, &BOTH));
    let mut next = running.crash().start();
    assert_eq!(next.kernel().addresses, []);
}

#[test]
fn a_parked_address_of_another_ledger_is_told_and_left() {
    let mut machine = Machine::new();
    machine
        .kernel
        .put(LOOPBACK, "192.0.2.9", 32, Some(PARKED_TAG));
    let mut running = machine.start();
    assert_eq!(running.kernel().on(LOOPBACK), ["192.0.2.9/32"]);
    assert_eq!(
        running.notices(),
        ["TagOnly { interface: Ifindex(1), address: 192.0.2.9 }"]
    );
}

#[test]
fn the_end_takes_off_what_is_parked() {
    let mut running = holding();
    running.holdings.park(at(2), &park(1, &BOTH));
    running.holdings.finish(at(3));
    assert_eq!(running.kernel().addresses, []);
    assert_eq!(running.recorded().addresses.len(), 0);
}

#[test]
fn without_a_linger_nothing_of_it_is_in_the_ledger() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &BOTH);
    let rows = running.recorded().addresses;
    assert!(
        rows.iter().all(|(interface, _)| *interface == eth0()),
        "{rows:?}"
    );
}
