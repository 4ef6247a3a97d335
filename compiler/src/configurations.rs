//! The configurations of all nodes, kept up to date: after an edit of the [`Index`] only those are rendered again
//! whose router or share changed. They are the same as if everything were made anew.

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper_crds::NodeConfigSpec;

use crate::allocation::{Allocation, Allocations, allocate};
use crate::index::Index;
use crate::render::{ConfigKey, render};

/// What was rendered last.
#[derive(Clone, Debug, Default)]
pub struct Configurations {
    allocations: Allocations,
    configs: BTreeMap<ConfigKey, NodeConfigSpec>,
}

impl Configurations {
    /// Takes in what changed in `index`; which configurations are new, different or gone now. One index belongs to one
    /// `Configurations`.
    pub fn refresh(&mut self, index: &mut Index) -> BTreeSet<ConfigKey> {
        let mut routers = index.take_changed();
        let before = std::mem::replace(&mut self.allocations, allocate(index));
        for name in before.routers.keys().chain(self.allocations.routers.keys()) {
            if before.routers.get(name) != self.allocations.routers.get(name) {
                routers.insert(name.clone());
            }
        }
        let mut changed = BTreeSet::new();
        for router in routers {
            let shares = [&before, &self.allocations].map(|a| a.routers.get(&router));
            for node in nodes(shares) {
                let key = ConfigKey {
                    router: router.clone(),
                    node,
                };
                let now = render(index, &self.allocations, &key);
                if self.configs.get(&key) != now.as_ref() {
                    changed.insert(key.clone());
                }
                match now {
                    Some(config) => self.configs.insert(key, config),
                    None => self.configs.remove(&key),
                };
            }
        }
        changed
    }

    /// Who got what, and what is said about it.
    #[must_use]
    pub const fn allocations(&self) -> &Allocations {
        &self.allocations
    }

    /// All configurations.
    #[must_use]
    pub const fn configs(&self) -> &BTreeMap<ConfigKey, NodeConfigSpec> {
        &self.configs
    }
}

fn nodes(shares: [Option<&Allocation>; 2]) -> BTreeSet<String> {
    let candidates = shares.into_iter().flatten().flat_map(|a| &a.candidates);
    candidates.map(|c| c.node.clone()).collect()
}
