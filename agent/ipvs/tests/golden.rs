//! What ipvsadm said to a real kernel and what the kernel answered, against what this crate writes and reads.
//!
//! `golden/cases` lists the commands, `golden/NAME.hex` has the bytes of each, recorded in a User Mode Linux guest by
//! `agent/netlink/tests/record` (see there). They are little-endian, as is every machine that runs these tests.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the recorded bytes are in files")]

mod recording;

use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};

use recording::{FAMILY, Recording, emitted};
use vipkeeper_ipvs::*;

#[test]
fn ipvs_is_asked_for_and_answers_with_its_number() {
    let recording = Recording::read("info");
    let mut bytes = Vec::new();
    emit_family_request(recording.sequence(0), &mut bytes);
    assert_eq!(bytes, recording.request(0));
    let contents = recording.contents();
    assert_eq!(contents[0], Content::Family(FAMILY));
    recording.asks(&[(2, Request::GetInfo), (4, Request::GetTimeouts)]);
    let info = Info {
        version: Version(0x01_02_01),
        connection_table_size: 0,
    };
    let timeouts = Timeouts {
        tcp: 900,
        tcp_fin: 120,
        udp: 300,
    };
    assert!(contents.contains(&Content::Info(info)));
    assert!(contents.contains(&Content::Timeouts(timeouts)));
}

#[test]
fn services_of_every_protocol_and_family() {
    for (name, service) in [
        ("service-tcp", service("TCP", "192.0.2.1", 80, "wlc")),
        ("service-tcp6", service("TCP", "2001:db8::1", 80, "wrr")),
        ("service-udp6", service("UDP", "2001:db8::1", 53, "lc")),
        ("service-sctp", service("SCTP", "192.0.2.1", 2905, "sed")),
    ] {
        let recording = Recording::read(name);
        recording.asks(&[
            (0, Request::NewService(service)),
            (1, Request::GetService(service.key)),
            (2, Request::DumpDestinations(service.key)),
        ]);
        assert_eq!(recording.services(), [service], "{name}");
    }
    let tcp = service("TCP", "192.0.2.1", 80, "rr");
    Recording::read("service-tcp").asks(&[
        (3, Request::SetService(tcp)),
        (4, Request::DeleteService(tcp.key)),
    ]);
}

#[test]
fn services_of_a_mark() {
    let recording = Recording::read("service-mark");
    let of = |family, scheduler: &str| Service {
        key: ServiceKey::Mark {
            family,
            mark: NonZeroU32::new(7).unwrap(),
        },
        ..service("TCP", "192.0.2.1", 0, scheduler)
    };
    let (v4, v6) = (of(Family::V4, "nq"), of(Family::V6, "fo"));
    recording.asks(&[
        (0, Request::NewService(v4)),
        (1, Request::NewService(v6)),
        (2, Request::GetService(v4.key)),
        (3, Request::DumpDestinations(v4.key)),
        (4, Request::GetService(v6.key)),
        (6, Request::DeleteService(v4.key)),
        (7, Request::DeleteService(v6.key)),
    ]);
    assert_eq!(recording.services(), [v4, v6]);
}

#[test]
fn persistence_with_masks_and_engines() {
    let persistent = |address: &str, port, timeout, length| {
        let service = service("TCP", address, port, "wlc");
        let netmask = Netmask::prefix(service.key.family(), length).unwrap();
        let persistence = Some(Persistence { timeout, netmask });
        Service {
            persistence,
            ..service
        }
    };
    let recording = Recording::read("service-persistent");
    let expected = [
        persistent("192.0.2.1", 443, 600, 24),
        persistent("192.0.2.1", 0, 300, 32),
        persistent("2001:db8::1", 443, 600, 64),
    ];
    recording.asks(&[
        (0, Request::NewService(expected[0])),
        (3, Request::NewService(expected[1])),
        (6, Request::NewService(expected[2])),
    ]);
    let services = recording.services();
    assert_eq!(services[..3], expected);
    // A mask with holes is kept as it is, and written back the same.
    let holed = services[3];
    assert_eq!(holed.persistence.unwrap().netmask.length(), None);
    recording.asks(&[(9, Request::NewService(holed))]);

    let recording = Recording::read("service-engine");
    let sip = Service {
        engine: Some(EngineName::new("sip").unwrap()),
        persistence: Some(Persistence {
            timeout: 60,
            netmask: Netmask::whole(Family::V4),
        }),
        ..service("UDP", "192.0.2.1", 5060, "wlc")
    };
    recording.asks(&[(0, Request::NewService(sip))]);
    assert_eq!(recording.services(), [sip]);
}

#[test]
fn flags_of_services_and_schedulers() {
    let flagged = |protocol, port, scheduler, flags| Service {
        flags,
        ..service(protocol, "192.0.2.1", port, scheduler)
    };
    let none = ServiceFlags::default();
    let one_packet = ServiceFlags {
        one_packet: true,
        ..none
    };
    let both = ServiceFlags {
        scheduler_1: true,
        scheduler_2: true,
        ..none
    };
    let first = ServiceFlags {
        scheduler_1: true,
        ..none
    };
    let second = ServiceFlags {
        scheduler_2: true,
        ..none
    };
    let third = ServiceFlags {
        scheduler_3: true,
        ..none
    };

    let recording = Recording::read("service-udp");
    let udp = flagged("UDP", 53, "rr", one_packet);
    recording.asks(&[(0, Request::NewService(udp))]);
    assert_eq!(recording.services(), [udp]);

    let recording = Recording::read("service-hash");
    let sh = flagged("TCP", 80, "sh", both);
    let mh = flagged("TCP", 83, "mh", third);
    recording.asks(&[
        (0, Request::NewService(sh)),
        (3, Request::NewService(flagged("TCP", 81, "mh", first))),
        (4, Request::NewService(flagged("TCP", 82, "mh", second))),
        (5, Request::NewService(mh)),
    ]);
    assert_eq!(recording.services(), [sh, mh]);
}

#[test]
fn destinations_of_every_method() {
    let recording = Recording::read("destination-methods");
    let key = service("TCP", "192.0.2.1", 80, "wlc").key;
    let expected = [
        destination("198.51.100.1", 8080, Forwarding::Masquerade, 3),
        destination("198.51.100.2", 80, Forwarding::DirectRoute, 0),
        destination("198.51.100.3", 80, Forwarding::Tunnel(Tunnel::Ipip), 65_535),
        destination("127.0.0.1", 80, Forwarding::Masquerade, 1),
    ];
    for (at, destination) in expected.into_iter().enumerate() {
        recording.asks(&[(at, Request::NewDestination(key, destination))]);
    }
    assert_eq!(sorted(recording.destinations()), sorted(expected.to_vec()));
}

#[test]
fn destinations_of_every_tunnel() {
    let recording = Recording::read("destination-tunnels");
    let key = service("TCP", "192.0.2.1", 80, "wlc").key;
    let port = NonZeroU16::new(6080).unwrap();
    let gue = |checksum| Tunnel::Gue { port, checksum };
    let gre = |checksum| Tunnel::Gre { checksum };
    let expected: Vec<_> = [
        ("198.51.100.1", gue(TunnelChecksum::None)),
        ("198.51.100.2", gue(TunnelChecksum::Full)),
        ("198.51.100.3", gue(TunnelChecksum::Remote)),
        ("198.51.100.4", gre(TunnelChecksum::None)),
        ("198.51.100.5", gre(TunnelChecksum::Full)),
    ]
    .map(|(address, tunnel)| destination(address, 80, Forwarding::Tunnel(tunnel), 1))
    .to_vec();
    for (at, destination) in expected.iter().enumerate() {
        recording.asks(&[(at, Request::NewDestination(key, *destination))]);
    }
    assert_eq!(sorted(recording.destinations()), sorted(expected));
}

#[test]
fn destinations_of_both_families() {
    let recording = Recording::read("destination-families");
    let v4 = service("TCP", "192.0.2.1", 80, "wlc").key;
    let v6 = service("TCP", "2001:db8::1", 80, "wlc").key;
    let ipip = Forwarding::Tunnel(Tunnel::Ipip);
    let expected = [
        (
            v6,
            destination("2001:db8:1::1", 8080, Forwarding::Masquerade, 1),
        ),
        (v4, destination("2001:db8:1::2", 80, ipip, 1)),
        (v6, destination("198.51.100.1", 80, ipip, 1)),
    ];
    for (at, (key, destination)) in expected.into_iter().enumerate() {
        recording.asks(&[(at, Request::NewDestination(key, destination))]);
    }
    let all = expected.map(|(_, destination)| destination).to_vec();
    assert_eq!(sorted(recording.destinations()), sorted(all));
}

#[test]
fn thresholds_changes_and_removal() {
    let recording = Recording::read("destination-thresholds");
    let key = service("TCP", "192.0.2.1", 80, "wlc").key;
    let first = Destination {
        upper_threshold: 1000,
        lower_threshold: 800,
        ..destination("198.51.100.1", 80, Forwarding::Masquerade, 1)
    };
    let second = Destination {
        weight: 5,
        upper_threshold: 2000,
        lower_threshold: 0,
        ..first
    };
    recording.asks(&[
        (0, Request::NewDestination(key, first)),
        (1, Request::SetDestination(key, second)),
        (4, Request::DeleteDestination(key, second.key)),
    ]);
    assert_eq!(recording.destinations(), [second]);

    let mark = ServiceKey::Mark {
        family: Family::V4,
        mark: NonZeroU32::new(7).unwrap(),
    };
    let direct = destination("198.51.100.1", 0, Forwarding::DirectRoute, 1);
    Recording::read("destination-mark").asks(&[
        (0, Request::NewDestination(mark, direct)),
        (1, Request::DeleteDestination(mark, direct.key)),
    ]);
}

#[test]
fn one_that_is_answered_by_refusals_alone_is_the_same_otherwise() {
    let key = service("TCP", "192.0.2.1", 80, "wlc").key;
    let request = Request::DeleteService(key);
    let mut quiet = Vec::new();
    request.emit_quietly(FAMILY, 7, &mut quiet);
    let mut asking = emitted(&request, 7);
    // NLM_F_ACK in the flags of the header (linux/netlink.h).
    assert_eq!(asking[6] & 0x4, 0x4);
    asking[6] &= !0x4;
    assert_eq!(quiet, asking);
}

#[test]
fn dumps_of_several_datagrams() {
    let recording = Recording::read("services");
    recording.asks(&[(0, Request::DumpServices)]);
    assert_eq!(recording.services().len(), 4);
    assert_eq!(recording.destinations().len(), 2);

    let recording = Recording::read("services-many");
    let ports: std::collections::BTreeSet<_> = recording
        .services()
        .into_iter()
        .map(|service| service.key)
        .collect();
    assert_eq!(ports.len(), 60);
    let ends = |content: &&Content| **content == Content::Done;
    assert_eq!(recording.contents().iter().filter(ends).count(), 61);
}

#[test]
fn statistics_after_three_connections() {
    let recording = Recording::read("statistics");
    let key = service("TCP", "192.0.2.1", 80, "rr").key;
    recording.asks(&[(2, Request::Zero(key))]);
    let (mut services, mut destinations) = (Vec::new(), Vec::new());
    for content in recording.contents() {
        if let Content::Service(service) = content {
            services.push(service.statistics);
        } else if let Content::Destination(destination) = content
            && destination.destination.key.port == 8080
        {
            destinations.push(destination);
        }
    }
    // Each connection: SYN, ACK, request, ACK of the answer, FIN, ACK; the first three times 52 or 60 bytes.
    let [before, after] = services[..] else {
        panic!("{services:?}");
    };
    assert_eq!(before.connections, 3);
    assert_eq!(before, destinations[0].statistics);
    assert!((15..=21).contains(&before.incoming_packets), "{before:?}");
    assert!((12..=21).contains(&before.outgoing_packets), "{before:?}");
    assert!(
        before.incoming_bytes > before.incoming_packets * 52,
        "{before:?}"
    );
    assert!(
        before.incoming_byte_rate > before.incoming_packet_rate,
        "{before:?}"
    );
    assert_eq!((after.connections, after.incoming_bytes), (0, 0));
    let counters = destinations[0].counters;
    assert_eq!(
        (counters.active + counters.inactive, counters.persistent),
        (3, 1)
    );
}

#[test]
fn timeouts_are_set() {
    let recording = Recording::read("timeouts");
    let timeouts = |tcp, tcp_fin, udp| Timeouts { tcp, tcp_fin, udp };
    recording.asks(&[
        (0, Request::SetTimeouts(timeouts(1000, 60, 30))),
        (1, Request::GetTimeouts),
        (2, Request::SetTimeouts(timeouts(900, 0, 0))),
    ]);
    assert!(
        recording
            .contents()
            .contains(&Content::Timeouts(timeouts(1000, 60, 30)))
    );
}

#[test]
fn sync_daemons() {
    let recording = Recording::read("daemons");
    let plain = Daemon {
        role: DaemonRole::Master,
        interface: InterfaceName::new("vk0").unwrap(),
        sync_id: 0,
        longest_message: None,
        group: None,
        port: None,
        ttl: None,
    };
    let told = |length, group: &str, port, ttl| Daemon {
        longest_message: NonZeroU16::new(length),
        group: Some(group.parse().unwrap()),
        port: NonZeroU16::new(port),
        ttl: NonZeroU8::new(ttl),
        ..plain
    };
    let backup = Daemon {
        role: DaemonRole::Backup,
        sync_id: 7,
        ..told(1400, "224.0.0.82", 8849, 2)
    };
    let v6 = Daemon {
        sync_id: 1,
        group: Some("ff02::81".parse().unwrap()),
        ..plain
    };
    recording.asks(&[
        (0, Request::NewDaemon(plain)),
        (1, Request::NewDaemon(backup)),
        (2, Request::DumpDaemons),
        (3, Request::DeleteDaemon(DaemonRole::Master)),
        (4, Request::DeleteDaemon(DaemonRole::Backup)),
        (5, Request::NewDaemon(v6)),
    ]);
    let daemons: Vec<_> = recording
        .contents()
        .into_iter()
        .filter_map(|content| {
            let Content::Daemon(daemon) = content else {
                return None;
            };
            Some(daemon)
        })
        .collect();
    let v6 = Daemon {
        sync_id: 1,
        ..told(1452, "ff02::81", 8848, 1)
    };
    assert_eq!(daemons, [told(1472, "224.0.0.81", 8848, 1), backup, v6]);
}

#[test]
fn refusals_say_which_error() {
    for (name, expected) in [
        ("error-service-exists", &[Errno::EEXIST][..]),
        ("error-service-missing", &[Errno::ESRCH, Errno::ESRCH]),
        ("error-scheduler-missing", &[Errno::ENOENT, Errno::ENOENT]),
        (
            "error-destination",
            &[
                Errno::EEXIST,
                Errno::ENOENT,
                Errno::ENOENT,
                Errno::ESRCH,
                Errno::ERANGE,
            ],
        ),
        ("error-daemon", &[Errno::ENODEV, Errno::ESRCH]),
        ("error-families", &[Errno::EEXIST, Errno::EINVAL]),
    ] {
        let errors: Vec<_> = Recording::read(name)
            .contents()
            .into_iter()
            .map(|content| {
                let Content::Refused(refusal) = content else {
                    panic!("{name}: {content:?}");
                };
                refusal.errno
            })
            .collect();
        assert_eq!(errors, expected, "{name}");
    }
}

#[test]
fn nothing_recorded_is_unknown() {
    for recording in Recording::all() {
        for content in recording.contents() {
            let unknown = if let Content::Service(service) = content {
                service.unknown
            } else if let Content::Destination(destination) = content {
                destination.unknown
            } else {
                continue;
            };
            assert_eq!(unknown, [], "{}", recording.name);
        }
    }
}

#[test]
fn what_is_observed_and_written_back_is_the_same() {
    for recording in Recording::all() {
        for service in recording.services() {
            let bytes = emitted(&Request::NewService(service), 1);
            assert_eq!(
                recording::reread(&bytes),
                Some(Request::NewService(service))
            );
        }
    }
}

fn service(protocol: &str, address: &str, port: u16, scheduler: &str) -> Service {
    Service {
        key: ServiceKey::Address {
            protocol: match protocol {
                "TCP" => Protocol::Tcp,
                "UDP" => Protocol::Udp,
                "SCTP" => Protocol::Sctp,
                other => panic!("{other}"),
            },
            address: address.parse().unwrap(),
            port,
        },
        scheduler: scheduler.parse().unwrap(),
        flags: ServiceFlags::default(),
        persistence: None,
        engine: None,
    }
}

fn destination(address: &str, port: u16, forwarding: Forwarding, weight: u32) -> Destination {
    Destination {
        key: DestinationKey {
            address: address.parse::<IpAddr>().unwrap(),
            port,
        },
        forwarding,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

fn sorted(mut destinations: Vec<Destination>) -> Vec<Destination> {
    destinations.sort_by_key(|destination| destination.key);
    destinations
}
