//! A lab: nodes, a client, and the Ethernet segments between them, each in a namespace of its own.
//!
//! Owns every namespace and the lab's directory; dropping the lab removes them with all processes inside. No
//! interface, bridge or address of the host is touched.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use crate::addresses::{self, KernelAddress};
use crate::capture::Capture;
use crate::clock::Moment;
use crate::meter::Meter;
use crate::namespace::Namespace;
use crate::process::{Process, kill_at_once};
use crate::remains::Remains;
use crate::sys;

/// The client's number among the hosts of a segment; nodes count from 1.
const CLIENT: u8 = 254;
/// Numbers from here on are for hosts that are neither: a cluster's control plane and operators.
const SPARE: u8 = 240;

/// Namespaces, links and addresses of one test. The first segment is 192.0.2.0/24 and 2001:db8::/64, the second
/// 198.51.100.0/24 and 2001:db8:1::/64.
#[derive(Debug)]
pub struct Lab {
    nodes: Vec<Node>,
    client: Node,
    hub: Arc<Hub>,
    // Last: its removal needs the processes gone that the nodes' users started.
    remains: Remains,
}

/// The namespace of the bridges.
#[derive(Debug)]
struct Hub {
    namespace: Namespace,
    /// Sets ports up and down without a process or a thread.
    control: Socket,
}

/// A host of the lab.
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    number: u8,
    namespace: Namespace,
    segments: u8,
    directory: PathBuf,
    hub: Arc<Hub>,
}

impl Lab {
    /// A lab of `nodes` (short names) on `segments` (1 or 2) Ethernet segments, and a client.
    ///
    /// # Errors
    /// When the machine refuses something; with the command it refused.
    pub fn new(nodes: &[&str], segments: u8) -> Result<Self> {
        ensure!((1..=2).contains(&segments), "a lab has one or two segments");
        let remains = Remains::claim()?;
        let namespace = Namespace::create(&format!("{}-hub", remains.name()))?;
        namespace.sysctl(&[("ipv6/conf/default/disable_ipv6", "1")])?;
        let mut bridges = "link set lo up\n".to_owned();
        for segment in 0..segments {
            let bridge = bridge(segment);
            writeln!(
                bridges,
                "link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
                 link set {bridge} up"
            )?;
        }
        namespace.ip(&bridges)?;
        let control =
            namespace.run(|| Ok(Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), None)?))?;
        let hub = Arc::new(Hub { namespace, control });
        let host = |name: &str, number| Node::create(name, number, segments, &hub, &remains);
        let numbered = nodes.iter().zip(1..SPARE);
        Ok(Self {
            nodes: numbered
                .map(|(name, number)| host(name, number))
                .collect::<Result<_>>()?,
            client: host("client", CLIENT)?,
            hub: Arc::clone(&hub),
            remains,
        })
    }

    /// Adds a host that is neither node nor client, for what nodes ask or are told by. Its number on every segment is
    /// 240 to 253.
    ///
    /// # Errors
    /// When the number is another, or the machine refuses something; with the command it refused.
    pub fn add_host(&self, name: &str, number: u8) -> Result<Node> {
        ensure!(
            (SPARE..CLIENT).contains(&number),
            "no number of a host: {number}"
        );
        let segments = self.client.segments;
        Node::create(name, number, segments, &self.hub, &self.remains)
    }

    /// The nodes, in the order of their names' list.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.with_context(|| format!("no node {name} in this lab"))
    }

    /// The host that uses the virtual addresses.
    #[must_use]
    pub fn client(&self) -> &Node {
        &self.client
    }

    /// Where configurations and logs go; removed with the lab.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.remains.directory()
    }

    /// Starts to record the frames of a segment that matter here.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn capture(&self, segment: u8) -> Result<Capture> {
        Capture::start(&self.hub.namespace, &bridge(segment))
    }

    /// Starts to probe `target` from the client every millisecond.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn meter(&self, target: IpAddr) -> Result<Meter> {
        Meter::start(&self.client.namespace, target)
    }

    /// The death of a node: every process of `daemons` is killed and its links go down, in one step. Returns
    /// when it began.
    ///
    /// # Errors
    /// When a link cannot be set down or a process survives.
    pub fn power_off(&self, node: &Node, daemons: &mut [&mut Process]) -> Result<Moment> {
        let each: Vec<Vec<_>> = daemons.iter().map(|daemon| daemon.all()).collect();
        let all = each.concat();
        let begun = Moment::now();
        kill_at_once(&all);
        for segment in 0..node.segments {
            node.set_link(segment, false)?;
        }
        for (daemon, pids) in daemons.iter_mut().zip(&each) {
            daemon.bury(pids)?;
        }
        Ok(begun)
    }
}

impl Node {
    fn create(
        name: &str,
        number: u8,
        segments: u8,
        hub: &Arc<Hub>,
        remains: &Remains,
    ) -> Result<Self> {
        let namespace = Namespace::create(&format!("{}-{name}", remains.name()))?;
        // Duplicate address detection off: addresses are of use at once. No address that nobody asked for.
        namespace.sysctl(&[
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/addr_gen_mode", "1"),
            ("ipv6/conf/default/router_solicitations", "0"),
        ])?;
        let directory = remains.directory().join(name);
        fs::create_dir_all(&directory)?;
        let node = Self {
            name: name.to_owned(),
            number,
            namespace,
            segments,
            directory,
            hub: Arc::clone(hub),
        };
        let mut wiring = String::new();
        let mut addressing = "link set lo up\n".to_owned();
        for segment in 0..segments {
            wiring.push_str(&node.wiring(segment));
            addressing.push_str(&node.addressing(segment));
        }
        hub.namespace.ip(&wiring)?;
        node.namespace.ip(&addressing)?;
        Ok(node)
    }

    /// What makes its cable to a segment.
    fn wiring(&self, segment: u8) -> String {
        let (port, interface) = (self.port(segment), self.interface(segment));
        let (mac, namespace) = (hex_of(self.mac(segment)), self.namespace.name());
        let bridge = bridge(segment);
        format!(
            "link add {port} type veth peer name {interface} address {mac} netns {namespace}\n\
             link set {port} master {bridge} up\n"
        )
    }

    /// What gives its interface on a segment its addresses.
    fn addressing(&self, segment: u8) -> String {
        let interface = self.interface(segment);
        let (ipv4, ipv6) = (self.ipv4(segment), self.ipv6(segment));
        let link_local = self.link_local(segment);
        format!(
            "link set {interface} up\n\
             addr add {ipv4}/24 brd + dev {interface}\n\
             addr add {link_local}/64 dev {interface} nodad\n\
             addr add {ipv6}/64 dev {interface} nodad\n"
        )
    }

    /// Deletes its interface on a segment, as when a driver is unloaded.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn delete_interface(&self, segment: u8) -> Result<()> {
        let port = self.port(segment);
        self.hub.namespace.ip(&format!("link del {port}\n"))
    }

    /// Makes it again: another interface of the same name, Ethernet address and addresses.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn make_interface(&self, segment: u8) -> Result<()> {
        self.hub.namespace.ip(&self.wiring(segment))?;
        self.namespace.ip(&self.addressing(segment))
    }

    /// Its name in the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lives.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its configurations and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How many segments it is on.
    #[must_use]
    pub fn segments(&self) -> u8 {
        self.segments
    }

    /// Its interface on a segment.
    #[must_use]
    pub fn interface(&self, segment: u8) -> String {
        format!("eth{segment}")
    }

    /// Its Ethernet address on a segment.
    #[must_use]
    pub fn mac(&self, segment: u8) -> [u8; 6] {
        [0x02, 0, 0, 0, segment, self.number]
    }

    /// Its own IPv4 address on a segment. A later node has a higher one.
    #[must_use]
    pub fn ipv4(&self, segment: u8) -> Ipv4Addr {
        ipv4(segment, self.number)
    }

    /// Its own global IPv6 address on a segment.
    #[must_use]
    pub fn ipv6(&self, segment: u8) -> Ipv6Addr {
        ipv6(segment, self.number.into())
    }

    /// Its link-local IPv6 address on a segment. A later node has a higher one.
    #[must_use]
    pub fn link_local(&self, segment: u8) -> Ipv6Addr {
        let (segment, number) = (segment.into(), self.number.into());
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, segment, number)
    }

    /// Every address on its interfaces, loopback included, as the kernel has them now.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn addresses(&self) -> Result<Vec<KernelAddress>> {
        self.namespace.run(addresses::dump)
    }

    /// Whether the kernel has `address` on any of its interfaces.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn holds(&self, address: IpAddr) -> Result<bool> {
        Ok(self.addresses()?.iter().any(|a| a.address == address))
    }

    /// Takes its cable out of a segment: the node sees its carrier go.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn unplug(&self, segment: u8) -> Result<()> {
        self.set_link(segment, false)
    }

    /// Puts the cable back.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn plug(&self, segment: u8) -> Result<()> {
        self.set_link(segment, true)
    }

    /// The start of a node after its death: every address but the lab's own is gone, as after a boot, and the
    /// links are up.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn power_on(&self) -> Result<()> {
        let mut removals = String::new();
        for found in self.addresses()? {
            if !self.is_own(found.address) {
                writeln!(
                    removals,
                    "addr del {}/{} dev {}",
                    found.address, found.prefix_length, found.interface
                )?;
            }
        }
        self.namespace.ip(&removals)?;
        (0..self.segments).try_for_each(|segment| self.set_link(segment, true))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || (0..self.segments).any(|segment| match address {
                IpAddr::V4(v4) => v4 == self.ipv4(segment),
                IpAddr::V6(v6) => v6 == self.ipv6(segment) || v6 == self.link_local(segment),
            })
    }

    /// Lets the node speak only to hosts that are not isolated, the client for one: with two nodes isolated
    /// neither hears the other, while their links stay up.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn isolate(&self, segment: u8, isolated: bool) -> Result<()> {
        let (port, isolated) = (self.port(segment), if isolated { "on" } else { "off" });
        self.hub.namespace.ip(&format!(
            "link set {port} type bridge_slave isolated {isolated}\n"
        ))
    }

    /// Lets no multicast reach the node, as a switch with a broken filter does; unicast and broadcast go on.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn lose_multicast(&self, segment: u8, lost: bool) -> Result<()> {
        let (port, flood) = (self.port(segment), if lost { "off" } else { "on" });
        self.hub.namespace.ip(&format!(
            "link set {port} type bridge_slave mcast_flood {flood}\n"
        ))
    }

    fn set_link(&self, segment: u8, up: bool) -> Result<()> {
        let port = self.port(segment);
        if let Err(error) = sys::set_link(self.hub.control.as_fd(), &port, up) {
            bail!("set port {port} of node {}: {error}", self.name);
        }
        Ok(())
    }

    fn port(&self, segment: u8) -> String {
        format!("p{}-{segment}", self.number)
    }
}

/// Host `number` of a segment.
#[must_use]
pub fn ipv4(segment: u8, number: u8) -> Ipv4Addr {
    if segment == 0 {
        Ipv4Addr::new(192, 0, 2, number)
    } else {
        Ipv4Addr::new(198, 51, 100, number)
    }
}

/// Host `number` of a segment.
#[must_use]
pub fn ipv6(segment: u8, number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, segment.into(), 0, 0, 0, 0, number)
}

fn bridge(segment: u8) -> String {
    format!("br{segment}")
}

fn hex_of(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
