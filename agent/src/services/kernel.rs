//! What the services thread asks of the kernel, as traits: `netlink` is the real one, `fake` the tests'.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use nix::errno::Errno;
use vipkeeper_ipvs::{Destination, DestinationKey, Service, ServiceKey};

use super::firewall::Nftables;
use super::present::Present;
use super::settings::SystemSettings;

/// The kernel's IPVS.
pub trait Ipvs {
    /// The services whose keys are `of`, with their real servers, and how many others there are.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn dump(&mut self, of: &BTreeSet<ServiceKey>) -> Result<Present, Unavailable>;

    /// Carries out `operations` in their order, also those after one that is refused; gives the outcome of each, in the
    /// same order.
    ///
    /// # Errors
    /// If the kernel cannot be told, or does not answer: then nothing is known of any.
    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Result<(), Refusal>>, Unavailable>;
}

/// Everything of the kernel that the thread has to do with.
pub trait Kernel: Ipvs + Nftables {
    /// The settings of the network namespace.
    fn settings(&self) -> &SystemSettings;
}

/// One message to IPVS that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// EEXIST: it is there. ENOENT: there is no such scheduler, or persistence engine.
    AddService(Service),
    /// ESRCH: it is not there. ENOENT: as above.
    SetService(Service),
    /// With its real servers. ESRCH: it is not there.
    DeleteService(ServiceKey),
    /// ESRCH: the service is not there. EEXIST: the real server is. ERANGE: weight or thresholds. EINVAL: it cannot be
    /// reached so from this service.
    AddDestination(ServiceKey, Destination),
    /// ESRCH, ENOENT: the service or the real server is not there. ERANGE, EINVAL: as above.
    SetDestination(ServiceKey, Destination),
    /// ESRCH, ENOENT: the service or the real server is not there.
    DeleteDestination(ServiceKey, DestinationKey),
}

impl Operation {
    /// The service that it concerns.
    #[must_use]
    pub const fn service(&self) -> ServiceKey {
        match self {
            Self::AddService(service) | Self::SetService(service) => service.key,
            Self::DeleteService(key)
            | Self::AddDestination(key, _)
            | Self::SetDestination(key, _)
            | Self::DeleteDestination(key, _) => *key,
        }
    }

    /// The real server that it concerns, if it is one.
    #[must_use]
    pub const fn destination(&self) -> Option<DestinationKey> {
        match self {
            Self::AddService(_) | Self::SetService(_) | Self::DeleteService(_) => None,
            Self::AddDestination(_, destination) | Self::SetDestination(_, destination) => {
                Some(destination.key)
            }
            Self::DeleteDestination(_, key) => Some(*key),
        }
    }
}

/// Why the kernel refuses an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error.
    pub errno: Errno,
    /// The kernel's words, where it has any.
    pub text: Option<String>,
}

impl From<&vipkeeper_ipvs::Refusal> for Refusal {
    fn from(refusal: &vipkeeper_ipvs::Refusal) -> Self {
        Self {
            errno: Errno::from_raw(refusal.errno.0),
            text: refusal.text.clone(),
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, text: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{}: {text}", self.errno),
            None => fmt::Display::fmt(&self.errno, f),
        }
    }
}

/// Why the kernel cannot be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// It has no IPVS, or its module is not loaded.
    #[error("the kernel has no IPVS; `modprobe ip_vs` loads it where it is a module")]
    Missing,
    /// It lets us do nothing.
    #[error("the kernel refuses: {0}")]
    Refused(Refusal),
    /// It does not answer as it should.
    #[error("netlink: {0}")]
    Netlink(#[from] io::Error),
}
