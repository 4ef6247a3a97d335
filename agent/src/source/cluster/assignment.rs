//! What a cluster assigns to this node: its NodeConfigs, each with its last good state. Pure.
//!
//! - One that cannot be read, needs what this agent cannot do, or a key that is not known, keeps what it ran.
//! - One that the API server deleted is gone, if the definitions of our objects are still there.
//! - What disappears together, or with the definitions, is kept for a while: somebody made a mistake.
//!
//! Routers that run have precedence over what is new, in the order in which they came.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vipkeeper_crds::conditions::Reason;
use vipkeeper_crds::status::{Acceptance, NodeConfigStatus};
use vipkeeper_crds::{NodeAuthentication, SecretKey};
use vipkeeper_vrrp::Time;

use super::cache::{Saved, SavedKey, SavedObject};
use super::told::{Content, Told};
use crate::plan;
use crate::source::{DOCUMENT, Diagnosis, Keys, Loaded, Position, Severity};

/// For how long what disappeared in a way that looks like a mistake is kept.
pub(super) const KEPT: Duration = Duration::from_secs(600);
/// Of so many more than half, and of fewer only all, look like a mistake.
const MANY: usize = 4;

/// A NodeConfig of this node, as its status is to report it.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The router; `None` for the node's own object.
    pub router: Option<String>,
    /// What a node that is Active is to give back.
    pub confirm: Option<String>,
    /// Whether what it says runs.
    pub acceptance: Option<Acceptance>,
    /// What was reported last.
    pub status: Option<NodeConfigStatus>,
}

/// Whether the definitions of our objects are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Definitions {
    /// All of them.
    Present,
    /// At least one is gone, or about to go with all its objects.
    Missing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Assignment {
    /// The uid of kube-system, as far as it is known.
    cluster: Option<String>,
    objects: BTreeMap<String, Object>,
    /// The value of every key that was ever found and is still wanted.
    keys: Keys,
    /// The keys that the API server does not have, and why.
    missing_keys: BTreeMap<SecretKey, String>,
    /// Something was verified: by the API server, or before by way of the cache.
    verified: bool,
    next: u64,
}

#[derive(Debug)]
struct Object {
    order: u64,
    /// As the API server told it last; `None` if only the cache knows it.
    told: Option<Told>,
    uid: String,
    /// What is in force.
    good: Option<Content>,
    /// Why that is not what was told.
    refusal: Option<(Reason, String)>,
    /// A process before this one ran it, and this one cannot.
    lost: bool,
    gone: Option<Gone>,
}

/// It disappeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gone {
    since: Time,
    /// Nothing speaks against somebody having deleted it on purpose.
    plain: bool,
}

impl Assignment {
    /// Begins with what was verified last, if that is known.
    pub(super) fn new(saved: Option<Saved>) -> Self {
        let mut assignment = Self {
            cluster: None,
            objects: BTreeMap::new(),
            keys: Keys::default(),
            missing_keys: BTreeMap::new(),
            verified: saved.is_some(),
            next: 0,
        };
        let Some(saved) = saved else {
            return assignment;
        };
        assignment.cluster = Some(saved.cluster);
        for SavedKey { key, value } in saved.keys {
            assignment.keys.insert(key, value.0);
        }
        for object in saved.objects {
            assignment.restore(object);
        }
        assignment
    }

    fn restore(&mut self, saved: SavedObject) {
        let SavedObject {
            name,
            uid,
            config,
            settings,
        } = saved;
        let content = match (config, settings) {
            (Some(config), _) => Content::Router(config),
            (None, Some(settings)) => Content::Node(settings),
            (None, None) => return,
        };
        let refusal = unsupported(&content);
        let order = self.turn();
        self.objects.insert(
            name,
            Object {
                order,
                told: None,
                uid,
                lost: refusal.is_some(),
                good: refusal.is_none().then_some(content),
                refusal,
                gone: None,
            },
        );
    }

    /// The cluster that all this is of, as far as it is known.
    pub(super) fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// The API server says whose cluster it is; false if it is another than before.
    pub(super) fn identify(&mut self, cluster: String) -> bool {
        *self.cluster.get_or_insert_with(|| cluster.clone()) == cluster
    }

    /// Whether there is anything to go by.
    pub(super) const fn is_verified(&self) -> bool {
        self.verified
    }

    /// These are all objects of this node at `now`.
    pub(super) fn list(&mut self, mut all: Vec<Told>, now: Time) {
        self.verified = true;
        let listed: BTreeSet<&str> = all.iter().map(|t| t.name.as_str()).collect();
        let here = |(_, object): &(&String, &Object)| object.gone.is_none();
        let vanished: Vec<String> = self
            .objects
            .iter()
            .filter(here)
            .map(|(name, _)| name.clone())
            .filter(|name| !listed.contains(name.as_str()))
            .collect();
        let plain = !self.looks_like_a_mistake(&vanished);
        for name in vanished {
            self.go(&name, Gone { since: now, plain });
        }
        // Those that come together: the oldest first.
        all.sort_by(|a, b| (&a.created, &a.name).cmp(&(&b.created, &b.name)));
        for told in all {
            self.apply(told);
        }
    }

    /// Whether so many of the routers vanished that somebody may not have meant it.
    fn looks_like_a_mistake(&self, vanished: &[String]) -> bool {
        let is_router = |object: &Object| matches!(&object.good, Some(Content::Router(_)));
        let here = |object: &&Object| object.gone.is_none() && is_router(object);
        let count = self.objects.values().filter(here).count();
        let gone = vanished.iter().filter_map(|name| self.objects.get(name));
        let gone = gone.filter(|object| is_router(object)).count();
        gone > 0 && (gone == count || (count >= MANY && gone * 2 > count))
    }

    /// An object is so.
    pub(super) fn apply(&mut self, told: Told) {
        let order = self.turn();
        let known = self.objects.entry(told.name.clone());
        let object = known.or_insert_with(|| Object {
            order,
            told: None,
            uid: String::new(),
            good: None,
            refusal: None,
            lost: false,
            gone: None,
        });
        object.uid.clone_from(&told.uid);
        object.told = Some(told);
        object.gone = None;
    }

    /// The API server tells that an object was deleted.
    pub(super) fn deleted(&mut self, name: &str, now: Time) {
        let gone = Gone {
            since: now,
            plain: true,
        };
        self.go(name, gone);
    }

    /// The API server does not know such objects at all.
    pub(super) fn unknown(&mut self, now: Time) {
        let names: Vec<String> = self.objects.keys().cloned().collect();
        for name in names {
            let gone = Gone {
                since: now,
                plain: false,
            };
            self.go(&name, gone);
        }
    }

    fn go(&mut self, name: &str, gone: Gone) {
        if let Some(object) = self.objects.get_mut(name) {
            object.gone.get_or_insert(gone);
        }
    }

    /// Whether something disappeared and it depends on the definitions what that means.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.objects
            .values()
            .any(|o| o.gone.is_some_and(|g| g.plain))
    }

    /// Removes what was deleted while the definitions are there; without them it is kept for a while.
    pub(super) fn decide(&mut self, definitions: Definitions) {
        for object in self.objects.values_mut() {
            if let (Some(gone), Definitions::Missing) = (&mut object.gone, definitions) {
                gone.plain = false;
            }
        }
        self.objects
            .retain(|_, object| object.gone.is_none_or(|gone| !gone.plain));
    }

    /// Removes what was kept for long enough.
    pub(super) fn expire(&mut self, now: Time) {
        let over = |gone: Gone| !gone.plain && now.since(gone.since) >= KEPT;
        self.objects
            .retain(|_, object| object.gone.is_none_or(|gone| !over(gone)));
    }

    /// When something that is kept is kept no longer.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        let kept = self.objects.values().filter_map(|o| o.gone);
        kept.filter(|g| !g.plain).map(|g| g.since + KEPT).min()
    }

    /// The keys that objects refer to.
    pub(super) fn wanted_keys(&self) -> BTreeSet<SecretKey> {
        let told = self.objects.values().filter_map(|o| o.told.as_ref());
        let told = told.filter_map(|t| t.content.as_ref().ok());
        let good = self.objects.values().filter_map(|o| o.good.as_ref());
        told.chain(good).filter_map(key_of).cloned().collect()
    }

    /// The API server has this value for a key, or says why there is none.
    pub(super) fn set_key(&mut self, key: SecretKey, value: Result<Vec<u8>, String>) {
        match value {
            Ok(value) => {
                self.missing_keys.remove(&key);
                self.keys.insert(key, value);
            }
            Err(why) => {
                self.missing_keys.insert(key, why);
            }
        }
    }

    /// Takes over what can run. What cannot keeps what it ran.
    pub(super) fn settle(&mut self) {
        let wanted = self.wanted_keys();
        self.missing_keys.retain(|key, _| wanted.contains(key));
        self.keys.retain(|key| wanted.contains(key));
        for object in self.objects.values_mut() {
            object.settle(&self.keys, &self.missing_keys);
        }
    }

    /// What is in force.
    pub(super) fn in_force(&self) -> Loaded {
        let mut all: Vec<&Object> = self.objects.values().collect();
        all.sort_by_key(|object| object.order);
        let mut in_force = Loaded {
            keys: self.keys.clone(),
            ..Loaded::default()
        };
        for object in all {
            match &object.good {
                Some(Content::Router(config)) => in_force.configs.push((**config).clone()),
                Some(Content::Node(settings)) => in_force.settings = settings.clone(),
                None => {}
            }
        }
        in_force.findings = self.findings();
        in_force
    }

    fn findings(&self) -> Vec<Diagnosis> {
        let about = |(name, object): (&String, &Object)| {
            let (severity, message) = match (&object.refusal, object.gone) {
                (Some((_, message)), _) if object.lost => (Severity::Error, message.clone()),
                (Some((_, message)), _) => (Severity::Warning, message.clone()),
                (None, Some(_)) => (Severity::Warning, kept_message()),
                (None, None) => return None,
            };
            Some(Diagnosis {
                file: format!("NodeConfig {name}"),
                position: Position::START,
                severity,
                path: DOCUMENT.to_owned(),
                message,
            })
        };
        self.objects.iter().filter_map(about).collect()
    }

    /// What there is to report on.
    pub(super) fn roster(&self) -> Vec<Assigned> {
        let here = self.objects.values().filter(|o| o.gone.is_none());
        let told = here.filter_map(|object| Some((object, object.told.as_ref()?)));
        told.map(|(object, told)| Assigned {
            name: told.name.clone(),
            uid: told.uid.clone(),
            router: told.router.clone(),
            confirm: told.confirm.clone(),
            acceptance: object.acceptance(told),
            status: told.status.clone(),
        })
        .collect()
    }

    /// What to begin with after a restart; `None` before anything is verified.
    pub(super) fn saved(&self, node: &str) -> Option<Saved> {
        let cluster = self.cluster.clone().filter(|_| self.verified)?;
        let mut all: Vec<(&String, &Object)> = self.objects.iter().collect();
        all.sort_by_key(|(_, object)| object.order);
        let objects = all.into_iter().filter_map(|(name, object)| {
            let (config, settings) = match object.good.as_ref()? {
                Content::Router(config) => (Some(config.clone()), None),
                Content::Node(settings) => (None, Some(settings.clone())),
            };
            Some(SavedObject {
                name: name.clone(),
                uid: object.uid.clone(),
                config,
                settings,
            })
        });
        Some(Saved::new(node, cluster, objects.collect(), &self.keys))
    }

    fn turn(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }
}

impl Object {
    /// Takes over what was told, if it can run.
    fn settle(&mut self, keys: &Keys, missing: &BTreeMap<SecretKey, String>) {
        let Some(told) = &self.told else {
            return;
        };
        let content = match &told.content {
            Ok(content) => content,
            Err(why) => {
                self.refusal = Some((Reason::Invalid, why.clone()));
                return;
            }
        };
        if let Some(refusal) = unsupported(content) {
            self.refusal = Some(refusal);
            return;
        }
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

    fn acceptance(&self, told: &Told) -> Option<Acceptance> {
        told.router.as_ref()?;
        let generation = match &told.content {
            Ok(Content::Router(config)) => config.generation,
            Ok(Content::Node(_)) | Err(_) => 0,
        };
        let (reason, message) = match &self.refusal {
            None => (Reason::Valid, String::new()),
            Some((reason, message)) => (*reason, message.clone()),
        };
        Some(Acceptance {
            generation,
            accepted: self.refusal.is_none(),
            reason,
            message,
        })
    }
}

/// Why this agent cannot run `content`, whatever else there is.
fn unsupported(content: &Content) -> Option<(Reason, String)> {
    match content {
        Content::Router(config) => {
            let lacking = plan::unsupported(config)?;
            Some((Reason::UnsupportedFeature, lacking))
        }
        Content::Node(_) => None,
    }
}

fn key_of(content: &Content) -> Option<&SecretKey> {
    match content {
        Content::Router(config) => match &config.authentication {
            NodeAuthentication::None => None,
            NodeAuthentication::Password { secret } => Some(secret),
        },
        Content::Node(settings) => settings.heartbeat_key.as_ref(),
    }
}

fn kept_message() -> String {
    let minutes = KEPT.as_secs() / 60;
    format!(
        "it disappeared together with others and is kept for {minutes} minutes: was that meant?"
    )
}
