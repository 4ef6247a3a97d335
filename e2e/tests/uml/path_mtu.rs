//! A router between director and client that lets only smaller packets through: what it says to the virtual address must
//! reach the real server, which sends them.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;
use vipkeeper_e2e::{Node, tests};

use crate::directors::{Directors, Method};

tests! {
    beside a_real_server_behind_nat_learns_the_path_mtu,
}

const MTU: u32 = 1300;
/// The router's number among the hosts of a segment.
const ROUTER: u8 = 240;
const BYTES: usize = 200 * 1024;

fn a_real_server_behind_nat_learns_the_path_mtu() -> Result<()> {
    let scene = Directors::start(1, 1, Method::Nat, &json!({}))?;
    let lan = &scene.lan;
    let (director, client) = (&lan.directors()[0], lan.lab().client());
    let router = lan.lab().add_host("router", ROUTER)?;
    router.namespace().sysctl(&[
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/eth0/send_redirects", "0"),
        ("ipv6/conf/all/forwarding", "1"),
    ])?;
    let ways: [(IpAddr, IpAddr, u8); 2] = [
        (client.ipv4(0).into(), router.ipv4(0).into(), 32),
        (client.ipv6(0).into(), router.ipv6(0).into(), 128),
    ];
    for (target, (client, via, length)) in scene.targets().into_iter().zip(ways) {
        router.namespace().ip(&format!(
            "route add {client}/{length} dev eth0 mtu lock {MTU}\n"
        ))?;
        director
            .namespace()
            .ip(&format!("route add {client}/{length} via {via}\n"))?;
        let server = &lan.servers()[0];
        let known = format!("mtu {MTU}");
        let before = route(server, client)?;
        ensure!(!before.contains(&known), "{before}");
        let bytes = scene
            .client()
            .get(target, &format!("/download/{BYTES}/0"))?;
        ensure!(bytes == BYTES, "{bytes} bytes from {target}");
        let after = route(server, client)?;
        ensure!(after.contains(&known), "{after}");
    }
    Ok(())
}

/// What `node` knows of its way to `address`.
fn route(node: &Node, address: IpAddr) -> Result<String> {
    let mut command = Command::new("ip");
    command.args(["route", "get", &address.to_string()]);
    node.namespace().enter(&mut command);
    let output = command.output()?;
    ensure!(output.status.success(), "no way to {address}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
