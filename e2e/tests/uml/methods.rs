//! Each forwarding method carries TCP and UDP of both families from the client to real servers and back.

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_e2e::tests;

use crate::directors::{Directors, Method};
use crate::forwarding::need_gre;

tests! {
    beside nat_by_an_agent_carries_tcp_and_udp_over_both_families,
    beside full_nat_by_an_agent_carries_tcp_and_udp_over_both_families,
    beside direct_routing_by_an_agent_carries_tcp_and_udp_over_both_families,
    beside an_ipip_tunnel_by_an_agent_carries_tcp_and_udp_over_both_families,
    beside a_gre_tunnel_by_an_agent_carries_tcp_and_udp_over_both_families,
    beside a_gue_tunnel_by_an_agent_carries_tcp_and_udp_over_both_families,
}

const SERVERS: u8 = 3;
const CONNECTIONS: usize = 30;

fn nat_by_an_agent_carries_tcp_and_udp_over_both_families() -> Result<()> {
    carries(Method::Nat)
}

fn full_nat_by_an_agent_carries_tcp_and_udp_over_both_families() -> Result<()> {
    // The real servers have no way to the client but through the director's own address.
    carries(Method::FullNat)
}

fn direct_routing_by_an_agent_carries_tcp_and_udp_over_both_families() -> Result<()> {
    carries(Method::Direct)
}

fn an_ipip_tunnel_by_an_agent_carries_tcp_and_udp_over_both_families() -> Result<()> {
    carries(Method::Ipip)
}

fn a_gre_tunnel_by_an_agent_carries_tcp_and_udp_over_both_families() -> Result<()> {
    need_gre()?;
    carries(Method::Gre)
}

fn a_gue_tunnel_by_an_agent_carries_tcp_and_udp_over_both_families() -> Result<()> {
    carries(Method::Gue)
}

fn carries(method: Method) -> Result<()> {
    let scene = Directors::start(1, SERVERS, method, &json!({}))?;
    let client = scene.client();
    for target in scene.targets() {
        for tally in [
            client.tcp(target, CONNECTIONS)?,
            client.udp(target, CONNECTIONS)?,
        ] {
            for server in scene.lan.servers() {
                let each = CONNECTIONS / usize::from(SERVERS);
                // A source port that comes twice by chance goes to the same real server twice.
                let off = tally.of(server.name()).abs_diff(each);
                ensure!(off <= 2 && tally.failed() == 0, "{target}: {tally}");
            }
        }
    }
    Ok(())
}
