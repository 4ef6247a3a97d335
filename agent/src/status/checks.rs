//! What is looked at on the machine, for `kubectl vipkeeper doctor`: each with the command that mends it.
//!
//! Reads files of /proc and asks kube-proxy; changes nothing. The judgements are functions of what was read.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use vipkeeper_crds::status::{CheckStatus, KernelFacts, NodeCheck};
use vipkeeper_vrrp::{Evidence, Snapshot};
use vipkeeper_wire::Family;

use crate::client;
use crate::network::rtnetlink::{self, release_keeps_tags};

/// Where kube-proxy says how it works (`--metrics-bind-address`, its default).
const KUBE_PROXY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10_249);
/// The interface that kube-proxy makes in its mode ipvs.
const KUBE_PROXY_INTERFACE: &str = "kube-ipvs0";
/// Capabilities by their bits (capabilities(7)), and whether nothing works without them.
const CAPABILITIES: [(u8, &str, bool); 4] = [
    (12, "NET_ADMIN", true),
    (13, "NET_RAW", true),
    (14, "IPC_LOCK", false),
    (23, "SYS_NICE", false),
];
/// From this value on `arp_ignore` of all interfaces keeps the kernel from answering for virtual addresses
/// (Documentation/networking/ip-sysctl.rst).
const ARP_IGNORES_TOO_MUCH: u32 = 3;

/// What the process knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Why it is not scheduled in real time, if it is not.
    pub(super) realtime: Option<String>,
    /// Why its memory is not locked, if it is not.
    pub(super) memory: Option<String>,
}

/// What is read from the machine now and then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    capabilities: Option<u64>,
    arp_ignore: Option<u32>,
    ipv6_disabled: Option<u32>,
    kube_proxy: Option<String>,
    strict_arp: bool,
    pub(super) kernel: KernelFacts,
}

impl Machine {
    /// Reads it.
    pub(super) async fn read() -> Self {
        let setting = |name: &str| number(&format!("/proc/sys/net/{name}"));
        let release = rtnetlink::release().unwrap_or_default();
        let arp_ignore = setting("ipv4/conf/all/arp_ignore");
        let arp_announce = setting("ipv4/conf/all/arp_announce");
        Self {
            capabilities: fs::read_to_string("/proc/self/status")
                .ok()
                .and_then(|status| effective(&status)),
            arp_ignore,
            ipv6_disabled: setting("ipv6/conf/all/disable_ipv6"),
            kube_proxy: kube_proxy().await,
            // What kube-proxy's `strictARP` sets.
            strict_arp: arp_ignore == Some(1) && arp_announce == Some(2),
            kernel: KernelFacts {
                tags_addresses: release_keeps_tags(&release),
                release,
            },
        }
    }

    /// What there is to say about it, by name.
    pub(super) fn checks(&self, process: &Process, snapshot: &Snapshot) -> Vec<NodeCheck> {
        vec![
            self.capabilities(),
            self.kernel(),
            self.kube_proxy(),
            memory(process),
            multicast(snapshot),
            realtime(process),
            self.sysctls(snapshot),
        ]
    }

    fn capabilities(&self) -> NodeCheck {
        let name = "Capabilities";
        let Some(mask) = self.capabilities else {
            return check(
                name,
                CheckStatus::Warning,
                "/proc/self/status cannot be read",
            );
        };
        let lacking = CAPABILITIES.iter().filter(|c| mask >> c.0 & 1 == 0);
        let lacking: Vec<_> = lacking.collect();
        if lacking.is_empty() {
            return check(name, CheckStatus::Pass, "all that are needed");
        }
        let needed = lacking.iter().any(|c| c.2);
        let names: Vec<&str> = lacking.iter().map(|c| c.1).collect();
        let message = format!(
            "{} missing: add them in securityContext.capabilities.add of the agent",
            names.join(", ")
        );
        let status = if needed {
            CheckStatus::Failure
        } else {
            CheckStatus::Warning
        };
        check(name, status, &message)
    }

    fn kernel(&self) -> NodeCheck {
        let release = &self.kernel.release;
        if self.kernel.tags_addresses {
            return check("Kernel", CheckStatus::Pass, release);
        }
        let message = format!(
            "{release} keeps no owner of addresses (Linux 5.18 does): without its ledger an agent does not know its own"
        );
        check("Kernel", CheckStatus::Warning, &message)
    }

    fn kube_proxy(&self) -> NodeCheck {
        let name = "KubeProxy";
        match self.kube_proxy.as_deref() {
            Some("ipvs") if !self.strict_arp => check(
                name,
                CheckStatus::Failure,
                "mode ipvs without strictARP: it answers ARP for addresses of Services on every node; set ipvs.strictARP: true in its configuration",
            ),
            Some(mode) => check(name, CheckStatus::Pass, &format!("mode {mode}")),
            None => check(
                name,
                CheckStatus::Pass,
                "does not answer on 127.0.0.1:10249",
            ),
        }
    }

    fn sysctls(&self, snapshot: &Snapshot) -> NodeCheck {
        let name = "Sysctls";
        if let Some(value) = self.arp_ignore.filter(|v| *v >= ARP_IGNORES_TOO_MUCH) {
            let message = format!(
                "net.ipv4.conf.all.arp_ignore is {value}: virtual addresses get no answer; sysctl -w net.ipv4.conf.all.arp_ignore=1"
            );
            return check(name, CheckStatus::Failure, &message);
        }
        let has_ipv6 = snapshot.routers.iter().any(|r| r.family == Family::V6);
        if has_ipv6 && self.ipv6_disabled == Some(1) {
            return check(
                name,
                CheckStatus::Failure,
                "net.ipv6.conf.all.disable_ipv6 is 1, and there are IPv6 routers: sysctl -w net.ipv6.conf.all.disable_ipv6=0",
            );
        }
        check(name, CheckStatus::Pass, "nothing in the way")
    }
}

fn realtime(process: &Process) -> NodeCheck {
    match &process.realtime {
        None => check("RealTime", CheckStatus::Pass, "SCHED_FIFO"),
        Some(why) => {
            let message = format!(
                "a busy machine may delay the election ({why}): add capability SYS_NICE to the agent"
            );
            check("RealTime", CheckStatus::Warning, &message)
        }
    }
}

fn memory(process: &Process) -> NodeCheck {
    match &process.memory {
        None => check("Memory", CheckStatus::Pass, "locked"),
        Some(why) => {
            let message = format!(
                "a machine short of memory may delay the election ({why}): add capability IPC_LOCK to the agent"
            );
            check("Memory", CheckStatus::Warning, &message)
        }
    }
}

/// Whether the advertisements of others arrive, as far as that can be known.
fn multicast(snapshot: &Snapshot) -> NodeCheck {
    let name = "Multicast";
    let split = snapshot.routers.iter().find(|router| {
        let mut evidence = router.evidence.iter();
        evidence.any(|s| matches!(s.evidence, Evidence::SplitBrain { .. }))
    });
    if let Some(router) = split {
        let message = format!(
            "router {} ({}): another node is Active as well; see that switches carry 224.0.0.18 and ff02::12 between the nodes, or set spec.transport.mode: Unicast",
            router.name, router.family
        );
        return check(name, CheckStatus::Failure, &message);
    }
    // Whether any is heard just now changes with every router, and would be written each time.
    check(
        name,
        CheckStatus::Pass,
        "no sign that advertisements are lost",
    )
}

/// How kube-proxy works, by its own word or by what it left; `None` without one.
async fn kube_proxy() -> Option<String> {
    if let Ok(mode) = client::fetch_local(KUBE_PROXY, "/proxyMode").await {
        return Some(mode.trim().chars().take(32).collect());
    }
    let made = format!("/proc/sys/net/ipv4/conf/{KUBE_PROXY_INTERFACE}");
    fs::exists(made)
        .is_ok_and(|is| is)
        .then(|| "ipvs".to_owned())
}

fn number(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The effective capabilities of /proc/PID/status.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn check(name: &str, status: CheckStatus, message: &str) -> NodeCheck {
    NodeCheck {
        name: name.to_owned(),
        status,
        message: message.chars().take(512).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        vipkeeper_vrrp::Election::new().snapshot(vipkeeper_vrrp::Time::ZERO)
    }

    fn status_of(machine: &Machine, name: &str) -> (CheckStatus, String) {
        let checks = machine.checks(&Process::default(), &snapshot());
        let found = checks.into_iter().find(|c| c.name == name).unwrap();
        (found.status, found.message)
    }

    #[test]
    fn missing_capabilities_are_named_and_needed_ones_are_failures() {
        let with = |capabilities| Machine {
            capabilities,
            ..Machine::default()
        };
        let all = 1 << 12 | 1 << 13 | 1 << 14 | 1 << 23;
        assert_eq!(
            status_of(&with(Some(all)), "Capabilities").0,
            CheckStatus::Pass
        );
        let (status, message) = status_of(&with(Some(all & !(1 << 13))), "Capabilities");
        assert_eq!(status, CheckStatus::Failure);
        assert!(message.starts_with("NET_RAW missing"), "{message}");
        let (status, _) = status_of(&with(Some(all & !(1 << 14))), "Capabilities");
        assert_eq!(status, CheckStatus::Warning);
    }

    #[test]
    fn kube_proxy_in_mode_ipvs_needs_strict_arp() {
        let with = |strict_arp| Machine {
            kube_proxy: Some("ipvs".to_owned()),
            strict_arp,
            ..Machine::default()
        };
        assert_eq!(status_of(&with(true), "KubeProxy").0, CheckStatus::Pass);
        assert_eq!(status_of(&with(false), "KubeProxy").0, CheckStatus::Failure);
    }

    #[test]
    fn a_machine_that_answers_no_arp_is_told_how_to() {
        let machine = Machine {
            arp_ignore: Some(8),
            ..Machine::default()
        };
        let (status, message) = status_of(&machine, "Sysctls");
        assert_eq!(status, CheckStatus::Failure);
        assert!(message.contains("sysctl -w"), "{message}");
    }

    #[test]
    fn effective_capabilities_are_read() {
        let status = "Name:\tx\nCapPrm:\t0\nCapEff:\t0000000000003000\n";
        assert_eq!(effective(status), Some(0x3000));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
