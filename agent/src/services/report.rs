//! What the thread tells: of each service what the kernel has, whether that is right, and why not.

use std::collections::BTreeMap;
use std::sync::Arc;

use vipkeeper_ipvs::{DestinationKey, EngineName, SchedulerName, ServiceKey};
use vipkeeper_vrrp::Time;

use super::present::PresentService;
use super::settings::Lack;
use super::table::Table;

/// What is known of the kernel.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// When the kernel was last read; `None` before the first time. What our own operations changed since is in it.
    pub at: Option<Time>,
    /// Why the kernel could not be asked at the last attempt; then `at` stays what it was.
    pub trouble: Option<Trouble>,
    /// The table that it is compared with; `None` before the first is offered. Until then nothing is changed, and the
    /// services are those that a process before has left, with their weights.
    pub table: Option<Arc<Table>>,
    /// The services of the table and those that are ours, by their keys.
    pub services: BTreeMap<ServiceKey, ServiceReport>,
    /// Services of the kernel that are neither: untouched.
    pub others: usize,
    /// How our table of nftables is.
    pub firewall: FirewallReport,
    /// Settings of the network namespace that the table needs, or is better with, and that are not so.
    pub lacks: Vec<Lack>,
    /// What was done so far.
    pub counts: Counts,
}

/// How our table of nftables is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirewallReport {
    /// Whether it does what the table says. Without anything to do: whether it is gone.
    pub is_programmed: bool,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

/// How one service is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceReport {
    /// As the kernel has it; also one that is somebody else's.
    pub present: Option<PresentService>,
    /// Whether it is ours, and all of it as the table says; false if the table lacks it.
    pub is_programmed: bool,
    /// What is wrong with it itself.
    pub trouble: Option<Trouble>,
    /// What is wrong with its real servers.
    pub destinations: BTreeMap<DestinationKey, Trouble>,
}

/// Why something is not as the table says. All are tried again; its text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The kernel has a service of this key, and not because of us: it is left alone until it goes.
    #[error("somebody else has this service in the kernel: it is left alone")]
    Foreign,
    /// The kernel lacks the scheduler.
    #[error("the kernel has no scheduler {0}; `modprobe ip_vs_{0}` loads it where it is a module")]
    SchedulerMissing(SchedulerName),
    /// The kernel lacks the persistence engine.
    #[error(
        "the kernel has no persistence engine {0}; `modprobe ip_vs_pe_{0}` loads it where it is a module"
    )]
    EngineMissing(EngineName),
    /// The kernel lacks one of both, and does not say which.
    #[error(
        "the kernel has no scheduler {scheduler} or no persistence engine {engine}; `modprobe ip_vs_{scheduler}` and \
         `modprobe ip_vs_pe_{engine}` load them where they are modules"
    )]
    SchedulerOrEngineMissing {
        /// The scheduler.
        scheduler: SchedulerName,
        /// The engine.
        engine: EngineName,
    },
    /// The kernel has no IPVS.
    #[error("the kernel has no IPVS; `modprobe ip_vs` loads it where it is a module")]
    IpvsMissing,
    /// The kernel refuses it: the error's name and, where it has any, its words.
    #[error("the kernel refuses it: {0}")]
    Refused(String),
    /// The kernel could not be asked.
    #[error("the kernel cannot be asked: {0}")]
    Unreachable(String),
}

/// What was done since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that the kernel was read whole.
    pub passes: u64,
    /// Operations that the kernel was told, refused ones too.
    pub operations: u64,
    /// Operations that put back what somebody had removed or changed.
    pub repairs: u64,
    /// Operations that the kernel refused.
    pub refusals: u64,
    /// Times that the kernel could not be asked, or the ledger not be written.
    pub failures: u64,
}
