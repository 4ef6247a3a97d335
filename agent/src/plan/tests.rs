//! Plans of one machine.

use std::collections::BTreeMap;

use vipkeeper_crds::{Duration as Interval, Election, InterfaceChoice, NodeAddress};

use super::*;
use crate::inventory::InterfaceAddress;

pub(crate) fn config(name: &str, address: &str) -> NodeConfigSpec {
    let address: IpAddr = address.parse().unwrap();
    let family = AddressFamily::of(&address);
    NodeConfigSpec {
        node_name: "a".into(),
        router: name.into(),
        generation: 0,
        requires: Vec::new(),
        movement: Families::Together,
        sync_group: None,
        virtual_router_id: 51,
        version: ProtocolVersion::V3,
        advertisement_interval: Interval::from_millis(250),
        priority: 100,
        gives_way: false,
        others: Vec::new(),
        interface: InterfaceChoice::Around { address },
        families: vec![NodeFamily {
            family,
            addresses: vec![NodeAddress {
                address,
                prefix_length: family.bits(),
                interface: None,
            }],
            transport: NodeTransport::Multicast {
                group: None,
                extra_peers: Vec::new(),
            },
            source: None,
        }],
        authentication: NodeAuthentication::None,
        preemption: NodePreemption::Always,
        election: Election::default(),
        checksum: Checksum::Auto,
        address_lifetime: AddressLifetime::default(),
        linger: Interval::from_secs(1),
        servers: Vec::new(),
    }
}

fn secret() -> SecretKey {
    SecretKey {
        namespace: "vipkeeper-keys".into(),
        name: "vr".into(),
        key: "password".into(),
    }
}

fn with_password(name: &str) -> NodeConfigSpec {
    NodeConfigSpec {
        version: ProtocolVersion::V2,
        advertisement_interval: Interval::from_secs(2),
        authentication: NodeAuthentication::Password { secret: secret() },
        ..config(name, "192.0.2.100")
    }
}

fn keys(password: &[u8]) -> Keys {
    let mut keys = Keys::default();
    keys.insert(secret(), password);
    keys
}

fn interface(index: u32, addresses: &[&str]) -> Interface {
    let address = |text: &&str| {
        let (text, virtual_address) = match text.strip_prefix('*') {
            Some(text) => (text, true),
            None => (*text, false),
        };
        let (address, prefix_length) = text.split_once('/').unwrap();
        InterfaceAddress {
            address: address.parse().unwrap(),
            prefix_length: prefix_length.parse().unwrap(),
            virtual_address,
            tentative: false,
        }
    };
    Interface {
        index: Ifindex::new(index).unwrap(),
        running: true,
        mac: None,
        mtu: 1500,
        addresses: addresses.iter().map(address).collect(),
        default_route_ipv4: index == 2,
        default_route_ipv6: index == 3,
        forwards_ipv6: false,
    }
}

/// `lo`, `eth0` with the IPv4 default route, `eth1` with the IPv6 one. A `*` marks a virtual address.
fn inventory() -> Inventory {
    let all = [
        ("lo", interface(1, &["127.0.0.1/8", "192.0.2.100/32"])),
        (
            "eth0",
            interface(2, &["10.0.0.1/8", "fe80::2/64", "*203.0.113.9/24"]),
        ),
        (
            "eth1",
            interface(3, &["192.0.2.1/24", "fe80::3/64", "2001:db8::3/64"]),
        ),
    ];
    Inventory {
        interfaces: BTreeMap::from(all.map(|(name, i)| (name.to_owned(), i))),
    }
}

/// With no Settings.
fn plan_of(configs: &[NodeConfigSpec], keys: &Keys, inventory: &Inventory) -> Resolved {
    resolve(
        configs,
        &NodeSettings::default(),
        keys,
        inventory,
        &Speaker::default(),
        &Drained::default(),
    )
}

fn index_of(config: &NodeConfigSpec, inventory: &Inventory) -> (Option<u32>, Vec<String>) {
    let resolved = plan_of(std::slice::from_ref(config), &Keys::default(), inventory);
    let [router] = &resolved.plan.routers[..] else {
        panic!("{resolved:?}");
    };
    let notes = resolved.notes.into_iter().map(|n| n.message).collect();
    (router.interface.map(Ifindex::get), notes)
}

#[test]
fn each_way_to_choose_an_interface_finds_it() {
    let name = |name: &str| InterfaceChoice::Name { name: name.into() };
    let subnet = |network: &str, prefix_length| InterfaceChoice::Subnet {
        network: network.parse().unwrap(),
        prefix_length,
    };
    let around = |address: &str| InterfaceChoice::Around {
        address: address.parse().unwrap(),
    };
    let default_route = |family| InterfaceChoice::DefaultRoute { family };
    for (address, choice, expected) in [
        ("192.0.2.100", around("192.0.2.100"), Some(3)),
        ("10.9.9.9", around("10.9.9.9"), Some(2)),
        ("2001:db8::100", around("2001:db8::100"), Some(3)),
        ("198.51.100.1", around("198.51.100.1"), None),
        ("203.0.113.1", around("203.0.113.1"), None),
        ("198.51.100.1", default_route(AddressFamily::V4), Some(2)),
        ("2001:db8::100", default_route(AddressFamily::V6), Some(3)),
        ("198.51.100.1", name("eth1"), Some(3)),
        ("198.51.100.1", name("eth9"), None),
        ("198.51.100.1", subnet("10.0.0.0", 24), Some(2)),
        ("198.51.100.1", subnet("2001:db8::", 32), Some(3)),
        ("198.51.100.1", subnet("203.0.113.0", 24), None),
    ] {
        let config = NodeConfigSpec {
            interface: choice.clone(),
            ..config("r", address)
        };
        let (found, notes) = index_of(&config, &inventory());
        assert_eq!(found, expected, "{address} {choice:?}: {notes:?}");
        assert_eq!(notes.is_empty(), found.is_some(), "{notes:?}");
    }
}

#[test]
fn a_router_without_an_interface_waits_and_says_what_it_looked_for() {
    let (_, notes) = index_of(&config("r", "198.51.100.1"), &inventory());
    let [note] = &notes[..] else {
        panic!("{notes:?}");
    };
    assert!(
        note.contains("waits: no interface has a subnet with 198.51.100.1"),
        "{note}"
    );
    assert!(
        note.contains("eth1 (192.0.2.1/24, fe80::3/64, 2001:db8::3/64)"),
        "{note}"
    );
    assert!(
        !note.contains("203.0.113.9"),
        "virtual addresses are no evidence: {note}"
    );
    let (_, notes) = index_of(&config("r", "198.51.100.1"), &Inventory::default());
    assert!(notes[0].contains("there is none at all yet"), "{notes:?}");
}

#[test]
fn of_several_interfaces_the_most_specific_then_the_first_is_taken() {
    let mut inventory = inventory();
    let more = interface(9, &["192.0.2.9/25"]);
    inventory.interfaces.insert("eth2".into(), more);
    let (found, notes) = index_of(&config("r", "192.0.2.101"), &inventory);
    assert_eq!((found, notes.len()), (Some(9), 0));

    let same = interface(8, &["192.0.2.8/24"]);
    inventory.interfaces.insert("eth2".into(), same);
    let (found, notes) = index_of(&config("r", "192.0.2.101"), &inventory);
    assert_eq!(found, Some(3));
    assert!(
        notes[0].contains("runs on eth1; eth2 also has a subnet"),
        "{notes:?}"
    );
}

#[test]
fn a_router_of_both_families_is_one_instance_each_on_one_interface() {
    let mut config = config("r", "192.0.2.100");
    let sixth = self::config("r", "2001:db8::100").families;
    config.families.extend(sixth);
    let resolved = plan_of(&[config], &Keys::default(), &inventory());
    assert_eq!(resolved.notes, []);
    let instances: Vec<_> = resolved
        .plan
        .routers
        .iter()
        .map(|r| (r.family, r.interface.map(Ifindex::get), r.addresses.len()))
        .collect();
    assert_eq!(
        instances,
        [(Family::V4, Some(3), 1), (Family::V6, Some(3), 1)]
    );
}

#[test]
fn what_an_older_agent_cannot_do_it_leaves_out_and_says() {
    let config = NodeConfigSpec {
        requires: vec![features::MOVE_TOGETHER.into(), "Levitation".into()],
        ..config("r", "192.0.2.100")
    };
    let resolved = plan_of(&[config], &Keys::default(), &inventory());
    assert_eq!(resolved.plan.routers, []);
    let message = &resolved.notes[0].message;
    assert!(
        message.contains("UnsupportedFeature: it needs Levitation"),
        "{message}"
    );
}

#[test]
fn settings_limit_announcements() {
    let settings = NodeSettings {
        announcements_per_second: 50,
        announcement_burst: 7,
        ..NodeSettings::default()
    };
    let budget = |settings: &NodeSettings| {
        resolve(
            &[],
            settings,
            &Keys::default(),
            &inventory(),
            &Speaker::default(),
            &Drained::default(),
        )
        .plan
        .announcements
    };
    let expected = AnnouncementBudget {
        frames_per_second: 50,
        burst: 7,
    };
    assert_eq!(budget(&settings), expected);
    let unset = budget(&NodeSettings::default());
    assert_eq!(unset, AnnouncementBudget::default());
}

#[test]
fn a_password_is_eight_bytes_without_its_line_end() {
    let protocol = |value: &[u8]| {
        let resolved = plan_of(&[with_password("r")], &keys(value), &inventory());
        let notes: Vec<_> = resolved.notes.into_iter().map(|n| n.message).collect();
        (resolved.plan.routers.first().map(|r| r.protocol), notes)
    };
    let seconds = NonZeroU8::new(2).unwrap();
    let expect = |password: &[u8; 8]| {
        Some(Protocol::V2 {
            seconds,
            password: Some(*password),
        })
    };
    assert_eq!(protocol(b"1234\n"), (expect(b"1234\0\0\0\0"), vec![]));
    assert_eq!(protocol(b"12345678"), (expect(b"12345678"), vec![]));
    let (found, notes) = protocol(b"123456789");
    assert_eq!(found, expect(b"12345678"));
    assert!(notes[0].contains("9 bytes: the first 8 count"), "{notes:?}");
    assert!(!notes[0].contains("1234"), "{notes:?}");
    let (found, notes) = protocol(b"\n");
    assert_eq!(found, None);
    assert!(notes[0].contains("empty"), "{notes:?}");
}

#[test]
fn a_router_without_its_password_is_left_out_and_the_others_run() {
    let other = NodeConfigSpec {
        virtual_router_id: 52,
        ..config("other", "192.0.2.101")
    };
    let resolved = plan_of(&[with_password("r"), other], &Keys::default(), &inventory());
    let names: Vec<&str> = resolved.plan.routers.iter().map(|r| &*r.name).collect();
    assert_eq!(names, ["other"]);
    assert_eq!(resolved.notes.len(), 1);
    let note = &resolved.notes[0];
    assert_eq!((note.router.as_str(), note.family), ("r", Family::V4));
    assert!(
        note.message.contains("vipkeeper-keys/vr[password]"),
        "{note:?}"
    );
}

#[test]
fn one_vrid_of_one_family_runs_once_on_an_interface() {
    let configs = [
        config("first", "192.0.2.100"),
        config("second", "192.0.2.101"),
        config("elsewhere", "10.0.0.100"),
        config("sixth", "2001:db8::100"),
        config("waits", "198.51.100.1"),
        config("waits-too", "198.51.100.2"),
    ];
    let resolved = plan_of(&configs, &Keys::default(), &inventory());
    let names: Vec<&str> = resolved.plan.routers.iter().map(|r| &*r.name).collect();
    assert_eq!(names, ["first", "elsewhere", "sixth", "waits", "waits-too"]);
    let note = resolved
        .notes
        .iter()
        .find(|n| n.router == "second")
        .unwrap();
    assert!(
        note.message.contains("VRID 51 for IPv4 on eth1"),
        "{note:?}"
    );
}

#[test]
fn what_does_not_fit_the_interface_is_left_out() {
    let mut config = config("r", "2001:db8::1:0");
    config.families[0].addresses = (0..91_u128)
        .map(|i| NodeAddress {
            address: Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1 << 16 | i).into(),
            prefix_length: 128,
            interface: None,
        })
        .collect();
    let resolved = plan_of(&[config.clone()], &Keys::default(), &inventory());
    assert_eq!(resolved.plan.routers, []);
    assert!(
        resolved.notes[0]
            .message
            .contains("1504 bytes and eth1 has an MTU of 1500")
    );
    config.families[0].addresses.truncate(90);
    let resolved = plan_of(&[config], &Keys::default(), &inventory());
    assert_eq!(resolved.plan.routers.len(), 1, "{:?}", resolved.notes);
}

#[test]
fn the_groups_of_the_rfc_are_the_default() {
    for (address, expected) in [("192.0.2.100", "224.0.0.18"), ("2001:db8::100", "ff02::12")] {
        let resolved = plan_of(&[config("r", address)], &Keys::default(), &inventory());
        let Transport::Multicast { group, .. } = resolved.plan.routers[0].transport else {
            panic!("{resolved:?}");
        };
        assert_eq!(group.to_string(), expected);
    }
}

#[test]
fn a_node_is_not_its_own_peer() {
    let unicast = |peers: &[&str]| {
        let peer = |a: &&str| NodePeer {
            address: a.parse().unwrap(),
            min_ttl: 1,
        };
        let mut config = config("r", "192.0.2.100");
        config.families[0].transport = NodeTransport::Unicast {
            peers: peers.iter().map(peer).collect(),
        };
        plan_of(&[config], &Keys::default(), &inventory())
    };
    let resolved = unicast(&["192.0.2.1", "192.0.2.2"]);
    let peers = resolved.plan.routers[0].transport.peers();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].address.to_string(), "192.0.2.2");
    let resolved = unicast(&["192.0.2.1"]);
    assert_eq!(resolved.plan.routers[0].transport.peers(), []);
    assert!(resolved.notes[0].message.contains("runs alone"));
}

#[test]
fn a_router_waits_until_its_interface_has_the_source() {
    let from = |source: &str| {
        let mut config = config("r", "192.0.2.100");
        config.families[0].source = Some(source.parse().unwrap());
        config
    };
    assert_eq!(index_of(&from("192.0.2.1"), &inventory()).0, Some(3));
    let (found, notes) = index_of(&from("10.0.0.1"), &inventory());
    assert_eq!(found, None);
    assert!(
        notes[0].contains("eth1 has no address 10.0.0.1"),
        "{notes:?}"
    );
}

#[test]
fn everything_else_arrives_as_it_was_said() {
    let config = NodeConfigSpec {
        preemption: NodePreemption::Delayed {
            delay: Interval::from_secs(5),
        },
        election: Election {
            down_advertisements: 5,
            strict: true,
        },
        checksum: Checksum::Rfc5798,
        address_lifetime: AddressLifetime::Forever,
        ..config("r", "192.0.2.100")
    };
    let resolved = plan_of(&[config], &Keys::default(), &inventory());
    let router = &resolved.plan.routers[0];
    assert_eq!(
        router.preemption,
        Preemption::Delayed(Duration::from_secs(5))
    );
    assert_eq!(router.down_advertisements.get(), 5);
    assert!(router.strict);
    assert_eq!(router.address_lifetime, None);
    assert_eq!(
        router.protocol,
        Protocol::V3 {
            interval: Centiseconds::new(25).unwrap(),
            checksum: ChecksumPolicy::Only(ChecksumForm::Rfc5798),
        }
    );
}

#[test]
fn families_are_a_group_of_their_own_unless_independent_or_in_a_named_one() {
    let both = config("web", "192.0.2.100");
    let ipv6 = config("web", "2001:db8::100").families;
    let groups = |config: &NodeConfigSpec| {
        let families = [config.families.clone(), ipv6.clone()].concat();
        let config = NodeConfigSpec {
            families,
            ..config.clone()
        };
        let routers = plan_of(&[config], &Keys::default(), &inventory())
            .plan
            .routers;
        routers.into_iter().map(|r| r.sync).collect::<Vec<_>>()
    };
    let together = Some(SyncGroup::Families("web".into()));
    assert_eq!(groups(&both), [together.clone(), together]);
    let apart = NodeConfigSpec {
        movement: Families::Independent,
        ..both.clone()
    };
    assert_eq!(groups(&apart), [None, None]);
    let gateway = Some(SyncGroup::Named("gateway".into()));
    for movement in [Families::Together, Families::Independent] {
        let grouped = NodeConfigSpec {
            movement,
            sync_group: Some("gateway".into()),
            ..both.clone()
        };
        assert_eq!(groups(&grouped), [gateway.clone(), gateway.clone()]);
    }
}

#[test]
fn an_owner_runs_where_its_address_is_and_a_note_names_what_is_missing() {
    let owner = |address: &str| NodeConfigSpec {
        priority: 255,
        ..config("r", address)
    };
    // The address of eth1 itself: no evidence for anybody but its owner.
    assert_eq!(index_of(&config("r", "192.0.2.1"), &inventory()).0, None);
    let (found, notes) = index_of(&owner("192.0.2.1"), &inventory());
    assert_eq!((found, notes), (Some(3), Vec::new()));
    let (found, notes) = index_of(&owner("192.0.2.100"), &inventory());
    assert_eq!(
        found,
        Some(3),
        "the election keeps it out until it is there"
    );
    assert!(
        notes[0].contains("eth1 has no 192.0.2.100 of its own"),
        "{notes:?}"
    );
}

#[test]
fn a_drained_router_says_so_and_how_that_is_undone() {
    let drained: Drained =
        serde_json::from_str(r#"{"node":false,"routers":["web","own"]}"#).unwrap();
    let configs = [
        config("web", "192.0.2.100"),
        NodeConfigSpec {
            virtual_router_id: 52,
            ..config("db", "192.0.2.101")
        },
        NodeConfigSpec {
            virtual_router_id: 53,
            priority: 255,
            ..config("own", "192.0.2.1")
        },
    ];
    let settings = NodeSettings::default();
    let Resolved { plan, notes } = resolve(
        &configs,
        &settings,
        &Keys::default(),
        &inventory(),
        &Speaker::default(),
        &drained,
    );
    let are: Vec<bool> = plan.routers.iter().map(|router| router.drained).collect();
    assert_eq!(are, [true, false, true]);
    let of = |name: &str| {
        let found = notes.iter().find(|note| note.router == name);
        found.map(|note| note.message.as_str())
    };
    assert_eq!(
        of("web"),
        Some("drained: takes part with priority 1 until `vipkeeper-agent undrain web`")
    );
    assert_eq!(of("db"), None);
    let of_own = |note: &Note| note.router == "own" && note.message.contains("cannot be drained");
    assert!(notes.iter().any(of_own), "{notes:?}");
}

#[test]
fn a_router_that_gives_way_is_drained_with_its_group() {
    let grouped = |name: &str, gives_way| NodeConfigSpec {
        gives_way,
        sync_group: Some("gateway".to_owned()),
        ..config(name, "192.0.2.100")
    };
    let configs = [
        grouped("outside", true),
        NodeConfigSpec {
            virtual_router_id: 52,
            ..grouped("inside", false)
        },
        NodeConfigSpec {
            virtual_router_id: 53,
            ..config("db", "192.0.2.101")
        },
    ];
    let resolved = plan_of(&configs, &Keys::default(), &inventory());
    let are: Vec<bool> = resolved.plan.routers.iter().map(|r| r.drained).collect();
    assert_eq!(are, [true, true, false]);
    let notes = resolved.notes.iter();
    let mut notes = notes.filter(|note| note.message.starts_with("gives way"));
    assert_eq!(notes.next().unwrap().router, "outside");
}

#[test]
fn the_linger_is_that_of_the_configuration() {
    let router = &plan_of(
        &[config("web", "192.0.2.100")],
        &Keys::default(),
        &inventory(),
    )
    .plan
    .routers[0];
    assert_eq!(router.linger, Duration::from_secs(1));
}

/// 192.0.2.100, which finds `eth1`, and 10.0.0.9 on `interface`.
fn split(interface: InterfaceChoice) -> NodeConfigSpec {
    let mut config = config("r", "192.0.2.100");
    config.families[0].addresses.push(NodeAddress {
        address: [10, 0, 0, 9].into(),
        prefix_length: 32,
        interface: Some(interface),
    });
    config
}

fn named(name: &str) -> InterfaceChoice {
    InterfaceChoice::Name { name: name.into() }
}

fn places_of(config: &NodeConfigSpec, inventory: &Inventory) -> (Option<u32>, Vec<Option<u32>>) {
    let resolved = plan_of(std::slice::from_ref(config), &Keys::default(), inventory);
    let router = &resolved.plan.routers[0];
    let own = router.addresses.iter();
    let own = own.map(|a| a.interface.map(Ifindex::get)).collect();
    (router.interface.map(Ifindex::get), own)
}

#[test]
fn an_address_is_put_on_the_interface_that_it_names() {
    let subnet = InterfaceChoice::Subnet {
        network: [10, 0, 0, 0].into(),
        prefix_length: 8,
    };
    let family = AddressFamily::V4;
    for choice in [
        named("eth0"),
        subnet,
        InterfaceChoice::DefaultRoute { family },
    ] {
        let config = split(choice.clone());
        let expected = (Some(3), vec![None, Some(2)]);
        assert_eq!(places_of(&config, &inventory()), expected, "{choice:?}");
        assert_eq!(index_of(&config, &inventory()).1, [""; 0]);
    }
    // The router's own, by its name.
    let config = split(named("eth1"));
    assert_eq!(
        places_of(&config, &inventory()),
        (Some(3), vec![None, None])
    );
}

#[test]
fn a_router_waits_for_the_interface_of_an_address_and_names_both() {
    let mut config = split(named("eth9"));
    config.families[0].addresses.push(NodeAddress {
        address: [10, 0, 0, 10].into(),
        prefix_length: 32,
        interface: Some(named("eth9")),
    });
    let (found, notes) = index_of(&config, &inventory());
    assert_eq!((found, notes.len()), (None, 1), "{notes:?}");
    let start = "waits: 10.0.0.9 has no place: no interface is called eth9; there are eth0 (";
    assert!(notes[0].starts_with(start), "{notes:?}");

    let mut inventory = inventory();
    inventory.interfaces.get_mut("eth0").unwrap().running = false;
    let (found, notes) = index_of(&split(named("eth0")), &inventory);
    assert_eq!(found, Some(3), "the election keeps it out until it is up");
    let down = "waits: eth0, the interface of 10.0.0.9, is down or has no carrier";
    assert_eq!(notes, [down]);
}

#[test]
fn an_owner_lacks_an_address_on_the_interface_of_that() {
    let config = NodeConfigSpec {
        priority: 255,
        ..split(named("eth0"))
    };
    let (found, notes) = index_of(&config, &inventory());
    assert_eq!((found, notes.len()), (Some(3), 2), "{notes:?}");
    assert!(notes[0].contains("eth0 has no 10.0.0.9 of its own"));
    assert!(notes[1].contains("eth1 has no 192.0.2.100 of its own"));
}

#[test]
fn sockets_are_opened_where_addresses_are() {
    let plan_of = |config: &NodeConfigSpec| {
        plan_of(std::slice::from_ref(config), &Keys::default(), &inventory()).plan
    };
    let keys = |plan: &Plan| -> Vec<u32> {
        let keys = crate::election::link_keys(plan);
        keys.into_iter().map(|(index, _)| index.get()).collect()
    };
    assert_eq!(keys(&plan_of(&split(named("eth0")))), [2, 3]);
    assert_eq!(keys(&plan_of(&split(named("eth1")))), [3]);
    assert_eq!(keys(&plan_of(&split(named("eth9")))), [0; 0], "it waits");
}
