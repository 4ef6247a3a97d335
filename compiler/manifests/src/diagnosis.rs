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

/// How many files and remarks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Files.
    pub files: usize,
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
}

impl Tally {
    /// Of `findings` in so many files.
    #[must_use]
    pub fn of(files: usize, findings: &[Diagnosis]) -> Self {
        let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
        Self {
            files,
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
        }
    }
}

impl fmt::Display for Tally {
    /// `2 files: 1 error, 0 warnings`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, errors) = (many(self.files, "file"), many(self.errors, "error"));
        write!(f, "{files}: {errors}, {}", many(self.warnings, "warning"))
    }
}

/// `1 node`, `2 nodes`.
#[must_use]
pub fn many(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
