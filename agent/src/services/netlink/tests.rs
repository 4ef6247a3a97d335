//! On a kernel that has IPVS, as root, each in a network namespace of its own. Run with `--ignored` in a guest of the
//! rung `uml`.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use vipkeeper_ipvs::{
    Destination, DestinationKey, Family, Forwarding, Netmask, Persistence, Protocol, Service,
    Tunnel, TunnelChecksum,
};

use super::super::fake::examples::{address, destination, entry, key, service};
use super::super::reconcile::reconcile;
use super::super::table::{Entry, Table};
use super::super::upkeep::Upkeep;
use super::super::upkeep::tests::{ledger, name};
use super::*;
use crate::clock;
use crate::scratch::Directory;

fn namespace() -> Netlink {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    // Without an address there are no tables of routes, and no address is one of a machine (EINVAL).
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.unwrap().success());
    Netlink::default()
}

fn ipvsadm(arguments: &[&str]) -> String {
    let output = Command::new("ipvsadm").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A service of every protocol and family, with every scheduler, flag and kind of persistence, and real servers of
/// every method.
fn everything() -> Table {
    let schedulers = [
        "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf",
        "twos",
    ];
    let mut table = Table::default();
    for (number, scheduler) in (0u16..).zip(schedulers) {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            let v4 = IpAddr::from([192, 0, 2, 1]);
            let v6 = "2001:db8::1".parse().unwrap();
            for address in [v4, v6] {
                let mut service = service(ServiceKey::Address {
                    protocol,
                    address,
                    port: 8_000 + number,
                });
                service.scheduler = scheduler.parse().unwrap();
                service.flags.scheduler_1 = number % 2 == 1;
                service.flags.scheduler_2 = number % 3 == 1;
                service.flags.one_packet = protocol == Protocol::Udp && number % 2 == 0;
                let family = Family::of(&address);
                service.persistence = (number % 4 == 1).then(|| Persistence {
                    timeout: 300 + u32::from(number),
                    netmask: Netmask::prefix(family, family.bits() - 8).unwrap(),
                });
                table.insert(Entry::with(service, destinations(family)));
            }
        }
    }
    for family in [Family::V4, Family::V6] {
        let mark = NonZeroU32::new(7).unwrap();
        table.insert(Entry::new(service(ServiceKey::Mark { family, mark })));
    }
    table
}

fn destinations(family: Family) -> Vec<Destination> {
    let port = NonZeroU16::new(5_555).unwrap();
    let checksum = TunnelChecksum::Full;
    let methods = [
        Forwarding::Masquerade,
        Forwarding::DirectRoute,
        Forwarding::Tunnel(Tunnel::Ipip),
        Forwarding::Tunnel(Tunnel::Gue { port, checksum }),
        Forwarding::Tunnel(Tunnel::Gre { checksum }),
    ];
    let address = |number: u8| match family {
        Family::V4 => IpAddr::from([10, 0, 0, number]),
        Family::V6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::from(number)]),
    };
    let numbered = (1u8..).zip(methods);
    let destinations = numbered.map(|(number, forwarding)| Destination {
        key: DestinationKey {
            address: address(number),
            port: 80,
        },
        forwarding,
        weight: u32::from(number) - 1,
        upper_threshold: 100,
        lower_threshold: 10,
    });
    destinations.collect()
}

fn keys(table: &Table) -> BTreeSet<ServiceKey> {
    table.services().keys().copied().collect()
}

/// What `table` and the kernel differ in.
fn differences(kernel: &mut Netlink, table: &Table) -> Vec<Operation> {
    let present = kernel.dump(&keys(table)).unwrap();
    reconcile(table, &present, &keys(table))
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn real_what_is_written_is_read_again_and_nothing_differs() {
    let mut kernel = namespace();
    let table = everything();
    let operations = differences(&mut kernel, &table);
    let outcomes = kernel.apply(&operations).unwrap();
    for (operation, outcome) in operations.iter().zip(&outcomes) {
        assert_eq!(*outcome, Ok(()), "{operation:?}");
    }
    assert_eq!(differences(&mut kernel, &table), []);
    let lines = ipvsadm(&["-S", "-n"]).lines().count();
    assert_eq!(lines, operations.len());
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn real_everything_of_a_service_is_changed_in_place() {
    let mut kernel = namespace();
    let entries = [entry(80, &[(1, 1), (2, 2)])];
    let table: Table = entries.into_iter().collect();
    let operations = differences(&mut kernel, &table);
    kernel.apply(&operations).unwrap();
    let mut other: Service = service(key(80));
    other.scheduler = "mh".parse().unwrap();
    other.flags.scheduler_1 = true;
    other.persistence = Some(Persistence {
        timeout: 60,
        netmask: Netmask::prefix(Family::V4, 24).unwrap(),
    });
    other.engine = "sip".parse().ok();
    let mut direct = destination(1, 0);
    direct.forwarding = Forwarding::DirectRoute;
    for wanted in [
        Entry::with(other, [direct, destination(3, 1)]),
        entry(80, &[(1, 1), (2, 2)]),
    ] {
        let table: Table = [wanted].into_iter().collect();
        let operations = differences(&mut kernel, &table);
        let outcomes = kernel.apply(&operations).unwrap();
        assert!(
            outcomes.iter().all(Result::is_ok),
            "{operations:?} {outcomes:?}"
        );
        assert_eq!(differences(&mut kernel, &table), []);
    }
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn real_refusals_are_those_that_the_fake_makes() {
    let mut kernel = namespace();
    let mut unknown = service(key(81));
    unknown.scheduler = "nope".parse().unwrap();
    let mut without_engine = service(key(81));
    without_engine.engine = "nope".parse().ok();
    let mut heavy = destination(2, u32::MAX);
    let mut thresholds = destination(2, 1);
    thresholds.lower_threshold = 1;
    let mut mixed = destination(2, 1);
    mixed.key.address = "2001:db8::1".parse().unwrap();
    heavy.upper_threshold = 1;
    let cases = [
        (Operation::AddService(service(key(80))), None),
        (Operation::AddService(service(key(80))), Some(Errno::EEXIST)),
        (Operation::AddService(unknown), Some(Errno::ENOENT)),
        (Operation::AddService(without_engine), Some(Errno::ENOENT)),
        (Operation::SetService(service(key(81))), Some(Errno::ESRCH)),
        (Operation::DeleteService(key(81)), Some(Errno::ESRCH)),
        (Operation::AddDestination(key(80), destination(1, 1)), None),
        (
            Operation::AddDestination(key(80), destination(1, 2)),
            Some(Errno::EEXIST),
        ),
        (
            Operation::AddDestination(key(81), destination(1, 1)),
            Some(Errno::ESRCH),
        ),
        (
            Operation::AddDestination(key(80), heavy),
            Some(Errno::ERANGE),
        ),
        (
            Operation::AddDestination(key(80), thresholds),
            Some(Errno::ERANGE),
        ),
        (
            Operation::AddDestination(key(80), mixed),
            Some(Errno::EINVAL),
        ),
        (
            Operation::SetDestination(key(80), destination(2, 1)),
            Some(Errno::ENOENT),
        ),
        (
            Operation::SetDestination(key(81), destination(1, 1)),
            Some(Errno::ESRCH),
        ),
        (
            Operation::DeleteDestination(key(80), address(2)),
            Some(Errno::ENOENT),
        ),
        (
            Operation::DeleteDestination(key(81), address(1)),
            Some(Errno::ESRCH),
        ),
        (Operation::DeleteDestination(key(80), address(1)), None),
        (Operation::DeleteService(key(80)), None),
    ];
    let operations: Vec<_> = cases.iter().map(|(operation, _)| *operation).collect();
    let real = kernel.apply(&operations).unwrap();
    let mut fake = super::super::fake::Fake::default();
    fake.lacks.insert("nope".to_owned());
    let faked = fake.apply(&operations).unwrap();
    for (((operation, expected), real), faked) in cases.iter().zip(real).zip(faked) {
        let errno = real.err().map(|refusal| refusal.errno);
        assert_eq!(errno, *expected, "{operation:?}");
        let errno = faked.err().map(|refusal| refusal.errno);
        assert_eq!(errno, *expected, "the fake: {operation:?}");
    }
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn real_a_crash_a_flush_and_a_foreign_service_are_lived_with() {
    let kernel = namespace();
    let directory = Directory::new();
    ipvsadm(&["-A", "-t", "192.0.2.1:443", "-s", "rr"]);
    ipvsadm(&["-A", "-t", "192.0.2.9:80", "-s", "rr"]);
    let theirs = ipvsadm(&["-S", "-n"]);
    let wanted = [entry(80, &[(1, 1), (2, 0)]), entry(443, &[(1, 1)])];
    let table: Arc<Table> = Arc::new(wanted.into_iter().collect());
    let mut upkeep = Upkeep::new(kernel, ledger(&directory), name());
    upkeep.want(Arc::clone(&table));
    upkeep.turn(clock::now);
    let programmed = |upkeep: &Upkeep<Netlink>| {
        let observed = upkeep.observed();
        [80, 443].map(|port| observed.services[&key(port)].is_programmed)
    };
    assert_eq!(programmed(&upkeep), [true, false]);
    assert_eq!(upkeep.observed().others, 1);
    let with_ours = ipvsadm(&["-S", "-n"]);

    let mut upkeep = Upkeep::new(Netlink::default(), ledger(&directory), name());
    upkeep.want(Arc::clone(&table));
    upkeep.turn(clock::now);
    assert_eq!(upkeep.observed().counts.operations, 0, "adopted");
    assert_eq!(programmed(&upkeep), [true, false]);

    ipvsadm(&["-D", "-t", "192.0.2.1:80"]);
    upkeep.look_anew();
    upkeep.turn(clock::now);
    assert_eq!(upkeep.observed().counts.repairs, 3);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&ipvsadm(&["-S", "-n"])), sorted(&with_ours));

    let finished = upkeep.finish(clock::now);
    assert_eq!((finished.removed, finished.left), (1, vec![]));
    assert_eq!(sorted(&ipvsadm(&["-S", "-n"])), sorted(&theirs));
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn real_our_table_of_nftables_is_put_back_and_goes() {
    let kernel = namespace();
    let directory = Directory::new();
    let mut table = Table::from_iter([entry(80, &[(1, 1)])]);
    let to = vipkeeper_nft::Endpoint {
        address: [192, 0, 2, 1].into(),
        protocol: vipkeeper_nft::Protocol::Tcp,
        port: 80,
    };
    let ports = vipkeeper_nft::Ports::One(80);
    table.set_firewall(vipkeeper_nft::Ruleset {
        masqueraded: [to.into()].into(),
        closed: [(to.address, [(to.protocol, ports)].into())].into(),
        ..Default::default()
    });
    let table = Arc::new(table);
    let nft = |arguments: &[&str]| {
        let output = Command::new("nft").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    nft(&["add", "table", "inet", "other"]);
    let theirs = nft(&["list", "ruleset"]);
    let mut upkeep = Upkeep::new(kernel, ledger(&directory), name());
    upkeep.want(Arc::clone(&table));
    upkeep.turn(clock::now);
    let ours = nft(&["list", "ruleset"]);
    assert!(ours.contains("masquerade"), "{ours}");
    let observed = upkeep.observed();
    assert!(observed.firewall.is_programmed, "{:?}", observed.firewall);

    let mut upkeep = Upkeep::new(Netlink::default(), ledger(&directory), name());
    upkeep.want(table);
    let handles = nft(&["-a", "list", "ruleset"]);
    upkeep.turn(clock::now);
    assert_eq!(nft(&["-a", "list", "ruleset"]), handles, "adopted");
    assert_eq!(upkeep.observed().counts.operations, 0);

    nft(&["delete", "table", "inet", "vipkeeper"]);
    let later = || clock::now() + Duration::from_secs(10);
    upkeep.turn(later);
    assert_eq!(nft(&["list", "ruleset"]), ours);
    assert_eq!(upkeep.observed().counts.repairs, 1);

    assert!(upkeep.finish(clock::now).is_complete());
    assert_eq!(nft(&["list", "ruleset"]), theirs);
}

#[test]
#[ignore = "needs a kernel with IPVS; measures"]
fn real_a_thousand_services_with_ten_real_servers_each() {
    let kernel = namespace();
    let directory = Directory::new();
    let destinations: Vec<_> = (1..=10).map(|number| (number, 1)).collect();
    let entries = (10_000..11_000).map(|port| entry(port, &destinations));
    let table: Arc<Table> = Arc::new(entries.collect());
    let mut upkeep = Upkeep::new(kernel, ledger(&directory), name());
    let timed = |what: &str, upkeep: &mut Upkeep<Netlink>| -> Duration {
        let before = Instant::now();
        upkeep.turn(clock::now);
        let took = before.elapsed();
        println!("{what}: {took:?}");
        took
    };
    upkeep.want(Arc::clone(&table));
    timed("load", &mut upkeep);
    let observed = upkeep.observed();
    assert!(
        observed
            .services
            .values()
            .all(|report| report.is_programmed)
    );
    assert_eq!(observed.counts.operations, 11_000);
    for _ in 0..3 {
        upkeep.look_anew();
        timed("no-op pass", &mut upkeep);
    }
    let mut changed = Table::clone(&table);
    changed.insert(entry(10_500, &[(1, 1), (2, 5)]));
    upkeep.want(Arc::new(changed));
    timed("one service changed", &mut upkeep);
    let mut upkeep = Upkeep::new(Netlink::default(), ledger(&directory), name());
    upkeep.want(table);
    timed("restart", &mut upkeep);
    println!("{:?}", upkeep.observed().counts);
}
