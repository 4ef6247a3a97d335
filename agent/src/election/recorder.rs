//! Writing down what the election is told and does, while somebody wants to know.
//!
//! Off, it costs a look at an empty mailbox each turn. On, it copies inputs and outputs into a bounded queue,
//! whose reader serialises them elsewhere; what does not fit is left out, counted, and followed by the whole
//! election anew, so that a replay goes on after the gap. It never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;
use vipkeeper_vrrp::{Election, Input, Line, Output, Time};

use super::Ports;
use crate::ring::Wake;

/// Lines that wait for the reader at most: some seconds of 250 routers at 100 ms.
pub const CAPACITY: usize = 16_384;

/// A record that is being taken, shared by the election and the reader.
#[derive(Debug)]
pub struct Recording {
    lines: ArrayQueue<Line>,
    wake: Wake,
    enough: AtomicBool,
}

impl Recording {
    /// Room for `capacity` lines, whose reader is woken by `wake`.
    #[must_use]
    pub fn new(capacity: usize, wake: Wake) -> Self {
        Self {
            lines: ArrayQueue::new(capacity),
            wake,
            enough: AtomicBool::new(false),
        }
    }

    /// The oldest line.
    pub fn pop(&self) -> Option<Line> {
        self.lines.pop()
    }

    /// No more is wanted: [`Line::End`] comes once there is room for it, and nothing after it.
    pub fn end(&self) {
        self.enough.store(true, Ordering::Release);
    }
}

/// The election's side of a recording, if there is one.
pub(super) struct Recorder {
    current: Option<Writing>,
}

struct Writing {
    recording: Arc<Recording>,
    /// What the reader got is without a gap so far.
    whole: bool,
    /// Lines that did not fit.
    lost: u64,
}

impl Recorder {
    pub(super) const fn new() -> Self {
        Self { current: None }
    }

    /// Between two turns: begins, goes on after a gap, or ends.
    pub(super) fn begin_turn(&mut self, ports: &Ports, election: &Election) {
        if let Some(recording) = ports.recordings.pop() {
            self.current = Some(Writing {
                recording,
                whole: false,
                lost: 0,
            });
        }
        let Some(writing) = &mut self.current else {
            return;
        };
        if writing.recording.enough.load(Ordering::Acquire) {
            // Before the first line, if somebody changed their mind that soon; or tried again next turn.
            if writing.recording.lines.push(Line::End {}).is_ok() {
                writing.recording.wake.ring();
                // The reader holds it until it is its alone: nothing is freed here.
                self.current = None;
            }
        } else if !writing.whole && writing.has_room() {
            writing.begin(election);
        }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn input(&mut self, now: Time, input: &Input) {
        if let Some(writing) = &mut self.current {
            writing.write(|| Line::In {
                now,
                input: input.clone(),
            });
        }
    }

    pub(super) fn output(&mut self, output: &Output) {
        if let Some(writing) = &mut self.current {
            writing.write(|| Line::Out(output.clone()));
        }
    }

    pub(super) fn end_turn(&self) {
        if let Some(writing) = &self.current {
            writing.recording.wake.ring();
        }
    }
}

impl Writing {
    /// Whether the reader has caught up so far that a new beginning is worth its while.
    fn has_room(&self) -> bool {
        self.recording.lines.len() <= self.recording.lines.capacity() / 2
    }

    fn begin(&mut self, election: &Election) {
        let lines = &self.recording.lines;
        if self.lost > 0 && lines.push(Line::Gap { lost: self.lost }).is_err() {
            return;
        }
        self.lost = 0;
        let begin = Line::Begin {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            election: Box::new(election.clone()),
        };
        self.whole = lines.push(begin).is_ok();
    }

    fn write(&mut self, line: impl FnOnce() -> Line) {
        if !self.whole || self.recording.lines.is_full() {
            self.whole = false;
            self.lost += 1;
        } else if self.recording.lines.push(line()).is_err() {
            // Nobody else writes, so this does not happen.
            self.whole = false;
            self.lost += 1;
        }
    }
}

#[cfg(test)]
mod tests;
