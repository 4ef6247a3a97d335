//! The agent's command line.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tracing::error;
use tracing_subscriber::EnvFilter;
use vipkeeper_agent::cli::{Cli, LogFormat, Output, Place, RunArgs, Verb};
use vipkeeper_agent::drain::Request;
use vipkeeper_agent::guardian::{self, Role};
use vipkeeper_agent::{admin, check, cleanup, cli, client, prepare, record, runtime};

fn main() -> ExitCode {
    let arguments = Cli::parse();
    let outcome = match arguments.verb {
        None => return run(&arguments.run),
        Some(Verb::State { place, output }) => state(&place, output),
        Some(Verb::Health { place }) => health(&place),
        Some(Verb::Ready { place }) => ready(&place),
        Some(Verb::Record {
            place,
            seconds,
            output,
        }) => record(&place, seconds, output.as_deref()),
        Some(Verb::Replay { record }) => replay(&record),
        Some(Verb::Drain { place }) => ask_for(&place, &Request::Drain),
        Some(Verb::Failover { place, router }) => ask_for(&place, &Request::Failover(router)),
        Some(Verb::Undrain { place, router }) => ask_for(&place, &Request::Undrain(router)),
        Some(Verb::Cleanup {
            instance,
            state_dir,
        }) => {
            let state_dir = cli::scoped(&state_dir, &instance);
            cleanup::run(&instance, &state_dir, &mut io::stdout())
        }
        Some(Verb::Prepare { root }) => prepare::run(&root, &mut io::stdout()),
        Some(Verb::Check { manifests, node }) => {
            return check::run(&manifests, node.as_deref(), &mut io::stdout()).into();
        }
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

/// Two processes from here on, before anything else exists: the guardian, and the agent that it guards.
fn run(args: &RunArgs) -> ExitCode {
    let start_logging = || start_logging(args.log_format);
    let guardian = match guardian::split(args) {
        Ok(Role::Guardian(watch)) => return watch.run(start_logging),
        Ok(Role::Agent(guardian)) => guardian,
        Err(reason) => {
            start_logging();
            error!(%reason, "no guardian");
            return ExitCode::FAILURE;
        }
    };
    start_logging();
    match runtime::run(args, guardian) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error!(reason = format!("{reason:#}"), "ended");
            ExitCode::FAILURE
        }
    }
}

/// What is logged unless `RUST_LOG` says otherwise. What the client cannot do, its caller says with what it means.
const LOGGED: &str = "info,kube_client::client::builder=off";

/// To standard error.
fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}

fn state(place: &Place, output: Output) -> anyhow::Result<()> {
    let body = ask(place, "/state")?;
    let text = match output {
        Output::Json => format!("{body}\n"),
        Output::Table => client::table(&serde_json::from_str(&body)?),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("standard output")
}

fn record(place: &Place, seconds: u64, output: Option<&Path>) -> anyhow::Result<()> {
    let (socket, path) = (socket(place), format!("/record/{seconds}"));
    let mut to: Box<dyn io::Write> = match output {
        Some(output) => {
            let file = File::create(output).with_context(|| output.display().to_string())?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(io::stdout()),
    };
    executor()?.block_on(client::copy(&socket, &path, &mut to))
}

fn replay(path: &Path) -> anyhow::Result<()> {
    let what = || path.display().to_string();
    let file = File::open(path).with_context(what)?;
    let replayed = record::replay(BufReader::new(file)).with_context(what)?;
    let record::Repetition {
        inputs,
        outputs,
        gaps,
        whole,
    } = replayed;
    let cut = if whole { "" } else { ", cut off" };
    writeln!(
        io::stdout(),
        "{inputs} inputs, {outputs} outputs as recorded, {gaps} gaps{cut}"
    )
    .context("standard output")
}

fn health(place: &Place) -> anyhow::Result<()> {
    ask(place, "/healthz").map(drop)
}

fn ready(place: &Place) -> anyhow::Result<()> {
    let (executor, socket) = (executor()?, socket(place));
    executor.block_on(async {
        client::ensure_near(&socket).await?;
        client::fetch(&socket, "/readyz").await.map(drop)
    })
}

fn ask_for(place: &Place, request: &Request) -> anyhow::Result<()> {
    let json = serde_json::to_string(request)?;
    let answer = executor()?.block_on(client::post(&socket(place), admin::DRAIN, json))?;
    io::stdout()
        .write_all(answer.as_bytes())
        .context("standard output")
}

fn ask(place: &Place, path: &str) -> anyhow::Result<String> {
    executor()?.block_on(client::fetch(&socket(place), path))
}

fn socket(place: &Place) -> PathBuf {
    place.run_dir().join(admin::SOCKET)
}

fn executor() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
