use std::sync::Arc;

use serde_json::{Value, json};
use vipkeeper_vrrp::{
    Evidence, ForeignRouter, HeartbeatCounters, LastAdvertisement, Reason, SplitCause, Standing,
    StateName,
};
use vipkeeper_wire::Vrid;

use super::*;
use crate::inventory::Interface;

/// A router of each kind, at 100 s after boot.
pub(crate) fn snapshot() -> Snapshot {
    let eth0 = Ifindex::new(2).unwrap();
    let at = Time::from_nanos(100_000_000_000);
    let counters = RouterCounters {
        active_transitions: 1,
        advertisements_sent: 52,
        checksum_errors: 3,
        ..RouterCounters::default()
    };
    let active = RouterStatus {
        name: Arc::from("web"),
        family: Family::V4,
        vrid: Vrid::new(51).unwrap(),
        interface: Some(eth0),
        state: StateName::Active,
        since: at - Duration::from_secs(50),
        reason: Reason::NoResponse,
        member: None,
        priority: 200,
        effective_priority: 180,
        drained: false,
        remainder: None,
        addresses: vec![[192, 0, 2, 100].into(), [192, 0, 2, 101].into()],
        elsewhere: Vec::new(),
        installed: 1,
        refused: vec![[192, 0, 2, 101].into()],
        conflicts: Vec::new(),
        advertisement_interval: Duration::from_millis(250),
        active_down_interval: Duration::from_micros(804_687),
        skew_time: Duration::from_micros(54_687),
        transitions: 2,
        transitions_by_kind: vec![
            kind(StateName::Initialize, StateName::Backup, Reason::Startup),
            kind(StateName::Backup, StateName::Active, Reason::NoResponse),
        ],
        last_advertisement: None,
        evidence: vec![Standing {
            evidence: Evidence::SplitBrain {
                peer: [192, 0, 2, 3].into(),
                cause: SplitCause::Heartbeat,
                proven: true,
            },
            since: at - Duration::from_secs(5),
        }],
        counters,
    };
    let waiting = RouterStatus {
        name: Arc::from("db"),
        interface: None,
        state: StateName::Initialize,
        reason: Reason::InterfaceMissing,
        effective_priority: 200,
        addresses: vec![[192, 0, 2, 7].into()],
        elsewhere: Vec::new(),
        installed: 0,
        refused: Vec::new(),
        last_advertisement: Some(LastAdvertisement {
            from: [192, 0, 2, 1].into(),
            priority: 254,
            at: at - Duration::from_millis(73),
        }),
        evidence: Vec::new(),
        counters: RouterCounters::default(),
        ..active.clone()
    };
    Snapshot {
        at,
        routers: vec![active, waiting],
        counters: NodeCounters {
            vrid_errors: 4,
            ..NodeCounters::default()
        },
        heartbeat: HeartbeatCounters {
            sent: 400,
            received: 399,
            stale: 1,
            ..HeartbeatCounters::default()
        },
        foreign: vec![ForeignRouter {
            interface: eth0,
            family: Family::V4,
            vrid: Vrid::new(9).unwrap(),
            source: [192, 0, 2, 9].into(),
            addresses_hash: 0xbeef,
            last_heard: at - Duration::from_secs(2),
        }],
    }
}

/// The same with its surroundings.
pub(crate) fn state() -> State {
    let snapshot = snapshot();
    let eth0 = Ifindex::new(2).unwrap();
    let interface = Interface {
        index: eth0,
        running: true,
        mac: None,
        mtu: 1_500,
        addresses: Vec::new(),
        default_route_ipv4: false,
        default_route_ipv6: false,
        forwards_ipv6: false,
    };
    let inventory = Inventory {
        interfaces: [("eth0".to_owned(), interface)].into(),
    };
    // 2026-11-23T06:00:00Z.
    let wall = Duration::from_secs(1_795_413_600);
    let surroundings = Surroundings {
        node: "node-a".to_owned(),
        instance: "default".to_owned(),
        generation: Some(3),
        realtime: Realtime {
            scheduling: "SCHED_FIFO".to_owned(),
            memory_locked: true,
            reason: None,
        },
        lateness: Lateness {
            last_us: 31,
            max_us: 1_200,
        },
        health: Health {
            alive: true,
            received: 10,
            addresses_held: 1,
            ledger_rows: 6,
            addresses_refused: 1,
            ..Health::default()
        },
        heartbeat: Heartbeat {
            peers: 1,
            authenticated: true,
            refused: 2,
            ..Heartbeat::default()
        },
        servers: vec![server()],
        ipvs: Ipvs {
            operations: 7,
            ..Ipvs::default()
        },
        findings: vec![Finding {
            severity: "warning".to_owned(),
            place: "web.yaml:4:7".to_owned(),
            message: "spec.nodes: two nodes have the same priority".to_owned(),
        }],
    };
    State::new(&snapshot, &inventory, wall, surroundings)
}

/// Two real servers, one of them out.
fn server() -> Server {
    let healthy = RealServer {
        address: "10.0.0.1:8080".to_owned(),
        sorry: false,
        healthy: true,
        reason: None,
        leaving: false,
        weight: Some(2),
        trouble: None,
        active_connections: 3,
        inactive_connections: 1,
        counters: Traffic {
            connections: 40,
            incoming_packets: 400,
            outgoing_packets: 300,
            incoming_bytes: 20_000,
            outgoing_bytes: 1_000_000,
        },
    };
    let unhealthy = RealServer {
        address: "10.0.0.2:8080".to_owned(),
        healthy: false,
        reason: Some("HTTP: status 503".to_owned()),
        weight: None,
        active_connections: 0,
        inactive_connections: 0,
        counters: Traffic::default(),
        ..healthy.clone()
    };
    Server {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
        router: "web".to_owned(),
        generation: 4,
        programmed: true,
        quorum: Some(true),
        sorry: false,
        healthy: 1,
        total: 2,
        services: vec![Service {
            service: "TCP 192.0.2.100:80".to_owned(),
            scheduler: Some("wlc".to_owned()),
            programmed: true,
            trouble: None,
            quorum: Some(true),
            counters: healthy.counters,
            real_servers: vec![healthy, unhealthy],
        }],
    }
}

fn kind(from: StateName, to: StateName, reason: Reason) -> vipkeeper_vrrp::Transitions {
    vipkeeper_vrrp::Transitions {
        from,
        to,
        reason,
        count: 1,
    }
}

#[test]
fn the_documented_fields_have_their_documented_names() {
    let state = serde_json::to_value(state()).unwrap();
    let mut router = state["routers"][0].clone();
    let counters = router["counters"].take();
    assert_eq!(
        router,
        json!({
            "name": "web",
            "family": "IPv4",
            "state": "Active",
            "virtualRouterId": 51,
            "interface": "eth0",
            "priority": 200,
            "effectivePriority": 180,
            "drained": false,
            "remainder": null,
            "addresses": ["192.0.2.100", "192.0.2.101"],
            "installed": 1,
            "refused": ["192.0.2.101"],
            "conflicts": [],
            "since": "2026-11-23T05:59:10.000Z",
            "lastReason": "NoResponse",
            "transitions": 2,
            "transitionsByKind": [
                {"from": "Initialize", "to": "Backup", "reason": "Startup", "count": 1},
                {"from": "Backup", "to": "Active", "reason": "NoResponse", "count": 1},
            ],
            "advertisementIntervalMs": 250.0,
            "activeDownIntervalMs": 804.687,
            "skewTimeMs": 54.687,
            "evidence": [{
                "condition": "SplitBrain",
                "since": "2026-11-23T05:59:55.000Z",
                "peer": "192.0.2.3",
                "cause": "Heartbeat",
                "authenticated": true,
            }],
            "lastAdvertisement": null,
            "counters": null,
        })
    );
    assert_eq!(counters["activeTransitions"], 1);
    assert_eq!(counters["advertisementsSent"], 52);
    assert_eq!(counters["checksumErrors"], 3);
    assert_eq!(
        state["routers"][1]["lastAdvertisement"],
        json!({"from": "192.0.2.1", "priority": 254, "ageMs": 73})
    );
    assert_eq!(state["routers"][1]["interface"], Value::Null);
    let mut server = state["servers"][0].clone();
    let real_servers = server["services"][0]["realServers"].take();
    let traffic = json!({
        "connections": 40, "incomingPackets": 400, "outgoingPackets": 300,
        "incomingBytes": 20_000, "outgoingBytes": 1_000_000,
    });
    assert_eq!(
        server,
        json!({
            "namespace": "default", "name": "shop", "router": "web", "generation": 4,
            "programmed": true, "quorum": true, "sorry": false, "healthy": 1, "total": 2,
            "services": [{
                "service": "TCP 192.0.2.100:80", "scheduler": "wlc", "programmed": true, "quorum": true,
                "counters": traffic, "realServers": null,
            }],
        })
    );
    assert_eq!(
        real_servers[0],
        json!({
            "address": "10.0.0.1:8080", "healthy": true, "weight": 2,
            "activeConnections": 3, "inactiveConnections": 1, "counters": traffic,
        })
    );
    assert_eq!(real_servers[1]["reason"], "HTTP: status 503");
    assert_eq!(real_servers[1]["weight"], Value::Null);
    assert_eq!(state["counters"]["vridErrors"], 4);
    assert_eq!(
        state["realtime"],
        json!({"scheduling": "SCHED_FIFO", "memoryLocked": true, "reason": null})
    );
    assert_eq!(state["lateness"], json!({"lastUs": 31, "maxUs": 1200}));
    assert_eq!(
        state["foreign"][0],
        json!({
            "interface": "eth0",
            "family": "IPv4",
            "virtualRouterId": 9,
            "source": "192.0.2.9",
            "addressesHash": "000000000000beef",
            "ageMs": 2000,
        })
    );
    assert_eq!(state["findings"][0]["severity"], "warning");
    assert_eq!(
        [
            &state["node"],
            &state["instance"],
            &state["ready"],
            &state["generation"]
        ],
        [&json!("node-a"), &json!("default"), &json!(true), &json!(3)]
    );
}

#[test]
fn a_state_is_read_back_as_it_was_written() {
    let text = serde_json::to_string(&state()).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state());
}
