//! The command line: flags, subcommands, and where their files are.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::services::SystemSettings;
use crate::services::settings::Policy;

/// The instance whose files are not in a directory of their own.
const DEFAULT_INSTANCE: &str = "default";
/// Where the scripts of probes are, unless the command line says otherwise.
const SCRIPTS_DIR: &str = "/etc/vipkeeper/scripts";
/// Where state is, unless the command line says otherwise.
const STATE_DIR: &str = "/var/lib/vipkeeper";

/// Runs the virtual routers of this node; without a subcommand, until it is told to stop.
#[derive(Debug, Parser)]
#[command(
    name = "vipkeeper-agent",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do instead.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print the state of a running agent.
    State {
        /// Which agent.
        #[command(flatten)]
        place: Place,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Exit with 0 if a running agent's election ticks, with 1 if not.
    Health {
        /// Which agent.
        #[command(flatten)]
        place: Place,
    },
    /// Exit with 0 if an agent of this container serves a verified configuration, with 1 if not, or if it stands by for
    /// another container's.
    Ready {
        /// Which agent.
        #[command(flatten)]
        place: Place,
    },
    /// Record what a running agent's election is told and does, as JSON lines that `replay` takes.
    Record {
        /// Which agent.
        #[command(flatten)]
        place: Place,
        /// For how long.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=crate::record::LONGEST))]
        seconds: u64,
        /// Where to; default: standard output.
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Tell a new election a record: exit with 0 if it does the same, with 1 if not.
    Replay {
        /// The record.
        record: PathBuf,
    },
    /// Leave all virtual addresses to other nodes: every router takes part with priority 1 until `undrain`, also
    /// after a restart.
    Drain {
        /// Which agent.
        #[command(flatten)]
        place: Place,
    },
    /// Leave the addresses of one router to other nodes: it takes part with priority 1 until `undrain`, also after a
    /// restart.
    Failover {
        /// Which agent.
        #[command(flatten)]
        place: Place,
        /// Which router; may be left out where there is one.
        router: Option<String>,
    },
    /// Take back `drain` and every `failover`, or the `failover` of one router.
    Undrain {
        /// Which agent.
        #[command(flatten)]
        place: Place,
        /// Which router; default: everything.
        router: Option<String>,
    },
    /// Take away what an agent that does not run any more left on this machine, and say what; refuses beside one
    /// that runs.
    Cleanup {
        /// The name of the agent among several on one node.
        #[arg(long, default_value = DEFAULT_INSTANCE, value_parser = instance)]
        instance: String,
        /// Where its ledger is.
        #[arg(long, default_value = STATE_DIR)]
        state_dir: PathBuf,
    },
    /// Prepare this machine for virtual servers, once: load IPVS by modprobe, and set net.ipv4.vs.* and IPv4 forwarding
    /// as they need them until the machine restarts. For an init container that has the privileges. Exit with 0 also
    /// where something cannot be done, which is told: agents say what is lacking.
    Prepare {
        /// Where the machine's file system is, with its /proc.
        #[arg(long, default_value = "/")]
        root: PathBuf,
    },
    /// Check manifests: exit with 0 if they have no errors, 1 if they have, 2 if they cannot be read.
    Check {
        /// The directory.
        #[arg(long)]
        manifests: PathBuf,
        /// Check as this node; default: as every node that the manifests name.
        #[arg(long)]
        node: Option<String>,
    },
}

/// How a state is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line for each router.
    Table,
    /// Everything.
    Json,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Which agent of this node.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The name of this agent among several on one node.
    #[arg(long, default_value = DEFAULT_INSTANCE, value_parser = instance)]
    pub instance: String,
    /// Where the socket is.
    #[arg(long, default_value = "/run/vipkeeper")]
    pub run_dir: PathBuf,
}

impl Place {
    /// The run directory of this instance.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        scoped(&self.run_dir, &self.instance)
    }
}

/// How to run the agent.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Which agent this is.
    #[command(flatten)]
    pub place: Place,
    /// The name of this node; default: the host's name.
    #[arg(long, env = "VIPKEEPER_NODE")]
    pub node: Option<String>,
    /// A directory of manifests to run; default: the configurations that the cluster's operator writes for this node.
    #[arg(long)]
    pub manifests: Option<PathBuf>,
    /// How to reach the cluster's API server, if not as a pod does or KUBECONFIG says.
    #[arg(long, conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,
    /// The one namespace whose Secrets hold keys.
    #[arg(long, default_value = vipkeeper_crds::KEY_NAMESPACE, conflicts_with = "manifests")]
    pub key_namespace: String,
    /// Where the ledger is.
    #[arg(long, default_value = STATE_DIR)]
    pub state_dir: PathBuf,
    /// Where the scripts of probes of type Exec are; a probe names a file of it, never a path. As root they run as user
    /// 65534, who must be able to read them.
    #[arg(long, default_value = SCRIPTS_DIR)]
    pub scripts_dir: PathBuf,
    /// Where /metrics, /healthz and /readyz are served: HOST:PORT, or :PORT for every address.
    #[arg(long, default_value = ":9650")]
    pub listen: String,
    /// Where the IPv4 settings of interfaces can be written. In a container /proc/sys is read-only: mount the host's
    /// directory elsewhere and name it here.
    #[arg(long, default_value = crate::network::rtnetlink::SETTINGS)]
    pub interface_settings: PathBuf,
    /// What is done where a setting of the whole network namespace is not as virtual servers need it, or are better with:
    /// it is told with the command that sets it, or it is set, and put back when the agent leaves.
    #[arg(long, value_enum, default_value_t = Policy::Verify)]
    pub system_settings: Policy,
    /// Where those settings can be read and written: /proc/sys, or where a container has the host's.
    #[arg(long, default_value = crate::services::settings::DIRECTORY)]
    pub system_settings_directory: PathBuf,
    /// After another process of this instance has taken over: wait to be told to end, for whoever supervises by starting
    /// again whatever ends, as a kubelet does. Default: end.
    #[arg(long)]
    pub stay_when_replaced: bool,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl RunArgs {
    /// The settings of the network namespace, and what is done about them.
    #[must_use]
    pub fn system_settings(&self) -> SystemSettings {
        SystemSettings {
            directory: self.system_settings_directory.clone(),
            policy: self.system_settings,
        }
    }

    /// The state directory of this instance.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        scoped(&self.state_dir, &self.place.instance)
    }
}

/// Where `instance` has its files below `directory`.
#[must_use]
pub fn scoped(directory: &std::path::Path, instance: &str) -> PathBuf {
    if instance == DEFAULT_INSTANCE {
        directory.to_owned()
    } else {
        directory.join("instances").join(instance)
    }
}

/// An instance's name is a word that is safe in paths and in the ledger.
fn instance(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=63).contains(&text.len()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("1 to 63 of a-z, 0-9 and -".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["vipkeeper-agent"], arguments].concat())
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_subcommand_it_runs_with_the_documented_defaults() {
        let cli = parse(&["--manifests", "/etc/vipkeeper"]).unwrap();
        assert!(cli.verb.is_none());
        assert_eq!(cli.run.listen, ":9650");
        let scripts = PathBuf::from("/etc/vipkeeper/scripts");
        assert_eq!(cli.run.scripts_dir, scripts);
        assert_eq!(cli.run.state_dir(), PathBuf::from("/var/lib/vipkeeper"));
        assert_eq!(cli.run.place.run_dir(), PathBuf::from("/run/vipkeeper"));
    }

    #[test]
    fn another_instance_has_directories_of_its_own() {
        let cli = parse(&["--instance", "control-plane"]).unwrap();
        let below = |directory: &str| PathBuf::from(directory).join("instances/control-plane");
        assert_eq!(cli.run.state_dir(), below("/var/lib/vipkeeper"));
        assert_eq!(cli.run.place.run_dir(), below("/run/vipkeeper"));
    }

    #[test]
    fn an_instance_that_is_no_word_is_refused() {
        for name in ["", "..", "a/b", "A", "a b", &"x".repeat(64)] {
            assert!(parse(&["--instance", name]).is_err(), "{name:?}");
        }
    }

    #[test]
    fn failover_and_undrain_may_name_a_router() {
        let cli = parse(&["failover", "web"]).unwrap();
        assert!(
            matches!(cli.verb, Some(Verb::Failover { router: Some(name), .. }) if name == "web")
        );
        let cli = parse(&["undrain"]).unwrap();
        assert!(matches!(cli.verb, Some(Verb::Undrain { router: None, .. })));
        assert!(parse(&["drain", "web"]).is_err());
    }

    #[test]
    fn the_state_can_be_asked_of_an_instance() {
        let cli = parse(&["state", "-o", "json", "--run-dir", "/tmp/a"]).unwrap();
        let Some(Verb::State { place, output }) = cli.verb else {
            panic!("not the state verb");
        };
        assert_eq!((place.run_dir(), output), ("/tmp/a".into(), Output::Json));
    }
}
