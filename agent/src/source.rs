//! Where the configuration comes from: a directory of manifests, or the cluster.
//!
//! What is in force is offered as [`Desired`]. Bad input is refused with its place while everything else goes on with
//! its last good state. Never touches the kernel.
//!
//! - `desired`: what is in force, and how it is offered.
//! - `cluster`: the configurations that an operator wrote for this node.
//! - `directory`, `watch`: the files of a directory, once and whenever they change; what they mean is
//!   `vipkeeper_manifests`'.

pub mod cluster;
mod desired;
mod directory;
#[cfg(test)]
mod tests;
mod watch;

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch as channel;

use crate::cli::RunArgs;
use crate::home::Home;

pub use desired::Desired;
pub use vipkeeper_manifests::{
    DOCUMENT, Diagnosis, File, Keys, Loaded, Position, Severity, Store, Survey,
};
pub use watch::{Watch, watch};

/// A source that is followed.
pub enum Source {
    /// A directory.
    Manifests(Watch),
    /// A cluster.
    Cluster(Box<cluster::Cluster>),
}

impl Source {
    /// As the command line says, for the agent of `home`.
    ///
    /// # Errors
    /// If the directory cannot be read, or nothing says how to reach an API server.
    pub async fn open(args: &RunArgs, home: &Home) -> anyhow::Result<Self> {
        if let Some(manifests) = &args.manifests {
            let watched = watch(manifests, &home.node);
            let what = || format!("the manifests in {}", manifests.display());
            return Ok(Self::Manifests(watched.with_context(what)?));
        }
        Ok(Self::Cluster(Box::new(cluster::follow(args, home).await?)))
    }

    /// What is in force now and from now on.
    #[must_use]
    pub fn desired(&self) -> channel::Receiver<Arc<Desired>> {
        match self {
            Self::Manifests(watch) => watch.desired(),
            Self::Cluster(cluster) => cluster.desired.clone(),
        }
    }
}

/// What the manifests in `dir` mean for `node`, on their own.
///
/// # Errors
/// If the directory cannot be read.
pub fn load(dir: &Path, node: &str) -> io::Result<Loaded> {
    Ok(Store::default().update(&directory::read(dir)?, node))
}

/// What the manifests in `dir` mean for `node`, or without one for every node that takes part in a router.
///
/// # Errors
/// If the directory cannot be read.
pub fn survey(dir: &Path, node: Option<&str>) -> io::Result<Survey> {
    Ok(vipkeeper_manifests::survey(&directory::read(dir)?, node))
}
