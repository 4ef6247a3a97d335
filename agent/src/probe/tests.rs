use std::collections::HashSet;

use vipkeeper_crds::node_server::NodeProbe;

use super::*;

/// A probe of `kind`, which is YAML's tag and members as JSON.
pub(super) fn probe(kind: serde_json::Value) -> NodeProbe {
    serde_json::from_value(serde_json::json!({
        "name": "p",
        "kind": kind,
        "interval": "5s",
        "timeout": "3s",
        "rise": 1,
        "fall": 3,
        "delayAfterFailure": "5s",
    }))
    .unwrap()
}

fn server(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn count(probes: &[NodeProbe], servers: &[&str]) -> usize {
    let all = probes
        .iter()
        .flat_map(|probe| Target::each(probe, servers.iter().map(|text| server(text))));
    all.collect::<HashSet<_>>().len()
}

#[test]
fn the_same_question_to_the_same_place_is_one_target_whatever_its_name() {
    let first = probe(serde_json::json!({"type": "TCP"}));
    let mut second = first.clone();
    second.name = "another".to_owned();
    assert_eq!(count(&[first, second], &["192.0.2.1:80"]), 1);
}

#[test]
fn whatever_changes_a_probe_makes_another_target() {
    let first = probe(serde_json::json!({"type": "TCP"}));
    let edits: [fn(&mut NodeProbe); 9] = [
        |p| p.kind = ProbeKind::Ping,
        |p| p.interval = vipkeeper_crds::Duration::from_secs(6),
        |p| p.timeout = vipkeeper_crds::Duration::from_secs(4),
        |p| p.rise = 2,
        |p| p.fall = 2,
        |p| p.delay_after_failure = vipkeeper_crds::Duration::from_secs(1),
        |p| p.source = Some(IpAddr::from([192, 0, 2, 9])),
        |p| p.interface = Some("eth0".to_owned()),
        |p| p.mark = NonZeroU32::new(7),
    ];
    for edit in edits {
        let mut second = first.clone();
        edit(&mut second);
        assert_eq!(count(&[first.clone(), second], &["192.0.2.1:80"]), 2);
    }
    assert_eq!(
        count(
            &[first],
            &["192.0.2.1:80", "192.0.2.1:81", "[2001:db8::1]:80"]
        ),
        3
    );
}

#[test]
fn the_probes_own_address_and_port_go_before_the_real_servers() {
    let mut probe = probe(serde_json::json!({"type": "TCP"}));
    probe.address = Some(IpAddr::from([198, 51, 100, 7]));
    probe.port = Some(8080);
    let target = Target::of(&probe, server("192.0.2.1:80"));
    assert_eq!(
        (target.address(), target.port()),
        ([198, 51, 100, 7].into(), 8080)
    );
    assert_eq!(count(&[probe], &["192.0.2.1:80", "192.0.2.2:80"]), 1);
}

#[test]
fn what_is_not_asked_does_not_keep_targets_apart() {
    let ping = probe(serde_json::json!({"type": "Ping"}));
    assert_eq!(
        count(&[ping], &["192.0.2.1:80", "192.0.2.1:443", "192.0.2.2:80"]),
        2
    );
    let file =
        probe(serde_json::json!({"type": "File", "path": "/run/up", "dynamicWeight": false}));
    assert_eq!(count(&[file], &["192.0.2.1:80", "192.0.2.2:443"]), 1);
}
