//! VRIDs that nobody wrote: one that is free on the router's segment, and stays.
//!
//! A segment is the subnets of the interface as the agents of the router's nodes report it; until one does it is the
//! whole cluster, which costs VRIDs and breaks nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipkeeper_crds::InterfaceChoice;

use crate::address;
use crate::conflict::Claims;
use crate::finding::Remarks;
use crate::index::{Entry, Foreign, Index, ReportedInterface, Setting};
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

/// The segment of each router that is not refused by its own rules.
pub(crate) struct Segments<'a>(BTreeMap<&'a str, Segment>);

impl<'a> Segments<'a> {
    pub(crate) fn of(index: &'a Index) -> Self {
        let entries = index.by_age().into_iter();
        let segments = entries.filter_map(|(name, entry)| {
            let router = entry.router.as_ref()?;
            Some((name, segment(index, entry, router)))
        });
        Self(segments.collect())
    }

    pub(crate) fn get(&self, router: &str) -> &Segment {
        self.0.get(router).unwrap_or(&Segment::Everywhere)
    }
}

/// The VRID of a router for which none is written: that which it had, else a free one. Says if there is none.
pub(crate) fn allocated(
    index: &Index,
    router: &Router,
    segments: &Segments<'_>,
    claims: &Claims<'_>,
    remarks: &mut Remarks,
) -> Option<u8> {
    let segment = segments.get(&router.name);
    let mut taken = claims.vrids(router, segment);
    let previous = index.previous(&router.name);
    let previous = previous.and_then(|p| p.virtual_router_id);
    if let Some(vrid) = previous.filter(|vrid| *vrid > 0 && !taken.contains(vrid)) {
        return Some(vrid);
    }
    taken.extend(wanted_by_others(index, router, segments));
    let heard = index.foreign.iter();
    let heard = heard.filter(|f| router.families.contains(&f.family) && segment.heard(f));
    let (peers, strangers): (Vec<_>, Vec<_>) = heard.partition(|f| is_peer(router, f));
    taken.extend(strangers.iter().map(|f| f.virtual_router_id));
    // Whoever has the same addresses is to be understood, not avoided.
    let peers = peers.into_iter().map(|f| f.virtual_router_id);
    let mut wanted = peers.chain(from_the_name(&router.name));
    let free = wanted.find(|vrid| *vrid > 0 && !taken.contains(vrid));
    if free.is_none() {
        remarks.error(
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
    let same = |f: &&Foreign| {
        let alike = f.virtual_router_id == vrid && router.families.contains(&f.family);
        alike && !is_peer(router, f)
    };
    if let Some(foreign) = index.foreign.iter().filter(same).find(|f| segment.heard(f)) {
        remarks.warn(
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
    let own: BTreeSet<IpAddr> = own.into_iter().map(|a| a.address).collect();
    own == foreign.addresses
}

/// What other routers of the link say or had, younger ones too: they shall not lose it to one that is flexible.
fn wanted_by_others(index: &Index, router: &Router, segments: &Segments<'_>) -> BTreeSet<u8> {
    let segment = segments.get(&router.name);
    let mut wanted = BTreeSet::new();
    for (name, entry) in index.by_age() {
        let other = entry.router.as_ref();
        let other = other.filter(|o| o.name != router.name && o.meets(router));
        if let Some(other) = other.filter(|_| !segment.apart(segments.get(name))) {
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
fn segment(index: &Index, entry: &Entry, router: &Router) -> Segment {
    match index.setting {
        Setting::Standalone => return Segment::Everywhere,
        Setting::Cluster => {}
    }
    let nodes: Vec<&str> = match &router.candidates {
        Candidates::Listed(list) => list.iter().map(|l| l.node.as_str()).collect(),
        Candidates::Balanced(_) => entry.matching.keys().map(String::as_str).collect(),
    };
    let reported = nodes.into_iter().filter_map(|n| index.interfaces.get(n));
    let interfaces = reported.filter_map(|all| all.iter().find(|i| chosen(router, i)));
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

/// Whether the router would choose this interface.
fn chosen(router: &Router, interface: &ReportedInterface) -> bool {
    let within = |network: IpAddr, length: u8| {
        let mut prefixes = interface.prefixes.iter();
        prefixes.any(|(a, _)| address::holds(network, length, *a))
    };
    match &router.interface {
        InterfaceChoice::Name { name } => *name == interface.name,
        InterfaceChoice::Subnet {
            network,
            prefix_length,
        } => within(*network, *prefix_length),
        InterfaceChoice::DefaultRoute { family } => interface.default_route.contains(family),
        InterfaceChoice::Around { address } => {
            let mut prefixes = interface.prefixes.iter();
            prefixes.any(|(a, length)| address::holds(*a, *length, *address))
        }
    }
}
