//! `doctor`: the installation, from what each agent reports of its own node, the operator's Lease and the definitions.

mod examination;
mod servers;

use std::io::Write;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use serde::Serialize;
use vipkeeper_crds::VirtualServer;
use vipkeeper_crds::status::CheckStatus;

use crate::cli::{Cli, DoctorArgs};
use crate::client::{self, Unanswered, find};
use crate::objects::{self, CONFIGS, Objects, ROUTERS, SERVERS};
use crate::table::Table;
use crate::{Outcome, output};

/// The Lease of the operator that writes.
const LEASE: &str = "vipkeeper-operator";
/// Resources in questions and errors.
const LEASES: &str = "leases.coordination.k8s.io";
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// The definitions that an installation has.
const OURS: [&str; 4] = [CONFIGS, "settings.vipkeeper.io", ROUTERS, SERVERS];

/// Everything that is looked at.
#[derive(Debug)]
pub(crate) struct Patient {
    /// Definitions that are not there; or why they cannot be asked for.
    missing: Result<Vec<&'static str>, String>,
    /// The operator's Lease; or why it cannot be asked for.
    lease: Result<Option<Lease>, String>,
    namespace: String,
    objects: Objects,
    /// The VirtualServers; or why they cannot be asked for.
    servers: Result<Vec<VirtualServer>, String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The installation as a whole.
    installation: Vec<Check>,
    nodes: Vec<NodeReport>,
    /// What is not as it should be with VirtualRouters.
    routers: Vec<Check>,
    /// What is not as it should be with VirtualServers, but for what their nodes lack.
    servers: Vec<Check>,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Check {
    /// What was looked at, in one word; the name of a router or virtual server.
    name: String,
    status: CheckStatus,
    message: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeReport {
    name: String,
    /// The version of its agent; none if none reports.
    agent: Option<String>,
    /// The release of its kernel.
    kernel: Option<String>,
    checks: Vec<Check>,
}

pub(crate) async fn run(
    cli: &Cli,
    args: &DoctorArgs,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    let client = client::client(cli).await?;
    let missing = missing(&client).await?;
    // Definitions that are older than VirtualServers have everything else.
    let is_blind = |missing: &Vec<&str>| missing.iter().any(|name| *name != SERVERS);
    let objects = match &missing {
        Ok(missing) if is_blind(missing) => Objects::default(),
        Ok(_) | Err(_) => Objects::read(&client).await?,
    };
    let leases: Api<Lease> = Api::namespaced(client.clone(), &args.namespace);
    let patient = Patient {
        missing,
        lease: permitted(find(LEASES, leases.get(LEASE)).await)?,
        namespace: args.namespace.clone(),
        objects,
        servers: permitted(objects::servers(&client).await)?,
    };
    let report = examination::examine(&patient, &Time(Timestamp::now()));
    let text = match args.output {
        Some(format) => output::data(&report, format)?,
        None => text(&report, args.all),
    };
    out.write_all(text.as_bytes())?;
    Ok(outcome(&report))
}

/// The definitions that are not there.
async fn missing(client: &Client) -> Result<Result<Vec<&'static str>, String>, Unanswered> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut missing = Vec::new();
    for name in OURS {
        match permitted(find(DEFINITIONS, api.get_metadata(name)).await)? {
            Ok(Some(_)) => {}
            Ok(None) => missing.push(name),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(missing))
}

/// A missing permission is a remark, anything else ends the examination.
fn permitted<T>(answer: Result<T, Unanswered>) -> Result<Result<T, String>, Unanswered> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(forbidden @ Unanswered::Forbidden { .. }) => Ok(Err(forbidden.to_string())),
        Err(
            error @ (Unanswered::NoWay(_)
            | Unanswered::NotInstalled(_)
            | Unanswered::Unauthorized(_)
            | Unanswered::Late
            | Unanswered::Failed { .. }),
        ) => Err(error),
    }
}

/// Good unless something does not work.
fn outcome(report: &Report) -> Outcome {
    let nodes = report.nodes.iter().flat_map(|n| &n.checks);
    let mut all = report
        .installation
        .iter()
        .chain(nodes)
        .chain(&report.routers)
        .chain(&report.servers);
    if all.any(|check| check.status == CheckStatus::Failure) {
        Outcome::Bad
    } else {
        Outcome::Good
    }
}

/// For people; what is well only with `all`.
fn text(report: &Report, all: bool) -> String {
    let mut text = String::new();
    for Check {
        name,
        status,
        message,
    } in &report.installation
    {
        text.push_str(&format!("{name}: {}: {message}\n", output::name(status)));
    }
    if !report.nodes.is_empty() {
        let mut table = Table::new(&["NODE", "AGENT", "KERNEL", "CHECKS"]);
        for node in &report.nodes {
            table.row(vec![
                node.name.clone(),
                node.agent.clone().unwrap_or_default(),
                node.kernel.clone().unwrap_or_default(),
                counts(&node.checks),
            ]);
        }
        text.push_str(&format!("\n{}", table.lines()));
    }
    let mut remarks: Vec<(CheckStatus, String)> = Vec::new();
    for node in &report.nodes {
        let is_shown = |c: &&Check| all || c.status != CheckStatus::Pass;
        let shown = node.checks.iter().filter(is_shown);
        remarks.extend(shown.map(|c| {
            let message = format!("node {}: {}: {}", node.name, c.name, c.message);
            (c.status, message)
        }));
    }
    let routers = report.routers.iter();
    remarks.extend(routers.map(|c| (c.status, format!("VirtualRouter {}: {}", c.name, c.message))));
    let servers = report.servers.iter();
    remarks.extend(servers.map(|c| (c.status, format!("VirtualServer {}: {}", c.name, c.message))));
    // Failures first; the sort is stable.
    remarks.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    if !remarks.is_empty() {
        text.push('\n');
    }
    for (status, message) in remarks {
        text.push_str(&format!("{}: {message}\n", output::name(&status)));
    }
    text
}

/// `7 pass, 1 warning`.
fn counts(checks: &[Check]) -> String {
    let count = |status| checks.iter().filter(|c| c.status == status).count();
    let all = [
        (count(CheckStatus::Pass), "pass"),
        (count(CheckStatus::Warning), "warning"),
        (count(CheckStatus::Failure), "failure"),
    ];
    let some = all.iter().filter(|(count, _)| *count > 0);
    let words = some.map(|(count, word)| match *word {
        "pass" => format!("{count} pass"),
        word => output::many(*count, word),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
