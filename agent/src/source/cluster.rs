//! Where the configuration comes from in a cluster: the NodeConfigs that the operator wrote for this node.
//!
//! What was verified last is served from the cache at once; the API server is followed when it answers, and nothing
//! waits for it. Reads NodeConfigs, Secrets of the key namespace by name, EndpointSlices of Services
//! that configurations name, and whose cluster this is. Never writes to
//! the API server, and never touches the network or the kernel.
//!
//! - `told`: a NodeConfig as the API server tells it, however it looks.
//! - `object`: the same with its last good state. Pure.
//! - `assignment`: all of them; what is kept though it disappeared. Pure.
//! - `gathering`: a router with its servers, of all NodeConfigs that have some. Pure.
//! - `slices`: the endpoints of the Services that configurations name.
//! - `saved`: what was verified last, in the form in which it is kept; `cache`: the file.
//! - `server`: the questions to the API server; `pauses`: between attempts to reach it.
//! - `follower`: the task that joins them.

mod assignment;
mod cache;
mod follower;
mod gathering;
mod object;
mod pauses;
mod saved;
mod server;
mod slices;
#[cfg(test)]
mod tests;
mod told;

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Desired;
use crate::cli::RunArgs;
use crate::home::Home;
use cache::Cache;
use follower::Follower;
use server::Server;

pub use assignment::Assigned;

/// What this node was assigned, as its status is to report it; by the names of NodeConfigs.
pub type Roster = Vec<Assigned>;

/// A cluster that is followed.
pub struct Cluster {
    /// To the API server.
    pub client: Client,
    /// What is in force now and from now on.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// What this node was assigned, as the API server has it.
    pub roster: watch::Receiver<Arc<Roster>>,
    /// Says that this process runs the instance: only then is the cache its to write.
    pub in_charge: watch::Sender<bool>,
    /// The task, which never ends by itself.
    pub task: JoinHandle<anyhow::Result<()>>,
}

/// Reads the cache of the agent of `home` and follows the cluster from now on, as the command line says.
///
/// # Errors
/// If nothing says how to reach an API server. One that does not answer is no error.
pub async fn follow(args: &RunArgs, home: &Home) -> anyhow::Result<Cluster> {
    let client = server::client(args.kubeconfig.as_deref())
        .await
        .context("--manifests is not given, and the way to the API server is not known")?;
    let cache = Cache::new(&home.state_dir, &home.node);
    let server = Server::new(client.clone(), args.key_namespace.clone());
    let (in_charge, may_write) = watch::channel(false);
    let (follower, desired, roster) = Follower::new(home.node.clone(), server, cache, may_write);
    Ok(Cluster {
        client,
        desired,
        roster,
        in_charge,
        task: tokio::spawn(follower.run()),
    })
}
