//! What objects say beyond one router of one family: both families in one router, a router alone, Settings.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::manifest::{self, Router, Transport};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Moment, tests};

use crate::machine;
use crate::scene::{SOON, Scene, VIP4, VIP6};

tests! {
    beside addresses_of_both_families_in_one_router_are_held_by_one_node_and_move_whole,
    beside a_unicast_router_without_anybody_else_holds_its_addresses_alone,
    beside settings_limit_how_fast_addresses_are_announced,
}

fn addresses_of_both_families_in_one_router_are_held_by_one_node_and_move_whole() -> Result<()> {
    let router = Router::new("web", 51, &[VIP6, VIP4], &[("a", 110), ("b", 100)]);
    let mut scene = Scene::start(&["a", "b"], 1, std::slice::from_ref(&router))?;
    for address in &router.addresses {
        scene.await_holders(*address, &["a"], SOON)?;
    }
    // One election each, with one VRID, on one interface.
    let state = scene.agent("a")?.state()?;
    let mut instances: Vec<_> = state
        .routers
        .iter()
        .map(|r| {
            (
                r.family.as_str(),
                r.virtual_router_id,
                r.interface.as_deref(),
                r.addresses.clone(),
            )
        })
        .collect();
    instances.sort();
    let expected = [
        ("IPv4", 51, Some("eth0"), vec![VIP4]),
        ("IPv6", 51, Some("eth0"), vec![VIP6]),
    ];
    ensure!(instances == expected, "{instances:?}");
    scene.power_off("a")?;
    for address in &router.addresses {
        wait::until(&format!("{address} on b"), SOON, || {
            let held = scene.lab.node("b")?.holds(*address)?;
            Ok(Seen::when(held, |held| *held).map(|_| ()))
        })?;
    }
    Ok(())
}

fn a_unicast_router_without_anybody_else_holds_its_addresses_alone() -> Result<()> {
    let mut router = Router::new("web", 51, &[VIP4], &[("a", 100)]);
    router.transport = Transport::Unicast {
        extra_peers: Vec::new(),
    };
    let mut scene = Scene::start(&["a"], 1, std::slice::from_ref(&router))?;
    scene.await_active(&router, "a")?;
    scene.lab.meter(VIP4)?.await_answers(SOON)
}

fn settings_limit_how_fast_addresses_are_announced() -> Result<()> {
    const COUNT: u8 = 12;
    machine::need_agent()?;
    let lab = machine::lab(&["a"], 1)?;
    let capture = lab.capture(0)?;
    let addresses: Vec<IpAddr> = (0..COUNT)
        .map(|i| Ipv4Addr::new(192, 0, 2, 100 + i).into())
        .collect();
    let router = Router::new("web", 51, &addresses, &[("a", 100)]);
    let settings = "apiVersion: vipkeeper.io/v1alpha1\nkind: Settings\nmetadata: {name: default}\n\
                    spec: {announcements: {framesPerSecond: 10, burst: 1}}\n";
    let manifests = manifest::documents(&[router.yaml(), settings.to_owned()]);
    let since = Moment::now();
    let _agent = Agent::start(lab.node("a")?, &manifests)?;
    let mut first = Vec::new();
    for address in &addresses {
        first.push(capture.await_announcement(*address, since, SOON)?.at);
    }
    first.sort();
    let (Some(begun), Some(ended)) = (first.first(), first.last()) else {
        anyhow::bail!("nothing was announced");
    };
    // One at once, then one every 100 ms; the capture's stamps are exact to some milliseconds.
    let spread = ended.since(*begun);
    let least = Duration::from_millis(100) * (u32::from(COUNT) - 1);
    ensure!(
        spread + Duration::from_millis(20) >= least,
        "all announced within {spread:?}"
    );
    Ok(())
}
