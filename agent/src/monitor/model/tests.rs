use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_route::address::{AddressHeaderFlags, AddressProtocol};
use netlink_packet_route::route::RouteAddress;

use super::*;

fn link(index: u32, name: &str, up: bool) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.link_layer_type = LinkLayerType::Ether;
    if up {
        message.header.flags = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
    }
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(1_500),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, index as u8]),
    ];
    RouteNetlinkMessage::NewLink(message)
}

fn address_message(index: u32, address: &str, tag: Option<u8>) -> AddressMessage {
    let mut message = AddressMessage::default();
    let address: IpAddr = address.parse().unwrap();
    message.header.index = index;
    message.header.prefix_len = if address.is_ipv4() { 24 } else { 64 };
    message.attributes.push(AddressAttribute::Address(address));
    let tag = tag.map(|tag| AddressAttribute::Protocol(AddressProtocol::from(tag)));
    message.attributes.extend(tag);
    message
}

fn added(index: u32, address: &str, tag: Option<u8>) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewAddress(address_message(index, address, tag))
}

fn removed(index: u32, address: &str, tag: Option<u8>) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelAddress(address_message(index, address, tag))
}

fn default_route(index: u32) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Gateway(RouteAddress::Inet(Ipv4Addr::new(192, 0, 2, 254))),
        RouteAttribute::Oif(index),
    ];
    RouteNetlinkMessage::NewRoute(message)
}

fn model(messages: &[RouteNetlinkMessage]) -> Model {
    let mut model = Model::default();
    for message in messages {
        model.apply(message);
    }
    model
}

fn interface(model: &Model, name: &str) -> Interface {
    let inventory = model.inventory(&Virtual::Tagged);
    inventory.interfaces[name].clone()
}

#[test]
fn an_interface_is_running_with_carrier_alone() {
    let up = model(&[link(2, "eth0", true)]);
    assert!(interface(&up, "eth0").running);
    assert_eq!(
        interface(&up, "eth0").mac,
        Some(MacAddr([2, 0, 0, 0, 0, 2]))
    );
    for missing in [LinkFlags::Up, LinkFlags::Running, LinkFlags::LowerUp] {
        let RouteNetlinkMessage::NewLink(mut message) = link(2, "eth0", true) else {
            panic!("not a link");
        };
        message.header.flags -= missing;
        let model = model(&[RouteNetlinkMessage::NewLink(message)]);
        assert!(!interface(&model, "eth0").running, "{missing:?}");
    }
}

#[test]
fn an_interface_without_ethernet_has_no_mac_address() {
    let RouteNetlinkMessage::NewLink(mut message) = link(2, "wg0", true) else {
        panic!("not a link");
    };
    message.header.link_layer_type = LinkLayerType::None;
    let model = model(&[RouteNetlinkMessage::NewLink(message)]);
    assert_eq!(interface(&model, "wg0").mac, None);
}

#[test]
fn our_own_addresses_are_virtual_and_never_the_primary_one() {
    let model = model(&[
        link(2, "eth0", true),
        added(2, "192.0.2.100", Some(TAG)),
        added(2, "fe80::100", Some(TAG)),
        added(2, "192.0.2.1", None),
        added(2, "fe80::1", None),
    ]);
    let state = interface(&model, "eth0").state();
    assert_eq!(state.ipv4, Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(state.ipv6, Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)));
}

#[test]
fn without_tags_the_plan_says_what_is_virtual() {
    let model = model(&[link(2, "eth0", true), added(2, "192.0.2.100", None)]);
    let listed = Virtual::Listed(["192.0.2.100".parse().unwrap()].into());
    let inventory = model.inventory(&listed);
    assert_eq!(inventory.interfaces["eth0"].state().ipv4, None);
    assert!(interface(&model, "eth0").state().ipv4.is_some());
}

#[test]
fn a_tentative_link_local_address_is_no_source_until_detection_has_ended() {
    let mut message = address_message(2, "fe80::1", None);
    message.header.flags = AddressHeaderFlags::Tentative;
    let mut model = model(&[
        link(2, "eth0", true),
        RouteNetlinkMessage::NewAddress(message),
    ]);
    assert_eq!(interface(&model, "eth0").state().ipv6, None);
    assert_eq!(model.apply(&added(2, "fe80::1", None)), Stale::Nothing);
    assert!(interface(&model, "eth0").state().ipv6.is_some());
}

#[test]
fn a_second_address_of_the_host_has_its_order_listed_again() {
    let mut model = model(&[link(2, "eth0", true)]);
    assert_eq!(model.apply(&added(2, "192.0.2.1", None)), Stale::Nothing);
    assert_eq!(
        model.apply(&added(2, "192.0.2.100", Some(TAG))),
        Stale::Nothing
    );
    assert_eq!(model.apply(&added(2, "192.0.2.2", None)), Stale::Everything);
    assert_eq!(model.apply(&added(2, "192.0.2.2", None)), Stale::Nothing);
}

#[test]
fn a_primary_address_that_is_removed_is_gone() {
    let mut model = model(&[link(2, "eth0", true), added(2, "192.0.2.1", None)]);
    model.apply(&removed(2, "192.0.2.1", None));
    assert_eq!(interface(&model, "eth0").state().ipv4, None);
}

#[test]
fn a_removed_interface_takes_its_addresses_and_routes_along() {
    let mut model = model(&[link(2, "eth0", true), added(2, "192.0.2.1", None)]);
    model.add_route(&default_route(2));
    assert!(interface(&model, "eth0").default_route_ipv4);
    let RouteNetlinkMessage::NewLink(message) = link(2, "eth0", true) else {
        panic!("not a link");
    };
    model.apply(&RouteNetlinkMessage::DelLink(message));
    assert_eq!(model, Model::default());
}

#[test]
fn a_bridge_port_leaving_its_bridge_is_no_interface_leaving() {
    let mut model = model(&[link(2, "eth0", true)]);
    let RouteNetlinkMessage::NewLink(mut message) = link(2, "eth0", false) else {
        panic!("not a link");
    };
    message.header.interface_family = AddressFamily::Bridge;
    model.apply(&RouteNetlinkMessage::NewLink(message.clone()));
    model.apply(&RouteNetlinkMessage::DelLink(message));
    assert!(interface(&model, "eth0").running);
}

#[test]
fn default_routes_are_listed_again_when_one_changes_or_a_link_goes_down() {
    let mut model = model(&[link(2, "eth0", true)]);
    assert_eq!(model.apply(&default_route(2)), Stale::Routes);
    let RouteNetlinkMessage::NewRoute(mut message) = default_route(2) else {
        panic!("not a route");
    };
    message.header.destination_prefix_length = 24;
    let other = RouteNetlinkMessage::NewRoute(message);
    assert_eq!(model.apply(&other), Stale::Nothing);
    assert_eq!(model.apply(&link(2, "eth0", false)), Stale::Routes);
}

#[test]
fn only_the_removal_of_an_address_of_ours_is_told_to_the_network_thread() {
    let ours = Virtual::Tagged;
    let place = (Ifindex::new(2).unwrap(), "192.0.2.100".parse().unwrap());
    let event = removed(2, "192.0.2.100", Some(TAG));
    assert_eq!(removed_address(&event, &ours), Some(place));
    let event = removed(2, "192.0.2.100", None);
    assert_eq!(removed_address(&event, &ours), None);
    let event = added(2, "192.0.2.100", Some(TAG));
    assert_eq!(removed_address(&event, &ours), None);
}
