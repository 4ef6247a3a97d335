//! The process of `kubectl vipkeeper`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use vipkeeper_cli::cli::Cli;
use vipkeeper_cli::{Outcome, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli, &mut io::stdout().lock()).await {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            // Standard error may be closed; the exit code says the same.
            writeln!(io::stderr(), "error: {error:#}").ok();
            Outcome::CannotTell.into()
        }
    }
}
