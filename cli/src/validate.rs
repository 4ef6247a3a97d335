//! `validate`: what is wrong with manifests, without a cluster.

use std::fs;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use vipkeeper_manifests::{Diagnosis, File, MAX_BYTES, Tally, is_manifest, review, survey};

use crate::Outcome;
use crate::cli::ValidateArgs;

pub(crate) fn run(args: &ValidateArgs, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let paths: Vec<&PathBuf> = args.files.iter().chain(&args.filename).collect();
    if paths.is_empty() {
        bail!("name files, directories, or - for standard input");
    }
    let mut files = Vec::new();
    for path in paths {
        files.extend(read(path, &mut io::stdin()).with_context(|| path.display().to_string())?);
    }
    let findings = if args.standalone {
        survey(&files, None).findings
    } else {
        review(&files)
    };
    Ok(say(&findings, files.len(), out)?)
}

fn say(findings: &[Diagnosis], files: usize, out: &mut impl Write) -> io::Result<Outcome> {
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    let tally = Tally::of(files, findings);
    writeln!(out, "{tally}")?;
    Ok(if tally.errors == 0 {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

/// The files of `path`: it itself, those of a directory, or standard input.
fn read(path: &Path, input: &mut impl io::Read) -> io::Result<Vec<File>> {
    if path == Path::new("-") {
        return Ok(vec![File {
            name: "-".to_owned(),
            text: text(input)?,
        }]);
    }
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![file(path)?]);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        // What an agent would read of a directory, too.
        if is_manifest(&path) && path.is_file() {
            names.push(path);
        }
    }
    names.sort();
    names.iter().map(|path| file(path)).collect()
}

fn file(path: &Path) -> io::Result<File> {
    Ok(File {
        name: path.display().to_string(),
        text: text(&mut fs::File::open(path)?)?,
    })
}

/// The text, or why it is not taken.
fn text(from: &mut impl io::Read) -> io::Result<Result<String, String>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Err(format!("is larger than {MAX_BYTES} bytes: split it")));
    }
    Ok(String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: vipkeeper.io/v1alpha1
kind: VirtualRouter
metadata: {name: web}
spec:
  addresses: [{address: 192.0.2.100}]
";

    fn checked(text: &str, standalone: bool) -> (Outcome, String) {
        let mut out = Vec::new();
        let files = read(Path::new("-"), &mut text.as_bytes()).unwrap();
        let findings = if standalone {
            survey(&files, None).findings
        } else {
            review(&files)
        };
        let outcome = say(&findings, files.len(), &mut out).unwrap();
        (outcome, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_router_for_a_cluster_needs_no_vrid_and_no_nodes() {
        let (outcome, said) = checked(GOOD, false);
        assert_eq!(
            (outcome, said.as_str()),
            (Outcome::Good, "1 file: 0 errors, 0 warnings\n")
        );
        let (outcome, said) = checked(GOOD, true);
        assert_eq!(outcome, Outcome::Bad);
        assert!(said.contains("spec.virtualRouterId: required"), "{said}");
    }

    #[test]
    fn an_error_has_its_place() {
        let (outcome, said) = checked(&GOOD.replace("192.0.2.100", "192.0.2.300"), false);
        assert_eq!(outcome, Outcome::Bad);
        assert!(
            said.starts_with("-:5:25: error: spec.addresses[0].address: "),
            "{said}"
        );
        assert!(said.ends_with("\n1 file: 1 error, 0 warnings\n"), "{said}");
    }

    #[test]
    fn virtual_servers_are_checked_with_what_is_among_the_files() {
        let server = "---
apiVersion: vipkeeper.io/v1alpha1
kind: VirtualServer
metadata: {namespace: shop, name: one}
spec:
  routerRef: {name: web}
  ports: [{port: 80}]
  realServers: [{address: 10.0.0.1}]
";
        // The router does not let anybody attach; one that is in the cluster may.
        let (outcome, said) = checked(&format!("{GOOD}{server}"), false);
        assert_eq!(outcome, Outcome::Bad);
        assert!(
            said.starts_with("-:11:21: error: spec.routerRef.name: "),
            "{said}"
        );
        let (outcome, said) = checked(server, false);
        assert_eq!(outcome, Outcome::Good, "{said}");
        let (outcome, said) = checked(&server.replace("10.0.0.1", "10.0.0.300"), false);
        assert_eq!(outcome, Outcome::Bad);
        assert!(
            said.starts_with("-:8:27: error: spec.realServers[0].address: "),
            "{said}"
        );
    }

    #[test]
    fn a_directory_is_its_manifests_and_a_missing_file_is_an_error() {
        let dir = std::env::temp_dir().join(format!("vk-validate-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("a.yaml"), GOOD).unwrap();
        fs::write(dir.join("b.txt"), "a: [").unwrap();
        fs::write(dir.join(".c.yaml"), "a: [").unwrap();
        let files = read(&dir, &mut io::empty()).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, [dir.join("a.yaml").to_str().unwrap()]);
        assert!(read(&dir, &mut io::empty()).is_err());
    }

    #[test]
    fn without_any_file_it_says_what_to_name() {
        let args = ValidateArgs {
            files: Vec::new(),
            filename: Vec::new(),
            standalone: false,
        };
        let error = run(&args, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with("name files"), "{error}");
    }
}
