//! RFC 9568 §5.2 and §6.1: what values there are, and what they are when nothing is said.

use vipkeeper_vrrp::{
    Centiseconds, ChecksumPolicy, InvalidRouter, Preemption, Priority, RouterConfig, Transport,
};
use vipkeeper_wire::Vrid;

use crate::bench::{Bench, SECOND, VIP, addresses, router, router_v6, sent, unicast, v3};
use crate::forge::peer;

#[test]
fn c13_every_vrid_but_0_can_be_configured_and_is_sent() {
    assert_eq!(Vrid::new(0), None);
    for vrid in [1, 10, 255] {
        let config = RouterConfig {
            vrid: Vrid::new(vrid).unwrap(),
            ..router(100)
        };
        assert_eq!(sent(&Bench::new(&[config]).until_active())[0].vrid, vrid);
    }
}

#[test]
fn c16_the_default_priority_is_100() {
    assert_eq!(Priority::DEFAULT.get(), 100);
}

#[test]
fn c17_priority_0_cannot_be_configured() {
    assert_eq!(Priority::new(0), None);
    assert_eq!(Priority::new(1).map(Priority::get), Some(1));
    assert_eq!(Priority::new(255), Some(Priority::OWNER));
}

#[test]
fn c21_c22_intervals_are_1_to_4095_centiseconds() {
    for value in [0, 4_096, u16::MAX] {
        assert_eq!(Centiseconds::new(value), None);
    }
    for value in [1, 100, 4_095] {
        let config = RouterConfig {
            protocol: v3(value),
            ..router(100)
        };
        let expected = u128::from(value) * 10;
        let log = Bench::new(&[config]).until_active();
        assert_eq!(sent(&log)[0].interval.as_millis(), expected);
    }
}

#[test]
fn c30_addresses_are_sent_in_the_configured_order_by_every_run() {
    for order in [[102, 100, 101], [100, 101, 102]] {
        let list = order.map(peer);
        let config = RouterConfig {
            addresses: addresses(&list),
            ..router(100)
        };
        for _ in 0..2 {
            let mut bench = Bench::active(config.clone());
            assert_eq!(sent(&bench.advance(SECOND))[0].addresses, list);
        }
    }
}

#[test]
fn c28_an_ipv6_list_is_sent_as_written() {
    let log = Bench::new(&[router_v6(100)]).until_active();
    assert_eq!(sent(&log)[0].addresses, crate::bench::VIP_V6);
    let global_alone = RouterConfig {
        addresses: addresses(&["2001:db8::100".parse().unwrap()]),
        ..router_v6(100)
    };
    let log = Bench::new(&[global_alone]).until_active();
    assert_eq!(
        sent(&log)[0].addresses,
        ["2001:db8::100".parse::<std::net::IpAddr>().unwrap()]
    );
}

#[test]
fn c32_preemption_is_on_by_default() {
    assert_eq!(Preemption::default(), Preemption::Always);
    assert_eq!(ChecksumPolicy::default(), ChecksumPolicy::Auto);
}

#[test]
fn c27_every_address_of_a_router_is_of_its_family() {
    let v6 = "2001:db8::1";
    let rows = [
        RouterConfig {
            addresses: addresses(&[VIP, v6.parse().unwrap()]),
            ..router(100)
        },
        RouterConfig {
            source: v6.parse().ok(),
            ..router(100)
        },
        RouterConfig {
            transport: unicast(&[(v6, 0)]),
            ..router(100)
        },
        RouterConfig {
            transport: Transport::Multicast {
                group: v6.parse().unwrap(),
                extra_peers: Vec::new(),
            },
            ..router(100)
        },
    ];
    for row in rows {
        let refused = row.validate();
        assert_eq!(
            refused,
            Err(InvalidRouter::MixedFamily(v6.parse().unwrap()))
        );
    }
}

#[test]
fn a_router_has_between_1_and_255_addresses() {
    let of = |count: usize| {
        let list: Vec<_> = (0..count)
            .map(|n| std::net::IpAddr::from([10, 78, (n / 256) as u8, (n % 256) as u8]))
            .collect();
        RouterConfig {
            addresses: addresses(&list),
            ..router(100)
        }
    };
    for count in [0, 256] {
        assert_eq!(
            of(count).validate(),
            Err(InvalidRouter::AddressCount(count))
        );
    }
    for count in [1, 255] {
        let log = Bench::new(&[of(count)]).until_active();
        assert_eq!(sent(&log)[0].addresses.len(), count);
    }
}
