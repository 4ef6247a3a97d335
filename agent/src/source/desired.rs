//! What is in force, as every source offers it.

use std::sync::Arc;

use tokio::sync::watch;
use vipkeeper_compiler::Endpoints;
use vipkeeper_crds::{NodeConfigSpec, NodeSettings};

use super::{Diagnosis, Keys, Loaded};

/// What is in force. A new one replaces the one before it as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// What the node runs, the longest running router first.
    pub configs: Vec<NodeConfigSpec>,
    /// What holds for all routers: announcements, and the heartbeat, whose key is among `keys`.
    pub settings: NodeSettings,
    /// The values of all Secrets.
    pub keys: Keys,
    /// The endpoints of the Services that real servers come from.
    pub endpoints: Endpoints,
    /// What is wrong with the manifests or the objects, by place.
    pub findings: Vec<Diagnosis>,
    /// Counts changes from 1; 0 while nothing is verified.
    pub generation: u64,
}

impl Desired {
    /// `loaded` as the change of this number.
    pub(super) fn new(loaded: Loaded, generation: u64) -> Self {
        let Loaded {
            configs,
            settings,
            keys,
            endpoints,
            findings,
        } = loaded;
        Self {
            configs,
            settings,
            keys,
            endpoints,
            findings,
            generation,
        }
    }
}

/// Offers `loaded` if it is anything new, or the first that is verified; `log` is told the new and the last before.
pub(super) fn offer(
    to: &watch::Sender<Arc<Desired>>,
    loaded: Loaded,
    log: impl FnOnce(&Desired, &Desired),
) {
    to.send_if_modified(|last| {
        let next = Desired::new(loaded, last.generation);
        if last.generation > 0 && next == **last {
            return false;
        }
        log(&next, last);
        *last = Arc::new(Desired {
            generation: last.generation.saturating_add(1),
            ..next
        });
        true
    });
}
