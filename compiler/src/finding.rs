//! What is found out about objects, and where.

use std::fmt;
use std::sync::Arc;

use vipkeeper_crds::VirtualRouter;
use vipkeeper_crds::node_server::ServerName;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object is refused.
    Error,
    /// The object runs, but perhaps not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// What a finding is about, for those who sort findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// What the object says.
    Rule,
    /// An older object has what this one asks for: an address, a VRID, a port or a mark.
    Taken,
    /// No node can take part.
    NoCandidates,
    /// A node that is listed takes no part.
    CandidateMissing,
    /// A node that takes part has no interface of the kind asked for.
    InterfaceMissing,
    /// Somebody who is not ours advertises the VRID.
    ForeignVrid,
    /// The VirtualRouter that a VirtualServer names does not exist, or is refused.
    RouterMissing,
    /// The VirtualRouter does not let a VirtualServer have what it asks for.
    NotAllowed,
    /// A ConfigMap, or a key of it, does not exist.
    ConfigMapMissing,
}

/// Which object a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for kinds without one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectName {
    /// The object `name` of `kind`, which has no namespace.
    #[must_use]
    pub fn new(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    /// A VirtualServer.
    #[must_use]
    pub fn of_server(name: &ServerName) -> Self {
        Self {
            kind: "VirtualServer".to_owned(),
            namespace: name.namespace.clone(),
            name: name.name.clone(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// Something about an object that its author should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub cause: Cause,
    /// The object.
    pub object: ObjectName,
    /// The field, such as `spec.addresses[1].address`; may be absent from the object.
    pub path: String,
    /// What is wrong and the way out.
    pub message: String,
}

/// Findings about one object, while they are collected.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remarks {
    object: Arc<ObjectName>,
    findings: Vec<Finding>,
}

impl Remarks {
    pub(crate) fn about(router: &VirtualRouter) -> Self {
        let name = router.metadata.name.as_deref().unwrap_or_default();
        Self::of(ObjectName::new("VirtualRouter", name))
    }

    pub(crate) fn of(object: ObjectName) -> Self {
        Self {
            object: Arc::new(object),
            findings: Vec::new(),
        }
    }

    /// Without any finding yet, about the same object.
    pub(crate) fn anew(&self) -> Self {
        Self {
            object: Arc::clone(&self.object),
            findings: Vec::new(),
        }
    }

    /// The object cannot run.
    pub(crate) fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.say(Severity::Error, Cause::Rule, path, message);
    }

    /// The object runs, but perhaps not as meant.
    pub(crate) fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.say(Severity::Warning, Cause::Rule, path, message);
    }

    /// Whether there is an error.
    pub(crate) fn refused(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Error)
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Something with a cause of its own.
    pub(crate) fn say(
        &mut self,
        severity: Severity,
        cause: Cause,
        path: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.findings.push(Finding {
            severity,
            cause,
            object: ObjectName::clone(&self.object),
            path: path.into(),
            message: message.into(),
        });
    }

    /// What was found out elsewhere about the same object.
    pub(crate) fn extend(&mut self, findings: &[Finding]) {
        self.findings.extend_from_slice(findings);
    }
}
