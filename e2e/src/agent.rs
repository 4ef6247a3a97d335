//! The agent under test inside a node: its manifests, its state as its own command line tells it, its HTTP
//! endpoints.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::lab::Node;
use crate::process::Process;
use crate::program;
use crate::wait::{self, Seen};

const PORT: u16 = 9650;

/// Where the agent's program is: `VIPKEEPER_AGENT`, or beside this one in cargo's target directory.
///
/// # Errors
/// When it is not there; with the command that builds it.
pub fn program() -> Result<PathBuf> {
    program::built("VIPKEEPER_AGENT", "vipkeeper-agent")
}

/// A running agent. Dropping it kills it.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    node: Node,
    program: PathBuf,
    instance: Instance,
}

/// Which of a node's agents.
#[derive(Clone, Debug)]
struct Instance {
    name: String,
    port: u16,
    source: Source,
}

/// Where an agent's configuration comes from.
#[derive(Clone, Debug)]
enum Source {
    /// Files.
    Manifests(PathBuf),
    /// An API server: the kubeconfig, and the arguments of the DaemonSet.
    Cluster(PathBuf, Vec<String>),
}

impl Agent {
    /// Starts the agent of `node` with one file of manifests. State and run directories are the node's and
    /// outlive it.
    ///
    /// # Errors
    /// When it is not built, or its files cannot be written.
    pub fn start(node: &Node, manifests: &str) -> Result<Self> {
        fs::create_dir_all(node.directory().join("manifests"))?;
        write_manifests(node, manifests)?;
        Self::restart(node)
    }

    /// Starts the agent of `node` with the manifests that are there.
    ///
    /// # Errors
    /// When it is not built.
    pub fn restart(node: &Node) -> Result<Self> {
        Self::restart_with(node, &[])
    }

    /// The same with further arguments.
    ///
    /// # Errors
    /// When it is not built.
    pub fn restart_with(node: &Node, arguments: &[&str]) -> Result<Self> {
        Self::launch(node, &program()?, Instance::default_of(node), arguments)
    }

    /// Starts another build of the agent with the manifests that are there.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart_as(node: &Node, program: &Path) -> Result<Self> {
        Self::launch(node, program, Instance::default_of(node), &[])
    }

    /// Starts an agent of `node` as another instance, with a port and manifests of its own.
    ///
    /// # Errors
    /// When it is not built, or its files cannot be written.
    pub fn start_instance(node: &Node, name: &str, port: u16, manifests: &str) -> Result<Self> {
        let directory = node.directory().join(format!("manifests-{name}"));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("lab.yaml"), manifests)?;
        let instance = Instance {
            name: name.to_owned(),
            port,
            source: Source::Manifests(directory),
        };
        Self::launch(node, &program()?, instance, &[])
    }

    /// Starts a build of the agent of a cluster's node with the arguments that its pod has, and the lab's paths. State and run
    /// directories are the node's and outlive it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_in_cluster(
        node: &Node,
        program: &Path,
        kubeconfig: &Path,
        arguments: &[String],
    ) -> Result<Self> {
        let instance = Instance {
            source: Source::Cluster(kubeconfig.to_owned(), arguments.to_vec()),
            ..Instance::default_of(node)
        };
        Self::launch(node, program, instance, &[])
    }

    fn launch(node: &Node, program: &Path, instance: Instance, arguments: &[&str]) -> Result<Self> {
        let directory = node.directory();
        let mut command = Command::new(program);
        match &instance.source {
            Source::Manifests(manifests) => {
                let listen = format!("127.0.0.1:{}", instance.port);
                command.arg("--manifests").arg(manifests);
                command.args(["--listen", &listen]);
            }
            Source::Cluster(kubeconfig, of_pod) => {
                command.args(of_pod).arg("--kubeconfig").arg(kubeconfig);
            }
        }
        command
            .args(["--node", node.name()])
            .args(["--instance", &instance.name])
            .arg("--state-dir")
            .arg(directory.join("state"))
            .arg("--run-dir")
            .arg(directory.join("run"))
            .args(arguments)
            .env(
                "RUST_LOG",
                env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()),
            );
        let name = format!("agent-{}", node.name());
        Ok(Self {
            process: Process::start(&name, command, node.namespace(), directory)?.guarded(),
            node: node.clone(),
            program: program.to_owned(),
            instance,
        })
    }

    /// Starts one as this one was started, of which nothing runs any more: the same arguments, the same token.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn again(&self) -> Result<Self> {
        self.again_as(&self.program)
    }

    /// Starts another build in the same way.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn again_as(&self, program: &Path) -> Result<Self> {
        Self::launch(&self.node, program, self.instance.clone(), &[])
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its process, to end it.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The process that runs the election: the guardian's child.
    ///
    /// # Errors
    /// When it does not run.
    pub fn agent_id(&self) -> Result<Pid> {
        let children = self.process.children();
        let first = children.first().copied();
        first.with_context(|| format!("no agent runs on {}", self.node.name()))
    }

    /// The process that was started, which a supervisor knows: the guardian.
    #[must_use]
    pub fn guardian_id(&self) -> Pid {
        self.process.id()
    }

    /// Replaces its manifests, as an editor does: a new file in the old one's place.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn edit(&self, manifests: &str) -> Result<()> {
        write_manifests(&self.node, manifests)
    }

    /// Runs a subcommand of its program inside its node, such as `health`, with its run directory.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .args(["--instance", &self.instance.name])
            .arg("--run-dir")
            .arg(self.node.directory().join("run"));
        self.node.namespace().enter(&mut command);
        Ok(command.output()?)
    }

    /// Starts a subcommand of its program as [`run`](Self::run) runs one, and does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = Command::new(&self.program);
        let directory = self.node.directory();
        command
            .args(arguments)
            .arg("--run-dir")
            .arg(directory.join("run"));
        Process::start(name, command, self.node.namespace(), directory)
    }

    /// What `vipkeeper-agent state -o json` says.
    ///
    /// # Errors
    /// When it fails or says something else than the contract has.
    pub fn state(&self) -> Result<State> {
        let output = self.run(&["state", "-o", "json"])?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("state: {}: {}", output.status, error.trim());
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("in {}", String::from_utf8_lossy(&output.stdout)))
    }

    /// One router of its state.
    ///
    /// # Errors
    /// When there is no such router.
    pub fn router(&self, name: &str) -> Result<RouterState> {
        let state = self.state()?;
        let found = state.routers.into_iter().find(|r| r.name == name);
        found.with_context(|| format!("no router {name} at node {}", self.node.name()))
    }

    /// Waits until the router `name` is as `wanted`.
    ///
    /// # Errors
    /// When it is not `within`, or the agent ends; with its state.
    pub fn await_router(
        &mut self,
        name: &str,
        what: &str,
        within: Duration,
        wanted: impl Fn(&RouterState) -> bool,
    ) -> Result<RouterState> {
        let what = format!("router {name} at node {}: {what}", self.node.name());
        wait::until(&what, within, || {
            if let Some(status) = self.process.exit_status()? {
                bail!("the agent ended: {status}");
            }
            Ok(match self.router(name) {
                Ok(router) => Seen::when(router, |router| wanted(router)),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        })
    }

    /// Waits until its whole state is as `wanted`.
    ///
    /// # Errors
    /// When it is not `within`, or the agent ends; with its state.
    pub fn await_whole(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&State) -> bool,
    ) -> Result<State> {
        let what = format!("node {}: {what}", self.node.name());
        wait::until(&what, within, || {
            if let Some(status) = self.process.exit_status()? {
                bail!("the agent ended: {status}");
            }
            Ok(match self.state() {
                Ok(state) => Seen::when(state, |state| wanted(state)),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        })
    }

    /// Waits until the router `name` is in `state`.
    ///
    /// # Errors
    /// As [`await_router`](Self::await_router).
    pub fn await_state(
        &mut self,
        name: &str,
        state: &str,
        within: Duration,
    ) -> Result<RouterState> {
        self.await_router(name, state, within, |router| router.state == state)
    }

    /// Asks its HTTP endpoint: status and body.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer = self.node.namespace().run(|| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.instance.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("no HTTP status in {head:?}"))?;
        Ok((status, body.to_owned()))
    }

    /// The value of a metric whose line begins with `series` (name, and labels if any).
    ///
    /// # Errors
    /// When nobody answers or there is no such series.
    pub fn metric(&self, series: &str) -> Result<f64> {
        let (_, body) = self.get("/metrics")?;
        let line = body.lines().find(|line| line.starts_with(series));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.with_context(|| format!("no metric {series} in\n{body}"))
    }
}

impl Instance {
    fn default_of(node: &Node) -> Self {
        Self {
            name: "default".to_owned(),
            port: PORT,
            source: Source::Manifests(node.directory().join("manifests")),
        }
    }
}

/// What an agent says of itself (DESIGN §7).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Its node.
    pub node: String,
    /// Its router instances.
    pub routers: Vec<RouterState>,
    /// What is counted for the node as a whole, by name in camel case.
    pub counters: BTreeMap<String, u64>,
    /// Everything else.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// A member of a sync group.
#[derive(Clone, Debug, Deserialize)]
pub struct Member {
    /// The VirtualRouter's name.
    pub name: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
}

/// What an agent says of a router instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterState {
    /// The VirtualRouter's name.
    pub name: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// `Initialize`, `Backup` or `Active`.
    pub state: String,
    /// VRID.
    pub virtual_router_id: u8,
    /// The interface's name.
    pub interface: Option<String>,
    /// As configured.
    pub priority: u8,
    /// As advertised.
    pub effective_priority: u8,
    /// `drain` or `failover` made that 1.
    pub drained: bool,
    /// `LameDuck` or `Parked` while another router takes over.
    pub remainder: Option<String>,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// How many of them the kernel has because of the router, or of its owner.
    pub installed: usize,
    /// Those that are there and not because of the agent.
    pub conflicts: Vec<IpAddr>,
    /// Why it is in this state.
    pub last_reason: String,
    /// The member of its sync group that caused it.
    #[serde(default)]
    pub member: Option<Member>,
    /// Changes of state since it was configured.
    pub transitions: u64,
    /// Active_Adver_Interval.
    pub advertisement_interval_ms: f64,
    /// What should not be, as far as it sees.
    pub evidence: Vec<serde_json::Value>,
    /// What it heard last.
    pub last_advertisement: Option<LastAdvertisement>,
    /// By name in camel case.
    pub counters: BTreeMap<String, u64>,
}

impl State {
    /// A counter of the node.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn count(&self, counter: &str) -> Result<u64> {
        count(&self.counters, counter)
    }
}

impl State {
    /// What it finds odd, a line each: place and message.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let found = self.more.get("findings").and_then(|all| all.as_array());
        let text = |finding: &serde_json::Value| {
            let field = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", field("place"), field("message"))
        };
        found.into_iter().flatten().map(text).collect()
    }
}

impl RouterState {
    /// A counter of the router.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn count(&self, counter: &str) -> Result<u64> {
        count(&self.counters, counter)
    }
}

fn count(counters: &BTreeMap<String, u64>, counter: &str) -> Result<u64> {
    let value = counters.get(counter).copied();
    value.with_context(|| format!("no counter {counter} in {counters:?}"))
}

/// The last acceptable advertisement.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastAdvertisement {
    /// Its sender.
    pub from: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// How long ago it came, in milliseconds.
    pub age_ms: f64,
}

fn write_manifests(node: &Node, manifests: &str) -> Result<()> {
    let directory = node.directory().join("manifests");
    // Beside the directory, not in it: a half-written file is not a manifest.
    let new = node.directory().join("lab.yaml.new");
    fs::write(&new, manifests)?;
    fs::rename(new, directory.join("lab.yaml"))?;
    Ok(())
}
