//! The lab of virtual servers, with ipvsadm alone: what its LAN, its real servers and its client show must be right
//! before anything of ours is tested in it. Each forwarding method carries TCP and UDP over IPv4 and IPv6.

use std::net::{IpAddr, SocketAddr};

use std::time::Duration;

use anyhow::{Result, ensure};
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::{DirectorLan, Ipvsadm, Lab, Place, Taking, tests};

tests! {
    beside nat_carries_tcp_and_udp_over_both_families,
    beside direct_routing_carries_tcp_and_udp_over_both_families,
    beside an_ipip_tunnel_carries_tcp_and_udp_over_both_families,
    beside a_gre_tunnel_carries_tcp_and_udp_over_ipv4,
    beside a_gue_tunnel_carries_tcp_and_udp_over_ipv4,
}

const PORT: u16 = 80;
const SERVERS: u8 = 3;
/// Connections of a round robin: each of three real servers gets a third.
const CONNECTIONS: usize = 30;
const GUE_PORT: u16 = 6080;

fn nat_carries_tcp_and_udp_over_both_families() -> Result<()> {
    let lan = DirectorLan::new(1, SERVERS, Place::Inside)?;
    lan.set_gateway_of_director(&lan.directors()[0])?;
    carries(&lan, &DirectorLan::virtual_addresses(), "-m", &[])
}

fn direct_routing_carries_tcp_and_udp_over_both_families() -> Result<()> {
    let lan = DirectorLan::new(1, SERVERS, Place::Beside)?;
    taken(
        &lan,
        Taking::Direct,
        &DirectorLan::virtual_addresses(),
        "-g",
    )
}

fn an_ipip_tunnel_carries_tcp_and_udp_over_both_families() -> Result<()> {
    let lan = DirectorLan::new(1, SERVERS, Place::Beside)?;
    taken(&lan, Taking::Ipip, &DirectorLan::virtual_addresses(), "-i")
}

fn a_gre_tunnel_carries_tcp_and_udp_over_ipv4() -> Result<()> {
    need_gre()?;
    let lan = DirectorLan::new(1, SERVERS, Place::Beside)?;
    let [ipv4, _] = DirectorLan::virtual_addresses();
    taken(&lan, Taking::Gre, &[ipv4], "-i --tun-type gre")
}

fn a_gue_tunnel_carries_tcp_and_udp_over_ipv4() -> Result<()> {
    let lan = DirectorLan::new(1, SERVERS, Place::Beside)?;
    let [ipv4, _] = DirectorLan::virtual_addresses();
    let method = format!("-i --tun-type gue --tun-port {GUE_PORT}");
    taken(&lan, Taking::Gue(GUE_PORT), &[ipv4], &method)
}

/// Skips on a ready-made kernel without what takes GRE out of its tunnel; e2e/uml/kernel.config has it.
pub(crate) fn need_gre() -> Result<()> {
    let lab = Lab::new(&["a"], 1)?;
    let device = "link add gre7 type gre remote 192.0.2.9 local 192.0.2.1\n";
    match lab.node("a")?.namespace().ip(device) {
        Ok(()) => Ok(()),
        Err(_unknown) => Err(Skip::because(
            "this kernel has no GRE; the one that scripts/uml-kernel builds has",
        )),
    }
}

fn taken(lan: &DirectorLan, taking: Taking, addresses: &[IpAddr], method: &str) -> Result<()> {
    lan.take(addresses, taking)?;
    carries(lan, addresses, method, addresses)
}

/// A round robin over three real servers by `method`, over TCP and UDP, for each of `addresses`.
fn carries(lan: &DirectorLan, addresses: &[IpAddr], method: &str, taken: &[IpAddr]) -> Result<()> {
    let _servers = lan.start_servers(PORT, taken)?;
    let director = &lan.directors()[0];
    let ipvsadm = Ipvsadm::at(director);
    for &address in addresses {
        lan.hold(director, address)?;
        let target = SocketAddr::from((address, PORT));
        for protocol in ["-t", "-u"] {
            ipvsadm.run(&format!("-A {protocol} {target} -s rr"))?;
            for server in lan.servers() {
                let real = SocketAddr::from((lan.address_of(server, address), PORT));
                ipvsadm.run(&format!("-a {protocol} {target} -r {real} {method}"))?;
            }
        }
        let client = lan.client().with_patience(Duration::from_secs(1));
        for tally in [
            client.tcp(target, CONNECTIONS)?,
            client.udp(target, CONNECTIONS)?,
        ] {
            for server in lan.servers() {
                let each = CONNECTIONS / usize::from(SERVERS);
                // A source port that comes twice by chance goes to the same real server twice.
                let off = tally.of(server.name()).abs_diff(each);
                ensure!(off <= 2 && tally.failed() == 0, "{target}: {tally}");
            }
        }
    }
    Ok(())
}
