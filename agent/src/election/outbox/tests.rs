use vipkeeper_vrrp::{GratuitousForm, Ifindex, RouterId};
use vipkeeper_wire::MacAddr;

use super::*;

fn transmit(source: &str, destination: &str) -> Transmit {
    Transmit {
        router: RouterId(1),
        interface: Ifindex::new(2).unwrap(),
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        payload: [0x31, 10, 100, 1].into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn rfc9568_5_1_1_an_ipv4_advertisement_brings_its_own_header_with_ttl_255() {
    let transmit = transmit("10.77.0.1", "224.0.0.18");
    let header = header_of(&transmit);
    // Version and length, CS6; 24 bytes; no identification; TTL 255, protocol 112, checksum; addresses.
    assert_eq!(hex(&header), "45c0001800000000ff70d0550a4d0001e0000012");
    let message = message_of(&transmit, &header);
    let destination = transmit.destination;
    assert_eq!(message.target, Target::Address { destination });
    assert_eq!(message.parts, [&header[..], &transmit.payload[..]]);
}

#[test]
fn an_ipv6_advertisement_leaves_its_header_to_the_kernel_and_names_its_source() {
    let transmit = transmit("fe80::1", "ff02::12");
    let header = header_of(&transmit);
    let message = message_of(&transmit, &header);
    let target = Target::AddressFrom {
        destination: "ff02::12".parse().unwrap(),
        source: "fe80::1".parse().unwrap(),
        interface: transmit.interface,
    };
    assert_eq!(message.target, target);
    assert_eq!(message.parts, [&transmit.payload[..], &[]]);
}

#[test]
fn announcements_are_whole_frames_of_their_family() {
    let announce = |address: &str| {
        frame_of(&Announcement {
            interface: Ifindex::new(2).unwrap(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            address: address.parse().unwrap(),
            form: GratuitousForm::Reply,
            forwards: false,
        })
    };
    let arp = announce("192.0.2.100");
    assert_eq!(arp.length, arp::FRAME_LEN);
    assert!(hex(&arp.bytes).starts_with("ffffffffffff02000000000108060001080006040002"));
    let na = announce("2001:db8::100");
    assert_eq!(na.length, ndp::FRAME_LEN);
    assert!(hex(&na.bytes).starts_with("33330000000102000000000186dd"));
}

#[test]
fn the_same_trouble_is_told_once_a_second_and_counted_each_time() {
    let ports = Arc::new(Ports::new().unwrap());
    let mut outbox = Outbox::new(Arc::clone(&ports));
    let key = (Ifindex::new(2).unwrap(), Family::V4);
    let error = || io::Error::from_raw_os_error(libc::ENOBUFS);
    let failed = || Sent {
        sent: 0,
        failed: 3,
        error: Some(error()),
    };
    let at = |millis| Time::ZERO + Duration::from_millis(millis);
    for millis in [0, 10, 999, 1_000] {
        outbox.note(key, Activity::Advertise, failed(), at(millis));
    }
    outbox.note(key, Activity::Announce, failed(), at(1_001));
    let told = std::iter::from_fn(|| ports.events.pop()).count();
    assert_eq!(told, 3);
    let failures = ports.vitals.advertise_failures.load(Ordering::Relaxed);
    assert_eq!(failures, 12);
}

#[test]
fn events_beyond_the_ring_are_counted() {
    let ports = Arc::new(Ports::new().unwrap());
    let outbox = Outbox::new(Arc::clone(&ports));
    for _ in 0..5_000 {
        outbox.tell(Event::NotRealtime { errno: 1 });
    }
    assert_eq!(
        ports.vitals.events_dropped.load(Ordering::Relaxed),
        5_000 - 4_096
    );
}

#[test]
fn orders_that_do_not_fit_wait_in_their_order() {
    let ports = Arc::new(Ports::new().unwrap());
    let mut outbox = Outbox::new(Arc::clone(&ports));
    let install = |ticket| {
        Output::Install(vipkeeper_vrrp::Install {
            router: RouterId(1),
            ticket: vipkeeper_vrrp::Ticket(ticket),
            interface: Ifindex::new(2).unwrap(),
            addresses: Arc::new([]),
            lifetime: None,
        })
    };
    for ticket in 0..5_000 {
        outbox.put(install(ticket));
    }
    outbox.flush(&[], None, Time::ZERO);
    assert!(outbox.has_backlog());
    let mut tickets = Vec::new();
    while tickets.len() < 5_000 {
        while let Some(Order::Install(install)) = ports.orders.pop() {
            tickets.push(install.ticket.0);
        }
        outbox.flush(&[], None, Time::ZERO);
    }
    assert!(!outbox.has_backlog());
    assert!(tickets.iter().copied().eq(0..5_000));
}
