//! The virtual servers of a state as a table, and below it what is not as it should be.

use std::fmt::Write as _;

use super::columns;
use crate::state::{Ipvs, RealServer, Server, Service, State};

/// The table; nothing without a virtual server.
pub(super) fn servers(state: &State) -> String {
    if state.servers.is_empty() {
        return String::new();
    }
    let header = [
        "SERVER",
        "ROUTER",
        "SERVICE",
        "READY",
        "KERNEL",
        "ACTIVE",
        "CONNECTIONS",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut remarks = String::new();
    for server in &state.servers {
        for service in &server.services {
            rows.push(row(server, service));
            remark(server, service, &mut remarks);
        }
    }
    of_kernel(&state.ipvs, &mut remarks);
    format!("\n{}{remarks}", columns(&rows))
}

/// What is against all of them.
fn of_kernel(ipvs: &Ipvs, text: &mut String) {
    let mut say = |severity: &str, what: &str| {
        // Writing to a String cannot fail.
        writeln!(text, "{severity}: {what}").ok();
    };
    if let Some(trouble) = &ipvs.firewall_trouble {
        say("warning", &format!("nftables: {trouble}"));
    }
    for lack in &ipvs.lacks {
        if lack.needed {
            say("warning", &format!("needed: {}", lack.command));
        } else {
            say("note", &format!("better with: {}", lack.command));
        }
    }
}

fn row(server: &Server, service: &Service) -> Vec<String> {
    let present = service
        .real_servers
        .iter()
        .filter(|r| !r.leaving && !r.sorry);
    let healthy = present.clone().filter(|r| r.healthy).count();
    let sorry = if service.real_servers.iter().any(|r| r.sorry) {
        " (sorry)"
    } else {
        ""
    };
    let active: u64 = service
        .real_servers
        .iter()
        .map(|r| u64::from(r.active_connections))
        .sum();
    let kernel = match (&service.scheduler, service.programmed) {
        (Some(scheduler), true) => scheduler.clone(),
        (Some(scheduler), false) => format!("{scheduler} (changing)"),
        (None, _) => "-".to_owned(),
    };
    vec![
        format!("{}/{}", server.namespace, server.name),
        server.router.clone(),
        service.service.clone(),
        format!("{healthy}/{}{sorry}", present.count()),
        kernel,
        active.to_string(),
        service.counters.connections.to_string(),
    ]
}

fn remark(server: &Server, service: &Service, text: &mut String) {
    let name = format!("{}/{} {}", server.namespace, server.name, service.service);
    let mut say = |severity: &str, what: &str| {
        // Writing to a String cannot fail.
        writeln!(text, "{severity}: {name}: {what}").ok();
    };
    if let Some(trouble) = &service.trouble {
        say("warning", trouble);
    }
    if service.quorum == Some(false) {
        say("warning", "too few real servers are healthy");
    }
    for RealServer {
        address,
        healthy,
        reason,
        leaving,
        trouble,
        active_connections,
        ..
    } in &service.real_servers
    {
        if let Some(trouble) = trouble {
            say("warning", &format!("{address}: {trouble}"));
        }
        if *leaving {
            let what = format!("{address} leaves with {active_connections} connections");
            say("note", &what);
        } else if !healthy {
            let why = reason.as_deref().unwrap_or("not healthy");
            say("note", &format!("{address} is out: {why}"));
        }
    }
}
