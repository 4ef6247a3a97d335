//! The list of requirements in the crate's documentation is complete, and says what is so.
#![expect(
    clippy::disallowed_methods,
    reason = "it reads the sources of the tests it speaks of"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const LIST: &str = include_str!("../../src/conformance.md");

/// Who proves a requirement by tests that can be looked up here, and where they are.
const PLACES: [(&str, &[&str]); 3] = [
    ("vrrp", &["src", "tests"]),
    ("wire", &["../wire/src", "../wire/tests"]),
    ("compiler", &["../../compiler/src"]),
];

/// Who needs none: a reason is enough.
const WITHOUT: [&str; 3] = ["netns", "later", "none"];

struct Row<'a> {
    id: &'a str,
    places: Vec<&'a str>,
    text: &'a str,
    /// What stands between backticks.
    tests: Vec<&'a str>,
}

fn rows() -> Vec<Row<'static>> {
    let lines = LIST
        .lines()
        .filter(|l| l.starts_with("| C") || l.starts_with("| X"));
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, places, text] = cells[..] else {
            panic!("not three cells: {line}");
        };
        let quoted = text.split('`').skip(1).step_by(2);
        Row {
            id,
            places: places.split(", ").collect(),
            text,
            tests: quoted.filter(|word| word.contains('_')).collect(),
        }
    };
    lines.map(row).collect()
}

/// The names of all functions that are tests in `places`.
fn tests_in(places: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (place, folders) in PLACES {
        if places.contains(&place) {
            for folder in folders {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
                collect(&folder, &mut names);
            }
        }
    }
    names
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|e| e == "rs") {
            names.extend(tests_of(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Functions under `#[test]`, other attributes between allowed.
fn tests_of(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            if is_test {
                names.push(rest.split('(').next().unwrap_or(rest).to_owned());
            }
            is_test = false;
        }
    }
    names
}

/// The ids that a test's name begins with: `c28_c29_a_list_…` names C28 and C29.
fn ids_of(test: &str) -> Vec<String> {
    let is_id = |part: &&str| {
        let number = part.strip_prefix(['c', 'x']).unwrap_or("");
        number.len() >= 2 && number.bytes().all(|b| b.is_ascii_digit())
    };
    let parts = test.split('_').take_while(is_id);
    parts.map(str::to_uppercase).collect()
}

#[test]
fn every_id_is_listed_once() {
    let clauses = (1..=112).map(|n| format!("C{n:02}"));
    let extensions = (1..=10).map(|n| format!("X{n:02}"));
    let expected: Vec<String> = clauses.chain(extensions).collect();
    let listed: Vec<&str> = rows().iter().map(|row| row.id).collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_row_names_tests_that_exist_or_a_reason() {
    for row in rows() {
        let proved = PLACES.iter().any(|(place, _)| row.places.contains(place));
        for place in &row.places {
            let known = WITHOUT.contains(place) || PLACES.iter().any(|(name, _)| name == place);
            assert!(known, "{}: {place}", row.id);
        }
        if !proved {
            assert!(row.tests.is_empty() && row.text.len() > 3, "{}", row.id);
            continue;
        }
        for place in &row.places {
            let here = tests_in(&[place]);
            let found = row.tests.iter().any(|test| here.contains(*test));
            assert!(found, "{}: no test of {place} is named", row.id);
        }
        let existing = tests_in(&row.places);
        for test in row.tests {
            assert!(
                existing.contains(test),
                "{}: there is no test {test}",
                row.id
            );
        }
    }
}

#[test]
fn every_test_that_names_an_id_stands_for_a_row_with_tests() {
    let rows: BTreeMap<&str, usize> = rows().iter().map(|r| (r.id, r.tests.len())).collect();
    for test in tests_in(&["vrrp", "wire"]) {
        for id in ids_of(&test) {
            let tests = rows.get(id.as_str());
            assert!(
                tests.is_some_and(|n| *n > 0),
                "{test}: {id} is said to have no test"
            );
        }
    }
}

#[test]
fn ids_are_read_from_names() {
    assert_eq!(ids_of("c28_c29_a_list"), ["C28", "C29"]);
    assert_eq!(ids_of("x01_a_delay"), ["X01"]);
    assert_eq!(ids_of("c100_a_delay"), ["C100"]);
    assert!(ids_of("a_c28_list").is_empty());
}
