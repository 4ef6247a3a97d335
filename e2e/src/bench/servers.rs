//! 1,000 virtual servers with 10 real servers each, beside keepalived in the same guest: how long until the kernel has
//! them, what a pass without change costs, how many messages one change is, and what a restart rewrites.
//!
//! Runs inside a guest whose kernel has IPVS; the host only boots it.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use super::figures::{Sorted, millis};
use crate::lab::Node;
use crate::process::Process;
use crate::uml::{Ended, Guest, quoted};
use crate::wait::{self, Seen};
use crate::{Agent, Ipvsadm, Lab, agent, keepalived};

/// Virtual servers, and real servers of each.
const SERVERS: u16 = 1_000;
const EACH: u16 = 10;
/// The lines of /proc/net/ip_vs with all of them: a head of three.
const LINES: usize = SERVERS as usize * (1 + EACH as usize) + 3;
/// How often the kernel's table is looked at.
const LOOK: Duration = Duration::from_millis(20);
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
    keepalived: Vec<Duration>,
    agent: Vec<Duration>,
    adoption: Vec<Duration>,
    /// Processor time of one pass without change.
    pass: Vec<Duration>,
    /// Messages that one changed real server was.
    change: Vec<u64>,
    /// Messages after a restart.
    rewritten: Vec<u64>,
}

fn measure(rounds: usize) -> Result<()> {
    let lab = Lab::new(&["d1"], 1)?;
    let node = lab.node("d1")?;
    let mut figures = Figures::default();
    for _ in 0..rounds {
        figures.keepalived.push(keepalived_loads(node)?);
        clear(node)?;
        agent_loads(node, &mut figures)?;
        clear(node)?;
    }
    print(&figures)
}

fn keepalived_loads(node: &Node) -> Result<Duration> {
    let file = |name: &str| node.directory().join(name);
    fs::write(file("servers.conf"), keepalived_configuration())?;
    let mut command = Command::new("keepalived");
    command
        .args(["-C", "-n", "-l", "-f"])
        .arg(file("servers.conf"));
    command.arg("-p").arg(file("servers.pid"));
    command.arg("-c").arg(file("servers-checkers.pid"));
    let begun = Instant::now();
    let mut process = Process::start("keepalived", command, node.namespace(), node.directory())?;
    let took = await_table(node, begun)?;
    process.kill()?;
    Ok(took)
}

fn agent_loads(node: &Node, figures: &mut Figures) -> Result<()> {
    let directory = node.directory().join("manifests");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("lab.yaml"), manifests(1))?;
    let begun = Instant::now();
    let mut agent = Agent::restart(node)?;
    figures.agent.push(await_table(node, begun)?);
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
    await_programmed(&agent)?;
    figures.adoption.push(begun.elapsed());
    figures.rewritten.push(operations(&agent)?);
    agent.process_mut().kill()
}

/// How long after `begun` the kernel has every service and real server.
fn await_table(node: &Node, begun: Instant) -> Result<Duration> {
    node.namespace().run(|| {
        loop {
            let table = fs::read_to_string("/proc/thread-self/net/ip_vs")?;
            if table.lines().count() >= LINES {
                return Ok(begun.elapsed());
            }
            let lines = table.lines().count();
            ensure!(begun.elapsed() < SOON, "{lines} lines after {SOON:?}");
            std::thread::sleep(LOOK);
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
        let now = look()?;
        let is_over = Instant::now() > until;
        Ok(Seen::when(now, |now| is_over && now.0 > passes))
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
            let text = fs::read_to_string(task.join("stat"))?;
            // After the name, which may have spaces: utime and stime are the 12th and 13th, in ticks of 10 ms (proc(5)).
            let (_, rest) = text.rsplit_once(") ").context("stat")?;
            let ticks = rest.split(' ').skip(11).take(2);
            let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
            return Ok(Duration::from_millis(ticks * 10));
        }
    }
    anyhow::bail!("no thread {name} in {}", tasks.display())
}

/// Takes away what a killed one has left.
fn clear(node: &Node) -> Result<()> {
    Ipvsadm::at(node).run("-C")?;
    Ok(())
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

/// The same for the agent; the first real server has `weight`.
fn manifests(weight: u16) -> String {
    let mut text = String::new();
    let routers = SERVERS.div_ceil(250);
    for router in 0..routers {
        writeln!(text, "---\napiVersion: vipkeeper.io/v1alpha1\nkind: VirtualRouter\nmetadata: {{name: r{router}}}\nspec:\n  virtualRouterId: {}\n  interface: {{type: Name, name: eth0}}\n  nodes: {{priorities: [{{node: d1, priority: 100}}]}}\n  attach: {{namespaces: {{from: All}}}}\n  addresses:", router + 1).ok();
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
    let spans = |all: &[Duration]| {
        let sorted = Sorted::new(all.iter().copied());
        let of = |span: Option<Duration>| span.map(millis).unwrap_or_default();
        format!(
            "{} | {} | {}",
            of(sorted.median()),
            of(sorted.minimum()),
            of(sorted.maximum())
        )
    };
    let counts = |all: &[u64]| {
        let sorted = Sorted::new(all.iter().copied());
        let of = |count: Option<u64>| count.map(|c| c.to_string()).unwrap_or_default();
        format!(
            "{} | {} | {}",
            of(sorted.median()),
            of(sorted.minimum()),
            of(sorted.maximum())
        )
    };
    let median = |all: &[Duration]| {
        let median = Sorted::new(all.iter().copied()).median();
        median.unwrap_or_default().as_secs_f64()
    };
    let version = keepalived::version()?;
    let ratio = |of: &[Duration]| median(of) / median(&figures.keepalived);
    let page = format!(
        "{SERVERS} virtual servers with {EACH} real servers each, in one guest, in turn, {} times\n\n\
         | | median | minimum | maximum |\n|---|--:|--:|--:|\n\
         | keepalived {version}, from its start until the kernel has all | {} |\n\
         | vipkeeper, the same | {} |\n\
         | vipkeeper, from the start after a kill until all is adopted | {} |\n\
         | vipkeeper, processor time of a pass without change | {} |\n\
         | vipkeeper, messages for one changed real server | {} |\n\
         | vipkeeper, messages after a restart | {} |\n\n\
         Loading: {:.2} of keepalived's time. A pass without change: {:.2} of it.\n",
        figures.agent.len(),
        spans(&figures.keepalived),
        spans(&figures.agent),
        spans(&figures.adoption),
        spans(&figures.pass),
        counts(&figures.change),
        counts(&figures.rewritten),
        ratio(&figures.agent),
        ratio(&figures.pass),
    );
    use std::io::Write as _;
    Ok(std::io::stdout().write_all(page.as_bytes())?)
}
