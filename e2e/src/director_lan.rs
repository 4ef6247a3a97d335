//! The lab of virtual servers: directors, real servers and a client in one machine whose kernel has IPVS.
//!
//! Owns the lab, and the addresses, routes and tunnels that a forwarding method asks of a real server. Never programs
//! IPVS: an agent, keepalived or [`Ipvsadm`](crate::Ipvsadm) does.
//!
//! ```text
//!             segment 0: 192.0.2.0/24, 2001:db8::/64                 segment 1: 198.51.100.0/24, 2001:db8:1::/64
//!   client ───┬──── directors d1, d2 … ─────────────────────────────────────┬─── real servers Inside: NAT, FullNAT
//!             └──── real servers Beside: DR, Tunnel
//! ```

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::client::Client;
use crate::lab::{Lab, Node, ipv4, ipv6};
use crate::real_server::RealServer;

/// The number of the first real server among the hosts of a segment.
const FIRST: u8 = 241;
/// The number of virtual addresses.
const VIRTUAL: u8 = 100;

/// Where the real servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On segment 1, which only directors reach; their way out is [`DirectorLan::set_gateway`]'s.
    Inside,
    /// On the client's segment, with a way of their own to the client.
    Beside,
}

/// How real servers take what a director sends them for a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// DR: they have the address and do not answer for it to others.
    Direct,
    /// Tunnel by IP in IP.
    Ipip,
    /// Tunnel by GRE, over IPv4.
    Gre,
    /// Tunnel by GUE at this UDP port, over IPv4.
    Gue(u16),
}

/// Directors `d1`, `d2` …, real servers `r1`, `r2` …, and the client.
#[derive(Debug)]
pub struct DirectorLan {
    /// The real servers' hosts, in their order.
    servers: Vec<Node>,
    place: Place,
    lab: Lab,
}

impl DirectorLan {
    /// A LAN with so many directors, which forward, and hosts for so many real servers, up to 13.
    ///
    /// # Errors
    /// When the machine refuses something; with the command it refused.
    pub fn new(directors: usize, servers: u8, place: Place) -> Result<Self> {
        ensure!(servers <= 13, "a LAN has numbers for 13 real servers");
        let names: Vec<String> = (1..=directors).map(|number| format!("d{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let lab = Lab::new(&names, 2)?;
        lab.client().delete_interface(1)?;
        for director in lab.nodes() {
            director.namespace().sysctl(&[
                ("ipv4/ip_forward", "1"),
                ("ipv4/conf/all/send_redirects", "0"),
                ("ipv4/conf/eth0/send_redirects", "0"),
                ("ipv4/conf/eth1/send_redirects", "0"),
                ("ipv6/conf/all/forwarding", "1"),
            ])?;
        }
        let mut hosts = Vec::new();
        for number in 0..servers {
            let host = lab.add_host(&format!("r{}", number + 1), FIRST + number)?;
            host.delete_interface(match place {
                Place::Inside => 0,
                Place::Beside => 1,
            })?;
            hosts.push(host);
        }
        Ok(Self {
            servers: hosts,
            place,
            lab,
        })
    }

    /// The lab beneath.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The directors.
    #[must_use]
    pub fn directors(&self) -> &[Node] {
        self.lab.nodes()
    }

    /// The real servers' hosts.
    #[must_use]
    pub fn servers(&self) -> &[Node] {
        &self.servers
    }

    /// A client at the lab's client.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::at(self.lab.client())
    }

    /// The virtual addresses that tests use: 192.0.2.100 and 2001:db8::100.
    #[must_use]
    pub fn virtual_addresses() -> [IpAddr; 2] {
        Self::shared(0)
    }

    /// The real server's own address of the family of `like`.
    #[must_use]
    pub fn address_of(&self, server: &Node, like: IpAddr) -> IpAddr {
        let segment = self.segment();
        match like {
            IpAddr::V4(_) => server.ipv4(segment).into(),
            IpAddr::V6(_) => server.ipv6(segment).into(),
        }
    }

    /// Starts a real server on each host, at `port` of its own addresses and of `taken`, which [`take`](Self::take) has
    /// given to it.
    ///
    /// # Errors
    /// As [`RealServer::start`].
    pub fn start_servers(&self, port: u16, taken: &[IpAddr]) -> Result<Vec<RealServer>> {
        let segment = self.segment();
        let start = |host: &Node| {
            let mut addresses = vec![host.ipv4(segment).into(), host.ipv6(segment).into()];
            addresses.extend_from_slice(taken);
            RealServer::start(host, &addresses, port)
        };
        self.servers.iter().map(start).collect()
    }

    /// Gives the virtual address to `director`, as an agent does that is Active.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn hold(&self, director: &Node, address: IpAddr) -> Result<()> {
        let length = prefix_length(address);
        let interface = director.interface(segment_of(address));
        // Deprecated, or it would be the source of what the director itself sends: of a tunnel's packets for one, which
        // a real server that has the address refuses.
        let options = match address {
            IpAddr::V4(_) => "",
            IpAddr::V6(_) => "nodad preferred_lft 0",
        };
        director.namespace().ip(&format!(
            "addr add {address}/{length} dev {interface} {options}\n"
        ))
    }

    /// Sends what the real servers answer through `director`: NAT needs it.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_gateway_of_director(&self, director: &Node) -> Result<()> {
        self.set_gateway(director.ipv4(1).into())?;
        self.set_gateway(director.ipv6(1).into())
    }

    /// Sends what the real servers answer through `gateway` on segment 1, such as an inner virtual address.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn set_gateway(&self, gateway: IpAddr) -> Result<()> {
        let destination = match gateway {
            IpAddr::V4(_) => "0.0.0.0/0",
            IpAddr::V6(_) => "::/0",
        };
        for server in &self.servers {
            server
                .namespace()
                .ip(&format!("route replace {destination} via {gateway}\n"))?;
        }
        Ok(())
    }

    /// The addresses with number 100 on a segment: the virtual ones, and inner ones that directors share.
    #[must_use]
    pub fn shared(segment: u8) -> [IpAddr; 2] {
        [
            ipv4(segment, VIRTUAL).into(),
            // As written it is 2001:db8::100.
            ipv6(segment, 0x100).into(),
        ]
    }

    /// Makes every real server take what is sent to it for the virtual `addresses`.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn take(&self, addresses: &[IpAddr], taking: Taking) -> Result<()> {
        self.servers
            .iter()
            .try_for_each(|server| take(server, addresses, taking))
    }

    fn segment(&self) -> u8 {
        match self.place {
            Place::Inside => 1,
            Place::Beside => 0,
        }
    }
}

fn take(server: &Node, addresses: &[IpAddr], taking: Taking) -> Result<()> {
    let mut lines = String::new();
    if let Taking::Gue(port) = taking {
        writeln!(lines, "fou add port {port} gue")?;
    }
    let mut tunnels: Vec<&str> = Vec::new();
    for address in addresses {
        writeln!(
            lines,
            "addr replace {address}/{} dev lo",
            prefix_length(*address)
        )?;
        tunnels.extend(match taking {
            Taking::Direct => None,
            Taking::Ipip if address.is_ipv4() => Some("tunl0"),
            Taking::Ipip => Some("ip6tnl0"),
            Taking::Gre => Some("gre0"),
            Taking::Gue(_) if address.is_ipv4() => Some("tunl0"),
            Taking::Gue(_) => Some("sit0"),
        });
    }
    for tunnel in &tunnels {
        writeln!(lines, "link set {tunnel} up")?;
    }
    // No answers for the address, and none that name it as the source of a question; no check of the way back, which is
    // not through a tunnel.
    server.namespace().sysctl(&[
        ("ipv4/conf/all/arp_ignore", "1"),
        ("ipv4/conf/all/arp_announce", "2"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ])?;
    server.namespace().ip(&lines)?;
    for tunnel in tunnels {
        let key = format!("ipv4/conf/{tunnel}/rp_filter");
        server.namespace().sysctl(&[(&key, "0")])?;
    }
    Ok(())
}

/// The segment that a virtual address belongs to.
fn segment_of(address: IpAddr) -> u8 {
    u8::from(DirectorLan::shared(1).contains(&address))
}

fn prefix_length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
