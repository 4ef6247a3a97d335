//! Manifests from typed values: what a user would write, one document an object.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// A VirtualRouter. What is `None` is left to the default.
#[derive(Clone, Debug)]
pub struct Router {
    /// `metadata.name`.
    pub name: String,
    /// `spec.virtualRouterId`.
    pub vrid: u8,
    /// `spec.addresses`.
    pub addresses: Vec<IpAddr>,
    /// `spec.addresses[].interface` of some of them, by name.
    pub address_interfaces: Vec<(IpAddr, String)>,
    /// `spec.nodes.priorities`.
    pub priorities: Vec<(String, u8)>,
    /// `spec.interface`, by name; `None` for the interface whose subnet holds the first address.
    pub interface: Option<String>,
    /// `spec.version`.
    pub version: u8,
    /// `spec.advertisementInterval`.
    pub interval: Duration,
    /// `spec.preemption`.
    pub preemption: Preemption,
    /// `spec.transport`.
    pub transport: Transport,
    /// The password, in a Secret that comes along.
    pub password: Option<String>,
    /// `spec.checksum`.
    pub checksum: Option<&'static str>,
    /// `spec.addressLifetime`; `Duration::MAX` for `Forever`.
    pub lifetime: Option<Duration>,
    /// `spec.syncGroup`.
    pub sync_group: Option<String>,
    /// `spec.handover.linger`.
    pub linger: Option<Duration>,
    /// `spec.attach` with `namespaces.from: All` and `fwmark`: VirtualServers of every namespace may have its addresses,
    /// and what carries a firewall mark.
    pub attach: bool,
}

/// `spec.preemption`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// Always.
    Always,
    /// Never.
    Never,
    /// After this long.
    Delayed(Duration),
}

/// `spec.transport`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// To the group.
    Multicast,
    /// To the other candidates, whose Nodes say where they are, and to these peers.
    Unicast {
        /// `spec.transport.extraPeers`, with `minTTL` 0.
        extra_peers: Vec<IpAddr>,
    },
}

impl Router {
    /// Version 3, 100 ms, multicast, preempting, with the candidates `priorities`.
    #[must_use]
    pub fn new(name: &str, vrid: u8, addresses: &[IpAddr], priorities: &[(&str, u8)]) -> Self {
        Self {
            name: name.to_owned(),
            vrid,
            addresses: addresses.to_vec(),
            address_interfaces: Vec::new(),
            priorities: priorities
                .iter()
                .map(|(node, priority)| ((*node).to_owned(), *priority))
                .collect(),
            interface: None,
            version: 3,
            interval: Duration::from_millis(100),
            preemption: Preemption::Always,
            transport: Transport::Multicast,
            password: None,
            checksum: None,
            lifetime: None,
            sync_group: None,
            linger: None,
            attach: false,
        }
    }

    /// Active_Down_Interval of a node with `priority` (RFC 9568 §6.1; version 2: RFC 3768 §6.1).
    #[must_use]
    pub fn active_down_interval(&self, priority: u8) -> Duration {
        self.interval * 3 + self.skew_time(priority)
    }

    /// Skew_Time of a node with `priority`.
    #[must_use]
    pub fn skew_time(&self, priority: u8) -> Duration {
        let whole = if self.version == 2 {
            Duration::from_secs(1)
        } else {
            self.interval
        };
        whole * (256 - u32::from(priority)) / 256
    }

    /// The manifest, with a Secret if there is a password.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        self.write(&mut text).ok();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let name = &self.name;
        writeln!(
            text,
            "apiVersion: vipkeeper.io/v1alpha1\nkind: VirtualRouter\nmetadata:\n  name: {name}\nspec:\n  addresses:"
        )?;
        for address in &self.addresses {
            writeln!(text, "  - address: {address}")?;
            let mut named = self.address_interfaces.iter();
            if let Some((_, interface)) = named.find(|(a, _)| a == address) {
                writeln!(text, "    interface: {{type: Name, name: {interface}}}")?;
            }
        }
        writeln!(text, "  virtualRouterId: {}", self.vrid)?;
        writeln!(text, "  version: {}", self.version)?;
        let interval = self.interval.as_millis();
        writeln!(text, "  advertisementInterval: {interval}ms")?;
        if let Some(interface) = &self.interface {
            writeln!(text, "  interface: {{type: Name, name: {interface}}}")?;
        }
        text.push_str("  nodes:\n    priorities:\n");
        for (node, priority) in &self.priorities {
            writeln!(text, "    - {{node: {node}, priority: {priority}}}")?;
        }
        match self.preemption {
            Preemption::Always => {}
            Preemption::Never => text.push_str("  preemption: {mode: Never}\n"),
            Preemption::Delayed(delay) => {
                let delay = delay.as_millis();
                writeln!(text, "  preemption: {{mode: Delayed, delay: {delay}ms}}")?;
            }
        }
        if let Transport::Unicast { extra_peers } = &self.transport {
            text.push_str("  transport:\n    mode: Unicast\n");
            if !extra_peers.is_empty() {
                text.push_str("    extraPeers:\n");
            }
            for peer in extra_peers {
                writeln!(text, "    - address: {peer}")?;
            }
        }
        if let Some(checksum) = self.checksum {
            writeln!(text, "  checksum: {checksum}")?;
        }
        if self.lifetime == Some(Duration::MAX) {
            text.push_str("  addressLifetime: Forever\n");
        } else if let Some(lifetime) = self.lifetime {
            writeln!(text, "  addressLifetime: {}ms", lifetime.as_millis())?;
        }
        if let Some(group) = &self.sync_group {
            writeln!(text, "  syncGroup: {group}")?;
        }
        if let Some(linger) = self.linger {
            writeln!(text, "  handover: {{linger: {}ms}}", linger.as_millis())?;
        }
        if self.attach {
            text.push_str("  attach: {namespaces: {from: All}, fwmark: true}\n");
        }
        if let Some(password) = &self.password {
            writeln!(
                text,
                "  authentication:\n    type: Password\n    password: {{secretRef: {{name: {name}, key: password}}}}\n\
                 ---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: vipkeeper-keys\n\
                 stringData:\n  password: \"{password}\""
            )?;
        }
        Ok(())
    }
}

/// A core Node with its internal addresses: what unicast needs to know.
#[must_use]
pub fn node(name: &str, addresses: &[IpAddr]) -> String {
    let mut text =
        format!("apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\nstatus:\n  addresses:\n");
    for address in addresses {
        text.push_str("  - {type: InternalIP, address: \"");
        text.push_str(&address.to_string());
        text.push_str("\"}\n");
    }
    text
}

/// A VirtualServer of the namespace `lab` with `spec` as its API has it.
#[must_use]
pub fn virtual_server(name: &str, spec: &serde_json::Value) -> String {
    // YAML has every JSON document in it.
    let object = serde_json::json!({
        "apiVersion": "vipkeeper.io/v1alpha1",
        "kind": "VirtualServer",
        "metadata": {"name": name, "namespace": "lab"},
        "spec": spec,
    });
    format!("{object}\n")
}

/// One file of several documents.
#[must_use]
pub fn documents(documents: &[String]) -> String {
    documents.join("---\n")
}
