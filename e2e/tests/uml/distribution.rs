//! How connections are spread: each scheduler over a thousand of them, and persistence.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vipkeeper_e2e::{Tally, tests};

use crate::directors::{Directors, Method, PORT};

tests! {
    beside rr_gives_each_a_third_of_a_thousand,
    beside wrr_gives_each_its_weight_of_a_thousand,
    beside wlc_keeps_open_connections_by_weight,
    beside sh_and_mh_give_a_client_one_server_and_a_thousand_ports_each_a_third,
    beside persistence_keeps_a_client_and_its_prefix_at_one_server,
    beside one_packet_spreads_what_comes_from_one_port,
}

const SERVERS: u8 = 3;
const THOUSAND: usize = 1000;

fn rr_gives_each_a_third_of_a_thousand() -> Result<()> {
    let scene = Directors::start(1, SERVERS, Method::Direct, &json!({}))?;
    let tally = thousand(&scene)?;
    let each = THOUSAND / usize::from(SERVERS);
    for server in ["r1", "r2", "r3"] {
        ensure!((each..=each + 1).contains(&tally.of(server)), "{tally}");
    }
    Ok(())
}

fn wrr_gives_each_its_weight_of_a_thousand() -> Result<()> {
    let scene = weighted("wrr")?;
    let tally = thousand(&scene)?;
    // One round of 1 + 2 + 3 may be cut short.
    for (weight, server) in (1..).zip(["r1", "r2", "r3"]) {
        let share = THOUSAND * weight / 6;
        ensure!(tally.of(server).abs_diff(share) <= 3, "{tally}");
    }
    Ok(())
}

fn wlc_keeps_open_connections_by_weight() -> Result<()> {
    let scene = weighted("wlc")?;
    let [target, _] = scene.targets();
    let open = scene.client().open(target, 120)?;
    let of = |server: &str| open.iter().filter(|one| one.server() == server).count();
    for (weight, server) in (1..).zip(["r1", "r2", "r3"]) {
        let share = open.len() * weight / 6;
        ensure!(of(server).abs_diff(share) <= 3, "{server}: {}", of(server));
    }
    Ok(())
}

fn sh_and_mh_give_a_client_one_server_and_a_thousand_ports_each_a_third() -> Result<()> {
    let mut scene = Directors::start(1, SERVERS, Method::Direct, &scheduler("sh", &["Fallback"]))?;
    let all = [0, 1, 2];
    for name in ["sh", "mh"] {
        scene.edit(&scheduler(name, &["Fallback"]))?;
        await_scheduler(&scene, &format!("-s {name}"))?;
        scene.await_serving(0, &all)?;
        let [target, _] = scene.targets();
        let one = scene.client().tcp(target, 20)?;
        ensure!(one.answers.len() == 1 && one.failed() == 0, "{name}: {one}");

        scene.edit(&scheduler(name, &["Fallback", "Port"]))?;
        await_scheduler(&scene, &format!("{name}-port"))?;
        scene.await_serving(0, &all)?;
        let tally = thousand(&scene)?;
        for server in ["r1", "r2", "r3"] {
            // Six standard deviations of a thousand throws of a three-sided die are 90.
            ensure!(
                tally.of(server).abs_diff(THOUSAND / 3) <= 90,
                "{name}: {tally}"
            );
        }
    }
    Ok(())
}

fn persistence_keeps_a_client_and_its_prefix_at_one_server() -> Result<()> {
    let persistent =
        |length: u8| json!({"persistence": {"timeout": "300s", "ipv4PrefixLength": length}});
    let mut scene = Directors::start(1, SERVERS, Method::Direct, &persistent(32))?;
    let sources: Vec<IpAddr> = (200..206)
        .map(|n| Ipv4Addr::new(192, 0, 2, n).into())
        .collect();
    let mut lines = String::new();
    for source in &sources {
        writeln!(lines, "addr add {source}/24 dev eth0")?;
    }
    scene.lan.lab().client().namespace().ip(&lines)?;
    let [target, _] = scene.targets();
    let servers_of = |scene: &Directors| -> Result<Vec<Tally>> {
        let client = scene.client();
        let of = |source: &IpAddr| client.from(*source).tcp(target, 6);
        sources.iter().map(of).collect()
    };

    let each = servers_of(&scene)?;
    let mut whole = Tally::default();
    for tally in &each {
        ensure!(tally.answers.len() == 1 && tally.failed() == 0, "{tally}");
        whole.add(tally);
    }
    ensure!(whole.answers.len() == usize::from(SERVERS), "{whole}");

    scene.edit(&persistent(24))?;
    await_scheduler(&scene, "-M 255.255.255.0")?;
    scene.await_serving(0, &[0, 1, 2])?;
    let mut whole = Tally::default();
    servers_of(&scene)?
        .iter()
        .for_each(|tally| whole.add(tally));
    ensure!(whole.answers.len() == 1 && whole.failed() == 0, "{whole}");
    Ok(())
}

fn one_packet_spreads_what_comes_from_one_port() -> Result<()> {
    const DATAGRAMS: usize = 30;
    let only_udp = json!({"ports": [{"port": PORT, "protocol": "UDP"}]});
    // Real servers answer by themselves: a director has forgotten whose answer it is, and NAT would not change it back.
    let mut scene = Directors::start(1, SERVERS, Method::Direct, &only_udp)?;
    for target in scene.targets() {
        let tally = scene.client().port(target)?.ask(DATAGRAMS);
        let all_at_one = tally.answers.len() == 1 && tally.failed() == 0;
        ensure!(all_at_one, "{target} with connections: {tally}");
    }
    scene.edit(&json!({"onePacket": true}))?;
    await_scheduler(&scene, " -o")?;
    scene.await_serving(0, &[0, 1, 2])?;
    for target in scene.targets() {
        let tally = scene.client().port(target)?.ask(DATAGRAMS);
        for server in ["r1", "r2", "r3"] {
            let each = DATAGRAMS / usize::from(SERVERS);
            ensure!(tally.of(server) == each, "{target}: {tally}");
        }
    }
    Ok(())
}

fn thousand(scene: &Directors) -> Result<Tally> {
    let [target, _] = scene.targets();
    let tally = scene.client().tcp(target, THOUSAND)?;
    ensure!(tally.failed() == 0, "{tally}");
    Ok(tally)
}

fn scheduler(name: &str, flags: &[&str]) -> Value {
    json!({"scheduler": {"name": name, "flags": flags}})
}

/// Real servers with weights 1, 2 and 3.
fn weighted(scheduler: &str) -> Result<Directors> {
    let only_tcp = json!({"scheduler": {"name": scheduler}});
    let mut scene = Directors::start(1, SERVERS, Method::Direct, &only_tcp)?;
    let mut servers = Vec::new();
    for number in 0..usize::from(SERVERS) {
        for address in scene.addresses_of(number) {
            servers.push(json!({"address": address.to_string(), "weight": number + 1}));
        }
    }
    scene.edit(&json!({"realServers": servers}))?;
    await_scheduler(
        &scene,
        &format!("-r {}:{PORT} -g -w 3", scene.addresses_of(2)[0]),
    )?;
    Ok(scene)
}

/// Waits until the kernel's table says `words`.
fn await_scheduler(scene: &Directors, words: &str) -> Result<()> {
    use vipkeeper_e2e::wait::{self, Seen};
    let ipvsadm = scene.ipvsadm(0);
    wait::until(words, crate::scene::SOON, || {
        Ok(Seen::when(ipvsadm.table()?, |table| {
            table.iter().any(|line| line.contains(words))
        })
        .map(|_| ()))
    })
}
