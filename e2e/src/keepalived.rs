//! keepalived as the peer: its configuration from typed options, and its start inside a node.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::lab::Node;
use crate::process::Process;

/// A keepalived of one node.
#[derive(Clone, Debug)]
pub struct Keepalived {
    /// VRRP version of its instances; IPv6 ones are version 3 always.
    pub version: u8,
    /// `vrrp_rt_priority`: SCHED_RR priority of the VRRP process.
    pub realtime: Option<u8>,
    /// `vrrp_no_swap`: locks the VRRP process's memory.
    pub no_swap: bool,
    /// `v3_checksum_as_v2`: version 3 over IPv4 has the checksum of RFC 9568; from keepalived 2.2.8 on.
    pub rfc9568: bool,
    /// `-D`: logs what it sends and refuses.
    pub log_detail: bool,
    /// Its instances are one `vrrp_sync_group`.
    pub sync: bool,
    /// Its instances.
    pub instances: Vec<Instance>,
    /// Its `virtual_server` blocks; without, it runs no checkers.
    pub servers: String,
}

/// A `vrrp_instance`.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `interface`.
    pub interface: String,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// `priority`.
    pub priority: u8,
    /// `advert_int`; whole seconds in version 2.
    pub interval: Duration,
    /// `virtual_ipaddress`, all of one family, each a host address on `interface`.
    pub addresses: Vec<IpAddr>,
    /// `auth_type PASS` with this `auth_pass`.
    pub password: Option<String>,
    /// `unicast_src_ip` and `unicast_peer`; multicast without.
    pub unicast: Option<(IpAddr, Vec<IpAddr>)>,
    /// `nopreempt` if false.
    pub preempt: bool,
}

impl Keepalived {
    /// A keepalived with one instance and its defaults.
    #[must_use]
    pub fn new(version: u8, instance: Instance) -> Self {
        Self {
            version,
            realtime: None,
            no_swap: false,
            rfc9568: false,
            log_detail: true,
            sync: false,
            instances: vec![instance],
            servers: String::new(),
        }
    }

    /// Starts it in the foreground inside `node`.
    ///
    /// # Errors
    /// When it is not installed or its files cannot be written.
    pub fn start(&self, node: &Node) -> Result<Process> {
        let file = |name: &str| node.directory().join(name);
        let configuration = self.write(node)?;
        let mut command = Command::new("keepalived");
        command
            .args(["-n", "-l"])
            .args(self.servers.is_empty().then_some("-P"))
            .args(self.log_detail.then_some("-D"))
            .arg("-f")
            .arg(configuration)
            .arg("-p")
            .arg(file("keepalived.pid"))
            .arg("-r")
            .arg(file("keepalived-vrrp.pid"))
            .arg("-c")
            .arg(file("keepalived-checkers.pid"));
        let name = format!("keepalived-{}", node.name());
        Process::start(&name, command, node.namespace(), node.directory())
    }

    /// Makes the one that runs as `process` inside `node` read this configuration.
    ///
    /// # Errors
    /// When the file cannot be written or the process is gone.
    pub fn reload(&self, node: &Node, process: &Process) -> Result<()> {
        self.write(node)?;
        process.signal(Signal::SIGHUP)
    }

    fn write(&self, node: &Node) -> Result<PathBuf> {
        let path = node.directory().join("keepalived.conf");
        fs::write(&path, self.configuration()?)
            .with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Its configuration file.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn configuration(&self) -> Result<String> {
        let mut text = format!("global_defs {{\n  vrrp_version {}\n", self.version);
        if let Some(priority) = self.realtime {
            // Its default, 10 ms without a pause, gets it killed on a busy machine.
            writeln!(
                text,
                "  vrrp_rt_priority {priority}\n  vrrp_rlimit_rttime 1000000"
            )?;
        }
        if self.no_swap {
            text.push_str("  vrrp_no_swap\n");
        }
        if self.rfc9568 {
            text.push_str("  v3_checksum_as_v2\n");
        }
        text.push_str("}\n");
        if self.sync {
            text.push_str("vrrp_sync_group all {\n  group {\n");
            for number in 0..self.instances.len() {
                writeln!(text, "    i{number}")?;
            }
            text.push_str("  }\n}\n");
        }
        for (number, instance) in self.instances.iter().enumerate() {
            instance.write(&format!("i{number}"), &mut text)?;
        }
        text.push_str(&self.servers);
        Ok(text)
    }
}

impl Instance {
    /// Multicast, preempting, without password, priority 100, an interval of a second, on `eth0`.
    #[must_use]
    pub fn new(vrid: u8, addresses: &[IpAddr]) -> Self {
        Self {
            interface: "eth0".to_owned(),
            vrid,
            priority: 100,
            interval: Duration::from_secs(1),
            addresses: addresses.to_vec(),
            password: None,
            unicast: None,
            preempt: true,
        }
    }

    fn write(&self, name: &str, text: &mut String) -> Result<()> {
        writeln!(
            text,
            "vrrp_instance {name} {{\n  state BACKUP\n  interface {}\n  virtual_router_id {}\n  \
             priority {}\n  advert_int {}",
            self.interface,
            self.vrid,
            self.priority,
            self.interval.as_secs_f64()
        )?;
        if !self.preempt {
            text.push_str("  nopreempt\n");
        }
        if let Some(password) = &self.password {
            writeln!(
                text,
                "  authentication {{\n    auth_type PASS\n    auth_pass {password}\n  }}"
            )?;
        }
        if let Some((source, peers)) = &self.unicast {
            writeln!(text, "  unicast_src_ip {source}\n  unicast_peer {{")?;
            for peer in peers {
                writeln!(text, "    {peer}")?;
            }
            text.push_str("  }\n");
        }
        text.push_str("  virtual_ipaddress {\n");
        for address in &self.addresses {
            let length = if address.is_ipv4() { 32 } else { 128 };
            writeln!(text, "    {address}/{length} dev {}", self.interface)?;
        }
        text.push_str("  }\n}\n");
        Ok(())
    }
}

/// The installed version, such as `2.2.7`.
///
/// # Errors
/// When it is not installed.
pub fn version() -> Result<String> {
    // It writes its version to standard error.
    let output = Command::new("keepalived").arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let word = text.split_whitespace().find(|word| word.starts_with('v'));
    Ok(word.context("keepalived names no version")?[1..].to_owned())
}

/// Whether keepalived can be started.
#[must_use]
pub fn is_installed() -> bool {
    version().is_ok()
}
