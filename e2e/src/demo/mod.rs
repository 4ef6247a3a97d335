//! The demo: the classic pair, told in four steps with a live table of who holds what.
//!
//! Owns a lab while it runs. Configuration comes from the sample manifests alone, figures from a client that
//! probes every millisecond, bounds from the protocol's arithmetic.

mod bound;
mod sample;
mod scene;
mod screen;
pub mod servers;
mod story;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::{agent, namespace};
use sample::Sample;
use scene::Scene;
use screen::Screen;
use story::Story;

/// The samples that the demo is about.
const SAMPLES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/samples/master-master"
);

/// Two nodes share two virtual addresses; one dies, the other answers.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Directory of manifests for two nodes and IPv4 virtual addresses in 192.0.2.0/24.
    #[arg(long, value_name = "DIR", default_value = SAMPLES)]
    pub manifests: PathBuf,
}

/// Tells the story. Fails if a client waited longer than the protocol allows.
///
/// # Errors
/// When the machine lacks something, or the agents do not do what they must.
pub fn run(options: &Options) -> Result<ExitCode> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the demo needs root, to make network namespaces of its own (it touches no other): run `make demo` as root"
    );
    agent::program()?;
    let sample = Sample::read(&options.manifests)?;
    let mut screen = Screen::new();
    let mut scene = Scene::new(sample)?;
    let story = Story::tell(&mut scene, &mut screen)?;
    let prefix = scene.prefix();
    drop(scene);
    let left = namespace::named(&prefix);
    ensure!(left.is_empty(), "namespaces were left behind: {left:?}");
    story.summarize(&mut screen)?;
    Ok(if story.kept_its_bounds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
