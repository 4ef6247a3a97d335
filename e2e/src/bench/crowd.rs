//! Many routers on one node: what they cost as Active and as Backup, how they start, and what an edit does to
//! those that it does not name.
//!
//! Owns a lab for each measurement. Both contenders are measured at the same time where they are compared by
//! processor time, and one after the other where they would take it from each other.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::contender::{Both, Contender, Daemon};
use super::usage::{self, Usage};
use crate::capture::Capture;
use crate::chronicle::Chronicle;
use crate::clock::Moment;
use crate::frame::Content;
use crate::lab::{Lab, Node};
use crate::manifest::Router;
use crate::wait::{self, Seen};

/// Far beyond what a start of 250 routers takes.
const PATIENCE: Duration = Duration::from_secs(90);
/// What follows a start (announcements, second thoughts) is over after this long.
const SETTLING: Duration = Duration::from_secs(6);

/// What many routers cost one contender.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) active: Usage,
    pub(super) backup: Usage,
}

/// Two nodes that start at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Storm {
    /// Until one node held every address, and the other none.
    pub(super) settled: Duration,
    /// Virtual routers that both nodes advertised.
    pub(super) contested: usize,
    /// The longest time for which one was advertised by both: from the first advertisement of the second to the
    /// last of the one that gave way.
    pub(super) longest: Duration,
}

/// An edit that adds one router to many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Edit {
    /// The longest time between two advertisements of a router that the edit does not name.
    pub(super) longest_gap: Duration,
    /// From the edit to the new router's first advertisement.
    pub(super) took_effect: Duration,
}

/// `count` routers, 1 to 250, each with an address of its own on `eth0`.
pub(super) fn routers(count: u8, priorities: &[(&str, u8)]) -> Vec<Router> {
    let router = |vrid| Router {
        checksum: Some("RFC5798"),
        interface: Some("eth0".to_owned()),
        ..Router::new(&format!("vip-{vrid}"), vrid, &[address(vrid)], priorities)
    };
    (1..=count).map(router).collect()
}

fn address(vrid: u8) -> IpAddr {
    Ipv4Addr::new(203, 0, 113, vrid).into()
}

/// Measures both as Active, each alone in a lab of its own, then both as Backups of one keepalived.
pub(super) fn cost(count: u8, during: Duration) -> Result<Both<Cost>> {
    let mut cost = Both::<Cost>::default();
    let active = as_active(count, during)?;
    let backup = as_backup(count, during)?;
    for contender in Contender::ALL {
        *cost.of_mut(contender) = Cost {
            active: *active.of(contender),
            backup: *backup.of(contender),
        };
    }
    Ok(cost)
}

fn as_active(count: u8, during: Duration) -> Result<Both<Usage>> {
    let routers = routers(count, &[("a", 110)]);
    let mut labs = Vec::new();
    let mut daemons = Vec::new();
    for contender in Contender::ALL {
        let lab = Lab::new(&["a"], 1)?;
        daemons.push(contender.start(&routers, lab.node("a")?)?);
        labs.push(lab);
    }
    for lab in &labs {
        await_holding(lab.node("a")?, &routers)?;
    }
    measure(&daemons, during)
}

fn as_backup(count: u8, during: Duration) -> Result<Both<Usage>> {
    let routers = routers(count, &[("feeder", 200), ("ours", 100), ("theirs", 100)]);
    let lab = Lab::new(&["feeder", "ours", "theirs"], 1)?;
    // Kept: its end would be the Backups' promotion.
    let _feeder = Contender::Keepalived.start(&routers, lab.node("feeder")?)?;
    await_holding(lab.node("feeder")?, &routers)?;
    let daemons = [
        Contender::Vipkeeper.start(&routers, lab.node("ours")?)?,
        Contender::Keepalived.start(&routers, lab.node("theirs")?)?,
    ];
    let usage = measure(&daemons, during)?;
    for node in ["ours", "theirs"] {
        let held = held(lab.node(node)?, &routers)?;
        ensure!(held == 0, "{node} became Active for {held} routers");
    }
    Ok(usage)
}

/// What the daemons of both contenders, in the order of [`Contender::ALL`], use from now on.
fn measure(daemons: &[Daemon], during: Duration) -> Result<Both<Usage>> {
    thread::sleep(SETTLING);
    let times = |daemons: &[Daemon]| -> Result<Vec<Duration>> {
        let each = daemons.iter().map(|d| usage::processor(d.process()));
        each.collect()
    };
    let (begun, before) = (Moment::now(), times(daemons)?);
    thread::sleep(during);
    let (during, after) = (begun.elapsed(), times(daemons)?);
    let mut both = Both::<Usage>::default();
    for (position, contender) in Contender::ALL.into_iter().enumerate() {
        let daemon = daemons.get(position).context("a daemon for each")?;
        *both.of_mut(contender) = Usage {
            processor: after[position].saturating_sub(before[position]),
            during,
            resident: usage::resident(daemon.process())?,
        };
    }
    Ok(both)
}

/// Starts both nodes at once.
pub(super) fn storm(contender: Contender, count: u8) -> Result<Storm> {
    let routers = routers(count, super::PRIORITIES);
    let lab = Lab::new(&["a", "b"], 1)?;
    let capture = lab.capture(0)?;
    let begun = Moment::now();
    let daemons = start_both(contender, &routers, &lab)?;
    await_division(&lab, &routers)?;
    let settled = begun.elapsed();
    await_one_sender(&capture, &lab)?;
    drop(daemons);
    let mut storm = Storm {
        settled,
        ..Storm::default()
    };
    let overlaps = Chronicle::of(&capture.frames(), begun).overlaps();
    storm.contested = overlaps.len();
    storm.longest = overlaps.into_values().max().unwrap_or_default();
    Ok(storm)
}

/// Adds a router to the configuration of two nodes that run.
pub(super) fn edit(contender: Contender, count: u8) -> Result<Edit> {
    let mut routers = routers(count, super::PRIORITIES);
    let lab = Lab::new(&["a", "b"], 1)?;
    let daemons = start_both(contender, &routers, &lab)?;
    await_division(&lab, &routers)?;
    thread::sleep(SETTLING);
    let (one_more, interval) = (count + 1, routers[0].interval);
    let like = routers[0].clone();
    routers.push(Router {
        name: format!("vip-{one_more}"),
        vrid: one_more,
        addresses: vec![address(one_more)],
        ..like
    });
    let capture = lab.capture(0)?;
    let edited = Moment::now();
    for (daemon, node) in daemons.iter().zip(lab.nodes()) {
        daemon.edit(&routers, node)?;
    }
    let what = "an advertisement of the new router";
    let first = capture.await_advertisement(what, one_more, edited, PATIENCE, |_| true)?;
    // What the edit does to the others is over some intervals later.
    thread::sleep(interval * 10);
    let chronicle = Chronicle::of(&capture.frames(), Moment::BOOT);
    Ok(Edit {
        longest_gap: chronicle.longest_gap(&[(true, one_more)]),
        took_effect: first.at.since(edited),
    })
}

fn start_both(contender: Contender, routers: &[Router], lab: &Lab) -> Result<Vec<Daemon>> {
    let nodes = lab.nodes().iter();
    nodes.map(|node| contender.start(routers, node)).collect()
}

/// How many addresses of `routers` a node holds.
fn held(node: &Node, routers: &[Router]) -> Result<usize> {
    let there = node.addresses()?;
    let wanted = routers.iter().flat_map(|router| &router.addresses);
    Ok(wanted
        .filter(|wanted| there.iter().any(|t| t.address == **wanted))
        .count())
}

fn await_holding(node: &Node, routers: &[Router]) -> Result<()> {
    let what = format!("{} holds {} addresses", node.name(), routers.len());
    wait::until(&what, PATIENCE, || {
        Ok(Seen::when(held(node, routers)?, |n| *n == routers.len()).map(drop))
    })
}

/// Waits until the first node holds everything and the second nothing.
fn await_division(lab: &Lab, routers: &[Router]) -> Result<()> {
    let (a, b) = (lab.node("a")?, lab.node("b")?);
    wait::until("node a holds everything, node b nothing", PATIENCE, || {
        let division = (held(a, routers)?, held(b, routers)?);
        Ok(Seen::when(division, |held| *held == (routers.len(), 0)).map(drop))
    })
}

/// Waits until nobody but node `a` has advertised for a second.
fn await_one_sender(capture: &Capture, lab: &Lab) -> Result<()> {
    const QUIET: Duration = Duration::from_secs(1);
    let a = lab.node("a")?.mac(0);
    wait::until("node a alone advertises", PATIENCE, || {
        // A look at every frame takes its time.
        thread::sleep(QUIET);
        let frames = capture.frames();
        let other = frames.iter().rev().find(|frame| {
            matches!(frame.content, Content::Advertisement(_)) && frame.source_mac != a
        });
        let quiet = other.map_or(QUIET, |frame| frame.at.elapsed());
        Ok(Seen::when(quiet, |quiet| *quiet >= QUIET).map(drop))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_router_has_a_vrid_and_an_address_of_its_own() {
        let routers = routers(250, super::super::PRIORITIES);
        let vrids: std::collections::BTreeSet<_> = routers.iter().map(|r| r.vrid).collect();
        let addresses: std::collections::BTreeSet<_> =
            routers.iter().flat_map(|r| &r.addresses).collect();
        assert_eq!((vrids.len(), addresses.len()), (250, 250));
    }
}
