//! A flood of forged frames: counted, refused, and without effect on our own time.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::agent::RouterState;
use vipkeeper_e2e::capture::longest_gap;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::{Forgery, Moment, Node, Sender, tests};
use vipkeeper_wire::vrrp::Body;

use crate::scene::{SOON, Scene, VIP4};

tests! {
    alone fifty_thousand_hostile_frames_a_second_change_nothing,
}

const RATE: u32 = 50_000;
const DURING: Duration = Duration::from_secs(10);
/// The version 2 router with the password, and its address.
const GUARDED: u8 = 52;
const VIP2: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 101));

fn fifty_thousand_hostile_frames_a_second_change_nothing() -> Result<()> {
    let routers = [
        Router::new("web", 51, &[VIP4], &[("a", 110), ("b", 100)]),
        Router {
            version: 2,
            interval: Duration::from_secs(1),
            password: Some("s3cret".to_owned()),
            ..Router::new("guarded", GUARDED, &[VIP2], &[("a", 110), ("b", 100)])
        },
    ];
    let mut scene = Scene::start(&["a", "b", "x"], 1, &routers)?;
    // The third node is the attacker.
    drop(scene.agents.pop());
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    let (a, x) = (scene.lab.node("a")?.clone(), scene.lab.node("x")?.clone());
    scene.capture.ignore(x.mac(0))?;
    let before = [
        scene.agent("a")?.router("web")?,
        scene.agent("b")?.router("web")?,
    ];
    let guarded = scene.agent("a")?.router("guarded")?;

    let begun = Moment::now();
    let sent = Sender::new(&x, 0)?.flood(&hostile(&x)?, RATE, DURING)?;
    // Otherwise nothing was shown: the machine is too slow, or too busy, for this test.
    let least = RATE as usize * 10 * 9 / 10;
    ensure!(sent >= least, "sent only {sent} of {}", RATE * 10);

    for router in &routers {
        let interval = router.interval;
        let ours = scene.capture.from_sender(router.vrid, a.mac(0), begun);
        let gap = longest_gap(&ours);
        ensure!(gap <= interval * 2, "{}: {gap:?} apart", router.name);
        let enough = DURING.as_millis() / interval.as_millis() * 9 / 10;
        ensure!(ours.len() as u128 >= enough, "{} of {enough}", ours.len());
    }
    let after = [
        scene.agent("a")?.router("web")?,
        scene.agent("b")?.router("web")?,
    ];
    for (before, after) in before.iter().zip(&after) {
        ensure!(
            before.transitions == after.transitions,
            "{before:?}\n{after:?}"
        );
        counted(before, after, "checksumErrors")?;
        counted(before, after, "advertisementsReceived")?;
    }
    let state = scene.agent("a")?.router("guarded")?;
    ensure!(state.transitions == guarded.transitions, "{state:?}");
    counted(&guarded, &state, "authenticationFailures")?;
    for router in &routers {
        scene.await_active(router, "a")?;
    }
    scene.lab.meter(VIP4)?.await_answers(SOON)
}

/// A third each: bad checksum, bad password, valid with a lower priority.
fn hostile(x: &Node) -> Result<Vec<Vec<u8>>> {
    let valid = Forgery::new(x.mac(0), x.ipv4(0).into(), 51, &[VIP4]);
    let bad_password = Forgery {
        vrid: GUARDED,
        addresses: vec![VIP2],
        body: Body::V2 {
            seconds: 1,
            password: Some(*b"guessed\0"),
        },
        ..valid.clone()
    };
    let bad_checksum = valid.frame_with(|message| message[6] ^= 0x55)?;
    Ok(vec![bad_checksum, bad_password.frame()?, valid.frame()?])
}

/// A reason must have counted at least half of what was sent: a socket may drop under such a flood, on a busy
/// machine.
fn counted(before: &RouterState, after: &RouterState, counter: &str) -> Result<()> {
    let counted = after.count(counter)? - before.count(counter)?;
    let third = u64::from(RATE) * 10 / 3;
    ensure!(counted >= third / 2, "{counter}: {counted} of {third}");
    Ok(())
}
