//! A cluster: a real control plane beside the nodes of a lab, both charts installed, operators and agents as processes
//! with the arguments and the tokens of their pods.
//!
//! Owns the lab and everything in it. What a kubelet and a scheduler do beside running containers is done for it; no
//! container is run.

mod account;
pub mod api;
pub mod audit;
mod certificates;
pub mod control_plane;
pub mod door;
mod kubelet;
pub mod observer;
pub mod operator;
pub mod plugin;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub use self::api::Api;
pub use self::audit::Audit;
pub use self::control_plane::ControlPlane;
pub use self::observer::Observer;
pub use self::operator::Operator;
pub use self::plugin::Said;

use self::kubelet::Pod;
use self::operator::Identity;
use crate::agent::{self, Agent};
use crate::lab::{Lab, Node};
use crate::namespace::run;
use crate::process::Process;
use crate::program;
use crate::wait::{self, Seen};

/// Where operators and agents live.
pub const NAMESPACE: &str = "vipkeeper-system";
/// The host of the control plane; operators count down from it.
const CONTROL: u8 = 253;
/// Time for what controllers do on a loaded machine.
const SOON: Duration = Duration::from_secs(30);
/// How long tokens are valid, in seconds: longer than anybody plays with a lab.
const VALID: u32 = 86_400;

/// A cluster under test.
#[derive(Debug)]
pub struct Cluster {
    /// The agents that run. They go before the namespaces they live in.
    pub agents: Vec<Agent>,
    /// The operators that run.
    pub operators: Vec<Operator>,
    kubelets: JoinHandle<()>,
    /// The control plane.
    pub plane: ControlPlane,
    /// An administrator's way to it.
    pub api: Api,
    /// The writes that it answered.
    pub audit: Audit,
    /// The machines.
    pub lab: Lab,
    programs: PathBuf,
    operators_made: u8,
}

impl Cluster {
    /// A cluster of `nodes` with both charts installed, one operator and an agent on each node.
    ///
    /// # Errors
    /// When a program is missing, or the machine or the API server refuses something.
    pub fn start(nodes: &[&str]) -> Result<Self> {
        let mut cluster = Self::install(nodes)?;
        cluster.start_operator()?;
        for node in nodes {
            cluster.start_agent(node)?;
        }
        Ok(cluster)
    }

    /// The same before any operator and agent runs.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn install(nodes: &[&str]) -> Result<Self> {
        Self::install_over(nodes, &chart("vipkeeper-crds"))
    }

    /// The same with another chart of CustomResourceDefinitions.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn install_over(nodes: &[&str], definitions: &str) -> Result<Self> {
        let programs = program::kubernetes()?;
        operator::program()?;
        let lab = Lab::new(nodes, 1)?;
        let (mut plane, api) = ControlPlane::start(lab.add_host("control", CONTROL)?, &programs)?;
        let audit = Audit::of(plane.audit_log());
        // First, so that the garbage collector knows our kinds from its start.
        helm(
            &programs,
            &plane,
            &["install", "vipkeeper-crds", definitions],
        )?;
        plane.start_manager()?;
        for node in lab.nodes() {
            kubelet::register(&api, node)?;
        }
        let names = nodes.iter().map(|name| (*name).to_owned()).collect();
        let kubelets = api.begin(|client| kubelet::work(client, names));
        let chart = chart("vipkeeper");
        helm(
            &programs,
            &plane,
            &[
                "install",
                "vipkeeper",
                &chart,
                "--namespace",
                NAMESPACE,
                "--create-namespace",
            ],
        )?;
        Ok(Self {
            agents: Vec::new(),
            operators: Vec::new(),
            kubelets,
            plane,
            api,
            audit,
            lab,
            programs,
            operators_made: 0,
        })
    }

    /// Starts an operator on a host of its own, as the next of the Deployment's pods.
    ///
    /// # Errors
    /// When there is no pod for it.
    pub fn start_operator(&mut self) -> Result<&mut Operator> {
        self.start_operator_as(&operator::program()?)
    }

    /// The same with another build.
    ///
    /// # Errors
    /// When there is no pod for it, or it cannot be started.
    pub fn start_operator_as(&mut self, program: &Path) -> Result<&mut Operator> {
        let made = self.operators_made;
        self.operators_made += 1;
        let pods = self.await_pods("operator", usize::from(made) + 1)?;
        let mut pods: Vec<_> = pods.into_iter().collect();
        pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let pod = pods
            .get(usize::from(made))
            .context("no pod for another operator")?;
        let host = self
            .lab
            .add_host(&format!("operator-{made}"), CONTROL - 1 - made)?;
        let identity = self.identity(pod, &host)?;
        self.operators
            .push(Operator::start(program, &host, &identity)?);
        self.operators.last_mut().context("no operator")
    }

    /// Starts the agent of `node` as its pod of the DaemonSet.
    ///
    /// # Errors
    /// When there is no pod for it.
    pub fn start_agent(&mut self, node: &str) -> Result<&mut Agent> {
        self.start_agent_as(node, &agent::program()?)
    }

    /// The same with another build.
    ///
    /// # Errors
    /// When there is no pod for it, or it cannot be started.
    pub fn start_agent_as(&mut self, node: &str, program: &Path) -> Result<&mut Agent> {
        let pods = self.await_pods("agent", 1)?;
        let bound = |pods: &[Pod]| {
            pods.iter()
                .find(|pod| pod.spec.node_name.as_deref() == Some(node))
                .cloned()
        };
        let pod = match bound(&pods) {
            Some(pod) => pod,
            None => bound(&self.await_pods("agent", self.lab.nodes().len())?)
                .with_context(|| format!("no pod of the DaemonSet on {node}"))?,
        };
        let host = self.lab.node(node)?.clone();
        let identity = self.identity(&pod, &host)?;
        let (kubeconfig, arguments) = (&identity.kubeconfig, &identity.arguments);
        let agent = Agent::start_in_cluster(&host, program, kubeconfig, arguments)?;
        self.agents.push(agent);
        self.agents.last_mut().context("no agent")
    }

    /// The agent of a node.
    ///
    /// # Errors
    /// When none runs.
    pub fn agent(&mut self, node: &str) -> Result<&mut Agent> {
        let mut agents = self.agents.iter_mut();
        let found = agents.find(|agent| agent.node().name() == node);
        found.with_context(|| format!("no agent on {node}"))
    }

    /// Takes the agent of a node out of the list of those that run.
    ///
    /// # Errors
    /// When none runs.
    pub fn take_agent(&mut self, node: &str) -> Result<Agent> {
        let position = self
            .agents
            .iter()
            .position(|agent| agent.node().name() == node);
        Ok(self
            .agents
            .remove(position.with_context(|| format!("no agent on {node}"))?))
    }

    /// Starts `program` beside the agent of `node`, as the surging pod of an upgrade, and ends the old one when it was taken
    /// over, as a kubelet whose pod was deleted.
    ///
    /// # Errors
    /// When it is not taken over.
    pub fn replace_agent(&mut self, node: &str, program: &Path) -> Result<()> {
        let mut old = self.take_agent(node)?;
        self.agents.push(old.again_as(program)?);
        wait::until(&format!("takeover on {node}"), SOON, || {
            let log = old.process().log();
            Ok(if log.contains("taken over") {
                Seen::Yes(())
            } else {
                Seen::NotYet(log)
            })
        })?;
        old.process_mut().stop(SOON)?;
        Ok(())
    }

    /// What a node life cycle controller says of a node: whether its kubelet is heard.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn set_ready(&self, node: &str, is_ready: bool) -> Result<()> {
        kubelet::set_ready(&self.api, node, is_ready)
    }

    /// Runs kubectl as an administrator, with `input` on its standard input; gives its standard output.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let mut command = Command::new(self.programs.join("kubectl"));
        command.args(arguments);
        self.enter(&mut command);
        run(&mut command, input)
    }

    /// Runs helm as an administrator.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        helm(&self.programs, &self.plane, arguments)
    }

    /// Uninstalls the chart `vipkeeper`, running the pod of its teardown; CustomResourceDefinitions stay.
    ///
    /// # Errors
    /// When helm or the teardown fails.
    pub fn uninstall(&mut self) -> Result<()> {
        let mut command = helm_command(&self.programs, &self.plane);
        command.args([
            "uninstall",
            "vipkeeper",
            "--namespace",
            NAMESPACE,
            "--timeout",
            "60s",
        ]);
        let host = self.plane.host().clone();
        let mut helm = Process::start("uninstall", command, host.namespace(), host.directory())?;
        let pods = self.await_pods("teardown", 1)?;
        let pod = pods.first().context("no pod of the teardown")?;
        let identity = self.identity(pod, &host)?;
        let mut teardown = operator::run(&operator::program()?, &host, "teardown", &identity)?;
        let ended = teardown.ended(Duration::from_secs(60))?;
        let (phase, code) = if ended.success() {
            ("Succeeded", 0)
        } else {
            ("Failed", 1)
        };
        let path = format!("{}/{}/status", kubelet::pods_path(), pod.metadata.name);
        let ended_state = json!({"terminated": {"exitCode": code, "reason": phase}});
        let container = json!({
            "name": "teardown", "ready": false, "restartCount": 0, "image": "lab", "imageID": "lab",
            "state": ended_state,
        });
        self.api.merge(
            &path,
            &json!({"status": {
                "phase": phase, "containerStatuses": [container],
                "conditions": [{"type": "Ready", "status": "False"}],
            }}),
        )?;
        let status = helm.ended(Duration::from_secs(60))?;
        if !(status.success() && code == 0) {
            bail!(
                "uninstall: {status}\n{}\n{}",
                helm.log_tail(),
                teardown.log_tail()
            );
        }
        Ok(())
    }

    /// Makes `command` one of an administrator in the control plane's namespace.
    pub fn enter(&self, command: &mut Command) {
        command.env("KUBECONFIG", self.plane.kubeconfig());
        self.plane.host().namespace().enter(command);
    }

    /// Waits until so many pods of a part of the chart run.
    fn await_pods(&self, component: &str, count: usize) -> Result<Vec<Pod>> {
        let what = format!("{count} running pods of {component}");
        let running = |pod: &Pod| {
            pod.is_of(component)
                && pod.status.phase == "Running"
                && pod.metadata.deletion_timestamp.is_none()
        };
        let mut pods =
            self.api
                .await_list(&kubelet::pods_path(), &what, SOON, |pods: &[Pod]| {
                    pods.iter().filter(|pod| running(pod)).count() >= count
                })?;
        pods.retain(running);
        Ok(pods)
    }

    /// What a kubelet gives to a pod's container, with its files in the host's directory.
    fn identity(&self, pod: &Pod, host: &Node) -> Result<Identity> {
        let (name, account) = (&pod.metadata.name, &pod.spec.service_account_name);
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
        let bound =
            json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod.metadata.uid});
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": VALID, "boundObjectRef": bound},
        });
        let answer: Value = self.api.create(&path, &request)?.context("no token")?;
        let token = answer["status"]["token"]
            .as_str()
            .context("no token in the answer")?;
        let file = host.directory().join(format!("{name}.token"));
        std::fs::write(&file, token)?;
        let kubeconfig = host.directory().join(format!("{name}.kubeconfig"));
        let credentials = format!("tokenFile: {}", file.display());
        self.plane.write_kubeconfig(&kubeconfig, &credentials)?;
        Ok(Identity {
            pod: name.clone(),
            arguments: pod.arguments(),
            kubeconfig,
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kubelets.abort();
    }
}

/// Where a chart of this tree is.
#[must_use]
pub fn chart(name: &str) -> String {
    format!("{}/../charts/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn helm(programs: &Path, plane: &ControlPlane, arguments: &[&str]) -> Result<String> {
    let mut command = helm_command(programs, plane);
    command.args(arguments);
    plane.host().namespace().enter(&mut command);
    run(&mut command, None)
}

fn helm_command(programs: &Path, plane: &ControlPlane) -> Command {
    let mut command = Command::new(programs.join("helm"));
    let own = plane.host().directory().join("helm");
    command.env("KUBECONFIG", plane.kubeconfig());
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, &own);
    }
    command
}
