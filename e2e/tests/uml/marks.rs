//! What carries a firewall mark: several ports are one virtual server, which persistence spans.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vipkeeper_e2e::{DirectorLan, Node, Tally, tests};

use crate::directors::{Directors, Method, PORT};

tests! {
    beside a_mark_serves_two_ports_over_ipv4_and_a_client_stays_at_one_server,
    beside a_mark_serves_two_ports_over_ipv6_and_a_client_stays_at_one_server,
}

const SERVERS: u8 = 3;
const MARK: u32 = 7;
const PORTS: [u16; 2] = [PORT, 8080];
/// Of each port; each real server gets a third.
const CONNECTIONS: usize = 15;
/// Clients, of which persistence sends each to one of three real servers.
const CLIENTS: u8 = 6;

fn a_mark_serves_two_ports_over_ipv4_and_a_client_stays_at_one_server() -> Result<()> {
    let [address, _] = DirectorLan::virtual_addresses();
    serves_a_mark(address, "IPv4")
}

fn a_mark_serves_two_ports_over_ipv6_and_a_client_stays_at_one_server() -> Result<()> {
    let [_, address] = DirectorLan::virtual_addresses();
    serves_a_mark(address, "IPv6")
}

fn serves_a_mark(address: IpAddr, family: &str) -> Result<()> {
    let mut scene = Directors::start(1, SERVERS, Method::Nat, &json!({}))?;
    let _at_the_other = scene.lan.start_servers(PORTS[1], &[])?;
    let servers = scene.lan.servers().iter();
    let real: Vec<IpAddr> = servers
        .map(|host| scene.lan.address_of(host, address))
        .collect();
    let entries = real
        .iter()
        .map(|real| json!({"address": real.to_string()}))
        .collect::<Value>();
    scene.edit(&json!({
        "ports": null,
        "fwmark": {"value": MARK, "family": family},
        "realServers": entries,
    }))?;
    // A mark has no port: a packet keeps its own.
    let wanted: Vec<SocketAddr> = real.iter().map(|real| (*real, 0).into()).collect();
    scene.await_destinations(0, &wanted)?;

    let targets = PORTS.map(|port| SocketAddr::new(address, port));
    for target in targets {
        let tally = scene.client().tcp(target, 1)?;
        ensure!(
            tally.answered() == 0,
            "{target} before it is marked: {tally}"
        );
    }
    mark(&scene.lan.directors()[0], address)?;
    for target in targets {
        let tally = scene.client().tcp(target, CONNECTIONS)?;
        for server in ["r1", "r2", "r3"] {
            let each = CONNECTIONS / usize::from(SERVERS);
            ensure!(tally.of(server) == each, "{target}: {tally}");
        }
    }

    scene.edit(&json!({"persistence": {"timeout": "300s"}}))?;
    scene.await_line(0, &format!("-A -f {MARK}"), "-p 300")?;
    scene.await_destinations(0, &wanted)?;
    each_client_has_one_server(&scene, targets)
}

/// Whatever the port; and not all have the same.
fn each_client_has_one_server(scene: &Directors, targets: [SocketAddr; 2]) -> Result<()> {
    let clients: Vec<IpAddr> = (200..200 + CLIENTS)
        .map(|number| client_address(targets[0].ip(), number))
        .collect();
    let mut lines = String::new();
    for client in &clients {
        let length = if client.is_ipv4() { 24 } else { 64 };
        writeln!(lines, "addr add {client}/{length} dev eth0")?;
    }
    scene.lan.lab().client().namespace().ip(&lines)?;
    let mut whole = Tally::default();
    for client in clients {
        let mut tally = Tally::default();
        for target in targets {
            tally.add(&scene.client().from(client).tcp(target, 3)?);
        }
        ensure!(
            tally.answers.len() == 1 && tally.failed() == 0,
            "{client}: {tally}"
        );
        whole.add(&tally);
    }
    ensure!(whole.answers.len() == usize::from(SERVERS), "{whole}");
    Ok(())
}

fn client_address(like: IpAddr, number: u8) -> IpAddr {
    match like {
        IpAddr::V4(_) => vipkeeper_e2e::lab::ipv4(0, number).into(),
        IpAddr::V6(_) => vipkeeper_e2e::lab::ipv6(0, number.into()).into(),
    }
}

/// Marks what comes to the ports of `address`, as an administrator does.
fn mark(director: &Node, address: IpAddr) -> Result<()> {
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    let [first, second] = PORTS;
    let rules = format!(
        "add table inet lab; \
         add chain inet lab marks {{ type filter hook prerouting priority mangle; }}; \
         add rule inet lab marks {family} daddr {address} tcp dport {{ {first}, {second} }} meta mark set {MARK}"
    );
    let mut command = Command::new("nft");
    command.arg(rules);
    director.namespace().enter(&mut command);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft: {said}");
    Ok(())
}
