//! The pair on its stage: nodes, agents and the client, started, killed and looked at.
//!
//! Owns the lab. Shows every look on the screen; narrates nothing.

use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::sample::Sample;
use super::screen::Screen;
use super::table::{Cell, Row, View};
use crate::agent::{Agent, State};
use crate::clock::Moment;
use crate::lab::{Lab, Node};
use crate::manifest::Router;
use crate::meter::Meter;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Far beyond every bound: what takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(15);

/// Two nodes, their agents, and a client that probes every address.
#[derive(Debug)]
pub(super) struct Scene {
    sample: Sample,
    seats: [Seat; 2],
    meters: Vec<Meter>,
    /// When the step began that is shown.
    begun: Moment,
    // Last: its removal needs the agents gone.
    lab: Lab,
}

/// A node and what runs on it.
#[derive(Debug)]
struct Seat {
    node: Node,
    agent: Option<Agent>,
    /// Why there is no agent.
    off: &'static str,
}

/// Which of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that dies.
    First,
    /// The one that lives.
    Second,
}

impl Scene {
    /// Nodes and client without agents. The agents will read the sample's own directory.
    pub(super) fn new(sample: Sample) -> Result<Self> {
        let [first, second] = sample.nodes.each_ref().map(String::as_str);
        let lab = Lab::new(&[first, second], 1)?;
        let seat = |name| -> Result<Seat> {
            let node = lab.node(name)?.clone();
            symlink(&sample.directory, node.directory().join("manifests"))?;
            Ok(Seat {
                node,
                agent: None,
                off: "off",
            })
        };
        let seats = [seat(first)?, seat(second)?];
        let meters = sample.routers.iter().map(|r| lab.meter(address(r)?));
        Ok(Self {
            meters: meters.collect::<Result<_>>()?,
            sample,
            seats,
            begun: Moment::now(),
            lab,
        })
    }

    pub(super) fn sample(&self) -> &Sample {
        &self.sample
    }

    /// What the names of the lab's namespaces begin with.
    pub(super) fn prefix(&self) -> String {
        let name = self.lab.client().namespace().name();
        name.trim_end_matches(self.lab.client().name()).to_owned()
    }

    /// Begins a step: times count from here.
    pub(super) fn begin(&mut self) -> Moment {
        self.begun = Moment::now();
        self.begun
    }

    /// Starts a node, and its agent. A node that was dead has lost what it held.
    pub(super) fn start(&mut self, which: Which) -> Result<()> {
        let seat = self.seat_mut(which);
        seat.node.power_on()?;
        seat.agent = Some(Agent::restart(&seat.node)?);
        Ok(())
    }

    /// The death of a node: its agent killed, its link down, in one step. Returns when it began.
    pub(super) fn power_off(&mut self, which: Which) -> Result<Moment> {
        let seat = self.seat_mut(which);
        seat.off = "dead";
        let mut agent = seat.agent.take().context("it is off already")?;
        let node = seat.node.clone();
        self.begun = self.lab.power_off(&node, &mut [agent.process_mut()])?;
        Ok(self.begun)
    }

    /// Stops a node's agent in order, shows how it goes, and makes sure that it leaves nothing behind.
    pub(super) fn stop(&mut self, which: Which, screen: &mut Screen) -> Result<Moment> {
        let seat = self.seat_mut(which);
        seat.off = "stopped";
        let mut agent = seat.agent.take().context("it is off already")?;
        let node = seat.node.clone();
        let begun = self.begin();
        agent.process_mut().signal(Signal::SIGTERM)?;
        self.await_success(screen, "its agent ends", |_| {
            Ok(agent.process_mut().exit_status()?.is_some())
        })?;
        let status = agent.process_mut().ended(PATIENCE)?;
        ensure!(status.success(), "the stopped agent ended with {status}");
        for router in &self.sample.routers {
            let address = address(router)?;
            ensure!(!node.holds(address)?, "{address} was left behind");
        }
        Ok(begun)
    }

    /// Waits until every address is held by the node that `holder` names for it, by no other, and the client is
    /// answered by all of them; shows every look.
    pub(super) fn settle(
        &mut self,
        screen: &mut Screen,
        holder: impl Fn(usize) -> Which,
    ) -> Result<()> {
        let since = Moment::now();
        self.await_success(screen, "every address with its holder", |scene| {
            let view = scene.look()?;
            let held = view.rows.iter().enumerate().all(|(index, row)| {
                let [first, second] = &row.cells;
                let (one, other) = match holder(index) {
                    Which::First => (first, second),
                    Which::Second => (second, first),
                };
                one.is_active() && (other.is_backup() || matches!(other, Cell::Off(_)))
            });
            Ok(held && scene.meters.iter().all(|meter| meter.is_steady(since)))
        })
    }

    /// Lets time pass so that people can read; shows that all goes on.
    pub(super) fn linger(&mut self, screen: &mut Screen, span: Duration) -> Result<()> {
        let since = Moment::now();
        self.await_success(screen, "time to read", |_| Ok(since.elapsed() >= span))
    }

    /// The longest time without an answer that the client saw since `since`, for each address.
    pub(super) fn gaps(&self, since: Moment) -> Vec<Duration> {
        let longest = |meter: &Meter| meter.gaps(since).longest();
        self.meters.iter().map(longest).collect()
    }

    /// Shows the scene until `done`.
    fn await_success(
        &mut self,
        screen: &mut Screen,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let since = Moment::now();
        loop {
            let view = self.look()?;
            let when = format!("{:>4.1} s", self.begun.elapsed().as_secs_f64());
            screen.show(view.lines(screen), view.facts(), &when)?;
            self.fail_if_ended()?;
            if done(self)? {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                bail!(
                    "waited {PATIENCE:?} for: {what}\n{}\n{}",
                    view.facts().join("\n"),
                    self.logs()
                );
            }
            thread::sleep(PAUSE);
        }
    }

    fn look(&self) -> Result<View> {
        let mut states = Vec::new();
        for seat in &self.seats {
            // Until it listens it has no state to tell.
            let state = seat.agent.as_ref().map(|agent| agent.state().ok());
            states.push((seat, state, seat.node.addresses()?));
        }
        let mut rows = Vec::new();
        for (router, meter) in self.sample.routers.iter().zip(&self.meters) {
            let address = address(router)?;
            let mut cells = states.iter().map(|(seat, state, held)| match state {
                None => Cell::Off(seat.off),
                Some(None) => Cell::Starting,
                Some(Some(state)) => cell(
                    state,
                    &router.name,
                    held.iter().any(|h| h.address == address),
                ),
            });
            let (Some(first), Some(second)) = (cells.next(), cells.next()) else {
                bail!("there are two nodes");
            };
            rows.push(Row {
                address,
                vrid: router.vrid,
                cells: [first, second],
                silent: meter.silence(),
            });
        }
        Ok(View {
            nodes: self.sample.nodes.clone(),
            rows,
        })
    }

    fn fail_if_ended(&mut self) -> Result<()> {
        for seat in &mut self.seats {
            if let Some(agent) = &mut seat.agent
                && let Some(status) = agent.process_mut().exit_status()?
            {
                let log = agent.process().log_tail();
                bail!("the agent of {} ended: {status}\n{log}", seat.node.name());
            }
        }
        Ok(())
    }

    fn logs(&self) -> String {
        let agents = self.seats.iter().filter_map(|seat| seat.agent.as_ref());
        let logs: Vec<String> = agents.map(|agent| agent.process().log_tail()).collect();
        logs.join("\n")
    }

    fn seat_mut(&mut self, which: Which) -> &mut Seat {
        let [first, second] = &mut self.seats;
        match which {
            Which::First => first,
            Which::Second => second,
        }
    }
}

/// The one address of a router of the sample.
fn address(router: &Router) -> Result<IpAddr> {
    let address = router.addresses.first().copied();
    address.with_context(|| format!("router {} has no address", router.name))
}

fn cell(state: &State, router: &str, holds: bool) -> Cell {
    match state.routers.iter().find(|r| r.name == router) {
        None => Cell::Starting,
        Some(router) => Cell::Takes {
            state: router.state.clone(),
            priority: router.priority,
            holds,
        },
    }
}
