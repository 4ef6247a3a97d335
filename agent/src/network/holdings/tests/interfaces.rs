//! Orders whose addresses have interfaces of their own.

use super::*;
use crate::network::kernel::LOOPBACK;

const BOTH: [&str; 2] = ["192.0.2.1/32", "192.0.2.2/32 eth1"];

fn prepared() -> Running {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &BOTH);
    running
}

fn holding() -> Running {
    let mut running = prepared();
    assert_eq!(running.install(at(1), &BOTH), installed(&[]));
    running
}

/// What `eth0`, `eth1` and `lo` have.
fn there(running: &mut Running) -> [Vec<String>; 3] {
    [eth0(), eth1(), LOOPBACK].map(|interface| running.kernel().on(interface))
}

fn texts(all: [&[&str]; 3]) -> [Vec<String>; 3] {
    all.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect())
}

fn nothing() -> [Vec<String>; 3] {
    texts([&[], &[], &[]])
}

#[test]
fn each_address_comes_to_its_interface_and_goes_from_there() {
    let mut running = prepared();
    let rows = [
        (eth0(), address("192.0.2.1/32")),
        (eth1(), address("192.0.2.2/32")),
    ];
    assert_eq!(running.recorded().addresses, rows.into());
    for interface in [eth0(), eth1()] {
        let key = (interface, Setting::ArpIgnore);
        assert_eq!(running.kernel().settings[&key], 1, "{interface}");
    }
    running.install(at(1), &BOTH);
    let both = texts([&["192.0.2.1/32"], &["192.0.2.2/32"], &[]]);
    assert_eq!(there(&mut running), both);
    running.holdings.withdraw(at(2), &withdraw(1, &BOTH));
    assert_eq!(there(&mut running), nothing());
    running.holdings.finish(at(3));
    let key = (eth1(), Setting::ArpIgnore);
    assert_eq!(running.kernel().settings[&key], 0, "as it was");
}

#[test]
fn each_address_is_parked_from_its_interface_and_comes_back_to_it() {
    let mut running = holding();
    let park = vipkeeper_vrrp::Park {
        router: RouterId(1),
        ticket: Ticket(8),
        interface: eth0(),
        addresses: addresses(&BOTH),
        linger: Duration::from_secs(1),
    };
    running.holdings.park(at(2), &park);
    let parked = texts([&[], &[], &["192.0.2.1/32", "192.0.2.2/32"]]);
    assert_eq!(there(&mut running), parked);
    running.install(at(3), &BOTH);
    let back = texts([&["192.0.2.1/32"], &["192.0.2.2/32"], &[]]);
    assert_eq!(there(&mut running), back);
}

#[test]
fn an_address_that_moves_to_another_interface_is_on_one_alone() {
    let mut running = Machine::new().start();
    let before = ["192.0.2.1/32", "192.0.2.2/32"];
    running.prepare(eth0(), 100, &before);
    running.install(at(1), &before);
    running.prepare(eth0(), 100, &BOTH);
    running.holdings.withdraw(at(2), &withdraw(1, &before[1..]));
    assert_eq!(running.install(at(2), &BOTH), installed(&[]));
    let after = texts([&["192.0.2.1/32"], &["192.0.2.2/32"], &[]]);
    assert_eq!(there(&mut running), after);
    running.holdings.maintain(at(2), true);
    let old = (eth0(), address("192.0.2.2/32"));
    assert!(!running.recorded().addresses.contains(&old));
}

#[test]
fn an_order_fails_with_the_interface_of_one_address_and_says_which() {
    let mut running = prepared();
    running.kernel().unplug(eth1());
    assert_eq!(running.install(at(1), &BOTH), FAILED);
    assert_eq!(there(&mut running), nothing());
    let notices = running.notices();
    let failed = "InstallFailed { interface: Ifindex(3)";
    assert!(notices.iter().any(|n| n.starts_with(failed)), "{notices:?}");
}

#[test]
fn what_is_somebody_elses_is_so_on_the_interface_of_the_address() {
    let mut machine = Machine::new();
    machine.kernel.put(eth0(), "192.0.2.2", 32, None);
    machine.kernel.put(eth1(), "192.0.2.1", 32, None);
    let mut running = machine.start();
    running.prepare(eth0(), 100, &BOTH);
    assert_eq!(running.notices(), [""; 0]);
    assert_eq!(running.install(at(1), &BOTH), installed(&[]));

    let mut machine = Machine::new();
    machine.kernel.put(eth1(), "192.0.2.2", 32, None);
    let mut running = machine.start();
    running.prepare(eth0(), 100, &BOTH);
    assert_eq!(running.install(at(1), &BOTH), installed(&["192.0.2.2"]));
    running.holdings.finish(at(2));
    let left = texts([&[], &["192.0.2.2/32"], &[]]);
    assert_eq!(there(&mut running), left, "untouched");
}

#[test]
fn what_somebody_takes_off_is_put_back_on_the_interface_of_the_address() {
    let mut running = holding();
    running.kernel().addresses.clear();
    let address = [192, 0, 2, 2].into();
    running.holdings.vanished(at(2), eth1(), address);
    running.holdings.vanished(at(2), eth0(), address);
    running.holdings.maintain(at(2), true);
    let back = texts([&[], &["192.0.2.2/32"], &[]]);
    assert_eq!(there(&mut running), back);
}

#[test]
fn after_a_crash_each_interface_is_swept() {
    let mut running = holding().crash().start();
    assert_eq!(running.notices(), ["Swept(2)"]);
    assert_eq!(there(&mut running), nothing());
}
