//! The loop: changes in, writes out, for as long as this operator leads.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::apply::Writer;
use crate::cli::Cli;
use crate::cluster::{Change, Cluster};
use crate::lease::Claim;
use crate::watch as streams;

/// Changes that come together are taken together.
const TOGETHER: Duration = Duration::from_millis(20);
/// Without any change everything is looked at again after this: Nodes become long not ready by the clock alone.
const PASS: Duration = Duration::from_secs(600);
/// The Lease that says who writes.
pub(crate) const LEASE: &str = "vipkeeper-operator";

/// Runs until it is told to stop.
///
/// # Errors
/// When there is no way to the API server, or a part of it ended by itself.
pub async fn run(cli: &Cli) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("the way to the API server")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let (mut claim, leads) = Claim::new(client.clone(), &cli.namespace, LEASE, &cli.identity);
    let (changes, mut tasks) = streams::start(&client);
    let outcome = tokio::select! {
        () = claim.keep() => Ok(()),
        outcome = reconcile(&client, changes, leads) => outcome,
        ended = tasks.join_next() => Err(anyhow::anyhow!("a watch ended: {ended:?}")),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // Whatever was being written is done or was never begun; the next leader finds the same to do.
    claim.release().await;
    info!("ended");
    outcome
}

async fn reconcile(
    client: &Client,
    mut changes: mpsc::Receiver<Change>,
    mut leads: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut cluster = Cluster::default();
    let mut writer = Writer::default();
    let mut again: Option<Instant> = None;
    loop {
        let pause = again.map_or(PASS, |at| at.saturating_duration_since(Instant::now()));
        tokio::select! {
            change = changes.recv() => cluster.take(change.context("the watches ended")?),
            changed = leads.changed() => changed.context("the Lease's task ended")?,
            () = sleep(pause) => {}
        }
        take_together(&mut cluster, &mut changes).await;
        if !*leads.borrow_and_update() {
            again = None;
            continue;
        }
        let begun = Instant::now();
        let writes = cluster.writes(&today());
        let compiled = begun.elapsed();
        if compiled > Duration::from_secs(1) {
            warn!(?compiled, "compiling takes long");
        }
        let (done, next) = writer.carry_out(client, writes).await;
        done.into_iter().for_each(|change| cluster.take(change));
        again = next;
    }
}

/// In whole seconds, as the API server writes times.
fn today() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

async fn take_together(cluster: &mut Cluster, changes: &mut mpsc::Receiver<Change>) {
    let end = Instant::now() + TOGETHER;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match timeout(left, changes.recv()).await {
            Ok(Some(change)) => cluster.take(change),
            Ok(None) | Err(_) => return,
        }
    }
}
