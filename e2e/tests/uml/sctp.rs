//! Associations of SCTP, each with one address on each side: spread over real servers, answered, and counted.

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::{real_server, tests};

use crate::directors::{Directors, Method, PORT};

tests! {
    beside nat_carries_sctp_over_both_families,
    beside full_nat_carries_sctp_over_both_families,
    beside direct_routing_carries_sctp_over_both_families,
}

const SERVERS: u8 = 3;
/// Of a round robin: each of three real servers gets a third.
const ASSOCIATIONS: usize = 30;

fn nat_carries_sctp_over_both_families() -> Result<()> {
    carries(Method::Nat)
}

fn full_nat_carries_sctp_over_both_families() -> Result<()> {
    carries(Method::FullNat)
}

fn direct_routing_carries_sctp_over_both_families() -> Result<()> {
    carries(Method::Direct)
}

fn carries(method: Method) -> Result<()> {
    if !real_server::has_sctp() {
        return Err(Skip::because(
            "this kernel has no sockets of SCTP; the one that scripts/uml-kernel builds has",
        ));
    }
    let ports = json!({"ports": [{"port": PORT, "protocol": "SCTP"}]});
    let scene = Directors::start(1, SERVERS, method, &ports)?;
    let client = scene.lan.lab().client();
    let sources = [client.ipv4(0).into(), client.ipv6(0).into()];
    for (target, source) in scene.targets().into_iter().zip(sources) {
        let tally = scene.client().sctp(source, target, ASSOCIATIONS)?;
        for server in scene.lan.servers() {
            let each = ASSOCIATIONS / usize::from(SERVERS);
            ensure!(tally.of(server.name()) == each, "{target}: {tally}");
        }
        scene.await_counted(0, target, ASSOCIATIONS)?;
    }
    Ok(())
}
