//! The operator's process.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use vipkeeper_operator::cli::{Cli, LogFormat, Verb};
use vipkeeper_operator::{runtime, teardown};

// One thread: nothing here computes for long, and each thread keeps free memory of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(cli.log_format);
    let outcome = match &cli.verb {
        None => runtime::run(&cli).await,
        Some(Verb::Teardown(arguments)) => teardown::run(&cli.namespace, arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; the exit code says the same.
            writeln!(io::stderr(), "{error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

/// To standard error; `RUST_LOG` says what, by default everything from INFO on.
fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
