//! Our table of nftables on the real kernel: it stands as it was written, what others do to it is noticed, and packets
//! fare as it says. What it does beside IPVS is tested in the rung `uml`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::nftables::Nftables;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Node, tests};
use vipkeeper_nft::{
    Difference, Endpoint, Ports, Prefix, Protocol, Ruleset, Table, TableName, Traffic,
};

use crate::machine;

tests! {
    beside a_table_stands_as_it_was_written_until_somebody_changes_it,
    beside five_thousand_services_fit_one_batch,
    beside source_ranges_close_one_port_to_other_clients,
    beside a_closed_address_answers_echo_requests_and_its_open_ports_only,
}

/// A connection that is not made by then is not made: its packets are dropped.
const DROPPED: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(5);

fn a_table_stands_as_it_was_written_until_somebody_changes_it() -> Result<()> {
    let lab = machine::lab(&["a"], 1)?;
    let nftables = Nftables::of(lab.node("a")?.namespace())?;
    let web = endpoint("192.0.2.100".parse()?, 80);
    let web6 = endpoint("2001:db8::100".parse()?, 80);
    let mut ruleset = Ruleset {
        masqueraded: [
            web.into(),
            endpoint(web.address, 81).into(),
            web6.into(),
            everything("192.0.2.101".parse()?),
        ]
        .into(),
        unmasqueraded: [
            (
                web,
                ["10.0.0.1:80".parse()?, "10.0.0.2:8080".parse()?].into(),
            ),
            (web6, ["[2001:db8:1::1]:80".parse()?].into()),
        ]
        .into(),
        restricted: [
            (web, ranges("198.51.100.0", 24)?),
            (web6, ranges("2001:db8:1::", 48)?),
        ]
        .into(),
        closed: [web.address, web6.address]
            .map(|address| (address, BTreeSet::new()))
            .into(),
        ..Ruleset::default()
    };
    let first = table(&ruleset)?;
    ensure!(first.compare(&nftables.observe(&first)?) == Err(Difference::Table));
    for _ in 0..2 {
        nftables.put(&first)?;
        first.compare(&nftables.observe(&first)?)?;
    }
    let generation = nftables.generation()?;
    first.compare(&nftables.observe(&first)?)?;
    ensure!(
        nftables.generation()? == generation,
        "to look changes nothing"
    );

    let kept = ruleset.unmasqueraded.remove(&web6);
    let second = table(&ruleset)?;
    let less = second.compare(&nftables.observe(&second)?);
    ensure!(less == Err(Difference::Set("nat6".to_owned())), "{less:?}");
    ruleset.unmasqueraded.extend(kept.map(|kept| (web6, kept)));
    ruleset.masqueraded.remove(&web.into());
    let second = table(&ruleset)?;
    let less = second.compare(&nftables.observe(&second)?);
    ensure!(
        less == Err(Difference::Elements("fullnat4".to_owned())),
        "{less:?}"
    );
    nftables.put(&second)?;
    second.compare(&nftables.observe(&second)?)?;
    ensure!(
        nftables.generation()? != generation,
        "a change is a generation"
    );
    ensure!(first.compare(&nftables.observe(&first)?).is_err());

    for _ in 0..2 {
        nftables.remove(&second)?;
        ensure!(!nftables.observe(&second)?.exists());
    }
    Ok(())
}

fn five_thousand_services_fit_one_batch() -> Result<()> {
    let lab = machine::lab(&["a"], 1)?;
    let nftables = Nftables::of(lab.node("a")?.namespace())?;
    let mut ruleset = Ruleset::default();
    for port in 1..=2500 {
        for address in ["192.0.2.100", "2001:db8::100"] {
            let endpoint = endpoint(address.parse()?, port);
            let mut from = ranges("198.51.100.0", 24)?;
            from.extend(ranges("2001:db8:1::", 48)?);
            ruleset.restricted.insert(endpoint, from);
            ruleset.masqueraded.insert(endpoint.into());
        }
    }
    let table = table(&ruleset)?;
    nftables.put(&table)?;
    Ok(table.compare(&nftables.observe(&table)?)?)
}

fn source_ranges_close_one_port_to_other_clients() -> Result<()> {
    let lab = machine::lab(&["a"], 1)?;
    let (a, client) = (lab.node("a")?, lab.client());
    let nftables = Nftables::of(a.namespace())?;
    for (address, from, inside, outside) in [
        (
            IpAddr::from(a.ipv4(0)),
            IpAddr::from(client.ipv4(0)),
            24,
            "198.51.100.0",
        ),
        (
            IpAddr::from(a.ipv6(0)),
            IpAddr::from(client.ipv6(0)),
            64,
            "2001:db8:1::",
        ),
    ] {
        let (web, other) = (listen(a, address, 80)?, listen(a, address, 81)?);
        await_connection(client, web.local_addr()?)?;
        let only = |ranges| {
            let restricted = BTreeMap::from([(endpoint(address, 80), ranges)]);
            nftables.put(&table(&Ruleset {
                restricted,
                ..Ruleset::default()
            })?)
        };
        only(ranges(outside, inside)?)?;
        ensure!(
            !connects(client, web.local_addr()?)?,
            "{address}: from {from}"
        );
        ensure!(
            connects(client, other.local_addr()?)?,
            "{address}: another port"
        );
        ensure!(
            connects(a, web.local_addr()?)?,
            "{address}: the node itself is none of its clients"
        );
        let mut both = ranges(outside, inside)?;
        both.extend(ranges(&from.to_string(), inside)?);
        only(both)?;
        ensure!(
            connects(client, web.local_addr()?)?,
            "{address}: from {from}"
        );
        only(BTreeSet::new())?;
        ensure!(
            !connects(client, web.local_addr()?)?,
            "{address}: from nowhere"
        );
    }
    Ok(())
}

fn a_closed_address_answers_echo_requests_and_its_open_ports_only() -> Result<()> {
    let lab = machine::lab(&["a"], 1)?;
    let (a, client) = (lab.node("a")?, lab.client());
    a.namespace().ip("addr add 192.0.2.100/32 dev eth0\n\
         addr add 2001:db8::100/128 dev eth0 nodad\n")?;
    let nftables = Nftables::of(a.namespace())?;
    for (own, address) in [
        (IpAddr::from(a.ipv4(0)), "192.0.2.100".parse()?),
        (IpAddr::from(a.ipv6(0)), "2001:db8::100".parse()?),
    ] {
        let (open, shut) = (listen(a, address, 80)?, listen(a, address, 81)?);
        let elsewhere = listen(a, own, 81)?;
        await_connection(client, shut.local_addr()?)?;
        nftables.put(&table(&Ruleset {
            closed: [(address, [(Protocol::Tcp, Ports::One(80))].into())].into(),
            ..Ruleset::default()
        })?)?;
        // Who has the address is asked anew.
        client.namespace().ip("neigh flush all")?;
        ensure!(
            connects(client, open.local_addr()?)?,
            "{address}: its open port"
        );
        ensure!(
            !connects(client, shut.local_addr()?)?,
            "{address}: another port"
        );
        ensure!(
            connects(client, elsewhere.local_addr()?)?,
            "{own}: another address"
        );
        lab.meter(address)?.await_answers(PATIENCE)?;
        nftables.put(&table(&Ruleset {
            closed: [(address, [(Protocol::Tcp, Ports::All)].into())].into(),
            ..Ruleset::default()
        })?)?;
        ensure!(
            connects(client, shut.local_addr()?)?,
            "{address}: every port is open"
        );
    }
    Ok(())
}

fn table(ruleset: &Ruleset) -> Result<Table> {
    Ok(Table::new(TableName::new("vipkeeper")?, ruleset))
}

fn endpoint(address: IpAddr, port: u16) -> Endpoint {
    Endpoint {
        address,
        protocol: Protocol::Tcp,
        port,
    }
}

fn everything(address: IpAddr) -> Traffic {
    Traffic {
        address,
        protocol: Protocol::Udp,
        ports: Ports::All,
    }
}

fn ranges(address: &str, length: u8) -> Result<BTreeSet<Prefix>> {
    Ok(Prefix::new(address.parse()?, length).into_iter().collect())
}

/// The kernel makes its connections; nobody need take them.
fn listen(node: &Node, address: IpAddr, port: u16) -> Result<TcpListener> {
    node.namespace()
        .run(|| Ok(TcpListener::bind((address, port))?))
}

fn connects(from: &Node, to: SocketAddr) -> Result<bool> {
    from.namespace()
        .run(|| Ok(TcpStream::connect_timeout(&to, DROPPED).is_ok()))
}

/// The lab's bridge forwards, and addresses are no longer tentative.
fn await_connection(from: &Node, to: SocketAddr) -> Result<()> {
    wait::until("a connection without a table", PATIENCE, || {
        Ok(Seen::when(connects(from, to)?, |made| *made).map(|_| ()))
    })
}
