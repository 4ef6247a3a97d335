//! `failover`: a router's addresses go to another node.

use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, sleep_until};
use vipkeeper_compiler::{ACTIVE_NODE_ANNOTATION, Candidate, Reason, Severity, absences};
use vipkeeper_crds::status::ElectionState;
use vipkeeper_crds::{PreemptionMode, VirtualRouter};

use crate::cli::{Cli, FailoverArgs};
use crate::client::{self, Unanswered};
use crate::drain::PAUSE;
use crate::knowledge::Knowledge;
use crate::objects::{self, Objects, ROUTERS};
use crate::why::of_withdrawal;
use crate::{Outcome, output};

pub(crate) async fn run(
    cli: &Cli,
    args: &FailoverArgs,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    let client = client::client(cli).await?;
    let name = &args.router;
    let objects = Objects::read(&client).await?;
    let Some(router) = objects.router(name) else {
        bail!("there is no VirtualRouter {name}: `kubectl get vkr` lists all");
    };
    if args.clear {
        return clear(&client, router, out).await;
    }
    let node = match choose(
        &objects,
        router,
        args.to.as_deref(),
        &Time(Timestamp::now()),
    ) {
        Ok(node) => node,
        Err(why) => {
            writeln!(out, "{name}: refused: {why}")?;
            return Ok(Outcome::Bad);
        }
    };
    annotate(&client, name, Some(&node)).await?;
    writeln!(
        out,
        "{name}: {node} comes first until `kubectl vipkeeper failover {name} --clear`"
    )?;
    out.flush()?;
    if !args.waiting.wait {
        return Ok(Outcome::Good);
    }
    let arrived = arrive(&client, router, &node, args.waiting.timeout).await?;
    if arrived {
        writeln!(out, "{name}: {node} is Active.")?;
        return Ok(Outcome::Good);
    }
    writeln!(
        out,
        "{name}: {node} is not Active within {}: `kubectl vipkeeper why {name}` tells more",
        output::many(
            usize::try_from(args.waiting.timeout.as_secs()).unwrap_or(usize::MAX),
            "second"
        )
    )?;
    Ok(Outcome::Bad)
}

async fn clear(
    client: &Client,
    router: &VirtualRouter,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    let name = router.name_any();
    match router.annotations().get(ACTIVE_NODE_ANNOTATION) {
        None => writeln!(out, "{name}: no node is named; nothing to clear")?,
        Some(node) => {
            annotate(client, &name, None).await?;
            writeln!(
                out,
                "{name}: {node} is no longer named; its holder keeps the addresses"
            )?;
        }
    }
    Ok(Outcome::Good)
}

async fn annotate(client: &Client, router: &str, node: Option<&str>) -> Result<(), Unanswered> {
    let api: Api<VirtualRouter> = Api::all(client.clone());
    objects::annotate(&api, ROUTERS, router, (ACTIVE_NODE_ANNOTATION, node)).await
}

/// Waits until the agent of `node` says that it is Active for every family, and no other agent does; `false` if that
/// takes longer than `timeout`.
async fn arrive(
    client: &Client,
    router: &VirtualRouter,
    node: &str,
    timeout: Duration,
) -> Result<bool, Unanswered> {
    let deadline = Instant::now() + timeout;
    loop {
        let configs = objects::configs(client, None).await?;
        let of_router = |c: &&vipkeeper_crds::NodeConfig| c.spec.router == router.metadata.name;
        let reported: Vec<_> = configs.iter().filter(of_router).collect();
        let others = reported.iter().filter(|c| c.spec.node_name != node);
        let holds_all = reported.iter().any(|c| {
            let families = c.status.iter().flat_map(|s| &s.families);
            let mut states = families.map(|f| f.state).peekable();
            let some = states.peek().is_some();
            c.spec.node_name == node && some && states.all(|s| s == ElectionState::Active)
        });
        if holds_all && !others.into_iter().any(|c| objects::is_active(c)) {
            return Ok(true);
        }
        let next = Instant::now() + PAUSE;
        if next > deadline {
            return Ok(false);
        }
        sleep_until(next).await;
    }
}

/// The node that `router` goes to, or why it cannot go there.
fn choose(
    objects: &Objects,
    router: &VirtualRouter,
    to: Option<&str>,
    now: &Time,
) -> Result<String, String> {
    let name = router.name_any();
    let knowledge = Knowledge::of(objects, now);
    let Some(allocation) = knowledge.allocation(&name) else {
        let errors = knowledge.findings(&name).into_iter();
        let errors = errors.filter(|f| f.severity == Severity::Error);
        let errors = errors.map(|f| format!("{}: {}", f.path, f.message));
        let errors: Vec<String> = errors.collect();
        return Err(format!(
            "the router itself is refused: {}",
            errors.join("; ")
        ));
    };
    if !router.spec.nodes.priorities.is_empty() {
        return Err(
            "spec.nodes.priorities decides who comes first: change the priorities, or leave them out"
                .to_owned(),
        );
    }
    let node = match to {
        Some(node) => {
            let candidate = allocation.candidates.iter().find(|c| c.node == node);
            usable(objects, &knowledge, &name, node, candidate)?;
            node.to_owned()
        }
        None => next(objects, &name, &allocation.candidates)?,
    };
    let is_active = |c| objects::is_active(c);
    if router.spec.preemption.mode == PreemptionMode::Never
        && !objects.config(&name, &node).is_some_and(is_active)
    {
        return Err(format!(
            "spec.preemption.mode is Never, and {node} would wait until the holder leaves: say Always or Delayed first"
        ));
    }
    Ok(node)
}

/// Whether `node` can be named.
fn usable(
    objects: &Objects,
    knowledge: &Knowledge,
    router: &str,
    node: &str,
    candidate: Option<&Candidate>,
) -> Result<(), String> {
    if objects.node(node).is_none() {
        return Err(format!("there is no Node {node}"));
    }
    if let Some(why) = candidate.and_then(withdrawn) {
        return Err(format!("{node} shall not be used: {why}"));
    }
    let absences = absences(&knowledge.index, &knowledge.allocations, router);
    match absences.get(node) {
        // It matches: naming it makes it one of those that take part.
        None | Some(vipkeeper_compiler::Absence::Surplus(_)) => Ok(()),
        Some(why) => Err(format!("{node} is no candidate: {why}")),
    }
}

fn withdrawn(candidate: &Candidate) -> Option<&'static str> {
    match candidate.reason {
        Reason::Withdrawn(why) => Some(of_withdrawal(why)),
        Reason::Listed | Reason::Pinned | Reason::Kept | Reason::Chosen => None,
    }
}

/// The candidate of the highest priority that does not hold the addresses and may be used; one that reports itself
/// Backup before one that does not.
fn next(objects: &Objects, router: &str, candidates: &[Candidate]) -> Result<String, String> {
    let states = |node: &str| {
        let config = objects.config(router, node);
        let families = config.and_then(|c| c.status.as_ref());
        families.map_or_else(Vec::new, |s| s.families.iter().map(|f| f.state).collect())
    };
    let usable = candidates.iter().filter(|c| withdrawn(c).is_none());
    let free = usable.filter(|c| !states(&c.node).contains(&ElectionState::Active));
    let best = free.max_by_key(|c| {
        let states = states(&c.node);
        let backup = !states.is_empty() && states.iter().all(|s| *s == ElectionState::Backup);
        (backup, c.priority)
    });
    best.map(|c| c.node.clone()).ok_or_else(|| {
        "no other candidate may be used: `kubectl vipkeeper why` tells more".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::tests::{at, config, node, three};

    fn chosen(objects: &Objects, to: Option<&str>) -> Result<String, String> {
        choose(objects, &objects.routers[0], to, &at(0))
    }

    fn refused(patch: Value, to: Option<&str>) -> String {
        chosen(&three("a", patch), to).unwrap_err()
    }

    #[test]
    fn without_a_name_the_next_candidate_takes_over() {
        let mut objects = three("a", json!({}));
        assert_eq!(chosen(&objects, None), Ok("b".to_owned()));
        // One that reports before one that does not.
        objects.configs[1] = config("web", "b", "Initialize", json!({}));
        assert_eq!(chosen(&objects, None), Ok("c".to_owned()));
    }

    #[test]
    fn a_named_candidate_takes_over_and_one_that_stands_by_as_well() {
        let mut objects = three("a", json!({"spec": {"nodes": {"maxCandidates": 3}}}));
        assert_eq!(chosen(&objects, Some("c")), Ok("c".to_owned()));
        objects.nodes.push(node("d", json!({})));
        assert_eq!(chosen(&objects, Some("d")), Ok("d".to_owned()));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let listed = json!({"spec": {"nodes": {"priorities": [{"node": "a", "priority": 100}, {"node": "b", "priority": 50}]}}});
        assert!(refused(listed, Some("b")).starts_with("spec.nodes.priorities decides"));
        assert_eq!(refused(json!({}), Some("z")), "there is no Node z");
        let never = json!({"spec": {"preemption": {"mode": "Never"}}});
        assert!(refused(never, Some("b")).contains("preemption.mode is Never"));
        let broken = json!({"spec": {"addresses": [{"address": "nonsense"}]}});
        assert!(
            refused(broken, None)
                .starts_with("the router itself is refused: spec.addresses[0].address: ")
        );

        let mut objects = three("a", json!({}));
        let windows = json!({"metadata": {"labels": {"kubernetes.io/os": "windows"}}});
        objects.nodes[2] = node("c", windows);
        assert_eq!(
            chosen(&objects, Some("c")).unwrap_err(),
            "c is no candidate: its label kubernetes.io/os says windows"
        );
        let drained = json!({"metadata": {"annotations": {"vipkeeper.io/drain": "true"}}});
        objects.nodes[1] = node("b", drained);
        assert_eq!(
            chosen(&objects, Some("b")).unwrap_err(),
            "b shall not be used: its Node has the annotation vipkeeper.io/drain"
        );
        assert!(
            chosen(&objects, None)
                .unwrap_err()
                .starts_with("no other candidate")
        );
    }
}
