//! What crosses threads: bounded queues that wake their reader through an eventfd.
//!
//! Neither end ever waits for the other or takes a lock. What happens to a value that does not fit is the
//! caller's to say, because `push` gives it back.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// A doorbell: rung by anybody, heard by one thread.
#[derive(Clone, Debug)]
pub struct Wake(Arc<EventFd>);

impl Wake {
    /// A new one.
    ///
    /// # Errors
    /// If the process has too many open files.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_flags(flags)?)))
    }

    /// Wakes the reader; rings before it looks count as one.
    pub fn ring(&self) {
        // EAGAIN alone is possible: the counter is full, and the reader is awake anyway.
        self.0.write(1).ok();
    }

    /// Takes note of every ring so far. To be called before the queues are looked at.
    pub fn clear(&self) {
        // EAGAIN: nobody rang.
        self.0.read().ok();
    }

    /// Waits until it rings or `timeout` has passed; `None` waits for ever.
    ///
    /// # Errors
    /// If the kernel cannot wait, which means our own misuse.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = match timeout {
            // Rounded up, so that a deadline has passed when the wait for it ends.
            Some(span) => {
                let millis = span.as_nanos().div_ceil(1_000_000);
                PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
            }
            None => PollTimeout::NONE,
        };
        let mut doorbell = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut doorbell, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A bounded queue whose reader is woken by a [`Wake`].
#[derive(Debug)]
pub struct Ring<T> {
    queue: ArrayQueue<T>,
    wake: Wake,
}

impl<T> Ring<T> {
    /// A queue of `capacity` values that rings `wake`.
    #[must_use]
    pub fn new(capacity: usize, wake: Wake) -> Self {
        Self {
            queue: ArrayQueue::new(capacity),
            wake,
        }
    }

    /// Adds `value` and wakes the reader.
    ///
    /// # Errors
    /// Gives `value` back if the queue is full; the reader is woken all the same.
    pub fn push(&self, value: T) -> Result<(), T> {
        let outcome = self.queue.push(value);
        self.wake.ring();
        outcome
    }

    /// Adds `value`, in the place of the oldest if the queue is full, which is given back.
    pub fn replace(&self, value: T) -> Option<T> {
        let displaced = self.queue.force_push(value);
        self.wake.ring();
        displaced
    }

    /// The oldest value.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Its reader's doorbell.
    #[must_use]
    pub const fn wake(&self) -> &Wake {
        &self.wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_gives_the_value_back_and_keeps_what_it_has() {
        let ring = Ring::new(2, Wake::new().unwrap());
        assert_eq!(ring.push(1), Ok(()));
        assert_eq!(ring.push(2), Ok(()));
        assert_eq!(ring.push(3), Err(3));
        assert_eq!(
            [ring.pop(), ring.pop(), ring.pop()],
            [Some(1), Some(2), None]
        );
    }

    #[test]
    fn a_mailbox_of_one_keeps_the_latest_and_returns_the_older() {
        let ring = Ring::new(1, Wake::new().unwrap());
        assert_eq!(ring.replace("old"), None);
        assert_eq!(ring.replace("new"), Some("old"));
        assert_eq!(ring.pop(), Some("new"));
    }

    #[test]
    fn a_push_from_another_thread_ends_the_wait() {
        let ring = Arc::new(Ring::new(1, Wake::new().unwrap()));
        let writer = Arc::clone(&ring);
        let thread = std::thread::spawn(move || writer.push(7));
        while ring.is_empty() {
            ring.wake().wait(Some(Duration::from_secs(10))).unwrap();
        }
        ring.wake().clear();
        assert_eq!(ring.pop(), Some(7));
        assert_eq!(thread.join().unwrap(), Ok(()));
    }
}
