//! How many connections a real server gets at most.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vipkeeper_e2e::client::Connection;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Tally, tests};

use crate::directors::{Directors, Method, PORT};
use crate::scene::SOON;

tests! {
    beside a_real_server_gets_no_more_than_its_upper_threshold_until_it_has_less_than_its_lower,
}

const SERVERS: u8 = 2;
const UPPER: usize = 4;
const LOWER: usize = 2;

fn a_real_server_gets_no_more_than_its_upper_threshold_until_it_has_less_than_its_lower()
-> Result<()> {
    let mut scene = Directors::start(1, SERVERS, Method::Direct, &json!({}))?;
    let addresses = [scene.addresses_of(0), scene.addresses_of(1)].concat();
    let limited = |address: &IpAddr| json!({"address": address.to_string(), "upperThreshold": UPPER, "lowerThreshold": LOWER});
    let servers: Value = addresses.iter().map(limited).collect();
    scene.edit(&json!({"ports": [{"port": PORT}], "realServers": servers}))?;
    await_limits(&scene, addresses.len())?;
    // A connection that was closed counts until it is forgotten: after a second instead of two minutes.
    scene.ipvsadm(0).run("--set 0 1 0")?;
    for target in scene.targets() {
        is_limited(&scene, target)?;
    }
    Ok(())
}

/// Waits until the kernel has both limits for so many real servers, and nobody else.
fn await_limits(scene: &Directors, count: usize) -> Result<()> {
    let ipvsadm = scene.ipvsadm(0);
    wait::until(&format!("{count} limited real servers"), SOON, || {
        let text = ipvsadm.run("-L -n --thresholds")?;
        let servers = text.lines().filter(|line| line.contains("->")).skip(1);
        let limits: Vec<Vec<&str>> = servers
            .map(|line| line.split_whitespace().skip(2).take(2).collect())
            .collect();
        let wanted = [UPPER.to_string(), LOWER.to_string()];
        Ok(Seen::when(limits, |limits| {
            limits.len() == count && limits.iter().all(|limits| *limits == wanted)
        })
        .map(|_| ()))
    })
}

fn is_limited(scene: &Directors, target: SocketAddr) -> Result<()> {
    let client = scene.client();
    let mut open = client.open(target, UPPER * usize::from(SERVERS))?;
    for server in ["r1", "r2"] {
        ensure!(count(&open, server) == UPPER, "{server}: {open:?}");
    }
    ensure!(is_refused(&client.tcp(target, 1)?), "beyond all limits");

    close(&mut open, "r1", UPPER - LOWER);
    await_connections(scene, target, open.len())?;
    ensure!(
        is_refused(&client.tcp(target, 1)?),
        "at the lower threshold"
    );

    close(&mut open, "r1", 1);
    await_connections(scene, target, open.len())?;
    open.extend(client.open(target, UPPER - (LOWER - 1))?);
    ensure!(count(&open, "r1") == UPPER, "{open:?}");
    ensure!(is_refused(&client.tcp(target, 1)?), "at the limit again");
    Ok(())
}

fn is_refused(tally: &Tally) -> bool {
    tally.answered() == 0
}

fn count(open: &[Connection], server: &str) -> usize {
    open.iter().filter(|one| one.server() == server).count()
}

/// Ends so many connections to `server`.
fn close(open: &mut Vec<Connection>, server: &str, mut many: usize) {
    open.retain(|one| {
        let ends = many > 0 && one.server() == server;
        many -= usize::from(ends);
        !ends
    });
}

/// Waits until the director knows so many connections to `target`, whatever their state.
fn await_connections(scene: &Directors, target: SocketAddr, count: usize) -> Result<()> {
    let ipvsadm = scene.ipvsadm(0);
    let target = format!(" {target} ");
    wait::until(&format!("{count} connections"), SOON, || {
        let text = ipvsadm.run("-L -n -c")?;
        let known = text.lines().filter(|line| line.contains(&target)).count();
        Ok(Seen::when(known, |known| *known == count).map(|_| ()))
    })
}
