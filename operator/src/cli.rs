//! The operator's command line.

use clap::{Parser, ValueEnum};

/// Reconciles VirtualRouters into the configurations of the nodes.
///
/// The API server is found as kubectl does: KUBECONFIG, ~/.kube/config, or the pod's service account.
#[derive(Clone, Debug, Parser)]
#[command(name = "vipkeeper-operator", version)]
pub struct Cli {
    /// The namespace of the Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "vipkeeper-system")]
    pub namespace: String,
    /// Who this is, for the Lease: of several operators each needs its own.
    #[arg(long, env = "POD_NAME", default_value = "vipkeeper-operator")]
    pub identity: String,
    /// How logs are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}
