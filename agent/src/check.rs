//! `vipkeeper-agent check`: what is wrong with a directory of manifests, and for whom it means something.
//!
//! Reads files and writes text. Needs no privilege and changes nothing.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use vipkeeper_manifests::Tally;

use crate::source;

/// How a check ended. Warnings are no errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0: everything runs.
    Good,
    /// Exit code 1: something is refused.
    Bad,
    /// Exit code 2: nothing was checked, or nothing could be said.
    CannotRun,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Good => 0,
            Outcome::Bad => 1,
            Outcome::CannotRun => 2,
        })
    }
}

/// Checks the manifests in `dir`, and writes to `out` one line `file:line:col: severity: path: message` for each
/// finding and a summary: what `node` runs, or without one what every listed node runs.
pub fn run(dir: &Path, node: Option<&str>, out: &mut impl Write) -> Outcome {
    match source::survey(dir, node) {
        Ok(survey) => report(&survey, out).unwrap_or(Outcome::CannotRun),
        Err(error) => {
            // Where nothing can be said, the exit code says it.
            writeln!(out, "{}: cannot be read: {error}", dir.display()).ok();
            Outcome::CannotRun
        }
    }
}

fn report(survey: &source::Survey, out: &mut impl Write) -> io::Result<Outcome> {
    for finding in &survey.findings {
        writeln!(out, "{finding}")?;
    }
    let tally = Tally::of(survey.files, &survey.findings);
    writeln!(out, "{tally}; {}", duties(&survey.nodes))?;
    out.flush()?;
    Ok(if tally.errors == 0 {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

/// Which routers each node runs, in words.
fn duties(nodes: &[(String, Vec<String>)]) -> String {
    let duty = |(node, routers): &(String, Vec<String>)| match routers.is_empty() {
        true => format!("{node} runs no router"),
        false => format!("{node} runs {}", routers.join(", ")),
    };
    match nodes.is_empty() {
        true => "no node runs any router".to_owned(),
        false => nodes.iter().map(duty).collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn checked(dir: &Path, node: Option<&str>) -> (Outcome, String) {
        let mut out = Vec::new();
        let outcome = run(dir, node, &mut out);
        (outcome, String::from_utf8(out).unwrap())
    }

    fn samples() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/samples")
    }

    #[test]
    fn every_sample_is_accepted_without_a_word() {
        let mut seen = 0;
        for entry in fs::read_dir(samples()).unwrap() {
            let dir = entry.unwrap().path();
            if dir.is_dir() {
                let (outcome, text) = checked(&dir, None);
                assert_eq!(outcome, Outcome::Good, "{}: {text}", dir.display());
                assert_eq!(text.lines().count(), 1, "{}: {text}", dir.display());
                seen += 1;
            }
        }
        assert!(seen > 0);
    }

    #[test]
    fn the_classic_pair_runs_on_both_nodes() {
        let dir = samples().join("master-master");
        let (_, text) = checked(&dir, None);
        let all =
            "1 file: 0 errors, 0 warnings; node-a runs web-a, web-b; node-b runs web-a, web-b\n";
        assert_eq!(text, all);
        let (_, text) = checked(&dir, Some("node-a"));
        assert!(text.ends_with("; node-a runs web-a, web-b\n"), "{text}");
        let (outcome, text) = checked(&dir, Some("node-c"));
        assert_eq!(outcome, Outcome::Good);
        assert!(text.ends_with("; node-c runs no router\n"), "{text}");
        let mine = source::load(&dir, "node-b").unwrap();
        let priorities: Vec<u8> = mine.configs.iter().map(|c| c.priority).collect();
        assert_eq!(priorities, [90, 100]);
    }

    #[test]
    fn errors_are_said_with_their_place_and_warnings_do_not_count() {
        let dir = std::env::temp_dir().join(format!("vk-check-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("m.yaml");
        fs::write(&file, "apiVersion: v1\nkind: Service\n").unwrap();
        let warned = checked(&dir, None);
        fs::write(&file, "a: [1\n").unwrap();
        let refused = checked(&dir, None);
        fs::remove_dir_all(&dir).unwrap();

        let name = file.display();
        let text = format!(
            "{name}:2:7: warning: kind: kind Service is not used by the standalone agent\n1 file: 0 errors, 1 warning; no node runs any router\n"
        );
        assert_eq!(warned, (Outcome::Good, text));
        assert_eq!(refused.0, Outcome::Bad);
        let place = format!("{name}:1:4: error: document: ");
        assert!(refused.1.starts_with(&place), "{}", refused.1);
        assert!(
            refused.1.contains("\n1 file: 1 error, 0 warnings; "),
            "{}",
            refused.1
        );
    }

    #[test]
    fn what_cannot_be_read_or_said_is_neither_good_nor_bad() {
        let missing = std::env::temp_dir().join("vk-check-missing");
        let (outcome, text) = checked(&missing, None);
        assert_eq!(outcome, Outcome::CannotRun);
        assert!(
            text.contains("vk-check-missing: cannot be read: "),
            "{text}"
        );

        let mut full: &mut [u8] = &mut [0; 4];
        assert_eq!(
            run(&samples().join("master-master"), None, &mut full),
            Outcome::CannotRun
        );
    }
}
