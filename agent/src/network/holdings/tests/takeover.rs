//! What is held changes hands.

use super::super::super::{Frozen, ledger};
use super::*;

const HELD: &[&str] = &["192.0.2.1/32", "2001:db8::1/128"];

fn active() -> Running {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, HELD);
    running.install(at(1), HELD);
    running
}

/// Another process goes on with what `old` has, which says no more.
fn succeed(mut old: Running) -> Running {
    let frozen = old.holdings.freeze(Vec::new());
    // As between processes.
    let frozen: Frozen = serde_json::from_str(&serde_json::to_string(&frozen).unwrap()).unwrap();
    let machine = old.crash();
    let path = machine.directory.path().join("ledger");
    let ledger = Ledger::take_over(path, identity(), &frozen.ledger).unwrap();
    Running {
        directory: machine.directory,
        holdings: Holdings::take_over(machine.kernel, ledger, frozen),
    }
}

#[test]
fn a_takeover_says_not_a_word_to_the_kernel() {
    let mut old = active();
    let said = old.kernel().log.len();
    let mut new = succeed(old);
    // The plan of the new process is the same.
    new.prepare(eth0(), 100, HELD);
    new.holdings.maintain(at(2), true);
    assert_eq!(new.kernel().log.len(), said);
    assert_eq!(new.notices(), [""; 0]);
    assert_eq!(new.holdings.count(), 2);
}

#[test]
fn the_new_process_renews_and_takes_off_what_the_old_one_put_there() {
    let mut old = active();
    let said = old.kernel().log.len();
    let mut new = succeed(old);
    new.holdings.maintain(at(12), true);
    let renewed = |change: &Change| matches!(change.action, Action::Replace { .. });
    let changes = &new.kernel().log[said..];
    assert!(
        changes.len() == 2 && changes.iter().all(renewed),
        "{changes:?}"
    );
    new.holdings.finish(at(13));
    assert_eq!(new.kernel().on(eth0()), [""; 0]);
}

#[test]
fn what_the_kernel_would_not_take_off_stays_to_be_done() {
    let mut old = active();
    let stuck = "192.0.2.1".parse().unwrap();
    old.kernel().failures.insert(stuck, Errno::EBUSY);
    old.holdings.finish(at(2));
    assert_eq!(old.kernel().on(eth0()), ["192.0.2.1/32"]);
    let mut new = succeed(old);
    new.kernel().failures.clear();
    new.holdings.maintain(at(10), true);
    assert_eq!(new.kernel().on(eth0()), [""; 0]);
}

#[test]
fn what_belongs_to_another_network_namespace_is_not_taken_over() {
    let mut old = active();
    let frozen = old.holdings.freeze(Vec::new());
    let elsewhere = ledger::Identity {
        namespace: 1,
        ..identity()
    };
    let path = old.directory.path().join("ledger");
    let refused = Ledger::take_over(path, elsewhere, &frozen.ledger).unwrap_err();
    assert_eq!(refused, ledger::Discarded::NotOurs);
}
