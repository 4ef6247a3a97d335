//! What is wrong with manifests, and where.

use std::fmt;

pub use vipkeeper_compiler::Severity;

pub use crate::yaml::Position;

/// A remark on a place in a file. Never holds a value of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnosis {
    /// The file, as it was named.
    pub file: String,
    /// Where in it.
    pub position: Position,
    /// Errors are refused; warnings run.
    pub severity: Severity,
    /// The field, such as `spec.addresses[1].address`, or `document`.
    pub path: String,
    /// What is wrong, and the way out.
    pub message: String,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(
            f,
            "{}:{line}:{column}: {}: {}: {}",
            self.file, self.severity, self.path, self.message
        )
    }
}

/// The path of a diagnosis about a document as a whole.
pub const DOCUMENT: &str = "document";
