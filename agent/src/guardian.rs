//! The guardian: the agent's parent process, which takes the agent's addresses off when the agent cannot.
//!
//! An agent that dies, or whose election hangs, leaves addresses behind that answer ARP beside the next Active.
//! The guardian waits for the one and looks out for the other, and then removes what the ledger names: within
//! 20 ms, so that the new Active's announcements are the last word. A hung agent is killed first, because nothing
//! else keeps it from putting addresses back; whoever supervises the guardian starts both again.
//!
//! | | |
//! |---|---|
//! | [`split`] | forks, before there is any other thread; the parent is the guardian, the child the agent |
//! | `page` | what the two share: the election's pulse, and whether the guardian is armed |
//! | `judge` | when a silent election is taken for hung; pure |
//! | `watch` | the guardian's life |
//! | `withdrawal` | what it removes |
//!
//! It owns no address, changes no setting and writes no file. A takeover [disarms](Guardian::disarm) it first, and
//! then it removes nothing whatever becomes of the agent. If it is killed itself, the agent goes on and says so;
//! if both are killed, lifetimes end what they left.

mod judge;
mod page;
mod watch;
mod withdrawal;

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::pipe2;
use tokio::net::unix::pipe;

pub use self::page::{Page, Pulse, TooLate};
pub use self::watch::Watch;
use crate::cli::RunArgs;
use crate::sys::{self, Forked};

/// Which of the two processes this is.
pub enum Role {
    /// The parent: [`Watch::run`] is its whole life.
    Guardian(Watch),
    /// The child.
    Agent(Guardian),
}

/// The agent's side of its guardian.
///
/// It begins disarmed, because an agent that stands by owns nothing. The agent arms it when it has the ledger and
/// its lock, and disarms it before it gives them to a successor.
pub struct Guardian {
    pulse: Pulse,
    /// Ends when the guardian does.
    life: OwnedFd,
}

impl Guardian {
    /// Where the election tells that it lives.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// From now on the guardian removes what the ledger names when this process ends or hangs. To be called by
    /// whoever has the ledger's lock, and again if a takeover does not come about. May be called by any thread, and
    /// more than once.
    pub fn arm(&self) {
        self.pulse.arm();
    }

    /// From now on the guardian removes nothing, whatever becomes of this process. Holds when it returns: nothing is
    /// waited for, and it works without a living guardian.
    ///
    /// # Errors
    /// If the guardian has begun to remove: this process is about to be killed, and there is nothing to hand over.
    pub fn disarm(&self) -> Result<(), TooLate> {
        self.pulse.disarm()
    }

    /// Whether the guardian would act.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.pulse.is_armed()
    }

    /// Waits for the guardian's end. The agent goes on without it: its addresses serve their clients, and a crash
    /// now leaves them to their lifetime.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub async fn ended(&self) -> io::Result<()> {
        let life = pipe::Receiver::from_owned_fd(self.life.try_clone()?)?;
        loop {
            life.readable().await?;
            // Nothing is ever written: the end of the other end is all there is to read.
            match life.try_read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome.map(drop),
            }
        }
    }
}

/// Forks. Must be called before anything starts a thread, and before anything is logged.
///
/// # Errors
/// If the process already has other threads, or the kernel has no memory or no descriptors for us.
pub fn split(args: &RunArgs) -> io::Result<Role> {
    let pulse = Pulse::new()?;
    let (life, guardian_lives) = pipe2(OFlag::O_CLOEXEC)?;
    // Signals that come between the fork and the moment when the guardian can pass them on must wait.
    let mut before = SigSet::empty();
    sigprocmask(
        SigmaskHow::SIG_BLOCK,
        Some(&watch::signals()),
        Some(&mut before),
    )?;
    match sys::fork()? {
        Forked::Parent { child } => {
            drop(life);
            let watch = Watch::new(args, child, pulse, guardian_lives);
            Ok(Role::Guardian(watch))
        }
        Forked::Child => {
            drop(guardian_lives);
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
            Ok(Role::Agent(Guardian { pulse, life }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guardian() -> (Guardian, OwnedFd) {
        let (life, other) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        let pulse = Pulse::new().unwrap();
        (Guardian { pulse, life }, other)
    }

    #[test]
    fn it_begins_disarmed_and_can_be_armed_and_disarmed_at_will() {
        let (guardian, _other) = guardian();
        assert!(!guardian.is_armed());
        assert_eq!(guardian.disarm(), Ok(()));
        guardian.arm();
        assert!(guardian.is_armed());
        guardian.arm();
        assert_eq!(guardian.disarm(), Ok(()));
        assert!(!guardian.is_armed());
    }

    #[test]
    fn its_end_is_noticed() {
        let (guardian, other) = guardian();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let at_once = std::time::Duration::from_millis(1);
            let early = tokio::time::timeout(at_once, guardian.ended()).await;
            assert!(early.is_err(), "it lives");
            drop(other);
            guardian.ended().await.unwrap();
        });
    }
}
