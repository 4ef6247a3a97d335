//! What an agent does with what is written in its manifests, and how it tells.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use vipkeeper_e2e::manifest::{self, Router};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Moment, agent, tests};

use crate::machine;
use crate::scene::{SOON, Scene, VIP4, VIP6, manifests};

tests! {
    beside several_routers_on_several_interfaces_each_go_their_own_way,
    beside a_bad_edit_keeps_the_last_good_state_and_says_where,
    beside an_edit_of_one_router_leaves_the_others_alone,
    beside check_names_file_line_column_and_path,
    beside the_http_endpoints_and_health_tell_how_it_is,
    beside an_endpoint_that_is_the_node_is_left_out_and_told_of,
}

const AB: &[(&str, u8)] = &[("a", 110), ("b", 100)];
const BA: &[(&str, u8)] = &[("b", 110), ("a", 100)];

fn several_routers_on_several_interfaces_each_go_their_own_way() -> Result<()> {
    let second = |last| -> IpAddr { Ipv4Addr::new(198, 51, 100, last).into() };
    let routers = [
        Router::new("first-a", 51, &[VIP4], AB),
        Router::new("first-b", 52, &[[192, 0, 2, 101].into()], BA),
        Router::new("first-v6", 51, &[VIP6], BA),
        // The VRID of the first segment's, on another interface.
        Router::new("second-a", 51, &[second(100)], AB),
        Router::new("second-b", 53, &[second(101), second(102)], BA),
    ];
    let active = ["a", "b", "b", "a", "b"];
    let mut scene = Scene::start(&["a", "b"], 2, &routers)?;
    let beyond = scene.lab.capture(1)?;
    for (router, node) in routers.iter().zip(active) {
        scene.await_active(router, node)?;
        let interface = scene.agent(node)?.router(&router.name)?.interface;
        let expected = if router.name.starts_with("first") {
            "eth0"
        } else {
            "eth1"
        };
        ensure!(interface.as_deref() == Some(expected), "{interface:?}");
    }
    // C80: each out of its own interface, from that interface's address.
    let a = scene.lab.node("a")?.clone();
    let since = Moment::now();
    let out = beyond.await_advertisement("second-a", 51, since, SOON, |_| true)?;
    ensure!(out.source_mac == a.mac(1), "{out:?}");
    ensure!(out.advertisement.source == IpAddr::V4(a.ipv4(1)), "{out:?}");
    ensure!(out.advertisement.addresses == [second(100)], "{out:?}");
    ensure!(scene.capture.advertisements(53).is_empty());
    ensure!(beyond.advertisements(52).is_empty());

    // One interface of a fails: what runs on the other stays.
    a.unplug(1)?;
    let [first, .., second_a, _] = &routers;
    scene
        .agent("b")?
        .await_state(&second_a.name, "Active", SOON)?;
    scene.await_holders(second_a.addresses[0], &["b"], SOON)?;
    scene.await_active(first, "a")?;
    let state = scene.agent("a")?.router(&first.name)?;
    ensure!(state.counters["activeTransitions"] == 1, "{state:?}");
    Ok(())
}

fn a_bad_edit_keeps_the_last_good_state_and_says_where() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], &[("a", 110)]);
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let good = router.yaml();
    let before = scene.agent("a")?.router("web")?;
    let broken = [
        // Not YAML; an unknown field; a rule of the compiler; nobody can parse this.
        good.replace("spec:", "spec: ]"),
        good.replace("virtualRouterId:", "virtualRouterID:"),
        good.replace("virtualRouterId: 51", "virtualRouterId: 0"),
        good.replace("192.0.2.100", "192.0.2.300"),
    ];
    for (number, text) in broken.iter().enumerate() {
        let log = scene.agent("a")?.process().log().len();
        scene.agent("a")?.edit(text)?;
        wait::until("the place of the mistake in the log", SOON, || {
            let all = scene.agents[0].process().log();
            let new = all.get(log..).unwrap_or_default().to_owned();
            Ok(Seen::when(new, |new| new.lines().any(names_a_place)).map(|_| ()))
        })
        .with_context(|| format!("edit {number}"))?;
        let after = scene.agent("a")?.router("web")?;
        ensure!(after.state == "Active" && after.transitions == before.transitions);
    }
    scene
        .agent("a")?
        .edit(&good.replace("priority: 110", "priority: 120"))?;
    let what = "the good edit after the bad ones";
    let after = scene
        .agent("a")?
        .await_router("web", what, SOON, |router| router.priority == 120)?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    Ok(())
}

/// Whether a line of the log is an error with the file, the line and the column.
fn names_a_place(line: &str) -> bool {
    let number = |field: &str| {
        let value = line.split(field).nth(1).unwrap_or_default();
        let digits = value.split(' ').next().unwrap_or_default();
        digits.parse::<u32>().is_ok_and(|number| number > 0)
    };
    line.contains("/lab.yaml ")
        && line.contains("severity=error")
        && number(" line=")
        && number(" column=")
}

fn an_edit_of_one_router_leaves_the_others_alone() -> Result<()> {
    let stays = Router::new("stays", 51, &[VIP4], AB);
    let moves = Router::new("moves", 52, &[[192, 0, 2, 101].into()], AB);
    let mut scene = Scene::start(&["a", "b"], 1, &[stays.clone(), moves.clone()])?;
    scene.await_active(&stays, "a")?;
    scene.await_active(&moves, "a")?;
    let before = scene.agent("a")?.router("stays")?;
    let edited = Router {
        priorities: vec![("a".to_owned(), 50), ("b".to_owned(), 100)],
        ..moves.clone()
    };
    let text = manifests(&scene.lab, &[stays.clone(), edited]);
    let since = Moment::now();
    for agent in &scene.agents {
        agent.edit(&text)?;
    }
    scene.await_active(&moves, "b")?;
    scene.await_active(&stays, "a")?;
    let after = scene.agent("a")?.router("stays")?;
    ensure!(after.transitions == before.transitions, "{after:?}");
    let b = scene.lab.node("b")?.mac(0);
    ensure!(scene.capture.from_sender(51, b, since).is_empty());
    Ok(())
}

fn check_names_file_line_column_and_path() -> Result<()> {
    machine::need_agent()?;
    let directory = std::env::temp_dir().join(format!("vk-{}-check", std::process::id()));
    fs::create_dir_all(&directory)?;
    let file = directory.join("routers.yaml");
    let check = |text: &str| -> Result<(Option<i32>, String)> {
        fs::write(&file, text)?;
        let output = Command::new(agent::program()?)
            .args(["check", "--manifests"])
            .arg(&directory)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.code(), text))
    };
    let good = Router::new("web", 51, &[VIP4], AB).yaml();
    let (code, text) = check(&good)?;
    ensure!(code == Some(0), "{code:?} {text}");
    let (code, text) = check(&good.replace("virtualRouterId: 51", "virtualRouterId: 0"))?;
    fs::remove_dir_all(&directory)?;
    ensure!(code == Some(1), "{code:?} {text}");
    let line = 1 + good
        .lines()
        .take_while(|l| !l.contains("virtualRouterId"))
        .count();
    let expected = format!("routers.yaml:{line}:");
    ensure!(text.contains(&expected), "no {expected} in {text}");
    ensure!(text.contains("error: spec.virtualRouterId: "), "{text}");
    Ok(())
}

fn the_http_endpoints_and_health_tell_how_it_is() -> Result<()> {
    let router = Router::new("web", 51, &[VIP4], &[("a", 110)]);
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    let agent = scene.agent("a")?;
    for path in ["/healthz", "/readyz"] {
        let (status, body) = agent.get(path)?;
        ensure!(status == 200, "{path}: {status} {body}");
    }
    let health = agent.run(&["health"])?;
    ensure!(health.status.code() == Some(0), "{health:?}");
    let (status, body) = agent.get("/metrics")?;
    ensure!(status == 200);
    let sent = |line: &&str| line.starts_with("vipkeeper_") && line.contains("web");
    ensure!(body.lines().any(|line| sent(&line)), "{body}");
    agent.process_mut().stop(SOON)?;
    let health = agent.run(&["health"])?;
    ensure!(health.status.code() != Some(0), "{health:?}");
    Ok(())
}

fn an_endpoint_that_is_the_node_is_left_out_and_told_of() -> Result<()> {
    let lab = machine::lab(&["a"], 1)?;
    let a = lab.node("a")?;
    let router = Router {
        attach: true,
        ..Router::new("web", 51, &[VIP4], &[("a", 110)])
    };
    let spec = json!({
        "routerRef": {"name": "web"}, "ports": [{"port": 80}], "serviceRef": {"name": "web"},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "web-1", "namespace": "lab", "labels": {"kubernetes.io/service-name": "web"},
        },
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": [a.ipv4(0).to_string()]}],
    });
    // No Node is described: the agent finds its addresses at its interfaces.
    let agent = Agent::start(
        a,
        &manifest::documents(&[
            router.yaml(),
            manifest::virtual_server("web", &spec),
            format!("{slice}\n"),
        ]),
    )?;
    let told = format!(
        "{}:8080 is out: an address of node a, which takes spec.attach.trusted of VirtualRouter web",
        a.ipv4(0)
    );
    wait::until("one of two is out", SOON, || {
        let state = String::from_utf8(agent.run(&["state"])?.stdout)?;
        let is_told = |state: &String| state.contains(" 1/2 ") && state.contains(&told);
        Ok(Seen::when(state, is_told).map(|_| ()))
    })
}
