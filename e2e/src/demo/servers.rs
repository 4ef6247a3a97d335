//! The demo of virtual servers: two directors, two web servers; one of each dies.
//!
//! Runs inside a guest whose kernel has IPVS, where it owns a lab; the host only boots the guest. The configuration is the
//! sample's, the figures are a client's.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use super::screen::{Screen, Style};
use crate::uml::{Ended, Guest, quoted};
use crate::wait::{self, Seen};
use crate::{Agent, Client, DirectorLan, Load, Place, RealServer, Taking, Tally, agent};

/// The manifests.
const SAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/samples/direct-routing"
);
/// The service's port.
const PORT: u16 = 80;
/// Requests whose answers are counted.
const REQUESTS: usize = 200;
/// Connections that stay open while a director dies.
const CONNECTIONS: usize = 40;
/// The longest that anything may take.
const SOON: Duration = Duration::from_secs(20);
/// The longest that the whole may take, in a guest on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Two directors, two web servers: requests spread, one server dies, then the director.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Set where the demo runs inside its guest.
    #[arg(long, hide = true)]
    inside: bool,
    /// Directory of manifests of nodes d1 and d2 with the virtual address 192.0.2.100, port 80, and the real servers
    /// 192.0.2.241 and 192.0.2.242.
    #[arg(long, value_name = "DIR", default_value = SAMPLE)]
    manifests: PathBuf,
}

/// Tells the story, inside a guest.
///
/// # Errors
/// When there is no guest to be had, or something does not happen that must.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.inside {
        return Story::begin(options)?.tell();
    }
    let agent = agent::program()?;
    let own = std::env::current_exe()?.canonicalize()?;
    let manifests = options.manifests.canonicalize()?;
    let [agent, own, manifests] =
        [agent, own, manifests].map(|path| quoted(&path.to_string_lossy()));
    // The guest's console is a terminal, whatever this one is.
    let colour = if io::stdout().is_terminal() {
        ""
    } else {
        "export NO_COLOR=1\n"
    };
    let script = format!(
        "{colour}export VIPKEEPER_AGENT={agent}\nexec {own} --inside --manifests {manifests}\n"
    );
    match Guest::new()?.run(&script, LIMIT)? {
        Ended::With(0) => Ok(ExitCode::SUCCESS),
        Ended::With(_) => Ok(ExitCode::FAILURE),
        Ended::Without(how) => anyhow::bail!("{how}"),
    }
}

/// The scene, and what was seen so far.
struct Story {
    // Agents and servers go before the namespaces they live in.
    agents: Vec<Agent>,
    servers: Vec<RealServer>,
    lan: DirectorLan,
    screen: Screen,
    kept: bool,
}

impl Story {
    fn begin(options: &Options) -> Result<Self> {
        let lan = DirectorLan::new(2, 2, Place::Beside)?;
        let [address, _] = DirectorLan::virtual_addresses();
        lan.take(&[address], Taking::Direct)?;
        let servers = lan.start_servers(PORT, &[address])?;
        let mut story = Self {
            agents: Vec::new(),
            servers,
            lan,
            screen: Screen::new(),
            kept: true,
        };
        story.head("1", "Two directors, two web servers")?;
        story.say("d1 and d2 share 192.0.2.100; port 80 goes to r1 and r2, which answer clients directly (DR).")?;
        let manifests = manifests(options)?;
        for director in story.lan.directors() {
            // The second takes connections whose beginning it has not seen.
            let sloppy = [("ipv4/vs/sloppy_tcp", "1")];
            director.namespace().sysctl(&sloppy)?;
        }
        let directors = story.lan.directors().to_vec();
        for (director, state) in directors.iter().zip(["Active", "Backup"]) {
            let mut agent = Agent::start(director, &manifests)?;
            agent.await_state("web", state, SOON)?;
            story.agents.push(agent);
        }
        Ok(story)
    }

    fn tell(mut self) -> Result<ExitCode> {
        self.await_servers(&["r1", "r2"])?;
        self.show_state()?;
        self.requests_spread()?;
        self.a_server_dies()?;
        self.it_returns()?;
        self.the_director_dies()?;
        self.screen.say("")?;
        let verdict = if self.kept {
            self.screen.paint(Style::Good, "Every promise was kept.")
        } else {
            self.screen
                .paint(Style::Bad, "A promise was broken: see above.")
        };
        self.screen.say(&format!("   {verdict}"))?;
        Ok(if self.kept {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn requests_spread(&mut self) -> Result<()> {
        let tally = self.client().tcp(target(), REQUESTS)?;
        let least = ["r1", "r2"].iter().map(|r| tally.of(r)).min();
        let spread = least.is_some_and(|least| least >= REQUESTS / 4);
        self.promise(
            spread && tally.failed() == 0,
            &format!("{REQUESTS} requests: {}", answers(&tally)),
        )
    }

    fn a_server_dies(&mut self) -> Result<()> {
        self.head("2", "r1 dies")?;
        self.say("Its process is killed. Both directors probe it each second and take it out at the first refusal.")?;
        let died = Instant::now();
        self.server(0)?.die()?;
        self.await_servers(&["r2"])?;
        let out = died.elapsed();
        let tally = self.client().tcp(target(), REQUESTS)?;
        let healthy = tally.of("r2") == REQUESTS;
        let took = out.as_millis();
        self.promise(
            healthy && out < Duration::from_millis(2_500),
            &format!(
                "out after {took} ms; {REQUESTS} requests: {}",
                answers(&tally)
            ),
        )?;
        self.show_state()
    }

    fn it_returns(&mut self) -> Result<()> {
        self.head("3", "r1 returns")?;
        let again = self.server(0)?.again()?;
        *self.server(0)? = again;
        let returned = Instant::now();
        self.await_servers(&["r1", "r2"])?;
        let back = returned.elapsed();
        let took = back.as_millis();
        self.promise(
            back < Duration::from_millis(2_500),
            &format!("serves again after {took} ms"),
        )
    }

    fn the_director_dies(&mut self) -> Result<()> {
        self.head("4", "d1 dies")?;
        self.say(&format!(
            "{CONNECTIONS} connections are open and talk. d1's power fails; with the scheduler mh, d2 sends each on to"
        ))?;
        self.say("the real server that has it.")?;
        let client = self.client().with_patience(SOON);
        let load = Load::on(client.open(target(), CONNECTIONS)?);
        let mut dead = self.agents.remove(0);
        let lab = self.lan.lab();
        let first = lab.nodes().first().context("no director")?;
        lab.power_off(first, &mut [dead.process_mut()])?;
        let successor = self.agents.first_mut().context("no second director")?;
        successor.await_state("web", "Active", SOON)?;
        let before = load.answers();
        wait::until("every connection is asked again", SOON, || {
            let enough = |now: &usize| *now >= before + 2 * CONNECTIONS;
            Ok(Seen::when(load.answers(), enough).map(|_| ()))
        })?;
        let course = load.stop()?;
        let (broken, silence) = (course.broken.len(), course.longest.as_millis());
        self.promise(
            broken == 0,
            &format!(
                "{broken} of {CONNECTIONS} connections broke; the longest silence was {silence} ms"
            ),
        )?;
        self.requests_spread()
    }

    /// Waits until the kernel of every director sends to exactly these.
    fn await_servers(&self, names: &[&str]) -> Result<()> {
        let wanted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        for agent in &self.agents {
            wait::until(&format!("{wanted:?} serve"), SOON, || {
                Ok(Seen::when(serving(agent, &self.lan)?, |now| *now == wanted).map(|_| ()))
            })?;
        }
        Ok(())
    }

    fn show_state(&mut self) -> Result<()> {
        let agent = self.agents.first().context("no agent")?;
        let output = agent.run(&["state"])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        self.screen.say("")?;
        let prompt = self
            .screen
            .paint(Style::Dim, "   d1# vipkeeper-agent state");
        self.screen.say(&prompt)?;
        let of_servers = text.lines().skip_while(|line| !line.starts_with("SERVER"));
        for line in of_servers.filter(|line| line.contains("web") || line.starts_with("SERVER")) {
            self.screen.say(&format!("   {line}"))?;
        }
        Ok(())
    }

    fn client(&self) -> Client {
        self.lan.client().with_patience(Duration::from_secs(2))
    }

    fn server(&mut self, number: usize) -> Result<&mut RealServer> {
        self.servers.get_mut(number).context("no such real server")
    }

    fn head(&mut self, number: &str, title: &str) -> Result<()> {
        self.screen.say("")?;
        let title = self.screen.paint(Style::Bold, title);
        Ok(self.screen.say(&format!("{number}  {title}"))?)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        Ok(self.screen.say(&format!("   {line}"))?)
    }

    fn promise(&mut self, kept: bool, what: &str) -> Result<()> {
        self.kept &= kept;
        let mark = if kept {
            self.screen.paint(Style::Good, "✔")
        } else {
            self.screen.paint(Style::Bad, "✘")
        };
        Ok(self.screen.say(&format!("   {mark} {what}"))?)
    }
}

fn target() -> SocketAddr {
    let [address, _] = DirectorLan::virtual_addresses();
    (address, PORT).into()
}

fn answers(tally: &Tally) -> String {
    let all = tally
        .answers
        .iter()
        .map(|(name, count)| format!("{name} answered {count}"));
    let failed = (tally.failed() > 0).then(|| format!("{} failed", tally.failed()));
    all.chain(failed).collect::<Vec<_>>().join(", ")
}

/// The real servers that the kernel of `agent`'s node sends new connections to.
fn serving(agent: &Agent, lan: &DirectorLan) -> Result<Vec<String>> {
    let output = agent.run(&["state", "-o", "json"])?;
    let state: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let real_servers = &state["servers"][0]["services"][0]["realServers"];
    let entries = real_servers.as_array().into_iter().flatten();
    let up = entries.filter(|r| r["weight"].as_u64().is_some_and(|weight| weight > 0));
    let [like, _] = DirectorLan::virtual_addresses();
    let name_of = |address: &str| {
        let at = |host: &&crate::Node| format!("{}:{PORT}", lan.address_of(host, like)) == address;
        lan.servers()
            .iter()
            .find(at)
            .map(|host| host.name().to_owned())
    };
    Ok(up.filter_map(|r| name_of(r["address"].as_str()?)).collect())
}

/// All manifests of the directory as one text.
fn manifests(options: &Options) -> Result<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(&options.manifests)
        .with_context(|| format!("read {}", options.manifests.display()))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    ensure!(
        !files.is_empty(),
        "no manifests in {}",
        options.manifests.display()
    );
    let texts = files.iter().map(std::fs::read_to_string);
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n---\n"))
}
