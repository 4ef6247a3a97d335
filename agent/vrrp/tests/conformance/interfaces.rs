//! Addresses on an interface of their own: their router is elected on another one.

use std::net::IpAddr;

use vipkeeper_vrrp::{
    Command, Election, Evidence, Fact, Ifindex, InterfaceState, Output, Plan, Reason, RouterConfig,
    StateName, VirtualAddress,
};
use vipkeeper_wire::MacAddr;

use crate::bench::{
    Bench, IFINDEX, Log, OTHER_IFINDEX, OWN_MAC, SECOND, addresses, deeds, router, running, sent,
    story,
};
use crate::forge::{from, peer};

const SIDE_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0xff, 2]);
const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 0xee, 9]);

/// 10.77.0.100 on the router's interface and 10.77.0.101 on the other.
fn split(priority: u8) -> RouterConfig {
    let mut all = addresses(&[peer(100), peer(101)]).to_vec();
    all[1].interface = Some(OTHER_IFINDEX);
    RouterConfig {
        addresses: all.into(),
        ..router(priority)
    }
}

fn side() -> InterfaceState {
    InterfaceState {
        mac: Some(SIDE_MAC),
        ..running()
    }
}

/// Both interfaces are known before the plan comes.
fn bench(config: RouterConfig) -> Bench {
    let mut bench = Bench::empty();
    bench.link(IFINDEX, running());
    bench.link(OTHER_IFINDEX, side());
    bench.apply(&[config]);
    bench
}

fn active(config: RouterConfig) -> Bench {
    bench(config).settled()
}

fn named(places: impl Iterator<Item = (Ifindex, VirtualAddress)>) -> Vec<(Ifindex, IpAddr)> {
    places
        .map(|(interface, a)| (interface, a.address))
        .collect()
}

/// What was ordered, with the interface of each address.
fn orders(log: &Log) -> Vec<(&'static str, Vec<(Ifindex, IpAddr)>)> {
    let order = |output: &Output| match output {
        Output::Install(o) => Some(("install", named(o.places().map(|(i, a)| (i, *a))))),
        Output::Park(o) => Some(("park", named(o.places().map(|(i, a)| (i, *a))))),
        Output::Withdraw(o) => Some(("withdraw", named(o.places().map(|(i, a)| (i, *a))))),
        _ => None,
    };
    log.iter().filter_map(|(_, output)| order(output)).collect()
}

fn both() -> Vec<(Ifindex, IpAddr)> {
    vec![(IFINDEX, peer(100)), (OTHER_IFINDEX, peer(101))]
}

/// Where what was announced, from which Ethernet address.
fn told(log: &Log) -> Vec<(Ifindex, MacAddr, IpAddr)> {
    let announcement = |output: &Output| match output {
        Output::Announce(a) => Some((a.interface, a.mac, a.address)),
        _ => None,
    };
    let all = log.iter();
    all.filter_map(|(_, output)| announcement(output)).collect()
}

const fn everywhere(first: IpAddr, second: IpAddr) -> [(Ifindex, MacAddr, IpAddr); 2] {
    [(IFINDEX, OWN_MAC, first), (OTHER_IFINDEX, SIDE_MAC, second)]
}

fn neighbour(bench: &mut Bench, interface: Ifindex, mac: MacAddr) -> Log {
    let arrival = bench.now;
    bench.fact(Fact::Neighbour {
        interface,
        arrival,
        address: peer(101),
        mac,
    })
}

#[test]
fn each_address_is_held_and_announced_on_its_own_interface_and_advertised_on_the_routers() {
    let mut bench = bench(split(200));
    let log = bench.until_active();
    assert_eq!(orders(&log), [("install", both())]);
    assert_eq!(told(&log), everywhere(peer(100), peer(101)));
    let sent = sent(&log);
    assert!(sent.iter().all(|sent| sent.interface == IFINDEX));
    assert_eq!(sent[0].addresses, [peer(100), peer(101)]);
    let status = bench.status();
    assert_eq!(status.interface, Some(IFINDEX));
    assert_eq!(status.elsewhere, [(peer(101), OTHER_IFINDEX)]);
    let log = bench.command(Command::Shutdown);
    assert_eq!(orders(&log), [("withdraw", both())]);
}

#[test]
fn a_beaten_active_parks_each_address_from_its_own_interface() {
    let config = RouterConfig {
        linger: SECOND,
        ..split(100)
    };
    let mut bench = active(config);
    let log = bench.hear(&from(1, 200));
    assert_eq!(orders(&log), [("park", both())]);
    let log = bench.advance(SECOND);
    assert_eq!(orders(&log), [("withdraw", both())]);
}

#[test]
fn without_the_interface_of_an_address_a_router_takes_no_part() {
    let mut bench = Bench::empty();
    bench.link(IFINDEX, running());
    assert_eq!(story(&bench.apply(&[split(200)])), [""; 0]);
    bench.advance(10 * SECOND);
    let status = bench.status();
    let out = (StateName::Initialize, Reason::InterfaceMissing);
    assert_eq!((status.state, status.reason), out);
    let down = InterfaceState {
        running: false,
        ..side()
    };
    bench.link(OTHER_IFINDEX, down);
    assert_eq!(bench.status().reason, Reason::InterfaceDown);
    let log = bench.link(OTHER_IFINDEX, side());
    assert_eq!(story(&log), ["Initialize > Backup: Startup"]);
}

#[test]
fn an_active_leaves_with_priority_0_when_the_interface_of_an_address_goes() {
    for (fact, reason) in [
        (
            Fact::Interface {
                interface: OTHER_IFINDEX,
                state: InterfaceState::default(),
            },
            "InterfaceDown",
        ),
        (
            Fact::InterfaceGone {
                interface: OTHER_IFINDEX,
            },
            "InterfaceMissing",
        ),
    ] {
        let mut bench = active(split(200));
        let log = bench.fact(fact);
        let left = format!("Active > Initialize: {reason}");
        assert_eq!(story(&log), ["send 0", "withdraw", &left]);
        assert_eq!(orders(&log), [("withdraw", both())]);
        bench.link(OTHER_IFINDEX, side());
        assert_eq!(bench.state(), StateName::Backup);
    }
}

#[test]
fn a_lame_duck_is_no_more_when_the_interface_of_an_address_goes() {
    let config = RouterConfig {
        linger: SECOND,
        ..split(200)
    };
    let mut bench = active(config);
    bench.command(Command::Shutdown);
    let log = bench.link(OTHER_IFINDEX, InterfaceState::default());
    assert_eq!(orders(&log), [("withdraw", both())]);
    assert!(bench.election.has_left());
}

#[test]
fn an_edit_of_the_interface_alone_moves_the_address() {
    let here = RouterConfig {
        addresses: addresses(&[peer(100), peer(101)]),
        ..split(200)
    };
    let mut bench = active(here.clone());
    let log = bench.apply(&[split(200)]);
    let gone = vec![(IFINDEX, peer(101))];
    assert_eq!(orders(&log), [("withdraw", gone), ("install", both())]);
    assert_eq!(told(&log), everywhere(peer(100), peer(101)));
    assert_eq!(bench.state(), StateName::Active, "no election about it");
    let log = bench.apply(&[here]);
    let gone = vec![(OTHER_IFINDEX, peer(101))];
    let back = vec![(IFINDEX, peer(100)), (IFINDEX, peer(101))];
    assert_eq!(orders(&log), [("withdraw", gone), ("install", back)]);
    assert_eq!(bench.link(OTHER_IFINDEX, InterfaceState::default()), []);
}

#[test]
fn what_the_host_has_is_a_conflict_on_the_interface_of_the_address_alone() {
    let mut bench = active(split(200));
    assert_eq!(bench.host(IFINDEX, &[peer(101)]), []);
    assert_eq!(bench.host(OTHER_IFINDEX, &[peer(100)]), []);
    let log = bench.host(OTHER_IFINDEX, &[peer(101)]);
    assert_eq!(story(&log), ["address conflict: 1"]);
    assert_eq!(bench.status().conflicts, [peer(101)]);
    bench.host(OTHER_IFINDEX, &[]);
    assert_eq!(bench.status().conflicts, [] as [IpAddr; 0]);
}

#[test]
fn the_owner_has_each_address_on_its_own_interface() {
    let mut bench = bench(split(255));
    bench.host(IFINDEX, &[peer(100), peer(101)]);
    assert_eq!(bench.status().reason, Reason::NotAddressOwner);
    let log = bench.host(OTHER_IFINDEX, &[peer(101)]);
    assert_eq!(bench.state(), StateName::Active);
    assert_eq!(told(&log), everywhere(peer(100), peer(101)));
    assert_eq!(orders(&log), []);
}

#[test]
fn who_else_has_an_address_is_heard_on_its_interface() {
    let mut bench = active(split(200));
    assert_eq!(neighbour(&mut bench, IFINDEX, STRANGER), []);
    let own = neighbour(&mut bench, OTHER_IFINDEX, SIDE_MAC);
    assert_eq!(own, [], "our own word");
    let log = neighbour(&mut bench, OTHER_IFINDEX, STRANGER);
    assert_eq!(
        story(&log),
        ["evidence: AddressConflict", "announce 10.77.0.101"]
    );
    assert_eq!(told(&log), [(OTHER_IFINDEX, SIDE_MAC, peer(101))]);
    let conflict = Evidence::AddressConflict {
        address: peer(101),
        mac: STRANGER,
    };
    assert_eq!(bench.status().evidence[0].evidence, conflict);
}

#[test]
fn before_the_first_claim_each_interface_is_asked() {
    let mut bench = Bench::empty();
    bench.surroundings = Plan {
        probes: true,
        ..Plan::default()
    };
    bench.link(IFINDEX, running());
    bench.link(OTHER_IFINDEX, side());
    let log = bench.apply(&[split(200)]);
    let asked = |output: &Output| match output {
        Output::Probe(p) => Some((p.interface, p.mac, p.address)),
        _ => None,
    };
    let asked: Vec<_> = log.iter().filter_map(|(_, o)| asked(o)).collect();
    assert_eq!(asked, everywhere(peer(100), peer(101)));
}

#[test]
fn another_ethernet_address_of_the_interface_of_an_address_is_announced() {
    let mut bench = active(split(200));
    let mac = Some(STRANGER);
    let log = bench.link(OTHER_IFINDEX, InterfaceState { mac, ..side() });
    assert_eq!(told(&log)[1], (OTHER_IFINDEX, STRANGER, peer(101)));
    assert_eq!(deeds(&log).len(), 2);
}

#[test]
fn x08_a_restored_election_knows_the_interfaces_of_its_addresses() {
    let mut bench = active(split(200));
    let frozen = serde_json::to_string(&bench.election).unwrap();
    bench.election = serde_json::from_str::<Election>(&frozen).unwrap();
    assert_eq!(bench.apply(&[split(200)]), []);
    let log = neighbour(&mut bench, OTHER_IFINDEX, STRANGER);
    assert_eq!(told(&log), [(OTHER_IFINDEX, SIDE_MAC, peer(101))]);
}
