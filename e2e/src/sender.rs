//! Raw frames onto a segment: one now, or many a second for a while.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use crate::clock::Moment;
use crate::lab::Node;
use crate::sys;

/// How often a flood catches up with its rate: 50 frames of 50,000 a second.
const TICK: Duration = Duration::from_millis(1);
/// Above an agent's threads: what comes from another machine comes by interrupt, which waits for no thread.
const PRIORITY: i32 = 60;

/// A socket that sends raw frames out of a node's interface.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
}

impl Sender {
    /// Out of `node`'s interface on `segment`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn new(node: &Node, segment: u8) -> Result<Self> {
        let interface = node.interface(segment);
        let socket = node.namespace().run(|| {
            let index = if_nametoindex(interface.as_str())?;
            Ok(sys::packet_socket(index, 0)?)
        })?;
        Ok(Self { socket })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = sys::send_batch(self.socket.as_fd(), &[frame])?;
        ensure!(sent == 1, "the kernel took no frame");
        Ok(())
    }

    /// Sends `frames` in turn, `rate` a second, for as long as `during`, and returns how many it sent. A sender
    /// that was held up catches up, but stops in time.
    ///
    /// The thread is a real-time one meanwhile, where that is allowed: a flood comes from another machine, which
    /// the load of this one does not slow down.
    ///
    /// # Errors
    /// What the kernel answers, a full queue excepted: that only delays.
    pub fn flood(&self, frames: &[Vec<u8>], rate: u32, during: Duration) -> Result<usize> {
        let realtime = sys::schedule(PRIORITY).is_ok();
        let sent = self.flood_here(frames, rate, during);
        if realtime {
            sys::schedule(0)?;
        }
        sent
    }

    fn flood_here(&self, frames: &[Vec<u8>], rate: u32, during: Duration) -> Result<usize> {
        let begun = Moment::now();
        let mut turn = frames.iter().map(Vec::as_slice).cycle();
        let mut sent = 0;
        loop {
            let elapsed = begun.elapsed().min(during);
            let wanted = (elapsed.as_secs_f64() * f64::from(rate)) as usize;
            while sent < wanted && begun.elapsed() < during {
                let batch: Vec<&[u8]> = turn.by_ref().take((wanted - sent).min(64)).collect();
                sent += self.send_all(&batch)?;
            }
            if elapsed >= during {
                return Ok(sent);
            }
            thread::sleep(TICK);
        }
    }

    fn send_all(&self, batch: &[&[u8]]) -> Result<usize> {
        match sys::send_batch(self.socket.as_fd(), batch) {
            Ok(sent) => Ok(sent),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Ok(0),
            Err(error) => bail!("send a batch of frames: {error}"),
        }
    }
}
