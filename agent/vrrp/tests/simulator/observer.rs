//! P1 to P3: what must hold over all nodes of a virtual router once the LAN has healed.

use crate::group::{Group, Nanos};
use crate::lan::{Lan, MOST_NODES};
use crate::reference::ANSWER_PAUSE;

/// Watches one virtual router.
pub(crate) struct Observer {
    active: [bool; MOST_NODES],
    /// Since when two nodes are Active at the same time.
    overlaps: [[Option<Nanos>; MOST_NODES]; MOST_NODES],
    /// When the last disturbance ended; `None` during one.
    healed_at: Option<Nanos>,
    /// When an Active said priority 0 last to make room for another.
    released_at: Nanos,
    pub(crate) was_double: bool,
}

/// How long things may take after healing.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// P1: two are Active.
    overlap: Nanos,
    /// P2: none is Active although one could be.
    pub(crate) vacancy: Nanos,
    /// P3: a planned change of the Active, when all is settled.
    change: Nanos,
}

impl Bounds {
    /// From the longest interval and Active_Down_Interval of `group`, and the LAN's delay. A message costs the
    /// delay and the receiver's lateness; the sender's deadline, the sender's lateness.
    pub(crate) fn new(group: &Group, lan: &Lan) -> Self {
        let (interval, down) = group.longest();
        let message = lan.delay + lan.lateness;
        let overlap = interval + lan.lateness + message;
        let answer_if = |needed: bool, bound| match needed {
            true => bound + ANSWER_PAUSE,
            false => 0,
        };
        // A router that was taught one checksum form by a lossy LAN may be unheard by one that demands the
        // other, until it has heard it and answers in both.
        let unheard = group.mixes_forms();
        // When the last advertisement of the old Active is delivered after the first of the new one, a Backup
        // waits for the old one's interval, which the new one's may outlast.
        let outlasted = group.has_an_interval_beyond_a_down_interval();
        Self {
            overlap: overlap + answer_if(unheard, overlap),
            vacancy: down + interval + 2 * lan.lateness + message,
            change: message + answer_if(unheard || outlasted, message),
        }
    }
}

impl Observer {
    pub(crate) fn new() -> Self {
        Self {
            active: [false; MOST_NODES],
            overlaps: [[None; MOST_NODES]; MOST_NODES],
            healed_at: None,
            released_at: 0,
            was_double: false,
        }
    }

    pub(crate) fn disturb(&mut self) {
        self.healed_at = None;
    }

    pub(crate) fn heal(&mut self, now: Nanos) {
        self.healed_at = Some(now);
    }

    /// Node `node` is Active from now on, or not any more.
    pub(crate) fn note(&mut self, node: usize, active: bool, now: Nanos) {
        if self.active[node] == active {
            return;
        }
        self.active[node] = active;
        for other in (0..MOST_NODES).filter(|&other| other != node) {
            let since = (active && self.active[other]).then_some(now);
            self.overlaps[node][other] = since;
            self.overlaps[other][node] = since;
            self.was_double |= since.is_some();
        }
    }

    /// A lame duck serves on from `now`, until another is Active or nobody is there to be.
    pub(crate) fn release(&mut self, now: Nanos) {
        self.released_at = now;
    }

    /// Holds at `now`; `able` says since when each node takes part.
    pub(crate) fn check(
        &self,
        bounds: Bounds,
        now: Nanos,
        able: impl Iterator<Item = Option<Nanos>> + Clone,
    ) -> Result<(), (&'static str, String)> {
        let Some(healed_at) = self.healed_at else {
            return Ok(());
        };
        let able = able.flatten().map(|since| since.max(healed_at));
        let (Some(first), Some(last)) = (able.clone().min(), able.max()) else {
            return Ok(());
        };
        let vacant = first.max(self.released_at);
        if !self.active.contains(&true) && now > vacant + bounds.vacancy {
            let late = now - vacant - bounds.vacancy;
            return Err(("P2", format!("nobody is Active, {late} ns past the bound")));
        }
        let settled_at = last + bounds.vacancy;
        for (node, overlaps) in self.overlaps.iter().enumerate() {
            for (other, since) in overlaps.iter().enumerate().skip(node + 1) {
                let Some(since) = *since else { continue };
                let (property, bound) = match since >= settled_at {
                    true => ("P3", since + bounds.change),
                    false => ("P1", since.max(healed_at) + bounds.overlap),
                };
                if now > bound {
                    let late = now - bound;
                    let what =
                        format!("nodes {node} and {other} are Active, {late} ns past the bound");
                    return Err((property, what));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn actives(&self) -> impl Iterator<Item = usize> {
        (0..MOST_NODES).filter(|&node| self.active[node])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        overlap: 10,
        vacancy: 30,
        change: 2,
    };

    /// Healed at 100, both nodes able to take part since before.
    fn healed(active: &[usize]) -> Observer {
        let mut observer = Observer::new();
        active
            .iter()
            .for_each(|&node| observer.note(node, true, 50));
        observer.heal(100);
        observer
    }

    fn verdict(observer: &Observer, now: Nanos) -> Option<&'static str> {
        let able = [Some(0), Some(0)].into_iter();
        observer
            .check(BOUNDS, now, able)
            .err()
            .map(|(property, _)| property)
    }

    #[test]
    fn two_actives_are_forgiven_until_the_bound_after_healing() {
        let observer = healed(&[0, 1]);
        assert_eq!(verdict(&observer, 110), None);
        assert_eq!(verdict(&observer, 111), Some("P1"));
    }

    #[test]
    fn a_vacancy_is_forgiven_until_the_bound_after_healing() {
        let observer = healed(&[]);
        assert_eq!(verdict(&observer, 130), None);
        assert_eq!(verdict(&observer, 131), Some("P2"));
        assert_eq!(
            observer.check(BOUNDS, 200, [None, None].into_iter()).err(),
            None
        );
    }

    #[test]
    fn when_all_is_settled_a_change_takes_a_message() {
        let mut observer = healed(&[0]);
        observer.note(1, true, 140);
        assert_eq!(verdict(&observer, 142), None);
        assert_eq!(verdict(&observer, 143), Some("P3"));
        observer.note(0, false, 142);
        assert_eq!(verdict(&observer, 143), None);
    }

    #[test]
    fn nothing_is_judged_during_a_disturbance() {
        let mut observer = healed(&[0, 1]);
        observer.disturb();
        assert_eq!(verdict(&observer, 1_000), None);
    }
}
