//! The objects of all files of one round, each once, with what is kept of the round before.

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper_compiler::Severity;

use super::Known;
use crate::diagnosis::{DOCUMENT, Diagnosis};
use crate::manifest::{self, Entry, File, ObjectId};
use crate::yaml::Position;

/// The files of one round, while they are read.
#[derive(Default)]
pub(super) struct Gathering {
    /// Who describes each object, in the order of the files.
    claims: BTreeMap<ObjectId, Vec<(String, Entry)>>,
    /// Files of which nothing is known now.
    unreadable: BTreeSet<String>,
    /// Files in which something cannot be told.
    unclear: BTreeSet<String>,
}

impl Gathering {
    /// Reads one more file.
    pub(super) fn file(&mut self, file: &File, findings: &mut Vec<Diagnosis>) {
        let name = &file.name;
        let whole = |message: &String| Diagnosis {
            file: name.clone(),
            position: Position::START,
            severity: Severity::Error,
            path: DOCUMENT.to_owned(),
            message: message.clone(),
        };
        let text = file.text.as_ref().map_err(whole);
        match text.and_then(|text| manifest::read(name, text)) {
            Err(error) => {
                findings.push(error);
                self.unreadable.insert(name.clone());
            }
            Ok(contents) => {
                findings.extend(contents.findings);
                if contents.unclear {
                    self.unclear.insert(name.clone());
                }
                for entry in contents.entries {
                    let claims = self.claims.entry(entry.id.clone()).or_default();
                    claims.push((name.clone(), entry));
                }
            }
        }
    }

    /// The objects that are known now, after those that were.
    pub(super) fn finish(
        mut self,
        before: &BTreeMap<ObjectId, Known>,
        findings: &mut Vec<Diagnosis>,
    ) -> BTreeMap<ObjectId, Known> {
        let mut now = BTreeMap::new();
        for (id, claims) in std::mem::take(&mut self.claims) {
            let old = before.get(&id);
            let Some((file, entry)) = the_one(&id, claims, old, findings) else {
                continue;
            };
            let read = entry.body.map(|body| Known {
                file: file.clone(),
                rank: entry.rank,
                body,
                places: Some(entry.places.clone()),
            });
            let kept = || {
                let known = Known {
                    file: file.clone(),
                    places: None,
                    ..old?.clone()
                };
                // Its place is known, its text is not the one that is kept.
                findings.push(Diagnosis {
                    file: file.clone(),
                    position: entry.places.value("metadata.name"),
                    severity: Severity::Warning,
                    path: "metadata.name".to_owned(),
                    message: format!("{id} keeps its last good state"),
                });
                Some(known)
            };
            if let Some(known) = read.or_else(kept) {
                now.insert(id, known);
            }
        }
        for (id, old) in before {
            if !now.contains_key(id) && self.keeps(&old.file) {
                let message = format!("{id} keeps its last good state");
                findings.push(Diagnosis {
                    file: old.file.clone(),
                    position: Position::START,
                    severity: Severity::Warning,
                    path: DOCUMENT.to_owned(),
                    message,
                });
                let places = None;
                now.insert(
                    id.clone(),
                    Known {
                        places,
                        ..old.clone()
                    },
                );
            }
        }
        now
    }

    /// Whether an object that `file` had, and that is nowhere now, is kept.
    fn keeps(&self, file: &str) -> bool {
        self.unreadable.contains(file) || self.unclear.contains(file)
    }
}

/// Which of several descriptions of one object counts: that of the file which had it, else the first. The others are
/// errors.
fn the_one(
    id: &ObjectId,
    claims: Vec<(String, Entry)>,
    old: Option<&Known>,
    findings: &mut Vec<Diagnosis>,
) -> Option<(String, Entry)> {
    let had = |(file, _): &(String, Entry)| old.is_some_and(|old| old.file == *file);
    let chosen = claims.iter().position(had).unwrap_or(0);
    let place = |(file, entry): &(String, Entry)| {
        let Position { line, column } = entry.places.value("metadata.name");
        format!("{file}:{line}:{column}")
    };
    // Only where there are others, for it costs a second look at the text.
    let first = (claims.len() > 1).then(|| claims.get(chosen).map(place));
    let first = first.flatten().unwrap_or_default();
    let mut winner = None;
    for (i, (file, entry)) in claims.into_iter().enumerate() {
        if i == chosen {
            winner = Some((file, entry));
            continue;
        }
        findings.push(Diagnosis {
            position: entry.places.value("metadata.name"),
            file,
            severity: Severity::Error,
            path: "metadata.name".to_owned(),
            message: format!("{id} is at {first} already, which counts: remove one of the two"),
        });
    }
    winner
}
