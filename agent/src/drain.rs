//! What the node's operator wants others to serve: `drain`, `failover` and `undrain`.
//!
//! Owns the file in the state directory that keeps the wish over restarts and takeovers. A drained router takes
//! part with priority 1; what follows from that is the election's. Decides nothing about the network.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tracing::warn;
use vipkeeper_crds::NodeConfigSpec;
use vipkeeper_vrrp::Priority;

/// The file's name in the state directory.
const FILE: &str = "drained";

/// The wish as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drained {
    /// Every router, those to come as well.
    node: bool,
    /// These, by name.
    routers: BTreeSet<String>,
}

impl Drained {
    /// Whether `router` takes part with priority 1.
    #[must_use]
    pub fn includes(&self, router: &str) -> bool {
        self.node || self.routers.contains(router)
    }

    /// How that is undone.
    #[must_use]
    pub fn way_back(&self, router: &str) -> String {
        if self.node {
            "vipkeeper-agent undrain".to_owned()
        } else {
            format!("vipkeeper-agent undrain {router}")
        }
    }
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// Leave all addresses to others.
    Drain,
    /// Leave those of one router to others; without a name, of the only one there is.
    Failover(Option<String>),
    /// Take part as configured again: with everything, or with one router.
    Undrain(Option<String>),
}

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such router.
    #[error("no router `{name}` runs on this node; there is {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No name, and not exactly one router.
    #[error("which router? There is {0}")]
    Ambiguous(String),
    /// The address owner is Active whenever it runs (RFC 9568 §6.4).
    #[error(
        "router `{0}` has priority 255: this node owns the addresses and cannot give them away; configure another priority, or stop the agent"
    )]
    Owner(String),
    /// A part cannot be taken back from a whole.
    #[error(
        "the whole node is drained: `vipkeeper-agent undrain` without a router takes that back"
    )]
    WholeNode,
    /// It was not drained.
    #[error("router `{0}` is not drained")]
    NotDrained(String),
    /// It would not survive a restart.
    #[error("{path}: the request cannot be kept over a restart")]
    Unwritable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The wish, its file, and who wants to know of it.
#[derive(Debug)]
pub struct Drains {
    path: PathBuf,
    /// One request after the other: what is told is what is in the file.
    turn: Mutex<()>,
    drained: watch::Sender<Arc<Drained>>,
}

impl Drains {
    /// As the file in `state_dir` says. One that cannot be read is told of and taken for none: a node that does
    /// nothing for a file's sake would help nobody.
    #[must_use]
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let drained = read(&path).unwrap_or_else(|error| {
            let path = path.display();
            warn!(%path, error = format!("{error:#}"), "it is not known what was drained: nothing is; drain again");
            Drained::default()
        });
        Self {
            path,
            turn: Mutex::new(()),
            drained: watch::Sender::new(Arc::new(drained)),
        }
    }

    /// What is drained, now and later.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Drained>> {
        self.drained.subscribe()
    }

    /// Carries out `request` on a node that runs `configs`; what there is to say about it, a line each.
    ///
    /// # Errors
    /// Why nothing changed.
    pub async fn ask(
        &self,
        request: &Request,
        configs: &[NodeConfigSpec],
    ) -> Result<String, Refusal> {
        let _turn = self.turn.lock().await;
        let mut next = (**self.drained.borrow()).clone();
        let answer = next.heed(request, configs)?;
        self.save(&next).map_err(|source| Refusal::Unwritable {
            path: self.path.display().to_string(),
            source,
        })?;
        self.drained.send_replace(Arc::new(next));
        Ok(answer)
    }

    /// By rename, so that it is whole or not there, and onto the disk: it outlives the machine's boot.
    fn save(&self, drained: &Drained) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(drained)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)
    }
}

impl Drained {
    fn heed(&mut self, request: &Request, configs: &[NodeConfigSpec]) -> Result<String, Refusal> {
        match request {
            Request::Drain => {
                self.node = true;
                let mut answer = "drained: every router of this node takes part with priority 1 until `vipkeeper-agent undrain`\n".to_owned();
                for owner in configs.iter().filter(|config| is_owner(config)) {
                    answer += &format!(
                        "{}: stays, this node owns its addresses (priority 255)\n",
                        owner.router
                    );
                }
                Ok(answer)
            }
            Request::Failover(name) => {
                let config = find(name.as_deref(), configs)?;
                let name = config.router.clone();
                if is_owner(config) {
                    return Err(Refusal::Owner(name));
                }
                let answer = format!(
                    "{name}: takes part with priority 1 until `vipkeeper-agent undrain {name}`\n"
                );
                self.routers.insert(name);
                Ok(answer)
            }
            Request::Undrain(None) => {
                *self = Self::default();
                Ok("every router takes part as configured\n".to_owned())
            }
            Request::Undrain(Some(name)) if self.routers.remove(name) && !self.node => {
                Ok(format!("{name}: takes part as configured\n"))
            }
            Request::Undrain(Some(_)) if self.node => Err(Refusal::WholeNode),
            Request::Undrain(Some(name)) => {
                find(Some(name), configs)?;
                Err(Refusal::NotDrained(name.clone()))
            }
        }
    }
}

fn is_owner(config: &NodeConfigSpec) -> bool {
    config.priority == Priority::OWNER.get()
}

fn find<'a>(
    name: Option<&str>,
    configs: &'a [NodeConfigSpec],
) -> Result<&'a NodeConfigSpec, Refusal> {
    let known = || match configs {
        [] => "none".to_owned(),
        _ => {
            let names: Vec<_> = configs.iter().map(|c| format!("`{}`", c.router)).collect();
            names.join(", ")
        }
    };
    match (name, configs) {
        (None, [only]) => Ok(only),
        (None, _) => Err(Refusal::Ambiguous(known())),
        (Some(name), _) => {
            let found = configs.iter().find(|config| config.router == name);
            found.ok_or_else(|| Refusal::Unknown {
                name: name.to_owned(),
                known: known(),
            })
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Drained> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Drained::default()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
