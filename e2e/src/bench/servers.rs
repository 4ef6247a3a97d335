//! 1,000 virtual servers with 10 real servers each, beside keepalived in the same guest: how long until the kernel has
//! them, what a pass without change costs, how many messages one change is, and what a restart rewrites.
//!
//! Runs inside a guest whose kernel has IPVS; the host only boots it.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::unistd::Pid;

use super::figures::{Sorted, millis};
use crate::lab::Node;
use crate::process::Process;
use crate::uml::{Ended, Guest, quoted};
use crate::wait::{self, Seen};
use crate::{Agent, Lab, agent, keepalived};

/// Virtual servers, and real servers of each.
const SERVERS: u16 = 1_000;
const EACH: u16 = 10;
/// The lines of /proc/net/ip_vs with all of them: a head of three.
const LINES: usize = SERVERS as usize * (1 + EACH as usize) + 3;
/// How often the kernel's table is looked at, at most; and after a look there is so many times as long without one, for
/// the guest has one processor, and a look at 11,000 lines takes it away from those who fill the table.
const LOOK: Duration = Duration::from_millis(20);
const REST: u32 = 4;
/// What the agent says when it has taken on the services that it finds.
const ADOPTED: &str = "services adopted";
const SOON: Duration = Duration::from_secs(60);
/// So long passes without change are watched.
const WATCH: Duration = Duration::from_secs(15);
/// The longest that the whole may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Loads 1,000 virtual servers with 10 real servers each by the agent and by keepalived, in turn, in one guest.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Set where it runs inside its guest.
    #[arg(long, hide = true)]
    inside: bool,
    /// How often each loads.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Measures, and writes a page to standard output.
///
/// # Errors
/// When there is no guest to be had, or one of both does not load its servers.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.inside {
        measure(options.rounds)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (agent, own) = (agent::program()?, std::env::current_exe()?.canonicalize()?);
    let [agent, own] = [agent, own].map(|path| quoted(&path.to_string_lossy()));
    let rounds = options.rounds;
    let script = format!("export VIPKEEPER_AGENT={agent}\nexec {own} --inside --rounds {rounds}\n");
    match Guest::new()?.run(&script, LIMIT)? {
        Ended::With(0) => Ok(ExitCode::SUCCESS),
        Ended::With(_) => Ok(ExitCode::FAILURE),
        Ended::Without(how) => anyhow::bail!("{how}"),
    }
}

/// What was measured.
#[derive(Default)]
struct Figures {
    keepalived: Vec<Load>,
    agent: Vec<Load>,
    adoption: Vec<Duration>,
    /// Processor time of one pass without change.
    pass: Vec<Duration>,
    /// Messages that one changed real server was.
    change: Vec<u64>,
    /// Messages after a restart.
    rewritten: Vec<u64>,
}

/// A load of the kernel's table.
#[derive(Clone, Copy)]
struct Load {
    /// From the start of the program until the kernel has all.
    took: Duration,
    /// The processor time that it took of that.
    busy: Duration,
}

/// Each load in a namespace of its own: the kernel keeps real servers that are gone for two minutes, and looks through
/// them for each one that comes.
fn measure(rounds: usize) -> Result<()> {
    let mut figures = Figures::default();
    for _ in 0..rounds {
        let lab = Lab::new(&["d1"], 1)?;
        figures.keepalived.push(keepalived_loads(lab.node("d1")?)?);
        let lab = Lab::new(&["d1"], 1)?;
        agent_loads(lab.node("d1")?, &mut figures)?;
    }
    print(&figures)
}

fn keepalived_loads(node: &Node) -> Result<Load> {
    let file = |name: &str| node.directory().join(name);
    fs::write(file("servers.conf"), keepalived_configuration())?;
    let mut command = Command::new("keepalived");
    command
        .args(["-C", "-n", "-G", "-f"])
        .arg(file("servers.conf"));
    command.arg("-p").arg(file("servers.pid"));
    command.arg("-c").arg(file("servers-checkers.pid"));
    let begun = Instant::now();
    let mut process = Process::start("keepalived", command, node.namespace(), node.directory())?;
    let load = await_table(node, &process, begun)?;
    process.kill()?;
    Ok(load)
}

fn agent_loads(node: &Node, figures: &mut Figures) -> Result<()> {
    let directory = node.directory().join("manifests");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("lab.yaml"), manifests(1))?;
    let begun = Instant::now();
    let mut agent = Agent::restart(node)?;
    figures
        .agent
        .push(await_table(node, agent.process(), begun)?);
    await_programmed(&agent)?;
    figures.pass.push(pass_without_change(&agent)?);
    let before = operations(&agent)?;
    agent.edit(&manifests(2))?;
    let messages = wait::until("the change arrives", SOON, || {
        let now = operations(&agent)? - before;
        Ok(Seen::when(now, |now| *now > 0))
    })?;
    await_programmed(&agent)?;
    figures
        .change
        .push(messages.max(operations(&agent)? - before));
    agent.process_mut().kill()?;
    let begun = Instant::now();
    let mut agent = agent.again()?;
    wait::until("the services are adopted", SOON, || {
        let log = agent.process().log();
        Ok(Seen::when(log, |log| log.contains(ADOPTED)).map(|_| ()))
    })?;
    figures.adoption.push(begun.elapsed());
    await_programmed(&agent)?;
    figures.rewritten.push(operations(&agent)?);
    agent.process_mut().kill()
}

/// How long after `begun` the kernel has every service and real server, and what that took of `process`.
fn await_table(node: &Node, process: &Process, begun: Instant) -> Result<Load> {
    node.namespace().run(|| {
        loop {
            let looked = Instant::now();
            let table = fs::read("/proc/thread-self/net/ip_vs")?;
            let lines = table.iter().filter(|byte| **byte == b'\n').count();
            if lines >= LINES {
                let took = begun.elapsed();
                let busy = process.all().into_iter().map(time_of_process).sum();
                return Ok(Load { took, busy });
            }
            ensure!(begun.elapsed() < SOON, "{lines} lines after {SOON:?}");
            std::thread::sleep(LOOK.max(looked.elapsed() * REST));
        }
    })
}

/// Waits until the agent says that the kernel is as it should be.
fn await_programmed(agent: &Agent) -> Result<()> {
    wait::until("every service is programmed", SOON, || {
        let page = match agent.get("/metrics") {
            Ok((_, page)) => page,
            Err(error) => return Ok(Seen::NotYet(format!("{error:#}"))),
        };
        let lines = page.lines();
        let programmed = lines
            .filter(|line| line.starts_with("vipkeeper_virtual_server_programmed{"))
            .filter(|line| line.ends_with(" 1"))
            .count();
        Ok(Seen::when(programmed, |count| *count == usize::from(SERVERS)).map(|_| ()))
    })
}

fn operations(agent: &Agent) -> Result<u64> {
    Ok(agent.metric("vipkeeper_ipvs_operations_total")? as u64)
}

/// The processor time of the services thread for each time that it reads the kernel's table.
fn pass_without_change(agent: &Agent) -> Result<Duration> {
    let look = || -> Result<(f64, Duration)> {
        let passes = agent.metric("vipkeeper_ipvs_passes_total")?;
        Ok((passes, time_of_thread(agent, "services")?))
    };
    let (passes, time) = look()?;
    let until = Instant::now() + WATCH;
    let (passes, time) = wait::until("passes go by", WATCH * 2, || {
        if Instant::now() < until {
            return Ok(Seen::NotYet("it is watched for a while".to_owned()));
        }
        Ok(Seen::when(look()?, |now| now.0 > passes))
    })
    .map(|now| (now.0 - passes, now.1.saturating_sub(time)))?;
    Ok(time.div_f64(passes))
}

/// User and system time of a thread of the agent.
fn time_of_thread(agent: &Agent, name: &str) -> Result<Duration> {
    let tasks = PathBuf::from(format!("/proc/{}/task", agent.agent_id()?));
    for task in fs::read_dir(&tasks)? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == name {
            return time_in(&task.join("stat"));
        }
    }
    anyhow::bail!("no thread {name} in {}", tasks.display())
}

/// User and system time of a process; none of one that has ended.
fn time_of_process(process: Pid) -> Duration {
    time_in(&PathBuf::from(format!("/proc/{process}/stat"))).unwrap_or_default()
}

/// User and system time in a file of proc(5): after the name, which may have spaces, the 12th and 13th word, in ticks of
/// 10 ms.
fn time_in(stat: &Path) -> Result<Duration> {
    let text = fs::read_to_string(stat)?;
    let (_, rest) = text.rsplit_once(") ").context("stat")?;
    let ticks = rest.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn virtual_address(server: u16) -> Ipv4Addr {
    let [high, low] = server.to_be_bytes();
    Ipv4Addr::new(198, 18, high, low)
}

fn real_address(server: u16, number: u16) -> Ipv4Addr {
    let [high, low] = (server * EACH + number).to_be_bytes();
    Ipv4Addr::new(10, 9, high, low)
}

fn keepalived_configuration() -> String {
    let mut text = String::from("global_defs {\n}\n");
    for server in 0..SERVERS {
        // Writing to a String cannot fail.
        writeln!(
            text,
            "virtual_server {} 80 {{\n lb_algo wlc\n lb_kind NAT\n protocol TCP",
            virtual_address(server)
        )
        .ok();
        for number in 0..EACH {
            let address = real_address(server, number);
            writeln!(text, " real_server {address} 8080 {{\n  weight 1\n }}").ok();
        }
        text.push_str("}\n");
    }
    text
}

/// The same for the agent; the first real server has `weight`. keepalived holds no addresses here: those of the agent
/// come after the load, by the interval of three seconds and more.
fn manifests(weight: u16) -> String {
    let mut text = String::new();
    let routers = SERVERS.div_ceil(250);
    for router in 0..routers {
        writeln!(text, "---\napiVersion: vipkeeper.io/v1alpha1\nkind: VirtualRouter\nmetadata: {{name: r{router}}}\nspec:\n  virtualRouterId: {}\n  advertisementInterval: 1s\n  interface: {{type: Name, name: eth0}}\n  nodes: {{priorities: [{{node: d1, priority: 100}}]}}\n  attach: {{namespaces: {{from: All}}}}\n  addresses:", router + 1).ok();
        for server in (router * 250..SERVERS).take(250) {
            writeln!(text, "  - address: {}", virtual_address(server)).ok();
        }
    }
    for server in 0..SERVERS {
        let router = server / 250;
        writeln!(text, "---\napiVersion: vipkeeper.io/v1alpha1\nkind: VirtualServer\nmetadata: {{name: s{server}}}\nspec:\n  routerRef: {{name: r{router}}}\n  addresses: [{}]\n  ports: [{{port: 80, targetPort: 8080}}]\n  realServers:", virtual_address(server)).ok();
        for number in 0..EACH {
            let address = real_address(server, number);
            let weight = if server + number == 0 { weight } else { 1 };
            writeln!(text, "  - {{address: {address}, weight: {weight}}}").ok();
        }
    }
    text
}

fn print(figures: &Figures) -> Result<()> {
    let version = keepalived::version()?;
    let took = |loads: &[Load]| loads.iter().map(|load| load.took).collect::<Vec<_>>();
    let busy = |loads: &[Load]| loads.iter().map(|load| load.busy).collect::<Vec<_>>();
    let ratio = |of: &[Duration], to: &[Duration]| median(of) / median(to);
    let (ours, theirs) = (&figures.agent, &figures.keepalived);
    let page = format!(
        "{SERVERS} virtual servers with {EACH} real servers each, in one guest, in turn, {} times\n\n\
         | | median | minimum | maximum |\n|---|--:|--:|--:|\n\
         | keepalived {version}, from its start until the kernel has all | {} |\n\
         | vipkeeper, the same | {} |\n\
         | keepalived, processor time of that | {} |\n\
         | vipkeeper, processor time of that | {} |\n\
         | vipkeeper, from the start after a kill until all is adopted | {} |\n\
         | vipkeeper, processor time of a pass without change | {} |\n\
         | vipkeeper, messages for one changed real server | {} |\n\
         | vipkeeper, messages after a restart | {} |\n\n\
         Loading: {:.2} of keepalived's time, {:.2} of its processor time. A pass without change: {:.2} of its load.\n",
        ours.len(),
        row(took(theirs), millis),
        row(took(ours), millis),
        row(busy(theirs), millis),
        row(busy(ours), millis),
        row(figures.adoption.clone(), millis),
        row(figures.pass.clone(), millis),
        row(figures.change.clone(), |count| count.to_string()),
        row(figures.rewritten.clone(), |count| count.to_string()),
        ratio(&took(ours), &took(theirs)),
        ratio(&busy(ours), &busy(theirs)),
        ratio(&figures.pass, &took(theirs)),
    );
    use std::io::Write as _;
    Ok(std::io::stdout().write_all(page.as_bytes())?)
}

/// Median, minimum and maximum.
fn row<T: Ord + Copy>(samples: Vec<T>, in_words: impl Fn(T) -> String) -> String {
    let sorted = Sorted::new(samples);
    let all = [sorted.median(), sorted.minimum(), sorted.maximum()];
    all.map(|one| one.map(&in_words).unwrap_or_default())
        .join(" | ")
}

fn median(spans: &[Duration]) -> f64 {
    let median = Sorted::new(spans.iter().copied()).median();
    median.unwrap_or_default().as_secs_f64()
}
