//! Where the fields of a document are, by path, such as `spec.addresses[1].address`.
//!
//! Worked out when somebody first asks, for all documents of a text at once: of a text without a mistake nobody does,
//! and knowing every place takes longer than reading it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::yaml::{self, Position};

/// The places of one document, or of a part of it.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    source: Arc<Source>,
    /// Which document of the text.
    document: usize,
    /// The path of the part; empty for the whole.
    part: String,
}

/// A text that has been read, which is never printed, for there may be secrets in it; and what is where in it.
struct Source {
    text: String,
    located: OnceLock<Vec<Located>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

/// A document's places.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) start: Position,
    /// By path.
    pub(crate) fields: BTreeMap<String, Place>,
}

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Of the key, or of the item if it is in a list.
    pub(crate) key: Position,
    pub(crate) value: Position,
}

impl Places {
    /// Of each document of `text` which is YAML.
    pub(crate) fn of(text: &str) -> impl Iterator<Item = Self> {
        let source = Arc::new(Source {
            text: text.to_owned(),
            located: OnceLock::new(),
        });
        (0..).map(move |document| Self {
            source: Arc::clone(&source),
            document,
            part: String::new(),
        })
    }

    /// The value at `path`; if there is none, the key of the nearest field above it.
    pub(crate) fn value(&self, path: &str) -> Position {
        match self.place(path) {
            Some(place) => place.value,
            None => self.key(path),
        }
    }

    /// The key at `path`, or of the nearest field above it.
    pub(crate) fn key(&self, path: &str) -> Position {
        let mut path = path;
        loop {
            if let Some(place) = self.place(path) {
                return place.key;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return self.start(),
            }
        }
    }

    /// The places of what is below `path`, as a document of its own.
    pub(crate) fn below(&self, path: &str) -> Self {
        Self {
            part: self.full(path),
            ..self.clone()
        }
    }

    fn start(&self) -> Position {
        let Some(located) = self.located() else {
            return Position::START;
        };
        let part = located.fields.get(&self.part);
        part.map_or(located.start, |place| place.value)
    }

    fn place(&self, path: &str) -> Option<Place> {
        self.located()?.fields.get(&self.full(path)).copied()
    }

    /// `path` from the document's root.
    fn full(&self, path: &str) -> String {
        match self.part.as_str() {
            "" => path.to_owned(),
            part => format!("{part}.{path}"),
        }
    }

    fn located(&self) -> Option<&Located> {
        let source = &*self.source;
        let all = source.located.get_or_init(|| yaml::locate(&source.text));
        all.get(self.document)
    }
}
