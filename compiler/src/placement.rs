//! In which order nodes hold a router's addresses, and with which priorities. Everything here is a function of its
//! arguments; who may take part is `allocation`'s.
//!
//! Without memory (manifests) the order is by preference, then by a hash of the names of router and node: every
//! node computes the same, no router looks at another, and a node that goes moves only what it held. With memory
//! (a cluster) a router keeps its order; only one that is new is put where the fewest are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipkeeper_crds::{AddressFamily, Duration, ProtocolVersion};

use crate::index::Previous;
use crate::interface::Presence;
use crate::node::Withdrawal;
use crate::router::{Listed, MAX_CANDIDATES, OWNER, Router};

/// The priority of the first.
const HIGHEST: u8 = 254;
/// Two Backups whose skews are this far apart, in 1/256 ms, do not take over together: 5 ms.
const APART: u64 = 5 * 256;

/// A node that could take part in a router.
#[derive(Clone, Debug)]
pub(crate) struct Eligible {
    pub(crate) preference: i64,
    /// Whether it has the interfaces asked for.
    pub(crate) interface: Presence,
    pub(crate) withdrawal: Option<Withdrawal>,
    /// Its Node's internal addresses.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Eligible {
    /// Its Node's internal address of `family`, where known.
    pub(crate) fn address(&self, family: AddressFamily) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter();
        addresses.find(|a| AddressFamily::of(a) == family).copied()
    }

    /// Whether there is an internal address of each of the router's families.
    pub(crate) fn reached(&self, router: &Router) -> bool {
        router.families.iter().all(|f| self.address(*f).is_some())
    }
}

/// The nodes that could take part in a router, by name.
pub(crate) type Pool = BTreeMap<String, Eligible>;

/// Why a node has its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `spec.nodes.priorities` says so.
    Listed,
    /// The annotation `vipkeeper.io/active-node` names it.
    Pinned,
    /// It had this place among the others before.
    Kept,
    /// It is new: chosen by preference and, in a cluster, by how little it holds.
    Chosen,
    /// It comes below all that may be used.
    Withdrawn(Withdrawal),
}

/// How many routers have each node at each place of their order, 0 for the holder.
#[derive(Debug, Default)]
pub(crate) struct Load(BTreeMap<usize, BTreeMap<String, u32>>);

impl Load {
    /// Counts an order.
    pub(crate) fn add<'a>(&mut self, order: impl Iterator<Item = &'a str>) {
        for (place, node) in order.enumerate() {
            let count = self.0.entry(place).or_default();
            let count = count.entry(node.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn at(&self, place: usize, node: &str) -> u32 {
        let count = self.0.get(&place).and_then(|nodes| nodes.get(node));
        count.copied().unwrap_or(0)
    }
}

/// What decides the order of one router beside its pool.
pub(crate) struct Request<'a> {
    /// The router's name, or its group's.
    pub(crate) router: &'a str,
    /// How many nodes take part, withdrawn ones apart.
    pub(crate) most: usize,
    pub(crate) pinned: Option<&'a str>,
    /// The order before, if one of its nodes is still in the pool.
    pub(crate) previous: Option<&'a Previous>,
    /// `None` if no router looks at another.
    pub(crate) load: Option<&'a Load>,
}

/// The candidates, the holder first.
pub(crate) fn order(pool: &Pool, request: &Request<'_>) -> Vec<(String, Reason)> {
    let usable: BTreeSet<&str> = names(pool, |e| e.withdrawal.is_none());
    if usable.is_empty() {
        // Withdrawing all empties no set.
        let all = names(pool, |_| true);
        return finish(pool, request, ranked(pool, &all, request), Vec::new());
    }
    let first = ranked(pool, &usable, request);
    let last = withdrawn(pool, request);
    finish(pool, request, first, last)
}

/// The priorities of `count` candidates, `step` apart, the first is the highest.
pub(crate) fn priorities(step: u8, count: usize) -> impl Iterator<Item = u8> {
    let next = move |last: &u8| Some(last.saturating_sub(step).max(1));
    std::iter::successors(Some(HIGHEST), next).take(count)
}

/// How far apart the priorities of `candidates` nodes must be so that two Backups do not take over together, as far
/// as there is room: the skew is (256 − priority)/256 of the interval (RFC 9568 §6.1), with version 2 of a second.
pub(crate) fn step(version: ProtocolVersion, interval: Duration, candidates: usize) -> u8 {
    let gaps = u8::try_from(candidates.saturating_sub(1)).unwrap_or(u8::MAX);
    if gaps == 0 {
        return 1;
    }
    let skewed = match version {
        ProtocolVersion::V2 => 1_000,
        ProtocolVersion::V3 => interval.as_millis(),
    };
    let wanted = APART.div_ceil(skewed.max(1));
    let room = ((HIGHEST - 1) / gaps).max(1);
    u8::try_from(wanted).map_or(room, |wanted| wanted.clamp(1, room))
}

/// The priorities of listed nodes: as written, but for withdrawn ones, which go below the others as far as there is
/// room. The owner stays: its addresses are there whatever its priority.
pub(crate) fn listed(list: &[Listed], pool: &Pool) -> Vec<(String, u8, Reason)> {
    let withdrawal = |l: &Listed| {
        let entry = pool.get(&l.node).filter(|_| l.priority != OWNER);
        entry.and_then(|e| e.withdrawal)
    };
    let present = || list.iter().filter(|l| pool.contains_key(&l.node));
    let usable = present().filter(|l| withdrawal(l).is_none());
    let lowest = usable.map(|l| l.priority).min();
    let mut down: Vec<&Listed> = present().filter(|l| withdrawal(l).is_some()).collect();
    down.sort_by_key(|l| Reverse(l.priority));
    present()
        .map(|l| match (lowest, withdrawal(l)) {
            (Some(lowest), Some(why)) => {
                let place = down.iter().position(|d| d.node == l.node).unwrap_or(0);
                let below = u8::try_from(place.saturating_add(1)).unwrap_or(u8::MAX);
                let most = lowest.saturating_sub(below).max(1);
                (l.node.clone(), l.priority.min(most), Reason::Withdrawn(why))
            }
            (None, Some(_)) | (_, None) => (l.node.clone(), l.priority, Reason::Listed),
        })
        .collect()
}

/// The withdrawn nodes that stay: those that took part before, else those that would take part now.
fn withdrawn<'a>(pool: &'a Pool, request: &Request<'_>) -> Vec<&'a str> {
    let before = request.previous.map(|p| &p.nodes);
    let all = match before {
        Some(before) => names(pool, |_| true)
            .into_iter()
            .filter(|n| before.iter().any(|b| b == n))
            .collect(),
        None => names(pool, |_| true),
    };
    let mut ranked = by_rank(pool, &all, request);
    if before.is_none() {
        ranked.truncate(request.most);
    }
    ranked.retain(|n| pool.get(*n).is_some_and(|e| e.withdrawal.is_some()));
    ranked
}

/// The best of `names`, the first first.
fn ranked<'a>(pool: &'a Pool, names: &BTreeSet<&'a str>, request: &Request<'_>) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    let wanted = names.len().min(request.most);
    let pinned = names.iter().find(|n| Some(**n) == request.pinned);
    order.extend(pinned.copied());
    order.extend(
        held(names, request)
            .into_iter()
            .filter(|n| Some(*n) != request.pinned),
    );
    match (request.previous, request.load) {
        (None, Some(load)) => {
            while order.len() < wanted {
                let place = order.len();
                let left = names.iter().copied().filter(|n| !order.contains(n));
                let Some(next) = left.min_by_key(|n| {
                    let rank = rank(pool, n, request);
                    // The preferred first, of those the ones that hold the least.
                    (rank.0, rank.1, load.at(place, n), rank)
                }) else {
                    break;
                };
                order.push(next);
            }
        }
        (Some(_), _) | (None, None) => {
            let mut rest = by_rank(pool, names, request);
            rest.retain(|n| !order.contains(n));
            order.append(&mut rest);
        }
    }
    order.truncate(wanted);
    order
}

/// The nodes down to the last holder keep their places: who joins comes below.
fn held<'a>(names: &BTreeSet<&'a str>, request: &Request<'_>) -> Vec<&'a str> {
    let Some(previous) = request.previous else {
        return Vec::new();
    };
    let holds = |n: &String| previous.holders.contains(n);
    let last = previous.nodes.iter().rposition(holds);
    let kept = previous
        .nodes
        .iter()
        .take(last.unwrap_or(0).saturating_add(1));
    kept.filter_map(|n| names.get(n.as_str()).copied())
        .collect()
}

fn by_rank<'a>(pool: &'a Pool, names: &BTreeSet<&'a str>, request: &Request<'_>) -> Vec<&'a str> {
    let mut sorted: Vec<&str> = names.iter().copied().collect();
    sorted.sort_by_cached_key(|n| rank(pool, n, request));
    sorted
}

/// Smaller is better: those that have the interface, then those that may have it; of those the preferred, of those who
/// was there before, of those by hash and name.
fn rank<'a>(
    pool: &Pool,
    node: &'a str,
    request: &Request<'_>,
) -> (Presence, Reverse<i64>, usize, Reverse<u64>, &'a str) {
    let eligible = pool.get(node);
    let preference = eligible.map_or(0, |e| e.preference);
    let previous = request.previous.iter().flat_map(|p| &p.nodes);
    let place = previous.into_iter().position(|n| n == node);
    (
        eligible.map_or(Presence::Unreported, |e| e.interface),
        Reverse(preference),
        place.unwrap_or(usize::MAX),
        Reverse(hash(request.router, node)),
        node,
    )
}

fn names(pool: &Pool, which: impl Fn(&Eligible) -> bool) -> BTreeSet<&str> {
    let chosen = pool.iter().filter(|(_, e)| which(e));
    chosen.map(|(name, _)| name.as_str()).collect()
}

fn finish(
    pool: &Pool,
    request: &Request<'_>,
    first: Vec<&str>,
    last: Vec<&str>,
) -> Vec<(String, Reason)> {
    let before = |n: &str| {
        request
            .previous
            .is_some_and(|p| p.nodes.iter().any(|b| b == n))
    };
    let reason = |n: &str| match pool.get(n).and_then(|e| e.withdrawal) {
        Some(why) => Reason::Withdrawn(why),
        None if request.pinned == Some(n) => Reason::Pinned,
        None if before(n) => Reason::Kept,
        None => Reason::Chosen,
    };
    let all = first.into_iter().chain(last).take(MAX_CANDIDATES);
    all.map(|n| (n.to_owned(), reason(n))).collect()
}

/// The weight of a node in a router's rendezvous (highest random weight): FNV-1a over both names, then the finalizer
/// of SplitMix64, without which similar names have similar weights. Another function would move addresses at an
/// upgrade.
pub(crate) fn hash(router: &str, node: &str) -> u64 {
    let bytes = router.bytes().chain([0]).chain(node.bytes());
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
