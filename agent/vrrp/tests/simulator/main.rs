//! The simulator: elections of two to five nodes on a virtual LAN with a virtual clock, through random
//! schedules of loss, delay, duplication, reordering, cuts, stalls, crashes, restarts, edits and forgeries.
//!
//! A schedule is a function of its seed. It consists of rounds: a disturbance, healing at a known moment, and
//! a calm long enough for every promise to come due. It ends after 200 events or more: each delivery, drop,
//! fault or edit is one, timers are none. What each module does is said at its head; `world` is the place to
//! begin.
//!
//! # Properties
//!
//! *Interval* and *Active_Down_Interval* are the largest that any member of the virtual router is ever given;
//! a *message* takes the LAN's longest delay and the receiver's lateness (the time between a deadline or an
//! arrival and the wake-up, at most 0.3 ms or a fiftieth of the interval).
//!
//! - **P1** After healing, two nodes are Active together for no longer than an interval, the sender's lateness
//!   and a message. (Where members that demand one checksum form meet members that choose, twice that and an
//!   answer's pause, here and in P3: who was taught the wrong form by a lossy LAN is unheard until it has been
//!   spoken to.)
//! - **P2** From an Active_Down_Interval, an interval and a message after healing, or after the first node
//!   became able to take part if that is later, there is always an Active. (X04)
//! - **P3** From then on there is exactly one. Where a preemption delay ends later, the old Active goes within
//!   a message. (An answer more where an interval outlasts the wait for a shorter one: the last advertisement of
//!   the old Active may be delivered after the first of the new one.)
//! - **P4** Each router instance does what RFC 9568 §6.4 says, at the moment it says; `reference` is that table:
//!   - only an Active advertises a priority above zero, its own, and well-formed; it does so before an interval
//!     has passed, and within 10 ms when it hears a lower priority or priority 0;
//!   - it yields to a higher priority, or to the same from a higher address, and to nothing else;
//!   - a Backup becomes Active when, and not before, its Active_Down_Timer ends: Active_Down_Interval after the
//!     last acceptable advertisement of at least its own priority (of any priority in mode Never, and in mode
//!     Delayed until the delay is over), Skew_Time after priority 0; or when a preemption delay ends;
//!   - a refused frame, its own frame and the second checksum form of an advertisement change nothing;
//!   - who slept through more than it can bear (an Active until it had been silent for an Active_Down_Interval,
//!     a Backup for an interval past its deadline) listens for an interval and a skew before it acts (X05);
//!   - who leaves Active says priority 0 if its link is up, and nobody else does;
//!   - an Active has ordered its addresses; it announces those alone that the network confirmed and that are
//!     still there; who is not Active has withdrawn everything, in the same wake-up;
//!   - a refused order ends in Initialize, and a new attempt comes after a second at the earliest and a minute
//!     at the latest.
//! - **P5** A wake-up ends: finite outputs, the next deadline in the future, and a snapshot that tells what the
//!   reports told. Nothing panics.
//!
//! # Use
//!
//! A failure prints its seed and the command that replays it with a trace: a JSON object a line for every
//! plan, fault, input and output. `VIPKEEPER_SCHEDULES` sets how many schedules run.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it runs on every core, says how long it took, and takes a seed from the environment"
)]
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers as well, and prints what it counted"
)]

mod coverage;
mod faults;
mod frame;
mod group;
mod lan;
mod node;
mod observer;
mod random;
mod reference;
mod replay;
mod succession;
mod together;
mod trace;
mod wake;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use coverage::Coverage;
use together::{Met, Together};
use trace::Trace;
use world::{Violation, World};

/// How many schedules a run consists of.
const SCHEDULES: u64 = 100_000;

/// The seed of the one schedule to replay with a trace.
const SEED: &str = "VIPKEEPER_SEED";

/// How many schedules instead of [`SCHEDULES`].
const COUNT: &str = "VIPKEEPER_SCHEDULES";

#[test]
fn any_schedule_heals_to_one_active_and_no_rule_is_broken() {
    if let Some(seed) = number(SEED) {
        return replay(seed);
    }
    let count = number(COUNT).unwrap_or(SCHEDULES);
    let began = Instant::now();
    let coverage = match run_all(count) {
        Ok(coverage) => coverage,
        Err(failure) => panic!("{failure}"),
    };
    let seconds = began.elapsed().as_secs_f64();
    trace::print(format_args!("simulator: {seconds:.1} s, {coverage}"));
    assert_eq!(coverage.schedules, count);
    assert!(coverage.fewest_events >= world::LEAST_EVENTS);
    if count >= 1_000 {
        for (what, schedules) in coverage.demanded() {
            let percent = schedules as f64 * 100.0 / count as f64;
            assert!(percent >= 1.0, "{what} in {percent:.2}% of the schedules");
        }
    }
}

/// So many schedules of others for each of groups, where there is less to go wrong.
const GROUPS: u64 = 20;

#[test]
fn a_sync_group_is_on_one_node_whole_and_stays_there() {
    if let Some(seed) = number(SEED) {
        return match Together::new(seed).run() {
            Ok(met) => println!("{met:?}"),
            Err(violation) => panic!("{}", failure(seed, &violation)),
        };
    }
    let count = number(COUNT).unwrap_or(SCHEDULES) / GROUPS;
    let mut total = Met::default();
    for seed in 0..count {
        match Together::new(seed).run() {
            Ok(met) => total += met,
            Err(violation) => panic!("{}", failure(seed, &violation)),
        }
    }
    trace::print(format_args!("groups: {total:?}"));
    assert_eq!(total.schedules, count);
    for (what, met) in total.demanded() {
        assert!(met * 100 >= count, "{what} in {met} of {count} schedules");
    }
}

#[test]
fn a_schedule_is_a_function_of_its_seed() {
    for seed in 0..50 {
        let outcome = || format!("{:?}", World::new(seed, Trace::OFF).run());
        assert_eq!(outcome(), outcome());
    }
}

fn replay(seed: u64) {
    match World::new(seed, Trace::ON).run() {
        Ok(coverage) => println!("{coverage}"),
        Err(violation) => panic!("{}", failure(seed, &violation)),
    }
}

/// Runs schedules 0..`count`, until the first failure.
fn run_all(count: u64) -> Result<Coverage, String> {
    let mut total = Coverage::default();
    for outcome in outcomes(count) {
        total += outcome?;
    }
    Ok(total)
}

/// What each core's share of the schedules came to.
fn outcomes(count: u64) -> Vec<Result<Coverage, String>> {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| {
        let run = || scope.spawn(|| run_some(count, &next, &stop));
        let threads: Vec<_> = (0..cores).map(|_| run()).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

fn run_some(count: u64, next: &AtomicU64, stop: &AtomicBool) -> Result<Coverage, String> {
    let mut total = Coverage::default();
    while !stop.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= count {
            break;
        }
        let run = || World::new(seed, Trace::OFF).run();
        let why = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(coverage)) => {
                total += coverage;
                continue;
            }
            Ok(Err(violation)) => failure(seed, &violation),
            Err(_) => format!("schedule {seed} panics\n{}", command(seed)),
        };
        stop.store(true, Ordering::Relaxed);
        return Err(why);
    }
    Ok(total)
}

fn failure(seed: u64, violation: &Violation) -> String {
    let Violation {
        property,
        at,
        detail,
    } = violation;
    let at = trace::seconds(*at);
    format!(
        "schedule {seed} violates {property} at {at}: {detail}\n{}",
        command(seed)
    )
}

fn command(seed: u64) -> String {
    format!(
        "replay: {SEED}={seed} cargo test -p vipkeeper-vrrp --test simulator -- --exact \
         any_schedule_heals_to_one_active_and_no_rule_is_broken"
    )
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let Ok(number) = value.parse() else {
        panic!("{variable} is not a number: {value}");
    };
    Some(number)
}
