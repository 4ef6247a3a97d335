//! VRIDs that nobody wrote: one that is free on the router's segment, and stays.
//!
//! A segment is the subnets of the interface as the agents of the router's nodes report it; until one does it is the
//! whole cluster, which costs VRIDs and breaks nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::address;
use crate::conflict::Claims;
use crate::entry::Entry;
use crate::finding::{Cause, Remarks, Severity};
use crate::index::{Foreign, Index, Setting};
use crate::interface::fits;
use crate::placement;
use crate::router::{Candidates, Router};

/// Where a VRID must be unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Everywhere,
    /// At least one, by first address and prefix length.
    Subnets(BTreeSet<(IpAddr, u8)>),
}

impl Segment {
    /// Whether the two have a link in common; `None` if that is not known.
    pub(crate) fn meets(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Subnets(a), Self::Subnets(b)) => {
                let meets = |x: &(IpAddr, u8), y: &(IpAddr, u8)| {
                    address::holds(x.0, x.1, y.0) || address::holds(y.0, y.1, x.0)
                };
                Some(a.iter().any(|x| b.iter().any(|y| meets(x, y))))
            }
            (Self::Everywhere, _) | (_, Self::Everywhere) => None,
        }
    }

    /// Whether the two certainly have no link in common.
    pub(crate) fn apart(&self, other: &Self) -> bool {
        self.meets(other) == Some(false)
    }

    /// Whether somebody heard on a link may be on this one.
    fn heard(&self, foreign: &Foreign) -> bool {
        let heard_on = foreign
            .heard_on
            .map_or(Self::Everywhere, |(address, length)| {
                Self::Subnets(BTreeSet::from([(address, length)]))
            });
        !self.apart(&heard_on)
    }
}

/// The segment of a router; that of one that is refused by its own rules is the whole cluster.
pub(crate) fn segment_of<'a>(index: &Index, entry: &'a Entry) -> &'a Segment {
    let segment = &entry.derived.segment;
    let now = |router| segment.get_or_init(|| segment_now(index, entry, router));
    entry.router.as_ref().map_or(&Segment::Everywhere, now)
}

/// The VRID of a router for which none is written: that which it had, else a free one. Says if there is none.
pub(crate) fn allocated(
    index: &Index,
    router: &Router,
    segment: &Segment,
    claims: &Claims<'_>,
    remarks: &mut Remarks,
) -> Option<u8> {
    let previous = index.previous(&router.name);
    let previous = previous.and_then(|p| p.virtual_router_id);
    let is_free = |vrid: &u8| *vrid > 0 && !claims.has(router, *vrid, segment);
    if let Some(vrid) = previous.filter(is_free) {
        return Some(vrid);
    }
    let mut taken = claims.vrids(router, segment);
    taken.extend(wanted_by_others(index, router, segment));
    let heard = index.foreign.values().flatten();
    let heard = heard.filter(|f| router.families.contains(&f.family) && segment.heard(f));
    let (peers, strangers): (Vec<_>, Vec<_>) = heard.partition(|f| is_peer(router, f));
    taken.extend(strangers.iter().map(|f| f.virtual_router_id));
    // Whoever has the same addresses is to be understood, not avoided.
    let peers = peers.into_iter().map(|f| f.virtual_router_id);
    let mut wanted = peers.chain(from_the_name(&router.name));
    let free = wanted.find(|vrid| *vrid > 0 && !taken.contains(vrid));
    if free.is_none() {
        remarks.say(
            Severity::Error,
            Cause::Taken,
            "spec.virtualRouterId",
            "all 255 VRIDs of the link are in use: put more addresses into one router, or use another link",
        );
    }
    free
}

/// Says who else advertises `vrid` on the router's link. A VRID that is in use stays: who forges advertisements
/// must not be able to move it.
pub(crate) fn heard_elsewhere(
    index: &Index,
    router: &Router,
    vrid: u8,
    segment: &Segment,
    remarks: &mut Remarks,
) {
    let same = |f: &&Foreign| router.families.contains(&f.family) && !is_peer(router, f);
    let mut heard = index.foreign.get(&vrid).into_iter().flatten().filter(same);
    if let Some(foreign) = heard.find(|f| segment.heard(f)) {
        remarks.say(
            Severity::Warning,
            Cause::ForeignVrid,
            "spec.virtualRouterId",
            format!(
                "{} advertises VRID {vrid} for other addresses: change its VRID, or say another one here",
                foreign.source
            ),
        );
    }
}

/// Whether somebody advertises exactly the router's addresses of the family.
fn is_peer(router: &Router, foreign: &Foreign) -> bool {
    let own = router.addresses_of(foreign.family);
    foreign.addresses_hash == Some(list_hash(own.iter().map(|a| a.address)))
}

/// A hash of a list of addresses that does not depend on its order, as agents write it of what they hear: the
/// wrapping sum of each address's FNV-1a over its octets.
#[must_use]
pub fn list_hash(addresses: impl Iterator<Item = IpAddr>) -> u64 {
    let fold = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let hashes = addresses.map(|address| match address {
        IpAddr::V4(a) => fold(&a.octets()),
        IpAddr::V6(a) => fold(&a.octets()),
    });
    hashes.fold(0, u64::wrapping_add)
}

/// What other routers of the link say or had, younger ones too: they shall not lose it to one that is flexible.
fn wanted_by_others(index: &Index, router: &Router, segment: &Segment) -> BTreeSet<u8> {
    let mut wanted = BTreeSet::new();
    for (name, entry) in index.entries() {
        let other = entry.router.as_ref();
        let other = other.filter(|o| o.name != router.name && o.meets(router));
        if let Some(other) = other.filter(|_| !segment.apart(segment_of(index, entry))) {
            let previous = || index.previous(name).and_then(|p| p.virtual_router_id);
            wanted.extend(other.vrid.or_else(previous));
        }
    }
    wanted
}

/// All VRIDs, from one that follows from the name on: so a router finds its own again when nothing is remembered.
fn from_the_name(name: &str) -> impl Iterator<Item = u8> {
    let start = placement::hash(name, "") % 255;
    (0..255_u64).filter_map(move |i| u8::try_from((start + i) % 255 + 1).ok())
}

/// Where the nodes of a router say that its interface is.
fn segment_now(index: &Index, entry: &Entry, router: &Router) -> Segment {
    match index.setting {
        Setting::Standalone => return Segment::Everywhere,
        Setting::Cluster => {}
    }
    let nodes: Vec<&str> = match &router.candidates {
        Candidates::Listed(list) => list.iter().map(|l| l.node.as_str()).collect(),
        Candidates::Balanced(_) => entry.matching.keys().map(String::as_str).collect(),
    };
    let reported = nodes.into_iter().filter_map(|n| index.interfaces.get(n));
    let interfaces = reported.filter_map(|all| all.iter().find(|i| fits(&router.interface, i)));
    let prefixes = interfaces.flat_map(|interface| &interface.prefixes);
    let subnets: BTreeSet<(IpAddr, u8)> = prefixes
        .filter(|(a, _)| !address::link_local(*a))
        .map(|(a, length)| (address::network(*a, *length), *length))
        .collect();
    if subnets.is_empty() {
        Segment::Everywhere
    } else {
        Segment::Subnets(subnets)
    }
}
