//! What a router runs with all its servers, wherever they are: in its own NodeConfig, or in shards. Pure.
//!
//! - The set of shards that the router names is whole when each of its shards is there and can be run. Then the servers
//!   are theirs, and of other shards nothing counts any more.
//! - While it is not whole, what any shard brings or changes counts at once, and nothing is taken away: what seems to
//!   be gone may be in a shard that is still to come.
//! - A router that names no set has the servers of its own NodeConfig.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use vipkeeper_crds::node_server::{NodeServer, ServerName};
use vipkeeper_crds::{NodeConfigSpec, ShardSet, features};

use super::told::{Main, Shard};

/// Most shards that a message names.
const NAMED: usize = 4;

/// The servers that each NodeConfig has in force, by its name.
pub(super) type Shares = BTreeMap<String, Arc<BTreeSet<ServerName>>>;

/// A shard with its last good state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The NodeConfig's name.
    pub(super) object: String,
    pub(super) shard: Arc<Shard>,
    /// Whether that is how the API server has it.
    pub(super) is_current: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Gathering {
    /// Of what it was gathered; `None` if the cache has it.
    from: Option<(Arc<Main>, Vec<Source>)>,
    config: Arc<NodeConfigSpec>,
    shares: Shares,
    /// What does not count any more, though it is still there.
    superseded: Vec<Source>,
    /// What is to be said of the set.
    missing: Option<String>,
}

/// A server, and the NodeConfig that has it.
struct Placed<'a> {
    server: &'a NodeServer,
    object: Option<&'a str>,
}

impl Gathering {
    /// As it was in force before.
    pub(super) const fn restored(config: Arc<NodeConfigSpec>, shares: Shares) -> Self {
        Self {
            from: None,
            config,
            shares,
            superseded: Vec::new(),
            missing: None,
        }
    }

    /// Takes away what `object` had, which cannot be run any more.
    pub(super) fn lose(&mut self, object: &str) {
        let Some(lost) = self.shares.remove(object) else {
            return;
        };
        let config = Arc::make_mut(&mut self.config);
        config.servers.retain(|server| !lost.contains(&server.name));
    }

    /// Of the NodeConfig `object`, which is `main`, and the router's `shards`, by name.
    pub(super) fn new(
        object: &str,
        main: &Arc<Main>,
        shards: Vec<Source>,
        before: Option<&Self>,
    ) -> Self {
        let mut next = match &main.set {
            None => {
                let own = main.config.servers.iter().map(|server| &server.name);
                let own: BTreeSet<ServerName> = own.cloned().collect();
                Self {
                    superseded: shards.clone(),
                    ..Self::restored(
                        Arc::clone(&main.config),
                        Shares::from([(object.to_owned(), Arc::new(own))]),
                    )
                }
            }
            Some(set) => {
                let round = Round {
                    main,
                    object,
                    set,
                    shards: &shards,
                    before,
                };
                round.gather()
            }
        };
        next.from = Some((Arc::clone(main), shards));
        if let Some(before) = before {
            next.share(before);
        }
        next
    }

    /// Has the same value as `before` where it says the same: whoever has that need not compare it.
    fn share(&mut self, before: &Self) {
        if self.config == before.config {
            self.config = Arc::clone(&before.config);
        }
        for (object, share) in &mut self.shares {
            if let Some(earlier) = before.shares.get(object).filter(|e| *e == share) {
                *share = Arc::clone(earlier);
            }
        }
    }

    /// Whether it was gathered of just this.
    pub(super) fn is_of(&self, main: &Arc<Main>, shards: &[Source]) -> bool {
        let from = self.from.as_ref();
        from.is_some_and(|(own, sources)| own == main && sources == shards)
    }

    /// What runs, with all servers by namespace and name.
    pub(super) const fn config(&self) -> &Arc<NodeConfigSpec> {
        &self.config
    }

    /// Which of the servers each NodeConfig has. Of those that are kept though their shard is gone, none has.
    pub(super) const fn shares(&self) -> &Shares {
        &self.shares
    }

    /// Which shards are missing, in words.
    pub(super) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }
}

/// One router that names a set.
#[derive(Clone, Copy)]
struct Round<'a> {
    main: &'a Main,
    object: &'a str,
    set: &'a ShardSet,
    shards: &'a [Source],
    before: Option<&'a Gathering>,
}

impl<'a> Round<'a> {
    fn gather(self) -> Gathering {
        let is_whole = self.is_whole();
        let counting = self.counting(is_whole);
        let mut requires: BTreeSet<&str> = BTreeSet::new();
        requires.extend(self.main.config.requires.iter().map(String::as_str));
        let mut servers: BTreeMap<&ServerName, Placed<'_>> = BTreeMap::new();
        for server in &self.main.config.servers {
            let object = Some(self.object);
            servers.insert(&server.name, Placed { server, object });
        }
        for source in counting {
            requires.extend(source.shard.shard.requires.iter().map(String::as_str));
            for server in &source.shard.shard.servers {
                let object = Some(source.object.as_str());
                let placed = Placed { server, object };
                servers.entry(&server.name).or_insert(placed);
            }
        }
        if !is_whole {
            self.keep(&mut servers, &mut requires);
        }
        let superseded = self.shards.iter();
        let superseded = superseded.filter(|s| match is_whole {
            true => !self.is_of_the_set(s),
            false => self.is_superseded(s),
        });
        let superseded = superseded.cloned().collect();
        let shares = shares(&servers);
        // Whoever reads this knows nothing of shards.
        requires.remove(features::SHARDS);
        let config = NodeConfigSpec {
            requires: requires.into_iter().map(str::to_owned).collect(),
            servers: servers.into_values().map(|p| p.server.clone()).collect(),
            ..(*self.main.config).clone()
        };
        Gathering {
            superseded,
            missing: self.missing(),
            ..Gathering::restored(Arc::new(config), shares)
        }
    }

    fn is_of_the_set(&self, source: &Source) -> bool {
        source.shard.shard.set == self.set.name
    }

    fn is_superseded(&self, source: &Source) -> bool {
        let before = self.before.into_iter();
        let mut superseded = before.flat_map(|before| &before.superseded);
        superseded.any(|s| s.object == source.object && s.shard == source.shard)
    }

    fn is_whole(&self) -> bool {
        let there = self.shards.iter();
        let there = there.filter(|s| s.is_current && self.is_of_the_set(s));
        let there: BTreeSet<&str> = there.map(|s| s.shard.shard.bits.as_str()).collect();
        let mut needed = self.set.shards.iter();
        needed.all(|bits| there.contains(bits.as_str()))
    }

    /// The shards that count; of those that have the same server, the first has it.
    fn counting(&self, is_whole: bool) -> Vec<&'a Source> {
        let mut counting: Vec<&Source> = self.shards.iter().collect();
        counting.retain(|s| match is_whole {
            true => s.is_current && self.is_of_the_set(s),
            false => self.is_of_the_set(s) || !self.is_superseded(s),
        });
        counting.sort_by_key(|s| (!self.is_of_the_set(s), !s.is_current, s.object.as_str()));
        counting
    }

    /// Adds what was in force before.
    fn keep(
        &self,
        servers: &mut BTreeMap<&'a ServerName, Placed<'a>>,
        requires: &mut BTreeSet<&'a str>,
    ) {
        let Some(before) = self.before else {
            return;
        };
        let here: BTreeSet<&str> = self.shards.iter().map(|s| s.object.as_str()).collect();
        let mut objects: HashMap<&ServerName, &str> = HashMap::new();
        for (object, share) in &before.shares {
            if here.contains(object.as_str()) || object == self.object {
                objects.extend(share.iter().map(|name| (name, object.as_str())));
            }
        }
        for server in &before.config.servers {
            let object = objects.get(&server.name).copied();
            let placed = Placed { server, object };
            servers.entry(&server.name).or_insert(placed);
        }
        requires.extend(before.config.requires.iter().map(String::as_str));
    }

    /// The shards of the set of which there is nothing at all.
    fn missing(&self) -> Option<String> {
        let there = self.shards.iter().filter(|s| self.is_of_the_set(s));
        let there: BTreeSet<&str> = there.map(|s| s.shard.shard.bits.as_str()).collect();
        let missing = self.set.shards.iter().map(String::as_str);
        let missing: Vec<&str> = missing.filter(|bits| !there.contains(bits)).collect();
        let set = &self.set.name;
        let subject = match missing.as_slice() {
            [] => return None,
            [one] => format!("shard {one} of set {set} is"),
            several => {
                let named = several.iter().take(NAMED).copied().collect::<Vec<_>>();
                let named = named.join(", ");
                match several.len().saturating_sub(NAMED) {
                    0 => format!("shards {named} of set {set} are"),
                    more => format!("shards {named} and {more} more of set {set} are"),
                }
            }
        };
        Some(format!(
            "{subject} missing: until all are there, no server is taken away"
        ))
    }
}

fn shares(servers: &BTreeMap<&ServerName, Placed<'_>>) -> Shares {
    let mut shares: BTreeMap<&str, BTreeSet<ServerName>> = BTreeMap::new();
    for (name, placed) in servers {
        if let Some(object) = placed.object {
            shares.entry(object).or_default().insert((*name).clone());
        }
    }
    let shares = shares.into_iter();
    shares
        .map(|(object, share)| (object.to_owned(), Arc::new(share)))
        .collect()
}
