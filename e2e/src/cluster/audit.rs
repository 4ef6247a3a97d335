//! Who wrote what, from the API server's own log of writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The API server's log of writes.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
}

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// A write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Who made it, without `system:serviceaccount:NAMESPACE:`.
    pub user: String,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The resource, with its subresource: `nodeconfigs/status`.
    pub resource: String,
    /// The object's name.
    pub name: String,
    /// The answer's HTTP status code.
    pub code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    object_ref: Option<Reference>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Reference {
    resource: String,
    subresource: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<u16>,
}

impl Audit {
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path }
    }

    /// The end of the log as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(self.read()?.len()))
    }

    /// The writes after `mark`, in their order.
    ///
    /// # Errors
    /// When the log cannot be read or has another form.
    pub fn since(&self, mark: Mark) -> Result<Vec<Write>> {
        let text = self.read()?;
        let text = text.get(mark.0..).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(write).collect()
    }

    fn read(&self) -> Result<String> {
        fs::read_to_string(&self.path).with_context(|| format!("read {}", self.path.display()))
    }
}

fn write(line: &str) -> Result<Write> {
    let event: Event = serde_json::from_str(line).with_context(|| line.to_owned())?;
    let object = event.object_ref.unwrap_or(Reference {
        resource: String::new(),
        subresource: None,
        name: None,
    });
    let user = event.user.username;
    let short = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'));
    Ok(Write {
        user: short.map_or(user.clone(), |(_, name)| name.to_owned()),
        verb: event.verb,
        resource: match object.subresource {
            Some(part) => format!("{}/{part}", object.resource),
            None => object.resource,
        },
        name: object.name.unwrap_or_default(),
        code: event
            .response_status
            .and_then(|status| status.code)
            .unwrap_or(0),
    })
}

/// The requests that change something, by verb and resource, as the API server's metrics count them.
#[must_use]
pub fn writes_counted(metrics: &str) -> BTreeMap<(String, String), u64> {
    let mut counted = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("apiserver_request_total{") else {
            continue;
        };
        let Some((labels, value)) = rest.rsplit_once("} ") else {
            continue;
        };
        let label = |name: &str| {
            let found = labels
                .split(',')
                .find_map(|l| l.strip_prefix(name)?.strip_prefix("=\""));
            found
                .map_or("", |value| value.trim_end_matches('"'))
                .to_owned()
        };
        let verb = label("verb");
        if [
            "POST",
            "PUT",
            "PATCH",
            "APPLY",
            "DELETE",
            "DELETECOLLECTION",
        ]
        .contains(&verb.as_str())
        {
            let number = value.trim().parse::<f64>().unwrap_or_default() as u64;
            *counted.entry((verb, label("resource"))).or_insert(0) += number;
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_says_who_wrote_what() {
        let line = r#"{"kind":"Event","stage":"ResponseComplete","verb":"patch","user":{"username":"system:serviceaccount:vipkeeper-system:vipkeeper-agent"},"objectRef":{"resource":"nodeconfigs","name":"web-1","subresource":"status"},"responseStatus":{"metadata":{},"code":200}}"#;
        let expected = Write {
            user: "vipkeeper-agent".to_owned(),
            verb: "patch".to_owned(),
            resource: "nodeconfigs/status".to_owned(),
            name: "web-1".to_owned(),
            code: 200,
        };
        assert_eq!(write(line).unwrap(), expected);
    }

    #[test]
    fn only_requests_that_change_something_are_counted() {
        let metrics = "apiserver_request_total{code=\"200\",resource=\"leases\",verb=\"PUT\"} 3\n\
            apiserver_request_total{code=\"409\",resource=\"leases\",verb=\"PUT\"} 1\n\
            apiserver_request_total{code=\"200\",resource=\"nodes\",verb=\"LIST\"} 7\n";
        let expected = BTreeMap::from([(("PUT".to_owned(), "leases".to_owned()), 4)]);
        assert_eq!(writes_counted(metrics), expected);
    }
}
