//! A real server of a listener: whether it is in the list, what the probes say, what the kernel gets. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use vipkeeper_crds::node_server::NodeForwarding;
use vipkeeper_crds::server::{InitialState, OnFailure};
use vipkeeper_ipvs as ipvs;
use vipkeeper_vrrp::Time;

use super::words;
use crate::probe::{Judgement, Target};

/// What the list says of a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) weight: u32,
    pub(super) upper_threshold: u32,
    pub(super) lower_threshold: u32,
    pub(super) forwarding: NodeForwarding,
    /// What the list wants of it.
    pub(super) place: Place,
    /// Why it may not serve, whatever the probes say, which are not asked.
    pub(super) barred: Option<Arc<str>>,
    /// How it is judged; nothing if it always is healthy.
    pub(super) targets: Arc<[Target]>,
}

/// What the list wants of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It serves.
    Serves,
    /// It serves until somebody else does, and keeps what it has then: an endpoint that ends.
    Ends,
    /// It has ended.
    Gone,
}

/// A real server of a listener.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) listed: Listed,
    /// What it is taken for until it is judged.
    pub(super) presumed: InitialState,
    /// Since when it leaves, and until when at most.
    pub(super) leaving: Option<Leaving>,
}

/// A real server that leaves: it keeps its connections and gets no new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) since: Time,
    pub(super) until: Time,
}

/// What the probes say of a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It is healthy, with this weight.
    Up(u32),
    /// It is not, for this reason.
    Down(Arc<str>),
    /// Not every probe has come to a judgement, and until then it is not taken for healthy.
    Unjudged,
}

impl Member {
    /// Takes in what the list says now. Whoever is judged otherwise from now on is taken for what it was until then: an
    /// edit of a probe is no failure.
    pub(super) fn list(&mut self, listed: Listed, judgements: &HashMap<Target, Judgement>) {
        if self.listed.barred.is_none() && self.listed.targets != listed.targets {
            self.presumed = match self.health(judgements) {
                Health::Up(_) => InitialState::Up,
                Health::Down(_) => InitialState::Down,
                Health::Unjudged => self.presumed,
            };
        }
        self.listed = listed;
        if self.listed.place == Place::Serves {
            self.leaving = None;
        }
    }

    pub(super) fn health(&self, judgements: &HashMap<Target, Judgement>) -> Health {
        if let Some(why) = &self.listed.barred {
            return Health::Down(Arc::clone(why));
        }
        let mut said: Option<u32> = None;
        let mut unjudged = false;
        for target in self.listed.targets.iter() {
            match judgements.get(target) {
                Some(judgement) if judgement.healthy => {
                    // Of several that say a weight, the most careful counts.
                    said = [said, judgement.weight].into_iter().flatten().min();
                }
                Some(judgement) => return Health::Down(Arc::clone(&judgement.reason)),
                None => unjudged = true,
            }
        }
        match (unjudged, self.presumed) {
            (false, _) => Health::Up(said.unwrap_or(self.listed.weight)),
            (true, InitialState::Up) => Health::Up(self.listed.weight),
            (true, InitialState::Down) => Health::Unjudged,
        }
    }

    /// The weight that the kernel is to have for it; `None` if the kernel is not to have it.
    pub(super) fn weight(&self, health: &Health, on_failure: OnFailure) -> Option<u32> {
        let failed = match on_failure {
            OnFailure::Quiesce if self.listed.barred.is_none() => Some(0),
            OnFailure::Remove | OnFailure::Quiesce => None,
        };
        match health {
            // One that died while it was leaving has nothing to finish.
            Health::Down(_) => failed,
            Health::Up(_) | Health::Unjudged if self.leaving.is_some() => Some(0),
            Health::Up(weight) => Some(*weight),
            Health::Unjudged => failed,
        }
    }

    pub(super) fn destination(&self, key: ipvs::DestinationKey, weight: u32) -> ipvs::Destination {
        ipvs::Destination {
            key,
            forwarding: words::forwarding(self.listed.forwarding),
            weight,
            upper_threshold: self.listed.upper_threshold,
            lower_threshold: self.listed.lower_threshold,
        }
    }
}
