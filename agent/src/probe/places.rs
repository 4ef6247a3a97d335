//! How many probes run at once, and who waits for a place.
//!
//! Owns two lanes: sockets are many and bounded by what the process may open, scripts are few and bounded by what a node
//! stands. Never runs a probe.

use std::collections::VecDeque;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::outcome::Kind;

/// Scripts at once.
const SCRIPTS: usize = 32;
/// Sockets of probes at once: 10,000 targets of which each hangs for its whole timeout, and room.
const SOCKETS: usize = 16_384;
/// Descriptors that are left to everything else.
const RESERVE: usize = 512;

/// The places of a node.
#[derive(Debug)]
pub(super) struct Places {
    sockets: Lane,
    scripts: Lane,
}

#[derive(Debug)]
struct Lane {
    free: usize,
    waiting: VecDeque<u64>,
}

/// A place in a lane. It is given back by [`Places::leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Socket,
    Script,
}

impl Places {
    /// As many as this process may open; raises its soft limit of descriptors to the hard one.
    pub(super) fn of_process() -> Self {
        Self::new(
            descriptors().saturating_sub(RESERVE).clamp(64, SOCKETS),
            SCRIPTS,
        )
    }

    pub(super) fn new(sockets: usize, scripts: usize) -> Self {
        let lane = |free| Lane {
            free,
            waiting: VecDeque::new(),
        };
        Self {
            sockets: lane(sockets),
            scripts: lane(scripts),
        }
    }

    /// A place for the probe of `slot`; without one it waits.
    pub(super) fn enter(&mut self, kind: Kind, slot: u64) -> Option<Place> {
        let place = place(kind);
        let lane = self.lane(place);
        if let Some(free) = lane.free.checked_sub(1) {
            lane.free = free;
            return Some(place);
        }
        lane.waiting.push_back(slot);
        None
    }

    /// Gives a place back; whoever waited longest gets it.
    pub(super) fn leave(&mut self, place: Place) -> Option<u64> {
        let lane = self.lane(place);
        lane.free += 1;
        lane.waiting.pop_front()
    }

    /// Nobody of `gone` waits any more.
    pub(super) fn forget(&mut self, gone: impl Fn(u64) -> bool) {
        self.sockets.waiting.retain(|slot| !gone(*slot));
        self.scripts.waiting.retain(|slot| !gone(*slot));
    }

    pub(super) fn waiting(&self) -> usize {
        self.sockets.waiting.len() + self.scripts.waiting.len()
    }

    const fn lane(&mut self, place: Place) -> &mut Lane {
        match place {
            Place::Socket => &mut self.sockets,
            Place::Script => &mut self.scripts,
        }
    }
}

const fn place(kind: Kind) -> Place {
    match kind {
        Kind::Tcp
        | Kind::Http
        | Kind::Https
        | Kind::Udp
        | Kind::Dns
        | Kind::Smtp
        | Kind::Ping
        | Kind::Grpc
        | Kind::File => Place::Socket,
        Kind::Exec => Place::Script,
    }
}

/// How many descriptors this process may have, after it has taken what it may take.
fn descriptors() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return RESERVE;
    };
    let wanted = hard.min((SOCKETS + RESERVE) as u64).max(soft);
    let granted = if wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_err() {
        soft
    } else {
        wanted
    };
    usize::try_from(granted).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_longest_is_next_and_lanes_do_not_wait_for_each_other() {
        let mut places = Places::new(1, 1);
        let socket = places.enter(Kind::Tcp, 1).unwrap();
        assert_eq!(places.enter(Kind::Http, 2), None);
        assert_eq!(places.enter(Kind::Ping, 3), None);
        let script = places.enter(Kind::Exec, 4).unwrap();
        assert_eq!((socket, script), (Place::Socket, Place::Script));
        assert_eq!(places.waiting(), 2);
        assert_eq!(places.leave(script), None);
        assert_eq!(places.leave(socket), Some(2));
        assert_eq!(places.enter(Kind::Http, 2), Some(Place::Socket));
        places.forget(|slot| slot == 3);
        assert_eq!(places.leave(Place::Socket), None);
    }

    #[test]
    fn the_process_may_open_at_least_what_it_may_open_now() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(descriptors() as u64 >= soft);
    }
}
