//! The harness of a rung of tests: each test in a process of its own, timing tests alone, skips with a reason
//! and counted. No retries.
//!
//! Environment: `VIPKEEPER_REQUIRE` lists rungs, separated by commas, of which nothing may be skipped.

use std::env;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Names, in the environment of a child, the one test that it is to run.
pub(crate) const CHILD: &str = "VIPKEEPER_E2E_TEST";
const REQUIRE: &str = "VIPKEEPER_REQUIRE";
/// The exit status of a child that skipped its test.
pub(crate) const SKIPPED: u8 = 77;
/// A test that takes this long hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// What a failing test says besides its error.
static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps `note` for the case that the test fails: the log of a daemon that has ended, for one.
pub fn note(note: String) {
    let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    notes.push(note);
}

/// What a line begins with that is shown of a test that passes.
const FIGURE: &str = "figure: ";

/// Tells a measured figure that is to be seen whether or not the test passes.
pub fn figure(figure: &str) {
    say(&format!("{FIGURE}{figure}"));
}

/// One test.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// A sentence of behaviour, in snake case, with the module in front.
    pub name: &'static str,
    /// Whether it asserts times shorter than a neighbour's load could lengthen: then it runs alone.
    pub alone: bool,
    /// Its body.
    pub run: fn() -> Result<()>,
}

/// Lists a module's tests as `TESTS`: `alone` for those that assert short times, `beside` for those that bear a
/// neighbour.
#[macro_export]
macro_rules! tests {
    ($($turn:ident $name:ident),+ $(,)?) => {
        pub(crate) const TESTS: &[$crate::harness::Test] = &[$(
            $crate::harness::Test {
                name: concat!(module_path!(), "::", stringify!($name)),
                alone: $crate::tests!(@ $turn),
                run: $name,
            },
        )+];
    };
    (@ alone) => { true };
    (@ beside) => { false };
}

/// The error of a test that cannot run on this machine.
#[derive(Debug)]
pub struct Skip(String);

impl Skip {
    /// Leaves the test with the reason why it cannot run here.
    #[must_use]
    pub fn because(reason: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self(reason.into()))
    }
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Runs the tests of `rung` as the command line and the environment ask.
#[must_use]
pub fn main(rung: &'static str, tests: &[Test]) -> ExitCode {
    match env::var(CHILD) {
        Ok(name) => run_here(tests, &name),
        Err(_) => run_all(rung, tests),
    }
}

/// The child: runs one test on the main thread, so that the daemons it starts live as long as the test.
fn run_here(tests: &[Test], name: &str) -> ExitCode {
    let Some(test) = tests.iter().find(|test| test.name == name) else {
        say(&format!("no test is called {name}"));
        return ExitCode::FAILURE;
    };
    match (test.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Skip>() {
            Some(Skip(reason)) => {
                say(reason);
                ExitCode::from(SKIPPED)
            }
            None => {
                say(&format!("{error:?}"));
                let notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
                notes.iter().for_each(|note| say(note));
                ExitCode::FAILURE
            }
        },
    }
}

fn run_all(rung: &'static str, tests: &[Test]) -> ExitCode {
    let arguments = Arguments::from_args();
    let required = env::var(REQUIRE).is_ok_and(|list| list.split(',').any(|one| one == rung));
    let skipped = Arc::new(AtomicUsize::new(0));
    let turns = Arc::new(RwLock::new(()));
    let trials = tests.iter().map(|&test| {
        let (skipped, turns) = (Arc::clone(&skipped), Arc::clone(&turns));
        Trial::ignorable_test(test.name, move || {
            let outcome = if test.alone {
                let _alone = turns.write().unwrap_or_else(PoisonError::into_inner);
                run_child(test.name)
            } else {
                let _beside_others = turns.read().unwrap_or_else(PoisonError::into_inner);
                run_child(test.name)
            };
            match outcome.map_err(|error| Failed::from(format!("{error:?}")))? {
                Outcome::Passed => Ok(Completion::Completed),
                Outcome::Failed(output) => Err(output.into()),
                Outcome::Skipped(reason) if required => {
                    Err(format!("skipped, but {REQUIRE} names {rung}: {reason}").into())
                }
                Outcome::Skipped(reason) => {
                    skipped.fetch_add(1, Ordering::Relaxed);
                    Ok(Completion::ignored_with(reason))
                }
            }
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if !arguments.list {
        say(&format!(
            "rung {rung}: {} passed, {} failed, {} skipped",
            conclusion.num_passed,
            conclusion.num_failed,
            skipped.load(Ordering::Relaxed)
        ));
    }
    conclusion.exit_code()
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

fn run_child(name: &str) -> Result<Outcome> {
    let mut command = Command::new(env::current_exe()?);
    command
        .env(CHILD, name)
        // An error says where it comes from in words.
        .env("RUST_LIB_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Out of reach of the terminal's Ctrl-C: the parent passes it on by its death, below.
        .process_group(0);
    crate::sys::end_with_parent(&mut command);
    let child = command.spawn().with_context(|| format!("start {name}"))?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let (finished, running) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late = running.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        if late {
            // It cleans up on SIGTERM; one that is gone by now is no matter.
            kill(pid, Signal::SIGTERM).ok();
        }
        late
    });
    let output = child.wait_with_output()?;
    drop(finished);
    let late = watchdog.join().unwrap_or(false);
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(match output.status.code() {
        Some(0) => {
            text.lines()
                .filter_map(|line| line.strip_prefix(FIGURE))
                .for_each(|figure| say(&format!("{name}: {figure}")));
            Outcome::Passed
        }
        Some(code) if code == i32::from(SKIPPED) => Outcome::Skipped(text.trim().to_owned()),
        _ => {
            let ended = if late {
                format!("ended after {LIMIT:?}")
            } else {
                output.status.to_string()
            };
            Outcome::Failed(format!("{ended}\n{}", text.trim()))
        }
    })
}

/// Writes a line to standard output.
pub(crate) fn say(line: &str) {
    // Whoever closed our standard output does not want to read it.
    drop(writeln!(io::stdout(), "{line}"));
}
