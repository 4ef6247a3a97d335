//! Our table of nftables beside the real IPVS: what the kernel does with a packet depends on which of the two sees it first.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use vipkeeper_e2e::nftables::Nftables;
use vipkeeper_e2e::{DirectorLan, Ipvsadm, Node, Place, Taking, tests};
use vipkeeper_nft::{Endpoint, Prefix, Protocol, Ruleset, Table, TableName};

tests! {
    beside masquerading_brings_answers_back_through_the_director,
    beside a_real_server_by_direct_routing_keeps_the_client_beside_one_that_is_masqueraded,
    beside a_real_server_by_nat_keeps_the_client_beside_one_that_is_masqueraded,
    beside source_ranges_hold_before_ipvs_takes_a_packet,
    beside a_closed_address_still_serves_what_ipvs_takes,
}

const PORT: u16 = 80;
const CONNECTIONS: usize = 6;
/// A connection that is not made by then is not made: its packets are dropped.
const DROPPED: Duration = Duration::from_millis(300);

fn masquerading_brings_answers_back_through_the_director() -> Result<()> {
    let lan = DirectorLan::new(1, 1, Place::Inside)?;
    let _servers = lan.start_servers(PORT, &[])?;
    for target in services(&lan, "-m")? {
        let without = lan.client().with_patience(DROPPED).tcp(target, 1)?;
        ensure!(
            without.answered() == 0,
            "{target} without a table: {without}"
        );
        put(&lan, &masqueraded(target))?;
        let tally = lan.client().tcp(target, CONNECTIONS)?;
        ensure!(tally.answered() == CONNECTIONS, "{target}: {tally}");
    }
    Ok(())
}

fn a_real_server_by_direct_routing_keeps_the_client_beside_one_that_is_masqueraded() -> Result<()> {
    let lan = DirectorLan::new(1, 1, Place::Beside)?;
    let addresses = DirectorLan::virtual_addresses();
    for address in addresses {
        lan.take(&[address], Taking::Direct)?;
    }
    let _servers = lan.start_servers(PORT, &addresses)?;
    for target in services(&lan, "-g")? {
        // Masqueraded it would answer the director, to whom its answer comes from an address of his own.
        put(&lan, &masqueraded(target))?;
        let tally = lan.client().tcp(target, CONNECTIONS)?;
        ensure!(tally.answered() == CONNECTIONS, "{target}: {tally}");
    }
    Ok(())
}

fn a_real_server_by_nat_keeps_the_client_beside_one_that_is_masqueraded() -> Result<()> {
    let lan = DirectorLan::new(1, 2, Place::Inside)?;
    let _servers = lan.start_servers(PORT, &[])?;
    let [first, second] = lan.servers() else {
        bail!("two real servers");
    };
    let targets = services(&lan, "-m")?;
    let kept = |target: &SocketAddr| {
        let at = SocketAddr::new(lan.address_of(first, target.ip()), PORT);
        (endpoint(*target), [at].into())
    };
    put(
        &lan,
        &Ruleset {
            masqueraded: targets.iter().map(|t| endpoint(*t).into()).collect(),
            unmasqueraded: targets.iter().map(kept).collect(),
            ..Ruleset::default()
        },
    )?;
    for target in &targets {
        // The first answers the client itself, and has no way there.
        let client = lan.client().with_patience(DROPPED);
        let tally = client.tcp(*target, CONNECTIONS)?;
        ensure!(
            tally.of(first.name()) == 0 && tally.of(second.name()) == CONNECTIONS / 2,
            "{target}: {tally}"
        );
    }
    lan.set_gateway_of_director(&lan.directors()[0])?;
    for target in targets {
        let tally = lan.client().tcp(target, CONNECTIONS)?;
        ensure!(tally.answered() == CONNECTIONS, "{target}: {tally}");
    }
    Ok(())
}

fn source_ranges_hold_before_ipvs_takes_a_packet() -> Result<()> {
    let lan = DirectorLan::new(1, 1, Place::Inside)?;
    let _servers = lan.start_servers(PORT, &[])?;
    for target in services(&lan, "-m")? {
        for (from, allowed) in [("192.0.2.0", true), ("203.0.113.0", false)] {
            let from6 = if allowed {
                "2001:db8::"
            } else {
                "2001:db8:ff::"
            };
            let ranges: BTreeSet<_> = [(from, 24), (from6, 64)]
                .into_iter()
                .filter_map(|(first, length)| Prefix::new(first.parse().ok()?, length))
                .collect();
            put(
                &lan,
                &Ruleset {
                    restricted: [(endpoint(target), ranges)].into(),
                    ..masqueraded(target)
                },
            )?;
            let tally = lan.client().with_patience(DROPPED).tcp(target, 1)?;
            ensure!(
                tally.answered() == usize::from(allowed),
                "{target} from {from}: {tally}"
            );
        }
    }
    Ok(())
}

fn a_closed_address_still_serves_what_ipvs_takes() -> Result<()> {
    let lan = DirectorLan::new(1, 1, Place::Inside)?;
    let director = &lan.directors()[0];
    let _servers = lan.start_servers(PORT, &[])?;
    for target in services(&lan, "-m")? {
        let own = SocketAddr::new(target.ip(), 22);
        let _listener = listen(director, own)?;
        put(&lan, &masqueraded(target))?;
        ensure!(connects(lan.lab().client(), own)?, "{own} while it is open");
        put(
            &lan,
            &Ruleset {
                closed: [(target.ip(), BTreeSet::new())].into(),
                ..masqueraded(target)
            },
        )?;
        ensure!(!connects(lan.lab().client(), own)?, "{own} is closed");
        let tally = lan.client().tcp(target, CONNECTIONS)?;
        ensure!(tally.answered() == CONNECTIONS, "{target}: {tally}");
        lan.lab()
            .meter(target.ip())?
            .await_answers(Duration::from_secs(5))?;
    }
    Ok(())
}

/// A service of each family at the director, with one real server by `method` on the service's port; nobody rewrites its
/// source yet.
fn services(lan: &DirectorLan, method: &str) -> Result<Vec<SocketAddr>> {
    let director = &lan.directors()[0];
    let ipvsadm = Ipvsadm::at(director);
    let mut services = Vec::new();
    for address in DirectorLan::virtual_addresses() {
        lan.hold(director, address)?;
        let service = SocketAddr::new(address, PORT);
        ipvsadm.run(&format!("-A -t {service} -s rr"))?;
        for server in lan.servers() {
            let real = SocketAddr::new(lan.address_of(server, address), PORT);
            ipvsadm.run(&format!("-a -t {service} -r {real} {method}"))?;
        }
        services.push(service);
    }
    director.namespace().sysctl(&[("ipv4/vs/conntrack", "1")])?;
    Ok(services)
}

/// The director does what `ruleset` wants, and nothing else.
fn put(lan: &DirectorLan, ruleset: &Ruleset) -> Result<()> {
    let nftables = Nftables::of(lan.directors()[0].namespace())?;
    let table = Table::new(TableName::new("vipkeeper")?, ruleset);
    nftables.put(&table)?;
    Ok(table.compare(&nftables.observe(&table)?)?)
}

fn masqueraded(service: SocketAddr) -> Ruleset {
    Ruleset {
        masqueraded: [endpoint(service).into()].into(),
        ..Ruleset::default()
    }
}

const fn endpoint(service: SocketAddr) -> Endpoint {
    Endpoint {
        address: service.ip(),
        protocol: Protocol::Tcp,
        port: service.port(),
    }
}

/// The kernel makes its connections; nobody need take them.
fn listen(node: &Node, at: SocketAddr) -> Result<TcpListener> {
    node.namespace().run(|| Ok(TcpListener::bind(at)?))
}

fn connects(from: &Node, to: SocketAddr) -> Result<bool> {
    from.namespace()
        .run(|| Ok(TcpStream::connect_timeout(&to, DROPPED).is_ok()))
}
