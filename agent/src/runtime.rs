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
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use crate::admin::{self, Admin, SOCKET, Sources};
use crate::cli::RunArgs;
use crate::election::{self, Order, Ports};
use crate::inventory::Inventory;
use crate::network::ledger::{Identity, Ledger};
use crate::network::rtnetlink::{Rtnetlink, keeps_tags};
use crate::supply::{Served, Supply};
use crate::{monitor, network, source, sys, telling};

/// The stack of our threads; with locked memory, what is touched of it stays.
const STACK: usize = 256 << 10;
/// The runtime's own threads parse what people wrote, which may be nested.
const RUNTIME_STACK: usize = 1 << 20;
/// The longest that leaving may take.
const GRACE: Duration = Duration::from_secs(5);
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
    let (state_dir, run_dir) = (args.state_dir(), args.place.run_dir());
    let instance = &args.place.instance;
    let node = match &args.node {
        Some(node) => node.clone(),
        None => host_name()?,
    };
    fs::create_dir_all(&state_dir).with_context(|| state_dir.display().to_string())?;
    fs::create_dir_all(&run_dir).with_context(|| run_dir.display().to_string())?;
    let _locks = [lock(&state_dir)?, lock(&run_dir)?];
    let manifests = args
        .manifests
        .clone()
        .context("--manifests is required: there is no other source yet")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let listener = admin::listen(&args.listen)?;
    let watched = source::watch(&manifests, &node)
        .with_context(|| format!("the manifests in {}", manifests.display()))?;
    let desired = watched.desired();

    let mut threads = Threads::new();
    let ports = Arc::new(Ports::new().context("channels")?);
    let (ledger, discarded) = Ledger::open(
        state_dir.join("ledger"),
        Identity::of_this_process(instance).context("the ledger's identity")?,
    );
    if let Some(reason) = discarded {
        info!(%reason, "the ledger is discarded");
    }
    let network_vitals = Arc::new(network::Vitals::default());
    // Bounded: the network thread drops and counts what does not fit.
    let (notices, told) = mpsc::channel(1_024);
    threads.start("network", {
        let context = network::Context {
            ports: Arc::clone(&ports),
            vitals: Arc::clone(&network_vitals),
            notices,
        };
        let kernel = Rtnetlink::open().context("netlink")?;
        move || network::run(kernel, ledger, context)
    })?;
    let planned = monitor::Planned::default();
    let (inventory, inventories) = watch::channel(Arc::new(Inventory::default()));
    threads.start("monitor", {
        let context = monitor::Context {
            ports: Arc::clone(&ports),
            inventory,
            planned: Arc::clone(&planned),
            keeps_tags: keeps_tags().context("the kernel's release")?,
        };
        move || monitor::run(context)
    })?;
    threads.start("election", {
        let ports = Arc::clone(&ports);
        move || election::run(&ports)
    })?;

    let (served, serving) = watch::channel(Arc::new(Served::default()));
    let (stop, stopping) = watch::channel(false);
    let admin = Admin::new(Sources {
        node: node.clone(),
        instance: instance.clone(),
        ports: Arc::clone(&ports),
        network: network_vitals,
        inventory: inventories.clone(),
        desired: desired.clone(),
        served: serving,
        memory,
    })?;
    let supply = Supply::new(
        Arc::clone(&ports),
        planned,
        desired,
        inventories.clone(),
        served,
    );
    let mut supply = tokio::spawn(supply.run(stopping));
    let mut tasks = JoinSet::new();
    tasks.spawn(telling::tell_events(
        Arc::clone(&ports),
        inventories.clone(),
    ));
    tasks.spawn(async move {
        telling::tell_notices(told, inventories).await;
        anyhow::Ok(())
    });
    tasks.spawn({
        let (admin, socket) = (Arc::clone(&admin), run_dir.join(SOCKET));
        async move { admin.serve_socket(&socket).await }
    });
    tasks.spawn(admin.serve_tcp(listener));
    info!(%node, %instance, version = env!("CARGO_PKG_VERSION"), "running");

    tokio::select! {
        _ = terminate.recv() => info!(signal = "SIGTERM", "leaving"),
        _ = interrupt.recv() => info!(signal = "SIGINT", "leaving"),
        reason = threads.first_end() => return Err(reason),
        ended = tasks.join_next() => return Err(end_of(ended)),
        ended = &mut supply => {
            return Err(ended.map_or_else(Into::into, |end| match end {
                Ok(_) => anyhow!("the supply of plans ended"),
                Err(error) => error,
            }));
        }
    }
    stop.send_replace(true);
    let left = timeout(GRACE, leave(&ports, supply)).await;
    left.unwrap_or_else(|_| Err(anyhow!("leaving took longer than {GRACE:?}")))?;
    info!("left");
    Ok(())
}

/// Priority 0, addresses withdrawn, settings restored.
async fn leave(
    ports: &Ports,
    supply: tokio::task::JoinHandle<anyhow::Result<Supply>>,
) -> anyhow::Result<()> {
    // The sockets are in it: they stay open until the end.
    let _supply = supply.await.context("the supply of plans")??;
    let mut look = interval(Duration::from_millis(2));
    while !ports.vitals.shut_down.load(Ordering::Acquire) {
        look.tick().await;
    }
    let (done, finished) = oneshot::channel();
    ports
        .orders
        .push(Order::Finish(done))
        .map_err(|_| anyhow!("the network thread does not take orders"))?;
    finished.await.context("the network thread is gone")
}

/// Threads, and a word from the first that ends.
struct Threads {
    ends: mpsc::UnboundedReceiver<anyhow::Error>,
    end: Arc<Mutex<mpsc::UnboundedSender<anyhow::Error>>>,
}

impl Threads {
    fn new() -> Self {
        // Bounded by the number of threads.
        let (end, ends) = mpsc::unbounded_channel();
        Self {
            ends,
            end: Arc::new(Mutex::new(end)),
        }
    }

    /// Starts a thread that is to run for ever.
    fn start(
        &self,
        name: &'static str,
        body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let end = Arc::clone(&self.end);
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                let reason = match outcome {
                    Ok(Ok(())) => anyhow!("thread {name} ended"),
                    Ok(Err(error)) => error.context(format!("thread {name}")),
                    Err(_) => anyhow!("thread {name} panicked"),
                };
                if let Ok(end) = end.lock() {
                    // Nobody listens when the process ends anyway.
                    end.send(reason).ok();
                }
            })
            .with_context(|| format!("starting thread {name}"))?;
        Ok(())
    }

    async fn first_end(&mut self) -> anyhow::Error {
        match self.ends.recv().await {
            Some(reason) => reason,
            // We hold a sender.
            None => anyhow!("all threads ended"),
        }
    }
}

fn end_of(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => error.into(),
        Some(Ok(Ok(()))) | None => anyhow!("a task ended"),
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
