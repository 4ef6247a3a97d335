//! What a refusal means: somebody was faster, somebody else's service, or something that the kernel cannot do.
//!
//! Pure.

use std::collections::BTreeSet;

use nix::errno::Errno;
use vipkeeper_ipvs::{Service, ServiceKey};

use super::kernel::{Operation, Refusal};
use super::present::Present;
use super::report::Trouble;

/// How an operation went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The kernel is as it asks: it was carried out, or what was to go had gone.
    Done,
    /// The kernel was not what it was thought to be: it has to be read again.
    Outdated,
    /// The service is there, and was not before we claimed it: it is somebody else's.
    Foreign,
    /// The kernel cannot or will not.
    Refused(Trouble),
}

/// What is known when operations are judged.
pub(super) struct Circumstances<'a> {
    /// Services that became ours for these operations alone.
    pub(super) claimed: &'a BTreeSet<ServiceKey>,
    /// What the kernel has.
    pub(super) present: &'a Present,
}

impl Circumstances<'_> {
    /// The meaning of `outcome`. The errors are those of `ip_vs_genl_set_cmd` and what it calls (`ip_vs_ctl.c`).
    pub(super) fn judge(&self, operation: &Operation, outcome: &Result<(), Refusal>) -> Meaning {
        let Err(refusal) = outcome else {
            return Meaning::Done;
        };
        let key = operation.service();
        match (operation, refusal.errno) {
            (Operation::DeleteService(_), Errno::ESRCH)
                if !self.present.services.contains_key(&key) =>
            {
                Meaning::Done
            }
            (Operation::DeleteDestination(..), Errno::ENOENT) => Meaning::Done,
            (Operation::AddService(_), Errno::EEXIST) if self.claimed.contains(&key) => {
                Meaning::Foreign
            }
            (Operation::AddService(_) | Operation::AddDestination(..), Errno::EEXIST)
            | (
                Operation::SetService(_)
                | Operation::DeleteService(_)
                | Operation::AddDestination(..)
                | Operation::SetDestination(..)
                | Operation::DeleteDestination(..),
                Errno::ESRCH,
            )
            | (Operation::SetDestination(..), Errno::ENOENT) => Meaning::Outdated,
            (Operation::AddService(service) | Operation::SetService(service), Errno::ENOENT) => {
                Meaning::Refused(self.lacking(service))
            }
            (
                Operation::AddService(_)
                | Operation::SetService(_)
                | Operation::DeleteService(_)
                | Operation::AddDestination(..)
                | Operation::SetDestination(..)
                | Operation::DeleteDestination(..),
                _,
            ) => Meaning::Refused(Trouble::Refused(refusal.to_string())),
        }
    }

    /// The kernel lacks scheduler or engine, and says the same of both: what another service has is there.
    fn lacking(&self, service: &Service) -> Trouble {
        let scheduler = service.scheduler;
        let Some(engine) = service.engine else {
            return Trouble::SchedulerMissing(scheduler);
        };
        let mut others = self.present.services.values().map(|there| there.service);
        if others.clone().any(|other| other.scheduler == scheduler) {
            Trouble::EngineMissing(engine)
        } else if others.any(|other| other.engine == Some(engine)) {
            Trouble::SchedulerMissing(scheduler)
        } else {
            Trouble::SchedulerOrEngineMissing { scheduler, engine }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::examples::{address, destination, entry, key, present, service};
    use super::*;

    fn judge(operation: Operation, errno: Errno, claimed: &[u16]) -> Meaning {
        let circumstances = Circumstances {
            claimed: &claimed.iter().map(|&port| key(port)).collect(),
            present: &Present::default(),
        };
        circumstances.judge(&operation, &Err(errno.into()))
    }

    #[test]
    fn what_was_to_go_and_has_gone_is_done() {
        let service = Operation::DeleteService(key(80));
        let destination = Operation::DeleteDestination(key(80), address(1));
        assert_eq!(judge(service, Errno::ESRCH, &[]), Meaning::Done);
        assert_eq!(judge(destination, Errno::ENOENT, &[]), Meaning::Done);
    }

    #[test]
    fn a_service_that_is_there_is_somebody_elses_unless_it_was_ours() {
        let add = Operation::AddService(service(key(80)));
        assert_eq!(judge(add, Errno::EEXIST, &[80]), Meaning::Foreign);
        assert_eq!(judge(add, Errno::EEXIST, &[81]), Meaning::Outdated);
    }

    #[test]
    fn what_somebody_changed_meanwhile_is_read_again() {
        let set = Operation::SetDestination(key(80), destination(1, 1));
        let add = Operation::AddDestination(key(80), destination(1, 1));
        let service = Operation::SetService(service(key(80)));
        for (operation, errno) in [
            (set, Errno::ENOENT),
            (set, Errno::ESRCH),
            (add, Errno::EEXIST),
            (add, Errno::ESRCH),
            (service, Errno::ESRCH),
        ] {
            let meaning = judge(operation, errno, &[]);
            assert_eq!(meaning, Meaning::Outdated, "{operation:?} {errno}");
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_named_as_far_as_it_can_be_known() {
        let plain = service(key(80));
        let engine = "sip".parse().unwrap();
        let mut with_engine = plain;
        with_engine.engine = Some(engine);
        let scheduler = plain.scheduler;
        let lacking = |wanted, present: &Present| {
            let none = BTreeSet::new();
            let circumstances = Circumstances {
                claimed: &none,
                present,
            };
            let refused = Err(Errno::ENOENT.into());
            circumstances.judge(&Operation::SetService(wanted), &refused)
        };
        let empty = Present::default();
        let used = present(&[entry(81, &[])].into_iter().collect());
        assert_eq!(
            lacking(plain, &empty),
            Meaning::Refused(Trouble::SchedulerMissing(scheduler))
        );
        assert_eq!(
            lacking(with_engine, &empty),
            Meaning::Refused(Trouble::SchedulerOrEngineMissing { scheduler, engine })
        );
        assert_eq!(
            lacking(with_engine, &used),
            Meaning::Refused(Trouble::EngineMissing(engine))
        );
    }
}
