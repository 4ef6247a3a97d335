//! Is the simulator worth its time? Each mutant is the election with one rule broken; the simulator must find
//! every one of them within 10,000 schedules, and nothing wrong with the election as it is.
//!
//! The production code knows nothing of this: a mutant is a text of a source file and what to put in its place,
//! in a copy of the two crates under the target directory that is built and run like any other. Two copies, with
//! caches of their own, share the work. A text that is not found exactly once fails at once: whoever edits that
//! line edits the mutant with it.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it copies sources, and runs cargo on the copies"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers as well"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// How soon each mutant must be found.
const SCHEDULES: &str = "10000";

/// A part of a name: only the mutants that have it, for whoever changes one.
const FILTER: &str = "VIPKEEPER_MUTANT";

/// Copies that are built at the same time.
const COPIES: usize = 2;

/// One rule broken.
struct Mutant {
    name: &'static str,
    /// Below `agent/vrrp/src`.
    file: &'static str,
    text: &'static str,
    instead: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "skew 0",
        file: "timers.rs",
        text: "(256 - u64::from(priority)) * nanos(scale) / 256",
        instead: "u64::from(priority) * nanos(scale) * 0",
    },
    Mutant {
        name: "Active_Down_Interval an interval short",
        file: "timers.rs",
        text: ".saturating_mul(u32::from(missed))",
        instead: ".saturating_mul(u32::from(missed) - 1)",
    },
    Mutant {
        name: "`≥` in the tie-break: an equal priority wins from any address",
        file: "router.rs",
        text: ".then(heard.source.cmp(&source))",
        instead: ".then(if heard.source == source { Ordering::Equal } else { Ordering::Greater })",
    },
    Mutant {
        name: "the tie goes to the lower address",
        file: "router.rs",
        text: ".then(heard.source.cmp(&source))",
        instead: ".then(source.cmp(&heard.source))",
    },
    Mutant {
        name: "an Active ignores a higher priority",
        file: "router.rs",
        text: "self.yield_to(fx, now, heard, Reason::HigherPriority);",
        instead: "self.reassert(fx, now, heard);",
    },
    Mutant {
        name: "an Active does not answer a lower priority",
        file: "router.rs",
        text: "Ordering::Less => self.reassert(fx, now, heard),",
        instead: "Ordering::Less => {}",
    },
    Mutant {
        name: "a refused packet re-arms the timer",
        file: "election.rs",
        text: "router.note_rejected(now, frame.source, reason);",
        instead: "if router.state_name() == crate::output::StateName::Backup {
                    router.handle(&mut self.fx, now, Event::Stalled);
                    slot.into_iter().for_each(|slot| self.rearm(slot));
                }",
    },
    Mutant {
        name: "a TTL of 254 is accepted",
        file: "receive.rs",
        text: "if frame.ttl < least_ttl(frame, router) {",
        instead: "if frame.ttl < least_ttl(frame, router).min(254) {",
    },
    Mutant {
        name: "timers fire before frames are heard",
        file: "election.rs",
        text: "pub fn handle_frame(&mut self, now: Time, frame: &Received<'_>) {",
        instead: "pub fn handle_frame(&mut self, now: Time, frame: &Received<'_>) {
        self.handle_timeout(now);",
    },
    Mutant {
        name: "a stall goes unnoticed",
        file: "election.rs",
        text: "&& now.since(first) > SHORTEST_STALL",
        instead: "&& now.since(first) > Duration::MAX - SHORTEST_STALL",
    },
    Mutant {
        name: "an old frame cuts the listening after a stall short",
        file: "backup.rs",
        text: "backup.not_before = backup.down_at(hearing);",
        instead: "backup.not_before = Time::ZERO.max(now.min(backup.down_at(hearing)));",
    },
    Mutant {
        name: "a timer counts from the wake-up, not from the arrival",
        file: "election.rs",
        text: "arrival: frame.arrival.min(now),",
        instead: "arrival: frame.arrival.max(now),",
    },
    Mutant {
        name: "forgotten priority 0",
        file: "router.rs",
        text: "            self.advertise(fx, now, 0);\n",
        instead: "",
    },
    Mutant {
        name: "priority 0 is ignored in Backup",
        file: "backup.rs",
        text: "            self.wait = Wait::Skew;\n",
        instead: "            self.wait = Wait::Down;\n",
    },
    Mutant {
        name: "mode Never preempts",
        file: "backup.rs",
        text: "Preemption::Never => true,",
        instead: "Preemption::Never => false,",
    },
    Mutant {
        name: "mode Always waits for a lower priority",
        file: "backup.rs",
        text: "Preemption::Always => false,",
        instead: "Preemption::Always => true,",
    },
    Mutant {
        name: "a preemption delay does not end",
        file: "backup.rs",
        text: "        Some(delay.ends_at)",
        instead: "        Some(delay.ends_at).filter(|_| false)",
    },
    Mutant {
        name: "a preemption delay starts anew with every advertisement",
        file: "backup.rs",
        text: "self.delay.map_or(now + delay, |running| running.ends_at)",
        instead: "now + delay",
    },
    Mutant {
        name: "the Active's interval is not learnt",
        file: "backup.rs",
        text: "Protocol::V3 { .. } => heard.interval,",
        instead: "Protocol::V3 { .. } => hearing.protocol.interval(),",
    },
    Mutant {
        name: "every other advertisement is left out",
        file: "phase.rs",
        text: "now + Duration::from_nanos(interval - since_tick)",
        instead: "now + Duration::from_nanos(2 * interval - since_tick)",
    },
    Mutant {
        name: "the addresses stay after a demotion",
        file: "router.rs",
        text: "        self.park(fx, now);\n        self.enter(fx, now, State::Backup(backup), reason, source);",
        instead: "        self.enter(fx, now, State::Backup(backup), reason, source);",
    },
    Mutant {
        name: "addresses are announced before they are held",
        file: "router.rs",
        text: "active.install(fx, now, self.id, &self.config, interface);",
        instead: "active.install(fx, now, self.id, &self.config, interface);
        active.confirm(now, Vec::new());",
    },
    Mutant {
        name: "the outcome of a withdrawn order is believed",
        file: "active.rs",
        text: "} => ordered == ticket,",
        instead: "} => ordered >= ticket,",
    },
    Mutant {
        name: "the owner gives the host's addresses away",
        file: "router/holding.rs",
        text: "(self.config.interface, self.config.priority.is_owner())",
        instead: "(self.config.interface, false)",
    },
    Mutant {
        name: "the owner orders what it has",
        file: "active.rs",
        text: "if config.priority.is_owner() {",
        instead: "if config.priority.is_owner() && now == Time::ZERO {",
    },
    Mutant {
        name: "a router contends for addresses that are the host's",
        file: "router/host.rs",
        text: "(false, true) => Some(Reason::AddressConflict),",
        instead: "(false, true) => None,",
    },
    Mutant {
        name: "an owner acts without its addresses",
        file: "router/host.rs",
        text: "(true, false) => Some(Reason::NotAddressOwner),",
        instead: "(true, false) => None,",
    },
    Mutant {
        name: "what is parked stays",
        file: "router/handover.rs",
        text: "Handover::Parked { until } if *until <= now => self.abandon(fx),",
        instead: "Handover::Parked { until } if *until <= now => {
                *until = now + Duration::from_secs(3_600);
            }",
    },
    Mutant {
        name: "a drained lame duck does not come back",
        file: "router/handover.rs",
        text: "Cause::Drain => self.promote(fx, now, Reason::NoSuccessor),",
        instead: "Cause::Drain => self.park(fx, now),",
    },
    Mutant {
        name: "a drained router keeps its priority",
        file: "router.rs",
        text: "        if self.config.drained {\n",
        instead: "        if self.config.drained && self.weight > 10_000 {\n",
    },
    Mutant {
        name: "refused addresses are tried again at once",
        file: "timers.rs",
        text: "FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY)",
        instead: "FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY) / 100",
    },
];

/// Rules of sync groups, which schedules of groups find.
const GROUPS: &[Mutant] = &[
    Mutant {
        name: "a group becomes Active with its first member",
        file: "sync.rs",
        text: "if !all.all(ready) {",
        instead: "if !all.any(ready) {",
    },
    Mutant {
        name: "a fault is a member's own",
        file: "sync.rs",
        text: "all.find(|(other, _)| *other != slot)",
        instead: "all.find(|(other, _)| *other == slot)",
    },
    Mutant {
        name: "a defeat is a member's own",
        file: "sync.rs",
        text: "            router.follow_group(fx, now, &loser);\n",
        instead: "            let _ = (&loser, &*fx, now, &router);\n",
    },
    Mutant {
        name: "a stall is a member's own",
        file: "sync.rs",
        text: "stalled.extend(moving);",
        instead: "drop(moving);",
    },
];

/// Finds [`MUTANTS`].
const SCHEDULE: &str = "any_schedule_heals_to_one_active_and_no_rule_is_broken";
/// Finds [`GROUPS`].
const GROUP: &str = "a_sync_group_is_on_one_node_whole_and_stays_there";

#[test]
fn every_mutant_breaks_one_place_of_the_source() {
    assert!(MUTANTS.len() >= 15);
    let all = MUTANTS.iter().chain(GROUPS);
    all.for_each(|mutant| drop(mutant.mutated()));
}

#[test]
fn the_simulator_finds_every_mutant() {
    // Without any to find it has to be silent; this also fills the caches of the copies.
    let copies: Vec<Copy> = (0..COPIES).map(Copy::new).collect();
    thread::scope(|scope| {
        for copy in &copies {
            scope.spawn(|| copy.build("the election as it is"));
        }
    });
    let outcome = copies[0].simulate(SCHEDULE);
    assert!(
        outcome.status.success(),
        "the election as it is fails:\n{}",
        said(&outcome)
    );
    let filter = std::env::var(FILTER).unwrap_or_default();
    let alone = MUTANTS.iter().map(|mutant| (mutant, SCHEDULE));
    let mutants: Vec<_> = alone
        .chain(GROUPS.iter().map(|mutant| (mutant, GROUP)))
        .filter(|(mutant, _)| mutant.name.contains(&filter))
        .collect();
    let next = AtomicUsize::new(0);
    let find = |copy: &Copy| {
        let mut survivors = Vec::new();
        while let Some((mutant, test)) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            survivors.extend(copy.survives(mutant, test));
        }
        survivors
    };
    let survivors: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = copies
            .iter()
            .map(|copy| scope.spawn(|| find(copy)))
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    assert!(survivors.is_empty(), "not found:\n{}", survivors.join("\n"));
}

impl Mutant {
    /// The whole file with the rule broken.
    fn mutated(&self) -> String {
        let Self {
            name,
            file,
            text,
            instead,
        } = self;
        let source = fs::read_to_string(package().join("src").join(file)).unwrap();
        let found = source.matches(text).count();
        assert_eq!(found, 1, "{name}: {file} must have this text once:\n{text}");
        source.replacen(text, instead, 1)
    }
}

/// A workspace of the two crates and the simulator.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn new(number: usize) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutants-{number}"));
        let copy = Self { root };
        copy.refresh();
        copy
    }

    /// Makes the copy equal to the original. What is equal is not written: cargo goes by the time of change.
    fn refresh(&self) {
        let workspace = package().ancestors().nth(2).unwrap();
        for directory in [
            "agent/wire/src",
            "agent/vrrp/src",
            "agent/vrrp/tests/simulator",
        ] {
            for file in files(&workspace.join(directory)) {
                let place = self.root.join(file.strip_prefix(workspace).unwrap());
                write(&place, &fs::read_to_string(&file).unwrap());
            }
        }
        let manifest = |path: &str| fs::read_to_string(workspace.join(path)).unwrap();
        for path in ["agent/wire/Cargo.toml", "agent/vrrp/Cargo.toml"] {
            // The simulator does without; it would be half of the building.
            let lines = manifest(path);
            let lines = lines.lines().filter(|line| !line.starts_with("proptest"));
            write(&self.root.join(path), &lines.collect::<Vec<_>>().join("\n"));
        }
        write(
            &self.root.join("Cargo.toml"),
            &narrow(&manifest("Cargo.toml")),
        );
        // Cargo prunes it to what is left; the versions stay ours.
        let lock = manifest("Cargo.lock");
        if write(&self.root.join("Cargo.lock.whole"), &lock) {
            write(&self.root.join("Cargo.lock"), &lock);
        }
    }

    /// Why `mutant` was not found, if it was not.
    fn survives(&self, mutant: &Mutant, test: &str) -> Option<String> {
        let began = Instant::now();
        self.refresh();
        let file = self.root.join("agent/vrrp/src").join(mutant.file);
        write(&file, &mutant.mutated());
        self.build(mutant.name);
        let outcome = self.simulate(test);
        let text = said(&outcome);
        let found = text.lines().find(|line| line.contains(" violates P"));
        let seconds = began.elapsed().as_secs_f64();
        let how = found.and_then(|line| line.split(" at ").next());
        let how = how.unwrap_or("NOT FOUND");
        print(&format!("{seconds:5.1} s  {}: {how}", mutant.name));
        match (outcome.status.success(), found) {
            (false, Some(_)) => None,
            (true | false, _) => Some(format!("{}\n{text}", mutant.name)),
        }
    }

    fn build(&self, name: &str) {
        let output = self.cargo().arg("--no-run").output().unwrap();
        let built = output.status.success();
        assert!(built, "{name}: does not compile:\n{}", said(&output));
    }

    fn simulate(&self, test: &str) -> Output {
        let mut cargo = self.cargo();
        cargo.args(["--", "--exact", test]);
        cargo.output().unwrap()
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(&self.root)
            .args(["test", "--offline", "--quiet", "--package=vipkeeper-vrrp"])
            .args(["--test=simulator", "--jobs=1", "--target-dir=target"])
            .env("VIPKEEPER_SCHEDULES", SCHEDULES)
            .env("RUST_BACKTRACE", "0")
            .env_remove("VIPKEEPER_SEED");
        cargo
    }
}

/// The workspace's manifest with two members, and a profile that is quick to build and to run.
fn narrow(manifest: &str) -> String {
    let lines = manifest
        .lines()
        .map(|line| match line.starts_with("members = ") {
            true => r#"members = ["agent/wire", "agent/vrrp"]"#,
            false => line,
        });
    let all: Vec<_> = lines
        .take_while(|line| !line.starts_with("[profile."))
        .collect();
    let profile = "[profile.dev]\nopt-level = 2\ndebug = false\n";
    format!("{}\n{profile}", all.join("\n"))
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    entries.flat_map(below).collect()
}

/// Writes `text`, unless the file says so already; says whether it did.
fn write(path: &Path, text: &str) -> bool {
    let differs = fs::read_to_string(path).ok().is_none_or(|old| old != text);
    if differs {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    differs
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Past the test harness: how each was found belongs to the result.
fn print(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
