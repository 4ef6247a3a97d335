//! Real servers that die, hang, fail and return; quorum and sorry server; drain.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use vipkeeper_e2e::{Moment, tests};

use crate::directors::{Directors, Method, PORT};
use crate::machine::SLACK;

tests! {
    alone a_dead_real_server_is_out_and_back_in_time,
    alone a_hanging_real_server_is_out_and_back_in_time,
    beside a_quiesced_real_server_keeps_its_connections_and_gets_no_new_ones,
    beside a_sorry_server_serves_from_the_loss_of_the_quorum_to_its_return,
    beside a_drained_real_server_finishes_a_long_download,
    beside datagrams_leave_a_real_server_that_was_removed_with_expire_nodest_conn_alone,
}

const SERVERS: u8 = 3;
const INTERVAL: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_millis(200);
const RISE: u32 = 2;
const FALL: u32 = 2;
/// The sorry server's number.
const SORRY: usize = 3;

fn a_dead_real_server_is_out_and_back_in_time() -> Result<()> {
    let mut scene = Directors::start(1, SERVERS, Method::Direct, &probed("TCP"))?;
    let died = Moment::now();
    scene.server(1)?.die()?;
    is_out_in_time(&scene, died)?;
    let returned = Moment::now();
    let again = scene.server(1)?.again()?;
    *scene.server(1)? = again;
    is_back_in_time(&scene, returned)
}

fn a_hanging_real_server_is_out_and_back_in_time() -> Result<()> {
    let mut scene = Directors::start(1, SERVERS, Method::Direct, &probed("HTTP"))?;
    let hung = Moment::now();
    scene.server(1)?.hang()?;
    is_out_in_time(&scene, hung)?;
    let returned = Moment::now();
    scene.server(1)?.go_on()?;
    is_back_in_time(&scene, returned)
}

/// The second of three is out within interval × fall + timeout, and nobody notices any more.
fn is_out_in_time(scene: &Directors, since: Moment) -> Result<()> {
    scene.await_serving(0, &[0, 2])?;
    let (took, bound) = (since.elapsed(), INTERVAL * FALL + TIMEOUT);
    ensure!(took <= bound + SLACK, "out after {took:?}, bound {bound:?}");
    let tally = scene.connect(30)?;
    ensure!(tally.of("r2") == 0, "{tally}");
    Ok(())
}

/// It is back within interval × rise, and gets its part.
fn is_back_in_time(scene: &Directors, since: Moment) -> Result<()> {
    scene.await_serving(0, &[0, 1, 2])?;
    let (took, bound) = (since.elapsed(), INTERVAL * RISE);
    ensure!(
        took <= bound + SLACK,
        "back after {took:?}, bound {bound:?}"
    );
    let tally = scene.connect(30)?;
    ensure!(tally.of("r2") == 20, "{tally}");
    Ok(())
}

fn a_quiesced_real_server_keeps_its_connections_and_gets_no_new_ones() -> Result<()> {
    let mut more = probed("HTTP");
    more["onFailure"] = json!("Quiesce");
    let scene = Directors::start(1, SERVERS, Method::Nat, &more)?;
    let [target, _] = scene.targets();
    let mut open = scene.client().open(target, 9)?;
    scene.servers[1].set_health(503)?;
    scene.await_serving(0, &[0, 2])?;
    let tally = scene.connect(30)?;
    ensure!(tally.of("r2") == 0, "{tally}");
    for connection in &mut open {
        let server = connection.ask()?;
        ensure!(server == connection.server());
    }
    ensure!(open.iter().any(|one| one.server() == "r2"));
    scene.servers[1].set_health(200)?;
    scene.await_serving(0, &[0, 1, 2])
}

fn a_sorry_server_serves_from_the_loss_of_the_quorum_to_its_return() -> Result<()> {
    let mut scene = Directors::start(1, SERVERS + 1, Method::Nat, &probed("HTTP"))?;
    let sorry = scene.addresses_of(SORRY)[0].to_string();
    let more = json!({
        "addresses": [scene.targets()[0].ip().to_string()],
        "realServers": scene.real_servers(&[0, 1, 2]),
        "sorryServer": {"address": sorry, "port": PORT},
        "quorum": {"weight": 2, "hysteresis": 1},
    });
    scene.edit(&more)?;
    let only = |scene: &Directors, number: usize| scene.addresses_of(number)[0];
    let serves = |scene: &Directors, which: &[usize]| -> Result<()> {
        let wanted: Vec<SocketAddr> = which
            .iter()
            .map(|n| (only(scene, *n), PORT).into())
            .collect();
        scene.await_destinations(0, &wanted)
    };
    serves(&scene, &[0, 1, 2])?;
    // 1 is not below 2 - 1, 0 is; 2 is below 2 + 1, 3 is not.
    for (number, after) in [(0, &[1, 2][..]), (1, &[2]), (2, &[SORRY])] {
        scene.servers[number].set_health(503)?;
        serves(&scene, after)?;
    }
    let tally = scene.client().tcp(scene.targets()[0], 10)?;
    ensure!(tally.of("r4") == 10, "{tally}");
    scene.servers[0].set_health(200)?;
    scene.servers[1].set_health(200)?;
    // For as long as both take to be back, and the same again.
    let during = (INTERVAL * RISE + TIMEOUT) * 2;
    vipkeeper_e2e::wait::while_holds("the sorry server serves", during, || {
        let tally = scene.client().tcp(scene.targets()[0], 1)?;
        Ok(vipkeeper_e2e::wait::Seen::when(tally, |tally| tally.of("r4") == 1).map(|_| ()))
    })?;
    scene.servers[2].set_health(200)?;
    serves(&scene, &[0, 1, 2])
}

fn a_drained_real_server_finishes_a_long_download() -> Result<()> {
    const BYTES: usize = 300 * 1024;
    let mut scene = Directors::start(
        1,
        SERVERS,
        Method::Nat,
        &json!({"drain": {"timeout": "60s"}}),
    )?;
    scene.edit(&json!({"realServers": scene.real_servers(&[0])}))?;
    scene.await_serving(0, &[0])?;
    let [target, _] = scene.targets();
    let client = scene.client();
    let download = thread::spawn(move || client.get(target, &format!("/download/{BYTES}/4000")));
    // Until it is under way: the kernel counts it.
    let connected = format!("{target}");
    scene.await_connections(0, 1).with_context(|| connected)?;

    scene.edit(&json!({"realServers": scene.real_servers(&[1, 2])}))?;
    scene.await_serving(0, &[1, 2])?;
    let tally = scene.connect(20)?;
    ensure!(tally.of("r1") == 0, "{tally}");
    ensure!(!download.is_finished(), "it was over before the drain was");
    match download.join() {
        Ok(bytes) => ensure!(bytes? == BYTES),
        Err(_panic) => bail!("the download panicked"),
    }
    Ok(())
}

fn datagrams_leave_a_real_server_that_was_removed_with_expire_nodest_conn_alone() -> Result<()> {
    let at_once = json!({"drain": {"timeout": "0s"}});
    let mut scene = Directors::start(1, SERVERS, Method::Nat, &at_once)?;
    let client = scene.client().with_patience(Duration::from_millis(300));
    let mut left = vec![0, 1, 2];
    let mut ports = Vec::new();
    for target in scene.targets() {
        let port = client.port(target)?;
        let tally = port.ask(5);
        ensure!(tally.answers.len() == 1 && tally.failed() == 0, "{tally}");
        left.retain(|number| tally.of(scene.lan.servers()[*number].name()) == 0);
        ports.push(port);
    }
    scene.edit(&json!({"realServers": scene.real_servers(&left)}))?;
    scene.await_serving(0, &left)?;
    for port in &ports {
        let tally = port.ask(2);
        ensure!(tally.answered() == 0, "{tally}");
    }
    let director = scene.lan.directors()[0].namespace();
    director.sysctl(&[("ipv4/vs/expire_nodest_conn", "1")])?;
    for port in &ports {
        let tally = port.ask(5);
        ensure!(tally.failed() == 0, "{tally}");
    }
    Ok(())
}

fn probed(kind: &str) -> Value {
    let mut probe = json!({
        "name": "it",
        "type": kind,
        "interval": format!("{}ms", INTERVAL.as_millis()),
        "timeout": format!("{}ms", TIMEOUT.as_millis()),
        "rise": RISE,
        "fall": FALL,
    });
    if kind == "HTTP" {
        probe["http"] = json!({"path": "/health"});
    }
    json!({"probes": [probe]})
}
