//! The loop with its real clock and no sockets: what is sent goes nowhere, nothing is heard.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Instant;

use vipkeeper_vrrp::{
    Centiseconds, ChecksumPolicy, Fact, Ifindex, InterfaceState, Plan, Preemption, Priority,
    Protocol, RouterConfig, Snapshot, StateName, Transport, VirtualAddress,
};
use vipkeeper_wire::{Family, Vrid};

use super::super::Order;
use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// An election in a thread of its own, which ends with the test's process.
fn start() -> Arc<Ports> {
    let ports = Arc::new(Ports::new().unwrap());
    let own = Arc::clone(&ports);
    std::thread::spawn(move || run(&own, Start::Fresh).unwrap());
    ports
}

/// The same in another process, which has nothing to go on with yet.
fn start_still() -> Arc<Ports> {
    let ports = Arc::new(Ports::new().unwrap());
    let own = Arc::clone(&ports);
    std::thread::spawn(move || run(&own, Start::Still).unwrap());
    ports
}

/// Waits for `look` to find something, woken by `wake`.
fn wait<T>(wake: &crate::ring::Wake, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "nothing came");
        wake.wait(Some(Duration::from_millis(5))).unwrap();
        wake.clear();
    }
}

fn snapshot(ports: &Ports) -> Snapshot {
    ports.want_snapshot();
    wait(ports.snapshots.wake(), || ports.snapshots.pop())
}

fn address() -> IpAddr {
    [192, 0, 2, 100].into()
}

fn plan() -> Plan {
    let router = RouterConfig {
        name: "web".into(),
        family: Family::V4,
        vrid: Vrid::new(51).unwrap(),
        interface: Ifindex::new(2),
        protocol: Protocol::V3 {
            interval: Centiseconds::new(1).unwrap(),
            checksum: ChecksumPolicy::Auto,
        },
        priority: Priority::new(200).unwrap(),
        addresses: [VirtualAddress {
            address: address(),
            prefix_length: 32,
            interface: None,
        }]
        .into(),
        address_lifetime: None,
        transport: Transport::Multicast {
            group: [224, 0, 0, 18].into(),
            extra_peers: Vec::new(),
        },
        source: None,
        preemption: Preemption::Always,
        down_advertisements: NonZeroU8::new(3).unwrap(),
        strict: false,
        sync: None,
        linger: Duration::ZERO,
        drained: false,
    };
    Plan {
        routers: vec![router],
        ..Plan::default()
    }
}

/// Gives the election an interface and the plan.
fn deliver(ports: &Ports) {
    let state = InterfaceState {
        running: true,
        ipv4: Some([192, 0, 2, 1].into()),
        ..InterfaceState::default()
    };
    let interface = Ifindex::new(2).unwrap();
    ports
        .facts
        .push(Fact::Interface { interface, state })
        .unwrap();
    command(ports, Command::Apply(Arc::new(plan())));
}

fn command(ports: &Ports, command: Command) {
    let links = Arc::new([]);
    ports.deliveries.replace(Delivery {
        command,
        links,
        heartbeat: None,
    });
}

fn next_order(ports: &Ports) -> Order {
    wait(ports.orders.wake(), || ports.orders.pop())
}

#[test]
fn an_idle_election_ticks_and_gives_snapshots() {
    let ports = start();
    assert_eq!(snapshot(&ports).routers, []);
    let first = ports.vitals.heartbeat.load(Ordering::Acquire);
    assert!(first > 0 && ports.vitals.is_alive());
    // No input: the tick alone moves it on.
    let later = || {
        let now = ports.vitals.heartbeat.load(Ordering::Acquire);
        (now > first).then_some(now)
    };
    let ticked = wait(ports.events.wake(), later);
    assert!(Duration::from_nanos(ticked - first) < TICK * 4);
}

#[test]
fn a_router_that_hears_nobody_is_promoted_and_holds_what_is_confirmed() {
    let ports = start();
    deliver(&ports);
    let Order::Install(order) = next_order(&ports) else {
        panic!("not an install");
    };
    assert_eq!(order.addresses, plan().routers[0].addresses);
    assert_eq!(snapshot(&ports).routers[0].installed, 0);
    let (router, ticket, refused) = (order.router, order.ticket, Vec::new());
    let confirmed = Fact::Installed {
        router,
        ticket,
        refused,
    };
    ports.answers.push(confirmed).unwrap();
    let status = wait(ports.events.wake(), || {
        let snapshot = snapshot(&ports);
        let status = snapshot.routers.into_iter().next()?;
        (status.installed == 1).then_some(status)
    });
    assert_eq!(status.state, StateName::Active);
    assert!(status.counters.advertisements_sent > 0);
}

#[test]
fn a_shutdown_is_done_when_its_orders_have_left() {
    let ports = start();
    deliver(&ports);
    assert!(matches!(next_order(&ports), Order::Install(_)));
    assert!(!ports.vitals.shut_down.load(Ordering::Acquire));
    command(&ports, Command::Shutdown);
    let done = || ports.vitals.shut_down.load(Ordering::Acquire).then_some(());
    wait(ports.events.wake(), done);
    let order = ports.orders.pop();
    assert!(matches!(order, Some(Order::Withdraw(_))), "{order:?}");
    assert_eq!(snapshot(&ports).routers[0].state, StateName::Initialize);
}

#[test]
fn transitions_are_told_in_their_order() {
    let ports = start();
    deliver(&ports);
    let mut states = Vec::new();
    wait(ports.events.wake(), || {
        while let Some(event) = ports.events.pop() {
            if let Event::Report(vipkeeper_vrrp::Report::Transition { to, .. }) = event {
                states.push(to);
            }
        }
        states.contains(&StateName::Active).then_some(())
    });
    assert_eq!(states, [StateName::Backup, StateName::Active]);
}

fn still(ports: &Ports) -> Stillness {
    ports.want_stillness(Duration::from_millis(5));
    wait(ports.still.wake(), || ports.still.pop())
}

#[test]
fn an_election_that_stood_still_goes_on_in_another_process_and_not_in_its_own() {
    let old = start();
    deliver(&old);
    let Order::Install(order) = next_order(&old) else {
        panic!("not an install");
    };
    let stood = still(&old);
    let last = old.vitals.heartbeat.load(Ordering::Acquire);
    assert_eq!(stood.last_wake.as_nanos(), last);

    let new = start_still();
    assert_eq!(new.vitals.heartbeat.load(Ordering::Acquire), 0);
    new.going_on.push(stood).unwrap();
    let status = snapshot(&new).routers.remove(0);
    assert_eq!((status.state, status.transitions), (StateName::Active, 2));
    // The answer to the old one's order counts here.
    let (router, ticket, refused) = (order.router, order.ticket, Vec::new());
    let confirmed = Fact::Installed {
        router,
        ticket,
        refused,
    };
    new.answers.push(confirmed).unwrap();
    wait(new.events.wake(), || {
        (snapshot(&new).routers[0].installed == 1).then_some(())
    });
    assert_eq!(old.vitals.heartbeat.load(Ordering::Acquire), last);
    assert!(new.orders.is_empty());
}

#[test]
fn an_election_that_is_given_back_goes_on_where_it_stood() {
    let ports = start();
    deliver(&ports);
    next_order(&ports);
    for _ in 0..3 {
        let stood = still(&ports);
        ports.going_on.push(stood).unwrap();
        let status = snapshot(&ports).routers.remove(0);
        assert_eq!((status.state, status.transitions), (StateName::Active, 2));
    }
}

#[test]
fn of_what_an_interface_was_while_it_stood_still_only_the_last_counts() {
    let ports = start();
    deliver(&ports);
    next_order(&ports);
    let stood = still(&ports);
    let interface = Ifindex::new(2).unwrap();
    let up = InterfaceState {
        running: true,
        ipv4: Some([192, 0, 2, 1].into()),
        ..InterfaceState::default()
    };
    ports.facts.push(Fact::InterfaceGone { interface }).unwrap();
    for state in [InterfaceState::default(), up] {
        ports
            .facts
            .push(Fact::Interface { interface, state })
            .unwrap();
    }
    ports.going_on.push(stood).unwrap();
    let status = snapshot(&ports).routers.remove(0);
    assert_eq!((status.state, status.transitions), (StateName::Active, 2));
}
