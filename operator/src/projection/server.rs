//! What the agents of a router's candidates report of a VirtualServer, as its status. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vipkeeper_compiler::{Cause, Finding, Severity};
use vipkeeper_crds::VirtualServer;
use vipkeeper_crds::conditions::{ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::node_server::NodeServer;
use vipkeeper_crds::status::{
    ServerHealth, ServerNodeStatus, ServerStatus, VirtualRouterStatus, VirtualServerStatus,
};

use super::conditions::{Said, add, texts};

/// Most entries of `status.nodes`.
const MOST_NODES: usize = 32;

/// What a VirtualServer's status is made of.
#[derive(Clone, Debug)]
pub(crate) struct ServerSources<'a> {
    /// The VirtualServer.
    pub(crate) server: &'a VirtualServer,
    /// What there is to say about it.
    pub(crate) findings: &'a [Finding],
    /// What nodes are to do for it; `None` if it is refused and has nothing.
    pub(crate) runs: Option<&'a NodeServer>,
    /// The status of its router, if there is one.
    pub(crate) router: Option<&'a VirtualRouterStatus>,
    /// What agents say of it, by node.
    pub(crate) reports: BTreeMap<&'a str, &'a ServerStatus>,
    /// A [lag](ServerSources::lag) may be over in a moment: what was said before stays.
    pub(crate) passing: bool,
}

/// The status of a VirtualServer at `now`. Times of conditions stay where nothing changed.
#[must_use]
pub(crate) fn server_status(sources: &ServerSources<'_>, now: &Time) -> VirtualServerStatus {
    let before = sources.server.status.as_ref();
    let before = before.map_or(&[][..], |s| &s.conditions);
    let generation = sources.server.metadata.generation.unwrap_or_default();
    let conditions: Vec<_> = sources
        .conditions()
        .into_iter()
        .map(|said| said.into_condition(generation, before, now))
        .collect();
    let accepted = conditions.first().map_or("Unknown", |c| c.status.as_str());
    let seen = sources.seen();
    let nodes = sources.reports.iter().take(MOST_NODES);
    VirtualServerStatus {
        observed_generation: generation,
        ready_summary: seen.map_or_else(String::new, |(_, report)| {
            format!("{}/{}", report.health.healthy, report.health.total)
        }),
        accepted_summary: accepted.to_owned(),
        nodes: nodes
            .map(|(name, report)| ServerNodeStatus {
                name: (*name).to_owned(),
                health: report.health.clone(),
            })
            .collect(),
        conditions,
    }
}

impl<'a> ServerSources<'a> {
    /// The node that holds the addresses; where the families are apart, the first that is worse off.
    fn holder(&self) -> Option<&'a str> {
        let serves = |family| {
            self.runs
                .is_none_or(|runs| runs.listeners.iter().any(|l| l.family() == family))
        };
        let families = self.router.into_iter().flat_map(|r| &r.families);
        let held = families.filter(|f| serves(f.family));
        let mut holders: Vec<&str> = held.filter_map(|f| f.active_node.as_deref()).collect();
        // The sort is stable.
        holders.sort_by_key(|node| self.reports.get(node).is_some_and(|r| is_well(&r.health)));
        holders.first().copied()
    }

    /// What the node says that holds the addresses.
    fn seen(&self) -> Option<(&'a str, &'a ServerStatus)> {
        let holder = self.holder()?;
        Some((holder, self.reports.get(holder)?))
    }

    /// The generation on which the node reports that holds the addresses, if it was told of a later one.
    pub(crate) fn lag(&self) -> Option<i64> {
        let (_, report) = self.seen()?;
        let is_late = self.runs.is_some_and(|r| r.generation > report.generation);
        is_late.then_some(report.generation)
    }

    fn conditions(&self) -> Vec<Said> {
        let mut all = self.of_agents();
        all.extend(self.of_health());
        // The gravest first; the reason comes from what does not change with the order of nodes.
        all.sort_by_key(Said::sort_key);
        let mut abnormal = BTreeMap::new();
        for said in all {
            add(&mut abnormal, said);
        }
        let mut all = vec![self.accepted(), self.ready()];
        all.extend(abnormal.into_values());
        all
    }

    fn accepted(&self) -> Said {
        let kind = ConditionType::Accepted;
        let of = |severity| {
            let findings = self.findings.iter();
            findings.filter(move |f| f.severity == severity)
        };
        let odd = texts(of(Severity::Warning));
        let Some(first) = of(Severity::Error).next() else {
            let said = Said::new(kind, ConditionStatus::True, Reason::Valid);
            return if odd.is_empty() {
                said
            } else {
                said.because(format!("{}, but: {odd}", Reason::Valid.text()))
            };
        };
        let mut text = texts(of(Severity::Error));
        if self.runs.is_some() {
            text.push_str("; what was served before goes on");
        }
        Said::new(kind, ConditionStatus::False, reason_of(first.cause)).because(text)
    }

    fn ready(&self) -> Said {
        let kind = ConditionType::Ready;
        let no = |reason| Said::new(kind, ConditionStatus::False, reason);
        let unknown = |reason| Said::new(kind, ConditionStatus::Unknown, reason);
        if self.runs.is_none() && self.reports.is_empty() {
            return no(Reason::NotServed);
        }
        if self.holder().is_none() {
            return no(Reason::NotServed);
        }
        let Some((node, report)) = self.seen() else {
            return unknown(Reason::Pending);
        };
        // What an agent said of an earlier edit says nothing of this one.
        if self.lag().is_some() {
            let before = self.before().filter(|_| self.passing);
            let text = format!(
                "{node}: has not reported on this edit; if it refuses what it is told, its VirtualRouter says why"
            );
            return before.unwrap_or_else(|| unknown(Reason::Pending).because(text));
        }
        let of_node = |reason: Reason| format!("{node}: {}", reason.text());
        if !report.health.programmed {
            return no(Reason::NotProgrammed).because(of_node(Reason::NotProgrammed));
        }
        match lost(&report.health) {
            Some(reason) => no(reason),
            None => Said::new(kind, ConditionStatus::True, Reason::Serving),
        }
    }

    /// What was said of `Ready`.
    fn before(&self) -> Option<Said> {
        let status = self.server.status.as_ref()?;
        Said::again(&status.conditions, ConditionType::Ready)
    }

    /// What agents say is abnormal, with the node.
    fn of_agents(&self) -> Vec<Said> {
        let mut all: Vec<Said> = Vec::new();
        for (node, report) in &self.reports {
            for condition in &report.conditions {
                if condition.status != ConditionStatus::True {
                    continue;
                }
                let said = Said::new(condition.kind, condition.status, condition.reason);
                all.push(said.because(format!("{node}: {}", condition.message)));
            }
        }
        all
    }

    /// What follows from what the holder says of real servers.
    fn of_health(&self) -> Option<Said> {
        let (node, report) = self.seen()?;
        let health = &report.health;
        let (kind, reason) = match lost(health) {
            Some(reason) => (ConditionType::QuorumLost, reason),
            None if health.healthy < health.total => {
                (ConditionType::Degraded, Reason::RealServersUnhealthy)
            }
            None => return None,
        };
        let said = Said::new(kind, ConditionStatus::True, reason);
        Some(said.because(format!("{node}: {}", reason.text())))
    }
}

const fn is_well(health: &ServerHealth) -> bool {
    health.programmed && health.quorum
}

/// Why there is no quorum, if there is none.
const fn lost(health: &ServerHealth) -> Option<Reason> {
    match (health.quorum, health.sorry) {
        (true, _) => None,
        (false, true) => Some(Reason::SorryServing),
        (false, false) => Some(Reason::TooFewHealthy),
    }
}

const fn reason_of(cause: Cause) -> Reason {
    match cause {
        Cause::Taken => Reason::Conflict,
        Cause::RouterMissing => Reason::RouterMissing,
        Cause::NotAllowed => Reason::NotAllowed,
        Cause::ConfigMapMissing => Reason::ConfigMapMissing,
        Cause::Rule
        | Cause::NoCandidates
        | Cause::CandidateMissing
        | Cause::InterfaceMissing
        | Cause::ForeignVrid => Reason::Invalid,
    }
}
