//! What is shared out between routers: addresses, VRIDs, and the nodes with their priorities.
//!
//! Routers are looked at from the oldest to the youngest; one that is refused gets nothing and is in nobody's way.
//! Everything is looked up in the [`Index`], nothing is remembered: what must stay is given there as `Previous`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipkeeper_crds::{AddressFamily, NodeAuthentication};

use crate::attachment;
use crate::conflict::Claims;
use crate::entry::{Derived, Entry, Surroundings};
use crate::finding::{Finding, ObjectName, Remarks};
use crate::group::{self, Groups, Unit};
use crate::index::{Index, Previous, Setting};
use crate::node::Withdrawal;
use crate::placement::{self, Load, Pool, Reason, Request};
use crate::pool;
use crate::router::{Candidates, Router};
use crate::secret;
use crate::servers::Served;
use crate::shards::Weighed;
use crate::vrid::{self, Segment};

/// Who gets what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// What each accepted router gets, by name.
    pub routers: BTreeMap<String, Allocation>,
    /// What is served on the addresses of each, by namespace and name; routers on which nothing is are not here.
    pub servers: BTreeMap<String, Arc<Vec<Weighed>>>,
    /// About all objects: Nodes by name, then routers and VirtualServers, the oldest first, each in the order of its
    /// fields.
    pub findings: Vec<Finding>,
}

impl Allocations {
    /// What each VirtualServer that is served has nodes do: to give back as [`Served`], so that it goes on.
    pub fn served(&self) -> impl Iterator<Item = Served> + '_ {
        self.servers.iter().flat_map(|(router, servers)| {
            servers.iter().map(|server| Served {
                router: router.clone(),
                server: Arc::clone(&server.server),
            })
        })
    }
}

/// What a router gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// 1..=255.
    pub virtual_router_id: u8,
    /// The nodes that take part: listed ones as listed, others from the highest priority down. Empty only in a
    /// cluster, while no Node matches.
    pub candidates: Arc<Vec<Candidate>>,
}

/// A node that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub node: String,
    /// 1..=254, and 255 for the address owner.
    pub priority: u8,
    /// Its Node's internal addresses, where known.
    pub addresses: Vec<IpAddr>,
    /// Why it has this priority.
    pub reason: Reason,
}

impl Candidate {
    /// Its Node's internal address of `family`, where known.
    #[must_use]
    pub fn address(&self, family: AddressFamily) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter();
        addresses.find(|a| AddressFamily::of(a) == family).copied()
    }
}

impl Allocation {
    /// What to give back as [`Previous`] so that it stays; `holders` are those that have the addresses, as far as
    /// that is known.
    #[must_use]
    pub fn remember(&self, holders: BTreeSet<String>) -> Previous {
        let mut candidates: Vec<&Candidate> = self.candidates.iter().collect();
        candidates.sort_by_key(|c| std::cmp::Reverse(c.priority));
        Previous {
            virtual_router_id: Some(self.virtual_router_id),
            nodes: candidates.into_iter().map(|c| c.node.clone()).collect(),
            holders,
        }
    }
}

/// Shares out what `index` holds.
#[must_use]
pub fn allocate(index: &Index) -> Allocations {
    let withdrawn = index.withdrawn();
    let mut claims = Claims::default();
    let mut groups = Groups::default();
    let mut accepted = Vec::new();
    let mut said = Vec::new();
    for (name, entry) in index.by_age() {
        let mut remarks = entry.remarks.clone();
        if let Some(router) = &entry.router {
            let surroundings = &entry.derived.surroundings;
            let surroundings =
                surroundings.get_or_init(|| outside_rules(index, entry, router, &withdrawn));
            remarks.extend(&surroundings.findings);
            groups.fits(router, &mut remarks);
            let segment = vrid::segment_of(index, entry);
            if let Some(vrid) = ask(index, router, segment, &claims, &mut remarks) {
                groups.add(router);
                claims.add(router, vrid, segment);
                accepted.push(Accepted {
                    router,
                    vrid,
                    derived: &entry.derived,
                    pool: Arc::clone(&surroundings.pool),
                });
            }
        }
        said.push((name, entry, remarks));
    }
    let routers = place(index, accepted);
    let mut findings: Vec<Finding> = index.node_findings().cloned().collect();
    for (name, entry, mut remarks) in said {
        if let (Some(router), Some(allocation)) = (&entry.router, routers.get(name)) {
            let candidates = &allocation.candidates;
            if entry.derived.are_of(candidates) {
                let lacking = &entry.derived.lacking;
                let now = || pool::lacking(index, router, candidates);
                remarks.extend(lacking.get_or_init(now).as_slice());
            } else {
                remarks.extend(&pool::lacking(index, router, candidates));
            }
        }
        findings.extend(remarks.into_findings());
    }
    let (servers, said) = attachment::attach(index, &routers);
    findings.extend(said);
    Allocations {
        routers,
        servers,
        findings,
    }
}

/// A router that gets what it asked for.
pub(crate) struct Accepted<'a> {
    pub(crate) router: &'a Router,
    pub(crate) vrid: u8,
    derived: &'a Derived,
    pub(crate) pool: Arc<Pool>,
}

/// The rules between a router and objects that are no routers, and its nodes.
fn outside_rules(
    index: &Index,
    entry: &Entry,
    router: &Router,
    withdrawn: &BTreeMap<&str, Withdrawal>,
) -> Surroundings {
    let mut remarks = Remarks::of(ObjectName::new("VirtualRouter", &router.name));
    for (i, entry) in router.addresses.iter().enumerate() {
        if let Some(node) = index.owner(entry.address)
            && router.candidates.owner() != Some(node)
        {
            let message = format!(
                "{} is the InternalIP of node {node}: choose an address that belongs to no node",
                entry.address
            );
            remarks.error(format!("spec.addresses[{i}].address"), message);
        }
    }
    secret_exists(index, router, &mut remarks);
    let pool = pool::pool(index, entry, router, withdrawn, &mut remarks);
    Surroundings {
        pool: Arc::new(pool),
        findings: remarks.into_findings(),
    }
}

/// In a cluster no Secret is read here: agents say what is missing.
fn secret_exists(index: &Index, router: &Router, remarks: &mut Remarks) {
    match index.setting {
        Setting::Cluster => return,
        Setting::Standalone => {}
    }
    let wanted = match &router.authentication {
        NodeAuthentication::None => return,
        NodeAuthentication::Password { secret } => secret,
    };
    let path = "spec.authentication.password.secretRef";
    secret::exists(wanted, path, |name| index.secret(name), remarks);
}

/// The VRID that `router` gets, if that and its addresses are free.
fn ask(
    index: &Index,
    router: &Router,
    segment: &Segment,
    claims: &Claims<'_>,
    remarks: &mut Remarks,
) -> Option<u8> {
    if remarks.refused() {
        return None;
    }
    claims.addresses_are_free(router, remarks);
    let vrid = match router.vrid {
        Some(vrid) => {
            claims.vrid_is_free(router, vrid, segment, remarks);
            vrid
        }
        None => vrid::allocated(index, router, segment, claims, remarks)?,
    };
    vrid::heard_elsewhere(index, router, vrid, segment, remarks);
    (!remarks.refused()).then_some(vrid)
}

/// Those that have an order first, so that those that are new see what is there.
fn place(index: &Index, accepted: Vec<Accepted<'_>>) -> BTreeMap<String, Allocation> {
    let mut load = Load::default();
    let mut placed = BTreeMap::new();
    let units = group::units(accepted).into_iter();
    let (settled, new): (Vec<_>, Vec<_>) = units.partition(|unit| unit.settled(index));
    // Only those that are new look at what others hold.
    let load_counts = !new.is_empty();
    let units = settled.into_iter().map(|unit| (true, unit));
    for (settled, unit) in units.chain(new.into_iter().map(|unit| (false, unit))) {
        let all = match unit.members.as_slice() {
            [one] if settled => {
                let known = &one.derived.candidates;
                let now = || unit.candidates(index, &load).pop().unwrap_or_default();
                vec![Arc::clone(known.get_or_init(now))]
            }
            _ => unit.candidates(index, &load),
        };
        for (member, candidates) in unit.members.iter().zip(all) {
            if load_counts {
                load.add(in_use(&candidates));
            }
            let allocation = Allocation {
                virtual_router_id: member.vrid,
                candidates,
            };
            placed.insert(member.router.name.clone(), allocation);
        }
    }
    placed
}

/// The nodes that may be used, the highest priority first.
fn in_use(candidates: &[Candidate]) -> impl Iterator<Item = &str> {
    let withdrawn = |c: &&Candidate| matches!(c.reason, Reason::Withdrawn(_));
    let mut used: Vec<&Candidate> = candidates.iter().filter(|c| !withdrawn(c)).collect();
    used.sort_by_key(|c| std::cmp::Reverse(c.priority));
    used.into_iter().map(|c| c.node.as_str())
}

impl Unit<'_> {
    /// Whether the order does not depend on what other routers hold.
    fn settled(&self, index: &Index) -> bool {
        self.balances().next().is_none() || self.previous(index).is_some()
    }

    /// Who takes part in each member.
    fn candidates(&self, index: &Index, load: &Load) -> Vec<Arc<Vec<Candidate>>> {
        let candidate = |(node, priority, reason): (String, u8, Reason)| Candidate {
            addresses: self
                .pool
                .get(&node)
                .map_or_else(Vec::new, |e| e.addresses.clone()),
            node,
            priority,
            reason,
        };
        let pinned = self.balances().find_map(|b| b.pinned.as_deref());
        let Some(most) = self.balances().map(|b| b.most).min() else {
            let lists = self.members.iter().map(|m| match &m.router.candidates {
                Candidates::Listed(list) => list.as_slice(),
                Candidates::Balanced(_) => &[],
            });
            let listed = lists.map(|list| placement::listed(list, &self.pool));
            return listed
                .map(|all| Arc::new(all.into_iter().map(candidate).collect()))
                .collect();
        };
        let order = placement::order(
            &self.pool,
            &Request {
                router: self.name(),
                most,
                pinned,
                previous: self.previous(index),
                load: match index.setting {
                    Setting::Standalone => None,
                    Setting::Cluster => Some(load),
                },
            },
        );
        let priorities = self.priorities(order.len());
        let ordered = order.into_iter().zip(priorities);
        let all: Vec<Candidate> = ordered
            .map(|((node, reason), priority)| candidate((node, priority, reason)))
            .collect();
        let all = Arc::new(all);
        let members = self.members.iter();
        members.map(|_| Arc::clone(&all)).collect()
    }
}
