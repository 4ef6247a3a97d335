//! File: a file of the node is there and does not say that the server is down.
//!
//! Owns what its first bytes mean. Never writes, and never waits for a file that blocks: only regular files are read.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::engine::Asked;
use super::outcome::{Answer, Failure, Lack, Stage, Stop};

/// How much of a file is looked at.
const LONGEST: u64 = 64;

/// Which file, and whether it says a weight.
#[derive(Debug)]
pub(super) struct Question {
    path: PathBuf,
    dynamic_weight: bool,
    /// A file system that hangs holds one thread, however often it is asked.
    reading: Arc<AtomicBool>,
}

impl Question {
    pub(super) fn of(path: &str, dynamic_weight: bool) -> Self {
        Self {
            path: path.into(),
            dynamic_weight,
            reading: Arc::default(),
        }
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Answer {
        asked.progress.reach(Stage::Running);
        if self.reading.swap(true, Ordering::Acquire) {
            return Err(Failure::File("is still being read").into());
        }
        let path = self.path.clone();
        let reading = self.reading.clone();
        let content = tokio::task::spawn_blocking(move || {
            let content = read(&path);
            reading.store(false, Ordering::Release);
            content
        });
        let content = content.await.map_err(|_| Stop::Lack(Lack::Processes))?;
        let content = content.map_err(failure)?;
        judge(&content, self.dynamic_weight)
    }
}

/// The beginning of a regular file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let options = &mut OpenOptions::new();
    // A pipe without a writer would block.
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    file.take(LONGEST).read_to_end(&mut content)?;
    Ok(content)
}

fn failure(error: io::Error) -> Stop {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        Failure::File("is not there").into()
    } else if kind == io::ErrorKind::PermissionDenied {
        Failure::File("cannot be read").into()
    } else if kind == io::ErrorKind::InvalidInput {
        Failure::File("is no regular file").into()
    } else {
        error.into()
    }
}

fn judge(content: &[u8], dynamic_weight: bool) -> Answer {
    let content = content.trim_ascii_start();
    if content.starts_with(b"0") || content.starts_with(b"down") {
        return Err(Failure::File("says down").into());
    }
    if !dynamic_weight {
        return Ok(None);
    }
    let digits = content.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0_u32, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    });
    match number {
        0 => Ok(None),
        1..=65_535 => Ok(Some(number)),
        65_536.. => Err(Failure::File("says no weight from 1 to 65535").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says() {
        for (content, plain, weighed) in [
            ("", Ok(None), Ok(None)),
            ("up\n", Ok(None), Ok(None)),
            ("7\n", Ok(None), Ok(Some(7))),
            (" 65535 ", Ok(None), Ok(Some(65_535))),
            (
                "65536",
                Ok(None),
                Err("the file says no weight from 1 to 65535"),
            ),
            (
                "99999999999999999999",
                Ok(None),
                Err("the file says no weight from 1 to 65535"),
            ),
            ("0", Err("the file says down"), Err("the file says down")),
            (
                "\ndown for repairs",
                Err("the file says down"),
                Err("the file says down"),
            ),
        ] {
            for (dynamic_weight, expected) in [(false, plain), (true, weighed)] {
                let said = judge(content.as_bytes(), dynamic_weight);
                let said = said.map_err(|stop| match stop {
                    Stop::Failure(failure) => failure.to_string(),
                    Stop::Lack(lack) => lack.as_str().to_owned(),
                });
                assert_eq!(said, expected.map_err(str::to_owned), "{content:?}");
            }
        }
    }
}
