//! `/record/SECONDS`: what the election is told and does, as JSON lines, for as long as somebody reads.
//!
//! Owns the way from the election's queue to a client: redacts, serialises and sends. A client that reads too
//! slowly makes gaps in its own record and delays nothing. Also tells a record again: `vipkeeper-agent replay`.

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, interval, timeout, timeout_at};
use vipkeeper_vrrp::{Line, Redaction, Replay};

use crate::election::{CAPACITY, Ports, Recording};
use crate::ring::Wake;
use crate::sys;

/// The longest record, in seconds: an hour.
pub const LONGEST: u64 = 3_600;
/// Bytes that are sent at once, about.
const CHUNK: usize = 32 << 10;
/// Chunks that wait for the client.
const CHUNKS: usize = 4;
/// The election ticks twice a second; one that does not end a record by then has ended itself.
const PATIENCE: Duration = Duration::from_secs(3);
/// Until the election has let go of the queue, so that it is not freed there.
const LETTING_GO: Duration = Duration::from_millis(10);

/// A body that is a record of `span`, of the election behind `ports`. Holds `place` until the election has let go:
/// there is one record at a time.
///
/// # Errors
/// If the process has too many open files.
pub fn start(
    ports: &Arc<Ports>,
    span: Duration,
    place: OwnedMutexGuard<()>,
) -> anyhow::Result<Channel<Bytes>> {
    let wake = Wake::new().context("the record's doorbell")?;
    let doorbell = sys::register(wake.clone()).context("the record's doorbell")?;
    let recording = Arc::new(Recording::new(CAPACITY, wake));
    drop(ports.recordings.replace(Arc::clone(&recording)));
    let (sender, body) = Channel::new(CHUNKS);
    let writer = Writer {
        recording,
        redaction: Redaction::new(),
        chunk: Vec::with_capacity(CHUNK),
        ended: false,
        sender: Some(sender),
    };
    tokio::spawn(async move {
        writer.run(doorbell, span).await;
        drop(place);
    });
    Ok(body)
}

struct Writer {
    recording: Arc<Recording>,
    redaction: Redaction,
    chunk: Vec<u8>,
    /// The last line was taken.
    ended: bool,
    /// `None` once the client has gone.
    sender: Option<Sender<Bytes>>,
}

impl Writer {
    async fn run(mut self, doorbell: tokio::io::unix::AsyncFd<Wake>, span: Duration) {
        let end = Instant::now() + span;
        while self.sender.is_some() && Instant::now() < end {
            self.pass_on().await;
            match timeout_at(end, doorbell.readable()).await {
                Ok(Ok(mut ready)) => ready.clear_ready(),
                Ok(Err(_)) | Err(_) => break,
            }
            doorbell.get_ref().clear();
        }
        self.recording.end();
        let rest = async {
            let mut look = interval(LETTING_GO);
            while !self.ended || Arc::strong_count(&self.recording) > 1 {
                look.tick().await;
                self.pass_on().await;
            }
        };
        // Otherwise the election is dead, and with it soon the process.
        timeout(PATIENCE, rest).await.ok();
    }

    /// Everything that is there.
    async fn pass_on(&mut self) {
        while let Some(line) = self.recording.pop() {
            self.ended |= matches!(line, Line::End {});
            let line = self.redaction.redact(line);
            // Numbers, texts and lists always serialise; and a Vec takes every byte.
            if serde_json::to_writer(&mut self.chunk, &line).is_ok() {
                self.chunk.push(b'\n');
            }
            if self.chunk.len() >= CHUNK {
                self.send().await;
            }
        }
        self.send().await;
    }

    async fn send(&mut self) {
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        if chunk.is_empty() {
            return;
        }
        if let Some(sender) = &mut self.sender
            && sender.send_data(chunk).await.is_err()
        {
            self.sender = None;
        }
    }
}

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repetition {
    /// Inputs that were told.
    pub inputs: u64,
    /// Outputs that were the same.
    pub outputs: u64,
    /// Places where lines are missing.
    pub gaps: u64,
    /// Whether the record ends as it was asked to.
    pub whole: bool,
}

/// Tells a new election the record that `lines` are, and compares.
///
/// # Errors
/// With the number of the line that is none, or at which the election does something else.
pub fn replay(lines: impl BufRead) -> anyhow::Result<Repetition> {
    let mut replay = Replay::new();
    let mut whole = false;
    for (number, text) in (1..).zip(lines.lines()) {
        let what = || format!("line {number}");
        let text = text.with_context(what)?;
        let line: Line = serde_json::from_str(&text).with_context(what)?;
        whole = matches!(line, Line::End {});
        replay.take(line).with_context(what)?;
    }
    if replay.inputs() == 0 {
        bail!("there is no input in it");
    }
    Ok(Repetition {
        inputs: replay.inputs(),
        outputs: replay.outputs(),
        gaps: replay.gaps(),
        whole,
    })
}
