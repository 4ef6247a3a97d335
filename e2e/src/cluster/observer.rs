//! Every state that the API server told of VirtualRouters while somebody watched.
//!
//! A watch that ends is begun again; states that it missed are missed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::TryStreamExt as _;
use http::Request;
use kube::Client;
use kube::core::WatchEvent;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use vipkeeper_crds::VirtualRouter;

use super::api::{Api, ROUTERS};

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Observer {
    seen: Arc<Mutex<Vec<VirtualRouter>>>,
    task: JoinHandle<()>,
}

impl Observer {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub fn start(api: &Api) -> Result<Self> {
        let seen: Arc<Mutex<Vec<VirtualRouter>>> = Arc::default();
        let into = Arc::clone(&seen);
        let task = api.begin(|client| async move {
            loop {
                drop(watch(&client, &into).await);
                sleep(Duration::from_millis(100)).await;
            }
        });
        Ok(Self { seen, task })
    }

    /// What was seen, in the order in which it was told.
    #[must_use]
    pub fn seen(&self) -> Vec<VirtualRouter> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(client: &Client, into: &Mutex<Vec<VirtualRouter>>) -> Result<()> {
    let request = Request::get(format!("{ROUTERS}?watch=1")).body(Vec::new())?;
    let mut events = std::pin::pin!(client.request_events::<VirtualRouter>(request).await?);
    while let Some(event) = events.try_next().await? {
        if let WatchEvent::Added(router) | WatchEvent::Modified(router) = event {
            let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(router);
        }
    }
    Ok(())
}
