//! The bytes an agent puts on the wire, against literals worked out by hand from the RFCs.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipkeeper_e2e::capture::Frame;
use vipkeeper_e2e::frame::Content;
use vipkeeper_e2e::manifest::Router;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Moment, tests};

use crate::scene::{SOON, Scene, VIP4, VIP6};

tests! {
    beside c01_c03_c05_c80_ipv4_adverts_are_as_the_rfc_writes_them,
    beside c06_c08_c10_c80_ipv6_adverts_are_as_the_rfc_writes_them,
    beside c48_a_new_active_advertises_and_then_announces_each_address,
    beside c01_a_changed_primary_address_is_the_next_source_and_none_means_silence,
    beside c02_c07_adverts_are_never_forwarded,
    beside priority_zero_is_the_last_word_of_a_leaving_active,
}

const A110: &[(&str, u8)] = &[("a", 110)];

/// The IP payload of each advertisement that `frames` hold for a VRID.
fn messages(frames: &[Frame], vrid: u8) -> Vec<String> {
    let message = |frame: &Frame| match &frame.content {
        Content::Advertisement(sent) if sent.vrid == vrid => Some(hex(&sent.message)),
        Content::Advertisement(_)
        | Content::Arp(_)
        | Content::NeighbourAdvertisement(_)
        | Content::Other => None,
    };
    frames.iter().filter_map(message).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn c01_c03_c05_c80_ipv4_adverts_are_as_the_rfc_writes_them() -> Result<()> {
    let last = |last| -> [IpAddr; 1] { [Ipv4Addr::new(192, 0, 2, last).into()] };
    let v3 = |name, vrid, address, checksum| Router {
        checksum,
        ..Router::new(name, vrid, &last(address), A110)
    };
    let v2 = |name, vrid, address, password: Option<&str>| Router {
        version: 2,
        interval: Duration::from_secs(1),
        password: password.map(str::to_owned),
        ..Router::new(name, vrid, &last(address), A110)
    };
    let routers = [
        v3("rfc9568", 51, 100, Some("RFC9568")),
        v3("rfc5798", 52, 100 + 1, Some("RFC5798")),
        v3("auto", 53, 100 + 2, None),
        v2("plain", 54, 100 + 3, None),
        v2("password", 55, 100 + 4, Some("s3cret")),
    ];
    let expected: [(u8, &[&str]); 5] = [
        (51, &["31336e01000a9e5cc0000264"]),
        (52, &["31346e01000afbc9c0000265"]),
        // Both forms, until a peer teaches one.
        (
            53,
            &["31356e01000a9e58c0000266", "31356e01000afbc7c0000266"],
        ),
        (54, &["21366e010001ae5fc00002670000000000000000"]),
        (55, &["21376e0101017143c00002687333637265740000"]),
    ];
    let scene = Scene::start(&["a"], 1, &routers)?;
    let everything = wait::until("every router's advertisements", SOON, || {
        let frames = scene.capture.frames();
        let seen = expected
            .iter()
            .map(|(vrid, _)| messages(&frames, *vrid).len());
        Ok(Seen::when(seen.collect::<Vec<_>>(), |seen| {
            seen.iter().all(|count| *count >= 2)
        })
        .map(|_| frames))
    })?;
    for (vrid, forms) in expected {
        for message in messages(&everything, vrid) {
            ensure!(forms.contains(&message.as_str()), "VRID {vrid}: {message}");
        }
        for form in forms {
            ensure!(
                messages(&everything, vrid).iter().any(|m| m == form),
                "{form}"
            );
        }
    }
    for frame in &everything {
        let Content::Advertisement(_) = &frame.content else {
            continue;
        };
        let text = hex(&frame.bytes);
        // Group's and interface's MAC; version 4, no options, TOS 0xC0; TTL 255, protocol 112; primary address of
        // the interface to the group.
        ensure!(
            text.starts_with("01005e000012020000000001080045c0"),
            "{text}"
        );
        ensure!(text.get(44..48) == Some("ff70"), "{text}");
        ensure!(text.get(52..68) == Some("c0000201e0000012"), "{text}");
        let header = frame.bytes.get(14..34).context("no IPv4 header")?;
        let sum: u32 = header
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
            .sum();
        ensure!(
            (sum & 0xffff) + (sum >> 16) == 0xffff,
            "header checksum: {text}"
        );
    }
    Ok(())
}

fn c06_c08_c10_c80_ipv6_adverts_are_as_the_rfc_writes_them() -> Result<()> {
    let router = Router::new("web", 51, &[VIP6], A110);
    let scene = Scene::start(&["a"], 1, &[router])?;
    let frame = wait::until("an advertisement", SOON, || {
        let mut frames = scene.capture.frames().into_iter();
        let found = frames.find(|f| matches!(f.content, Content::Advertisement(_)));
        Ok(found.map_or(Seen::NotYet("none".to_owned()), Seen::Yes))
    })?;
    let text = hex(&frame.bytes);
    // Group's and interface's MAC; traffic class 0xC0, any flow label.
    ensure!(
        text.starts_with("33330000001202000000000186dd6c0"),
        "{text}"
    );
    // 24 bytes, next header 112, hop limit 255; link-local source, the group; the message with its checksum.
    let rest = "001870ff\
                fe800000000000000000000000000001ff020000000000000000000000000012\
                31336e01000a33e920010db8000000000000000000000100";
    ensure!(text.get(36..) == Some(rest), "{text}");
    Ok(())
}

fn c48_a_new_active_advertises_and_then_announces_each_address() -> Result<()> {
    let more: IpAddr = Ipv4Addr::new(192, 0, 2, 101).into();
    let routers = [
        Router::new("web4", 51, &[VIP4, more], A110),
        Router::new("web6", 52, &[VIP6], A110),
    ];
    let scene = Scene::start(&["a"], 1, &routers)?;
    let a = scene.lab.node("a")?;
    for router in &routers {
        let advertised = scene.await_sent(router.vrid, a, Moment::BOOT, SOON)?;
        for address in &router.addresses {
            let announced = scene
                .capture
                .await_announcement(*address, Moment::BOOT, SOON)?;
            ensure!(announced.at >= advertised.at, "{address} before VRRP");
            // The first at once, the second after 20 ms.
            let late = announced.at.since(advertised.at);
            ensure!(late <= crate::machine::SLACK, "{address} after {late:?}");
        }
    }
    // 0, 20, 100, 500 ms.
    let early = Moment::now() + Duration::from_millis(700);
    wait::until("four announcements of an address", SOON, || {
        let sent = scene.capture.announcements(VIP4, Moment::BOOT);
        Ok(Seen::when(sent.len(), |sent| *sent >= 4).map(|_| ()))
    })?;
    ensure!(Moment::now() <= early + crate::machine::SLACK);
    let garp = &scene.capture.announcements(VIP4, Moment::BOOT)[0];
    let text = hex(&garp.bytes);
    let request = "ffffffffffff0200000000010806000108000604000102\
                   0000000001c0000264020000000001c0000264";
    let reply = request.replacen("06040001", "06040002", 1);
    ensure!(
        text.starts_with(request) || text.starts_with(&reply),
        "{text}"
    );
    let na = &scene.capture.announcements(VIP6, Moment::BOOT)[0];
    let Content::NeighbourAdvertisement(read) = &na.content else {
        anyhow::bail!("{na:?}");
    };
    ensure!(
        read.overrides && read.link_layer == Some(a.mac(0)),
        "{read:?}"
    );
    let text = hex(&na.bytes);
    ensure!(text.starts_with("33330000000102000000000186dd6"), "{text}");
    // 32 bytes of ICMPv6, hop limit 255.
    ensure!(text.get(36..44) == Some("00203aff"), "{text}");
    Ok(())
}

fn c01_a_changed_primary_address_is_the_next_source_and_none_means_silence() -> Result<()> {
    let router = Router {
        interface: Some("eth0".to_owned()),
        ..Router::new("web", 51, &[VIP4], A110)
    };
    let mut scene = Scene::start(&["a"], 1, &[router])?;
    let a = scene.lab.node("a")?.clone();
    scene.await_sent(51, &a, Moment::BOOT, SOON)?;
    let ip = |lines: &str| a.namespace().ip(lines);

    ip(
        "addr add 192.0.2.77/24 dev eth0\naddr del 192.0.2.1/24 dev eth0\naddr replace 192.0.2.77/24 dev eth0\n",
    )?;
    let changed = Moment::now();
    let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
    let what = "an advertisement from the new address";
    scene
        .capture
        .await_advertisement(what, 51, changed, SOON, |sent| {
            sent.advertisement.source == source
        })?;

    ip("addr del 192.0.2.77/24 dev eth0\n")?;
    let agent: &mut Agent = scene.agent("a")?;
    let left = agent.await_state("web", "Initialize", SOON)?;
    ensure!(left.last_reason == "SourceMissing", "{left:?}");
    let silent = Moment::now();
    let quiet = Duration::from_millis(500);
    wait::while_holds("silence", quiet, || {
        let sent = scene.capture.from_sender(51, a.mac(0), silent);
        Ok(Seen::when(sent, Vec::is_empty).map(|_| ()))
    })
}

fn c02_c07_adverts_are_never_forwarded() -> Result<()> {
    let routers = [
        Router::new("web4", 51, &[VIP4], A110),
        Router::new("web6", 51, &[VIP6], A110),
    ];
    // b is a router between the segments.
    let scene = Scene::start(&["a", "b"], 2, &routers)?;
    let beyond = scene.lab.capture(1)?;
    scene
        .lab
        .node("b")?
        .namespace()
        .sysctl(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
    let begun = Moment::now();
    wait::until("ten advertisements of both families", SOON, || {
        let a = scene.lab.node("a")?.mac(0);
        let sent = scene.capture.from_sender(51, a, begun);
        let of_ipv6 = |sent: &vipkeeper_e2e::capture::Sent| sent.advertisement.source.is_ipv6();
        let count = sent.iter().filter(|sent| of_ipv6(sent)).count();
        let counts = (count, sent.len() - count);
        Ok(Seen::when(counts, |(v6, v4)| *v6 >= 10 && *v4 >= 10).map(|_| ()))
    })?;
    ensure!(beyond.advertisements(51).is_empty());
    Ok(())
}

fn priority_zero_is_the_last_word_of_a_leaving_active() -> Result<()> {
    let router = Router {
        checksum: Some("RFC9568"),
        ..Router::new("web", 51, &[VIP4], A110)
    };
    let mut scene = Scene::start(&["a"], 1, &[router])?;
    scene.agent("a")?.await_state("web", "Active", SOON)?;
    scene.agent("a")?.process_mut().stop(SOON)?;
    let last = wait::until("priority 0", SOON, || {
        let last = messages(&scene.capture.frames(), 51).pop();
        let zero = |last: &String| last.starts_with("313300");
        Ok(Seen::when(last.unwrap_or_default(), zero))
    })?;
    ensure!(last == "31330001000a0c5dc0000264", "{last}");
    Ok(())
}
