//! One turn after the other, on a kernel in memory and a clock of the test's.

mod convergence;
mod firewall;
mod settings;

use nix::errno::Errno;

use super::super::fake::examples::{address, destination, entry, key, present, service};
use super::super::fake::{Fake, Intrusion};
use super::super::firewall::table_name;
use super::super::kernel::Refusal;
use super::super::present::PresentService;
use super::super::settings::tests::zeroes;
use super::super::table::Entry;
use super::*;
use crate::network::ledger::Identity;
use crate::scratch::Directory;

fn identity() -> Identity {
    Identity {
        boot: "b3f1a9a6-0f54-4b58-8a6c-7b8c1d0e2f3a".to_owned(),
        namespace: 4_026_531_840,
        instance: "default".to_owned(),
    }
}

pub(in crate::services) fn name() -> TableName {
    table_name("default").unwrap()
}

pub(in crate::services) fn ledger(directory: &Directory) -> Ledger {
    let (ledger, discarded) = Ledger::open(directory.path().join("services"), identity());
    assert_eq!(discarded, None);
    ledger
}

/// A ledger that calls the services on `ports` ours.
pub(in crate::services) fn ledger_of(directory: &Directory, ports: &[u16]) -> Ledger {
    let mut ledger = ledger(directory);
    let services = ports.iter().map(|&port| key(port)).collect();
    ledger
        .save(Rows {
            services,
            ..Rows::default()
        })
        .unwrap();
    ledger
}

fn table(entries: &[Entry]) -> Arc<Table> {
    Arc::new(entries.iter().cloned().collect())
}

/// An upkeep with its clock and its ledger's directory.
struct Bench {
    upkeep: Upkeep<Fake>,
    now: Time,
    directory: Directory,
}

impl Bench {
    /// Beside a kernel that has `there`, of which the ledger calls `ours` ours.
    fn new(there: &[Entry], ours: &[u16]) -> Self {
        let directory = Directory::new();
        let ledger = ledger_of(&directory, ours);
        let kernel = Fake {
            settings: zeroes(&directory, Policy::Verify),
            present: present(&there.iter().cloned().collect()),
            ledger: Some(directory.path().join("services")),
            ..Fake::default()
        };
        Self {
            upkeep: Upkeep::new(kernel, ledger, name()),
            now: Time::ZERO + Duration::from_secs(1_000),
            directory,
        }
    }

    /// One that has settled on `entries`.
    fn settled(entries: &[Entry]) -> Self {
        let mut bench = Self::new(&[], &[]);
        bench.upkeep.want(table(entries));
        bench.turn();
        bench.kernel().take_told();
        bench
    }

    fn turn(&mut self) {
        let now = self.now;
        self.upkeep.turn(|| now);
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.turn();
    }

    fn kernel(&mut self) -> &mut Fake {
        &mut self.upkeep.kernel
    }

    fn has(&mut self, port: u16) -> Option<&PresentService> {
        self.upkeep.kernel.present.services.get(&key(port))
    }

    fn report(&self, port: u16) -> ServiceReport {
        self.upkeep.observed().services[&key(port)].clone()
    }

    /// What a process after a crash would call ours.
    fn ledger_says(&self) -> Vec<ServiceKey> {
        let ledger = ledger(&self.directory);
        ledger.rows().services.iter().copied().collect()
    }
}

#[test]
fn what_is_wanted_is_added_once_and_the_ledger_knew_before() {
    let entries = [entry(80, &[(1, 1), (2, 0)]), entry(81, &[])];
    let mut bench = Bench::new(&[], &[]);
    bench.upkeep.want(table(&entries));
    bench.turn();
    assert_eq!(bench.kernel().take_told().len(), 4);
    assert!(bench.report(80).is_programmed && bench.report(81).is_programmed);
    assert_eq!(bench.ledger_says(), [key(80), key(81)]);
    bench.pass(2);
    assert_eq!(bench.kernel().take_told(), []);
    assert_eq!(bench.upkeep.observed().counts.passes, 2);
}

#[test]
fn a_changed_real_server_costs_no_reading() {
    let mut bench = Bench::settled(&[entry(80, &[(1, 1), (2, 1)])]);
    let dumps = bench.kernel().dumps;
    bench.upkeep.want(table(&[entry(80, &[(1, 1), (3, 1)])]));
    bench.turn();
    assert_eq!(bench.kernel().take_told().len(), 2);
    assert_eq!(bench.kernel().dumps, dumps);
    assert!(bench.report(80).is_programmed);
}

#[test]
fn a_new_service_is_looked_for_before_it_is_added() {
    let mut bench = Bench::settled(&[entry(80, &[])]);
    let theirs = entry(81, &[(9, 9)]);
    bench.kernel().intrude(&Intrusion::Add(*theirs.service()));
    bench
        .upkeep
        .want(table(&[entry(80, &[]), entry(81, &[(1, 1)])]));
    bench.turn();
    assert_eq!(bench.kernel().take_told(), []);
    assert_eq!(bench.report(81).trouble, Some(Trouble::Foreign));
    assert!(!bench.report(81).is_programmed);
    assert_eq!(bench.ledger_says(), [key(80)]);
}

#[test]
fn what_is_right_after_a_restart_is_not_rewritten_and_what_is_left_over_goes() {
    let there = [
        entry(80, &[(1, 1)]),
        entry(81, &[(1, 1)]),
        entry(443, &[(7, 7)]),
    ];
    let mut bench = Bench::new(&there, &[80, 81]);
    bench.turn();
    assert_eq!(bench.kernel().take_told(), [], "there is no table yet");
    assert_eq!(bench.upkeep.observed().others, 1);
    bench.upkeep.want(table(&there[..1]));
    bench.turn();
    let told = bench.kernel().take_told();
    assert_eq!(told, [Operation::DeleteService(key(81))]);
    assert!(bench.report(80).is_programmed);
    assert!(bench.has(443).is_some());
    assert_eq!(bench.ledger_says(), [key(80)]);
    assert_eq!(bench.upkeep.observed().counts.repairs, 0);
}

#[test]
fn what_somebody_flushed_or_changed_is_put_back_and_counted() {
    let entries = [entry(80, &[(1, 1), (2, 1)]), entry(81, &[(1, 1)])];
    let mut bench = Bench::settled(&entries);
    bench.kernel().intrude(&Intrusion::Flush);
    bench.pass(2);
    assert_eq!(bench.kernel().take_told().len(), 5);
    assert_eq!(bench.upkeep.observed().counts.repairs, 5);
    let stray = Intrusion::AddDestination(key(80), destination(9, 1));
    bench.kernel().intrude(&stray);
    bench.pass(2);
    let told = bench.kernel().take_told();
    assert_eq!(told, [Operation::DeleteDestination(key(80), address(9))]);
    assert_eq!(bench.upkeep.observed().counts.repairs, 6);
    assert!(bench.report(80).is_programmed && bench.report(81).is_programmed);
}

#[test]
fn a_change_that_meets_a_changed_kernel_is_done_in_the_same_moment() {
    let mut bench = Bench::settled(&[entry(80, &[(1, 1), (2, 1)])]);
    let gone = Intrusion::DeleteDestination(key(80), address(2));
    bench.kernel().intrude(&gone);
    bench.upkeep.want(table(&[entry(80, &[(1, 1), (2, 5)])]));
    bench.turn();
    assert!(!bench.report(80).is_programmed);
    assert_eq!(bench.upkeep.next_due(), Some(bench.now));
    bench.turn();
    assert!(bench.report(80).is_programmed);
    assert_eq!(bench.upkeep.observed().counts.refusals, 0);
}

#[test]
fn a_service_that_somebody_adds_between_reading_and_adding_stays_theirs() {
    let mut bench = Bench::new(&[], &[]);
    let theirs = *entry(80, &[]).service();
    let intrusion = Some(Intrusion::Add(theirs));
    bench.kernel().intrusions.push_back(intrusion);
    bench.upkeep.want(table(&[entry(80, &[(1, 1)])]));
    bench.turn();
    assert_eq!(bench.ledger_says(), []);
    assert_eq!(bench.report(80).trouble, Some(Trouble::Foreign));
    bench.turn();
    bench.pass(60);
    assert_eq!(bench.report(80).trouble, Some(Trouble::Foreign));
    assert_eq!(bench.has(80).unwrap().destinations.len(), 0);
    bench.kernel().intrude(&Intrusion::Delete(key(80)));
    bench.pass(2);
    assert!(bench.report(80).is_programmed);
}

#[test]
fn a_scheduler_that_is_missing_is_told_and_asked_for_ever_more_rarely() {
    let mut bench = Bench::new(&[], &[]);
    bench.kernel().lacks.insert("wlc".to_owned());
    bench.upkeep.want(table(&[entry(80, &[(1, 1)])]));
    let end = bench.now + Duration::from_secs(600);
    while bench.now < end {
        bench.turn();
        bench.now = bench.upkeep.next_due().unwrap();
    }
    let told = bench.kernel().take_told();
    assert!(told.len() < 40, "{} operations in ten minutes", told.len());
    let trouble = Trouble::SchedulerMissing("wlc".parse().unwrap());
    assert_eq!(bench.report(80).trouble, Some(trouble));
    bench.kernel().lacks.clear();
    bench.pass(60);
    assert!(bench.report(80).is_programmed);
    assert_eq!(bench.report(80).trouble, None);
}

#[test]
fn one_refused_real_server_keeps_no_other_from_its_service() {
    let mut bench = Bench::new(&[], &[]);
    let mut impossible = entry(80, &[(1, 1)]);
    let mut heavy = destination(2, 1);
    heavy.lower_threshold = 1;
    impossible.insert(heavy);
    bench.upkeep.want(table(&[impossible]));
    bench.turn();
    let there = bench.has(80).unwrap();
    assert_eq!(there.destinations.len(), 1);
    let report = bench.report(80);
    let told: Vec<_> = report.destinations.keys().collect();
    assert_eq!(told, [&address(2)]);
    assert_eq!((report.is_programmed, report.trouble), (false, None));
    bench.upkeep.want(table(&[entry(80, &[(1, 1), (2, 1)])]));
    bench.turn();
    assert!(bench.report(80).is_programmed, "at once, for it is another");
}

#[test]
fn a_kernel_without_ipvs_is_asked_again_and_then_gets_everything() {
    let mut bench = Bench::new(&[], &[80]);
    for _ in 0..3 {
        bench.kernel().failures.push_back(Unavailable::Missing);
    }
    bench.upkeep.want(table(&[entry(80, &[(1, 1)])]));
    let mut waits = Vec::new();
    for _ in 0..3 {
        bench.turn();
        let observed = bench.upkeep.observed();
        assert_eq!(observed.trouble, Some(Trouble::IpvsMissing));
        let due = bench.upkeep.next_due().unwrap();
        waits.push(due.since(bench.now).as_secs());
        bench.now = due;
    }
    assert_eq!(waits, [1, 2, 4]);
    bench.turn();
    assert_eq!(bench.upkeep.observed().trouble, None);
    assert!(bench.report(80).is_programmed);
}

#[test]
fn a_node_without_services_asks_the_kernel_nothing() {
    let mut bench = Bench::new(&[entry(443, &[])], &[]);
    bench.turn();
    bench.upkeep.want(Arc::default());
    bench.pass(10);
    assert_eq!(bench.kernel().dumps, 0);
    assert_eq!(bench.upkeep.next_due(), None);
    bench.upkeep.want(table(&[entry(80, &[])]));
    bench.turn();
    assert!(bench.report(80).is_programmed);
}

#[test]
fn an_answer_that_is_lost_is_read_again_before_anything_is_written() {
    let mut bench = Bench::settled(&[entry(80, &[(1, 1)])]);
    let lost = || Unavailable::Netlink(std::io::ErrorKind::TimedOut.into());
    bench.kernel().failures.push_back(lost());
    bench.upkeep.want(table(&[entry(80, &[(1, 2)])]));
    bench.turn();
    assert!(matches!(
        bench.upkeep.observed().trouble,
        Some(Trouble::Unreachable(_))
    ));
    let dumps = bench.kernel().dumps;
    bench.pass(1);
    assert_eq!(bench.kernel().dumps, dumps + 1);
    assert!(bench.report(80).is_programmed);
    assert_eq!(bench.upkeep.observed().trouble, None);
}

#[test]
fn a_drain_is_looked_after_soon() {
    let mut bench = Bench::settled(&[entry(80, &[(1, 1), (2, 1)])]);
    bench.upkeep.want(table(&[entry(80, &[(1, 1), (2, 0)])]));
    bench.turn();
    assert_eq!(bench.upkeep.next_due(), Some(bench.now + SOON));
}

#[test]
fn what_is_finished_leaves_what_is_not_ours() {
    let mut bench = Bench::new(&[entry(443, &[(7, 7)]), entry(81, &[])], &[81]);
    bench.upkeep.want(table(&[entry(80, &[(1, 1)])]));
    bench.turn();
    let now = bench.now;
    let finished = bench.upkeep.finish(|| now);
    assert_eq!((finished.removed, finished.left), (1, vec![]));
    assert!(bench.has(443).is_some() && bench.has(80).is_none());
    assert_eq!(bench.ledger_says(), []);
}

#[test]
fn what_cannot_be_removed_is_told_and_stays_in_the_ledger() {
    let mut bench = Bench::settled(&[entry(80, &[]), entry(81, &[])]);
    bench.kernel().refusals.push_back(Some(Errno::EPERM));
    let now = bench.now;
    let finished = bench.upkeep.finish(|| now);
    assert_eq!(finished.removed, 1);
    let trouble = Trouble::Refused(Refusal::from(Errno::EPERM).to_string());
    assert_eq!(finished.left, [(key(80), trouble)]);
    assert_eq!(bench.ledger_says(), [key(80)]);
}

#[test]
fn what_a_successor_added_and_nobody_wants_goes_after_it_failed() {
    let mut bench = Bench::settled(&[entry(80, &[(1, 1)])]);
    drop(ledger_of(&bench.directory, &[80, 81]));
    let theirs = Intrusion::Add(*entry(81, &[]).service());
    bench.kernel().intrude(&theirs);
    bench.upkeep.resume();
    bench.turn();
    let told = bench.kernel().take_told();
    assert_eq!(told, [Operation::DeleteService(key(81))]);
    assert_eq!(bench.ledger_says(), [key(80)]);
}

#[test]
fn a_ledger_that_a_successor_left_broken_is_written_again() {
    let mut bench = Bench::settled(&[entry(80, &[(1, 1)])]);
    std::fs::write(bench.directory.path().join("services"), "nonsense").unwrap();
    bench.upkeep.resume();
    bench.turn();
    assert_eq!(bench.kernel().take_told(), []);
    assert!(bench.report(80).is_programmed);
    assert_eq!(bench.ledger_says(), [key(80)]);
}

#[test]
fn a_real_server_that_waits_for_its_service_keeps_nobody_awake() {
    let mut bench = Bench::new(&[], &[]);
    let mut impossible = entry(80, &[]);
    let mut heavy = destination(2, 1);
    heavy.lower_threshold = 1;
    impossible.insert(heavy);
    bench.upkeep.want(table(&[impossible]));
    bench.turn();
    bench.kernel().intrude(&Intrusion::Flush);
    bench.kernel().lacks.insert("wlc".to_owned());
    let end = bench.now + Duration::from_secs(600);
    let mut turns = 0;
    while bench.now < end && turns < 10_000 {
        bench.turn();
        turns += 1;
        bench.now = bench.now.max(bench.upkeep.next_due().unwrap());
    }
    // Every two seconds it is read, and now and then an operation is told again.
    assert!(turns < 400, "{turns} turns in ten minutes");
}

#[test]
fn attributes_of_a_service_are_changed_in_place() {
    let mut bench = Bench::settled(&[entry(80, &[(1, 1)])]);
    let mut hashed = service(key(80));
    hashed.scheduler = "mh".parse().unwrap();
    hashed.flags.scheduler_1 = true;
    bench
        .upkeep
        .want(table(&[Entry::with(hashed, [destination(1, 1)])]));
    bench.turn();
    let told = bench.kernel().take_told();
    assert_eq!(told, [Operation::SetService(hashed)]);
    assert!(bench.report(80).is_programmed);
}
