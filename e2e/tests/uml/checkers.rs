//! keepalived as it programs IPVS: its virtual servers, and its checkers alone without VRRP.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::Result;
use vipkeeper_e2e::{Node, Process};

use crate::directors::PORT;

/// One round robin by NAT for each service, over real servers that TCP is probed at.
pub(crate) fn configuration(services: &[(SocketAddr, Vec<IpAddr>)]) -> Result<String> {
    let mut text = String::new();
    for (service, real) in services {
        writeln!(
            text,
            "virtual_server {} {} {{\n  delay_loop 1\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP",
            service.ip(),
            service.port()
        )?;
        for address in real {
            writeln!(
                text,
                "  real_server {address} {PORT} {{\n    TCP_CHECK {{\n      connect_timeout 1\n    }}\n  }}"
            )?;
        }
        text.push_str("}\n");
    }
    Ok(text)
}

/// Starts the checkers at `node` with this [`configuration`].
pub(crate) fn start(node: &Node, services: &[(SocketAddr, Vec<IpAddr>)]) -> Result<Process> {
    let file = |name: &str| node.directory().join(name);
    fs::write(file("checkers.conf"), configuration(services)?)?;
    let mut command = Command::new("keepalived");
    command.args(["-C", "-n", "-l", "-D"]);
    for (option, name) in [
        ("-f", "checkers.conf"),
        ("-p", "all.pid"),
        ("-c", "checkers.pid"),
    ] {
        command.arg(option).arg(file(name));
    }
    Process::start(
        "keepalived-checkers",
        command,
        node.namespace(),
        node.directory(),
    )
}
