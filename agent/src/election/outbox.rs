//! The way out of the election: effects, gathered in one turn and carried out together.
//!
//! Owns the buffers of everything that is sent, allocated once. Keeps the order that matters: advertisements,
//! then orders to the network, then announcements, which only ever follow a confirmed order.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vipkeeper_vrrp::{Announcement, Beat, Output, Probe, Report, Time, Transmit};
use vipkeeper_wire::Family;
use vipkeeper_wire::heartbeat::{HeartbeatError, PORT};
use vipkeeper_wire::ip::{IPV4_HEADER_LEN, ipv4_header};
use vipkeeper_wire::{arp, ndp};

use super::link::{HOPS, TRAFFIC_CLASS, VRRP};
use super::{Activity, Event, HeartbeatPort, Link, LinkKey, Order, Ports};
use crate::sys::{Message, SendBatch, Sent, Target};

/// Effects of one turn for which there is room without allocating: 1,024 routers' worth.
const CAPACITY: usize = 1_024;
/// The same trouble is told once in this time.
const QUIET: Duration = Duration::from_secs(1);

/// Gathers effects and carries them out.
pub(super) struct Outbox {
    ports: Arc<Ports>,
    advertisements: Vec<Transmit>,
    /// Of the advertisement at the same place; unused over IPv6.
    headers: Vec<[u8; IPV4_HEADER_LEN]>,
    orders: VecDeque<Order>,
    /// Announcements and probes.
    frames: Vec<Frame>,
    beats: Vec<Beat>,
    batch: SendBatch,
    told: BTreeMap<(LinkKey, u8), Time>,
    /// When a refused heartbeat was told of last.
    refused_at: Option<Time>,
}

/// A frame of either family, with what of it is used.
struct Frame {
    key: LinkKey,
    bytes: [u8; ndp::FRAME_LEN],
    length: usize,
}

impl Outbox {
    pub(super) fn new(ports: Arc<Ports>) -> Self {
        Self {
            ports,
            advertisements: Vec::with_capacity(CAPACITY),
            headers: Vec::with_capacity(CAPACITY),
            orders: VecDeque::with_capacity(CAPACITY),
            frames: Vec::with_capacity(CAPACITY),
            beats: Vec::new(),
            batch: SendBatch::new(),
            told: BTreeMap::new(),
            refused_at: None,
        }
    }

    /// Takes one effect; reports leave at once, the rest waits for [`flush`](Self::flush).
    pub(super) fn put(&mut self, output: Output) {
        match output {
            Output::Send(transmit) => {
                self.headers.push(header_of(&transmit));
                self.advertisements.push(transmit);
            }
            Output::Install(install) => self.orders.push_back(Order::Install(install)),
            Output::Park(park) => self.orders.push_back(Order::Park(park)),
            Output::Withdraw(withdraw) => self.orders.push_back(Order::Withdraw(withdraw)),
            Output::Announce(announcement) => self.frames.push(frame_of(&announcement)),
            Output::Probe(probe) => self.frames.push(probe_of(&probe)),
            Output::Beat(beat) => self.beats.push(beat),
            Output::Report(report) => self.report(report),
        }
    }

    /// Carries out what was put.
    pub(super) fn flush(
        &mut self,
        links: &[Arc<Link>],
        heartbeat: Option<&HeartbeatPort>,
        now: Time,
    ) {
        if !self.advertisements.is_empty() {
            self.send_advertisements(links, now);
        }
        while let Some(order) = self.orders.pop_front() {
            if let Err(order) = self.ports.orders.push(order) {
                self.orders.push_front(order);
                break;
            }
        }
        if !self.frames.is_empty() {
            self.send_frames(links, now);
        }
        if !self.beats.is_empty() {
            self.send_beats(heartbeat);
        }
    }

    /// Whether orders wait for room.
    pub(super) fn has_backlog(&self) -> bool {
        !self.orders.is_empty()
    }

    /// Tells the runtime that a socket failed, unless it was told of the same a moment ago.
    pub(super) fn trouble(
        &mut self,
        key: LinkKey,
        activity: Activity,
        error: &io::Error,
        now: Time,
    ) {
        let last = self.told.get(&(key, activity as u8));
        if last.is_some_and(|last| now.since(*last) < QUIET) {
            return;
        }
        self.told.insert((key, activity as u8), now);
        self.tell(Event::Trouble {
            key,
            activity,
            errno: error.raw_os_error().unwrap_or(0),
        });
    }

    fn report(&self, report: Report) {
        if let Report::Announced {
            reason, silence, ..
        } = &report
        {
            self.ports.vitals.failovers.observe(*reason, *silence);
        }
        self.tell(Event::Report(report));
    }

    fn tell(&self, event: Event) {
        if self.ports.events.push(event).is_err() {
            self.ports
                .vitals
                .events_dropped
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send_advertisements(&mut self, links: &[Arc<Link>], now: Time) {
        for link in links {
            let messages = self
                .advertisements
                .iter()
                .zip(&self.headers)
                .filter(|(transmit, _)| key_of(transmit) == link.key)
                .map(|(transmit, header)| message_of(transmit, header));
            let sent = self.batch.send(link.advertise(), messages);
            self.note(link.key, Activity::Advertise, sent, now);
        }
        self.advertisements.clear();
        self.headers.clear();
    }

    fn send_frames(&mut self, links: &[Arc<Link>], now: Time) {
        for link in links {
            let messages = self
                .frames
                .iter()
                .filter(|frame| frame.key == link.key)
                .map(|frame| Message {
                    target: Target::Bound,
                    parts: [frame.bytes.get(..frame.length).unwrap_or_default(), &[]],
                });
            let sent = self.batch.send(link.announce(), messages);
            self.note(link.key, Activity::Announce, sent, now);
        }
        self.frames.clear();
    }

    /// Heartbeats are told by nobody else: what the kernel refuses is counted, and the next one comes soon.
    fn send_beats(&mut self, heartbeat: Option<&HeartbeatPort>) {
        let vitals = &self.ports.vitals;
        let Some(port) = heartbeat else {
            // Without sockets, which the plan says.
            self.beats.clear();
            return;
        };
        for beat in self.beats.drain(..) {
            let (Some(bytes), Some(socket)) =
                (port.sign(&beat), port.sockets.towards(beat.destination))
            else {
                vitals.beat_failures.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let message = Message {
                target: Target::Port {
                    destination: beat.destination,
                    port: PORT,
                },
                parts: [&bytes, &[]],
            };
            let sent = self.batch.send(socket, std::iter::once(message));
            vitals
                .beat_failures
                .fetch_add(sent.failed, Ordering::Relaxed);
        }
    }

    /// A heartbeat is not listened to: counted, and told of once in a while.
    pub(super) fn refuse_heartbeat(&mut self, from: IpAddr, reason: HeartbeatError, now: Time) {
        let vitals = &self.ports.vitals;
        vitals.beats_refused.fetch_add(1, Ordering::Relaxed);
        let quiet = self.refused_at.is_some_and(|at| now.since(at) < QUIET);
        if !quiet {
            self.refused_at = Some(now);
            self.tell(Event::HeartbeatRefused { from, reason });
        }
    }

    fn note(&mut self, key: LinkKey, activity: Activity, sent: Sent, now: Time) {
        let vitals = &self.ports.vitals;
        let failures = match activity {
            Activity::Receive => &vitals.receive_failures,
            Activity::Advertise => &vitals.advertise_failures,
            Activity::Announce => &vitals.announce_failures,
        };
        failures.fetch_add(sent.failed, Ordering::Relaxed);
        if let Some(error) = sent.error {
            self.trouble(key, activity, &error, now);
        }
    }
}

fn key_of(transmit: &Transmit) -> LinkKey {
    (transmit.interface, Family::of(&transmit.destination))
}

fn header_of(transmit: &Transmit) -> [u8; IPV4_HEADER_LEN] {
    match (transmit.source, transmit.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = u16::try_from(transmit.payload.len()).unwrap_or(u16::MAX);
            // Identification 0: the kernel chooses.
            ipv4_header(source, destination, VRRP, length, HOPS, TRAFFIC_CLASS, 0)
        }
        (IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_)) => [0; IPV4_HEADER_LEN],
    }
}

fn message_of<'a>(transmit: &'a Transmit, header: &'a [u8]) -> Message<'a> {
    match (transmit.source, transmit.destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => Message {
            target: Target::AddressFrom {
                destination,
                source,
                interface: transmit.interface,
            },
            parts: [&transmit.payload, &[]],
        },
        (IpAddr::V4(_) | IpAddr::V6(_), destination @ (IpAddr::V4(_) | IpAddr::V6(_))) => Message {
            target: Target::Address { destination },
            parts: [header, &transmit.payload],
        },
    }
}

fn frame_of(announcement: &Announcement) -> Frame {
    let mut bytes = [0; ndp::FRAME_LEN];
    let length = match announcement.address {
        IpAddr::V4(address) => {
            let frame = arp::gratuitous(announcement.mac, address, announcement.form);
            copy(&mut bytes, &frame)
        }
        IpAddr::V6(address) => {
            let frame =
                ndp::unsolicited_advertisement(announcement.mac, address, announcement.forwards);
            copy(&mut bytes, &frame)
        }
    };
    let key = (announcement.interface, Family::of(&announcement.address));
    Frame { key, bytes, length }
}

fn probe_of(probe: &Probe) -> Frame {
    let mut bytes = [0; ndp::FRAME_LEN];
    let length = match probe.address {
        IpAddr::V4(address) => copy(&mut bytes, &arp::probe(probe.mac, address)),
        IpAddr::V6(address) => copy(&mut bytes, &ndp::probe(probe.mac, address)),
    };
    let key = (probe.interface, Family::of(&probe.address));
    Frame { key, bytes, length }
}

/// Copies `frame` to the front of `buffer`, and gives its length.
fn copy(buffer: &mut [u8], frame: &[u8]) -> usize {
    for (to, from) in buffer.iter_mut().zip(frame) {
        *to = *from;
    }
    frame.len().min(buffer.len())
}

#[cfg(test)]
mod tests;
