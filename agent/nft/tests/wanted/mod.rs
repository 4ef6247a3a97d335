//! What `golden/whole.nft` does, as it is asked for.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use vipkeeper_nft::{
    Endpoint, Family, Mark, Ports, Prefix, Protocol, Ruleset, Table, TableName, Traffic,
};

pub(crate) fn table(ruleset: &Ruleset) -> Table {
    Table::new(TableName::new("vipkeeper").unwrap(), ruleset)
}

pub(crate) fn whole() -> Ruleset {
    let (v4, v6) = (address("192.0.2.1"), address("2001:db8::1"));
    let traffic = |address, protocol, ports| Traffic {
        address,
        protocol,
        ports,
    };
    let web = |address| Endpoint {
        address,
        protocol: Protocol::Tcp,
        port: 80,
    };
    let prefixes = |all: &[(&str, u8)]| {
        let all = all.iter();
        all.map(|(first, length)| Prefix::new(address(first), *length).unwrap())
            .collect()
    };
    let mark = Mark {
        family: Family::V4,
        mark: NonZeroU32::new(7).unwrap(),
    };
    let ssh = (Protocol::Tcp, Ports::One(22));
    Ruleset {
        masqueraded: [
            traffic(v4, Protocol::Tcp, Ports::One(80)),
            traffic(v4, Protocol::Udp, Ports::One(53)),
            traffic(v4, Protocol::Sctp, Ports::All),
            traffic(v6, Protocol::Tcp, Ports::One(80)),
            traffic(v6, Protocol::Sctp, Ports::All),
        ]
        .into(),
        unmasqueraded: [
            (
                web(v4),
                [socket("10.0.0.2:8080"), socket("10.0.0.3:80")].into(),
            ),
            (web(v6), [socket("[2001:db8:1::2]:8080")].into()),
        ]
        .into(),
        masqueraded_marks: [mark].into(),
        restricted: [
            (
                web(v4),
                prefixes(&[
                    ("198.51.100.0", 24),
                    ("203.0.113.7", 32),
                    ("198.51.100.9", 32),
                ]),
            ),
            (
                web(v6),
                prefixes(&[("2001:db8:1::", 48), ("198.51.100.0", 24)]),
            ),
        ]
        .into(),
        closed: [
            (v4, [ssh, (Protocol::Udp, Ports::All)].into()),
            (v6, [ssh].into()),
        ]
        .into(),
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
