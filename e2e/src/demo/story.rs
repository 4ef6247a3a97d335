//! The steps of the demo in order, what is said of each, and what the client saw.
//!
//! Owns the words and the results. Acts through the scene alone.

use std::env;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::bound::{Bound, TOLERANCE, millis};
use super::scene::{Scene, Which};
use super::screen::{Screen, Style};
use crate::clock::Moment;
use crate::manifest::Router;

/// What came out of every step.
#[derive(Debug, Default)]
pub(super) struct Story {
    outcomes: Vec<Outcome>,
}

/// What a step is to do to one router.
#[derive(Clone, Debug)]
struct Expectation {
    /// `node-a → node-b`, or `stays on node-b`.
    holder: String,
    bound: Bound,
}

/// Where the first node's addresses go.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// To the other node.
    There,
    /// Back to the first.
    Back,
}

/// What one step meant for one address.
#[derive(Clone, Debug)]
struct Outcome {
    step: String,
    address: IpAddr,
    expected: Expectation,
    gap: Duration,
}

impl Story {
    /// Plays all steps.
    ///
    /// # Errors
    /// When an agent does not do what it must, or standard output is closed.
    pub(super) fn tell(scene: &mut Scene, screen: &mut Screen) -> Result<Self> {
        let mut story = Self::default();
        introduce(scene, screen)?;
        start(scene, screen)?;
        story.death(scene, screen)?;
        story.return_of_the_dead(scene, screen)?;
        story.planned_stop(scene, screen)?;
        linger(scene, screen)?;
        screen.drop_block()?;
        Ok(story)
    }

    /// Whether no gap was longer than the protocol and the tolerance allow.
    pub(super) fn kept_its_bounds(&self) -> bool {
        self.outcomes.iter().all(Outcome::is_kept)
    }

    /// The last table.
    pub(super) fn summarize(&self, screen: &mut Screen) -> io::Result<()> {
        screen.say("")?;
        screen.say(&screen.paint(Style::Bold, "What the client saw"))?;
        let head = format!(
            "   {:<18} {:<15} {:<18} {:>8}   {:<14}",
            "step", "address", "holder", "gap", "protocol"
        );
        screen.say(&screen.paint(Style::Dim, head.trim_end()))?;
        let mut last = "";
        for outcome in &self.outcomes {
            let step = if outcome.step == last {
                ""
            } else {
                &outcome.step
            };
            last = &outcome.step;
            screen.say(&outcome.row(step, screen))?;
        }
        screen.say("")?;
        let verdict = if self.kept_its_bounds() {
            screen.paint(Style::Good, "Every gap was within the protocol's bound")
        } else {
            screen.paint(Style::Bad, "A gap was longer than the protocol's bound")
        };
        let tolerance = millis(TOLERANCE);
        screen.say(&format!(
            "   {verdict} (and {tolerance} ms for kernel and probes)."
        ))?;
        screen.say("   Nothing is left behind: no namespace, process, address or file.")
    }

    fn death(&mut self, scene: &mut Scene, screen: &mut Screen) -> Result<()> {
        let [first, second] = scene.sample().nodes.clone();
        let expected = expect(scene, Way::There, Bound::after_death);
        let (interval, bound) = quoted(scene, &expected);
        step(
            screen,
            2,
            &format!("{first} dies"),
            &[
                "Its agent is killed and its link goes down in one step, as when power fails.",
                &format!(
                    "After 3 silent intervals of {interval} ms and its skew, {second} takes over:"
                ),
                &format!("{bound} after the death."),
            ],
            "a new holder within the VRRP bound; nothing waits for an API server.",
        )?;
        linger(scene, screen)?;
        let since = scene.power_off(Which::First)?;
        scene.settle(screen, |_| Which::Second)?;
        self.measure(scene, screen, &format!("{first} dies"), since, &expected)
    }

    fn return_of_the_dead(&mut self, scene: &mut Scene, screen: &mut Screen) -> Result<()> {
        let [first, second] = scene.sample().nodes.clone();
        let expected = expect(scene, Way::Back, |_, _| Bound::NONE);
        step(
            screen,
            3,
            &format!("{first} returns"),
            &[
                "It listens, then takes back the address for which its priority is higher.",
                &format!("{second} answers until it hears that: a client has nothing to wait for."),
            ],
            "of two nodes one holds an address, also while it moves back.",
        )?;
        linger(scene, screen)?;
        let since = scene.begin();
        scene.start(Which::First)?;
        let holders = preferred(scene);
        scene.settle(screen, |index| {
            holders.get(index).copied().unwrap_or(Which::First)
        })?;
        self.measure(scene, screen, &format!("{first} returns"), since, &expected)
    }

    fn planned_stop(&mut self, scene: &mut Scene, screen: &mut Screen) -> Result<()> {
        let [first, second] = scene.sample().nodes.clone();
        let expected = expect(scene, Way::There, |_, _| Bound::NONE);
        step(
            screen,
            4,
            &format!("{first} is stopped in order"),
            &[
                "On SIGTERM it says that it leaves (priority 0), and serves on in silence.",
                &format!(
                    "When {second} has its address, it lets go, lingers for a second and ends."
                ),
            ],
            "a planned move loses no packet, and a stopped agent leaves no address behind.",
        )?;
        linger(scene, screen)?;
        let since = scene.stop(Which::First, screen)?;
        scene.settle(screen, |_| Which::Second)?;
        self.measure(
            scene,
            screen,
            &format!("{first} is stopped"),
            since,
            &expected,
        )
    }

    /// Reads the meters and says what they saw.
    fn measure(
        &mut self,
        scene: &Scene,
        screen: &mut Screen,
        what: &str,
        since: Moment,
        expected: &[Expectation],
    ) -> Result<()> {
        let routers = &scene.sample().routers;
        let gaps = scene.gaps(since);
        for ((router, gap), expected) in routers.iter().zip(gaps).zip(expected) {
            for address in &router.addresses {
                let outcome = Outcome {
                    step: what.to_owned(),
                    address: *address,
                    expected: expected.clone(),
                    gap,
                };
                screen.say(&outcome.sentence(screen))?;
                self.outcomes.push(outcome);
            }
        }
        Ok(())
    }
}

impl Outcome {
    fn is_kept(&self) -> bool {
        self.expected.bound.keeps(self.gap)
    }

    fn mark(&self, screen: &Screen) -> String {
        if self.is_kept() {
            screen.paint(Style::Good, "✓")
        } else {
            screen.paint(Style::Bad, "✗")
        }
    }

    fn sentence(&self, screen: &Screen) -> String {
        let gap = if self.gap.is_zero() {
            "the client missed nothing".to_owned()
        } else {
            format!("the client waited {} ms", millis(self.gap))
        };
        let (mark, address) = (self.mark(screen), self.address);
        let Expectation { holder, bound } = &self.expected;
        format!("   {mark} {address}  {holder}: {gap} (protocol: {bound})")
    }

    fn row(&self, step: &str, screen: &Screen) -> String {
        let address = self.address.to_string();
        let Expectation { holder, bound } = &self.expected;
        let gap = format!("{} ms", millis(self.gap));
        let mark = self.mark(screen);
        format!("   {step:<18} {address:<15} {holder:<18} {gap:>8}   {bound:<14} {mark}")
    }
}

fn introduce(scene: &Scene, screen: &mut Screen) -> Result<()> {
    let title = "vipkeeper: two nodes, two virtual addresses, each the other's backup";
    screen.say(&screen.paint(Style::Bold, title))?;
    screen.say("")?;
    let (manifests, prefix) = (readable(&scene.sample().directory), scene.prefix());
    for line in [
        format!("Both run the manifests of {manifests}."),
        format!("Nodes and client are network namespaces ({prefix}*); nothing else of this"),
        "machine is touched. The client probes every millisecond. Ctrl-C ends the demo.".to_owned(),
    ] {
        screen.say(&format!("   {line}"))?;
    }
    Ok(())
}

fn start(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    step(
        screen,
        1,
        "Both nodes start",
        &[
            "They elect the holder of each address among themselves, by VRRP: the higher",
            "priority wins.",
        ],
        "an address has one holder.",
    )?;
    let begun = scene.begin();
    scene.start(Which::First)?;
    scene.start(Which::Second)?;
    let holders = preferred(scene);
    scene.settle(screen, |index| {
        holders.get(index).copied().unwrap_or(Which::First)
    })?;
    let sample = scene.sample();
    let mut placed = Vec::new();
    for (router, holder) in sample.routers.iter().zip(&holders) {
        let name = name(&sample.nodes, *holder);
        placed.extend(router.addresses.iter().map(|a| format!("{a} on {name}")));
    }
    let (mark, placed) = (screen.paint(Style::Good, "✓"), placed.join(", "));
    let took = begun.elapsed().as_secs_f64();
    screen.say(&format!("   {mark} {placed}, {took:.1} s after the start"))?;
    Ok(())
}

/// The head of a step: what happens, and the promise it shows.
fn step(
    screen: &mut Screen,
    number: u8,
    title: &str,
    lines: &[&str],
    promise: &str,
) -> io::Result<()> {
    screen.say("")?;
    screen.say(&screen.paint(Style::Bold, &format!("{number}. {title}")))?;
    for line in lines {
        screen.say(&format!("   {line}"))?;
    }
    screen.say(&screen.paint(Style::Dim, &format!("   Promise: {promise}")))
}

/// Time to read, if somebody does.
fn linger(scene: &mut Scene, screen: &mut Screen) -> Result<()> {
    const READING: Duration = Duration::from_secs(4);
    if screen.is_terminal() {
        scene.linger(screen, READING)?;
    }
    Ok(())
}

/// Which node should hold each router.
fn preferred(scene: &Scene) -> Vec<Which> {
    let sample = scene.sample();
    let of = |router: &Router| {
        let [first, second] = &sample.nodes;
        if priority(router, first) >= priority(router, second) {
            Which::First
        } else {
            Which::Second
        }
    };
    sample.routers.iter().map(of).collect()
}

/// For each router what is to happen when the first node's addresses go to the other node, or back: `bound` for
/// those, of the router and the other node's priority; nothing for the rest.
fn expect(scene: &Scene, way: Way, bound: impl Fn(&Router, u8) -> Bound) -> Vec<Expectation> {
    let sample = scene.sample();
    let [first, second] = &sample.nodes;
    let routers = sample.routers.iter().zip(preferred(scene));
    routers
        .map(|(router, preferred)| match (preferred, way) {
            (Which::Second, _) => Expectation {
                holder: format!("stays on {second}"),
                bound: Bound::NONE,
            },
            (Which::First, Way::There) => Expectation {
                holder: format!("{first} → {second}"),
                bound: bound(router, priority(router, second)),
            },
            (Which::First, Way::Back) => Expectation {
                holder: format!("{second} → {first}"),
                bound: bound(router, priority(router, second)),
            },
        })
        .collect()
}

/// The interval in milliseconds of the first router that moves, and its bound: what the narration quotes.
fn quoted(scene: &Scene, expected: &[Expectation]) -> (u128, Bound) {
    let mut routers = scene.sample().routers.iter().zip(expected);
    let moves = routers.find(|(_, e)| e.bound != Bound::NONE);
    moves.map_or((0, Bound::NONE), |(router, expectation)| {
        (millis(router.interval), expectation.bound)
    })
}

/// The directory as a reader would type it.
fn readable(directory: &Path) -> String {
    let here = env::current_dir().ok();
    let relative = here.and_then(|here| directory.strip_prefix(here).ok());
    relative.unwrap_or(directory).display().to_string()
}

fn priority(router: &Router, node: &str) -> u8 {
    let mut priorities = router.priorities.iter();
    priorities
        .find(|(name, _)| name == node)
        .map_or(0, |(_, priority)| *priority)
}

fn name(nodes: &[String; 2], which: Which) -> &str {
    let [first, second] = nodes;
    match which {
        Which::First => first,
        Which::Second => second,
    }
}
