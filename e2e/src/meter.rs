//! The gap a client sees: ICMP echo to one address every millisecond, with the answers that came and did not.
//!
//! One thread sends and receives until the meter is stopped or dropped, ahead of everything but the daemons
//! under test where that is permitted. A probe counts as answered when its reply comes within [`ANSWER`]; a meter
//! that is itself delayed sends late, which lengthens no gap.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::clock::Moment;
use crate::namespace::Namespace;
use crate::sys;
use crate::wait::{self, Seen};

/// SCHED_FIFO priority of the prober; daemons under test have 50.
const PRIORITY: u8 = 1;
/// Between two probes.
pub const PERIOD: Duration = Duration::from_millis(1);
/// A reply after this long is no reply: the packet waited somewhere for the address to come back.
pub const ANSWER: Duration = Duration::from_millis(50);

/// A raw socket gets the replies to every meter of its namespace: each has an identifier of its own.
static NEXT_IDENTIFIER: AtomicU16 = AtomicU16::new(0x766b);

/// A running meter.
#[derive(Debug)]
pub struct Meter {
    probes: Arc<Mutex<Vec<Probe>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    target: IpAddr,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    sent: Moment,
    answered_after: Option<Duration>,
}

/// What the client saw over a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Probes sent.
    pub sent: usize,
    /// Probes without an answer.
    pub lost: usize,
    /// From the first lost probe to the first answered one after it, for each run of lost probes.
    pub outages: Vec<Duration>,
}

impl Gaps {
    /// The longest outage; zero if nothing was lost.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.outages.iter().max().copied().unwrap_or_default()
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (longest, lost, sent) = (self.longest(), self.lost, self.sent);
        write!(f, "{longest:.1?} ({lost} of {sent} probes lost)")
    }
}

impl Meter {
    /// Starts to probe `target` from `namespace`.
    pub(crate) fn start(namespace: &Namespace, target: IpAddr) -> Result<Self> {
        let socket = namespace.run(|| echo_socket(target))?;
        let probes: Arc<Mutex<Vec<Probe>>> = Arc::default();
        let stopped: Arc<AtomicBool> = Arc::default();
        let prober = Prober {
            socket,
            target: SocketAddr::new(target, 0).into(),
            echo: Echo {
                ipv6: target.is_ipv6(),
                identifier: NEXT_IDENTIFIER.fetch_add(1, Ordering::Relaxed),
            },
            probes: Arc::clone(&probes),
        };
        let until = Arc::clone(&stopped);
        let thread = thread::Builder::new()
            .name("meter".into())
            .spawn(move || prober.run(&until))?;
        Ok(Self {
            probes,
            stopped,
            thread: Some(thread),
            target,
        })
    }

    /// Waits until the target answers steadily: 20 probes in a row.
    ///
    /// # Errors
    /// When it does not `within`.
    pub fn await_answers(&self, within: Duration) -> Result<()> {
        let begun = Moment::now();
        let what = format!("steady answers from {}", self.target);
        wait::until(&what, within, || {
            Ok(Seen::when(self.is_steady(begun), |steady| *steady).map(|_| ()))
        })
    }

    /// Whether the last 20 probes, all sent after `since`, were answered; those still on their way left out.
    #[must_use]
    pub fn is_steady(&self, since: Moment) -> bool {
        const IN_A_ROW: usize = 20;
        let probes = self.lock();
        let settled = probes
            .iter()
            .rev()
            .take_while(|p| p.sent >= since)
            .skip_while(|p| p.answered_after.is_none() && p.sent.elapsed() < ANSWER);
        let answered = settled
            .take(IN_A_ROW)
            .filter(|p| p.answered_after.is_some())
            .count();
        answered == IN_A_ROW
    }

    /// How long ago the last probe was sent that was answered; `None` if none was.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        let probes = self.lock();
        let mut answered = probes.iter().rev().filter(|p| p.answered_after.is_some());
        answered.next().map(|probe| probe.sent.elapsed())
    }

    /// What happened from `since` on, probes still on their way left out. An outage that has not ended counts
    /// up to the last probe.
    #[must_use]
    pub fn gaps(&self, since: Moment) -> Gaps {
        let probes = self.lock();
        let settled: Vec<Probe> = probes
            .iter()
            .filter(|p| p.sent >= since)
            .filter(|p| p.answered_after.is_some() || p.sent.elapsed() > ANSWER)
            .copied()
            .collect();
        summarize(&settled)
    }

    /// Waits for the last answers and says what happened from `since` on.
    #[must_use]
    pub fn stop(mut self, since: Moment) -> Gaps {
        self.end();
        self.gaps(since)
    }

    fn end(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Probe>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end();
    }
}

fn summarize(probes: &[Probe]) -> Gaps {
    let answered = |probe: &Probe| probe.answered_after.is_some_and(|after| after <= ANSWER);
    let mut gaps = Gaps {
        sent: probes.len(),
        ..Gaps::default()
    };
    let mut begun = None;
    for probe in probes {
        match (answered(probe), begun) {
            (true, Some(first_lost)) => {
                gaps.outages.push(probe.sent.since(first_lost));
                begun = None;
            }
            (true, None) => {}
            (false, first) => {
                gaps.lost += 1;
                begun = first.or(Some(probe.sent));
            }
        }
    }
    if let (Some(first_lost), Some(last)) = (begun, probes.last()) {
        gaps.outages.push(last.sent.since(first_lost) + PERIOD);
    }
    gaps
}

struct Prober {
    socket: Socket,
    target: SockAddr,
    echo: Echo,
    probes: Arc<Mutex<Vec<Probe>>>,
}

impl Prober {
    fn run(&self, stopped: &AtomicBool) {
        // Without permission it is as late as its neighbours make it.
        sys::real_time(PRIORITY).ok();
        let mut due = Moment::now();
        while !stopped.load(Ordering::Relaxed) {
            let now = Moment::now();
            if now >= due {
                self.send(now);
                // A late meter does not catch up: a burst would say nothing new.
                due = (due + PERIOD).max(now);
            }
            self.receive_until(due);
        }
        self.receive_until(Moment::now() + ANSWER);
    }

    fn send(&self, now: Moment) {
        let mut probes = self.lock();
        let number = u32::try_from(probes.len()).unwrap_or(u32::MAX);
        probes.push(Probe {
            sent: now,
            answered_after: None,
        });
        drop(probes);
        // No route, no neighbour, a full queue: the probe is lost, which is what is measured.
        drop(
            self.socket
                .send_to(&self.echo.request(number), &self.target),
        );
    }

    fn receive_until(&self, end: Moment) {
        loop {
            let left = end.since(Moment::now());
            let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let waited = ppoll(&mut ready, Some(TimeSpec::from(left)), None);
            if !matches!(waited, Ok(1..)) {
                if Moment::now() >= end {
                    return;
                }
                continue;
            }
            self.receive();
            if Moment::now() >= end {
                return;
            }
        }
    }

    fn receive(&self) {
        let mut buffer = [0; 256];
        while let Ok(length) = std::io::Read::read(&mut &self.socket, &mut buffer) {
            let now = Moment::now();
            let datagram = buffer.get(..length).unwrap_or_default();
            if let Some(number) = self.echo.reply(datagram) {
                let mut probes = self.lock();
                if let Some(probe) = probes.get_mut(number as usize) {
                    probe.answered_after.get_or_insert(now.since(probe.sent));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Probe>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn echo_socket(target: IpAddr) -> Result<Socket> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))
        .context("make a raw ICMP socket")?;
    socket.set_recv_buffer_size(1 << 20)?;
    Ok(socket)
}

/// The messages of one meter.
#[derive(Clone, Copy, Debug)]
struct Echo {
    ipv6: bool,
    identifier: u16,
}

impl Echo {
    /// An echo request with the probe's number in its data, which no reply can confuse by wrapping around.
    fn request(self, number: u32) -> [u8; 12] {
        let [i, j] = self.identifier.to_be_bytes();
        let [a, b, c, d] = number.to_be_bytes();
        let kind = if self.ipv6 { 128 } else { 8 };
        let mut message = [kind, 0, 0, 0, i, j, c, d, a, b, c, d];
        if !self.ipv6 {
            let sum = internet_checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        // For IPv6 the kernel fills the checksum in.
        message
    }

    /// The number in an echo reply to one of this meter's.
    fn reply(self, datagram: &[u8]) -> Option<u32> {
        let header = if self.ipv6 {
            0
        } else {
            usize::from(datagram.first()? & 0x0f) * 4
        };
        let message = datagram.get(header..)?;
        let kind = if self.ipv6 { 129 } else { 0 };
        if *message.first()? != kind || message.get(4..6)? != self.identifier.to_be_bytes() {
            return None;
        }
        Some(u32::from_be_bytes(*message.get(8..)?.first_chunk()?))
    }
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(pattern: &str) -> Vec<Probe> {
        let start = Moment::now();
        pattern
            .chars()
            .zip(0..)
            .map(|(mark, number)| Probe {
                sent: start + PERIOD * number,
                answered_after: match mark {
                    '!' => Some(Duration::from_micros(100)),
                    'l' => Some(ANSWER * 2),
                    _ => None,
                },
            })
            .collect()
    }

    #[test]
    fn an_outage_lasts_from_the_first_lost_probe_to_the_next_answer() {
        let gaps = summarize(&probes("!!...!!.!"));
        assert_eq!((gaps.sent, gaps.lost), (9, 4));
        assert_eq!(gaps.outages, [PERIOD * 3, PERIOD]);
        assert_eq!(gaps.longest(), PERIOD * 3);
    }

    #[test]
    fn an_outage_without_end_counts_to_the_last_probe() {
        assert_eq!(summarize(&probes("!..")).outages, [PERIOD * 2]);
    }

    #[test]
    fn a_late_answer_is_none() {
        assert_eq!(summarize(&probes("!l!")).lost, 1);
    }

    const ECHO: Echo = Echo {
        ipv6: true,
        identifier: 7,
    };

    #[test]
    fn a_reply_carries_the_number_of_its_request() {
        let mut reply = ECHO.request(70_000);
        reply[0] = 129;
        assert_eq!(ECHO.reply(&reply), Some(70_000));
    }

    #[test]
    fn a_reply_to_another_meter_is_none() {
        let mut reply = ECHO.request(70_000);
        reply[0] = 129;
        let other = Echo {
            identifier: 8,
            ..ECHO
        };
        assert_eq!(other.reply(&reply), None);
    }

    #[test]
    fn an_echo_request_sums_to_nothing() {
        let ipv4 = Echo {
            ipv6: false,
            ..ECHO
        };
        assert_eq!(internet_checksum(&ipv4.request(9)), 0);
    }
}
