//! The operator's command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use vipkeeper_crds::Duration;

/// Reconciles VirtualRouters into the configurations of the nodes.
///
/// The API server is found as kubectl does: KUBECONFIG, ~/.kube/config, or the pod's service account.
#[derive(Clone, Debug, Parser)]
#[command(name = "vipkeeper-operator", version)]
pub struct Cli {
    /// What to do instead.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// The namespace of the Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "vipkeeper-system")]
    pub namespace: String,
    /// Who this is, for the Lease: of several operators each needs its own. Default: `vipkeeper-operator-` and the
    /// process's id and start.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Where /healthz, /readyz and /metrics are served: ADDRESS:PORT, or :PORT for every address.
    #[arg(long, default_value = ":9652")]
    pub listen: String,
    /// How logs are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// What else the program does.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Before an uninstallation: take the configuration of every node away, Backups first, and keep operators from
    /// writing it again. Exit with 0 when nothing is left, with 1 if that was not done in time.
    Teardown(TeardownArgs),
}

/// How to tear down.
#[derive(Clone, Debug, Args)]
pub struct TeardownArgs {
    /// The longest that it may take.
    #[arg(long, default_value = "60s")]
    pub timeout: Duration,
    /// Delete all VirtualRouters and Settings, too. Default: they stay, without a status.
    #[arg(long)]
    pub delete_objects: bool,
}

impl Cli {
    /// Who this is: as said, or a name that no other operator has.
    #[must_use]
    pub fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| {
            let began = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let began = began.map_or(0, |since| since.as_micros());
            format!("vipkeeper-operator-{}-{began:x}", std::process::id())
        })
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}
