//! What was verified last, as a file of root's alone: an agent that starts while the API server is away serves it.
//!
//! Written as a whole, beside the file and then in its place, so that whoever dies leaves the old or the new.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::saved::{FORMAT, Saved};

/// The file.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    path: PathBuf,
    node: String,
}

impl Cache {
    /// Of `node`, in `state_dir`.
    pub(super) fn new(state_dir: &Path, node: &str) -> Self {
        Self {
            path: state_dir.join("configuration"),
            node: node.to_owned(),
        }
    }

    /// What it holds; one that cannot be used is as good as none, and says why.
    pub(super) fn read(&self) -> Option<Saved> {
        let path = self.path.display();
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(%path, %error, "the configuration of before cannot be read; waiting for the API server");
                return None;
            }
        };
        let saved: Saved = match serde_json::from_slice(&text) {
            Ok(saved) => saved,
            Err(error) => {
                // Not the error as it is: it may quote a value.
                let (line, column) = (error.line(), error.column());
                warn!(%path, line, column, "the configuration of before is damaged; waiting for the API server");
                return None;
            }
        };
        if saved.format != FORMAT || saved.node != self.node {
            info!(%path, format = saved.format, node = saved.node, "the configuration of before is of another form or node");
            return None;
        }
        Some(saved)
    }

    /// Replaces what it holds.
    pub(super) fn write(&self, saved: &Saved) -> io::Result<()> {
        replace(&self.path, &serde_json::to_vec(saved)?)
    }

    /// Where the endpoints are.
    pub(super) fn endpoints(&self) -> PathBuf {
        self.path.with_file_name("endpoints")
    }

    /// Where it is, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Replaces what the file at `path` holds.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
