//! The questions to the API server, each with a limit: one that does not answer must not keep the others waiting.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use kube::{Api, Client, Config, ResourceExt as _};
use tokio::time::timeout;
use vipkeeper_crds::{KEY_NAMESPACE, NodeConfig, SecretKey};

use super::assignment::Definitions;

/// An answer takes at most this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// The namespace whose uid is the cluster's identity: it is never deleted.
const IDENTITY: &str = "kube-system";
/// The definitions whose deletion deletes NodeConfigs: their own, and that of their owners.
const DEFINITIONS: [&str; 2] = ["nodeconfigs.vipkeeper.io", "virtualrouters.vipkeeper.io"];

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The API server refuses, or is not reached.
    #[error(transparent)]
    Failed(#[from] kube::Error),
    /// It takes too long.
    #[error("the API server does not answer within {PATIENCE:?}")]
    Late,
}

/// The API server.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    key_namespace: String,
}

/// A client as `kubeconfig` says, or else KUBECONFIG, or else as a pod has it.
///
/// # Errors
/// If none of them can be read.
pub(super) async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    Ok(Client::try_from(config)?)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Asked by `client`; keys are in `key_namespace`.
    pub(super) const fn new(client: Client, key_namespace: String) -> Self {
        Self {
            client,
            key_namespace,
        }
    }

    /// NodeConfigs, however they look.
    pub(super) fn node_configs(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &ApiResource::erase::<NodeConfig>(&()))
    }

    /// The EndpointSlices of a namespace.
    pub(super) fn endpoint_slices(&self, namespace: &str) -> Api<EndpointSlice> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Whose cluster this is.
    pub(super) async fn identity(&self) -> Result<String, Unanswered> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let namespace = answer(api.get_metadata(IDENTITY)).await?;
        Ok(namespace.uid().unwrap_or_default())
    }

    /// Whether the definitions of our objects are there to stay.
    pub(super) async fn definitions(&self) -> Result<Definitions, Unanswered> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for name in DEFINITIONS {
            let definition = answer(api.get_metadata_opt(name)).await?;
            let stays = definition.is_some_and(|d| d.metadata.deletion_timestamp.is_none());
            if !stays {
                return Ok(Definitions::Missing);
            }
        }
        Ok(Definitions::Present)
    }

    /// The values of `keys`, which are of one Secret; or why one is not there.
    pub(super) async fn keys(
        &self,
        keys: &[SecretKey],
    ) -> Result<Vec<(SecretKey, Result<Vec<u8>, String>)>, Unanswered> {
        let Some(first) = keys.first() else {
            return Ok(Vec::new());
        };
        // What names no namespace means the one for keys, whatever that is called here.
        let is_ours = [KEY_NAMESPACE, &self.key_namespace].contains(&first.namespace.as_str());
        let found = if is_ours {
            let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.key_namespace);
            Some(answer(api.get_opt(&first.name)).await?)
        } else {
            None
        };
        let value = |key: &SecretKey| match &found {
            None => Err(format!(
                "Secret {key} is not in namespace {}, where alone keys are read: create it there",
                self.key_namespace
            )),
            Some(None) => Err(format!(
                "Secret {}/{} does not exist: create it",
                self.key_namespace, key.name
            )),
            Some(Some(secret)) => value_of(secret.data.as_ref(), key),
        };
        Ok(keys.iter().map(|key| (key.clone(), value(key))).collect())
    }
}

fn value_of(
    data: Option<&BTreeMap<String, ByteString>>,
    key: &SecretKey,
) -> Result<Vec<u8>, String> {
    let value = data.and_then(|data| data.get(&key.key));
    value.map(|value| value.0.clone()).ok_or_else(|| {
        format!(
            "Secret {}/{} has no key {}: add it",
            key.namespace, key.name, key.key
        )
    })
}

async fn answer<T>(question: impl Future<Output = kube::Result<T>>) -> Result<T, Unanswered> {
    match timeout(PATIENCE, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Unanswered::Late),
    }
}
