//! Waiting for a condition with a deadline: the only way in which a test lets time pass.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks: short against every bound that tests assert, long against what a look costs.
const PAUSE: Duration = Duration::from_millis(10);

/// What a look at the condition found.
pub enum Seen<T> {
    /// It holds, and this is what came with it.
    Yes(T),
    /// It does not hold; what was there instead, for the message if time runs out.
    NotYet(String),
}

impl<T> Seen<T> {
    /// With what came with it replaced.
    pub fn map<U>(self, by: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Yes(value) => Seen::Yes(by(value)),
            Self::NotYet(state) => Seen::NotYet(state),
        }
    }
}

impl<T: fmt::Debug> Seen<T> {
    /// `Yes` if `value` fulfils `wanted`, else `NotYet` with the value printed.
    pub fn when(value: T, wanted: impl FnOnce(&T) -> bool) -> Self {
        if wanted(&value) {
            Self::Yes(value)
        } else {
            Self::NotYet(format!("{value:?}"))
        }
    }
}

/// Looks until the condition `what` holds.
///
/// # Errors
/// When `within` has passed: with `what` and what was seen last. When a look fails: its error, at once.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<Seen<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let last = match look()? {
            Seen::Yes(value) => return Ok(value),
            Seen::NotYet(state) => state,
        };
        if begun.elapsed() >= within {
            bail!("waited {within:?} for: {what}\nseen last: {last}");
        }
        thread::sleep(PAUSE);
    }
}

/// Looks, for as long as `during`, that the condition `what` does not stop holding.
///
/// # Errors
/// At the first look that finds it broken.
pub fn while_holds(
    what: &str,
    during: Duration,
    mut look: impl FnMut() -> Result<Seen<()>>,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        match look()? {
            Seen::Yes(()) => {}
            Seen::NotYet(state) => {
                let after = begun.elapsed();
                bail!("after {after:?} no longer: {what}\nseen: {state}");
            }
        }
        if begun.elapsed() >= during {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}
