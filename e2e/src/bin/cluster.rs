//! `make cluster`: a control plane, an operator and three nodes with agents, to play with by kubectl until interrupted.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::thread;

use anyhow::Result;
use clap::Parser;
use vipkeeper_e2e::cluster::door;
use vipkeeper_e2e::{Cluster, agent, program};

/// A Kubernetes control plane with vipkeeper installed, and network namespaces as its nodes.
#[derive(Debug, Parser)]
struct Options {
    /// Names of the nodes.
    #[arg(default_values = ["a", "b", "c"])]
    nodes: Vec<String>,
    /// Operators, 1 or 2: one leads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    operators: u8,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut out = io::stdout().lock();
    writeln!(out, "starting etcd, the API server and the controllers …")?;
    out.flush()?;
    let names: Vec<&str> = options.nodes.iter().map(String::as_str).collect();
    let mut cluster = Cluster::start(&names)?;
    for _ in 1..options.operators {
        cluster.start_operator()?;
    }
    let kubeconfig = cluster.lab.directory().join("kubeconfig");
    let door = door::open(&cluster.plane)?.to_string();
    let administrator = cluster.plane.admin_credentials();
    cluster
        .plane
        .write_kubeconfig_for(&kubeconfig, &administrator, &door)?;
    explain(&cluster, &kubeconfig, &mut out)?;
    out.flush()?;
    drop(out);
    // The library removes everything and ends the process on SIGINT and SIGTERM.
    loop {
        thread::park();
    }
}

fn explain(cluster: &Cluster, kubeconfig: &Path, out: &mut impl Write) -> Result<()> {
    let mut paths = vec![program::kubernetes()?];
    // The plugin is beside this program.
    paths.extend(env::current_exe()?.parent().map(Path::to_owned));
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    writeln!(out, "\nThe cluster runs. In another shell:\n")?;
    writeln!(out, "  export KUBECONFIG={}", kubeconfig.display())?;
    writeln!(out, "  export PATH={}:$PATH", paths.join(":"))?;
    writeln!(
        out,
        "\n  kubectl apply -f - <<'EOF'\n  apiVersion: vipkeeper.io/v1alpha1\n  kind: VirtualRouter\n  \
         metadata: {{name: web}}\n  spec:\n    addresses: [{{address: 192.0.2.100}}]\n  EOF\n  \
         kubectl get virtualrouters,nodeconfigs\n  kubectl describe virtualrouter web\n  \
         kubectl vipkeeper status\n  kubectl vipkeeper why web\n  kubectl vipkeeper doctor\n  \
         kubectl vipkeeper drain a --wait    # and kubectl vipkeeper undrain a"
    )?;
    let client = cluster.lab.client().namespace().name();
    writeln!(
        out,
        "\n  ip netns exec {client} ping -i 0.1 192.0.2.100    # what a client sees\n"
    )?;
    let agent = agent::program()?;
    for node in cluster.lab.nodes() {
        let (name, namespace) = (node.name(), node.namespace().name());
        writeln!(
            out,
            "node {name}, {}:  ip netns exec {namespace} ip address",
            node.ipv4(0)
        )?;
        let run = node.directory().join("run");
        writeln!(
            out,
            "    {} state --run-dir {}",
            agent.display(),
            run.display()
        )?;
    }
    for running in &cluster.agents {
        writeln!(
            out,
            "agent of {}: kill -9 {} kills it; its guardian {} cleans up",
            running.node().name(),
            running.agent_id()?,
            running.guardian_id()
        )?;
    }
    for operator in &cluster.operators {
        writeln!(
            out,
            "operator {}: process {}",
            operator.name(),
            operator.process.id()
        )?;
    }
    writeln!(out, "\nlogs: {}/*/*.err", cluster.lab.directory().display())?;
    writeln!(
        out,
        "Ctrl-C ends it and removes everything. Pods are not run: an agent that is killed stays away."
    )?;
    Ok(())
}
