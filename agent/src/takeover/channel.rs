//! Words and descriptors over a Unix socket: a length of four bytes, big endian, and as many bytes of JSON.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vipkeeper_vrrp::Time;

use super::Word;
use crate::{clock, sys};

/// No word is longer, by far: the estate of 1,000 routers has 3 MiB.
const MOST_BYTES: u32 = 64 << 20;
/// Descriptors that go with one byte; the kernel takes 253.
const DESCRIPTORS: usize = 128;
/// The shortest timeout that a socket takes.
const LEAST: Duration = Duration::from_micros(1);

/// One end. Blocks, but never beyond the deadline that each call has.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

impl Channel {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self(stream))
    }

    /// Says `word`.
    pub(super) fn send(&mut self, word: &impl Serialize, until: Time) -> anyhow::Result<()> {
        let body = serde_json::to_vec(word)?;
        let length = u32::try_from(body.len()).context("a word too long")?;
        ensure!(length <= MOST_BYTES, "a word too long");
        let mut message = length.to_be_bytes().to_vec();
        message.extend(body);
        let mut rest = message.as_slice();
        while !rest.is_empty() {
            self.0.set_write_timeout(Some(remaining(until)?))?;
            match self.0.write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error)),
            }
        }
        Ok(())
    }

    /// Hears a word.
    pub(super) fn receive<W: DeserializeOwned>(&mut self, until: Time) -> anyhow::Result<W> {
        let mut length = [0; 4];
        self.fill(&mut length, until)?;
        let length = u32::from_be_bytes(length);
        ensure!(length <= MOST_BYTES, "a word of {length} bytes");
        let mut body = vec![0; usize::try_from(length)?];
        self.fill(&mut body, until)?;
        serde_json::from_slice(&body).context("a word that is not understood")
    }

    /// Hears exactly `word`.
    pub(super) fn expect(&mut self, word: &Word, until: Time) -> anyhow::Result<()> {
        let heard: Word = self.receive(until)?;
        ensure!(heard == *word, "it says {heard:?} instead of {word:?}");
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8], until: Time) -> anyhow::Result<()> {
        let mut rest = buffer;
        while !rest.is_empty() {
            self.0.set_read_timeout(Some(remaining(until)?))?;
            match self.0.read(rest) {
                Ok(0) => return Err(HungUp.into()),
                Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(HungUp.into());
                }
                Err(error) => return Err(timed_out(error)),
            }
        }
        Ok(())
    }

    /// Sends `descriptors`, behind a word that said how many there are.
    pub(super) fn send_descriptors(
        &mut self,
        descriptors: &[BorrowedFd<'_>],
        until: Time,
    ) -> anyhow::Result<()> {
        for part in descriptors.chunks(DESCRIPTORS) {
            self.0.set_write_timeout(Some(remaining(until)?))?;
            sys::send_descriptors(self.0.as_fd(), part).map_err(timed_out)?;
        }
        Ok(())
    }

    /// Receives exactly `count` descriptors.
    pub(super) fn receive_descriptors(
        &mut self,
        count: usize,
        until: Time,
    ) -> anyhow::Result<Vec<OwnedFd>> {
        let mut received = Vec::new();
        while received.len() < count {
            self.0.set_read_timeout(Some(remaining(until)?))?;
            let part = sys::receive_descriptors(self.0.as_fd(), DESCRIPTORS).map_err(timed_out)?;
            let part = part.ok_or(HungUp)?;
            let wanted = (count - received.len()).min(DESCRIPTORS);
            ensure!(
                part.len() == wanted,
                "{} descriptors instead of {wanted}: RLIMIT_NOFILE?",
                part.len()
            );
            received.extend(part);
        }
        Ok(received)
    }
}

/// The other end is closed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the other process hung up")]
pub(super) struct HungUp;

/// The deadline has passed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the other process took too long")]
pub(super) struct TooLate;

fn remaining(until: Time) -> Result<Duration, TooLate> {
    let remaining = until.since(clock::now());
    if remaining.is_zero() {
        Err(TooLate)
    } else {
        Ok(remaining.max(LEAST))
    }
}

fn timed_out(error: io::Error) -> anyhow::Error {
    if matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    ) {
        TooLate.into()
    } else {
        error.into()
    }
}
