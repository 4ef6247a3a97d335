//! How the servers on a router's addresses are told to nodes: beside the router while they are few, else in shards.
//!
//! Which shard a server is in follows from its name alone, and where shards are split from how much the servers of
//! each take. Knows nothing of nodes: all candidates of a router are told the same.

use std::io;
use std::sync::Arc;

use serde::Serialize;
use vipkeeper_crds::node_server::{NodeServer, ServerName};
use vipkeeper_crds::{NodeConfigShard, ShardSet, features};

/// Servers that take more bytes of JSON ride in shards, and a shard whose servers take more is split.
pub const SHARD_SIZE: usize = 1 << 16;
/// No shard takes more bytes: what cannot be split is refused beyond.
pub const MOST_SIZE: usize = 1 << 18;
/// The most bits of a hash by which shards are split.
pub const MOST_BITS: u32 = 12;

/// What nodes do for a VirtualServer, and what it takes to tell them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// What nodes do.
    pub server: Arc<NodeServer>,
    /// Bytes of JSON.
    size: usize,
    /// By which shards are split.
    hash: u64,
}

impl Weighed {
    /// Weighs `server`.
    #[must_use]
    pub fn new(server: Arc<NodeServer>) -> Self {
        Self {
            size: size(&*server),
            hash: shard_hash(&server.name),
            server,
        }
    }

    /// How many bytes of JSON it takes as the only one of a list.
    #[must_use]
    pub fn size(&self) -> usize {
        list_size([self.size].into_iter())
    }
}

/// How many bytes of JSON a value takes.
pub(crate) fn size<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut count = Count(0);
    // What cannot be written takes more than there is room for.
    serde_json::to_writer(&mut count, value).map_or(MOST_SIZE + 1, |()| count.0)
}

/// Counts what is written.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes a list takes: its brackets, and a comma between two.
fn list_size(sizes: impl Iterator<Item = usize>) -> usize {
    let each = |all: usize, size: usize| all.saturating_add(size).saturating_add(1);
    sizes.fold(1, each).max(2)
}

/// The hash of a server's name; a shard is the servers whose hash begins with its bits.
#[must_use]
pub fn shard_hash(name: &ServerName) -> u64 {
    hash([name.namespace.as_str(), name.name.as_str()].into_iter())
}

/// FNV-1a of 64 bits, each part ended by a byte that no name has; then mixed, because its first bits depend little on
/// the last bytes (the finaliser of `MurmurHash3`).
fn hash<'a>(parts: impl Iterator<Item = &'a str>) -> u64 {
    let bytes = parts.flat_map(|part| part.bytes().chain([0]));
    let plain = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (plain ^ (plain >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

/// The room that the servers of one router take, where shards cannot be split any more.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// All together.
    total: usize,
    /// By the first bits; empty while all fit in one shard.
    taken: Vec<usize>,
}

impl Room {
    /// At least how much would be in the shard of `server` with it, beside those of `others` that took room already.
    pub(crate) fn with<'a>(
        &self,
        server: &Weighed,
        others: impl Iterator<Item = &'a Weighed>,
    ) -> usize {
        let together = self.total.saturating_add(server.size).saturating_add(2);
        if together <= MOST_SIZE {
            return together;
        }
        let shard = last_shard(server);
        let taken = if self.taken.is_empty() {
            let beside = others.filter(|other| last_shard(other) == shard);
            beside.map(|other| other.size.saturating_add(1)).sum()
        } else {
            self.taken.get(shard).copied().unwrap_or(0)
        };
        taken.saturating_add(server.size).saturating_add(2)
    }

    /// `server` takes room, after `others`.
    pub(crate) fn take<'a>(&mut self, server: &Weighed, others: impl Iterator<Item = &'a Weighed>) {
        self.total = self.total.saturating_add(server.size).saturating_add(1);
        if self.total <= MOST_SIZE {
            return;
        }
        if self.taken.is_empty() {
            self.taken = vec![0; 1 << MOST_BITS];
            for other in others {
                self.add(other);
            }
        }
        self.add(server);
    }

    fn add(&mut self, server: &Weighed) {
        if let Some(taken) = self.taken.get_mut(last_shard(server)) {
            *taken = taken.saturating_add(server.size).saturating_add(1);
        }
    }
}

/// The shard of `server`, by number, if all have as many bits as they may.
fn last_shard(server: &Weighed) -> usize {
    usize::try_from(server.hash >> (u64::BITS - MOST_BITS)).unwrap_or(0)
}

/// The servers on a router's addresses in shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shards {
    /// What shards there are.
    pub set: ShardSet,
    /// The shards, as the set names them.
    pub shards: Vec<Arc<NodeConfigShard>>,
    /// The servers of each.
    members: Vec<Vec<Arc<NodeServer>>>,
}

impl Shards {
    /// `servers`, by namespace and name, in shards; `None` if they need none. Shards that are as `before` are the same
    /// in memory, too.
    #[must_use]
    pub fn of(servers: &[Weighed], before: Option<&Self>) -> Option<Self> {
        if list_size(servers.iter().map(|s| s.size)) <= SHARD_SIZE {
            return None;
        }
        let (bits, members) = Split::of(servers);
        let name = format!("{:016x}", hash(bits.iter().map(String::as_str)));
        let before = before.filter(|before| before.set.name == name);
        let shards = bits.iter().zip(&members).enumerate();
        let shards = shards.map(|(i, (bits, members))| {
            let same = before.filter(|b| b.members.get(i) == Some(members));
            match same.and_then(|before| before.shards.get(i)) {
                Some(shard) => Arc::clone(shard),
                None => Arc::new(shard(&name, bits, members)),
            }
        });
        Some(Self {
            shards: shards.collect(),
            set: ShardSet { name, shards: bits },
            members,
        })
    }

    /// The shard with these bits.
    #[must_use]
    pub fn get(&self, bits: &str) -> Option<&Arc<NodeConfigShard>> {
        // No word begins another, and 0 comes before 1.
        let at = self.set.shards.binary_search_by(|b| b.as_str().cmp(bits));
        self.shards.get(at.ok()?)
    }
}

fn shard(set: &str, bits: &str, members: &[Arc<NodeServer>]) -> NodeConfigShard {
    NodeConfigShard {
        set: set.to_owned(),
        bits: bits.to_owned(),
        requires: vec![
            features::VIRTUAL_SERVERS.to_owned(),
            features::SHARDS.to_owned(),
        ],
        servers: members.iter().map(|server| (**server).clone()).collect(),
    }
}

/// Servers while they are split.
struct Split<'a> {
    servers: &'a [Weighed],
    bits: Vec<String>,
    members: Vec<Vec<Arc<NodeServer>>>,
}

impl<'a> Split<'a> {
    /// The shards of `servers`, two at least, and who is in each.
    fn of(servers: &'a [Weighed]) -> (Vec<String>, Vec<Vec<Arc<NodeServer>>>) {
        let mut order: Vec<(u64, usize)> = servers.iter().map(|s| s.hash).zip(0..).collect();
        order.sort_unstable();
        let mut split = Self {
            servers,
            bits: Vec::new(),
            members: Vec::new(),
        };
        split.halves(&mut order, "");
        (split.bits, split.members)
    }

    /// Splits those whose hash begins with `bits`.
    fn halves(&mut self, all: &mut [(u64, usize)], bits: &str) {
        let shift = usize::try_from(u64::BITS).unwrap_or(64) - 1 - bits.len();
        let middle = all.partition_point(|(hash, _)| (hash >> shift) & 1 == 0);
        let (zeros, ones) = all.split_at_mut(middle);
        self.shard(zeros, &format!("{bits}0"));
        self.shard(ones, &format!("{bits}1"));
    }

    /// Makes a shard of those whose hash begins with `bits`, or several.
    fn shard(&mut self, all: &mut [(u64, usize)], bits: &str) {
        let sizes = all.iter().filter_map(|(_, i)| self.servers.get(*i));
        let fits = list_size(sizes.map(|s| s.size)) <= SHARD_SIZE;
        let whole = fits || all.len() == 1 || bits.len() >= MOST_BITS as usize;
        if !whole {
            self.halves(all, bits);
            return;
        }
        // In the order in which they were given.
        all.sort_unstable_by_key(|(_, i)| *i);
        let members = all.iter().filter_map(|(_, i)| self.servers.get(*i));
        let members = members.map(|s| Arc::clone(&s.server)).collect();
        self.bits.push(bits.to_owned());
        self.members.push(members);
    }
}
