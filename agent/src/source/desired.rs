//! What is in force, as every source offers it.

use std::sync::Arc;

use tokio::sync::watch;
use vipkeeper_compiler::Endpoints;
use vipkeeper_crds::{NodeConfigSpec, NodeSettings};

use super::{Diagnosis, Keys, Loaded};

/// What is in force. A new one replaces the one before it as a whole, and shares with it what stays as it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// What the node runs, the longest running router first.
    pub configs: Arc<[NodeConfigSpec]>,
    /// What holds for all routers: announcements, and the heartbeat, whose key is among `keys`.
    pub settings: NodeSettings,
    /// The values of all Secrets.
    pub keys: Keys,
    /// The endpoints of the Services that real servers come from.
    pub endpoints: Arc<Endpoints>,
    /// What is wrong with the manifests or the objects, by place.
    pub findings: Vec<Diagnosis>,
    /// Counts changes from 1; 0 while nothing is verified.
    pub generation: u64,
}

impl From<Loaded> for Desired {
    fn from(loaded: Loaded) -> Self {
        let Loaded {
            configs,
            settings,
            keys,
            endpoints,
            findings,
        } = loaded;
        Self {
            configs: configs.into(),
            settings,
            keys,
            endpoints: Arc::new(endpoints),
            findings,
            generation: 0,
        }
    }
}

impl Desired {
    /// As the change of this number.
    pub(super) fn numbered(self, generation: u64) -> Self {
        Self { generation, ..self }
    }
}

/// Offers `next` if it is anything new, or the first that is verified; `log` is told the new and the last before.
pub(super) fn offer(
    to: &watch::Sender<Arc<Desired>>,
    next: Desired,
    log: impl FnOnce(&Desired, &Desired),
) {
    to.send_if_modified(|last| {
        let next = next.numbered(last.generation);
        if last.generation > 0 && next == **last {
            return false;
        }
        log(&next, last);
        let generation = last.generation.saturating_add(1);
        *last = Arc::new(next.numbered(generation));
        true
    });
}
