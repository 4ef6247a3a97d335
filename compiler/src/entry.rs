//! What was worked out of one router: what it says alone, and, until another object changes, what follows from it
//! together with those.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::allocation::Candidate;
use crate::finding::{Finding, Remarks};
use crate::node::NodeFacts;
use crate::placement::Pool;
use crate::router::{Candidates, Router};
use crate::vrid::Segment;

/// A router as far as it goes alone.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) age: (Option<Time>, u64),
    pub(crate) remarks: Remarks,
    /// `None` if it is refused.
    pub(crate) router: Option<Router>,
    /// The nodes that match, with how much each is preferred.
    pub(crate) matching: BTreeMap<String, i64>,
    pub(crate) derived: Derived,
}

/// What follows from a router and the objects around it. Each is worked out when it is first asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Derived {
    /// From Nodes, Secrets, inventories and the time.
    pub(crate) surroundings: OnceLock<Surroundings>,
    /// From inventories.
    pub(crate) segment: OnceLock<Segment>,
    /// From the surroundings and what the router had before.
    pub(crate) candidates: OnceLock<Arc<Vec<Candidate>>>,
    /// What is said of those candidates and their interfaces.
    pub(crate) lacking: OnceLock<Vec<Finding>>,
}

impl Derived {
    /// Whether `candidates` are those that are kept here.
    pub(crate) fn are_of(&self, candidates: &Arc<Vec<Candidate>>) -> bool {
        let known = self.candidates.get();
        known.is_some_and(|known| Arc::ptr_eq(known, candidates))
    }
}

/// The nodes that could take part in a router, and what is said about it because of objects that are no routers.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) pool: Arc<Pool>,
    pub(crate) findings: Vec<Finding>,
}

impl Entry {
    /// Whether the router alone says the same.
    pub(crate) fn says_as(&self, other: &Self) -> bool {
        let parts = |e: &'_ Self| (e.age.clone(), e.matching.clone());
        parts(self) == parts(other) && self.remarks == other.remarks && self.router == other.router
    }

    /// Notes whether a node matches; `None` if it is gone.
    pub(crate) fn match_node(&mut self, name: &str, node: Option<&NodeFacts>) {
        let preference = match self.router.as_ref().map(|r| &r.candidates) {
            Some(Candidates::Balanced(balance)) => node.and_then(|n| balance.preference(&n.labels)),
            Some(Candidates::Listed(_)) | None => None,
        };
        match preference {
            Some(preference) => self.matching.insert(name.to_owned(), preference),
            None => self.matching.remove(name),
        };
    }
}
