//! A new identity for a running router, step by step. Pure.
//!
//! Nodes with different VRIDs, versions, transports or passwords do not hear each other: two of them would both hold
//! the addresses. So those that are not Active leave, the Active switches alone, and the rest comes back. Before
//! anybody leaves, the Active gives a nonce back: it is alive. Where things stand is to be seen in the NodeConfigs, so
//! that another operator goes on from there; only the pauses begin anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vipkeeper_crds::{NodeConfig, NodeConfigSpec, NodeTransport, ProtocolVersion};

use crate::change::Now;

/// Between the leave of the others and the switch: their agents are told meanwhile.
const LEAVE: Duration = Duration::from_secs(1);
/// For how long the rest waits for the Active to be back.
const RETURN: Duration = Duration::from_secs(15);

/// The NodeConfigs of one router, by node, with a configuration each.
pub(crate) type Configs<'a> = BTreeMap<&'a str, &'a NodeConfig>;

/// What may be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Everything at once.
    All,
    /// These nodes are asked whether they are alive; nothing else.
    Prove(BTreeSet<String>),
    /// These nodes' NodeConfigs go; nothing else.
    Leave(BTreeSet<String>),
    /// Nothing until then, or until something is reported.
    Wait(Duration),
    /// Nothing until something is reported.
    Hold,
    /// These nodes' NodeConfigs are written, with a new nonce; nothing else.
    Switch(BTreeSet<String>),
}

/// What is remembered about the identity edit of one router.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roll {
    /// Whether the Active was found alive.
    proved: bool,
    left: Option<Duration>,
    switched: Option<Duration>,
}

/// What there is to decide upon.
#[derive(Clone, Debug)]
pub(crate) struct State<'a> {
    /// The configurations that shall be, by node.
    pub(crate) desired: &'a BTreeMap<&'a str, &'a NodeConfigSpec>,
    /// The NodeConfigs that are.
    pub(crate) actual: &'a Configs<'a>,
    /// The nodes that are Active.
    pub(crate) holders: BTreeSet<&'a str>,
    /// Those of them that gave the present nonce back.
    pub(crate) proven: &'a BTreeSet<String>,
    /// Whether an answer is still waited for.
    pub(crate) open: bool,
}

impl State<'_> {
    /// Whether an Active would become somebody else, while others take part or shall.
    pub(crate) fn concerns_a_holder(&self) -> bool {
        let mut holders = self.holders.iter();
        holders.any(|node| self.changes_identity(node))
            && (self.actual.len() > self.holders.len() || self.desired.len() > self.holders.len())
    }

    fn changes_identity(&self, node: &str) -> bool {
        let desired = self.desired.get(node);
        let actual = self.actual.get(node).and_then(|c| c.spec.config.as_ref());
        desired
            .zip(actual)
            .is_some_and(|(desired, actual)| !same(desired, actual))
    }

    /// The nodes that were switched and did not come back yet, while nobody else takes part.
    fn switched(&self) -> Option<BTreeSet<&str>> {
        let pending = |config: &NodeConfig| {
            let answer = config.status.as_ref().and_then(|s| s.confirm.as_ref());
            config.spec.confirm.is_some() && config.spec.confirm.as_ref() != answer
                || refused(config)
        };
        let alone = !self.actual.is_empty()
            && self.actual.len() < self.desired.len()
            && self.actual.values().all(|c| c.spec.confirm.is_some())
            && self.actual.keys().all(|n| self.desired.contains_key(n));
        let stays = self.actual.keys().all(|n| !self.changes_identity(n));
        let waits = self.actual.values().any(|c| pending(c));
        (alone && stays && waits).then(|| self.actual.keys().copied().collect())
    }
}

/// Whether the agent refused the configuration that it was given.
fn refused(config: &NodeConfig) -> bool {
    let generation = config.spec.config.as_ref().map(|c| c.generation);
    let acceptance = config.status.as_ref().and_then(|s| s.acceptance.as_ref());
    acceptance.is_some_and(|a| !a.accepted && Some(a.generation) == generation)
}

impl Roll {
    /// The next step.
    pub(crate) fn step(&mut self, state: &State<'_>, now: &Now) -> Step {
        if !state.concerns_a_holder() {
            self.left = None;
            self.proved = false;
            return self.rejoin(state, now);
        }
        self.switched = None;
        let all = |nodes: &BTreeSet<&str>| nodes.iter().map(|n| (*n).to_owned()).collect();
        self.proved |= state.holders.iter().all(|n| state.proven.contains(*n));
        if !self.proved {
            // Who does not answer is not Active any more: then there is nobody to spare.
            return if state.open {
                Step::Prove(all(&state.holders))
            } else {
                Step::All
            };
        }
        let others = state.actual.keys().copied();
        let others: BTreeSet<&str> = others.filter(|n| !state.holders.contains(n)).collect();
        if !others.is_empty() {
            self.left = None;
            return Step::Leave(all(&others));
        }
        let until = self.left.get_or_insert(now.clock).saturating_add(LEAVE);
        if now.clock < until {
            return Step::Wait(until);
        }
        Step::Switch(all(&state.holders))
    }

    /// After the switch the rest waits until the Active is back. One that refused what it was given still holds the
    /// addresses as they were: nobody may come beside it.
    fn rejoin(&mut self, state: &State<'_>, now: &Now) -> Step {
        if state.switched().is_none() {
            self.switched = None;
            return Step::All;
        }
        if state.actual.values().any(|config| refused(config)) {
            return Step::Hold;
        }
        let until = self
            .switched
            .get_or_insert(now.clock)
            .saturating_add(RETURN);
        if now.clock < until {
            Step::Wait(until)
        } else {
            Step::All
        }
    }
}

/// Whether nodes with these two configurations hear each other.
fn same(a: &NodeConfigSpec, b: &NodeConfigSpec) -> bool {
    let interval_counts = match a.version {
        ProtocolVersion::V2 => true,
        ProtocolVersion::V3 => false,
    };
    let ways = |config: &NodeConfigSpec| {
        let families = config.families.iter().map(|f| match &f.transport {
            NodeTransport::Multicast { group, .. } => (f.family, Some(*group)),
            NodeTransport::Unicast { .. } => (f.family, None),
        });
        families.collect::<BTreeMap<_, _>>()
    };
    let (own, others) = (ways(a), ways(b));
    let mut common = own
        .iter()
        .filter_map(|(f, way)| Some((way, others.get(f)?)));
    a.virtual_router_id == b.virtual_router_id
        && a.version == b.version
        && a.authentication == b.authentication
        && (!interval_counts || a.advertisement_interval == b.advertisement_interval)
        && common.all(|(own, other)| own == other)
}
