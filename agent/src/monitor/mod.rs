//! The monitor thread: what the node's network looks like, as the kernel tells it.
//!
//! Owns a multicast netlink socket and the [`Model`] made of it. Tells the election of its interfaces at once,
//! the runtime of the whole inventory, and the network thread of addresses of ours that somebody took off.
//! Never writes anything to the kernel. After an overrun it asks for everything again.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::{RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::watch;
use vipkeeper_vrrp::{Fact, Ifindex, InterfaceState, Time};

use self::model::{Model, Stale};
use crate::clock;
use crate::election::{Order, Ports};
use crate::inventory::Inventory;
use crate::netlink::{BUFFER, Connection, Message, message_type, messages};
use crate::sys;

/// RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE and _IPV6_NETCONF.
const GROUPS: [u32; 6] = [1, 5, 7, 9, 11, 25];
/// RTM_NEWNETCONF: a setting of an interface, for one forwarding, has changed.
const NEW_NETCONF: u16 = 80;
/// Room for some thousand events while we are away.
const RECEIVE_BUFFER: u32 = 4 << 20;
/// Default routes are listed again this long after one changed, so that a storm of routes costs one list.
const ROUTE_DELAY: Duration = Duration::from_millis(100);
/// Messages that are read before the election hears of them.
const EVENTS: usize = 32;
/// How soon a fact that did not fit, or a list that failed, is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// Virtual addresses that the plan has; how ours are known where the kernel keeps no tags.
pub type Planned = Arc<Mutex<BTreeSet<IpAddr>>>;

/// Where the monitor tells what it sees.
pub struct Context {
    /// The channels of the election.
    pub ports: Arc<Ports>,
    /// To the runtime, latest wins.
    pub inventory: watch::Sender<Arc<Inventory>>,
    /// What the plan has.
    pub planned: Planned,
    /// Whether the kernel keeps tags, which then say what is ours.
    pub keeps_tags: bool,
}

/// Runs until the process ends.
///
/// # Errors
/// If the kernel takes the socket away from us, which ends the process.
pub fn run(context: Context) -> anyhow::Result<()> {
    let mut monitor = Monitor {
        events: subscribe().context("netlink events")?,
        buffer: Vec::with_capacity(BUFFER),
        connection: Connection::open().context("netlink")?,
        model: Model::default(),
        told: BTreeMap::new(),
        told_host: BTreeMap::new(),
        untold: true,
        everything_is_due: true,
        events_were_lost: false,
        routes_are_due: None,
        context,
    };
    loop {
        monitor.turn()?;
    }
}

struct Monitor {
    events: Socket,
    buffer: Vec<u8>,
    connection: Connection,
    model: Model,
    /// What the election knows.
    told: BTreeMap<Ifindex, InterfaceState>,
    /// What it knows of the host's own addresses.
    told_host: BTreeMap<Ifindex, Arc<[IpAddr]>>,
    /// The election's ring was full.
    untold: bool,
    everything_is_due: bool,
    /// Events were lost, and the network thread does not know yet.
    events_were_lost: bool,
    routes_are_due: Option<Time>,
    context: Context,
}

impl Monitor {
    fn turn(&mut self) -> anyhow::Result<()> {
        if self.everything_is_due {
            // One that fails, for one because things change all the time, is asked for again.
            self.everything_is_due = self.list_everything().is_err();
        } else if self.routes_are_due.is_some_and(|at| at <= clock::now()) {
            self.routes_are_due = None;
            self.everything_is_due = self.list_routes().is_err();
        }
        self.tell();
        if self.events_were_lost && !self.everything_is_due {
            // Among them may have been the end of an address that we hold.
            let told = self.context.ports.orders.push(Order::Verify);
            self.events_were_lost = told.is_err();
        }
        if self.wait()? {
            self.read_events()?;
        }
        Ok(())
    }

    fn list_everything(&mut self) -> io::Result<()> {
        let mut model = Model::default();
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        for request in [links, addresses] {
            for entry in self.connection.dump(request)? {
                model.apply(&entry);
            }
        }
        self.model = model;
        self.list_routes()
    }

    fn list_routes(&mut self) -> io::Result<()> {
        self.model.forget_routes();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.header.table = RouteHeader::RT_TABLE_MAIN;
            let request = RouteNetlinkMessage::GetRoute(message);
            for entry in self.connection.dump(request)? {
                self.model.add_route(&entry);
            }
        }
        Ok(())
    }

    /// Waits for an event; false if something of ours is due before.
    fn wait(&self) -> anyhow::Result<bool> {
        let due = if self.everything_is_due || self.untold || self.events_were_lost {
            Some(RETRY)
        } else {
            self.routes_are_due.map(|at| at.since(clock::now()))
        };
        let timeout = match due {
            Some(due) => {
                let millis = due.as_nanos().div_ceil(1_000_000);
                PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
            }
            None => PollTimeout::NONE,
        };
        let mut events = [PollFd::new(self.events.as_fd(), PollFlags::POLLIN)];
        match poll(&mut events, timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error).context("waiting for netlink events"),
        }
    }

    /// Takes in what has happened; of a storm, a part, so that the election hears of it in between.
    fn read_events(&mut self) -> anyhow::Result<()> {
        for _ in 0..EVENTS {
            self.buffer.clear();
            match self.events.recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(_) => self.take_events(),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.everything_is_due = true;
                    self.events_were_lost = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading netlink events"),
            }
        }
        Ok(())
    }

    fn take_events(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        for bytes in messages(&buffer) {
            if message_type(bytes) == NEW_NETCONF {
                self.everything_is_due = true;
            } else if let Ok(message) = Message::deserialize(bytes)
                && let NetlinkPayload::InnerMessage(event) = message.payload
            {
                self.take_event(&event);
            }
        }
        self.buffer = buffer;
    }

    fn take_event(&mut self, event: &RouteNetlinkMessage) {
        match self.model.apply(event) {
            Stale::Nothing => {}
            Stale::Routes => {
                let at = clock::now() + ROUTE_DELAY;
                self.routes_are_due.get_or_insert(at);
            }
            Stale::Everything => self.everything_is_due = true,
        }
        if let Some((interface, address)) = model::removed_address(event, &self.virtual_addresses())
        {
            // Beyond 4,096 orders this is lost; the next renewal puts the address back.
            self.context
                .ports
                .orders
                .push(Order::Vanished(interface, address))
                .ok();
        }
    }

    /// How virtual addresses are known on this kernel.
    fn virtual_addresses(&self) -> model::Virtual {
        if self.context.keeps_tags {
            return model::Virtual::Tagged;
        }
        let planned = match self.context.planned.lock() {
            Ok(planned) => planned,
            // A set is whole at every moment.
            Err(poisoned) => poisoned.into_inner(),
        };
        model::Virtual::Listed(planned.clone())
    }

    fn tell(&mut self) {
        let inventory = self.model.inventory(&self.virtual_addresses());
        self.tell_election(&inventory);
        self.context.inventory.send_if_modified(|known| {
            let news = **known != inventory;
            if news {
                *known = Arc::new(inventory);
            }
            news
        });
    }

    fn tell_election(&mut self, inventory: &Inventory) {
        self.untold = false;
        let current: BTreeMap<_, _> = inventory
            .interfaces
            .values()
            .map(|interface| (interface.index, interface.state()))
            .collect();
        let facts = &self.context.ports.facts;
        // Before the interface itself: the address owner starts with it.
        for interface in inventory.interfaces.values() {
            let (interface, addresses) = (interface.index, interface.host_addresses());
            if self.told_host.get(&interface) == Some(&addresses) {
                continue;
            }
            let fact = Fact::HostAddresses {
                interface,
                addresses: Arc::clone(&addresses),
            };
            match facts.push(fact) {
                Ok(()) => {
                    self.told_host.insert(interface, addresses);
                }
                Err(_) => self.untold = true,
            }
        }
        self.told_host
            .retain(|interface, _| current.contains_key(interface));
        for (&interface, &state) in &current {
            if self.told.get(&interface) == Some(&state) {
                continue;
            }
            match facts.push(Fact::Interface { interface, state }) {
                Ok(()) => {
                    self.told.insert(interface, state);
                }
                Err(_) => self.untold = true,
            }
        }
        self.told.retain(|&interface, _| {
            let gone = !current.contains_key(&interface)
                && facts.push(Fact::InterfaceGone { interface }).is_ok();
            self.untold |= !gone && !current.contains_key(&interface);
            !gone
        });
    }
}

fn subscribe() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    sys::set_receive_buffer(socket.as_fd(), RECEIVE_BUFFER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    Ok(socket)
}
