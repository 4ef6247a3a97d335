//! What the election counts and tells for observers.

use std::time::Duration;

use vipkeeper_vrrp::{Output, Reason, Report, StateName, Transitions};

use crate::bench::{Bench, Kernel, Log, SECOND, down, millis, router};
use crate::forge::from;

/// The reasons and silences of what was announced.
fn announced(log: &Log) -> Vec<(Reason, Duration)> {
    let announced = log.iter().filter_map(|(_, output)| match output {
        Output::Report(Report::Announced {
            reason, silence, ..
        }) => Some((*reason, *silence)),
        _ => None,
    });
    announced.collect()
}

#[test]
fn a_failover_lasts_from_the_last_advertisement_to_the_first_announcement() {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = Kernel::Waits;
    bench.advance(SECOND);
    bench.hear(&from(1, 200));
    let mut log = bench.until_active();
    assert_eq!(announced(&log), [], "nothing is announced yet");
    let install = log.iter().find_map(|(_, output)| match output {
        Output::Install(install) => Some(install.clone()),
        _ => None,
    });
    let install = install.unwrap();
    bench.stall(millis(7));
    log.extend(bench.fact(vipkeeper_vrrp::Fact::Installed {
        router: install.router,
        ticket: install.ticket,
        refused: Vec::new(),
    }));
    log.extend(bench.advance(10 * SECOND));
    let expected = (Reason::NoResponse, down(100) + millis(7));
    assert_eq!(announced(&log), [expected]);
}

#[test]
fn who_followed_nobody_tells_no_duration() {
    let (mut bench, mut log) = Bench::started(&[router(100)]);
    log.extend(bench.until_active());
    log.extend(bench.advance(10 * SECOND));
    assert_eq!(announced(&log), []);
    // An Active of long ago is not the one that is followed now.
    bench.hear(&from(1, 200));
    bench.advance(3 * SECOND);
    bench.link(
        crate::bench::IFINDEX,
        vipkeeper_vrrp::InterfaceState::default(),
    );
    bench.advance(100 * SECOND);
    let mut log = bench.link(crate::bench::IFINDEX, crate::bench::running());
    log.extend(bench.until_active());
    log.extend(bench.advance(10 * SECOND));
    assert_eq!(announced(&log), []);
}

#[test]
fn transitions_are_counted_by_kind() {
    let mut bench = Bench::active(router(100));
    for _ in 0..2 {
        bench.hear(&from(1, 200));
        bench.until_active();
    }
    let kind = |from, to, reason, count| Transitions {
        from,
        to,
        reason,
        count,
    };
    let (initialize, backup, active) =
        (StateName::Initialize, StateName::Backup, StateName::Active);
    let status = bench.status();
    let expected = [
        kind(initialize, backup, Reason::Startup, 1),
        kind(backup, active, Reason::NoResponse, 3),
        kind(active, backup, Reason::HigherPriority, 2),
    ];
    assert_eq!(status.transitions_by_kind, expected);
    assert_eq!(status.transitions, 6);
}
