//! The way of a plan to the election: resolve, open sockets, let the network thread write its ledger, deliver.
//!
//! One task, which owns the sockets and the plans that it has delivered until the election has let go of them.
//! The last good configuration stays in force while a new one is being made ready.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::{Instant, interval_at, timeout};
use tracing::warn;
use vipkeeper_vrrp::{Command, Plan, RouterConfig, Transport, VirtualAddress};
use vipkeeper_wire::Family;
use vipkeeper_wire::heartbeat::{Key, MIN_KEY_LEN, PORT};

use crate::drain::Drained;
use crate::election::{
    Delivery, HeartbeatPort, HeartbeatSockets, Link, LinkKey, Order, Ports, link_keys, links_of,
};
use crate::inventory::Inventory;
use crate::monitor::Planned;
use crate::plan::{self, Note, Resolved, Speaker};
use crate::source::{Desired, Diagnosis, Position};
use crate::state::Finding;

/// Sockets that could not be opened are tried again after this, and what the election let go of is freed.
const TICK: Duration = Duration::from_secs(1);
/// The network thread writes a file and asks the kernel once; after this long the plan goes ahead without.
const PREPARATION: Duration = Duration::from_secs(2);

/// What is known of the configuration in force, for status.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// The generation that the election runs; `None` before the first.
    pub generation: Option<u64>,
    /// What there is to say about its routers on this machine.
    pub notes: Vec<Note>,
    /// The heartbeat between candidates.
    pub heartbeat: ServedHeartbeat,
}

/// The heartbeat as it is served, for status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedHeartbeat {
    /// Other nodes that it goes to.
    pub peers: usize,
    /// Whether it is signed and must be.
    pub authenticated: bool,
    /// Why it is not as it should be.
    pub trouble: Option<String>,
}

/// What the election has been given, for a takeover. Whoever holds it keeps any plan from being made.
#[derive(Debug, Default)]
pub struct Supplied {
    /// The shortest advertisement interval of the last plan.
    pub shortest_interval: Option<Duration>,
}

/// Plans for the election.
pub struct Supply {
    gate: Arc<Mutex<Supplied>>,
    ports: Arc<Ports>,
    planned: Planned,
    desired: watch::Receiver<Arc<Desired>>,
    inventory: watch::Receiver<Arc<Inventory>>,
    drained: watch::Receiver<Arc<Drained>>,
    served: watch::Sender<Arc<Served>>,
    speaker: Speaker,
    links: BTreeMap<LinkKey, Arc<Link>>,
    heartbeat: Option<Arc<HeartbeatPort>>,
    /// The key of that port.
    heartbeat_key: Option<Arc<[u8]>>,
    /// Why there is none though there should be, or why it proves nothing.
    heartbeat_trouble: Option<String>,
    /// What was delivered last.
    current: Option<Delivery>,
    /// What was delivered before, until nobody but us has it.
    retired: Vec<Delivery>,
    /// Something of the last plan could not be opened.
    is_lacking: bool,
    told: Vec<Note>,
}

impl Supply {
    /// Plans made of `desired`, `inventory` and what is `drained`, for the election behind `ports`.
    #[must_use]
    pub fn new(
        ports: Arc<Ports>,
        planned: Planned,
        desired: watch::Receiver<Arc<Desired>>,
        inventory: watch::Receiver<Arc<Inventory>>,
        drained: watch::Receiver<Arc<Drained>>,
        served: watch::Sender<Arc<Served>>,
        speaker: Speaker,
    ) -> Self {
        Self {
            gate: Arc::default(),
            ports,
            planned,
            desired,
            inventory,
            drained,
            served,
            speaker,
            links: BTreeMap::new(),
            heartbeat: None,
            heartbeat_key: None,
            heartbeat_trouble: None,
            current: None,
            retired: Vec::new(),
            is_lacking: false,
            told: Vec::new(),
        }
    }

    /// What has been given; while somebody holds it, nothing is.
    #[must_use]
    pub fn gate(&self) -> Arc<Mutex<Supplied>> {
        Arc::clone(&self.gate)
    }

    /// Begins with sockets that the election uses already.
    pub fn take_over(&mut self, links: &Arc<[Arc<Link>]>) {
        self.links = links
            .iter()
            .map(|link| (link.key, Arc::clone(link)))
            .collect();
        self.retired.push(Delivery {
            command: Command::Apply(Arc::default()),
            links: Arc::clone(links),
            heartbeat: None,
        });
    }

    /// Delivers a plan whenever the configuration or the inventory changes, until `stop` comes; then tells the
    /// election to leave. The sockets stay open until the process ends.
    ///
    /// # Errors
    /// If the source or the monitor is gone, which ends the process.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> anyhow::Result<Self> {
        let mut going = self.first_inventory(&mut stop).await?;
        while going {
            self = self.supply().await?;
            going = self.next_change(&mut stop).await?;
        }
        let links = self.current.as_ref().map(|last| Arc::clone(&last.links));
        self.deliver(Delivery {
            command: Command::Shutdown,
            links: links.unwrap_or_else(|| Arc::new([])),
            heartbeat: self.heartbeat.clone(),
        });
        Ok(self)
    }

    /// Waits for the inventory, without which no interface would match anything; false if `stop` comes before.
    async fn first_inventory(&mut self, stop: &mut watch::Receiver<bool>) -> anyhow::Result<bool> {
        tokio::select! {
            listed = self.inventory.wait_for(|inventory| !inventory.interfaces.is_empty()) => {
                listed.map(|_| true).context("the monitor ended")
            }
            _ = stop.wait_for(|stop| *stop) => Ok(false),
        }
    }

    /// Waits until there is reason to make a plan; false if `stop` comes before.
    async fn next_change(&mut self, stop: &mut watch::Receiver<bool>) -> anyhow::Result<bool> {
        let mut tick = interval_at(Instant::now() + TICK, TICK);
        loop {
            tokio::select! {
                changed = self.desired.changed() => {
                    return changed.map(|()| true).context("the source ended");
                }
                changed = self.inventory.changed() => {
                    return changed.map(|()| true).context("the monitor ended");
                }
                changed = self.drained.changed() => {
                    return changed.map(|()| true).context("the admin socket ended");
                }
                _ = stop.wait_for(|stop| *stop) => return Ok(false),
                _ = tick.tick() => {
                    self.retired.retain(is_in_use);
                    if self.is_lacking {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Makes a plan of what is known now, and delivers it if it is news.
    async fn supply(mut self) -> anyhow::Result<Self> {
        let mut supplied = Arc::clone(&self.gate).lock_owned().await;
        self.retired.retain(is_in_use);
        let desired = Arc::clone(&self.desired.borrow_and_update());
        let inventory = Arc::clone(&self.inventory.borrow_and_update());
        let drained = Arc::clone(&self.drained.borrow_and_update());
        let mut resolved = plan::resolve(
            &desired.configs,
            &desired.settings,
            &desired.keys,
            &inventory,
            &self.speaker,
            &drained,
        );
        let key = heartbeat_key(&desired);
        // Opening sockets waits for locks of the host.
        (self, resolved) = tokio::task::spawn_blocking(move || {
            self.open_links(&mut resolved);
            self.open_heartbeat(&mut resolved.plan, key);
            (self, resolved)
        })
        .await
        .context("opening sockets")?;
        let Resolved { plan, notes } = resolved;
        let intervals = plan.routers.iter().map(|r| r.protocol.interval());
        supplied.shortest_interval = intervals.min();
        self.tell_notes(&notes);
        let heartbeat = ServedHeartbeat {
            peers: plan.heartbeat.as_ref().map_or(0, |plan| plan.peers.len()),
            authenticated: self.heartbeat.is_some() && self.heartbeat_key.is_some(),
            trouble: self.heartbeat_trouble.clone(),
        };
        self.hand_over(plan).await;
        let served = Served {
            // Before anything is verified, that is nothing.
            generation: Some(desired.generation).filter(|generation| *generation > 0),
            notes,
            heartbeat,
        };
        self.served.send_replace(Arc::new(served));
        Ok(self)
    }

    /// Opens what the plan needs. A router whose sockets cannot be had waits without an interface: it must not
    /// take the silence of a socket that it does not have for the silence of others.
    fn open_links(&mut self, resolved: &mut Resolved) {
        let wanted = link_keys(&resolved.plan);
        self.links
            .retain(|key, link| wanted.contains(key) && link.is_alive());
        self.is_lacking = false;
        for key in wanted {
            let groups = groups_of(&resolved.plan, key);
            let addresses = addresses_of(&resolved.plan, key);
            let opened = self.open_link(key, &groups, &addresses);
            let Err(error) = opened else {
                continue;
            };
            self.is_lacking = true;
            let routers = resolved.plan.routers.iter_mut();
            for router in routers.filter(|r| links_of(r).any(|link| link == key)) {
                router.interface = None;
                resolved.notes.push(Note {
                    router: router.name.to_string(),
                    family: router.family,
                    message: format!("waits: its sockets cannot be opened: {error:#}"),
                });
            }
        }
    }

    /// Opens, changes or closes the heartbeat's port as the plan and the key want. Without it the election runs as it
    /// would: a heartbeat only ever adds evidence.
    fn open_heartbeat(&mut self, plan: &mut Plan, key: HeartbeatKey) {
        let last = self.heartbeat_trouble.take();
        let (bytes, key) = match key {
            HeartbeatKey::Unset => (None, None),
            HeartbeatKey::Lacking(why) => {
                self.heartbeat_trouble = Some(why);
                (None, None)
            }
            HeartbeatKey::Known(bytes, key) => (Some(bytes), Some(key)),
        };
        if plan.heartbeat.is_none() {
            self.heartbeat = None;
            self.heartbeat_trouble = None;
            return;
        }
        if self.heartbeat.is_none() || self.heartbeat_key != bytes {
            let sockets = match &self.heartbeat {
                Some(port) => Ok(Arc::clone(&port.sockets)),
                None => HeartbeatSockets::open().map(Arc::new),
            };
            match sockets {
                Ok(sockets) => {
                    self.heartbeat = Some(Arc::new(HeartbeatPort::new(sockets, key)));
                    self.heartbeat_key = bytes;
                }
                Err(error) => {
                    self.is_lacking = true;
                    plan.heartbeat = None;
                    self.heartbeat_trouble =
                        Some(format!("UDP port {PORT} cannot be opened: {error}"));
                }
            }
        }
        if let Some(trouble) = &self.heartbeat_trouble
            && last.as_ref() != Some(trouble)
        {
            warn!(
                trouble,
                "the heartbeat between candidates proves nothing: a split brain is not ended by it"
            );
        }
    }

    fn open_link(
        &mut self,
        key: LinkKey,
        groups: &BTreeSet<IpAddr>,
        addresses: &BTreeSet<IpAddr>,
    ) -> anyhow::Result<()> {
        let link = match self.links.get(&key) {
            Some(link) => Arc::clone(link),
            None => {
                let link = Arc::new(Link::open(key)?);
                self.links.insert(key, Arc::clone(&link));
                link
            }
        };
        link.watch(addresses).context("watching for neighbours")?;
        link.join(groups).context("joining the group")
    }

    /// The ledger first, then the election.
    async fn hand_over(&mut self, plan: Plan) {
        let links: Arc<[_]> = self.links.values().cloned().collect();
        if let Some(current) = &self.current
            && matches!(&current.command, Command::Apply(known) if **known == plan)
            && is_same(&current.links, &links)
            && is_same_port(current.heartbeat.as_ref(), self.heartbeat.as_ref())
        {
            return;
        }
        let plan = Arc::new(plan);
        if let Ok(mut planned) = self.planned.lock() {
            // The owner's are the host's.
            let addresses = plan
                .routers
                .iter()
                .filter(|router| !router.priority.is_owner())
                .flat_map(|router| router.addresses.iter());
            *planned = addresses.map(|a| a.address).collect();
        }
        let (done, prepared) = oneshot::channel();
        let order = Order::Prepare(Arc::clone(&plan), done);
        let prepared = match self.ports.orders.push(order) {
            Ok(()) => timeout(PREPARATION, prepared).await.is_ok(),
            Err(_) => false,
        };
        if !prepared {
            warn!("the network thread is late: this plan goes ahead without its ledger");
        }
        self.deliver(Delivery {
            command: Command::Apply(plan),
            links,
            heartbeat: self.heartbeat.clone(),
        });
    }

    /// The longest that the routers of the plan in force take to leave.
    #[must_use]
    pub fn longest_handover(&self) -> Duration {
        let plans = self.retired.iter().chain(&self.current);
        let of_plan = |delivery: &Delivery| match &delivery.command {
            Command::Apply(plan) => plan
                .routers
                .iter()
                .map(RouterConfig::longest_handover)
                .max(),
            Command::Shutdown => None,
        };
        plans.filter_map(of_plan).max().unwrap_or_default()
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.retired.extend(self.current.replace(delivery.clone()));
        // What is displaced, unread, is dropped here; its parts are in `retired`, too.
        drop(self.ports.deliveries.replace(delivery));
    }

    fn tell_notes(&mut self, notes: &[Note]) {
        if self.told == notes {
            return;
        }
        for note in notes.iter().filter(|note| !self.told.contains(note)) {
            warn!(router = %note.router, family = %note.family, "{}", note.message);
        }
        self.told = notes.to_vec();
    }
}

/// Whether the election still has a part of `delivery`: links are shared by deliveries, so the list decides.
fn is_in_use(delivery: &Delivery) -> bool {
    let plan = match &delivery.command {
        Command::Apply(plan) => Arc::strong_count(plan) > 1,
        Command::Shutdown => false,
    };
    let heartbeat = delivery.heartbeat.as_ref();
    // One of them is ours, and one the delivery's own: sockets are closed here, not by the election.
    let heartbeat = heartbeat.is_some_and(|port| Arc::strong_count(port) > 2);
    plan || heartbeat || Arc::strong_count(&delivery.links) > 1
}

fn is_same_port(left: Option<&Arc<HeartbeatPort>>, right: Option<&Arc<HeartbeatPort>>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => Arc::ptr_eq(left, right),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// The installation's key, if it is known.
fn heartbeat_key(desired: &Desired) -> HeartbeatKey {
    match &desired.settings.heartbeat_key {
        None => HeartbeatKey::Unset,
        Some(name) => match desired.keys.get(name) {
            None => HeartbeatKey::Lacking(format!("Secret key {name} is not known: create it")),
            Some(value) => match Key::new(value) {
                Some(key) => HeartbeatKey::Known(value.into(), key),
                None => HeartbeatKey::Lacking(format!(
                    "Secret key {name} has {} bytes: write {MIN_KEY_LEN} random bytes or more",
                    value.len()
                )),
            },
        },
    }
}

/// What is known of the installation's key.
enum HeartbeatKey {
    /// There is to be none.
    Unset,
    /// There is to be one, and it cannot be used.
    Lacking(String),
    /// Its bytes, and what they are as a key.
    Known(Arc<[u8]>, Key),
}

fn is_same(left: &[Arc<Link>], right: &[Arc<Link>]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| Arc::ptr_eq(l, r))
}

/// The addresses of `key`.
fn addresses_of(plan: &Plan, key: LinkKey) -> BTreeSet<IpAddr> {
    let there = |router: &RouterConfig, a: &&VirtualAddress| {
        router.interface.is_some_and(|own| a.on(own) == key.0)
    };
    plan.routers
        .iter()
        .filter(|router| router.family == key.1)
        .flat_map(|router| router.addresses.iter().filter(move |a| there(router, a)))
        .map(|a| a.address)
        .collect()
}

/// The groups that the routers of `key` listen to.
fn groups_of(
    plan: &Plan,
    (interface, family): (vipkeeper_vrrp::Ifindex, Family),
) -> BTreeSet<IpAddr> {
    plan.routers
        .iter()
        .filter(|router| router.interface == Some(interface) && router.family == family)
        .filter_map(|router| match &router.transport {
            Transport::Multicast { group, .. } => Some(*group),
            Transport::Unicast { .. } => None,
        })
        .collect()
}

/// A finding of the source as status shows it.
#[must_use]
pub fn finding(diagnosis: &Diagnosis) -> Finding {
    let Position { line, column } = diagnosis.position;
    Finding {
        severity: diagnosis.severity.to_string(),
        place: format!("{}:{line}:{column}", diagnosis.file),
        message: format!("{}: {}", diagnosis.path, diagnosis.message),
    }
}
