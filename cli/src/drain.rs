//! `drain` and `undrain`: a node that shall hold no address, and one that may again.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, sleep_until};
use vipkeeper_compiler::{Candidate, DRAIN_ANNOTATION, Reason};
use vipkeeper_crds::VirtualRouter;

use crate::cli::{Cli, DrainArgs, UndrainArgs};
use crate::client::{self, Unanswered, find};
use crate::knowledge::Knowledge;
use crate::objects::{self, NODES, Objects};
use crate::why::of_withdrawal;
use crate::{Outcome, output};

/// Between two looks while waiting.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// What becomes of a router that a drained node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Move {
    router: String,
    /// Who takes the addresses; or why nobody does, and the way out.
    to: Result<String, String>,
}

pub(crate) async fn drain(
    cli: &Cli,
    args: &DrainArgs,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    let client = client::client(cli).await?;
    let node = &args.node;
    let before = Objects::read(&client).await?;
    if before.node(node).is_none() {
        bail!("there is no Node {node}: `kubectl get nodes` lists all");
    }
    let moves = moves(&before, node, &Time(Timestamp::now()));
    annotate(&client, node, Some("true")).await?;
    out.write_all(announced(node, &moves).as_bytes())?;
    out.flush()?;
    let stuck = moves.iter().any(|m| m.to.is_err());
    if !args.waiting.wait {
        return Ok(if stuck { Outcome::Bad } else { Outcome::Good });
    }
    let held = leave(&client, node, &moves, args.waiting.timeout).await?;
    writeln!(out, "{}", ended(node, &held, args.waiting.timeout))?;
    Ok(if held.is_empty() {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

pub(crate) async fn undrain(
    cli: &Cli,
    args: &UndrainArgs,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    let client = client::client(cli).await?;
    let node = &args.node;
    let api: Api<Node> = Api::all(client.clone());
    let Some(object) = find(NODES, api.get(node)).await? else {
        bail!("there is no Node {node}: `kubectl get nodes` lists all");
    };
    if !object.annotations().contains_key(DRAIN_ANNOTATION) {
        writeln!(out, "{node} is not drained.")?;
        return Ok(Outcome::Good);
    }
    annotate(&client, node, None).await?;
    writeln!(out, "{node} may hold addresses again.{}", remark(&object))?;
    Ok(Outcome::Good)
}

/// Whether something else keeps the node out of use.
fn remark(node: &Node) -> &'static str {
    let cordoned = node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true);
    if cordoned {
        " It is still cordoned, which keeps it below all others: kubectl uncordon"
    } else {
        ""
    }
}

async fn annotate(client: &Client, node: &str, value: Option<&str>) -> Result<(), Unanswered> {
    let api: Api<Node> = Api::all(client.clone());
    objects::annotate(&api, NODES, node, (DRAIN_ANNOTATION, value)).await
}

/// Waits until `node` holds nothing but what cannot move, for `timeout` at most; what it holds in the end.
async fn leave(
    client: &Client,
    node: &str,
    moves: &[Move],
    timeout: Duration,
) -> Result<Vec<String>, Unanswered> {
    let deadline = Instant::now() + timeout;
    loop {
        let configs = objects::configs(client, Some(node)).await?;
        let active = configs.iter().filter(|c| objects::is_active(c));
        let held: Vec<String> = active.filter_map(|c| c.spec.router.clone()).collect();
        let stuck = |router: &String| {
            let mut moves = moves.iter();
            moves.any(|m| m.router == *router && m.to.is_err())
        };
        let next = Instant::now() + PAUSE;
        if held.iter().all(stuck) || next > deadline {
            return Ok(held);
        }
        sleep_until(next).await;
    }
}

/// What becomes of each router that `node` holds once it is drained.
fn moves(objects: &Objects, node: &str, now: &Time) -> Vec<Move> {
    let drained = |object: &Node| {
        let mut object = object.clone();
        if object.name_any() == node {
            object
                .annotations_mut()
                .insert(DRAIN_ANNOTATION.to_owned(), "true".to_owned());
        }
        object
    };
    let knowledge = Knowledge::with(objects, now, drained);
    let held = objects.routers.iter().filter(|router| {
        let reported = objects.config(&router.name_any(), node);
        objects::actives(router).any(|row| row.name == node)
            || reported.is_some_and(objects::is_active)
    });
    held.map(|router| Move {
        router: router.name_any(),
        to: destination(&knowledge, router, node),
    })
    .collect()
}

/// Who takes `router` from `node`.
fn destination(
    knowledge: &Knowledge,
    router: &VirtualRouter,
    node: &str,
) -> Result<String, String> {
    let Some(allocation) = knowledge.allocation(&router.name_any()) else {
        return Err("it is refused, so that nothing about it changes: mend it first".to_owned());
    };
    let candidates = allocation.candidates.iter();
    let own = candidates.clone().find(|c| c.node == node);
    let others: Vec<&Candidate> = candidates.filter(|c| c.node != node).collect();
    let Some(best) = others.iter().max_by_key(|c| c.priority) else {
        return Err("no other node takes part: let more nodes match spec.nodes".to_owned());
    };
    if own.is_some_and(|own| own.priority == 255) {
        return Err(
            "it owns the addresses (priority 255), which its own configuration has".to_owned(),
        );
    }
    if own.is_some_and(|own| own.priority >= best.priority) {
        let why = others
            .iter()
            .map(|c| format!("{} ({})", c.node, unusable(c.reason)));
        return Err(format!(
            "every other candidate shall not be used either: {}",
            output::list(&why.collect::<Vec<_>>())
        ));
    }
    Ok(best.node.clone())
}

fn unusable(reason: Reason) -> &'static str {
    match reason {
        Reason::Withdrawn(why) => of_withdrawal(why),
        Reason::Listed | Reason::Pinned | Reason::Kept | Reason::Chosen => "its priority is lower",
    }
}

fn announced(node: &str, moves: &[Move]) -> String {
    let mut text = format!("{node} is drained: it comes below all others.\n");
    if moves.is_empty() {
        writeln!(text, "It holds no addresses.").ok();
    }
    for Move { router, to } in moves {
        match to {
            Ok(to) => writeln!(text, "{router}: moves to {to}"),
            Err(why) => writeln!(text, "{router}: stays: {why}"),
        }
        .ok();
    }
    text
}

fn ended(node: &str, held: &[String], timeout: Duration) -> String {
    if held.is_empty() {
        return format!("{node} is Active for nothing.");
    }
    format!(
        "{node} is still Active for {} (waited {} at most): `kubectl vipkeeper why {}` tells more",
        output::list(held),
        output::many(
            usize::try_from(timeout.as_secs()).unwrap_or(usize::MAX),
            "second"
        ),
        held.first().map_or("", String::as_str)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::{at, three};

    fn of(objects: &Objects, node: &str) -> Vec<Move> {
        moves(objects, node, &at(0))
    }

    #[test]
    fn what_a_drained_node_holds_goes_to_the_next() {
        let objects = three("a", json!({}));
        let moves = of(&objects, "a");
        assert_eq!(
            moves,
            [Move {
                router: "web".to_owned(),
                to: Ok("b".to_owned())
            }]
        );
        assert_eq!(
            announced("a", &moves),
            "a is drained: it comes below all others.\nweb: moves to b\n"
        );
    }

    #[test]
    fn a_node_that_holds_nothing_says_so() {
        let objects = three("a", json!({}));
        assert!(announced("b", &of(&objects, "b")).ends_with("It holds no addresses.\n"));
    }

    fn stays(objects: &Objects) -> String {
        of(objects, "a").remove(0).to.unwrap_err()
    }

    #[test]
    fn what_cannot_move_says_why() {
        let single = json!({"spec": {"nodes": {"priorities": [{"node": "a", "priority": 100}]}}});
        assert!(stays(&three("a", single)).starts_with("no other node takes part"));

        let owner = json!({"spec": {"nodes": {"priorities": [{"node": "a", "priority": 255}, {"node": "b", "priority": 100}]}}});
        assert!(stays(&three("a", owner)).starts_with("it owns the addresses"));

        let mut cordoned = three("a", json!({}));
        for node in &mut cordoned.nodes {
            node.spec = serde_json::from_value(json!({"unschedulable": true})).unwrap();
        }
        let said = stays(&cordoned);
        assert_eq!(
            said,
            "every other candidate shall not be used either: b (its Node is cordoned) and c (its Node is cordoned)"
        );

        let refused = three(
            "a",
            json!({"spec": {"addresses": [{"address": "nonsense"}]}}),
        );
        assert!(stays(&refused).starts_with("it is refused"));
    }

    #[test]
    fn listed_priorities_move_as_well() {
        let listed = json!({"spec": {"nodes": {"priorities": [
            {"node": "a", "priority": 200}, {"node": "b", "priority": 100}, {"node": "c", "priority": 150}]}}});
        assert_eq!(of(&three("a", listed), "a")[0].to, Ok("c".to_owned()));
    }

    #[test]
    fn the_end_names_what_is_still_held() {
        assert_eq!(
            ended("a", &[], Duration::from_secs(60)),
            "a is Active for nothing."
        );
        let said = ended("a", &["web".to_owned()], Duration::from_secs(60));
        assert!(
            said.starts_with("a is still Active for web (waited 60 seconds at most)"),
            "{said}"
        );
    }
}
