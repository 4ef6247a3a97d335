//! The benchmarks: agents beside keepalived in one run, on one machine, with equal configuration. First failover
//! of a pair, then what many routers cost, how punctual an Active is on a busy machine, how many routers start and
//! what an edit disturbs.
//!
//! Owns the labs, of each contender one at a time, and takes turns between them or measures both at once, so that
//! what else the machine does disturbs both alike. Times are read from captured frames, costs from the kernel.
//! Judges the goals of DESIGN §12 and says so; never fails because one is missed.

mod contender;
mod crowd;
mod figures;
mod lateness;
mod pair;
mod phase;
mod report;
pub mod servers;
mod surroundings;
mod usage;

use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::lab;
use crate::manifest::Router;
use contender::{Both, Contender};
use crowd::{Cost, Edit, Storm};
use lateness::Jitter;
use pair::{Death, Failover, Pair, Stop};
use phase::Phases;
use report::Report;
use surroundings::Surroundings;

/// `spec.nodes.priorities`; keepalived's are the same.
const PRIORITIES: &[(&str, u8)] = &[("a", 110), ("b", 100)];

/// vipkeeper beside keepalived, as Markdown: failover, cost, punctuality, start and edit.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Node deaths of each contender with one router.
    #[arg(long, default_value_t = 100)]
    pub deaths: u32,
    /// Planned stops of each contender.
    #[arg(long, default_value_t = 20)]
    pub stops: u32,
    /// Node deaths of each contender with many routers.
    #[arg(long, default_value_t = 10)]
    pub group_deaths: u32,
    /// How many routers those nodes have, 1 to 100.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub routers: u8,
    /// How many routers a node has of which cost, start and edit are measured, 1 to 250.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u8).range(1..=250))]
    pub crowd: u8,
    /// For how many seconds cost and punctuality are measured, each.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Starts and edits of each contender with so many routers.
    #[arg(long, default_value_t = 3)]
    pub repeats: u32,
    /// The moments of death within an advertisement interval follow from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Node deaths of ours with one router from manifests and in a cluster, each; where Kubernetes can be had.
    #[arg(long, default_value_t = 50)]
    pub cluster_deaths: u32,
    /// Where the tables go besides standard output.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self::parse_from(["bench"])
    }
}

/// What was measured of one contender.
#[derive(Debug, Default)]
struct Measured {
    /// One router, one entry a death.
    deaths: Vec<Failover>,
    stops: Vec<Stop>,
    /// Many routers: the failovers of each death.
    group_deaths: Vec<Vec<Failover>>,
    /// Deaths repeated because a priority 0 was on the wire.
    void: u32,
    cost: Cost,
    jitter: Jitter,
    storms: Vec<Storm>,
    edits: Vec<Edit>,
}

/// Deaths with one router of ours: its configuration from manifests, and from the API server of a cluster.
#[derive(Debug, Default)]
struct Sources {
    manifests: Vec<Failover>,
    cluster: Vec<Failover>,
}

/// Runs all of it and prints the tables.
///
/// # Errors
/// When the machine lacks something, or a contender does not do what it must.
pub fn run(options: &Options) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "bench needs root, to make network namespaces of its own (it touches no other): run `make bench` as root"
    );
    let surroundings = Surroundings::look()?;
    let mut phases = Phases::new(options.seed);
    let mut measured = Both::<Measured>::default();
    let one = routers(1);
    let configurations = compare(&one)?;
    fail_over(options, &one, &mut phases, &mut measured)?;
    crowd_together(options, &one, &mut measured)?;
    let sources = compare_sources(options, &one, &mut phases)?;

    let report = Report {
        options,
        surroundings: &surroundings,
        load_after: surroundings::load(),
        router: one.first().context("no router")?,
        configurations,
        measured: &measured,
        sources: &sources,
    };
    let text = report.markdown()?;
    io::stdout().write_all(text.as_bytes())?;
    if let Some(path) = &options.write {
        std::fs::write(path, &text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Deaths and planned stops of pairs.
fn fail_over(
    options: &Options,
    one: &[Router],
    phases: &mut Phases,
    measured: &mut Both<Measured>,
) -> Result<()> {
    take_turns("deaths", options.deaths, one, |pair| {
        let of = measured.of_mut(pair.contender());
        let failovers = repeat_void(pair, phases, &mut of.void)?;
        of.deaths.extend(failovers);
        Ok(())
    })?;
    take_turns("planned stops", options.stops, one, |pair| {
        let stop = pair.stop(phases.next_within(pair.interval()))?;
        measured.of_mut(pair.contender()).stops.push(stop);
        Ok(())
    })?;
    let many = routers(options.routers);
    let what = format!("deaths with {} routers", options.routers);
    take_turns(&what, options.group_deaths, &many, |pair| {
        let of = measured.of_mut(pair.contender());
        let failovers = repeat_void(pair, phases, &mut of.void)?;
        of.group_deaths.push(failovers);
        Ok(())
    })
}

/// Deaths in a cluster beside deaths of nodes with manifests, in turns.
fn compare_sources(
    options: &Options,
    one: &[Router],
    phases: &mut Phases,
) -> Result<Result<Sources, String>> {
    let what = "deaths in a cluster";
    if options.cluster_deaths == 0 {
        return Ok(Ok(Sources::default()));
    }
    if let Err(missing) = crate::program::kubernetes() {
        return Ok(Err(format!("{missing:#}")));
    }
    let mut pairs = [
        Pair::start(Contender::Vipkeeper, one)?,
        Pair::start_in_cluster(one).context(what)?,
    ];
    let mut sources = Sources::default();
    let mut void = 0;
    for number in 0..options.cluster_deaths {
        progress(what, number + 1, options.cluster_deaths);
        let [manifests, cluster] = &mut pairs;
        let mut turns = [
            (manifests, &mut sources.manifests),
            (cluster, &mut sources.cluster),
        ];
        if !number.is_multiple_of(2) {
            turns.reverse();
        }
        for (pair, failovers) in turns {
            failovers.extend(repeat_void(pair, phases, &mut void)?);
        }
    }
    Ok(Ok(sources))
}

/// Cost, punctuality, starts and edits.
fn crowd_together(options: &Options, one: &[Router], measured: &mut Both<Measured>) -> Result<()> {
    let during = Duration::from_secs(options.seconds.into());
    let what = format!("cost of {} routers", options.crowd);
    progress(&what, 1, 1);
    let cost = crowd::cost(options.crowd, during).context(what)?;
    progress("punctuality", 1, 1);
    let router = one.first().context("no router")?;
    let mut jitter = lateness::measure(router, during).context("punctuality")?;
    for contender in Contender::ALL {
        let of = measured.of_mut(contender);
        of.cost = *cost.of(contender);
        of.jitter = std::mem::take(jitter.of_mut(contender));
    }
    for number in 0..options.repeats {
        progress("starts and edits", number + 1, options.repeats);
        for contender in Contender::ALL {
            let what = || format!("{contender}, {} routers, round {number}", options.crowd);
            let storm = crowd::storm(contender, options.crowd).with_context(what)?;
            let edit = crowd::edit(contender, options.crowd).with_context(what)?;
            let of = measured.of_mut(contender);
            of.storms.push(storm);
            of.edits.push(edit);
        }
    }
    Ok(())
}

/// The routers of both contenders: version 3, 100 ms, the checksum that keepalived sends by default.
fn routers(count: u8) -> Vec<Router> {
    (1..=count)
        .map(|number| {
            let address = IpAddr::from(lab::ipv4(0, 100 + number));
            Router {
                checksum: Some("RFC5798"),
                ..Router::new(&format!("vip-{number}"), number, &[address], PRIORITIES)
            }
        })
        .collect()
}

/// Makes sure that both advertise the same bytes and returns their configurations.
fn compare(routers: &[Router]) -> Result<Both<String>> {
    let (mut advertised, mut configurations) = (Both::default(), Both::default());
    for contender in Contender::ALL {
        let pair = Pair::start(contender, routers)?;
        *advertised.of_mut(contender) = pair.advertised()?;
        *configurations.of_mut(contender) = pair.configuration()?;
    }
    ensure!(
        advertised.vipkeeper == advertised.keepalived,
        "the contenders advertise different bytes, so their configurations are not equal: {advertised:02x?}"
    );
    Ok(configurations)
}

/// `count` rounds with each contender. Pairs are started anew every few rounds; who is started first, and who
/// is first in a round, changes, for it makes a difference of half a millisecond.
fn take_turns(
    what: &str,
    count: u32,
    routers: &[Router],
    mut round: impl FnMut(&mut Pair) -> Result<()>,
) -> Result<()> {
    const ROUNDS: u32 = 10;
    let mut pairs: Vec<Pair> = Vec::new();
    for number in 0..count {
        if number.is_multiple_of(ROUNDS) {
            pairs.clear();
            let mut order = Contender::ALL;
            if !(number / ROUNDS).is_multiple_of(2) {
                order.reverse();
            }
            for contender in order {
                pairs.push(Pair::start(contender, routers)?);
            }
        }
        progress(what, number + 1, count);
        for pair in &mut pairs {
            let contender = pair.contender();
            round(pair).with_context(|| format!("{contender}, {what}, round {number}"))?;
        }
        pairs.reverse();
    }
    Ok(())
}

/// A death that counts.
fn repeat_void(pair: &mut Pair, phases: &mut Phases, void: &mut u32) -> Result<Vec<Failover>> {
    const ATTEMPTS: u32 = 10;
    for _ in 0..ATTEMPTS {
        match pair.death(phases.next_within(pair.interval()))? {
            Death::Measured(failovers) => return Ok(failovers),
            Death::Void => *void += 1,
        }
    }
    anyhow::bail!("{ATTEMPTS} deaths in a row announced themselves by priority 0")
}

/// Where the run is: repainted on a terminal, now and then a line elsewhere.
fn progress(what: &str, number: u32, count: u32) {
    const LINES: u32 = 10;
    let mut out = io::stderr().lock();
    // Progress that nobody can see is no reason to stop.
    let written = if out.is_terminal() {
        let end = if number == count { "\n" } else { "" };
        write!(out, "\r\x1b[K{what}: {number} of {count}{end}").and_then(|()| out.flush())
    } else if number == count || number.is_multiple_of(count.div_ceil(LINES)) {
        writeln!(out, "{what}: {number} of {count}")
    } else {
        Ok(())
    };
    drop(written);
}
