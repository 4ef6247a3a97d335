//! What the guardian removes: the addresses that the ledger names and that carry our tag.
//!
//! Everything it needs is opened beforehand, and gone through once: nothing is left to chance at the moment when it
//! counts. IPVS, nftables and settings stay for the next agent's start, or for `cleanup`.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::network::kernel::Kernel as _;
use crate::network::ledger::{Identity, Ledger};
use crate::network::leftovers::Leftovers;
use crate::network::rtnetlink::Rtnetlink;

/// How often in a row it is tried to leave nothing.
const ATTEMPTS: usize = 5;

/// Able to remove.
pub(super) struct Withdrawal {
    kernel: Rtnetlink,
    ledger: PathBuf,
    identity: Identity,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// So many addresses are gone.
    pub(super) count: usize,
    /// Why others stay.
    pub(super) failure: Option<io::Error>,
}

impl Removed {
    pub(super) fn and(self, later: Self) -> Self {
        Self {
            count: self.count + later.count,
            failure: later.failure,
        }
    }
}

impl Withdrawal {
    /// # Errors
    /// If the kernel has no socket for us, or /proc is not there.
    pub(super) fn prepare(ledger: PathBuf, instance: &str) -> io::Result<Self> {
        let mut withdrawal = Self {
            kernel: Rtnetlink::open()?,
            ledger,
            identity: Identity::of_this_process(instance)?,
        };
        // A rehearsal, for which there is nothing to remove: its pages are in memory from now on.
        withdrawal.find()?;
        Ok(withdrawal)
    }

    /// Removes what is there.
    pub(super) fn carry_out(&mut self) -> Removed {
        let mut removed = Removed::default();
        for _ in 0..ATTEMPTS {
            match self.attempt() {
                Ok(0) => {
                    removed.failure = None;
                    return removed;
                }
                Ok(count) => removed.count += count,
                Err(error) => removed.failure = Some(error),
            }
        }
        removed
    }

    /// Gives how many were removed: 0 if none was there.
    fn attempt(&mut self) -> io::Result<usize> {
        let changes = self.find()?.removals();
        if changes.is_empty() {
            return Ok(0);
        }
        let outcomes = self.kernel.change(&changes)?;
        let count = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let refused = outcomes.into_iter().find_map(|outcome| match outcome {
            // Gone already, alone or with its interface.
            Ok(()) | Err(Errno::EADDRNOTAVAIL | Errno::ENODEV) => None,
            Err(errno) => Some(errno),
        });
        match refused {
            Some(errno) if count == 0 => Err(errno.into()),
            Some(_) | None => Ok(count),
        }
    }

    fn find(&mut self) -> io::Result<Leftovers> {
        // Read each time: it changes with each plan. One that is not believed names nothing.
        let (ledger, _) = Ledger::open(self.ledger.clone(), self.identity.clone());
        let present = self.kernel.addresses()?;
        Ok(Leftovers::find(
            &present,
            ledger.rows(),
            self.kernel.keeps_tags(),
        ))
    }
}
