//! The kernel's table: what others have in it stays, and what they do to ours is mended.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Tally, tests};

use crate::checkers;
use crate::directors::{Directors, Method};
use crate::scene::SOON;

tests! {
    beside foreign_services_stay_through_start_edit_restart_and_stop,
    beside keepalived_with_services_of_its_own_on_the_same_director_is_no_matter,
    beside the_table_is_right_again_after_a_flush_and_after_single_changes,
    beside a_restarted_agent_adopts_the_table_and_rewrites_nothing,
}

const FOREIGN: [&str; 2] = [
    "-A -t 192.0.2.77:8443 -s wrr",
    "-a -t 192.0.2.77:8443 -r 198.51.100.77:8443 -m -w 7",
];

fn foreign_services_stay_through_start_edit_restart_and_stop() -> Result<()> {
    let mut scene = Directors::start(1, 3, Method::Nat, &json!({}))?;
    let ipvsadm = scene.ipvsadm(0);
    for line in FOREIGN {
        ipvsadm.run(line)?;
    }
    let foreign = || -> Result<usize> {
        let table = ipvsadm.table()?;
        Ok(table.iter().filter(|line| line.contains(":8443")).count())
    };
    scene.edit(&json!({"realServers": scene.real_servers(&[0, 1])}))?;
    scene.await_serving_besides(0, &[0, 1], &["198.51.100.77:8443"])?;
    ensure!(foreign()? == 2);

    let mut old = scene.agents.remove(0);
    old.process_mut().kill()?;
    let mut agent = Agent::restart(&scene.lan.directors()[0])?;
    agent.await_state("web", "Active", SOON)?;
    scene.await_serving_besides(0, &[0, 1], &["198.51.100.77:8443"])?;
    ensure!(foreign()? == 2);

    let status = agent.process_mut().stop(SOON)?;
    ensure!(status.success(), "{status}");
    ensure!(foreign()? == 2);
    Ok(())
}

fn keepalived_with_services_of_its_own_on_the_same_director_is_no_matter() -> Result<()> {
    let mut scene = Directors::start(1, 3, Method::Nat, &json!({}))?;
    let theirs: SocketAddr = ([192, 0, 2, 77], 8443).into();
    scene.lan.hold(&scene.lan.directors()[0], theirs.ip())?;
    let ipvsadm = scene.ipvsadm(0);
    let ours = ipvsadm.table()?;
    let real: Vec<IpAddr> = (0..2).map(|number| scene.addresses_of(number)[0]).collect();
    let mut keepalived = checkers::start(&scene.lan.directors()[0], &[(theirs, real)])?;
    let both_serve = |scene: &Directors| -> Result<()> {
        let client = scene.client();
        wait::until("keepalived's service", SOON, || {
            let tally = client.tcp(theirs, 10)?;
            let even = |tally: &Tally| tally.of("r1") == 5 && tally.of("r2") == 5;
            Ok(Seen::when(tally, even).map(|_| ()))
        })?;
        scene.connect(30)?;
        Ok(())
    };
    both_serve(&scene)?;

    scene.edit(&json!({"realServers": scene.real_servers(&[0, 1])}))?;
    scene.await_serving_besides(0, &[0, 1], &[])?;
    both_serve(&scene)?;
    scene.edit(&json!({"realServers": scene.real_servers(&[0, 1, 2])}))?;
    scene.await_serving_besides(0, &[0, 1, 2], &[])?;
    both_serve(&scene)?;

    // keepalived takes its own away and nothing else.
    keepalived.stop(SOON)?;
    scene.await_table(0, &ours)?;
    scene.connect(30)?;
    Ok(())
}

fn the_table_is_right_again_after_a_flush_and_after_single_changes() -> Result<()> {
    let scene = Directors::start(1, 3, Method::Nat, &json!({}))?;
    let ipvsadm = scene.ipvsadm(0);
    let [target, _] = scene.targets();
    let real = format!("{}:80", scene.addresses_of(0)[0]);
    let right = ipvsadm.table()?;
    for damage in [
        "-C".to_owned(),
        format!("-D -t {target}"),
        format!("-E -t {target} -s wlc"),
        format!("-d -t {target} -r {real}"),
        format!("-e -t {target} -r {real} -m -w 0"),
        format!("-a -t {target} -r 198.51.100.99:80 -m"),
    ] {
        ipvsadm.run(&damage)?;
        scene
            .await_table(0, &right)
            .with_context(|| format!("after ipvsadm {damage}"))?;
    }
    scene.connect(30)?;
    Ok(())
}

fn a_restarted_agent_adopts_the_table_and_rewrites_nothing() -> Result<()> {
    let mut scene = Directors::start(1, 3, Method::Nat, &json!({}))?;
    scene.connect(30)?;
    for target in scene.targets() {
        scene.await_counted(0, target, 30)?;
    }
    let ipvsadm = scene.ipvsadm(0);
    let right = ipvsadm.table()?;
    // A service or real server that is made anew counts from 0.
    let counted = || -> Result<Vec<String>> {
        let text = ipvsadm.run("-L -n --stats --exact")?;
        let connections = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            Some(format!("{}: {}", words.next()?, words.next()?))
        };
        Ok(text.lines().skip(3).filter_map(connections).collect())
    };
    let before = counted()?;

    let mut old = scene.agents.remove(0);
    old.process_mut().kill()?;
    let mut agent = Agent::restart(&scene.lan.directors()[0])?;
    agent.await_state("web", "Active", SOON)?;
    scene.agents.push(agent);
    scene.await_table(0, &right)?;
    let after = counted()?;
    ensure!(before == after, "{before:?}\n{after:?}");
    Ok(())
}
