//! A record of what was on a segment: advertisements, ARP and neighbour discovery, each frame once, with the
//! kernel's time stamp.
//!
//! One thread reads the socket until the capture is dropped. Owns the frames; changes nothing.

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeVal;
use socket2::{SockFilter, SockRef};

use crate::clock::Moment;
use crate::frame::{Advertisement, Content};
use crate::namespace::Namespace;
use crate::sys;
use crate::wait::{self, Seen};

const ALL_PROTOCOLS: u16 = 0x0003;
/// Holds some ten thousand small frames: the reader may be late by that much.
const BUFFER: usize = 8 << 20;

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    stopped: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    socket: Arc<OwnedFd>,
}

/// A captured frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When the kernel saw it.
    pub at: Moment,
    /// Its Ethernet source: in interface-MAC mode this says which node sent it.
    pub source_mac: [u8; 6],
    /// All of it.
    pub bytes: Vec<u8>,
    /// What it carries.
    pub content: Content,
}

/// An advertisement and when it was on the wire.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When the kernel saw it.
    pub at: Moment,
    /// Who sent it.
    pub source_mac: [u8; 6],
    /// What it says.
    pub advertisement: Advertisement,
}

impl Capture {
    /// Starts to record what passes `bridge` of `namespace`.
    pub(crate) fn start(namespace: &Namespace, bridge: &str) -> Result<Self> {
        let socket = namespace.run(|| {
            let index = if_nametoindex(bridge)?;
            let socket = sys::packet_socket(index, ALL_PROTOCOLS)?;
            sys::promiscuous(socket.as_fd(), index)?;
            Ok(socket)
        })?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        setsockopt(&socket, RcvBufForce, &BUFFER)?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(0, 20_000))?;
        let socket = Arc::new(socket);
        let mut capture = Self {
            frames: Arc::default(),
            stopped: Arc::default(),
            reader: None,
            socket: Arc::clone(&socket),
        };
        capture.set_filter(&relevant())?;
        let (frames, stopped) = (Arc::clone(&capture.frames), Arc::clone(&capture.stopped));
        let reader = move || read(&socket, &frames, &stopped);
        capture.reader = Some(
            thread::Builder::new()
                .name("capture".into())
                .spawn(reader)?,
        );
        Ok(capture)
    }

    /// From now on leaves out what comes from `mac`: for a sender of floods.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn ignore(&self, mac: [u8; 6]) -> Result<()> {
        let [.., high, low] = mac;
        // The last two bytes tell the hosts of a segment apart.
        let mut program = vec![
            SockFilter::new(LOAD_HALF, 0, 0, 10),
            SockFilter::new(JUMP_EQUAL, 0, 1, u16::from_be_bytes([high, low]).into()),
            SockFilter::new(RETURN, 0, 0, 0),
        ];
        program.extend(relevant());
        self.set_filter(&program)
    }

    /// Everything so far, in order of arrival.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        self.lock().clone()
    }

    /// All advertisements of a virtual router so far. Two checksum forms of one are two.
    #[must_use]
    pub fn advertisements(&self, vrid: u8) -> Vec<Sent> {
        let frames = self.lock();
        frames.iter().filter_map(|frame| frame.sent(vrid)).collect()
    }

    /// The advertisements of a virtual router from `since` on that `sender` sent.
    #[must_use]
    pub fn from_sender(&self, vrid: u8, sender: [u8; 6], since: Moment) -> Vec<Sent> {
        let mut sent = self.advertisements(vrid);
        sent.retain(|sent| sent.source_mac == sender && sent.at >= since);
        sent
    }

    /// Waits for an advertisement of a virtual router, from `since` on, that is as `wanted`.
    ///
    /// # Errors
    /// When none came `within`; with the last that did.
    pub fn await_advertisement(
        &self,
        what: &str,
        vrid: u8,
        since: Moment,
        within: Duration,
        wanted: impl Fn(&Sent) -> bool,
    ) -> Result<Sent> {
        wait::until(what, within, || {
            let sent = self.advertisements(vrid);
            let found = sent.iter().find(|sent| sent.at >= since && wanted(sent));
            Ok(match (found, sent.last()) {
                (Some(found), _) => Seen::Yes(found.clone()),
                (None, Some(last)) => Seen::NotYet(format!("{last:?}")),
                (None, None) => Seen::NotYet(format!("no advertisement of VRID {vrid}")),
            })
        })
    }

    /// Waits for the first gratuitous ARP or unsolicited neighbour advertisement for `address` from `since` on.
    ///
    /// # Errors
    /// When none came `within`.
    pub fn await_announcement(
        &self,
        address: IpAddr,
        since: Moment,
        within: Duration,
    ) -> Result<Frame> {
        let what = format!("announcement of {address}");
        wait::until(&what, within, || {
            Ok(
                match self.announcements(address, since).into_iter().next() {
                    Some(frame) => Seen::Yes(frame),
                    None => Seen::NotYet("none".to_owned()),
                },
            )
        })
    }

    /// The announcements of `address` from `since` on.
    #[must_use]
    pub fn announcements(&self, address: IpAddr, since: Moment) -> Vec<Frame> {
        let frames = self.lock();
        let announces = |f: &&Frame| f.at >= since && f.content.announced() == Some(address);
        frames.iter().filter(announces).cloned().collect()
    }

    fn set_filter(&self, program: &[SockFilter]) -> Result<()> {
        SockRef::from(&*self.socket)
            .attach_filter(program)
            .context("attach the capture's filter")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Frame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

impl Frame {
    fn sent(&self, vrid: u8) -> Option<Sent> {
        match &self.content {
            Content::Advertisement(advertisement) if advertisement.vrid == vrid => Some(Sent {
                at: self.at,
                source_mac: self.source_mac,
                advertisement: advertisement.clone(),
            }),
            Content::Advertisement(_)
            | Content::Arp(_)
            | Content::NeighbourAdvertisement(_)
            | Content::Other => None,
        }
    }
}

/// The longest time between two consecutive advertisements; zero for fewer than two.
#[must_use]
pub fn longest_gap(sent: &[Sent]) -> Duration {
    sent.windows(2)
        .filter_map(|pair| match pair {
            [earlier, later] => Some(later.at.since(earlier.at)),
            _ => None,
        })
        .max()
        .unwrap_or_default()
}

/// The senders of advertisements in the order in which they first sent.
#[must_use]
pub fn senders(sent: &[Sent]) -> Vec<[u8; 6]> {
    let mut senders = Vec::new();
    for one in sent {
        if !senders.contains(&one.source_mac) {
            senders.push(one.source_mac);
        }
    }
    senders
}

fn read(socket: &OwnedFd, frames: &Mutex<Vec<Frame>>, stopped: &AtomicBool) {
    let mut buffer = [0; 2048];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    while !stopped.load(Ordering::Relaxed) {
        match read_one(socket, &mut buffer, &mut control) {
            Ok(frame) => frames
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(frame),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The bridge is gone: the lab ends.
            Err(_) => return,
        }
    }
}

fn read_one(socket: &OwnedFd, buffer: &mut [u8], control: &mut [u8]) -> nix::Result<Frame> {
    let mut pieces = [IoSliceMut::new(buffer)];
    let received = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut pieces,
        Some(control),
        MsgFlags::empty(),
    )?;
    let stamp = received.cmsgs()?.find_map(|message| {
        if let ControlMessageOwned::ScmTimestampns(stamp) = message {
            Some(Duration::from(stamp))
        } else {
            None
        }
    });
    let length = received.bytes;
    let bytes = buffer.get(..length).unwrap_or_default();
    let source_mac = bytes.get(6..).and_then(|rest| rest.first_chunk()).copied();
    Ok(Frame {
        at: stamp.map_or_else(Moment::now, Moment::from_realtime),
        source_mac: source_mac.unwrap_or_default(),
        content: Content::read(bytes),
        bytes: bytes.to_vec(),
    })
}

const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// ARP; IPv4 protocol 112; IPv6 next header 112; neighbour solicitation and advertisement.
fn relevant() -> [SockFilter; 14] {
    let equal = |value, yes, no| SockFilter::new(JUMP_EQUAL, yes, no, value);
    [
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        equal(0x0806, 10, 0),
        equal(0x0800, 0, 2),
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        equal(112, 7, 8),
        equal(0x86dd, 0, 7),
        SockFilter::new(LOAD_BYTE, 0, 0, 20),
        equal(112, 4, 0),
        equal(58, 0, 4),
        SockFilter::new(LOAD_BYTE, 0, 0, 54),
        equal(135, 1, 0),
        equal(136, 0, 1),
        SockFilter::new(RETURN, 0, 0, 0xffff),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
