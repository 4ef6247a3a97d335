//! `status`: who holds each router's addresses, what is served on them, and what is not as it should be.

mod servers;

use std::io::Write;

use anyhow::bail;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;
use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::status::VirtualRouterStatus;
use vipkeeper_crds::{AddressFamily, VirtualRouter};

use crate::cli::{Cli, StatusArgs};
use crate::remedy::{is_abnormal, remedy};
use crate::table::Table;
use crate::{Outcome, age, client, objects, output};
use servers::ServerReport;
pub(crate) use servers::report as of_server;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) routers: Vec<RouterReport>,
    /// What is served on their addresses, by namespace and name.
    pub(crate) servers: Vec<ServerReport>,
}

/// A router.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouterReport {
    pub(crate) name: String,
    /// `True`, `False` or `Unknown`.
    pub(crate) ready: String,
    pub(crate) families: Vec<Holder>,
    pub(crate) virtual_router_id: Option<i64>,
    pub(crate) addresses: Vec<String>,
    /// How many candidates report of how many, `3/3`.
    pub(crate) candidates: String,
    /// What is not as it should be.
    pub(crate) abnormal: Vec<Abnormal>,
}

/// Who holds the addresses of a family.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Holder {
    pub(crate) family: AddressFamily,
    pub(crate) active: Option<String>,
    pub(crate) since: Option<Time>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Abnormal {
    /// The condition; none if there is no status of now.
    pub(crate) condition: Option<ConditionType>,
    pub(crate) status: Option<ConditionStatus>,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: String,
    /// What to do; may be empty.
    pub(crate) remedy: String,
}

pub(crate) async fn run(
    cli: &Cli,
    args: &StatusArgs,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    let client = client::client(cli).await?;
    let mut routers = objects::routers(&client).await?;
    for name in &args.routers {
        if !routers.iter().any(|r| r.name_any() == *name) {
            bail!("there is no VirtualRouter {name}: `kubectl get vkr` lists all");
        }
    }
    routers.retain(|r| args.routers.is_empty() || args.routers.contains(&r.name_any()));
    let mut servers = objects::servers(&client).await?;
    let named = |name: &String| args.routers.is_empty() || args.routers.contains(name);
    servers.retain(|s| named(&s.spec.router_ref.name));
    let report = Report {
        routers: routers.iter().map(report).collect(),
        servers: servers.iter().map(servers::report).collect(),
    };
    let text = match args.output {
        Some(format) => output::data(&report, format)?,
        None => text(&report, &Time(Timestamp::now())),
    };
    out.write_all(text.as_bytes())?;
    Ok(outcome(&report))
}

/// Good only if all is well.
fn outcome(report: &Report) -> Outcome {
    let well = |r: &RouterReport| r.ready == "True" && r.abnormal.is_empty();
    let serves = |s: &ServerReport| s.ready == "True" && s.abnormal.is_empty();
    if report.routers.iter().all(well) && report.servers.iter().all(serves) {
        Outcome::Good
    } else {
        Outcome::Bad
    }
}

/// What there is to say of `router`.
pub(crate) fn report(router: &VirtualRouter) -> RouterReport {
    let nothing = VirtualRouterStatus::default();
    let status = router.status.as_ref().unwrap_or(&nothing);
    let seen = router.status.as_ref().map(|s| s.observed_generation);
    let written = router.metadata.generation.unwrap_or_default();
    let (ready, abnormal) = abnormal("router", written, seen, &status.conditions);
    RouterReport {
        name: router.name_any(),
        ready,
        families: status
            .families
            .iter()
            .map(|f| Holder {
                family: f.family,
                active: f.active_node.clone(),
                since: f.since.clone(),
            })
            .collect(),
        virtual_router_id: status.virtual_router_id,
        addresses: router
            .spec
            .addresses
            .iter()
            .map(|a| a.address.clone())
            .collect(),
        candidates: status.node_summary.clone(),
        abnormal,
    }
}

/// The status of `Ready` of an object of this `kind`, and what is not as it should be.
fn abnormal(
    kind: &str,
    written: i64,
    seen: Option<i64>,
    conditions: &[Condition],
) -> (String, Vec<Abnormal>) {
    let ready = conditions.iter().find(|c| c.kind == ConditionType::Ready);
    let ready = ready.map_or("Unknown", |c| c.status.as_str()).to_owned();
    let conditions = conditions.iter().filter(|c| is_abnormal(c));
    let conditions = conditions.map(|c| Abnormal {
        condition: Some(c.kind),
        status: Some(c.status),
        reason: Some(c.reason),
        message: c.message.clone(),
        remedy: remedy(c.reason).to_owned(),
    });
    let stale = stale(kind, written, seen);
    (ready, stale.into_iter().chain(conditions).collect())
}

/// Said if the status is not about the object as it is written now.
fn stale(kind: &str, written: i64, looked_at: Option<i64>) -> Option<Abnormal> {
    let message = match looked_at {
        None => format!("no operator has looked at this {kind} yet"),
        Some(seen) if seen < written => {
            format!(
                "the operator has not looked at the last edit yet (generation {written}, it knows {seen})"
            )
        }
        Some(_) => return None,
    };
    Some(Abnormal {
        condition: None,
        status: None,
        reason: None,
        message,
        remedy: "see that the operator runs: `kubectl vipkeeper doctor`".to_owned(),
    })
}

fn text(report: &Report, now: &Time) -> String {
    let mut text = if report.routers.is_empty() {
        "There is no VirtualRouter.\n".to_owned()
    } else {
        table_of_routers(report, now)
    };
    if !report.servers.is_empty() {
        text.push('\n');
        text.push_str(&servers::table(&report.servers));
    }
    for router in &report.routers {
        for abnormal in &router.abnormal {
            text.push_str(&format!("\n{}: {}\n", router.name, sentence(abnormal)));
            if !abnormal.remedy.is_empty() {
                text.push_str(&format!("  {}\n", abnormal.remedy));
            }
        }
    }
    text.push_str(&servers::remarks(&report.servers));
    text
}

fn table_of_routers(report: &Report, now: &Time) -> String {
    let mut table = Table::new(&[
        "NAME",
        "READY",
        "ACTIVE",
        "SINCE",
        "VRID",
        "ADDRESSES",
        "NODES",
    ]);
    for router in &report.routers {
        table.row(vec![
            router.name.clone(),
            router.ready.clone(),
            of_holders(&router.families, |h| h.active.clone()),
            of_holders(&router.families, |h| {
                h.since.as_ref().map(|since| age::since(since, now))
            }),
            router
                .virtual_router_id
                .map_or_else(String::new, |id| id.to_string()),
            addresses(&router.addresses),
            router.candidates.clone(),
        ]);
    }
    table.lines()
}

/// `SplitBrain (SeveralActive): node-a, node-b: …`.
pub(crate) fn sentence(abnormal: &Abnormal) -> String {
    match (&abnormal.condition, &abnormal.status, &abnormal.reason) {
        (Some(condition), Some(status), Some(reason)) => format!(
            "{} is {} ({}): {}",
            output::name(condition),
            status.as_str(),
            output::name(reason),
            abnormal.message
        ),
        (_, _, _) => abnormal.message.clone(),
    }
}

fn of_holders(families: &[Holder], value: impl Fn(&Holder) -> Option<String>) -> String {
    let values = families.iter().map(|h| (h.family, value(h)));
    by_family(&values.collect::<Vec<_>>())
}

/// One value if all families have the same, else each with its family; empty without any.
pub(crate) fn by_family(all: &[(AddressFamily, Option<String>)]) -> String {
    let values = all.iter().filter_map(|(f, v)| Some((f, v.as_ref()?)));
    let values: Vec<(&AddressFamily, &String)> = values.collect();
    let short = |family: &AddressFamily| match family {
        AddressFamily::V4 => "v4",
        AddressFamily::V6 => "v6",
    };
    match values.as_slice() {
        [] => String::new(),
        [(_, first), rest @ ..]
            if values.len() == all.len() && rest.iter().all(|(_, v)| v == first) =>
        {
            (*first).clone()
        }
        several => {
            let each = several.iter().map(|(f, v)| format!("{v} ({})", short(f)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// `192.0.2.1 +3`.
fn addresses(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::{at, router};

    fn ready(name: &str) -> VirtualRouter {
        router(
            name,
            json!({"status": {
                "observedGeneration": 1, "virtualRouterId": 7, "nodeSummary": "3/3",
                "families": [{"family": "IPv4", "virtualRouterId": 7, "activeNode": "a", "since": "2027-01-15T08:00:00Z"}],
                "conditions": [
                    {"type": "Accepted", "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "2027-01-15T08:00:00Z"},
                    {"type": "Ready", "status": "True", "reason": "OneActive", "message": "", "lastTransitionTime": "2027-01-15T08:00:00Z"},
                ],
            }}),
        )
    }

    fn all(routers: &[VirtualRouter]) -> Report {
        Report {
            routers: routers.iter().map(report).collect(),
            servers: Vec::new(),
        }
    }

    #[test]
    fn a_row_says_who_holds_the_addresses_since_when() {
        let report = all(&[ready("web")]);
        let said = text(&report, &at(90));
        assert_eq!(
            said,
            "NAME   READY   ACTIVE   SINCE   VRID   ADDRESSES     NODES\n\
             web    True    a        90s     7      192.0.2.100   3/3\n"
        );
        assert_eq!(outcome(&report), Outcome::Good);
    }

    #[test]
    fn an_abnormal_condition_is_said_below_with_what_to_do() {
        let mut split = ready("web");
        let condition = json!({"type": "SplitBrain", "status": "True", "reason": "SeveralActive",
            "message": "a, b: several nodes are Active", "lastTransitionTime": "2027-01-15T08:00:00Z"});
        let status = split.status.as_mut().unwrap();
        status
            .conditions
            .push(serde_json::from_value(condition).unwrap());
        let report = all(&[ready("dns"), split]);
        let said = text(&report, &at(0));
        let below = "\nweb: SplitBrain is True (SeveralActive): a, b: several nodes are Active\n  see that the nodes reach each other";
        assert!(said.contains(below), "{said}");
        assert_eq!(said.matches("\n\n").count(), 1, "{said}");
        assert_eq!(outcome(&report), Outcome::Bad);
    }

    #[test]
    fn a_router_that_nobody_looked_at_is_not_well() {
        let report = all(&[router("web", json!({}))]);
        let said = text(&report, &at(0));
        assert!(
            said.contains("web    Unknown   -        -       -      192.0.2.100   -"),
            "{said}"
        );
        assert!(
            said.contains("no operator has looked at this router yet"),
            "{said}"
        );
        assert_eq!(outcome(&report), Outcome::Bad);

        let mut edited = ready("web");
        edited.metadata.generation = Some(2);
        let report = all(&[edited]);
        assert!(text(&report, &at(0)).contains("(generation 2, it knows 1)"));
    }

    #[test]
    fn families_with_different_holders_are_told_apart() {
        let holder = |family, active: Option<&str>| Holder {
            family,
            active: active.map(str::to_owned),
            since: None,
        };
        let said = |a, b| {
            let families = [holder(AddressFamily::V4, a), holder(AddressFamily::V6, b)];
            of_holders(&families, |h| h.active.clone())
        };
        assert_eq!(said(Some("a"), Some("a")), "a");
        assert_eq!(said(Some("a"), Some("b")), "a (v4), b (v6)");
        assert_eq!(said(None, Some("b")), "b (v6)");
        assert_eq!(said(None, None), "");
    }

    #[test]
    fn the_data_has_every_address_and_the_remedy() {
        let mut web = router(
            "web",
            json!({"spec": {"addresses": [{"address": "192.0.2.1"}, {"address": "192.0.2.2"}]}}),
        );
        web.status = None;
        let value = serde_json::to_value(all(&[web])).unwrap();
        let first = &value["routers"][0];
        assert_eq!(first["addresses"], json!(["192.0.2.1", "192.0.2.2"]));
        assert_eq!(first["virtualRouterId"], json!(null));
        assert!(
            first["abnormal"][0]["remedy"]
                .as_str()
                .unwrap()
                .contains("doctor")
        );
    }

    #[test]
    fn without_routers_it_says_so_and_all_is_well() {
        let report = all(&[]);
        assert_eq!(text(&report, &at(0)), "There is no VirtualRouter.\n");
        assert_eq!(outcome(&report), Outcome::Good);
    }
}
