//! The files of a directory of manifests.
//!
//! Reads the manifests of the directory itself; directories in it are passed over.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use vipkeeper_manifests::{MAX_BYTES, is_manifest};

use super::File;

/// The files of `dir` by name.
///
/// # Errors
/// If the directory itself cannot be read. A file that cannot be read says so itself; one that vanishes meanwhile is
/// no file.
pub(super) fn read(dir: &Path) -> io::Result<Vec<File>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if is_manifest(&path) {
            names.push(path);
        }
    }
    names.sort();
    Ok(names.iter().filter_map(|path| file(path)).collect())
}

fn file(path: &Path) -> Option<File> {
    let text = match text(path) {
        Ok(text) => text?,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    Some(File {
        name: path.display().to_string(),
        text,
    })
}

/// The text of a file, or why it is not taken; `None` for what is no file.
fn text(path: &Path) -> io::Result<Option<Result<String, String>>> {
    // Asked before opening: opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Some(Err(format!(
            "is larger than {MAX_BYTES} bytes: split it into several files"
        ))));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned());
    Ok(Some(text))
}
