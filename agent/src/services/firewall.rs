//! Our table of nftables: replaced as a whole when it should be another, compared when anybody has changed the host's
//! rules, put back when somebody removed it.
//!
//! Its name is the mark by which it is known to be ours. Never looks at a table of another name.

use std::time::Duration;

use tracing::{info, warn};
use vipkeeper_nft::{Difference, Ruleset, Table, TableName};
use vipkeeper_vrrp::Time;

use super::holds::{LONGEST, SHORTEST};
use super::kernel::{Refusal, Unavailable};
use super::report::{FirewallReport, Trouble};

/// The instance whose table has no name of its own.
const DEFAULT_INSTANCE: &str = "default";
/// How often it is asked whether somebody changed rules.
const PERIOD: Duration = Duration::from_secs(2);

/// The kernel's nftables.
pub trait Nftables {
    /// The number of the host's rules, of all tables: every change makes another of it.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn generation(&mut self) -> Result<u32, Unavailable>;

    /// In what the kernel differs from `table`, if it does.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn compare(&mut self, table: &Table) -> Result<Option<Difference>, Unavailable>;

    /// Puts `table` in the place of what has its name, all of it or nothing.
    ///
    /// # Errors
    /// If the kernel cannot be told, or refuses.
    fn replace(&mut self, table: &Table) -> Result<(), Unavailable>;

    /// Removes what has this name, if there is something.
    ///
    /// # Errors
    /// If the kernel cannot be told, or refuses.
    fn remove(&mut self, name: &TableName) -> Result<(), Unavailable>;
}

/// The name of the table of an instance.
///
/// # Errors
/// If `instance` is no word.
pub fn table_name(instance: &str) -> Result<TableName, vipkeeper_nft::table::InvalidTableName> {
    if instance == DEFAULT_INSTANCE {
        TableName::new("vipkeeper")
    } else {
        TableName::new(&format!("vipkeeper-{instance}"))
    }
}

/// What is known of the table.
#[derive(Debug)]
pub(super) struct Firewall {
    name: TableName,
    /// What was last found or put there; `None` if that is not known.
    standing: Option<Ruleset>,
    /// The number of the host's rules when it was found.
    generation: Option<u32>,
    trouble: Option<Trouble>,
    due: Option<Time>,
    delay: Duration,
}

/// What came of looking after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tended {
    /// It is as it should be, or it is not time yet.
    Right,
    /// It was put in place, or another in the place of the one before.
    Replaced,
    /// Somebody had removed or changed it; it is back.
    PutBack,
    /// It is gone.
    Removed,
    /// The kernel cannot or will not; it is tried again.
    Failed,
}

impl Firewall {
    pub(super) const fn new(name: TableName) -> Self {
        Self {
            name,
            standing: None,
            generation: None,
            trouble: None,
            due: None,
            delay: SHORTEST,
        }
    }

    /// Makes the table do what `wanted` says, if that is not known to be so, or it is time to look.
    pub(super) fn tend(
        &mut self,
        kernel: &mut impl Nftables,
        wanted: &Ruleset,
        now: Time,
    ) -> Tended {
        let is_due = self.due.is_none_or(|due| due <= now);
        let is_new = self.standing.as_ref() != Some(wanted);
        // What was refused waits, and then what comes instead of it.
        if !is_due && (!is_new || self.trouble.is_some()) {
            return Tended::Right;
        }
        let outcome = if wanted.is_empty() {
            kernel.remove(&self.name).map(|()| Tended::Removed)
        } else {
            self.compare_and_replace(kernel, wanted, is_new)
        };
        match outcome {
            Ok(tended) => {
                if self.trouble.take().is_some() {
                    info!(table = %self.name, "nftables answers");
                }
                self.delay = SHORTEST;
                self.due = (tended != Tended::Removed).then(|| now + PERIOD);
                self.standing = Some(wanted.clone());
                tended
            }
            Err(reason) => self.failed(&reason, now),
        }
    }

    fn compare_and_replace(
        &mut self,
        kernel: &mut impl Nftables,
        wanted: &Ruleset,
        is_new: bool,
    ) -> Result<Tended, Unavailable> {
        let generation = kernel.generation()?;
        if !is_new && self.generation == Some(generation) {
            return Ok(Tended::Right);
        }
        let table = Table::new(self.name.clone(), wanted);
        let Some(difference) = kernel.compare(&table)? else {
            self.generation = Some(generation);
            return Ok(Tended::Right);
        };
        // Whatever number this makes of it: the next look finds out.
        self.generation = None;
        kernel.replace(&table)?;
        if is_new {
            info!(table = %self.name, "rules replaced");
            return Ok(Tended::Replaced);
        }
        warn!(table = %self.name, %difference, "put back what somebody had removed or changed");
        Ok(Tended::PutBack)
    }

    fn failed(&mut self, reason: &Unavailable, now: Time) -> Tended {
        self.due = Some(now + self.delay);
        self.delay = LONGEST.min(self.delay * 2);
        let trouble = match reason {
            Unavailable::Refused(Refusal { .. }) | Unavailable::Missing => {
                Trouble::Refused(reason.to_string())
            }
            Unavailable::Netlink(error) => Trouble::Unreachable(error.to_string()),
        };
        if self.trouble.as_ref() != Some(&trouble) {
            warn!(table = %self.name, %reason, "nftables");
            self.trouble = Some(trouble);
        }
        Tended::Failed
    }

    /// Forgets what is known: somebody else may have written meanwhile.
    pub(super) fn look_anew(&mut self) {
        self.standing = None;
        self.generation = None;
        self.due = None;
        self.trouble = None;
    }

    pub(super) const fn next_due(&self) -> Option<Time> {
        self.due
    }

    pub(super) fn report(&self, wanted: &Ruleset) -> FirewallReport {
        FirewallReport {
            is_programmed: self.trouble.is_none() && self.standing.as_ref() == Some(wanted),
            trouble: self.trouble.clone(),
        }
    }
}
