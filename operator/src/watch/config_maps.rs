//! The ConfigMaps that VirtualServers refer to, read by name: at once when somebody refers to one, and now and then
//! afterwards.
//!
//! Never lists or watches them: whoever may do that reads all ConfigMaps of all namespaces, of which there are many, and
//! almost none is of any account here.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;
use vipkeeper_compiler::ConfigMapName;

use super::{Ends, Wanted};
use crate::change::Change;

/// What is known is read again after this.
const AGAIN: Duration = Duration::from_secs(60);
/// What is missing, or was not told.
const SOON: Duration = Duration::from_secs(5);
/// For how long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Questions that are on their way at once.
const AT_ONCE: usize = 8;

/// Why a ConfigMap is not known.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("no answer within {PATIENCE:?}")]
    Late,
    #[error(transparent)]
    Failed(#[from] kube::Error),
}

/// What a ConfigMap says; `None` if there is none.
type Found = Option<BTreeMap<String, String>>;

/// Reads what is `wanted` until nobody listens.
pub(super) async fn follow(ends: Ends, mut wanted: tokio::sync::watch::Receiver<Wanted>) {
    let mut due: BTreeMap<ConfigMapName, Instant> = BTreeMap::new();
    loop {
        let now = Instant::now();
        let all = wanted.borrow_and_update().clone();
        due.retain(|name, _| all.contains(name));
        for name in all {
            due.entry(name).or_insert(now);
        }
        let questions = due.iter().filter(|(_, at)| **at <= now);
        let questions: Vec<ConfigMapName> = questions.map(|(name, _)| name.clone()).collect();
        let ends = &ends;
        let answers: Vec<_> = futures::stream::iter(questions)
            .map(|name| async move {
                let answer = read(ends, &name).await;
                (name, answer)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (name, answer) in answers {
            let again = match &answer {
                Ok(Some(_)) => AGAIN,
                Ok(None) | Err(_) => SOON,
            };
            due.insert(name.clone(), Instant::now() + again);
            match answer {
                Ok(found) => {
                    let change = Change::ConfigMap(name, found);
                    if ends.changes.send(change).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let ConfigMapName { namespace, name } = &name;
                    warn!(namespace, name, %error, "the API server does not tell of a ConfigMap");
                }
            }
        }
        let next = due.values().min().copied();
        tokio::select! {
            () = sleep_until(next.unwrap_or(now + AGAIN)) => {}
            changed = wanted.changed() => if changed.is_err() {
                return;
            }
        }
    }
}

async fn read(ends: &Ends, name: &ConfigMapName) -> Result<Found, Unanswered> {
    let api: Api<ConfigMap> = Api::namespaced(ends.client.clone(), &name.namespace);
    match timeout(PATIENCE, api.get_opt(&name.name)).await {
        // Who may not read it has none.
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Ok(None),
        Ok(found) => Ok(found?.map(|map| map.data.unwrap_or_default())),
        Err(_) => Err(Unanswered::Late),
    }
}
