//! The configurations of all nodes, kept up to date: after an edit of the [`Index`] only those are rendered again
//! whose router or share changed. They are the same as if everything were made anew.

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper_crds::NodeConfigSpec;

use crate::allocation::{Allocation, Allocations, allocate};
use crate::finding::{Finding, ObjectName};
use crate::index::Index;
use crate::render::{ConfigKey, Place, rendered};
use crate::shards::Shards;

/// What was rendered last.
#[derive(Clone, Debug, Default)]
pub struct Configurations {
    allocations: Allocations,
    configs: BTreeMap<ConfigKey, NodeConfigSpec>,
    /// The servers of each router whose configurations do not have them.
    shards: BTreeMap<String, Shards>,
    findings: BTreeMap<ObjectName, Vec<Finding>>,
}

/// What an edit changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The configurations that are new, different or gone, they or their shards.
    pub configs: BTreeSet<ConfigKey>,
    /// The routers that are new, different or gone, or got something else.
    pub routers: BTreeSet<String>,
    /// The objects about which something else is said.
    pub objects: BTreeSet<ObjectName>,
}

impl Configurations {
    /// Takes in what changed in `index`. One index belongs to one `Configurations`.
    pub fn refresh(&mut self, index: &mut Index) -> Changed {
        let Some(mut routers) = index.take_changed() else {
            return Changed::default();
        };
        let before = std::mem::replace(&mut self.allocations, allocate(index));
        different(&before.routers, &self.allocations.routers, &mut routers);
        different(&before.servers, &self.allocations.servers, &mut routers);
        let mut changed = Changed::default();
        if before.findings != self.allocations.findings {
            let now = by_object(&self.allocations.findings);
            let earlier = std::mem::replace(&mut self.findings, now);
            let objects = earlier.keys().chain(self.findings.keys());
            let differs = |o: &&ObjectName| earlier.get(*o) != self.findings.get(*o);
            changed.objects = objects.filter(differs).cloned().collect();
        }
        for router in &routers {
            let (place, resharded) = self.share(router);
            let shares = [&before, &self.allocations].map(|a| a.routers.get(router));
            for node in nodes(shares) {
                let key = ConfigKey {
                    router: router.clone(),
                    node,
                };
                let now = rendered(index, &self.allocations, &key, place);
                if resharded || self.configs.get(&key) != now.as_ref() {
                    changed.configs.insert(key.clone());
                }
                match now {
                    Some(config) => self.configs.insert(key, config),
                    None => self.configs.remove(&key),
                };
            }
        }
        changed.routers = routers;
        changed
    }

    /// Splits the servers of a router, if they are many; where they are, and whether that, or what is in shards,
    /// changed.
    fn share(&mut self, router: &str) -> (Place, bool) {
        let before = self.shards.remove(router);
        let accepted = self.allocations.routers.contains_key(router);
        let servers = self.allocations.servers.get(router).filter(|_| accepted);
        let now = servers.and_then(|all| Shards::of(all, before.as_ref()));
        let changed = before != now;
        match now {
            Some(now) => {
                self.shards.insert(router.to_owned(), now);
                (Place::Shards, changed)
            }
            None => (Place::Here, changed),
        }
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

    /// The servers of a router whose configurations do not have them.
    #[must_use]
    pub fn shards(&self, router: &str) -> Option<&Shards> {
        self.shards.get(router)
    }

    /// What is said about an object.
    #[must_use]
    pub fn findings(&self, object: &ObjectName) -> &[Finding] {
        self.findings.get(object).map_or(&[], Vec::as_slice)
    }
}

/// The names with another share. Both are in order: one walk sees both.
fn different<T: PartialEq>(
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
    found: &mut BTreeSet<String>,
) {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let (name, same) = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some((b, was)), Some((a, is))) if a == b => (*a, was == is),
            (Some((b, _)), Some((a, _))) => (*a.min(b), false),
            (Some((name, _)), None) | (None, Some((name, _))) => (*name, false),
        };
        if !same {
            found.insert(name.clone());
        }
        before.next_if(|(b, _)| *b == name);
        after.next_if(|(a, _)| *a == name);
    }
}

fn by_object(findings: &[Finding]) -> BTreeMap<ObjectName, Vec<Finding>> {
    let mut all: BTreeMap<ObjectName, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        let about = all.entry(finding.object.clone()).or_default();
        about.push(finding.clone());
    }
    all
}

fn nodes(shares: [Option<&Allocation>; 2]) -> BTreeSet<String> {
    let candidates = shares.into_iter().flatten().flat_map(|a| &*a.candidates);
    candidates.map(|c| c.node.clone()).collect()
}
