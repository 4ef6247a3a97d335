//! The lab itself, with keepalived alone: what it measures must be right before anything of ours is measured.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::capture::longest_gap;
use vipkeeper_e2e::keepalived::Instance;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Keepalived, Moment, Node, tests};

use crate::machine;

tests! {
    alone a_client_loses_no_probe_to_a_node_that_lives,
    alone the_death_of_a_keepalived_node_is_seen_in_frames_and_in_the_gap,
    beside two_segments_are_apart,
}

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 100));
const INTERVAL: Duration = Duration::from_millis(100);

fn a_client_loses_no_probe_to_a_node_that_lives() -> Result<()> {
    let lab = machine::lab(&["a"], 1)?;
    let a = lab.node("a")?;
    for target in [IpAddr::from(a.ipv4(0)), IpAddr::from(a.ipv6(0))] {
        let meter = lab.meter(target)?;
        meter.await_answers(Duration::from_secs(2))?;
        let since = Moment::now();
        wait::until("200 probes", Duration::from_secs(5), || {
            Ok(Seen::when(meter.gaps(since).sent, |sent| *sent >= 200).map(|_| ()))
        })?;
        let gaps = meter.stop(since);
        ensure!(gaps.lost == 0, "{target}: {gaps}");
    }
    Ok(())
}

fn the_death_of_a_keepalived_node_is_seen_in_frames_and_in_the_gap() -> Result<()> {
    machine::need_keepalived()?;
    let lab = machine::lab(&["a", "b"], 1)?;
    let (a, b) = (lab.node("a")?, lab.node("b")?);
    let capture = lab.capture(0)?;
    let start = |node: &Node, priority| {
        let instance = Instance {
            priority,
            interval: INTERVAL,
            ..Instance::new(51, &[VIP])
        };
        Keepalived::new(3, instance).start(node)
    };
    let mut daemon_a = start(a, 110)?;
    let _daemon_b = start(b, 100)?;
    let meter = lab.meter(VIP)?;
    capture.await_advertisement(
        "a Active",
        51,
        Moment::now(),
        Duration::from_secs(5),
        |sent| sent.source_mac == a.mac(0),
    )?;
    wait::until("a holds, b does not", Duration::from_secs(5), || {
        Ok(Seen::when((a.holds(VIP)?, b.holds(VIP)?), |held| {
            *held == (true, false)
        }))
    })?;
    meter.await_answers(Duration::from_secs(2))?;

    let died = lab.power_off(a, &mut [&mut daemon_a])?;

    let first =
        capture.await_advertisement("b Active", 51, died, Duration::from_secs(2), |sent| {
            sent.source_mac == b.mac(0)
        })?;
    let announced = capture.await_announcement(VIP, died, Duration::from_secs(2))?;
    ensure!(announced.source_mac == b.mac(0), "{announced:?}");
    meter.await_answers(Duration::from_secs(2))?;
    let gaps = meter.stop(died);
    let (bound, took) = (INTERVAL * 3 + INTERVAL * 156 / 256, first.at.since(died));
    ensure!(took <= bound + Duration::from_millis(250), "{took:?}");
    ensure!(
        gaps.outages.len() == 1 && gaps.longest() >= took,
        "{gaps:?} {took:?}"
    );
    let from_a = capture.from_sender(51, a.mac(0), Moment::BOOT);
    ensure!(
        from_a
            .iter()
            .all(|sent| sent.at <= died + Duration::from_millis(20))
    );
    ensure!(from_a.iter().all(|sent| sent.advertisement.priority == 110));
    ensure!(
        longest_gap(&from_a) < INTERVAL * 2,
        "{:?}",
        longest_gap(&from_a)
    );
    Ok(())
}

fn two_segments_are_apart() -> Result<()> {
    machine::need_keepalived()?;
    let lab = machine::lab(&["a"], 2)?;
    let a = lab.node("a")?;
    let (first, second) = (lab.capture(0)?, lab.capture(1)?);
    let instance = Instance {
        interface: a.interface(1),
        interval: INTERVAL,
        ..Instance::new(52, &[IpAddr::from([198, 51, 100, 100])])
    };
    let _daemon = Keepalived::new(3, instance).start(a)?;
    let begun = Moment::now();
    let sent = second.await_advertisement("it", 52, begun, Duration::from_secs(5), |_| true)?;
    ensure!(sent.source_mac == a.mac(1), "{sent:?}");
    ensure!(first.advertisements(52).is_empty());
    Ok(())
}
