//! The agent's life: its threads and tasks, how they begin and how they end.
//!
//! | | Owned by | Ends |
//! |---|---|---|
//! | network, monitor, election, services | a thread each | with the process: an end of its own ends the process |
//! | supply, director, telling, admin | tasks of the runtime | the same |
//!
//! On SIGTERM or SIGINT the election leaves (priority 0, and a handover where another router takes over), the
//! network thread withdraws and restores, the services thread removes its services, and the process ends: ten seconds
//! after the longest handover at most. A second signal cuts the handover short.

mod serving;
mod tasks;
mod threads;

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use nix::sys::resource::{Resource, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tracing::{info, warn};
use vipkeeper_vrrp::{Election, Fact};

use crate::admin::{self, SOCKET, Successor};
use crate::cli::RunArgs;
use crate::election::{self, Order, Ports, Start, Stillness};
use crate::guardian::{Guardian, Pulse};
use crate::home::{Home, Locks};
use crate::inventory::Inventory;
use crate::network::ledger::{Identity, Ledger};
use crate::network::rtnetlink::{Rtnetlink, keeps_tags};
use crate::source::{Desired, Source};
use crate::standby::{Standby, Turn};
use crate::supply::{Supplied, Supply};
use crate::sys::memory;
use crate::takeover::giving::{Assets, Outcome, give};
use crate::takeover::taking::{Confirmation, Heir, Inheritance, Offer};
use crate::takeover::{PROTOCOL, urgently};
use crate::{clock, monitor, network, telling};
use serving::Serving;
use tasks::{Setup, Tasks};
use threads::Threads;

/// The runtime's own threads parse what people wrote, which may be nested.
const RUNTIME_STACK: usize = 1 << 20;
/// The longest that leaving may take beyond the handovers.
const GRACE: Duration = Duration::from_secs(5);
/// The longest that taking addresses off may take when the process ends for a reason of its own.
const HASTE: Duration = Duration::from_secs(1);
/// CPU time that a real-time thread may use without ever sleeping, in microseconds: soft, then hard. Then the
/// kernel ends the process, and the protocol moves its addresses.
const RTTIME: (u64, u64) = (2_000_000, 3_000_000);

/// Runs the agent until it is told to stop.
///
/// # Errors
/// What kept it from starting, or which part of it ended by itself.
pub fn run(args: &RunArgs, guardian: Guardian) -> anyhow::Result<()> {
    setrlimit(Resource::RLIMIT_RTTIME, RTTIME.0, RTTIME.1).context("RLIMIT_RTTIME")?;
    memory::keep_little();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(RUNTIME_STACK)
        .thread_name("runtime")
        .enable_all()
        .build()
        .context("the runtime")?;
    let outcome = runtime.block_on(live(args, Arc::new(guardian)));
    // Whatever still blocks (a socket that closes, a manifest that is read) is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn live(args: &RunArgs, guardian: Arc<Guardian>) -> anyhow::Result<()> {
    tokio::spawn(telling::tell_guardian(Arc::clone(&guardian)));
    let home = Home::of(args)?;
    let locks = home.claim()?;
    let mut signals = Signals::listen()?;
    let listener = match &locks {
        Some(_) => Some(admin::listen(&args.listen)?),
        None => None,
    };
    let source = Source::open(args, &home).await?;
    let desired = source.desired();
    let memory = settle_memory();
    let mut threads = Threads::new();
    let (senses, beginning) = match (locks, listener) {
        (Some(locks), Some(listener)) => {
            let beginning = Beginning::alone(args, &home, locks, listener)?;
            let senses = Senses::start(&threads, &desired, Start::Fresh, guardian.pulse())?;
            (senses, beginning)
        }
        (None, _) | (_, None) => {
            info!(node = %home.node, instance = %home.instance, "standing by: this instance runs already");
            let senses = Senses::start(&threads, &desired, Start::Still, guardian.pulse())?;
            let turn = stand_by(args, &home, &desired, &senses);
            let beginning = tokio::select! {
                beginning = turn => beginning?,
                () = signals.end() => return Ok(()),
                reason = threads.first_end() => return Err(reason),
            };
            (senses, beginning)
        }
    };
    if beginning.takeover.is_none() {
        // The ledger and its lock are ours alone now.
        guardian.arm();
    }
    let mut running =
        Running::begin(args, home, senses, beginning, &threads, source, memory).await?;
    // Not before the election's first turn: up to the confirmation the process before goes on if this one dies, and
    // then nobody may take its addresses off.
    guardian.arm();
    running.confirm();
    running.run(&mut threads, &mut signals, &guardian).await
}

/// Locks the memory of what runs from here on, not that of what read the command line and the manifests.
///
/// # Errors
/// Why it is not locked.
fn settle_memory() -> Result<(), String> {
    memory::forget_instructions().ok();
    memory::trim_heap();
    let locked = memory::lock_memory().map_err(|error| error.to_string());
    if let Err(error) = &locked {
        warn!(%error, "memory is not locked: a busy machine may delay the election");
    }
    locked
}

/// Waits for the other process of this instance to hand over, or to end.
async fn stand_by(
    args: &RunArgs,
    home: &Home,
    desired: &watch::Receiver<Arc<Desired>>,
    senses: &Senses,
) -> anyhow::Result<Beginning> {
    let heir = Heir {
        node: home.node.clone(),
        listen: args.listen.clone(),
        identity: identity(home)?,
        locks: home.lock_files(),
        ledger: home.ledger_file(),
    };
    let mut standby = Standby::new(home, heir, desired.clone(), senses.inventory.clone());
    loop {
        let offer = match standby.turn().await? {
            Turn::Alone(locks) => {
                senses.go_on_alone();
                return Beginning::alone(args, home, locks, admin::listen(&args.listen)?);
            }
            Turn::Heir(offer) => offer,
        };
        match Beginning::heir(args, offer).await {
            Ok(beginning) => return Ok(beginning),
            Err(reason) => {
                let reason = format!("{reason:#}");
                warn!(%reason, "no takeover: the running agent goes on");
                standby.put_off();
            }
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What a process begins with: nothing, or what another had.
struct Beginning {
    locks: Locks,
    listener: TcpListener,
    kernel: Rtnetlink,
    network: network::Beginning,
    takeover: Option<Takeover>,
}

/// What a takeover gives besides.
struct Takeover {
    still: Stillness,
    answers: Vec<Fact>,
    confirmation: Confirmation,
}

fn kernel(args: &RunArgs) -> anyhow::Result<Rtnetlink> {
    let kernel = Rtnetlink::open().context("netlink")?;
    let settings = &args.interface_settings;
    if settings.is_dir() {
        return Ok(kernel.with_settings_in(settings));
    }
    warn!(
        ?settings,
        "there is no such directory: settings of interfaces are where the kernel has them"
    );
    Ok(kernel)
}

impl Beginning {
    fn alone(
        args: &RunArgs,
        home: &Home,
        locks: Locks,
        listener: TcpListener,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            locks,
            listener,
            kernel: kernel(args)?,
            network: network::Beginning::Sweep(open_ledger(home)?),
            takeover: None,
        })
    }

    /// Accepts `offer` once everything that might fail has not.
    async fn heir(args: &RunArgs, offer: Box<Offer>) -> anyhow::Result<Self> {
        let prepare = || -> anyhow::Result<_> {
            let listener = match &offer.inheritance().listener {
                Some(listener) => {
                    let listener = std::net::TcpListener::from(listener.try_clone()?);
                    listener.set_nonblocking(true)?;
                    TcpListener::from_std(listener)?
                }
                None => admin::listen(&args.listen)?,
            };
            Ok((listener, kernel(args)?))
        };
        let (listener, kernel) = match prepare() {
            Ok(prepared) => prepared,
            Err(error) => {
                offer.refuse(&format!("{error:#}"));
                return Err(error);
            }
        };
        let (inheritance, confirmation) = urgently(move || offer.accept()).await??;
        let Inheritance {
            still,
            answers,
            ledger,
            network,
            locks,
            listener: _,
        } = inheritance;
        Ok(Self {
            locks,
            listener,
            kernel,
            network: network::Beginning::Takeover(ledger, network),
            takeover: Some(Takeover {
                still,
                answers,
                confirmation,
            }),
        })
    }
}

/// Everything, once it runs.
struct Running {
    ports: Arc<Ports>,
    serving: Serving,
    tasks: Tasks,
    stop: watch::Sender<bool>,
    gate: Arc<Mutex<Supplied>>,
    successors: mpsc::Receiver<Successor>,
    assets: Arc<Assets>,
    confirmation: Option<Confirmation>,
}

impl Running {
    async fn begin(
        args: &RunArgs,
        home: Home,
        senses: Senses,
        beginning: Beginning,
        threads: &Threads,
        source: Source,
        memory: Result<(), String>,
    ) -> anyhow::Result<Self> {
        let Beginning {
            locks,
            listener,
            kernel,
            network,
            takeover,
        } = beginning;
        let ports = Arc::clone(&senses.ports);
        let assets = Arc::new(Assets {
            node: home.node.clone(),
            listen: args.listen.clone(),
            ports: Arc::clone(&ports),
            locks,
            listener: listener.as_fd().try_clone_to_owned()?,
        });
        let serving = Serving::start(threads, args, &home, identity(&home)?)?;
        let workers = senses.with_network(threads, kernel, network)?;
        let mut supply = None;
        let confirmation = takeover.map(|takeover| {
            supply = Some(Arc::clone(&takeover.still.links));
            workers.go_on(takeover)
        });
        if confirmation.is_some() {
            first_turn(&ports).await;
        }
        let socket = admin::bind(&home.run_dir.join(SOCKET))?;
        let (node, instance) = (home.node.clone(), home.instance.clone());
        let is_takeover = confirmation.is_some();
        let (stop, stopping) = watch::channel(false);
        // One at a time: the admin refuses the next.
        let (successor, successors) = mpsc::channel(1);
        let (tasks, gate) = Tasks::start(Setup {
            home,
            workers,
            serving: serving.clone(),
            scripts_dir: args.scripts_dir.clone(),
            source,
            stopping,
            listener,
            socket,
            memory,
            successor,
            links: supply,
        })?;
        let version = env!("CARGO_PKG_VERSION");
        info!(%node, %instance, version, takeover = is_takeover, "running");
        Ok(Self {
            ports,
            serving,
            tasks,
            stop,
            gate,
            successors,
            assets,
            confirmation,
        })
    }

    /// Tells the process before that it may end, if there is one.
    fn confirm(&mut self) {
        if let Some(confirmation) = self.confirmation.take() {
            tokio::task::spawn_blocking(move || confirmation.confirm());
        }
    }

    async fn run(
        mut self,
        threads: &mut Threads,
        signals: &mut Signals,
        guardian: &Guardian,
    ) -> anyhow::Result<()> {
        let failure = loop {
            tokio::select! {
                () = signals.end() => break None,
                reason = threads.first_end() => break Some(reason),
                reason = self.tasks.first_end() => break Some(reason),
                Some(successor) = self.successors.recv() => match self.hand_over(successor, guardian).await {
                    Outcome::Given => {
                        info!("taken over");
                        return Ok(());
                    }
                    Outcome::Stays(reason) => {
                        let reason = format!("{reason:#}");
                        warn!(%reason, "the takeover did not come about");
                    }
                    Outcome::Leaves(reason) => {
                        let reason = format!("{reason:#}");
                        info!(%reason, "a successor that cannot take over waits");
                        break None;
                    }
                    Outcome::Lost(reason) => break Some(reason),
                },
            }
        };
        if let Some(reason) = failure {
            // Not the protocol's way out, for which something is missing; but no address stays.
            if !matches!(timeout(HASTE, finish(&self.ports)).await, Ok(Ok(()))) {
                warn!("addresses stay until their lifetime ends");
            }
            return Err(reason);
        }
        info!("leaving");
        self.stop.send_replace(true);
        tokio::select! {
            left = leave(&self.ports, self.tasks.supply) => left?,
            () = signals.end() => hasten(&self.ports).await?,
        }
        // Their addresses are gone: nobody misses the services.
        if timeout(GRACE, self.serving.finish()).await.is_err() {
            warn!("services stay in the kernel: it does not answer");
        }
        info!("left");
        Ok(())
    }

    /// Hands everything over to `successor`, if that works out.
    async fn hand_over(&self, successor: Successor, guardian: &Guardian) -> Outcome {
        let upgrade = match successor {
            Successor::Speaks(upgrade) => upgrade,
            Successor::SpeaksOther(name) => {
                return Outcome::Leaves(anyhow!("it speaks {name}, not {PROTOCOL}"));
            }
        };
        let stream = match stream_of(upgrade).await {
            Ok(stream) => stream,
            Err(error) => return Outcome::Stays(error),
        };
        // No plan is delivered while somebody else may be about to get the sockets.
        let supplied = Arc::clone(&self.gate).lock_owned().await;
        if let Err(error) = self.serving.release().await {
            return Outcome::Stays(error);
        }
        // While nobody knows whose the addresses are, nobody takes them off.
        if let Err(error) = guardian.disarm() {
            self.serving.resume();
            return Outcome::Stays(error.into());
        }
        let assets = Arc::clone(&self.assets);
        let given = urgently(move || {
            let outcome = give(stream, &assets, supplied.shortest_interval);
            match outcome {
                // Until the process ends.
                Outcome::Given => std::mem::forget(supplied),
                Outcome::Stays(_) | Outcome::Leaves(_) | Outcome::Lost(_) => drop(supplied),
            }
            outcome
        });
        let outcome = given
            .await
            .unwrap_or_else(|error| Outcome::Lost(anyhow!("handing over: {error}")));
        match outcome {
            Outcome::Given | Outcome::Lost(_) => {}
            Outcome::Stays(_) | Outcome::Leaves(_) => {
                guardian.arm();
                self.serving.resume();
            }
        }
        outcome
    }
}

/// The connection, once HTTP has let go of it.
async fn stream_of(upgrade: OnUpgrade) -> anyhow::Result<UnixStream> {
    let upgraded = timeout(HASTE, upgrade).await.context("no upgrade")??;
    let parts = upgraded
        .downcast::<TokioIo<tokio::net::UnixStream>>()
        .map_err(|_| anyhow!("not a Unix socket"))?;
    Ok(parts.io.into_inner().into_std()?)
}

/// Waits until the election thread has run.
async fn first_turn(ports: &Ports) {
    let mut look = interval(Duration::from_millis(1));
    while ports.vitals.heartbeat.load(Ordering::Acquire) == 0 {
        look.tick().await;
    }
}

/// Priority 0, addresses withdrawn, settings restored.
async fn leave(ports: &Ports, supply: JoinHandle<anyhow::Result<Supply>>) -> anyhow::Result<()> {
    // The sockets are in it: they stay open until the end.
    let supply = timeout(GRACE, supply)
        .await
        .context("the supply of plans")?;
    let supply = supply.context("the supply of plans")??;
    let longest = supply.longest_handover().saturating_add(GRACE);
    let handover = async {
        let mut look = interval(Duration::from_millis(2));
        while !ports.vitals.shut_down.load(Ordering::Acquire) {
            look.tick().await;
        }
        finish(ports).await
    };
    let left = timeout(longest, handover).await;
    left.unwrap_or_else(|_| Err(anyhow!("leaving took longer than {longest:?}")))
}

/// Leaves at once: somebody asked twice.
async fn hasten(ports: &Ports) -> anyhow::Result<()> {
    info!("leaving at once");
    let left = timeout(HASTE, finish(ports)).await;
    left.unwrap_or_else(|_| Err(anyhow!("leaving took longer than {HASTE:?}")))
}

/// The network thread takes off what is left and restores what it changed.
async fn finish(ports: &Ports) -> anyhow::Result<()> {
    let (done, finished) = oneshot::channel();
    ports
        .orders
        .push(Order::Finish(done))
        .map_err(|_| anyhow!("the network thread does not take orders"))?;
    finished.await.context("the network thread is gone")
}

/// The threads that a process has before it has anything else: they see, and one waits.
struct Senses {
    ports: Arc<Ports>,
    planned: monitor::Planned,
    inventory: watch::Receiver<Arc<Inventory>>,
}

impl Senses {
    fn start(
        threads: &Threads,
        desired: &watch::Receiver<Arc<Desired>>,
        start: Start,
        pulse: Pulse,
    ) -> anyhow::Result<Self> {
        let ports = Arc::new(Ports::watched(pulse).context("channels")?);
        // Those that the process before holds, where the kernel keeps no tags.
        let planned = monitor::Planned::default();
        if let Ok(mut planned) = planned.lock() {
            let desired = desired.borrow();
            let families = desired.configs.iter().flat_map(|config| &config.families);
            let addresses = families.flat_map(|family| &family.addresses);
            planned.extend(addresses.map(|address| address.address));
        }
        let (inventory, inventories) = watch::channel(Arc::new(Inventory::default()));
        let context = monitor::Context {
            ports: Arc::clone(&ports),
            inventory,
            planned: Arc::clone(&planned),
            keeps_tags: keeps_tags().context("the kernel's release")?,
        };
        threads.start("monitor", move || monitor::run(context))?;
        let own = Arc::clone(&ports);
        threads.start("election", move || election::run(&own, start))?;
        Ok(Self {
            ports,
            planned,
            inventory: inventories,
        })
    }

    /// The election thread that stands still gets an election that knows nothing.
    fn go_on_alone(&self) {
        let fresh = Stillness {
            election: Election::new(),
            links: Arc::new([]),
            last_wake: clock::now(),
        };
        // The thread waits for it, so the ring is empty.
        self.ports.going_on.push(fresh).ok();
    }

    fn with_network(
        self,
        threads: &Threads,
        kernel: Rtnetlink,
        beginning: network::Beginning,
    ) -> anyhow::Result<Workers> {
        let vitals = Arc::new(network::Vitals::default());
        // Bounded: the network thread drops and counts what does not fit.
        let (notices, told) = mpsc::channel(1_024);
        let context = network::Context {
            ports: Arc::clone(&self.ports),
            vitals: Arc::clone(&vitals),
            notices,
        };
        // What the monitor saw while standing by was the other process's to mend.
        while self.ports.orders.pop().is_some() {}
        threads.start("network", move || network::run(kernel, beginning, context))?;
        Ok(Workers {
            senses: self,
            network: vitals,
            notices: told,
        })
    }
}

/// The threads' ends of their channels.
struct Workers {
    senses: Senses,
    network: Arc<network::Vitals>,
    notices: mpsc::Receiver<network::Notice>,
}

impl Workers {
    /// The election thread goes on with another process's election.
    fn go_on(&self, takeover: Takeover) -> Confirmation {
        let ports = &self.senses.ports;
        let inventory = Arc::clone(&self.senses.inventory.borrow());
        let is_there = |index| inventory.interfaces.values().any(|i| i.index == index);
        for answer in takeover.answers {
            // Nobody else has anything to answer yet.
            ports.answers.push(answer).ok();
        }
        for link in takeover.still.links.iter() {
            let interface = link.key.0;
            if !is_there(interface) {
                // A full ring: the socket is dead, too, and the plan that comes next does without.
                ports.facts.push(Fact::InterfaceGone { interface }).ok();
            }
        }
        // The thread waits for it, so the ring is empty.
        ports.going_on.push(takeover.still).ok();
        takeover.confirmation
    }
}

fn identity(home: &Home) -> anyhow::Result<Identity> {
    Identity::of_this_process(&home.instance).context("the ledger's identity")
}

fn open_ledger(home: &Home) -> anyhow::Result<Ledger> {
    let (ledger, discarded) = Ledger::open(home.ledger_file(), identity(home)?);
    if let Some(reason) = discarded {
        info!(%reason, "the ledger is discarded");
    }
    Ok(ledger)
}
