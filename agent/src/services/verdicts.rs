//! The verdicts of probes in a file, so that an agent that is replaced or was killed begins with what its predecessor
//! knew.
//!
//! Owns the file. It is believed for a minute: what is older says nothing of a real server.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tracing::{debug, info};

use crate::probe::{Judgement, Target};

/// How old verdicts may be.
const LIFETIME: Duration = Duration::from_secs(60);
/// How often the file says that what it says still holds.
const CONFIRMATION: Duration = Duration::from_secs(15);
/// A file of ten thousand real servers is a tenth of this.
const MAX_BYTES: u64 = 32 << 20;

/// The file.
#[derive(Debug)]
pub(super) struct Verdicts {
    path: PathBuf,
    /// What a process before this one thought, until its targets are known or it is too old.
    before: HashMap<Place, Judgement>,
    until: SystemTime,
    confirmed: Option<SystemTime>,
    /// Whether the file says something else than what was to be saved last.
    is_outdated: bool,
}

/// What tells targets apart from one process to the next.
type Place = (IpAddr, u16, u64);

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    address: IpAddr,
    port: u16,
    shape: u64,
    healthy: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
}

impl Verdicts {
    /// What the file says at `now`, if it is not too old. A file that is none is as good as none.
    pub(super) fn open(path: PathBuf, now: SystemTime) -> Self {
        let written = fs::metadata(&path).and_then(|m| m.modified()).ok();
        let until = written.map_or(now, |written| written + LIFETIME);
        // A file of the future is one of a clock that went back.
        let is_fresh = written.is_some_and(|written| now < until && written <= now + LIFETIME);
        let before = if is_fresh {
            read(&path)
        } else {
            Ok(HashMap::new())
        };
        let before = before.unwrap_or_else(|error| {
            info!(%error, "the verdicts of the process before cannot be read");
            HashMap::new()
        });
        Self {
            path,
            before,
            until,
            confirmed: None,
            is_outdated: false,
        }
    }

    /// What was thought of those of `targets` that the process before knew: once each.
    pub(super) fn of<'a>(
        &mut self,
        targets: impl IntoIterator<Item = &'a Target>,
        now: SystemTime,
    ) -> Vec<(Target, Judgement)> {
        if now >= self.until {
            self.before.clear();
        }
        if self.before.is_empty() {
            return Vec::new();
        }
        let known = targets.into_iter().filter_map(|target| {
            let judgement = self.before.remove(&place(target))?;
            Some((target.clone(), judgement))
        });
        known.collect()
    }

    /// Writes `judgements` if they are `news`, or could not be written before; says from time to time that they still hold.
    pub(super) fn save(
        &mut self,
        judgements: &HashMap<Target, Judgement>,
        news: bool,
        now: SystemTime,
    ) {
        let is_due = self
            .confirmed
            .and_then(|at| now.duration_since(at).ok())
            .is_none_or(|age| age >= CONFIRMATION);
        // A file that lacks the latest must grow old: who believed it would send traffic to the dead.
        let saved = match (news || self.is_outdated, is_due) {
            (true, _) => self.write(judgements),
            (false, true) if self.confirmed.is_some() => File::options()
                .write(true)
                .open(&self.path)
                .and_then(|f| f.set_modified(now)),
            (false, _) => return,
        };
        self.is_outdated = saved.is_err();
        match saved {
            Ok(()) => self.confirmed = Some(now),
            // The kernel's weights tell the next process enough.
            Err(error) => debug!(%error, path = ?self.path, "verdicts are not saved"),
        }
    }

    fn write(&self, judgements: &HashMap<Target, Judgement>) -> io::Result<()> {
        let lines: Vec<Line> = judgements.iter().map(line).collect();
        let beside = self.path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&lines)?)?;
        fs::rename(&beside, &self.path)
    }
}

fn read(path: &PathBuf) -> io::Result<HashMap<Place, Judgement>> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other("the file is too long"));
    }
    let lines: Vec<Line> = serde_json::from_slice(&fs::read(path)?)?;
    let judgement = |line: Line| {
        let judgement = Judgement {
            healthy: line.healthy,
            weight: line.weight,
            reason: line.reason.into(),
        };
        ((line.address, line.port, line.shape), judgement)
    };
    Ok(lines.into_iter().map(judgement).collect())
}

fn line((target, judgement): (&Target, &Judgement)) -> Line {
    let (address, port, shape) = place(target);
    Line {
        address,
        port,
        shape,
        healthy: judgement.healthy,
        weight: judgement.weight,
        reason: (*judgement.reason).to_owned(),
    }
}

fn place(target: &Target) -> Place {
    (
        target.address(),
        target.port(),
        target.shape().fingerprint(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Directory;

    const SECOND: Duration = Duration::from_secs(1);

    fn target() -> Target {
        let probe = serde_json::from_value(serde_json::json!({
            "name": "tcp", "kind": {"type": "TCP"}, "interval": "1s", "timeout": "1s", "rise": 1, "fall": 3,
            "delayAfterFailure": "1s",
        }));
        Target::of(&probe.unwrap(), ([192, 0, 2, 1], 80).into())
    }

    fn judgements(healthy: bool) -> HashMap<Target, Judgement> {
        let judgement = Judgement {
            healthy,
            weight: None,
            reason: "".into(),
        };
        [(target(), judgement)].into()
    }

    /// What the next process would believe of the target.
    fn believed(path: &std::path::Path) -> Option<bool> {
        let mut verdicts = Verdicts::open(path.to_owned(), SystemTime::now());
        let known = verdicts.of([&target()], SystemTime::now());
        known.first().map(|(_, judgement)| judgement.healthy)
    }

    #[test]
    fn what_is_saved_is_believed_and_confirmed_from_time_to_time() {
        let directory = Directory::new();
        let path = directory.path().join("verdicts");
        let now = SystemTime::now();
        let mut verdicts = Verdicts::open(path.clone(), now);
        verdicts.save(&judgements(true), true, now);
        assert_eq!(believed(&path), Some(true));
        let later = now + CONFIRMATION;
        verdicts.save(&judgements(true), false, later);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), later);
    }

    #[test]
    fn what_could_not_be_written_is_not_confirmed_but_written_the_next_time() {
        let directory = Directory::new();
        let path = directory.path().join("verdicts");
        let now = SystemTime::now();
        let mut verdicts = Verdicts::open(path.clone(), now);
        verdicts.save(&judgements(true), true, now);
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        // Where the file is made stands a directory.
        let beside = path.with_extension("new");
        fs::create_dir(&beside).unwrap();
        verdicts.save(&judgements(false), true, now + SECOND);
        verdicts.save(&judgements(false), false, now + 2 * CONFIRMATION);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
        fs::remove_dir(&beside).unwrap();
        verdicts.save(&judgements(false), false, now + 2 * CONFIRMATION + SECOND);
        assert_eq!(believed(&path), Some(false));
    }

    #[test]
    fn a_file_that_somebody_removed_is_written_again() {
        let directory = Directory::new();
        let path = directory.path().join("verdicts");
        let now = SystemTime::now();
        let mut verdicts = Verdicts::open(path.clone(), now);
        verdicts.save(&judgements(true), true, now);
        fs::remove_file(&path).unwrap();
        verdicts.save(&judgements(true), false, now + CONFIRMATION);
        verdicts.save(&judgements(true), false, now + CONFIRMATION + SECOND);
        assert_eq!(believed(&path), Some(true));
    }
}
