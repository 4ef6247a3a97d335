//! The loop of the election thread: wait, read what is there, fire timers, carry out.
//!
//! Owns the `Election`, epoll, the timer and the receive buffers. Frames are read before timers fire
//! (after a pause the queue holds the advertisements of whoever took over), and no more of them than the
//! budget, so that a flood delays nothing of ours.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use vipkeeper_vrrp::{Command, Election, Fact, Input, Output, Time};

use super::outbox::Outbox;
use super::patience::{Change, Patience};
use super::recorder::Recorder;
use super::stillness::{self, Moment};
use super::{
    Activity, Delivery, Event, HeartbeatPort, Link, Ports, Start, Stillness, TICK, neighbour,
};
use crate::sys::ReceiveBatch;
use crate::{clock, sys};

/// The scheduling priority of the thread, above the network thread's and below the kernel's own threads.
const FIFO_PRIORITY: u8 = 50;
/// Datagrams read in one wake-up.
const FRAME_BUDGET: usize = 1_024;
/// How long the thread sleeps after it used up its budget. Sleeping at all resets RLIMIT_RTTIME and lets the
/// kernel's receive path run.
const BREATH: Duration = Duration::from_micros(50);
/// How soon orders that did not fit are tried again.
const BACKLOG_RETRY: Duration = Duration::from_millis(1);
/// Ready descriptors taken in one call.
const EVENTS: usize = 256;
/// The epoll tags of the doorbell, the timer and of farewells; links have their index.
const DOORBELL: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
const FAREWELL: u64 = u64::MAX - 2;
/// Datagrams asked for by the first call: mostly there are few, and each has to be made room for.
const FIRST_READ: usize = 8;
/// The first of the heartbeat's sockets.
const HEARTBEAT: u64 = 2 << 32;
/// The neighbours' socket of the first link; the others' follow.
const NEIGHBOURS: u64 = 1 << 32;
/// Heartbeats, and claims of neighbours, that are read in one wake-up: of a flood, the rest is dropped by the kernel.
const WORD_BUDGET: usize = 64;

/// Runs the election until the process ends.
///
/// # Errors
/// If the kernel takes epoll or the timer away from us, which ends the process.
pub fn run(ports: &Arc<Ports>, start: Start) -> anyhow::Result<()> {
    let scheduling = sys::enter_fifo(FIFO_PRIORITY);
    if let Err(error) = &scheduling {
        let errno = error.raw_os_error().unwrap_or(0);
        // The ring is empty: nothing came before.
        ports.events.push(Event::NotRealtime { errno }).ok();
        // Where a cgroup has no real-time budget, this much may still be allowed.
        sys::raise_niceness().ok();
    }
    let scheduling = scheduling.map_err(|error| error.to_string());
    // Set here alone, so it cannot be set already.
    ports.vitals.scheduling.set(scheduling).ok();
    let mut driver = Driver::new(Arc::clone(ports))?;
    match start {
        Start::Fresh => {}
        Start::Still => driver.go_on()?,
    }
    loop {
        driver.wake_up()?;
    }
}

struct Driver {
    ports: Arc<Ports>,
    election: Election,
    links: Arc<[Arc<Link>]>,
    heartbeat: Option<Arc<HeartbeatPort>>,
    /// Links that the last delivery took away: what the routers there say as they leave still goes out by them.
    departing: Vec<Arc<Link>>,
    outbox: Outbox,
    recorder: Recorder,
    epoll: Epoll,
    events: Box<[EpollEvent]>,
    timer: TimerFd,
    /// What the timer is set to.
    armed: Option<Time>,
    buffers: ReceiveBatch,
    last_wake: Time,
    patience: Patience,
    stopping: bool,
    /// When to stand still, if that is wanted.
    moment: Moment,
    /// What was told while the thread stood still.
    missed: Vec<Fact>,
    /// What the guardian bears may have changed.
    stirred: bool,
    /// After which silence the guardian acts, if it would.
    guarded: Option<Duration>,
}

impl Driver {
    fn new(ports: Arc<Ports>) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll")?;
        let timer = TimerFd::new(
            ClockId::CLOCK_BOOTTIME,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )
        .context("timer")?;
        let readable = |tag| EpollEvent::new(EpollFlags::EPOLLIN, tag);
        epoll.add(ports.facts.wake().as_fd(), readable(DOORBELL))?;
        epoll.add(timer.as_fd(), readable(TIMER))?;
        Ok(Self {
            outbox: Outbox::new(Arc::clone(&ports)),
            recorder: Recorder::new(),
            ports,
            election: Election::new(),
            links: Arc::new([]),
            heartbeat: None,
            departing: Vec::new(),
            epoll,
            events: vec![EpollEvent::empty(); EVENTS].into_boxed_slice(),
            timer,
            armed: None,
            buffers: ReceiveBatch::new(),
            last_wake: clock::now(),
            patience: Patience::default(),
            stopping: false,
            moment: Moment::default(),
            missed: Vec::new(),
            stirred: true,
            guarded: None,
        })
    }

    /// One turn: everything that came before `now`, then what is due at `now`, then all effects.
    fn wake_up(&mut self) -> anyhow::Result<()> {
        self.wait(EpollTimeout::NONE)?;
        let now = clock::now();
        self.note_lateness(now);
        self.ports.facts.wake().clear();
        self.recorder.begin_turn(&self.ports, &self.election);
        self.take_messages(now)?;
        // Again, because what arrived since the wait ended must be read before a timer fires; and a delivery
        // may have changed the links.
        let ready = self.wait(EpollTimeout::ZERO)?;
        let budget = self.read_frames(now, ready);
        let flooded = self.read_words(now, ready);
        self.tell(now, Input::Timeout);
        while let Some(output) = self.election.poll_output() {
            self.recorder.output(&output);
            self.stirred |= is_stirring(&output);
            self.outbox.put(output);
        }
        self.recorder.end_turn();
        self.flush(now);
        self.be_patient(now, FRAME_BUDGET - budget)?;
        self.finish_turn(now)?;
        if self.may_stand_still(now) {
            self.stand_still()?;
        }
        if budget == 0 || flooded {
            std::thread::sleep(BREATH);
        }
        Ok(())
    }

    /// Between two wake-ups, with nothing on its way out.
    fn may_stand_still(&mut self, now: Time) -> bool {
        let next = self.election.next_timeout();
        !self.stopping && !self.outbox.has_backlog() && self.moment.has_come(&self.ports, now, next)
    }

    /// Lets the election go, and waits until it comes back.
    fn stand_still(&mut self) -> anyhow::Result<()> {
        let still = Stillness {
            election: std::mem::take(&mut self.election),
            links: Arc::clone(&self.links),
            last_wake: self.last_wake,
        };
        if let Err(still) = self.ports.still.push(still) {
            // Nobody took the last one, so nobody waits for this one.
            self.election = still.election;
            return Ok(());
        }
        self.go_on()
    }

    /// Goes on with the election that comes, this process's own or another's.
    fn go_on(&mut self) -> anyhow::Result<()> {
        let (still, facts) = stillness::wait(&self.ports)?;
        self.election = still.election;
        self.stirred = true;
        self.last_wake = still.last_wake;
        self.take_links(still.links)?;
        self.missed = facts;
        // A turn at once: the deadlines are not those that the timer is set to.
        self.armed = None;
        self.ports.facts.wake().ring();
        Ok(())
    }

    fn wait(&mut self, timeout: EpollTimeout) -> anyhow::Result<usize> {
        loop {
            match self.epoll.wait(&mut self.events, timeout) {
                Ok(ready) => return Ok(ready),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("epoll"),
            }
        }
    }

    fn note_lateness(&mut self, now: Time) {
        let Some(armed) = self.armed.filter(|armed| *armed <= now) else {
            return;
        };
        // One-shot: it has fired, or fires while it is set anew.
        self.armed = None;
        let late = u64::try_from(now.since(armed).as_nanos()).unwrap_or(u64::MAX);
        let vitals = &self.ports.vitals;
        vitals.lateness_last.store(late, Ordering::Relaxed);
        vitals.lateness_max.fetch_max(late, Ordering::Relaxed);
        vitals.lateness_distribution.observe(now.since(armed));
    }

    /// Every input but a datagram goes this way.
    fn tell(&mut self, now: Time, input: Input) {
        self.recorder.input(now, &input);
        self.election.handle(now, input);
    }

    /// Facts, answers and commands, in this order: a plan finds the interfaces it names.
    fn take_messages(&mut self, now: Time) -> anyhow::Result<()> {
        for fact in std::mem::take(&mut self.missed) {
            self.tell(now, Input::Fact(fact));
        }
        while let Some(fact) = self.ports.facts.pop() {
            self.tell(now, Input::Fact(fact));
        }
        while let Some(fact) = self.ports.answers.pop() {
            self.tell(now, Input::Fact(fact));
        }
        while let Some(delivery) = self.ports.deliveries.pop() {
            let Delivery {
                command,
                links,
                heartbeat,
            } = delivery;
            self.take_links(links)?;
            self.take_heartbeat(heartbeat)?;
            self.stopping = matches!(command, Command::Shutdown);
            self.stirred = true;
            self.tell(now, Input::Command(command));
        }
        Ok(())
    }

    fn flush(&mut self, now: Time) {
        let heartbeat = self.heartbeat.as_deref();
        if self.departing.is_empty() {
            self.outbox.flush(&self.links, heartbeat, now);
        } else {
            let mut all = self.links.to_vec();
            all.append(&mut self.departing);
            self.outbox.flush(&all, heartbeat, now);
        }
    }

    fn take_links(&mut self, links: Arc<[Arc<Link>]>) -> anyhow::Result<()> {
        for old in self.links.iter() {
            // Nothing to do about a descriptor that epoll does not know.
            self.epoll.delete(old.receive()).ok();
            self.epoll.delete(old.farewell()).ok();
            self.epoll.delete(old.neighbours()).ok();
        }
        self.departing.extend(self.links.iter().cloned());
        self.departing
            .retain(|old| links.iter().all(|link| link.key != old.key));
        for (tag, link) in (0..).zip(links.iter()) {
            let readable = EpollEvent::new(EpollFlags::EPOLLIN, tag);
            self.epoll
                .add(link.receive(), readable)
                .context("epoll of a receive socket")?;
            let ringing = EpollEvent::new(EpollFlags::EPOLLIN, FAREWELL);
            self.epoll
                .add(link.farewell(), ringing)
                .context("epoll of a farewell socket")?;
            let readable = EpollEvent::new(EpollFlags::EPOLLIN, NEIGHBOURS | tag);
            self.epoll
                .add(link.neighbours(), readable)
                .context("epoll of a neighbour socket")?;
        }
        self.links = links;
        self.patience = Patience::default();
        Ok(())
    }

    fn take_heartbeat(&mut self, next: Option<Arc<HeartbeatPort>>) -> anyhow::Result<()> {
        for old in self.heartbeat.iter().flat_map(|port| port.sockets.all()) {
            // Nothing to do about a descriptor that epoll does not know.
            self.epoll.delete(old).ok();
        }
        for (tag, socket) in (HEARTBEAT..).zip(next.iter().flat_map(|port| port.sockets.all())) {
            self.epoll
                .add(socket, EpollEvent::new(EpollFlags::EPOLLIN, tag))
                .context("epoll of a heartbeat socket")?;
        }
        self.heartbeat = next;
        Ok(())
    }

    /// Reads the links that are ready, or all while frames wait, within the budget; what is left of that.
    fn read_frames(&mut self, now: Time, ready: usize) -> usize {
        let wall = clock::wall();
        let mut budget = FRAME_BUDGET;
        if self.patience.is_muted() {
            let links = Arc::clone(&self.links);
            for link in links.iter() {
                link.hush();
                self.read_link(link, now, wall, &mut budget);
            }
            return budget;
        }
        for index in 0..ready.min(self.events.len()) {
            let tag = self.events.get(index).map_or(DOORBELL, EpollEvent::data);
            if tag == FAREWELL {
                self.links.iter().for_each(|link| link.hush());
            }
            // The other tags are no index of a link.
            let Some(link) = usize::try_from(tag).ok().and_then(|i| self.links.get(i)) else {
                continue;
            };
            let link = Arc::clone(link);
            self.read_link(&link, now, wall, &mut budget);
        }
        budget
    }

    /// Lets frames wait, or wake, from now on.
    fn be_patient(&mut self, now: Time, frames: usize) -> anyhow::Result<()> {
        let bearable = self.election.patience();
        let flags = match self.patience.after_turn(now, frames, bearable) {
            Change::Stay => return Ok(()),
            Change::Mute => EpollFlags::empty(),
            Change::Listen => EpollFlags::EPOLLIN,
        };
        for (tag, link) in (0..).zip(self.links.iter()) {
            let mut event = EpollEvent::new(flags, tag);
            self.epoll
                .modify(link.receive(), &mut event)
                .context("epoll of a receive socket")?;
        }
        Ok(())
    }

    fn read_link(&mut self, link: &Link, now: Time, wall: Duration, budget: &mut usize) {
        let mut room = FIRST_READ;
        while *budget > 0 {
            let limit = room.min(*budget);
            let count = match self.buffers.receive(link.receive(), limit) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ports
                        .vitals
                        .receive_failures
                        .fetch_add(1, Ordering::Relaxed);
                    self.outbox
                        .trouble(link.key, Activity::Receive, &error, now);
                    return;
                }
            };
            *budget -= count.min(*budget);
            self.ports
                .vitals
                .received
                .fetch_add(count as u64, Ordering::Relaxed);
            for datagram in (0..count).map_while(|index| self.buffers.get(index)) {
                let arrival = arrival(datagram.stamp, wall, self.last_wake, now);
                let (interface, source_mac) = (link.key.0, datagram.source_mac);
                let bytes = datagram.bytes;
                if self.recorder.is_on() {
                    let input = Input::Datagram {
                        interface,
                        arrival,
                        source_mac,
                        bytes: bytes.into(),
                    };
                    self.recorder.input(now, &input);
                }
                self.election
                    .handle_datagram(now, interface, arrival, source_mac, bytes);
            }
            if count < limit {
                return;
            }
            room = sys::BATCH;
        }
    }

    /// Reads what candidates and neighbours say besides advertisements, after those; whether there was more of it than
    /// is read at once.
    fn read_words(&mut self, now: Time, ready: usize) -> bool {
        let wall = clock::wall();
        let mut exhausted = false;
        for index in 0..ready.min(self.events.len()) {
            let tag = self.events.get(index).map_or(DOORBELL, EpollEvent::data);
            if tag & !u64::from(u32::MAX) == NEIGHBOURS {
                let index = usize::try_from(tag & u64::from(u32::MAX)).ok();
                if let Some(link) = index.and_then(|index| self.links.get(index)) {
                    let link = Arc::clone(link);
                    exhausted |= self.read_neighbours(&link, now, wall);
                }
            } else if tag & !u64::from(u32::MAX) == HEARTBEAT
                && let Some(port) = self.heartbeat.clone()
            {
                let index = usize::try_from(tag & u64::from(u32::MAX)).unwrap_or(usize::MAX);
                if let Some(socket) = port.sockets.all().nth(index) {
                    exhausted |= self.read_heartbeats(&port, socket, now, wall);
                }
            }
        }
        exhausted
    }

    fn read_neighbours(&mut self, link: &Link, now: Time, wall: Duration) -> bool {
        let count = match self.buffers.receive(link.neighbours(), WORD_BUDGET) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => {
                self.outbox
                    .trouble(link.key, Activity::Receive, &error, now);
                return false;
            }
        };
        for datagram in (0..count).map_while(|index| self.buffers.get(index)) {
            let arrival = arrival(datagram.stamp, wall, self.last_wake, now);
            if let Some((address, mac)) = neighbour::read(link.key.1, &datagram) {
                let fact = Fact::Neighbour {
                    interface: link.key.0,
                    arrival,
                    address,
                    mac,
                };
                let input = Input::Fact(fact);
                self.recorder.input(now, &input);
                self.election.handle(now, input);
            }
        }
        count == WORD_BUDGET
    }

    fn read_heartbeats(
        &mut self,
        port: &HeartbeatPort,
        socket: BorrowedFd<'_>,
        now: Time,
        wall: Duration,
    ) -> bool {
        // A UDP socket reports nothing but that there is nothing.
        let count = self.buffers.receive(socket, WORD_BUDGET).unwrap_or(0);
        for datagram in (0..count).map_while(|index| self.buffers.get(index)) {
            let Some(from) = datagram.source else {
                continue;
            };
            match port.read(datagram.bytes) {
                Ok((heartbeat, authenticity)) => {
                    let fact = Fact::Heartbeat {
                        from,
                        arrival: arrival(datagram.stamp, wall, self.last_wake, now),
                        authenticity,
                        heartbeat,
                    };
                    let input = Input::Fact(fact);
                    self.recorder.input(now, &input);
                    self.election.handle(now, input);
                }
                Err(reason) => self.outbox.refuse_heartbeat(from, reason, now),
            }
        }
        count == WORD_BUDGET
    }

    /// Answers who asked for a snapshot, ticks, and sets the timer.
    fn finish_turn(&mut self, now: Time) -> anyhow::Result<()> {
        if self.ports.snapshot_wanted.swap(false, Ordering::AcqRel) {
            self.ports.snapshots.replace(self.election.snapshot(now));
        }
        let vitals = &self.ports.vitals;
        if self.stopping && self.election.has_left() && !self.outbox.has_backlog() {
            vitals.shut_down.store(true, Ordering::Release);
        }
        vitals.heartbeat.store(now.as_nanos(), Ordering::Release);
        self.tell_guardian(now);
        self.last_wake = now;
        let retry = self.outbox.has_backlog().then_some(BACKLOG_RETRY);
        // At least twice within the silence that the guardian bears.
        let tick = self.guarded.map_or(TICK, |silence| TICK.min(silence / 2));
        let idle = now + retry.unwrap_or(tick);
        let due = [self.election.next_timeout(), self.patience.until()];
        let next = due.into_iter().flatten().fold(idle, Time::min);
        self.arm(next)
    }

    /// Tells that it lives, and for how long it may be silent now.
    fn tell_guardian(&mut self, now: Time) {
        let pulse = &self.ports.pulse;
        pulse.beat(now);
        if std::mem::take(&mut self.stirred) {
            self.guarded = self.election.guarded_interval();
            pulse.guard(self.guarded);
        }
    }

    fn arm(&mut self, at: Time) -> anyhow::Result<()> {
        if self.armed == Some(at) {
            return Ok(());
        }
        // A deadline of 0 would disarm the timer.
        let at_least_one = Duration::from_nanos(at.as_nanos().max(1));
        self.timer
            .set(
                Expiration::OneShot(TimeSpec::from(at_least_one)),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )
            .context("timer")?;
        self.armed = Some(at);
        Ok(())
    }
}

/// Whether `output` may come with another [`guarded_interval`](Election::guarded_interval).
const fn is_stirring(output: &Output) -> bool {
    match output {
        Output::Send(_) | Output::Announce(_) | Output::Probe(_) | Output::Beat(_) => false,
        Output::Install(_) | Output::Withdraw(_) | Output::Park(_) | Output::Report(_) => true,
    }
}

/// When the kernel saw a datagram: not before the last wake-up, and not after this one.
fn arrival(stamp: Option<Duration>, wall: Duration, last_wake: Time, now: Time) -> Time {
    stamp
        .map_or(now, |stamp| clock::since_boot(stamp, wall, now))
        .clamp(last_wake.min(now), now)
}

#[cfg(test)]
mod tests;
