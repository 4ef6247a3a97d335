//! The election thread: the pure `Election` on real sockets and a real clock.
//!
//! Owns the loop (`driver`), its way out (`outbox`) and the channels to every other thread ([`Ports`]).
//! Everything it needs is opened, and everything it is done with is freed, by the runtime. It never calls
//! rtnetlink, allocates for a packet, logs, or takes a lock that async code takes.

mod driver;
pub mod filter;
pub mod heartbeat;
pub mod link;
mod neighbour;
mod outbox;
mod patience;
mod recorder;
mod stillness;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_vrrp::{Command, Fact, Install, Park, Plan, Report, Snapshot, Time, Withdraw};
use vipkeeper_wire::heartbeat::HeartbeatError;

pub use self::driver::run;
pub use self::heartbeat::{HeartbeatPort, HeartbeatSockets};
pub use self::link::{Link, LinkKey};
pub use self::recorder::{CAPACITY, Recording};
pub use self::stillness::{Start, Stillness};
use crate::clock;
use crate::distribution::{self, Distribution, Failovers};
use crate::guardian::Pulse;
use crate::ring::{Ring, Wake};

/// The election ticks at least this often, also when nothing happens.
pub const TICK: Duration = Duration::from_millis(500);
/// An election that has not ticked for this long is taken for dead.
pub const STALE: Duration = Duration::from_secs(3);

/// The channels into and out of the election thread. None blocks; what a full one does is said at each.
#[derive(Debug)]
pub struct Ports {
    /// From the monitor: 4,096 interface facts. When full, the monitor keeps the latest of each interface and
    /// tries again.
    pub facts: Ring<Fact>,
    /// From the network thread: 4,096 answers to its orders. When full, it keeps the rest and tries again.
    pub answers: Ring<Fact>,
    /// From the runtime: what to run. One value; a later one takes the place of one not yet taken.
    pub deliveries: Ring<Delivery>,
    /// From the runtime: a snapshot is wanted.
    pub snapshot_wanted: AtomicBool,
    /// From the runtime: what to write a record into. One value; a later one ends the one before it.
    pub recordings: Ring<Arc<Recording>>,
    /// From the runtime: the election shall stand still when it has this many nanoseconds until its next deadline,
    /// or soon after. 0 for nothing. It comes by `still`.
    pub stillness_wanted: AtomicU64,
    /// From the runtime: an election to go on with, by a thread that stands still. One value, never displaced.
    pub going_on: Ring<Stillness>,
    /// To the runtime: the election that was wanted still. One value, never displaced.
    pub still: Ring<Stillness>,
    /// To the network thread: 4,096 orders. When full, the election keeps the rest and tries again at once.
    pub orders: Ring<Order>,
    /// To the runtime: 4,096 events. When full, new ones are dropped and counted; the reader then takes a
    /// snapshot.
    pub events: Ring<Event>,
    /// To the runtime: the last snapshot asked for; a later one takes its place.
    pub snapshots: Ring<Snapshot>,
    /// How the thread is.
    pub vitals: Vitals,
    /// Where it tells the guardian that it lives.
    pub pulse: Pulse,
}

impl Ports {
    /// Fresh channels, with a pulse that no guardian looks at.
    ///
    /// # Errors
    /// If the process has too many open files.
    pub fn new() -> io::Result<Self> {
        Self::watched(Pulse::new()?)
    }

    /// Fresh channels, with the pulse that a guardian looks at.
    ///
    /// # Errors
    /// If the process has too many open files.
    pub fn watched(pulse: Pulse) -> io::Result<Self> {
        let to_election = Wake::new()?;
        Ok(Self {
            facts: Ring::new(4_096, to_election.clone()),
            answers: Ring::new(4_096, to_election.clone()),
            deliveries: Ring::new(1, to_election.clone()),
            recordings: Ring::new(1, to_election.clone()),
            snapshot_wanted: AtomicBool::new(false),
            stillness_wanted: AtomicU64::new(0),
            going_on: Ring::new(1, to_election),
            still: Ring::new(1, Wake::new()?),
            orders: Ring::new(4_096, Wake::new()?),
            events: Ring::new(4_096, Wake::new()?),
            snapshots: Ring::new(1, Wake::new()?),
            vitals: Vitals::default(),
            pulse,
        })
    }

    /// Asks the election to stand still, preferably with `headroom` until its next deadline; it comes by `still`.
    pub fn want_stillness(&self, headroom: Duration) {
        let nanos = u64::try_from(headroom.as_nanos()).unwrap_or(u64::MAX);
        self.stillness_wanted.store(nanos.max(1), Ordering::Release);
        self.facts.wake().ring();
    }

    /// Asks for a snapshot; it comes by `snapshots`.
    pub fn want_snapshot(&self) {
        self.snapshot_wanted.store(true, Ordering::Release);
        self.facts.wake().ring();
    }
}

/// What the runtime gives the election to run.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// A plan, or the end.
    pub command: Command,
    /// All sockets that the plan needs. The runtime keeps a reference to each until the election has let go of
    /// it, so that none is closed by the election thread.
    pub links: Arc<[Arc<Link>]>,
    /// The heartbeat's sockets and key; `None` where nobody is to be told, or the sockets cannot be had. Kept by the
    /// runtime like the links.
    pub heartbeat: Option<Arc<HeartbeatPort>>,
}

/// What the network thread has to do, in order.
#[derive(Debug)]
pub enum Order {
    /// From the election.
    Install(Install),
    /// From the election.
    Park(Park),
    /// From the election.
    Withdraw(Withdraw),
    /// From the runtime: this plan comes next. Acknowledged when the ledger has its rows.
    Prepare(Arc<Plan>, tokio::sync::oneshot::Sender<()>),
    /// From the monitor: somebody, maybe we, took this address off.
    Vanished(vipkeeper_vrrp::Ifindex, std::net::IpAddr),
    /// From the monitor: events were lost, so compare what we hold with what the kernel has.
    Verify,
    /// From the runtime, after the election has shut down: withdraw what is left, restore what was changed.
    Finish(tokio::sync::oneshot::Sender<()>),
    /// From the runtime, while the election stands still: say what is held, and do nothing more until `GoOn`.
    StandStill(tokio::sync::oneshot::Sender<crate::network::Frozen>),
    /// From the runtime: the takeover did not come about.
    GoOn,
}

/// What the election thread has to tell the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// From the election itself.
    Report(Report),
    /// The thread may not be scheduled in real time.
    NotRealtime {
        /// The system's error number.
        errno: i32,
    },
    /// A heartbeat was not listened to. The first after a quiet second.
    HeartbeatRefused {
        /// Its sender.
        from: std::net::IpAddr,
        /// Why.
        reason: HeartbeatError,
    },
    /// A socket would not send or receive. The first after a quiet second.
    Trouble {
        /// Where.
        key: LinkKey,
        /// At what.
        activity: Activity,
        /// The system's error number.
        errno: i32,
    },
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Reading advertisements.
    Receive,
    /// Sending advertisements.
    Advertise,
    /// Sending gratuitous ARP and neighbour advertisements.
    Announce,
}

impl Activity {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Advertise => "advertise",
            Self::Announce => "announce",
        }
    }
}

/// How the election thread is. Written by it alone, read by everybody.
#[derive(Debug)]
pub struct Vitals {
    /// The last tick, in nanoseconds of CLOCK_BOOTTIME; 0 before the first.
    pub heartbeat: AtomicU64,
    /// How late the last timer was served, in nanoseconds.
    pub lateness_last: AtomicU64,
    /// The most that ever was.
    pub lateness_max: AtomicU64,
    /// All of them.
    pub lateness_distribution: Distribution,
    /// From the last advertisement of an Active to the first announcement of its successor here.
    pub failovers: Failovers,
    /// Datagrams read.
    pub received: AtomicU64,
    /// Reads that failed.
    pub receive_failures: AtomicU64,
    /// Advertisements that the kernel refused to send.
    pub advertise_failures: AtomicU64,
    /// Announcements that the kernel refused to send.
    pub announce_failures: AtomicU64,
    /// Heartbeats that could not be sent.
    pub beat_failures: AtomicU64,
    /// Heartbeats that were malformed or not authenticated.
    pub beats_refused: AtomicU64,
    /// Events that did not fit into their ring.
    pub events_dropped: AtomicU64,
    /// A shutdown was carried out, and every order of it has reached the network thread.
    pub shut_down: AtomicBool,
    /// How the thread is scheduled; set once, when it starts.
    pub scheduling: OnceLock<Result<(), String>>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            heartbeat: AtomicU64::default(),
            lateness_last: AtomicU64::default(),
            lateness_max: AtomicU64::default(),
            lateness_distribution: Distribution::new(&distribution::LATENESS),
            failovers: Failovers::default(),
            received: AtomicU64::default(),
            receive_failures: AtomicU64::default(),
            advertise_failures: AtomicU64::default(),
            announce_failures: AtomicU64::default(),
            beat_failures: AtomicU64::default(),
            beats_refused: AtomicU64::default(),
            events_dropped: AtomicU64::default(),
            shut_down: AtomicBool::default(),
            scheduling: OnceLock::new(),
        }
    }
}

impl Vitals {
    /// Whether the election ticked lately.
    #[must_use]
    pub fn is_fresh(&self, now: Time) -> bool {
        let last = self.heartbeat.load(Ordering::Acquire);
        last > 0 && now.since(Time::from_nanos(last)) < STALE
    }

    /// The same, by the clock.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.is_fresh(clock::now())
    }

    /// How late timers are served.
    #[must_use]
    pub fn lateness(&self) -> Lateness {
        let micros = |value: &AtomicU64| value.load(Ordering::Relaxed) / 1_000;
        Lateness {
            last_us: micros(&self.lateness_last),
            max_us: micros(&self.lateness_max),
        }
    }
}

/// How late the election serves its timers, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lateness {
    /// The last.
    pub last_us: u64,
    /// The worst since the start.
    pub max_us: u64,
}

/// The sockets that `plan` needs.
#[must_use]
pub fn link_keys(plan: &Plan) -> std::collections::BTreeSet<LinkKey> {
    plan.routers.iter().flat_map(links_of).collect()
}

/// The sockets that `router` needs: of the interface on which it runs, and of those of its addresses.
pub fn links_of(router: &vipkeeper_vrrp::RouterConfig) -> impl Iterator<Item = LinkKey> {
    let running = router.interface.is_some();
    let sides = router.side_interfaces().filter(move |_| running);
    let all = router.interface.into_iter().chain(sides);
    all.map(|interface| (interface, router.family))
}
