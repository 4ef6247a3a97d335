//! The virtual LAN: who hears whom, when, how often.

use crate::group::{MICRO, MILLI, Nanos};
use crate::random::Random;

/// At most this many nodes.
pub(crate) const MOST_NODES: usize = 5;

/// A segment that every node is on.
pub(crate) struct Lan {
    /// The longest delay of a frame while all is well.
    pub(crate) delay: Nanos,
    /// The longest delay between a deadline or an arrival and the node's wake-up, while it runs.
    pub(crate) lateness: Nanos,
    pub(crate) weather: Weather,
    /// Until when the way from one node to another is cut.
    cut: [[Nanos; MOST_NODES]; MOST_NODES],
}

/// What the LAN does to frames, each in permille.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    loss: u64,
    duplication: u64,
    /// Delays of up to `surge` instead of the LAN's own: frames overtake each other.
    surges: u64,
    surge: Nanos,
    /// Frames that come back to their sender.
    loops: u64,
}

/// What became of one frame for one receiver.
pub(crate) enum Delivery {
    Dropped,
    At(Nanos),
    Twice(Nanos, Nanos),
}

impl Lan {
    pub(crate) fn random(random: &mut Random, shortest_interval: Nanos) -> Self {
        let delays = [
            100 * MICRO,
            MILLI,
            shortest_interval / 10,
            shortest_interval / 4,
        ];
        let latenesses = [0, 50 * MICRO, 300 * MICRO, shortest_interval / 50];
        Self {
            delay: random.pick(&delays),
            lateness: random.pick(&latenesses),
            weather: Weather::default(),
            cut: [[0; MOST_NODES]; MOST_NODES],
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, until: Nanos) {
        let cut = &mut self.cut[from][to];
        *cut = (*cut).max(until);
    }

    /// Everything works again.
    pub(crate) fn heal(&mut self) {
        self.weather = Weather::default();
        self.cut = [[0; MOST_NODES]; MOST_NODES];
    }

    /// Sends a frame at `now`; none of it arrives after `end`, or the LAN's own delay if that is later.
    pub(crate) fn deliver(
        &self,
        random: &mut Random,
        now: Nanos,
        (from, to): (usize, usize),
        end: Nanos,
    ) -> Delivery {
        let weather = &self.weather;
        if now < self.cut[from][to] || random.chance(weather.loss) {
            return Delivery::Dropped;
        }
        if from == to && !random.chance(weather.loops) {
            return Delivery::Dropped;
        }
        let first = self.arrival(random, now, end);
        if random.chance(weather.duplication) {
            return Delivery::Twice(first, self.arrival(random, now, end));
        }
        Delivery::At(first)
    }

    fn arrival(&self, random: &mut Random, now: Nanos, end: Nanos) -> Nanos {
        let usual = now + random.between(self.delay / 8, self.delay);
        if random.chance(self.weather.surges) {
            let late = now + random.up_to(self.weather.surge);
            return late.min(end).max(usual);
        }
        usual
    }

    /// Whether frames come back to their sender now and then.
    pub(crate) fn loops(&self) -> bool {
        self.weather.loops > 0
    }
}

impl Weather {
    pub(crate) fn random(random: &mut Random, interval: Nanos) -> Self {
        Self {
            loss: random.pick(&[0, 0, 50, 200, 500]),
            duplication: random.pick(&[0, 0, 100, 300]),
            surges: random.pick(&[0, 0, 100, 400]),
            surge: random.pick(&[interval / 2, interval, interval * 4]),
            loops: random.pick(&[0, 0, 0, 200]),
        }
    }
}
