//! The lab itself, with keepalived alone: what it measures must be right before anything of ours is measured.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipkeeper_e2e::capture::longest_gap;
use vipkeeper_e2e::keepalived::Instance;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Forgery, Keepalived, Moment, Node, Sender, namespace, tests};

use crate::machine;

tests! {
    alone a_client_loses_no_probe_to_a_node_that_lives,
    alone the_death_of_a_keepalived_node_is_seen_in_frames_and_in_the_gap,
    beside two_segments_are_apart,
    beside a_forged_frame_reaches_the_segment_as_it_was_made,
    beside an_interrupted_lab_leaves_nothing,
    beside a_skip_is_counted_and_fails_where_its_rung_is_required,
    beside a_killed_labs_remains_are_swept_by_the_next_one,
}

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const INTERVAL: Duration = Duration::from_millis(100);
const TOLERANCE: Duration = Duration::from_millis(100);

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
    let five_seconds = Duration::from_secs(5);
    capture.await_announcement(VIP, Moment::BOOT, five_seconds)?;
    // Only now: of two that start at once both may announce, and the client believes the last.
    let daemon_b = start(b, 100)?;
    wait::until("b Backup", five_seconds, || {
        let log = daemon_b.log();
        Ok(Seen::when(log, |log| log.contains("Entering BACKUP STATE")).map(|_| ()))
    })?;
    let meter = lab.meter(VIP)?;
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
    ensure!(took <= bound + machine::SLACK, "{took:?}");
    // The client sees the outage a little later than it begins, and its end a little after the frames.
    let (shortest, longest) = (took - TOLERANCE, took + TOLERANCE);
    ensure!(gaps.outages.len() == 1, "{gaps:?}");
    ensure!(
        (shortest..longest).contains(&gaps.longest()),
        "{gaps} {took:?}"
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

fn a_forged_frame_reaches_the_segment_as_it_was_made() -> Result<()> {
    let lab = machine::lab(&["x"], 1)?;
    let x = lab.node("x")?;
    let capture = lab.capture(0)?;
    let frame = Forgery::new(x.mac(0), x.ipv4(0).into(), 7, &[VIP]).frame()?;
    let begun = Moment::now();
    Sender::new(x, 0)?.send(&frame)?;
    let second = Duration::from_secs(1);
    let sent = capture.await_advertisement("the forgery", 7, begun, second, |_| true)?;
    ensure!(sent.advertisement.addresses == [VIP] && sent.advertisement.ttl == 255);
    ensure!(capture.frames().iter().any(|seen| seen.bytes == frame));
    capture.ignore(x.mac(0))?;
    let during = Duration::from_millis(200);
    let flooded = Sender::new(x, 0)?.flood(&[frame], 10_000, during)?;
    ensure!((1_500..=2_000).contains(&flooded), "{flooded}");
    ensure!(capture.advertisements(7).len() == 1);
    Ok(())
}

fn an_interrupted_lab_leaves_nothing() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut lab, prefix) = open_lab()?;
        // Waiting would close it, and the lab end by itself.
        let _open = lab.stdin.take();
        kill(Pid::from_raw(lab.id().cast_signed()), signal)?;
        let status = lab.wait()?;
        ensure!(status.code() == Some(128 + signal as i32), "{status}");
        ensure!(namespace::named(&prefix).is_empty(), "{prefix}");
        ensure!(!std::env::temp_dir().join(format!("{prefix}0")).exists());
    }
    Ok(())
}

fn a_killed_labs_remains_are_swept_by_the_next_one() -> Result<()> {
    let (mut lab, prefix) = open_lab()?;
    lab.kill()?;
    lab.wait()?;
    let _next = machine::lab(&["a"], 1)?;
    ensure!(namespace::named(&prefix).is_empty(), "{prefix}");
    ensure!(!std::env::temp_dir().join(format!("{prefix}0")).exists());
    Ok(())
}

/// A lab in another process, ready, and what its names begin with.
fn open_lab() -> Result<(Child, String)> {
    machine::need_root()?;
    let mut lab = Command::new(env!("CARGO_BIN_EXE_vipkeeper-lab"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let prefix = format!("vk-{}-", lab.id());
    let mut lines = BufReader::new(lab.stdout.take().context("no output")?).lines();
    let ready = lines.any(|line| line.is_ok_and(|line| line.starts_with("files: ")));
    ensure!(ready && namespace::named(&prefix).len() == 4, "{prefix}");
    Ok((lab, prefix))
}

fn a_skip_is_counted_and_fails_where_its_rung_is_required() -> Result<()> {
    let run = |required: &str| -> Result<(bool, String)> {
        let output = Command::new(std::env::current_exe()?)
            .args([
                "--exact",
                "netns::wire::c02_c07_adverts_are_never_forwarded",
            ])
            .env_remove("VIPKEEPER_E2E_TEST")
            .env("VIPKEEPER_AGENT", "/nonexistent")
            .env("VIPKEEPER_REQUIRE", required)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.success(), text))
    };
    let (passed, text) = run("uml")?;
    ensure!(passed, "{text}");
    ensure!(
        text.contains("rung netns: 0 passed, 0 failed, 1 skipped"),
        "{text}"
    );
    ensure!(
        text.contains("no vipkeeper-agent at /nonexistent"),
        "{text}"
    );
    let (passed, text) = run("uml,netns")?;
    ensure!(!passed, "{text}");
    ensure!(
        text.contains("rung netns: 0 passed, 1 failed, 0 skipped"),
        "{text}"
    );
    Ok(())
}
