//! How punctual an Active is while every processor is busy: the times between its advertisements.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use super::contender::{Both, Contender};
use crate::clock::Moment;
use crate::lab::Lab;
use crate::manifest::Router;

/// Threads that compute without a pause, for each processor.
const HOGS: usize = 4;
/// Until the Active has announced its addresses.
const SETTLING: Duration = Duration::from_secs(6);
/// Far beyond what a start takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much the times between two advertisements differ from the interval, one entry a pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Jitter {
    pub(super) idle: Vec<Duration>,
    pub(super) busy: Vec<Duration>,
}

/// Measures an Active of each contender, at the same time, `during` each while the machine is left alone and
/// while it computes.
pub(super) fn measure(router: &Router, during: Duration) -> Result<Both<Jitter>> {
    let mut labs = Vec::new();
    for contender in Contender::ALL {
        let lab = Lab::new(&["a"], 1)?;
        let capture = lab.capture(0)?;
        let daemon = contender.start(std::slice::from_ref(router), lab.node("a")?)?;
        let what = format!("an advertisement of {contender}");
        capture.await_advertisement(&what, router.vrid, Moment::BOOT, PATIENCE, |_| true)?;
        labs.push((contender, daemon, capture, lab));
    }
    thread::sleep(SETTLING);
    let mut both = Both::<Jitter>::default();
    for busy in [false, true] {
        let hogs = busy.then(Hogs::start).transpose()?;
        let begun = Moment::now();
        thread::sleep(during);
        drop(hogs);
        for (contender, _, capture, _) in &labs {
            let mut sent = capture.advertisements(router.vrid);
            sent.retain(|sent| sent.at >= begun);
            let times: Vec<_> = sent.iter().map(|sent| sent.at).collect();
            let of = both.of_mut(*contender);
            let jitter = jitter(&times, router.interval);
            *if busy { &mut of.busy } else { &mut of.idle } = jitter;
        }
    }
    Ok(both)
}

fn jitter(times: &[Moment], interval: Duration) -> Vec<Duration> {
    let pairs = times.iter().zip(times.iter().skip(1));
    pairs
        .map(|(earlier, later)| later.since(*earlier).abs_diff(interval))
        .collect()
}

/// Threads that take what processor time they get.
struct Hogs {
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    fn start() -> Result<Self> {
        let mut hogs = Self {
            stopped: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..thread::available_parallelism()?.get() * HOGS {
            let stopped = Arc::clone(&hogs.stopped);
            let body = move || {
                while !stopped.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            };
            let thread = thread::Builder::new().name("hog".to_owned()).spawn(body);
            hogs.threads.push(thread.context("a thread")?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_counts_both_ways() {
        let at = |millis| Moment::BOOT + Duration::from_millis(millis);
        let interval = Duration::from_millis(100);
        let jitter = jitter(&[at(0), at(100), at(203), at(300)], interval);
        assert_eq!(jitter, [0, 3, 3].map(Duration::from_millis));
    }
}
