//! One NodeConfig of this node, with its last good state. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use vipkeeper_crds::conditions::Reason;
use vipkeeper_crds::status::Acceptance;
use vipkeeper_crds::{NodeAuthentication, SecretKey};
use vipkeeper_vrrp::Time;

use super::told::{Content, Told};
use crate::plan;
use crate::source::{DOCUMENT, Diagnosis, Keys, Position, Severity};

/// For how long what disappeared in a way that looks like a mistake is kept.
pub(super) const KEPT: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug)]
pub(super) struct Object {
    /// When it came, among the others.
    pub(super) order: u64,
    /// As the API server told it last; `None` if only the cache knows it.
    pub(super) told: Option<Told>,
    pub(super) uid: String,
    /// What is in force.
    pub(super) good: Option<Content>,
    /// Why that is not what was told.
    pub(super) refusal: Option<(Reason, String)>,
    /// A process before this one ran it, and this one cannot.
    pub(super) lost: bool,
    pub(super) gone: Option<Gone>,
}

/// It disappeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) since: Time,
    /// Nothing speaks against somebody having deleted it on purpose.
    pub(super) plain: bool,
}

impl Object {
    /// One of which nothing is known yet.
    pub(super) const fn new(order: u64) -> Self {
        Self {
            order,
            told: None,
            uid: String::new(),
            good: None,
            refusal: None,
            lost: false,
            gone: None,
        }
    }

    /// One that the cache has.
    pub(super) fn restored(order: u64, uid: String, content: Content) -> Self {
        let refusal = unsupported(&content);
        Self {
            uid,
            lost: refusal.is_some(),
            good: refusal.is_none().then_some(content),
            refusal,
            ..Self::new(order)
        }
    }

    /// The API server tells that it is so. What it says stays the same value where it says the same.
    pub(super) fn tell(&mut self, mut told: Told) {
        let before = self.told.take().map(|before| before.content);
        if let Some(before) = before.filter(|before| *before == told.content) {
            told.content = before;
        }
        self.uid.clone_from(&told.uid);
        self.told = Some(told);
        self.gone = None;
    }

    /// Takes over what was told, if it can run.
    pub(super) fn settle(&mut self, keys: &Keys, missing: &BTreeMap<SecretKey, String>) {
        let Some(told) = &self.told else {
            return;
        };
        let content = match &told.content {
            Ok(content) => content,
            Err(refusal) => {
                self.refusal = Some(refusal.clone());
                return;
            }
        };
        self.lost = false;
        let Some(key) = key_of(content) else {
            self.good = Some(content.clone());
            self.refusal = None;
            return;
        };
        let known = keys.get(key).is_some();
        // The heartbeat runs without its key, and says so itself.
        if known || matches!(content, Content::Node(_)) {
            self.good = Some(content.clone());
        }
        self.refusal = match (missing.get(key), known) {
            (None, true) => None,
            (None, false) => Some((Reason::SecretMissing, format!("{key} is not known yet"))),
            (Some(why), true) => Some((
                Reason::SecretMissing,
                format!("{why}; what it was before is still used"),
            )),
            (Some(why), false) => Some((Reason::SecretMissing, why.clone())),
        };
    }

    /// Whether the API server has it, and what it says is what is in force.
    pub(super) const fn is_current(&self) -> bool {
        self.told.is_some() && self.refusal.is_none() && self.gone.is_none()
    }

    /// Whether it is about servers of a router alone.
    pub(super) fn is_shard(&self) -> bool {
        let told = self.told.as_ref().is_some_and(|told| told.is_shard);
        told || matches!(self.good, Some(Content::Shard(_)))
    }

    /// Whether it is in force for a router.
    pub(super) const fn is_router(&self) -> bool {
        matches!(self.good, Some(Content::Router(_)))
    }

    /// Whether what it says runs; not said of the node's own.
    pub(super) fn acceptance(&self, told: &Told) -> Option<Acceptance> {
        told.router.as_ref()?;
        let (reason, message) = match &self.refusal {
            None => (Reason::Valid, String::new()),
            Some((reason, message)) => (*reason, message.clone()),
        };
        Some(Acceptance {
            generation: told.generation,
            accepted: self.refusal.is_none(),
            reason,
            message,
        })
    }

    /// What is wrong with it.
    pub(super) fn finding(&self, name: &str) -> Option<Diagnosis> {
        let (severity, message) = match (&self.refusal, self.gone) {
            (Some((_, message)), _) if self.lost => (Severity::Error, message.clone()),
            (Some((_, message)), _) => (Severity::Warning, message.clone()),
            (None, Some(_)) => (Severity::Warning, kept_message()),
            (None, None) => return None,
        };
        Some(finding(name, severity, message))
    }
}

/// Something about the NodeConfig of this name.
pub(super) fn finding(name: &str, severity: Severity, message: String) -> Diagnosis {
    Diagnosis {
        file: format!("NodeConfig {name}"),
        position: Position::START,
        severity,
        path: DOCUMENT.to_owned(),
        message,
    }
}

/// Why this agent cannot run `content`, whatever else there is.
fn unsupported(content: &Content) -> Option<(Reason, String)> {
    let requires = match content {
        Content::Router(main) => &main.config.requires,
        Content::Shard(shard) => &shard.shard.requires,
        Content::Node(_) => return None,
    };
    let lacking = plan::unsupported(requires)?;
    Some((Reason::UnsupportedFeature, lacking))
}

/// The key that `content` refers to.
pub(super) fn key_of(content: &Content) -> Option<&SecretKey> {
    match content {
        Content::Router(main) => match &main.config.authentication {
            NodeAuthentication::None => None,
            NodeAuthentication::Password { secret } => Some(secret),
        },
        Content::Shard(_) => None,
        Content::Node(settings) => settings.heartbeat_key.as_ref(),
    }
}

fn kept_message() -> String {
    let minutes = KEPT.as_secs() / 60;
    format!(
        "it disappeared together with others and is kept for {minutes} minutes: was that meant?"
    )
}
