//! The agent's life: its threads and tasks, how they begin and how they end.
//!
//! | | Owned by | Ends |
//! |---|---|---|
//! | network, monitor, election | a thread each | with the process: an end of its own ends the process |
//! | supply, telling, admin | tasks of the runtime | the same |
//!
//! On SIGTERM or SIGINT the election leaves (priority 0), the network thread withdraws and restores, and the
//! process ends; all within five seconds.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use crate::admin::{self, Admin, SOCKET, Sources};
use crate::cli::RunArgs;
use crate::election::{self, Order, Ports};
use crate::inventory::Inventory;
use crate::network::ledger::{Identity, Ledger};
use crate::network::rtnetlink::{Rtnetlink, keeps_tags};
use crate::source::Desired;
use crate::supply::{Served, Supply};
use crate::{monitor, network, source, sys, telling};

/// The stack of our threads; with locked memory, what is touched of it stays.
const STACK: usize = 256 << 10;
/// The runtime's own threads parse what people wrote, which may be nested.
const RUNTIME_STACK: usize = 1 << 20;
/// The longest that leaving may take.
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
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    setrlimit(Resource::RLIMIT_RTTIME, RTTIME.0, RTTIME.1).context("RLIMIT_RTTIME")?;
    let memory = sys::lock_memory().map_err(|error| error.to_string());
    if let Err(error) = &memory {
        warn!(%error, "memory is not locked: a busy machine may delay the election");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(RUNTIME_STACK)
        .thread_name("runtime")
        .enable_all()
        .build()
        .context("the runtime")?;
    let outcome = runtime.block_on(live(args, memory));
    // Whatever still blocks (a socket that closes, a manifest that is read) is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn live(args: &RunArgs, memory: Result<(), String>) -> anyhow::Result<()> {
    let home = Home::claim(args)?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let listener = admin::listen(&args.listen)?;
    let manifests = args.manifests.as_deref();
    let manifests = manifests.context("--manifests is required: there is no other source yet")?;
    let watched = source::watch(manifests, &home.node)
        .with_context(|| format!("the manifests in {}", manifests.display()))?;
    let mut threads = Threads::new();
    let workers = Workers::start(&threads, &home)?;
    let ports = Arc::clone(&workers.ports);
    let (stop, stopping) = watch::channel(false);
    let mut tasks = Tasks::start(
        &home,
        workers,
        watched.desired(),
        stopping,
        listener,
        memory,
    )?;
    let (node, instance) = (&home.node, &home.instance);
    info!(%node, %instance, version = env!("CARGO_PKG_VERSION"), "running");

    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = threads.first_end() => Some(reason),
        reason = tasks.first_end() => Some(reason),
    };
    if let Some(reason) = failure {
        // Not the protocol's way out, for which something is missing; but no address stays.
        if !matches!(timeout(HASTE, finish(&ports)).await, Ok(Ok(()))) {
            warn!("addresses stay until their lifetime ends");
        }
        return Err(reason);
    }
    info!("leaving");
    stop.send_replace(true);
    let left = timeout(GRACE, leave(&ports, tasks.supply)).await;
    left.unwrap_or_else(|_| Err(anyhow!("leaving took longer than {GRACE:?}")))?;
    info!("left");
    Ok(())
}

/// Priority 0, addresses withdrawn, settings restored.
async fn leave(ports: &Ports, supply: JoinHandle<anyhow::Result<Supply>>) -> anyhow::Result<()> {
    // The sockets are in it: they stay open until the end.
    let _supply = supply.await.context("the supply of plans")??;
    let mut look = interval(Duration::from_millis(2));
    while !ports.vitals.shut_down.load(Ordering::Acquire) {
        look.tick().await;
    }
    finish(ports).await
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

/// Who this agent is, and its directories, which are its alone as long as this lives.
struct Home {
    node: String,
    instance: String,
    state_dir: PathBuf,
    run_dir: PathBuf,
    _locks: [Flock<fs::File>; 2],
}

impl Home {
    fn claim(args: &RunArgs) -> anyhow::Result<Self> {
        let (state_dir, run_dir) = (args.state_dir(), args.place.run_dir());
        for directory in [&state_dir, &run_dir] {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        Ok(Self {
            node: match &args.node {
                Some(node) => node.clone(),
                None => host_name()?,
            },
            instance: args.place.instance.clone(),
            _locks: [lock(&state_dir)?, lock(&run_dir)?],
            state_dir,
            run_dir,
        })
    }
}

/// The threads' ends of their channels.
struct Workers {
    ports: Arc<Ports>,
    network: Arc<network::Vitals>,
    notices: mpsc::Receiver<network::Notice>,
    planned: monitor::Planned,
    inventory: watch::Receiver<Arc<Inventory>>,
}

impl Workers {
    fn start(threads: &Threads, home: &Home) -> anyhow::Result<Self> {
        let ports = Arc::new(Ports::new().context("channels")?);
        let vitals = Arc::new(network::Vitals::default());
        // Bounded: the network thread drops and counts what does not fit.
        let (notices, told) = mpsc::channel(1_024);
        let ledger = open_ledger(home)?;
        let kernel = Rtnetlink::open().context("netlink")?;
        let context = network::Context {
            ports: Arc::clone(&ports),
            vitals: Arc::clone(&vitals),
            notices,
        };
        threads.start("network", move || network::run(kernel, ledger, context))?;

        let planned = monitor::Planned::default();
        let (inventory, inventories) = watch::channel(Arc::new(Inventory::default()));
        let context = monitor::Context {
            ports: Arc::clone(&ports),
            inventory,
            planned: Arc::clone(&planned),
            keeps_tags: keeps_tags().context("the kernel's release")?,
        };
        threads.start("monitor", move || monitor::run(context))?;

        let own = Arc::clone(&ports);
        threads.start("election", move || election::run(&own))?;
        Ok(Self {
            ports,
            network: vitals,
            notices: told,
            planned,
            inventory: inventories,
        })
    }
}

fn open_ledger(home: &Home) -> anyhow::Result<Ledger> {
    let identity = Identity::of_this_process(&home.instance).context("the ledger's identity")?;
    let (ledger, discarded) = Ledger::open(home.state_dir.join("ledger"), identity);
    if let Some(reason) = discarded {
        info!(%reason, "the ledger is discarded");
    }
    Ok(ledger)
}

/// The tasks, none of which ends by itself.
struct Tasks {
    supply: JoinHandle<anyhow::Result<Supply>>,
    others: JoinSet<anyhow::Result<()>>,
}

impl Tasks {
    fn start(
        home: &Home,
        workers: Workers,
        desired: watch::Receiver<Arc<Desired>>,
        stopping: watch::Receiver<bool>,
        listener: TcpListener,
        memory: Result<(), String>,
    ) -> anyhow::Result<Self> {
        let (served, serving) = watch::channel(Arc::new(Served::default()));
        let Workers {
            ports,
            network,
            notices,
            planned,
            inventory,
        } = workers;
        let admin = Admin::new(Sources {
            node: home.node.clone(),
            instance: home.instance.clone(),
            ports: Arc::clone(&ports),
            network,
            inventory: inventory.clone(),
            desired: desired.clone(),
            served: serving,
            memory,
        })?;
        let supply = Supply::new(
            Arc::clone(&ports),
            planned,
            desired,
            inventory.clone(),
            served,
        );
        let mut others = JoinSet::new();
        others.spawn(telling::tell_events(
            ports,
            inventory.clone(),
            Arc::clone(&admin),
        ));
        others.spawn(telling::tell_notices(notices, inventory));
        let socket = home.run_dir.join(SOCKET);
        others.spawn(Arc::clone(&admin).serve_socket(socket));
        others.spawn(admin.serve_tcp(listener));
        Ok(Self {
            supply: tokio::spawn(supply.run(stopping)),
            others,
        })
    }

    async fn first_end(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            ended = &mut self.supply => ended.map(|end| end.map(drop)),
            ended = self.others.join_next() => ended.unwrap_or_else(|| Ok(Ok(()))),
        };
        match ended {
            Ok(Ok(())) => anyhow!("a task ended"),
            Ok(Err(reason)) => reason,
            Err(reason) => reason.into(),
        }
    }
}

/// Threads, and a word from the first that ends.
struct Threads {
    ends: mpsc::UnboundedReceiver<anyhow::Error>,
    /// Not bounded by itself, but by the number of threads: each says one word.
    end: mpsc::UnboundedSender<anyhow::Error>,
}

impl Threads {
    fn new() -> Self {
        let (end, ends) = mpsc::unbounded_channel();
        Self { ends, end }
    }

    /// Starts a thread that is to run for ever.
    fn start(
        &self,
        name: &'static str,
        body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let end = self.end.clone();
        let run = move || {
            let reason = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => anyhow!("thread {name} ended"),
                Ok(Err(error)) => error.context(format!("thread {name}")),
                Err(_) => anyhow!("thread {name} panicked"),
            };
            // Nobody listens when the process ends anyway.
            end.send(reason).ok();
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(run)
            .with_context(|| format!("starting thread {name}"))?;
        Ok(())
    }

    async fn first_end(&mut self) -> anyhow::Error {
        let word = self.ends.recv().await;
        word.unwrap_or_else(|| anyhow!("all threads ended"))
    }
}

fn host_name() -> anyhow::Result<String> {
    nix::unistd::gethostname()
        .context("the host's name")?
        .into_string()
        .map_err(|name| anyhow!("the host's name {} is not text", name.display()))
}

/// Makes sure that `directory` is ours alone: two agents on one ledger would take each other's addresses off.
fn lock(directory: &Path) -> anyhow::Result<Flock<fs::File>> {
    let path = directory.join("lock");
    let file = fs::File::create(&path).with_context(|| path.display().to_string())?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        anyhow!(
            "{}: {error}: another agent runs here; give this one an --instance of its own",
            path.display()
        )
    })
}
