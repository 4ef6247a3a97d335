//! Carries writes out: server-side apply, several at a time, and what fails again later.
//!
//! Never decides what to write. A write that fails concerns its own object alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;
use tracing::{debug, warn};
use vipkeeper_crds::{NodeConfig, VirtualRouter};

use crate::cluster::{Change, Kind, Write};

/// The name under which our fields are kept.
pub const MANAGER: &str = "vipkeeper-operator";
/// Writes that are on their way at once.
const AT_ONCE: usize = 16;
/// The first pause after a failure; doubled each time up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// What failed lately, by object.
#[derive(Debug, Default)]
pub struct Writer {
    failures: BTreeMap<(&'static str, String), Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    count: u32,
    again_at: Instant,
}

impl Writer {
    /// Carries out `writes` but for those whose object failed a moment ago; gives what the API server says the
    /// objects are now, and when there is something to try again.
    pub async fn carry_out(
        &mut self,
        client: &Client,
        writes: Vec<Write>,
    ) -> (Vec<Change>, Option<Instant>) {
        let now = Instant::now();
        let subjects: BTreeSet<_> = writes.iter().map(key).collect();
        self.failures.retain(|key, _| subjects.contains(key));
        let due = writes.into_iter().filter(|write| {
            let failure = self.failures.get(&key(write));
            failure.is_none_or(|failure| failure.again_at <= now)
        });
        let due: Vec<Write> = due.collect();
        let outcomes: Vec<_> = futures::stream::iter(due)
            .map(|write| async move {
                let outcome = carry_out(client, &write).await;
                (key(&write), outcome)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut changes = Vec::new();
        for (key, outcome) in outcomes {
            match outcome {
                Ok(change) => {
                    self.failures.remove(&key);
                    changes.extend(change);
                }
                Err(error) => self.fail(key, &error),
            }
        }
        let again = self.failures.values().map(|f| f.again_at).min();
        (changes, again)
    }

    fn fail(&mut self, key: (&'static str, String), error: &kube::Error) {
        let count = self
            .failures
            .get(&key)
            .map_or(0, |f| f.count)
            .saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << count.saturating_sub(1).min(10));
        let pause = pause.min(LAST_PAUSE);
        let (kind, name) = (key.0, key.1.as_str());
        warn!(kind, name, %error, ?pause, "not written");
        let again_at = Instant::now() + pause;
        self.failures.insert(key, Failure { count, again_at });
    }
}

fn key(write: &Write) -> (&'static str, String) {
    let (kind, name) = write.subject();
    (kind, name.to_owned())
}

async fn carry_out(client: &Client, write: &Write) -> kube::Result<Option<Change>> {
    let parameters = PatchParams::apply(MANAGER).force();
    let routers: Api<VirtualRouter> = Api::all(client.clone());
    let configs: Api<NodeConfig> = Api::all(client.clone());
    debug!(subject = ?write.subject(), "write");
    match write {
        Write::Config(config) => {
            let name = config.metadata.name.as_deref().unwrap_or_default();
            let object = json!({
                "apiVersion": "vipkeeper.io/v1alpha1",
                "kind": "NodeConfig",
                "metadata": {"name": name, "ownerReferences": config.metadata.owner_references},
                "spec": config.spec,
            });
            let now = configs
                .patch(name, &parameters, &Patch::Apply(object))
                .await?;
            Ok(Some(Change::Config(Box::new(now))))
        }
        Write::Remove { name, uid } => {
            let parameters = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            match configs.delete(name, &parameters).await {
                Ok(_) => Ok(Some(Change::Gone(Kind::Config, name.clone()))),
                // It has gone already, or another has its name: the watch tells.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
                Err(error) => Err(error),
            }
        }
        Write::Status { router, status } => {
            let object = json!({
                "apiVersion": "vipkeeper.io/v1alpha1",
                "kind": "VirtualRouter",
                "metadata": {"name": router},
                "status": status,
            });
            let patch = Patch::Apply(object);
            let now = routers.patch_status(router, &parameters, &patch).await?;
            Ok(Some(Change::Router(Box::new(now))))
        }
        Write::Annotations {
            router,
            annotations,
        } => {
            // Merged, not applied: nobody may be told of a conflict over what only remembers.
            let parameters = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
            let now = routers.patch(router, &parameters, &patch).await?;
            Ok(Some(Change::Router(Box::new(now))))
        }
    }
}
