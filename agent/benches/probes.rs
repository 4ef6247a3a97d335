//! What 10,000 TCP probes of 5 s cost: the share of one core that the process took over half a minute.
//!
//! `cargo bench -p vipkeeper-agent --bench probes`, with `-- --seconds 30 --targets 10000` as they are by default. The listener is
//! another process, so that its share is not ours; what the kernel does for it on the loopback while we connect is. Exits with 1 if
//! the goal is missed.
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use vipkeeper_agent::probe::{OfKind, Prober, Settings, Statistics, Target, Targets};
use vipkeeper_crds::node_server::{NodeProbe, ProbeKind};

/// The most of one core (issue 6).
const GOAL: f64 = 0.5;
/// From one probe of a target to the next.
const INTERVAL: Duration = Duration::from_secs(5);

/// Measures the prober.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many targets.
    #[arg(long, default_value_t = 10_000)]
    targets: u32,
    /// For how long it is measured, once every target was probed.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Be the listener, and say where.
    #[arg(long, hide = true)]
    listen: bool,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    // As the agent's.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if arguments.listen {
        runtime.block_on(listen())?;
        return Ok(ExitCode::SUCCESS);
    }
    let listener = Listener::start()?;
    runtime.block_on(measure(&arguments, &listener))
}

async fn measure(arguments: &Arguments, listener: &Listener) -> anyhow::Result<ExitCode> {
    let servers = (0..arguments.targets).map(|number| listener.address(number));
    let targets = Targets::default().followed_by(Target::each(&probe(), servers));
    let statistics = Arc::new(Statistics::default());
    let prober = Prober::new(Settings {
        scripts_dir: "/nowhere".into(),
        seed: RandomState::new().hash_one(0),
        known: Default::default(),
        statistics: statistics.clone(),
    });
    let (_targets, wanted) = watch::channel(Arc::new(targets.unwrap_or_default()));
    let (changes, mut judgements) = mpsc::channel(256);
    let prober = tokio::spawn(prober.run(wanted, changes));
    for _ in 0..arguments.targets {
        let (_, judgement) = judgements.recv().await.context("the prober ended")?;
        anyhow::ensure!(judgement.healthy, "{}", judgement.reason);
    }

    let (before, began) = (Usage::now(&statistics)?, Instant::now());
    let span = Duration::from_secs(arguments.seconds);
    // Nothing is to change: a judgement here is a probe that failed.
    if let Ok(change) = tokio::time::timeout(span, judgements.recv()).await {
        anyhow::bail!("not every probe succeeded: {change:?}");
    }
    let (after, took) = (Usage::now(&statistics)?, began.elapsed().as_secs_f64());
    prober.abort();

    let share = (after.processor - before.processor) / took;
    let rate = (after.probes - before.probes) as f64 / took;
    let targets = arguments.targets;
    println!(
        "{targets} TCP probes of {} s, {took:.0} s long",
        INTERVAL.as_secs()
    );
    println!("  probes a second        {rate:.0}");
    println!("  of one core            {:.1} %", share * 100.0);
    println!("  processor for a probe  {:.0} us", share / rate * 1e6);
    println!("  resident memory        {} MiB", after.resident >> 10);
    let met = share <= GOAL;
    println!(
        "goal: at most {:.0} % of one core: {}",
        GOAL * 100.0,
        if met { "met" } else { "missed" }
    );
    Ok(ExitCode::from(u8::from(!met)))
}

fn probe() -> NodeProbe {
    let seconds = vipkeeper_crds::Duration::from_secs;
    NodeProbe {
        name: "bench".to_owned(),
        kind: ProbeKind::Tcp,
        interval: seconds(INTERVAL.as_secs()),
        timeout: seconds(3),
        rise: 1,
        fall: 1,
        delay_after_failure: seconds(INTERVAL.as_secs()),
        address: None,
        port: None,
        source: None,
        interface: None,
        mark: None,
    }
}

/// What this process used.
struct Usage {
    /// Seconds of processors, of all threads, in the kernel too.
    processor: f64,
    /// Probes that were judged.
    probes: u64,
    /// The most resident memory so far, in KiB.
    resident: i64,
}

impl Usage {
    fn now(statistics: &Statistics) -> anyhow::Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
        let judged = |kind: &OfKind| kind.durations.count;
        Ok(Self {
            processor: seconds(usage.user_time()) + seconds(usage.system_time()),
            probes: statistics.read().kinds.iter().map(judged).sum(),
            resident: usage.max_rss(),
        })
    }
}

/// The other process.
struct Listener {
    process: Child,
    port: u16,
}

impl Listener {
    fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--listen")
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().parse().context("the listener's port")?;
        Ok(Self { process, port })
    }

    /// An address of the loopback for each target: all are the listener's.
    fn address(&self, number: u32) -> SocketAddr {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number);
        SocketAddrV4::new(address, self.port).into()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _gone = self.process.kill().and_then(|()| self.process.wait());
    }
}

async fn listen() -> anyhow::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        // Reset already, or by and by.
        let _connection = listener.accept().await;
    }
}
