//! `why`: why this node holds a router's addresses, and the others do not; and why a virtual server serves, or does not.

mod reasons;
mod server;
mod target;

pub(crate) use reasons::of_withdrawal;

use std::cmp::Reverse;
use std::io::Write;

use anyhow::bail;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;
use vipkeeper_compiler::{Candidate, absences};
use vipkeeper_crds::conditions::ConditionType;
use vipkeeper_crds::status::{ElectionState, InstanceStatus, NodeConfigStatus};
use vipkeeper_crds::{AddressFamily, PreemptionMode, VirtualRouter};

use crate::cli::{Cli, WhyArgs};
use crate::knowledge::Knowledge;
use crate::objects::Objects;
use crate::status::{Abnormal, by_family, report, sentence};
use crate::table::Table;
use crate::{Outcome, age, client, objects, output};
use target::Target;

/// How many nodes without a part the text lists.
const BYSTANDERS: usize = 20;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    router: String,
    /// Whether it breaks no rule.
    accepted: bool,
    ready: String,
    virtual_router_id: Option<u8>,
    families: Vec<FamilyExplanation>,
    /// Candidates, the highest priority first, then all others by name.
    nodes: Vec<NodeExplanation>,
    /// What the compiler says of the router.
    findings: Vec<Said>,
    abnormal: Vec<Abnormal>,
}

/// Who holds the addresses of a family.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyExplanation {
    family: AddressFamily,
    /// Who says that it is Active; one, if all is well.
    active: Vec<String>,
    /// Why this one.
    why: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeExplanation {
    name: String,
    /// None if it takes no part.
    priority: Option<u8>,
    /// `Listed`, `Pinned`, `Kept`, `Chosen`, `Withdrawn` or `NoPart`.
    place: &'static str,
    /// As its agent reports.
    states: Vec<InstanceStatus>,
    /// Why it has its place, and what keeps it from being Active.
    why: Vec<String>,
}

/// A finding of the compiler.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    severity: String,
    path: String,
    message: String,
}

pub(crate) async fn run(
    cli: &Cli,
    args: &WhyArgs,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    let target = Target::of(&args.target, args.namespace.as_deref());
    match target.map_err(anyhow::Error::msg)? {
        Target::Router(name) => of_router(cli, args, &name, out).await,
        Target::Server { namespace, name } => {
            of_server(cli, args, namespace.as_deref(), &name, out).await
        }
    }
}

async fn of_server(
    cli: &Cli,
    args: &WhyArgs,
    namespace: Option<&str>,
    name: &str,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    let client = client::client(cli).await?;
    let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
    let Some(server) = objects::server(&client, &namespace, name).await? else {
        bail!("there is no VirtualServer {namespace}/{name}: `kubectl get vks -A` lists all");
    };
    let router = objects::router(&client, &server.spec.router_ref.name).await?;
    let configs = objects::configs(&client, None).await?;
    let explanation = server::explain(&server, router.as_ref(), &configs);
    let text = match args.output {
        Some(format) => output::data(&explanation, format)?,
        None => server::text(&explanation, &Time(Timestamp::now())),
    };
    out.write_all(text.as_bytes())?;
    Ok(server::outcome(&explanation))
}

async fn of_router(
    cli: &Cli,
    args: &WhyArgs,
    name: &str,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    let client = client::client(cli).await?;
    let objects = Objects::read(&client).await?;
    let now = Time(Timestamp::now());
    let Some(router) = objects.router(name) else {
        bail!(
            "there is no VirtualRouter {name}: `kubectl get vkr` lists all; a VirtualServer is named NAMESPACE/NAME"
        );
    };
    let explanation = explain(&objects, router, &now);
    let text = match args.output {
        Some(format) => output::data(&explanation, format)?,
        None => text(&explanation, &now),
    };
    out.write_all(text.as_bytes())?;
    Ok(outcome(&explanation))
}

fn outcome(explanation: &Explanation) -> Outcome {
    if explanation.accepted && explanation.ready == "True" {
        Outcome::Good
    } else {
        Outcome::Bad
    }
}

fn explain(objects: &Objects, router: &VirtualRouter, now: &Time) -> Explanation {
    let name = router.name_any();
    let knowledge = Knowledge::of(objects, now);
    let allocation = knowledge.allocation(&name);
    let mut candidates: Vec<&Candidate> = allocation.iter().flat_map(|a| &*a.candidates).collect();
    candidates.sort_by_key(|c| Reverse(c.priority));
    let mut nodes: Vec<NodeExplanation> = candidates
        .iter()
        .map(|candidate| of_candidate(objects, &name, candidate))
        .collect();
    let families = families(router, &nodes);
    let others = absences(&knowledge.index, &knowledge.allocations, &name);
    nodes.extend(others.into_iter().map(|(node, why)| NodeExplanation {
        name: node,
        priority: None,
        place: "NoPart",
        states: Vec::new(),
        why: vec![why.to_string()],
    }));
    let seen = report(router);
    let findings = knowledge.findings(&name).into_iter();
    let findings: Vec<Said> = findings
        .map(|f| Said {
            severity: f.severity.to_string(),
            path: f.path.clone(),
            message: f.message.clone(),
        })
        .collect();
    // What the findings say is said once.
    let is_said = |a: &Abnormal| {
        let whole = |f: &Said| a.message == format!("{}: {}", f.path, f.message);
        let refused = allocation.is_none() && a.condition == Some(ConditionType::Accepted);
        refused || findings.iter().any(whole)
    };
    Explanation {
        accepted: allocation.is_some(),
        ready: seen.ready,
        virtual_router_id: allocation.map(|a| a.virtual_router_id),
        families,
        nodes,
        abnormal: seen.abnormal.into_iter().filter(|a| !is_said(a)).collect(),
        findings,
        router: name,
    }
}

fn of_candidate(objects: &Objects, router: &str, candidate: &Candidate) -> NodeExplanation {
    let node = &candidate.node;
    let config = objects.config(router, node);
    let status = config.and_then(|c| c.status.as_ref());
    let states = status.map_or_else(Vec::new, |s| s.families.clone());
    let mut why = vec![reasons::of_place(candidate)];
    if config.is_none() {
        why.push("the operator has not written its NodeConfig yet".to_owned());
    } else if objects.inventory(node).is_none() && states.is_empty() {
        why.push("no agent reports from there".to_owned());
    } else if states.is_empty() {
        why.push("its agent has not reported on this router yet".to_owned());
    }
    why.extend(status.and_then(refusal));
    // What the agent was given: the operator may be about to write another.
    let given = config.and_then(|c| c.spec.config.as_ref());
    let given = given.map_or(candidate.priority, |c| c.priority);
    why.extend(states.iter().filter_map(|s| hindrance(s, given)));
    why.dedup();
    NodeExplanation {
        name: node.clone(),
        priority: Some(candidate.priority),
        place: reasons::word(candidate.reason),
        states,
        why,
    }
}

/// Said if the agent does not take the configuration.
fn refusal(status: &NodeConfigStatus) -> Option<String> {
    let acceptance = status.acceptance.as_ref().filter(|a| !a.accepted)?;
    let reason = output::name(&acceptance.reason);
    Some(format!(
        "its agent refuses the configuration ({reason}): {}",
        acceptance.message
    ))
}

/// Said if an election does not go by the priority that was given.
fn hindrance(state: &InstanceStatus, given: u8) -> Option<String> {
    let family = state.family;
    match state.state {
        ElectionState::Initialize => Some(format!(
            "takes no part in {family}: {}",
            reasons::of_transition(&state.reason)
        )),
        ElectionState::Unknown => Some(format!(
            "said that it is Active for {family}, and does not confirm it"
        )),
        ElectionState::Active | ElectionState::Backup
            if state.effective_priority != i64::from(given) =>
        {
            Some(format!(
                "takes part in {family} with priority {}",
                state.effective_priority
            ))
        }
        ElectionState::Active | ElectionState::Backup => None,
    }
}

/// For each family who holds the addresses, and why.
fn families(router: &VirtualRouter, nodes: &[NodeExplanation]) -> Vec<FamilyExplanation> {
    let mut all: Vec<AddressFamily> = router
        .spec
        .addresses
        .iter()
        .filter_map(|a| a.address.parse().ok())
        .map(|a| AddressFamily::of(&a))
        .collect();
    all.sort_unstable();
    all.dedup();
    let families = all.into_iter().map(|family| {
        let is_active = |n: &&NodeExplanation| state(n, family).is_some_and(active);
        let holders: Vec<&NodeExplanation> = nodes.iter().filter(is_active).collect();
        FamilyExplanation {
            family,
            active: holders.iter().map(|n| n.name.clone()).collect(),
            why: match holders.as_slice() {
                [] => nobody(nodes, family),
                [one] => why_this(router, nodes, one, family),
                several => format!(
                    "{} say that they are Active: if that stays, they do not hear each other's advertisements",
                    output::list(&several.iter().map(|n| &n.name).collect::<Vec<_>>())
                ),
            },
        }
    });
    families.collect()
}

fn active(state: &InstanceStatus) -> bool {
    state.state == ElectionState::Active
}

fn state(node: &NodeExplanation, family: AddressFamily) -> Option<&InstanceStatus> {
    node.states.iter().find(|s| s.family == family)
}

fn nobody(nodes: &[NodeExplanation], family: AddressFamily) -> String {
    let reporting = nodes.iter().filter(|n| state(n, family).is_some()).count();
    match (nodes.len(), reporting) {
        (0, _) => "nobody is Active: no node takes part".to_owned(),
        (_, 0) => "nobody is known to be Active: no agent of a candidate reports".to_owned(),
        (all, some) => format!("nobody is Active: {some} of {all} candidates report"),
    }
}

fn why_this(
    router: &VirtualRouter,
    nodes: &[NodeExplanation],
    holder: &NodeExplanation,
    family: AddressFamily,
) -> String {
    let own = holder.priority.unwrap_or(0);
    let higher = nodes.iter().filter(|n| n.priority > holder.priority);
    let despite: Vec<String> = higher
        .map(|n| format!("{} ({})", n.name, passed_over(router, holder, n, family)))
        .collect();
    let why = if despite.is_empty() {
        format!(
            "{} is Active: its priority, {own}, is the highest",
            holder.name
        )
    } else {
        format!(
            "{} is Active with priority {own}, though higher is {}",
            holder.name,
            output::list(&despite)
        )
    };
    let became = state(holder, family).map_or("", |s| s.reason.as_str());
    if became.is_empty() {
        why
    } else {
        format!(
            "{why}. It became Active because {}",
            reasons::of_transition(became)
        )
    }
}

/// Why `node` is not Active though its priority is higher than the holder's.
fn passed_over(
    router: &VirtualRouter,
    holder: &NodeExplanation,
    node: &NodeExplanation,
    family: AddressFamily,
) -> String {
    let held = state(holder, family).map_or(0, |s| s.effective_priority);
    let preemption = &router.spec.preemption;
    match state(node, family) {
        None => "its agent does not report".to_owned(),
        Some(s) if s.state == ElectionState::Initialize => {
            format!("it takes no part: {}", reasons::of_transition(&s.reason))
        }
        Some(s) if s.effective_priority <= held => {
            format!("it takes part with priority {}", s.effective_priority)
        }
        Some(_) => match (preemption.mode, &preemption.delay) {
            (PreemptionMode::Never, _) => {
                "spec.preemption.mode is Never: it waits until the holder leaves".to_owned()
            }
            (PreemptionMode::Delayed, Some(delay)) => {
                format!("it takes over {delay} after it heard the lower priority")
            }
            (PreemptionMode::Delayed, None) | (PreemptionMode::Always, _) => {
                "it is about to take over".to_owned()
            }
        },
    }
}

fn text(explanation: &Explanation, now: &Time) -> String {
    let mut text = format!("VirtualRouter {}", explanation.router);
    match explanation.virtual_router_id {
        Some(vrid) => text.push_str(&format!(": VRID {vrid}, Ready {}\n", explanation.ready)),
        None => text.push_str(": refused; what it ran before runs on\n"),
    }
    let families = explanation.families.iter();
    for family in families.filter(|_| explanation.accepted) {
        text.push_str(&format!("{}: {}.\n", family.family, family.why));
    }
    if !explanation.nodes.is_empty() {
        text.push('\n');
        text.push_str(&nodes_table(explanation, now));
    }
    for Said {
        severity,
        path,
        message,
    } in &explanation.findings
    {
        text.push_str(&format!("\n{severity}: {path}: {message}\n"));
    }
    for abnormal in &explanation.abnormal {
        text.push_str(&format!("\n{}\n", sentence(abnormal)));
        if !abnormal.remedy.is_empty() {
            text.push_str(&format!("  {}\n", abnormal.remedy));
        }
    }
    text
}

fn nodes_table(explanation: &Explanation, now: &Time) -> String {
    let mut table = Table::new(&["NODE", "PRIORITY", "STATE", "SINCE", "WHY"]);
    let absent = |n: &&NodeExplanation| n.priority.is_none();
    let present = explanation.nodes.iter().filter(|n| !absent(n));
    let bystanders = explanation.nodes.iter().filter(absent);
    let count = bystanders.clone().count();
    for node in present.chain(bystanders.take(BYSTANDERS)) {
        let each = |value: &dyn Fn(&InstanceStatus) -> Option<String>| {
            let all: Vec<_> = node.states.iter().map(|s| (s.family, value(s))).collect();
            by_family(&all)
        };
        table.row(vec![
            node.name.clone(),
            node.priority.map_or_else(String::new, |p| p.to_string()),
            each(&|s| Some(output::name(&s.state))),
            each(&|s| s.since.as_ref().map(|since| age::since(since, now))),
            node.why.join("; "),
        ]);
    }
    let mut text = table.lines();
    if count > BYSTANDERS {
        let more = count.saturating_sub(BYSTANDERS);
        text.push_str(&format!(
            "and {more} more nodes without a part: -o json lists all\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests;
