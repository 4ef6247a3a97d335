//! Two nodes of one contender, node `a` preferred: it dies, or is stopped, is measured, and returns.
//!
//! Owns a lab. Between two measurements `a` is Active with every router and `b` is Backup.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::contender::{Contender, Daemon};
use crate::capture::{Capture, Sent};
use crate::clock::Moment;
use crate::cluster::Cluster;
use crate::lab::{Lab, Node};
use crate::manifest::Router;
use crate::wait::{self, Seen};

/// Far beyond every bound: what takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running pair.
#[derive(Debug)]
pub(super) struct Pair {
    contender: Contender,
    routers: Vec<Router>,
    preferred: Option<Daemon>,
    other: Daemon,
    // Last: its removal needs the daemons gone.
    place: Place,
}

/// Where a pair runs, and where its configuration comes from.
#[derive(Debug)]
enum Place {
    /// From files.
    Lab(Lab),
    /// From the API server of a cluster.
    Cluster(Box<Cluster>),
}

impl Place {
    fn lab(&self) -> &Lab {
        match self {
            Self::Lab(lab) => lab,
            Self::Cluster(cluster) => &cluster.lab,
        }
    }

    fn start(&mut self, contender: Contender, routers: &[Router], node: &str) -> Result<Daemon> {
        match self {
            Self::Lab(lab) => contender.start(routers, lab.node(node)?),
            Self::Cluster(cluster) => {
                cluster.start_agent(node)?;
                let agent = cluster.take_agent(node)?;
                Ok(Daemon::Vipkeeper(Box::new(agent)))
            }
        }
    }
}

/// How the death of a node went.
#[derive(Clone, Debug)]
pub(super) enum Death {
    /// One entry a router.
    Measured(Vec<Failover>),
    /// A priority 0 was on the wire: not a death but a release.
    Void,
}

/// The move of one router after a death, from the last advertisement of the old Active.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failover {
    /// To the first advertisement of the new one.
    pub(super) advertised: Duration,
    /// To its first gratuitous ARP.
    pub(super) announced: Duration,
}

/// The move of one router after a planned stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// From the last advertisement of priority 0 to the first gratuitous ARP of the new Active.
    pub(super) announced: Duration,
    /// The longest time without an answer that a client saw.
    pub(super) gap: Duration,
}

impl Pair {
    /// Starts both nodes.
    pub(super) fn start(contender: Contender, routers: &[Router]) -> Result<Self> {
        let place = Place::Lab(Lab::new(&["a", "b"], 1)?);
        Self::begin(place, contender, routers)
    }

    /// Starts a cluster with both nodes of ours, and applies the routers.
    pub(super) fn start_in_cluster(routers: &[Router]) -> Result<Self> {
        let mut cluster = Cluster::install(&["a", "b"])?;
        cluster.start_operator()?;
        for router in routers {
            cluster.kubectl(&["apply", "-f", "-"], Some(&router.yaml()))?;
        }
        let place = Place::Cluster(Box::new(cluster));
        Self::begin(place, Contender::Vipkeeper, routers)
    }

    fn begin(mut place: Place, contender: Contender, routers: &[Router]) -> Result<Self> {
        let preferred = place.start(contender, routers, "a")?;
        let pair = Self {
            contender,
            routers: routers.to_vec(),
            preferred: Some(preferred),
            other: place.start(contender, routers, "b")?,
            place,
        };
        pair.settle()?;
        Ok(pair)
    }

    /// Whose it is.
    pub(super) fn contender(&self) -> Contender {
        self.contender
    }

    /// Between two advertisements.
    pub(super) fn interval(&self) -> Duration {
        self.routers
            .first()
            .map_or(Duration::ZERO, |router| router.interval)
    }

    /// What configures node `a`.
    pub(super) fn configuration(&self) -> Result<String> {
        let routers = self.routers.get(..1).unwrap_or_default();
        self.contender
            .configuration(routers, self.place.lab().node("a")?)
    }

    /// The bytes of one VRRP message of each router.
    pub(super) fn advertised(&self) -> Result<Vec<Vec<u8>>> {
        let capture = self.place.lab().capture(0)?;
        let sent = self.routers.iter().map(|router| {
            let sent = self.next_advertisement(&capture, router)?;
            Ok(sent.advertisement.message)
        });
        sent.collect()
    }

    /// The death of node `a` at `phase` after one of its advertisements, and its return.
    pub(super) fn death(&mut self, phase: Duration) -> Result<Death> {
        let capture = self.place.lab().capture(0)?;
        self.await_phase(&capture, phase)?;
        let (a, b) = (self.place.lab().node("a")?, self.place.lab().node("b")?);
        let mut preferred = self.preferred.take().context("node a is down")?;
        let died = self
            .place
            .lab()
            .power_off(a, &mut [preferred.process_mut()])?;
        for router in &self.routers {
            await_takeover(&capture, router, b, died)?;
        }
        let void = self.routers.iter().any(|router| {
            let mut sent = capture.advertisements(router.vrid).into_iter();
            sent.any(|sent| sent.advertisement.priority == 0)
        });
        let failovers = self.routers.iter().map(|r| failover(&capture, r, a, b));
        let failovers = failovers.collect::<Result<_>>()?;
        drop(capture);
        a.power_on()?;
        self.restore()?;
        Ok(if void {
            Death::Void
        } else {
            Death::Measured(failovers)
        })
    }

    /// The planned stop of node `a`'s daemon at `phase` after one of its advertisements, and its return.
    pub(super) fn stop(&mut self, phase: Duration) -> Result<Stop> {
        let router = self.routers.first().context("no router")?;
        let address = address(router)?;
        let meter = self.place.lab().meter(address)?;
        meter.await_answers(PATIENCE)?;
        let capture = self.place.lab().capture(0)?;
        self.await_phase(&capture, phase)?;
        let (a, b) = (self.place.lab().node("a")?, self.place.lab().node("b")?);
        let mut preferred = self.preferred.take().context("node a is down")?;
        let stopped = Moment::now();
        preferred.process_mut().signal(Signal::SIGTERM)?;
        await_takeover(&capture, router, b, stopped)?;
        meter.await_answers(PATIENCE)?;
        let gap = meter.stop(stopped).longest();
        preferred.process_mut().ended(PATIENCE)?;
        let mut released = capture.from_sender(router.vrid, a.mac(0), stopped);
        released.retain(|sent| sent.advertisement.priority == 0);
        let released = released.last().context("no priority 0 at a stop")?.at;
        let announced = announcement(&capture, router, b, released)?;
        drop(capture);
        self.restore()?;
        Ok(Stop {
            announced: announced.since(released),
            gap,
        })
    }

    /// Starts node `a`'s daemon and waits until it is Active again.
    fn restore(&mut self) -> Result<()> {
        let preferred = self.place.start(self.contender, &self.routers, "a")?;
        self.preferred = Some(preferred);
        self.settle()
    }

    /// Waits until `a` holds every address and alone advertises every router.
    fn settle(&self) -> Result<()> {
        /// So many advertisements of `a` in a row: every node has heard them and done what follows.
        const IN_A_ROW: usize = 3;
        let (a, b) = (self.place.lab().node("a")?, self.place.lab().node("b")?);
        let capture = self.place.lab().capture(0)?;
        let what = format!("{}: node a Active, node b Backup", self.contender);
        wait::until(&what, PATIENCE, || {
            let (at_a, at_b) = (a.addresses()?, b.addresses()?);
            for router in &self.routers {
                let address = address(router)?;
                let sent = capture.advertisements(router.vrid);
                let recent = sent.iter().rev().take(IN_A_ROW);
                let in_a_row = recent.filter(|s| s.source_mac == a.mac(0)).count();
                let holders = [&at_a, &at_b].map(|at| at.iter().any(|h| h.address == address));
                if in_a_row < IN_A_ROW || holders != [true, false] {
                    let state = format!("VRID {}: {in_a_row}, {holders:?}", router.vrid);
                    return Ok(Seen::NotYet(state));
                }
            }
            Ok(Seen::Yes(()))
        })
        .with_context(|| self.log_tails())
    }

    /// Waits until `phase` past the advertisement after the next.
    fn await_phase(&self, capture: &Capture, phase: Duration) -> Result<()> {
        let router = self.routers.first().context("no router")?;
        let sent = self.next_advertisement(capture, router)?;
        let moment = sent.at + router.interval + phase;
        thread::sleep(moment.since(Moment::now()));
        Ok(())
    }

    fn next_advertisement(&self, capture: &Capture, router: &Router) -> Result<Sent> {
        let a = self.place.lab().node("a")?.mac(0);
        capture.await_advertisement(
            "an advertisement of node a",
            router.vrid,
            Moment::BOOT,
            PATIENCE,
            |sent| sent.source_mac == a,
        )
    }

    fn log_tails(&self) -> String {
        // A daemon's log is in its node's directory; what it wrote last tells most.
        let daemons = [self.preferred.as_ref(), Some(&self.other)];
        let tails: Vec<String> = daemons
            .into_iter()
            .flatten()
            .map(|daemon| daemon.process().log_tail())
            .collect();
        tails.join("\n")
    }
}

/// Waits until `b` has advertised and announced `router`.
fn await_takeover(capture: &Capture, router: &Router, b: &Node, since: Moment) -> Result<()> {
    let (address, b) = (address(router)?, b.mac(0));
    let what = "an advertisement of node b";
    capture.await_advertisement(what, router.vrid, since, PATIENCE, |sent| {
        sent.source_mac == b
    })?;
    wait::until("an announcement by node b", PATIENCE, || {
        let mut announced = capture.announcements(address, since).into_iter();
        Ok(Seen::when(announced.any(|frame| frame.source_mac == b), |seen| *seen).map(|_| ()))
    })
}

fn failover(capture: &Capture, router: &Router, a: &Node, b: &Node) -> Result<Failover> {
    let from_a = capture.from_sender(router.vrid, a.mac(0), Moment::BOOT);
    let last = from_a.last().context("node a never advertised")?.at;
    let from_b = capture.from_sender(router.vrid, b.mac(0), Moment::BOOT);
    let first = from_b.first().context("node b never advertised")?.at;
    ensure!(first > last, "node b advertised before node a died");
    Ok(Failover {
        advertised: first.since(last),
        announced: announcement(capture, router, b, last)?.since(last),
    })
}

/// The first announcement by `b` from `since` on.
fn announcement(capture: &Capture, router: &Router, b: &Node, since: Moment) -> Result<Moment> {
    let announced = capture.announcements(address(router)?, since);
    let by_b = announced.iter().find(|frame| frame.source_mac == b.mac(0));
    Ok(by_b.context("node b announced nothing")?.at)
}

fn address(router: &Router) -> Result<IpAddr> {
    let address = router.addresses.first().copied();
    address.with_context(|| format!("router {} has no address", router.name))
}
