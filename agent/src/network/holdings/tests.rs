mod interfaces;
mod takeover;

use std::num::{NonZeroU8, NonZeroU16};
use std::sync::Arc;

use vipkeeper_vrrp::{
    Centiseconds, ChecksumPolicy, Preemption, Priority, Protocol, RouterConfig, Ticket, Transport,
    VirtualAddress,
};
use vipkeeper_wire::{Family, Vrid};

use super::super::fake::Fake;
use super::super::kernel::{Setting, TAG};
use super::super::ledger::tests::identity;
use super::*;
use crate::scratch::Directory;

const LIFETIME: Duration = Duration::from_secs(30);

pub(super) fn eth0() -> Ifindex {
    Ifindex::new(2).unwrap()
}

pub(super) fn eth1() -> Ifindex {
    Ifindex::new(3).unwrap()
}

pub(super) fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

pub(super) fn address(text: &str) -> Address {
    let (address, prefix_length) = text.split_once('/').unwrap();
    Address {
        address: address.parse().unwrap(),
        prefix_length: prefix_length.parse().unwrap(),
    }
}

/// `192.0.2.1/32` on the router's interface, or `192.0.2.1/32 eth1` on that one.
pub(super) fn addresses(texts: &[&str]) -> Arc<[VirtualAddress]> {
    let virtual_address = |text: &&str| {
        let (text, interface) = match text.strip_suffix(" eth1") {
            Some(text) => (text, Some(eth1())),
            None => (*text, None),
        };
        let Address {
            address,
            prefix_length,
        } = address(text);
        VirtualAddress {
            address,
            prefix_length,
            interface,
        }
    };
    texts.iter().map(virtual_address).collect()
}

/// A ledger in a directory of its own, and the kernel before us.
pub(super) struct Machine {
    directory: Directory,
    pub(super) kernel: Fake,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            directory: Directory::new(),
            kernel: Fake::new(&[eth0(), eth1()]),
        }
    }

    pub(super) fn start(self) -> Running {
        let (ledger, discarded) = self.ledger();
        assert_eq!(discarded, None);
        let holdings = Holdings::new(self.kernel, ledger);
        Running {
            directory: self.directory,
            holdings,
        }
    }

    fn ledger(&self) -> (Ledger, Option<super::super::ledger::Discarded>) {
        Ledger::open(self.directory.path().join("ledger"), identity())
    }
}

pub(super) struct Running {
    directory: Directory,
    pub(super) holdings: Holdings<Fake>,
}

impl Running {
    pub(super) fn kernel(&mut self) -> &mut Fake {
        &mut self.holdings.kernel
    }

    pub(super) fn prepare(&mut self, interface: Ifindex, priority: u8, texts: &[&str]) {
        let router = router(interface, priority, addresses(texts));
        self.holdings.prepare(&Plan {
            routers: vec![router],
            ..Plan::default()
        });
    }

    pub(super) fn install(&mut self, now: Time, texts: &[&str]) -> Fact {
        self.holdings.install(now, &install(1, texts))
    }

    pub(super) fn notices(&mut self) -> Vec<String> {
        let notices = self.holdings.take_notices();
        notices.iter().map(|notice| format!("{notice:?}")).collect()
    }

    /// The process dies; the machine stays.
    pub(super) fn crash(self) -> Machine {
        Machine {
            directory: self.directory,
            kernel: self.holdings.kernel,
        }
    }

    pub(super) fn recorded(&self) -> Rows {
        let path = self.directory.path().join("ledger");
        Ledger::open(path, identity()).0.rows().clone()
    }
}

pub(super) fn router(
    interface: Ifindex,
    priority: u8,
    addresses: Arc<[VirtualAddress]>,
) -> RouterConfig {
    RouterConfig {
        name: "web".into(),
        family: Family::V4,
        vrid: Vrid::new(51).unwrap(),
        interface: Some(interface),
        protocol: Protocol::V3 {
            interval: Centiseconds::new(NonZeroU16::MIN.get()).unwrap(),
            checksum: ChecksumPolicy::Auto,
        },
        priority: Priority::new(priority).unwrap(),
        addresses,
        address_lifetime: Some(LIFETIME),
        transport: Transport::Unicast { peers: Vec::new() },
        source: None,
        preemption: Preemption::Always,
        down_advertisements: NonZeroU8::MIN,
        strict: false,
        sync: None,
        linger: Duration::ZERO,
        drained: false,
    }
}

pub(super) fn install(router: u32, texts: &[&str]) -> Install {
    Install {
        router: RouterId(router),
        ticket: Ticket(7),
        interface: eth0(),
        addresses: addresses(texts),
        lifetime: Some(LIFETIME),
    }
}

pub(super) fn withdraw(router: u32, texts: &[&str]) -> Withdraw {
    Withdraw {
        router: RouterId(router),
        ticket: Ticket(8),
        interface: eth0(),
        addresses: addresses(texts),
    }
}

fn installed(refused: &[&str]) -> Fact {
    Fact::Installed {
        router: RouterId(1),
        ticket: Ticket(7),
        refused: refused.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

const FAILED: Fact = Fact::InstallFailed {
    router: RouterId(1),
    ticket: Ticket(7),
};

#[test]
fn a_plan_is_in_the_ledger_before_anything_of_it_is_installed() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "2001:db8::1/128"]);
    let recorded = running.recorded();
    let expected = [
        (eth0(), address("192.0.2.1/32")),
        (eth0(), address("2001:db8::1/128")),
    ];
    assert_eq!(recorded.addresses, expected.into());
    assert!(running.kernel().log.is_empty());
}

#[test]
fn addresses_are_added_exclusively_and_taken_off_again() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
    let all = ["192.0.2.1/32", "192.0.2.2/32"];
    assert_eq!(running.install(at(1), &all), installed(&[]));
    assert_eq!(running.kernel().on(eth0()), all);
    let exclusive = Action::Add {
        lifetime: Some(LIFETIME),
    };
    assert!(running.kernel().log.iter().all(|c| c.action == exclusive));
    running.holdings.withdraw(at(2), &withdraw(1, &all));
    assert_eq!(running.kernel().on(eth0()), [""; 0]);
    assert_eq!(running.holdings.count(), 0);
}

#[test]
fn an_address_that_was_there_before_the_plan_is_refused_and_left_alone() {
    let mut machine = Machine::new();
    machine.kernel.put(eth0(), "192.0.2.1", 24, None);
    let mut running = machine.start();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
    assert_eq!(
        running.notices(),
        ["Foreign { interface: Ifindex(2), address: 192.0.2.1 }"]
    );
    assert!(
        !running
            .recorded()
            .addresses
            .contains(&(eth0(), address("192.0.2.1/32")))
    );
    let answer = running.install(at(1), &["192.0.2.1/32", "192.0.2.2/32"]);
    assert_eq!(answer, installed(&["192.0.2.1"]));
    running
        .holdings
        .withdraw(at(2), &withdraw(1, &["192.0.2.1/32", "192.0.2.2/32"]));
    assert_eq!(running.kernel().on(eth0()), ["192.0.2.1/24"]);
}

#[test]
fn an_address_that_came_after_the_plan_is_refused_and_left_alone() {
    // In our ledger, and yet not ours: by another's tag, by none, or on a kernel that keeps none.
    for (keeps_tags, tag) in [(true, Some(0x42)), (true, None), (false, None)] {
        let mut machine = Machine::new();
        machine.kernel.keeps_tags = keeps_tags;
        let mut running = machine.start();
        running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
        running.kernel().put(eth0(), "192.0.2.1", 32, tag);
        let answer = running.install(at(1), &["192.0.2.1/32", "192.0.2.2/32"]);
        assert_eq!(answer, installed(&["192.0.2.1"]));
        assert!(running.notices().iter().any(|n| n.contains("EEXIST")));
        running.holdings.finish(at(2));
        assert_eq!(running.kernel().on(eth0()), ["192.0.2.1/32"]);
        let foreign = address("192.0.2.1/32");
        let touched = running.kernel().log.iter().filter(|c| c.address == foreign);
        let actions: Vec<_> = touched.map(|c| c.action).collect();
        let lifetime = Some(LIFETIME);
        assert_eq!(actions, [Action::Add { lifetime }]);
    }
}

#[test]
fn a_foreign_address_that_has_gone_is_installed_and_recorded() {
    let mut machine = Machine::new();
    machine.kernel.put(eth0(), "192.0.2.1", 32, None);
    let mut running = machine.start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.kernel().addresses.clear();
    assert_eq!(running.install(at(1), &["192.0.2.1/32"]), installed(&[]));
    running.holdings.maintain(at(1), true);
    assert!(
        running
            .recorded()
            .addresses
            .contains(&(eth0(), address("192.0.2.1/32")))
    );
}

#[test]
fn an_order_repeated_confirms_what_is_held_and_adds_the_rest() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
    running.install(at(1), &["192.0.2.1/32"]);
    let answer = running.install(at(2), &["192.0.2.1/32", "192.0.2.2/32"]);
    assert_eq!(answer, installed(&[]));
    assert_eq!(
        running.kernel().on(eth0()),
        ["192.0.2.1/32", "192.0.2.2/32"]
    );
}

#[test]
fn a_changed_prefix_replaces_the_address() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(1), &["192.0.2.1/32"]);
    running.prepare(eth0(), 100, &["192.0.2.1/24"]);
    assert_eq!(running.install(at(2), &["192.0.2.1/24"]), installed(&[]));
    assert_eq!(running.kernel().on(eth0()), ["192.0.2.1/24"]);
}

#[test]
fn one_bad_address_is_refused_and_the_others_are_held() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
    let bad = "192.0.2.1".parse().unwrap();
    running.kernel().failures.insert(bad, Errno::EINVAL);
    let answer = running.install(at(1), &["192.0.2.1/32", "192.0.2.2/32"]);
    assert_eq!(answer, installed(&["192.0.2.1"]));
    assert_eq!(running.kernel().on(eth0()), ["192.0.2.2/32"]);
}

#[test]
fn an_order_that_fails_for_the_interface_leaves_nothing_behind() {
    let errors = [
        Errno::ENODEV,
        Errno::ENETDOWN,
        Errno::EPERM,
        Errno::EACCES,
        Errno::ENOBUFS,
    ];
    for errno in errors {
        let mut running = Machine::new().start();
        running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
        let second = "192.0.2.2".parse().unwrap();
        running.kernel().failures.insert(second, errno);
        let answer = running.install(at(1), &["192.0.2.1/32", "192.0.2.2/32"]);
        assert_eq!(answer, FAILED, "{errno}");
        assert_eq!(running.kernel().on(eth0()), [""; 0], "{errno}");
        assert_eq!(running.holdings.count(), 0, "{errno}");
    }
}

#[test]
fn an_order_to_an_interface_that_is_gone_fails() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.kernel().unplug(eth0());
    assert_eq!(running.install(at(1), &["192.0.2.1/32"]), FAILED);
    let told = running.notices();
    assert!(told.iter().any(|n| n.contains("InstallFailed")), "{told:?}");
}

#[test]
fn a_kernel_that_does_not_answer_fails_the_order() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.kernel().broken.push_back(io::ErrorKind::TimedOut);
    assert_eq!(running.install(at(1), &["192.0.2.1/32"]), FAILED);
    assert_eq!(running.holdings.count(), 0);
    assert_eq!(running.kernel().on(eth0()), [""; 0]);
}

#[test]
fn what_another_router_took_over_stays() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(1), &["192.0.2.1/32"]);
    running
        .holdings
        .install(at(2), &install(2, &["192.0.2.1/32"]));
    running
        .holdings
        .withdraw(at(3), &withdraw(1, &["192.0.2.1/32"]));
    assert_eq!(running.kernel().on(eth0()), ["192.0.2.1/32"]);
    running
        .holdings
        .withdraw(at(4), &withdraw(2, &["192.0.2.1/32"]));
    assert_eq!(running.kernel().on(eth0()), [""; 0]);
}

#[test]
fn an_address_owner_uses_its_addresses_and_never_touches_them() {
    let mut machine = Machine::new();
    machine.kernel.put(eth0(), "192.0.2.1", 24, None);
    let mut running = machine.start();
    running.prepare(eth0(), 255, &["192.0.2.1/32", "192.0.2.2/32"]);
    // The election orders nothing for it; and what it might is no reason to touch what is not ours.
    running
        .holdings
        .withdraw(at(2), &withdraw(1, &["192.0.2.1/32"]));
    running.holdings.finish(at(3));
    assert!(running.kernel().log.is_empty());
    assert_eq!(running.recorded(), Rows::default());
}

#[test]
fn addresses_are_renewed_by_a_third_of_their_lifetime_and_not_all_together() {
    let texts: Vec<String> = (1..=40).map(|i| format!("192.0.2.{i}/32")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &texts);
    running.install(at(100), &texts);
    let dues: BTreeSet<Time> = running
        .holdings
        .held
        .values()
        .filter_map(|h| h.due)
        .collect();
    assert!(dues.len() > 20, "{} different moments", dues.len());
    assert!(*dues.first().unwrap() >= at(100) + LIFETIME / 4);
    assert!(*dues.last().unwrap() <= at(100) + LIFETIME / 3);
    assert_eq!(running.holdings.next_due(), dues.first().copied());
}

#[test]
fn a_dead_election_renews_nothing() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(100), &["192.0.2.1/32"]);
    running.kernel().log.clear();
    running.holdings.maintain(at(120), false);
    assert!(running.kernel().log.is_empty());
    running.holdings.maintain(at(120), true);
    let renewed = Change {
        action: Action::Replace {
            lifetime: Some(LIFETIME),
        },
        interface: eth0(),
        address: address("192.0.2.1/32"),
    };
    assert_eq!(running.kernel().log, [renewed]);
    assert!(running.holdings.next_due().unwrap() > at(120));
}

#[test]
fn an_address_that_lasts_for_ever_is_not_renewed() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    let order = Install {
        lifetime: None,
        ..install(1, &["192.0.2.1/32"])
    };
    running.holdings.install(at(1), &order);
    assert_eq!(running.holdings.next_due(), None);
}

#[test]
fn a_renewal_that_fails_is_tried_again_and_ends_with_the_interface() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(100), &["192.0.2.1/32"]);
    running.kernel().broken.push_back(io::ErrorKind::TimedOut);
    running.holdings.maintain(at(110), true);
    assert_eq!(running.holdings.next_due(), Some(at(111)));
    running.kernel().unplug(eth0());
    running.holdings.maintain(at(111), true);
    assert_eq!(running.holdings.count(), 0);
}

#[test]
fn an_address_that_somebody_takes_off_comes_back_once_a_second_at_most() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(100), &["192.0.2.1/32"]);
    let gone: IpAddr = "192.0.2.1".parse().unwrap();
    for (moment, back) in [(101, true), (101, false), (102, true)] {
        running.kernel().addresses.clear();
        running.holdings.vanished(at(moment), eth0(), gone);
        running.holdings.maintain(at(moment), true);
        assert_eq!(!running.kernel().addresses.is_empty(), back, "{moment}");
    }
}

#[test]
fn what_is_put_back_is_told_and_what_was_there_all_along_is_not() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(100), &["192.0.2.1/32"]);
    let gone: IpAddr = "192.0.2.1".parse().unwrap();
    running.holdings.vanished(at(101), eth0(), gone);
    running.holdings.maintain(at(101), true);
    assert_eq!(running.holdings.take_facts().count(), 0);
    assert_eq!(running.notices(), [""; 0]);
    running.kernel().addresses.clear();
    running.holdings.vanished(at(103), eth0(), gone);
    running.holdings.maintain(at(103), true);
    let facts: Vec<Fact> = running.holdings.take_facts().collect();
    assert_eq!(
        facts,
        [Fact::Restored {
            router: RouterId(1)
        }]
    );
    assert!(running.notices()[0].starts_with("Restored"));
}

#[test]
fn an_address_that_somebody_put_in_the_place_of_ours_is_left_alone() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(100), &["192.0.2.1/32"]);
    running.kernel().addresses.clear();
    running.kernel().put(eth0(), "192.0.2.1", 32, None);
    let before = running.kernel().addresses.clone();
    let gone: IpAddr = "192.0.2.1".parse().unwrap();
    running.holdings.vanished(at(101), eth0(), gone);
    running.holdings.maintain(at(101), true);
    running
        .holdings
        .withdraw(at(102), &withdraw(1, &["192.0.2.1/32"]));
    running.holdings.maintain(at(200), true);
    assert_eq!(running.kernel().addresses, before);
    assert_eq!(running.holdings.count(), 0);
    assert!(running.notices()[0].starts_with("Foreign"));
    assert!(
        running.recorded().addresses.is_empty(),
        "nobody sweeps it after a crash"
    );
}

#[test]
fn after_lost_events_what_is_missing_is_put_back_though_it_lasts_for_ever() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
    let order = Install {
        lifetime: None,
        ..install(1, &["192.0.2.1/32", "192.0.2.2/32"])
    };
    running.holdings.install(at(1), &order);
    running.kernel().addresses.remove(0);
    running.kernel().log.clear();
    running.holdings.verify(at(2));
    running.holdings.maintain(at(2), true);
    assert_eq!(running.kernel().on(eth0()).len(), 2);
    assert_eq!(running.kernel().log.len(), 1, "the other is not rewritten");
    assert_eq!(running.holdings.next_due(), None);
}

#[test]
fn an_order_that_names_what_is_held_rewrites_nothing() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
    running.install(at(1), &["192.0.2.1/32"]);
    running.kernel().log.clear();
    assert_eq!(
        running.install(at(2), &["192.0.2.1/32", "192.0.2.2/32"]),
        installed(&[])
    );
    let added = Change {
        action: Action::Add {
            lifetime: Some(LIFETIME),
        },
        interface: eth0(),
        address: address("192.0.2.2/32"),
    };
    assert_eq!(running.kernel().log, [added]);
    // A setting that is as it should be is not written again either.
    running.kernel().settings_are_fixed = true;
    running.holdings.take_notices();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
    assert_eq!(running.notices(), [""; 0]);
}

#[test]
fn what_we_took_off_ourselves_does_not_come_back() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(100), &["192.0.2.1/32"]);
    running
        .holdings
        .withdraw(at(101), &withdraw(1, &["192.0.2.1/32"]));
    running
        .holdings
        .vanished(at(101), eth0(), "192.0.2.1".parse().unwrap());
    running.holdings.maintain(at(102), true);
    assert_eq!(running.kernel().on(eth0()), [""; 0]);
}

#[test]
fn an_address_that_cannot_be_taken_off_stays_recorded_and_is_tried_again() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(1), &["192.0.2.1/32"]);
    running.kernel().broken.push_back(io::ErrorKind::TimedOut);
    running
        .holdings
        .withdraw(at(2), &withdraw(1, &["192.0.2.1/32"]));
    assert_eq!(running.kernel().on(eth0()), ["192.0.2.1/32"]);
    running.prepare(eth0(), 100, &[]);
    assert!(
        running
            .recorded()
            .addresses
            .contains(&(eth0(), address("192.0.2.1/32")))
    );
    running.holdings.maintain(at(3), false);
    assert_eq!(running.kernel().on(eth0()), [""; 0]);
    assert_eq!(running.recorded().addresses, [].into());
}

#[test]
fn after_a_crash_what_is_recorded_and_tagged_is_swept_and_nothing_else() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "192.0.2.2/32"]);
    running.install(at(1), &["192.0.2.1/32"]);
    let mut machine = running.crash();
    // Recorded, but somebody else's by now; and our tag, but recorded nowhere.
    machine.kernel.put(eth0(), "192.0.2.2", 32, None);
    machine.kernel.put(eth1(), "192.0.2.9", 32, Some(TAG));
    machine.kernel.put(eth1(), "192.0.2.1", 32, None);
    let mut running = machine.start();
    assert_eq!(running.kernel().on(eth0()), ["192.0.2.2/32"]);
    assert_eq!(
        running.kernel().on(eth1()),
        ["192.0.2.9/32", "192.0.2.1/32"]
    );
    let told = running.notices();
    assert_eq!(
        told,
        [
            "Swept(1)",
            "TagOnly { interface: Ifindex(3), address: 192.0.2.9 }"
        ]
    );
    assert_eq!(running.recorded().addresses, [].into());
}

#[test]
fn a_kernel_without_tags_is_swept_by_the_ledger_alone() {
    let mut machine = Machine::new();
    machine.kernel.keeps_tags = false;
    let mut running = machine.start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(1), &["192.0.2.1/32"]);
    let mut machine = running.crash();
    machine.kernel.put(eth0(), "192.0.2.2", 32, None);
    let mut running = machine.start();
    assert_eq!(running.kernel().on(eth0()), ["192.0.2.2/32"]);
}

#[test]
fn a_ledger_of_another_boot_sweeps_nothing() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.install(at(1), &["192.0.2.1/32"]);
    let machine = running.crash();
    let path = machine.directory.path().join("ledger");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("boot ", "boot another-")).unwrap();
    let (ledger, discarded) = machine.ledger();
    assert!(discarded.is_some());
    let mut holdings = Holdings::new(machine.kernel, ledger);
    assert_eq!(holdings.kernel.on(eth0()), ["192.0.2.1/32"]);
    let told = holdings.take_notices();
    assert!(
        matches!(told.as_slice(), [Notice::TagOnly { .. }]),
        "{told:?}"
    );
}

#[test]
fn settings_change_where_addresses_are_and_are_put_back_when_they_go() {
    let mut running = Machine::new().start();
    running
        .kernel()
        .settings
        .insert((eth0(), Setting::ArpAnnounce), 1);
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    let value = |running: &mut Running, interface, setting| {
        running.kernel().settings[&(interface, setting)]
    };
    assert_eq!(value(&mut running, eth0(), Setting::ArpIgnore), 1);
    assert_eq!(value(&mut running, eth0(), Setting::ArpAnnounce), 2);
    assert_eq!(value(&mut running, eth1(), Setting::ArpIgnore), 0);
    running.prepare(eth1(), 100, &["192.0.2.1/32"]);
    assert_eq!(value(&mut running, eth0(), Setting::ArpIgnore), 0);
    assert_eq!(value(&mut running, eth0(), Setting::ArpAnnounce), 1);
    assert_eq!(value(&mut running, eth1(), Setting::ArpIgnore), 1);
    running.holdings.finish(at(1));
    assert_eq!(value(&mut running, eth1(), Setting::ArpIgnore), 0);
    assert_eq!(running.recorded(), Rows::default());
}

#[test]
fn original_settings_survive_a_crash() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    let mut running = running.crash().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running.holdings.finish(at(1));
    assert_eq!(running.kernel().settings[&(eth0(), Setting::ArpIgnore)], 0);
}

#[test]
fn a_setting_that_somebody_changed_meanwhile_is_left_alone() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    running
        .kernel()
        .settings
        .insert((eth0(), Setting::ArpIgnore), 8);
    running.holdings.finish(at(1));
    assert_eq!(running.kernel().settings[&(eth0(), Setting::ArpIgnore)], 8);
}

#[test]
fn settings_that_cannot_be_changed_are_told_once_and_keep_nothing_from_working() {
    let mut machine = Machine::new();
    machine.kernel.settings_are_fixed = true;
    let mut running = machine.start();
    running.prepare(eth0(), 100, &["192.0.2.1/32"]);
    assert_eq!(running.notices().len(), 2);
    running.prepare(eth0(), 90, &["192.0.2.1/32"]);
    assert_eq!(running.notices(), [""; 0]);
    assert_eq!(running.install(at(1), &["192.0.2.1/32"]), installed(&[]));
}

#[test]
fn the_end_takes_everything_off() {
    let mut running = Machine::new().start();
    running.prepare(eth0(), 100, &["192.0.2.1/32", "2001:db8::1/64"]);
    running.install(at(1), &["192.0.2.1/32", "2001:db8::1/64"]);
    running.holdings.finish(at(2));
    assert_eq!(running.kernel().on(eth0()), [""; 0]);
    assert_eq!(running.recorded(), Rows::default());
}
