//! The operator against an API server in memory, one scenario for each way in which a write fails, and two operators
//! at once. Time is the runtime's and stands still while anybody works: minutes pass at once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod leaders;
mod server;
mod writes;

use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use vipkeeper_operator::apply::Writer;
use vipkeeper_operator::lease::Claim;
use vipkeeper_operator::listen::Pulse;
use vipkeeper_operator::metrics::Metrics;
use vipkeeper_operator::publish::Publisher;
use vipkeeper_operator::runtime::Reconciler;
use vipkeeper_operator::watch::Wanted;

use server::Server;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// An operator that leads by itself.
fn operator(server: &Server, name: &str) -> JoinHandle<()> {
    let (sender, leads) = watch::channel(true);
    run(
        server,
        name,
        async move {
            sender.closed().await;
        },
        leads,
    )
}

/// An operator that leads while it has the Lease.
fn contender(server: &Server, name: &str) -> JoinHandle<()> {
    let client = server.client();
    let (mut claim, leads) = Claim::new(client, "vipkeeper-system", "vipkeeper-operator", name);
    run(server, name, async move { claim.keep().await }, leads)
}

fn run(
    server: &Server,
    name: &str,
    leading: impl Future<Output = ()> + Send + 'static,
    leads: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let client: Client = server.client();
    let metrics = Metrics::new().unwrap();
    let publisher = Publisher::start(client.clone(), name, metrics.clone());
    let writer = Writer::new(client, metrics.clone());
    let (wanted, _) = watch::channel(Wanted::new());
    let mut reconciler = Reconciler::new(writer, metrics, Pulse::default(), publisher, wanted);
    let changes = server.watch();
    tokio::spawn(async move {
        tokio::select! {
            () = leading => {}
            outcome = reconciler.run(changes, leads) => outcome.unwrap(),
        }
    })
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {PATIENCE:?}: {what}");
}
