//! The way to the API server, and in words why it has no answer.

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Client, Config};
use tokio::time::timeout;

use crate::cli::Cli;

/// An answer takes at most this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// No kubeconfig can be used.
    #[error(
        "there is no way to a cluster: {0}; name a kubeconfig with --kubeconfig or KUBECONFIG, and a context with --context"
    )]
    NoWay(String),
    /// The API server does not know our kinds.
    #[error(
        "the API server knows no {0}: install the CustomResourceDefinitions first (chart vipkeeper-crds, or deploy/install.yaml)"
    )]
    NotInstalled(String),
    /// A role is missing.
    #[error("you may not {verb} {resource}: ask for a role with apiGroups [{group:?}], resources [{plural}], verbs [{verb}] (the API server says: {message})", group = group_of(resource), plural = plural_of(resource))]
    Forbidden {
        /// What was asked for.
        verb: &'static str,
        /// On what, such as `virtualrouters.vipkeeper.io`.
        resource: &'static str,
        /// The server's words.
        message: String,
    },
    /// Who asks is not known.
    #[error(
        "the API server does not know you: renew the credentials of the kubeconfig (it says: {0})"
    )]
    Unauthorized(String),
    /// It takes too long.
    #[error("the API server does not answer within {}s", PATIENCE.as_secs())]
    Late,
    /// The API server refuses, or is not reached.
    #[error(
        "the API server cannot be asked to {verb} {resource}: {}",
        chain(source)
    )]
    Failed {
        /// What was asked for.
        verb: &'static str,
        /// On what.
        resource: &'static str,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// A client as the command line says, or else as kubectl finds it.
pub(crate) async fn client(cli: &Cli) -> Result<Client, Unanswered> {
    let options = KubeConfigOptions {
        context: cli.context.clone(),
        ..KubeConfigOptions::default()
    };
    let no_way = |error: &dyn std::error::Error| Unanswered::NoWay(chain(error));
    let config = match &cli.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|e| no_way(&e))?;
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            config.map_err(|e| no_way(&e))?
        }
        None if options.context.is_some() => {
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|e| no_way(&e))?
        }
        None => Config::infer().await.map_err(|e| no_way(&e))?,
    };
    Client::try_from(config).map_err(|e| no_way(&e))
}

/// The answer to a question that wants to `verb` the `resource`.
pub(crate) async fn answer<T>(
    verb: &'static str,
    resource: &'static str,
    question: impl Future<Output = kube::Result<T>>,
) -> Result<T, Unanswered> {
    match timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|error| explain(verb, resource, error)),
        Err(_) => Err(Unanswered::Late),
    }
}

/// As [`answer`], and `None` for an object that does not exist.
pub(crate) async fn find<T>(
    resource: &'static str,
    question: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, Unanswered> {
    match timeout(PATIENCE, question).await {
        Ok(Ok(found)) => Ok(Some(found)),
        Ok(Err(error)) if is_missing_object(&error) => Ok(None),
        Ok(Err(error)) => Err(explain("get", resource, error)),
        Err(_) => Err(Unanswered::Late),
    }
}

/// Whether the kind is known and the object is not there: then the answer names the object.
fn is_missing_object(error: &kube::Error) -> bool {
    let names_one = |status: &Status| {
        let details = status.details.as_ref();
        status.code == 404 && details.is_some_and(|d| !d.name.is_empty())
    };
    refusal(error).is_some_and(names_one)
}

/// What the API server says, if it is the API server that says no.
fn refusal(error: &kube::Error) -> Option<&Status> {
    if let kube::Error::Api(status) = error {
        Some(status)
    } else {
        None
    }
}

fn explain(verb: &'static str, resource: &'static str, error: kube::Error) -> Unanswered {
    let said = refusal(&error).map(|s| (s.code, s.message.clone()));
    let (code, message) = said.unwrap_or_default();
    match code {
        401 => Unanswered::Unauthorized(message),
        403 => Unanswered::Forbidden {
            verb,
            resource,
            message,
        },
        404 if group_of(resource) == vipkeeper_crds::GROUP && !is_missing_object(&error) => {
            Unanswered::NotInstalled(plural_of(resource).to_owned())
        }
        _ => Unanswered::Failed {
            verb,
            resource,
            source: Box::new(error),
        },
    }
}

/// `virtualrouters` of `virtualrouters.vipkeeper.io`.
fn plural_of(resource: &str) -> &str {
    resource.split('.').next().unwrap_or(resource)
}

/// `vipkeeper.io` of `virtualrouters.vipkeeper.io`; empty for the core group.
fn group_of(resource: &str) -> &str {
    resource.split_once('.').map_or("", |(_, group)| group)
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(code: u16, name: &str) -> kube::Error {
        let details = json!({"name": name, "kind": "virtualrouters"});
        let status =
            json!({"status": "Failure", "code": code, "message": "said", "details": details});
        kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
    }

    fn words(code: u16, resource: &'static str) -> String {
        explain("list", resource, refused(code, "")).to_string()
    }

    #[test]
    fn a_missing_definition_says_how_to_install() {
        let said = words(404, "virtualrouters.vipkeeper.io");
        assert!(
            said.starts_with("the API server knows no virtualrouters: install"),
            "{said}"
        );
        assert!(!words(404, "nodes").contains("install"));
    }

    #[test]
    fn a_missing_permission_is_named() {
        let said = words(403, "virtualrouters.vipkeeper.io");
        assert_eq!(
            said,
            "you may not list virtualrouters.vipkeeper.io: ask for a role with apiGroups [\"vipkeeper.io\"], resources [virtualrouters], verbs [list] (the API server says: said)"
        );
        assert!(words(403, "nodes").contains("apiGroups [\"\"], resources [nodes]"));
        assert!(words(401, "nodes").contains("renew the credentials"));
    }

    #[test]
    fn an_object_that_is_not_there_is_no_missing_definition() {
        assert!(is_missing_object(&refused(404, "web")));
        assert!(!is_missing_object(&refused(404, "")));
        assert!(!is_missing_object(&refused(403, "web")));
    }
}
