//! Every state and every event: RFC 9568 §6.4 as one table.

use vipkeeper_vrrp::{Command, Fact, InterfaceState, Output, StateName, Ticket};

use crate::bench::{Bench, IFINDEX, Kernel, Log, SECOND, deeds, down, router, running, skew};
use crate::forge::from;

/// What happens. Our priority is 100, our address ends in 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Startup,
    Leave,
    Timeout,
    Stalled,
    Release,
    Lower,
    EqualFromBelow,
    EqualFromAbove,
    Higher,
    Installed,
    InstalledOfAnother,
    InstallFailed,
    InstallFailedOfAnother,
}

use Event::*;
use StateName::{Active, Backup, Initialize};

const EVENTS: [Event; 13] = [
    Startup,
    Leave,
    Timeout,
    Stalled,
    Release,
    Lower,
    EqualFromBelow,
    EqualFromAbove,
    Higher,
    Installed,
    InstalledOfAnother,
    InstallFailed,
    InstallFailedOfAnother,
];

/// What comes of it: the next state, what is done, and in how long the timer of that state ends; `None` where
/// it runs on as if nothing had happened, or where there is none.
fn expected(state: StateName, event: Event) -> (StateName, &'static [&'static str], Option<u128>) {
    let (listen, whole) = ((SECOND + skew(100)).as_nanos(), down(100).as_nanos());
    match (state, event) {
        (Initialize, Startup) => (Backup, &[], Some(whole)),
        (
            Initialize,
            Leave
            | Timeout
            | Stalled
            | Release
            | Lower
            | EqualFromBelow
            | EqualFromAbove
            | Higher
            | Installed
            | InstalledOfAnother
            | InstallFailed
            | InstallFailedOfAnother,
        ) => (Initialize, &[], None),

        (Backup, Startup) => (Backup, &[], None),
        (Backup, Leave) => (Initialize, &[], None),
        (Backup, Timeout) => (Active, &["send 100", "install"], Some(SECOND.as_nanos())),
        (Backup, Stalled) => (Backup, &[], Some(listen)),
        (Backup, Release) => (Backup, &[], Some(skew(100).as_nanos())),
        (Backup, Lower) => (Backup, &[], None),
        (Backup, EqualFromBelow | EqualFromAbove | Higher) => (Backup, &[], Some(whole)),
        (Backup, Installed | InstalledOfAnother | InstallFailed | InstallFailedOfAnother) => {
            (Backup, &[], None)
        }

        (Active, Startup) => (Active, &[], None),
        (Active, Leave) => (Initialize, &["withdraw"], None),
        (Active, Timeout) => (Active, &["send 100"], Some(SECOND.as_nanos())),
        (Active, Stalled) => (Backup, &["withdraw"], Some(listen)),
        (Active, Release | Lower | EqualFromBelow) => (Active, &["send 100"], None),
        (Active, EqualFromAbove | Higher) => (Backup, &["withdraw"], Some(whole)),
        // The timer that ends next is that of the second announcement.
        (Active, Installed) => (Active, &["announce 10.77.0.100"], Some(20_000_000)),
        (Active, InstalledOfAnother | InstallFailedOfAnother) => (Active, &[], None),
        (Active, InstallFailed) => (Initialize, &["send 0", "withdraw"], Some(SECOND.as_nanos())),
    }
}

/// A router in `state`, whose last order to install, if it ever gave one, is not answered.
fn bench(state: StateName) -> (Bench, Option<Ticket>) {
    let mut bench = Bench::new(&[router(100)]);
    bench.kernel = Kernel::Waits;
    let log = match state {
        Active => bench.until_active(),
        Backup | Initialize => {
            // Active once and demoted: an order of that time may still be answered.
            let log = bench.until_active();
            bench.hear(&from(9, 200));
            log
        }
    };
    if state == Initialize {
        bench.link(IFINDEX, down_link());
    }
    let ticket = log.iter().find_map(|(_, output)| match output {
        Output::Install(install) => Some(install.ticket),
        _ => None,
    });
    (bench, ticket)
}

fn down_link() -> InterfaceState {
    InterfaceState {
        running: false,
        ..running()
    }
}

fn happen(bench: &mut Bench, ticket: Option<Ticket>, event: Event) -> Log {
    let snapshot = bench.election.snapshot(bench.now);
    assert_eq!(snapshot.routers.len(), 1);
    // The only router there ever was.
    let router = vipkeeper_vrrp::RouterId(1);
    let ticket = ticket.unwrap();
    let other = Ticket(ticket.0 + 1_000);
    let refused = Vec::new();
    match event {
        Startup => bench.link(IFINDEX, running()),
        Leave => bench.link(IFINDEX, down_link()),
        Timeout => match bench.election.next_timeout() {
            Some(_) => bench.fire(),
            None => bench.settle(),
        },
        Stalled => {
            bench.stall(60 * SECOND);
            bench.settle()
        }
        Release => bench.hear(&from(1, 0)),
        Lower => bench.hear(&from(9, 99)),
        EqualFromBelow => bench.hear(&from(4, 100)),
        EqualFromAbove => bench.hear(&from(6, 100)),
        Higher => bench.hear(&from(1, 101)),
        Installed => bench.fact(Fact::Installed {
            router,
            ticket,
            refused,
        }),
        InstalledOfAnother => {
            let ticket = other;
            bench.fact(Fact::Installed {
                router,
                ticket,
                refused,
            })
        }
        InstallFailed => bench.fact(Fact::InstallFailed { router, ticket }),
        InstallFailedOfAnother => {
            let ticket = other;
            bench.fact(Fact::InstallFailed { router, ticket })
        }
    }
}

#[test]
fn every_event_in_every_state_has_its_outcome() {
    for state in StateName::ALL {
        for event in EVENTS {
            let (mut bench, ticket) = bench(state);
            // Somewhere between two timers, so that a timer that is set anew shows.
            bench.advance(SECOND / 10);
            assert_eq!(bench.state(), state);
            let before = bench.election.next_timeout();
            let log = happen(&mut bench, ticket, event);
            let (next, done, timer) = expected(state, event);
            let what = format!("{event:?} in {}", state.as_str());
            assert_eq!(bench.state(), next, "{what}");
            assert_eq!(deeds(&log), done, "{what}");
            match timer {
                Some(nanos) => assert_eq!(bench.timeout().as_nanos(), nanos, "{what}"),
                None if next == Initialize => {
                    assert_eq!(bench.election.next_timeout(), None, "{what}");
                }
                None => assert_eq!(bench.election.next_timeout(), before, "{what}"),
            }
        }
    }
}

#[test]
fn shutdown_leads_from_every_state_to_initialize() {
    for state in StateName::ALL {
        let (mut bench, _) = bench(state);
        let log = bench.command(Command::Shutdown);
        let done: &[&str] = match state {
            Active => &["send 0", "withdraw"],
            Backup | Initialize => &[],
        };
        assert_eq!(deeds(&log), done);
        assert_eq!(bench.state(), Initialize);
        assert_eq!(bench.election.next_timeout(), None);
    }
}
