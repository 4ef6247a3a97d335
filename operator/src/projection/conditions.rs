//! The conditions of a router: of the compiler's findings, of what agents report, and of who is Active.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vipkeeper_compiler::{Cause, Finding, Severity};
use vipkeeper_crds::AddressFamily;
use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::status::{
    Acceptance, CandidateStatus, ElectionState, FamilyStatus, InstanceStatus,
};

use super::{Sources, those};

/// Most characters of a message.
const MOST_TEXT: usize = 1024;

/// A condition without its time.
pub(super) struct Said {
    kind: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: String,
    /// The generation that it is about, if that is not the present one.
    about: Option<i64>,
}

impl Said {
    pub(super) fn new(kind: ConditionType, status: ConditionStatus, reason: Reason) -> Self {
        Self {
            kind,
            status,
            reason,
            message: reason.text().to_owned(),
            about: None,
        }
    }

    /// What `conditions` say of `kind`, once more: it says nothing of a later edit.
    pub(super) fn again(conditions: &[Condition], kind: ConditionType) -> Option<Self> {
        let said = conditions.iter().find(|c| c.kind == kind)?;
        Some(Self {
            kind,
            status: said.status,
            reason: said.reason,
            message: said.message.clone(),
            about: Some(said.observed_generation),
        })
    }

    pub(super) fn because(mut self, message: String) -> Self {
        self.message = message;
        self
    }

    /// Those of one type stand together, and their order does not depend on nodes.
    pub(super) const fn sort_key(&self) -> (ConditionType, Reason) {
        (self.kind, self.reason)
    }

    /// As it is written. Its time is when `status` became what it is.
    pub(super) fn into_condition(
        self,
        generation: i64,
        before: &[Condition],
        now: &Time,
    ) -> Condition {
        let earlier = before.iter().find(|c| c.kind == self.kind);
        let since = earlier.filter(|c| c.status == self.status);
        Condition {
            kind: self.kind,
            status: self.status,
            reason: self.reason,
            message: self.message.chars().take(MOST_TEXT).collect(),
            last_transition_time: since.map_or(now, |c| &c.last_transition_time).clone(),
            observed_generation: self.about.unwrap_or(generation),
        }
    }
}

/// All conditions, each type once.
pub(super) fn conditions(
    sources: &Sources<'_>,
    nodes: &[CandidateStatus],
    families: &[FamilyStatus],
) -> Vec<Said> {
    let mut abnormal = BTreeMap::new();
    for said in of_elections(sources, nodes, families) {
        add(&mut abnormal, said);
    }
    for said in of_findings(sources) {
        add(&mut abnormal, said);
    }
    for said in of_agents(sources) {
        add(&mut abnormal, said);
    }
    let mut all = vec![accepted(sources), ready(sources, nodes, families)];
    all.extend(abnormal.into_values());
    all
}

/// The first of a type gives the reason; the others add what they say.
pub(super) fn add(all: &mut BTreeMap<ConditionType, Said>, said: Said) {
    match all.get_mut(&said.kind) {
        Some(first) => {
            first.message.push_str("; ");
            first.message.push_str(&said.message);
        }
        None => {
            all.insert(said.kind, said);
        }
    }
}

fn accepted(sources: &Sources<'_>) -> Said {
    let kind = ConditionType::Accepted;
    let of = |severity| {
        sources
            .findings
            .iter()
            .filter(move |f| f.severity == severity)
    };
    let refused = |reason| Said::new(kind, ConditionStatus::False, reason);
    if sources.refused {
        let taken = of(Severity::Error).any(|f| f.cause == Cause::Taken);
        let reason = if taken {
            Reason::Conflict
        } else {
            Reason::Invalid
        };
        let mut text = texts(of(Severity::Error));
        if sources.allocation.is_some() {
            text.push_str("; what ran before this edit goes on");
        }
        return refused(reason).because(text);
    }
    let candidates = sources.allocation.map_or(&[][..], |a| &a.candidates);
    if candidates.is_empty() {
        let why = of(Severity::Warning);
        let why = why.filter(|f| matches!(f.cause, Cause::NoCandidates | Cause::CandidateMissing));
        let why = texts(why);
        let said = refused(Reason::NoCandidates);
        return if why.is_empty() {
            said
        } else {
            said.because(why)
        };
    }
    let generation = sources.router.metadata.generation.unwrap_or_default();
    let answers = sources.configs.iter().filter_map(|(node, config)| {
        let acceptance = config.status.as_ref()?.acceptance.as_ref()?;
        // What an agent said of an earlier edit says nothing of this one.
        (acceptance.generation == generation && !acceptance.accepted).then_some((*node, acceptance))
    });
    let shards = sources.shards.iter().filter_map(|(node, shard)| {
        let acceptance = shard.status.as_ref()?.acceptance.as_ref()?;
        // A shard is of no generation: what is said of it holds until something else is.
        (!acceptance.accepted).then_some((*node, acceptance))
    });
    let answers: Vec<(&str, &Acceptance)> = answers.chain(shards).collect();
    if let Some((_, first)) = answers.first() {
        let all = answers
            .iter()
            .map(|(node, a)| format!("{node}: {}", a.message));
        let text = all.collect::<Vec<_>>().join("; ");
        return refused(first.reason).because(text);
    }
    let said = Said::new(kind, ConditionStatus::True, Reason::Valid);
    // Those that have a condition of their own are told there.
    let odd = texts(of(Severity::Warning).filter(|f| condition_of(f.cause).is_none()));
    if odd.is_empty() {
        said
    } else {
        said.because(format!("{}, but: {odd}", Reason::Valid.text()))
    }
}

pub(super) fn texts<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let texts = findings.map(|f| format!("{}: {}", f.path, f.message));
    texts.collect::<Vec<_>>().join("; ")
}

/// The abnormal condition that a warning is.
const fn condition_of(cause: Cause) -> Option<(ConditionType, Reason)> {
    match cause {
        Cause::Rule
        | Cause::Taken
        | Cause::NoCandidates
        | Cause::RouterMissing
        | Cause::NotAllowed
        | Cause::ConfigMapMissing => None,
        Cause::CandidateMissing => Some((ConditionType::Degraded, Reason::CandidatesMissing)),
        Cause::InterfaceMissing => Some((ConditionType::Degraded, Reason::InterfaceMissing)),
        Cause::ForeignVrid => Some((ConditionType::VridConflict, Reason::ForeignAdvertisements)),
    }
}

fn of_findings<'a>(sources: &Sources<'a>) -> impl Iterator<Item = Said> + use<'a> {
    let accepted = !sources.refused;
    let findings = sources.findings.iter();
    let warnings = findings.filter(move |f| accepted && f.severity == Severity::Warning);
    warnings.filter_map(|finding| {
        let (kind, reason) = condition_of(finding.cause)?;
        let said = Said::new(kind, ConditionStatus::True, reason);
        Some(said.because(format!("{}: {}", finding.path, finding.message)))
    })
}

fn of_elections(
    sources: &Sources<'_>,
    nodes: &[CandidateStatus],
    families: &[FamilyStatus],
) -> Vec<Said> {
    let mut all = Vec::new();
    let in_state = |family: &FamilyStatus, state| those(nodes, family.family, state);
    let holders = families.iter().map(|f| in_state(f, ElectionState::Active));
    let several: Vec<&str> = holders.filter(|all| all.len() > 1).flatten().collect();
    if !several.is_empty() {
        let mut names = several;
        names.sort_unstable();
        names.dedup();
        let text = format!("{}: {}", names.join(", "), Reason::SeveralActive.text());
        let said = Said::new(
            ConditionType::SplitBrain,
            ConditionStatus::True,
            Reason::SeveralActive,
        );
        all.push(said.because(text));
    }
    let vacant = families.iter().any(|f| {
        in_state(f, ElectionState::Active).is_empty()
            && in_state(f, ElectionState::Unknown).is_empty()
    });
    if sources.allocation.is_some() && !nodes.is_empty() && vacant && !sources.passing {
        all.push(Said::new(
            ConditionType::NoActive,
            ConditionStatus::True,
            Reason::NobodyActive,
        ));
    }
    all
}

fn ready(sources: &Sources<'_>, nodes: &[CandidateStatus], families: &[FamilyStatus]) -> Said {
    let kind = ConditionType::Ready;
    let no = |reason| Said::new(kind, ConditionStatus::False, reason);
    let unknown = |reason| Said::new(kind, ConditionStatus::Unknown, reason);
    let Some(allocation) = sources.allocation else {
        return no(Reason::NobodyActive);
    };
    if allocation.candidates.is_empty() {
        return no(Reason::NobodyActive);
    }
    if nodes.is_empty() || families.is_empty() {
        return unknown(Reason::Pending);
    }
    for family in families {
        let actives = those(nodes, family.family, ElectionState::Active);
        let silent = those(nodes, family.family, ElectionState::Unknown);
        match actives.as_slice() {
            [] if !silent.is_empty() => {
                let text = format!("{}: {}", silent.join(", "), Reason::StatusUnknown.text());
                return unknown(Reason::StatusUnknown).because(text);
            }
            [] if sources.passing => return before(sources).unwrap_or(unknown(Reason::Pending)),
            [] => return no(Reason::NobodyActive),
            [one] => {
                if !instance(sources, one, family.family).is_some_and(|i| i.programmed) {
                    return no(Reason::NotProgrammed);
                }
                if !sources.refused && !follows(sources, one) {
                    return unknown(Reason::Pending);
                }
            }
            [_, _, ..] => return no(Reason::SeveralActive),
        }
    }
    Said::new(kind, ConditionStatus::True, Reason::OneActive)
}

/// What was said of `Ready`.
fn before(sources: &Sources<'_>) -> Option<Said> {
    let status = sources.router.status.as_ref()?;
    Said::again(&status.conditions, ConditionType::Ready)
}

/// Whether the agent of `node` took, or refused, what the router says now.
fn follows(sources: &Sources<'_>, node: &str) -> bool {
    let config = sources.configs.get(node);
    let acceptance = config.and_then(|c| c.status.as_ref()?.acceptance.as_ref());
    let generation = sources.router.metadata.generation.unwrap_or_default();
    acceptance.is_none_or(|a| a.generation >= generation)
}

fn instance<'a>(
    sources: &Sources<'a>,
    node: &str,
    family: AddressFamily,
) -> Option<&'a InstanceStatus> {
    let status = sources.configs.get(node)?.status.as_ref()?;
    status.families.iter().find(|i| i.family == family)
}

/// What agents say is abnormal, with the node. One whose claim does not count is not heard: what it said is old.
fn of_agents(sources: &Sources<'_>) -> Vec<Said> {
    let mut all = Vec::new();
    for (node, config) in &sources.configs {
        let instances = config.status.iter().flat_map(|s| &s.families);
        let instances = instances.filter(|i| {
            i.state != ElectionState::Active
                || sources.counted.contains(&((*node).to_owned(), i.family))
        });
        let abnormal = |c: &&Condition| {
            c.status == ConditionStatus::True
                && !matches!(c.kind, ConditionType::Accepted | ConditionType::Ready)
        };
        for condition in instances.flat_map(|i| &i.conditions).filter(abnormal) {
            let said = Said::new(condition.kind, condition.status, condition.reason);
            all.push(said.because(format!("{node}: {}", condition.message)));
        }
    }
    // The reason comes from what does not change with the order of nodes.
    all.sort_by_key(Said::sort_key);
    all
}
