//! What comes before an uninstallation: takes the configuration of every node away, so that every agent takes off what
//! it holds, Backups first.
//!
//! Owns the Lease while it works, and for a while after it: no operator writes a configuration again. It needs none to
//! be alive. Never waits for agents: one that is away now takes everything off when its pod is stopped.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};
use vipkeeper_crds::status::NodeConfigStatus;
use vipkeeper_crds::{NodeConfig, Settings, VirtualRouter, VirtualServer};

use crate::apply::MANAGER;
use crate::cli::TeardownArgs;
use crate::runtime::LEASE;

/// Who holds the Lease meanwhile.
const IDENTITY: &str = "teardown";
/// A leader that was deposed learns it with its next attempt to renew, and what it was writing has arrived by then.
const DEPOSED: Duration = Duration::from_secs(5);
/// Backups have heard of it before the Active leaves: none of them takes over.
const BETWEEN: Duration = Duration::from_secs(1);
/// The Lease is held for so long after the end: until the operators are gone.
const AFTERWARDS: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// Requests that are on their way at once.
const AT_ONCE: usize = 16;

/// Tears down.
///
/// # Errors
/// What kept it from being done in time.
pub async fn run(namespace: &str, arguments: &TeardownArgs) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("the way to the API server")?;
    let longest = Duration::from(arguments.timeout);
    let deadline = Instant::now() + longest;
    let mut last = anyhow!("the API server does not answer");
    loop {
        let attempt = attempt(&client, namespace, longest, arguments.delete_objects);
        match timeout_at(deadline, attempt).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                warn!(error = format!("{error:#}"), "not done yet");
                last = error;
            }
            Err(_) => {}
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(last.context(format!("not done within {}", arguments.timeout)));
        }
        sleep(PAUSE).await;
    }
}

async fn attempt(
    client: &Client,
    namespace: &str,
    longest: Duration,
    delete_objects: bool,
) -> anyhow::Result<()> {
    let lease = Api::namespaced(client.clone(), namespace);
    if depose(&lease, longest + AFTERWARDS)
        .await
        .context("the Lease")?
    {
        sleep(DEPOSED).await;
    }
    let configs = Api::<NodeConfig>::all(client.clone());
    let [first, then] = in_order(&list(&configs).await.context("NodeConfigs")?);
    info!(count = first.len() + then.len(), "removing NodeConfigs");
    delete(&configs, &first).await.context("NodeConfigs")?;
    if !first.is_empty() && !then.is_empty() {
        sleep(BETWEEN).await;
    }
    delete(&configs, &then).await.context("NodeConfigs")?;
    let left = list(&configs).await.context("NodeConfigs")?;
    if let Some(one) = left.first() {
        let (name, count) = (one.name_any(), left.len());
        bail!("{count} NodeConfigs are still there, {name} among them: who makes or keeps them?");
    }
    let routers = Api::<VirtualRouter>::all(client.clone());
    let names = names(&list(&routers).await.context("VirtualRouters")?);
    let servers = list(&Api::<VirtualServer>::all(client.clone())).await;
    let servers = servers.context("VirtualServers")?;
    for (namespace, names) in by_namespace(&servers) {
        let servers = Api::<VirtualServer>::namespaced(client.clone(), &namespace);
        let done = if delete_objects {
            info!(namespace, count = names.len(), "removing VirtualServers");
            delete(&servers, &names).await
        } else {
            forget(&servers, &names).await
        };
        done.context("VirtualServers")?;
    }
    if delete_objects {
        info!(count = names.len(), "removing VirtualRouters");
        delete(&routers, &names).await.context("VirtualRouters")?;
        let settings = Api::<Settings>::all(client.clone());
        let names = self::names(&list(&settings).await.context("Settings")?);
        delete(&settings, &names).await.context("Settings")?;
    } else {
        forget(&routers, &names).await.context("VirtualRouters")?;
    }
    info!("done");
    Ok(())
}

/// Takes the Lease from whoever holds it; whether somebody else did.
async fn depose(api: &Api<Lease>, hold: Duration) -> kube::Result<bool> {
    let found = api.get_opt(LEASE).await?;
    let before = found.as_ref().and_then(|lease| lease.spec.clone());
    let before = before.unwrap_or_default();
    let holder = before.holder_identity.unwrap_or_default();
    let now = MicroTime(Timestamp::now());
    let spec = LeaseSpec {
        holder_identity: Some(IDENTITY.to_owned()),
        lease_duration_seconds: i32::try_from(hold.as_secs()).ok(),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        lease_transitions: Some(before.lease_transitions.unwrap_or(0).saturating_add(1)),
        ..LeaseSpec::default()
    };
    let parameters = PostParams::default();
    if let Some(mut lease) = found {
        lease.spec = Some(spec);
        api.replace(LEASE, &parameters, &lease).await?;
    } else {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
        api.create(&parameters, &lease).await?;
    }
    Ok(!holder.is_empty() && holder != IDENTITY)
}

/// The NodeConfigs that may go at once, and those that say that their node is Active.
fn in_order(configs: &[NodeConfig]) -> [Vec<String>; 2] {
    let is_active = |config: &&NodeConfig| {
        let status = config.status.as_ref();
        status.is_some_and(NodeConfigStatus::is_active)
    };
    let (then, first): (Vec<&NodeConfig>, Vec<_>) = configs.iter().partition(is_active);
    [first, then].map(|configs| configs.iter().map(|config| config.name_any()).collect())
}

/// The names of objects, by namespace.
fn by_namespace<K: Resource>(objects: &[K]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for object in objects {
        let namespace = object.namespace().unwrap_or_default();
        all.entry(namespace).or_default().push(object.name_any());
    }
    all
}

fn names<K: Resource>(objects: &[K]) -> Vec<String> {
    objects.iter().map(kube::ResourceExt::name_any).collect()
}

/// All objects of a kind; none where the kind itself is not there.
async fn list<K>(api: &Api<K>) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn delete<K>(api: &Api<K>, names: &[String]) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let parameters = DeleteParams::default();
    futures::stream::iter(names)
        .map(async |name| gone(api.delete(name, &parameters).await.map(drop)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Nobody keeps these statuses true any more.
async fn forget<K>(api: &Api<K>, names: &[String]) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let nothing = Patch::Merge(json!({"status": null}));
    futures::stream::iter(names)
        .map(async |name| {
            let patched = api.patch_status(name, &parameters, &nothing).await;
            gone(patched.map(drop))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// What has gone meanwhile needs nothing.
fn gone(outcome: kube::Result<()>) -> kube::Result<()> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, states: &[&str]) -> NodeConfig {
        let family = |state| json!({"family": "IPv4", "state": state, "effectivePriority": 254});
        let families: Vec<_> = states.iter().map(family).collect();
        let status = (!states.is_empty()).then(|| json!({"families": families}));
        serde_json::from_value(json!({
            "apiVersion": "vipkeeper.io/v1alpha1",
            "kind": "NodeConfig",
            "metadata": {"name": name},
            "spec": {"nodeName": "a"},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn who_is_active_for_any_family_goes_last() {
        let configs = [
            config("active", &["Active"]),
            config("backup", &["Backup"]),
            config("half", &["Backup", "Active"]),
            config("silent", &[]),
        ];
        let [first, then] = in_order(&configs);
        assert_eq!(first, ["backup", "silent"]);
        assert_eq!(then, ["active", "half"]);
    }
}
