//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Who holds each virtual address and why, planned moves, and what is wrong.
///
/// Exit codes: 0 it is done, or all is well; 1 it is not done, or something is not well; 2 nothing could be asked, or
/// what was asked for does not exist.
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl-vipkeeper", bin_name = "kubectl vipkeeper", version)]
pub struct Cli {
    /// The kubeconfig file. Default: KUBECONFIG, else ~/.kube/config, else the pod's service account.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. Default: its current one.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Show who holds each router's addresses, and what is not as it should be
    ///
    /// Exit code 0 if every router is Ready and has no abnormal condition, 1 if one is not, 2 if nothing could be asked.
    Status(StatusArgs),
    /// Tell why this node holds a router's addresses, and the others do not; or why a virtual server serves, or does not
    ///
    /// Of a router it compiles the cluster's objects as the operator does. Exit code 0 if the router or virtual server is
    /// accepted and Ready, 1 if it is not, 2 if nothing could be asked or there is no such object.
    Why(WhyArgs),
    /// Move all virtual addresses away from a node, and keep them away
    ///
    /// Sets the annotation vipkeeper.io/drain of the Node: it comes below all others and still serves what nobody else
    /// can. Exit code 0 if that is done (with --wait: and the node is Active for nothing), 1 if something stays there,
    /// 2 if nothing could be asked or there is no such Node.
    Drain(DrainArgs),
    /// Let a drained node take part again
    ///
    /// Removes the annotation vipkeeper.io/drain of the Node. Exit code 0 if that is done, 2 if nothing could be asked or
    /// there is no such Node.
    Undrain(UndrainArgs),
    /// Move a router's addresses to another node
    ///
    /// Sets the annotation vipkeeper.io/active-node of the VirtualRouter, which ranks that node first until it is removed
    /// (--clear). Exit code 0 if that is done (with --wait: and the node is Active), 1 if it is refused or not done in
    /// time, 2 if nothing could be asked or there is no such router.
    Failover(FailoverArgs),
    /// Check manifests without a cluster
    ///
    /// Prints `file:line:col: severity: path: message` for each finding. Exit code 0 if there is no error, 1 if there is
    /// one, 2 if something cannot be read. Warnings do not count.
    Validate(ValidateArgs),
    /// Look at the installation: nodes, agents, operator, definitions
    ///
    /// From what each agent reports of its own node. Exit code 0 if nothing is a Failure, 1 if something is, 2 if nothing
    /// could be asked.
    Doctor(DoctorArgs),
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// These routers. Default: all.
    #[arg(value_name = "ROUTER")]
    pub routers: Vec<String>,
    /// Write all of it as data instead of a table.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Of `why`.
#[derive(Clone, Debug, Args)]
pub struct WhyArgs {
    /// A router's name; or a virtual server: NAMESPACE/NAME, or virtualserver/NAME (vks/NAME).
    #[arg(value_name = "ROUTER | NAMESPACE/NAME")]
    pub target: String,
    /// The namespace of the virtual server. Default: the context's.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Write all of it as data instead of text.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Waiting for what was asked for.
#[derive(Clone, Copy, Debug, Args)]
pub struct Waiting {
    /// Wait until the addresses have moved.
    #[arg(long)]
    pub wait: bool,
    /// With --wait, how long at most: 60s, 2m, 500ms.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
}

/// Of `drain`.
#[derive(Clone, Debug, Args)]
pub struct DrainArgs {
    /// The node.
    #[arg(value_name = "NODE")]
    pub node: String,
    /// Whether to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Of `undrain`.
#[derive(Clone, Debug, Args)]
pub struct UndrainArgs {
    /// The node.
    #[arg(value_name = "NODE")]
    pub node: String,
}

/// Of `failover`.
#[derive(Clone, Debug, Args)]
pub struct FailoverArgs {
    /// The router.
    #[arg(value_name = "ROUTER")]
    pub router: String,
    /// To this node. Default: the candidate of the highest priority that is not Active.
    #[arg(long, value_name = "NODE", conflicts_with = "clear")]
    pub to: Option<String>,
    /// Name no node any more: the router's addresses are placed as without a failover.
    #[arg(long, visible_alias = "back")]
    pub clear: bool,
    /// Whether to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Of `validate`.
#[derive(Clone, Debug, Args)]
pub struct ValidateArgs {
    /// Files, directories (their *.yaml, *.yml and *.json), or - for standard input.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// As FILE: for those who are used to `kubectl apply -f`.
    #[arg(short, long = "filename", value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// By the rules of an agent without a cluster, as `vipkeeper-agent check` does: VRIDs and nodes have to be written.
    #[arg(long)]
    pub standalone: bool,
}

/// Of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// The namespace of the operator and its Lease.
    #[arg(short, long, default_value = "vipkeeper-system", value_name = "NAME")]
    pub namespace: String,
    /// Say what is well, too: each check of each node with its message.
    #[arg(long)]
    pub all: bool,
    /// Write all of it as data instead of a table.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Reads a duration as the objects have them.
fn duration(text: &str) -> Result<Duration, String> {
    let read: Result<vipkeeper_crds::Duration, _> = text.parse();
    read.map(|d| Duration::from_millis(d.as_millis()))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const PAGE: &str = include_str!("../../docs/kubectl.md");

    #[test]
    fn the_page_has_every_verb_with_its_options_and_exit_codes() {
        let command = Cli::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            let name = verb.get_name();
            assert!(
                PAGE.contains(&format!("`kubectl vipkeeper {name}")),
                "{name}"
            );
            assert!(
                PAGE.contains(&format!("\n| `{name}` | ")),
                "no exit codes of {name}"
            );
            let help = verb.get_long_about().map(ToString::to_string);
            assert!(
                help.unwrap_or_default().contains("Exit code 0"),
                "--help of {name}"
            );
            for option in verb.get_arguments().filter_map(clap::Arg::get_long) {
                let short = ["output", "filename"].contains(&option);
                assert!(
                    short || PAGE.contains(&format!("--{option}")),
                    "--{option} of {name}"
                );
            }
        }
        for option in ["--kubeconfig", "--context", "-o json", "-o yaml"] {
            assert!(PAGE.contains(option), "{option}");
        }
    }

    #[test]
    fn a_time_to_wait_is_written_as_in_the_objects() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("soon").is_err());
        let read = |args: &[&str]| Cli::try_parse_from(["kubectl-vipkeeper"].iter().chain(args));
        assert!(read(&["drain", "a", "--wait", "--timeout", "5s"]).is_ok());
        assert!(read(&["failover", "r", "--to", "a", "--clear"]).is_err());
        assert!(read(&["failover", "r", "--back", "--context", "x"]).is_ok());
    }
}
