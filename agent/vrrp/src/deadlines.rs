//! One deadline for each router instance, the earliest first.
//!
//! A binary heap that knows where each slot stands in it, so that a deadline moves in place: a Backup moves
//! its own with every advertisement, and neither allocates nor leaves stale entries behind.

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Deadlines by slot number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deadlines {
    heap: Vec<(Time, usize)>,
    /// Where each slot stands in the heap.
    places: Vec<Option<usize>>,
}

impl Deadlines {
    /// The earliest deadline and its slot.
    pub(crate) fn first(&self) -> Option<(Time, usize)> {
        self.heap.first().copied()
    }

    /// Gives `slot` the deadline `at`, or none.
    pub(crate) fn set(&mut self, slot: usize, at: Option<Time>) {
        if self.places.len() <= slot {
            self.places.resize(slot + 1, None);
        }
        match (self.places[slot], at) {
            (None, None) => {}
            (None, Some(at)) => {
                self.heap.push((at, slot));
                self.places[slot] = Some(self.heap.len() - 1);
                self.rise(self.heap.len() - 1);
            }
            (Some(place), Some(at)) => {
                self.heap[place].0 = at;
                self.rise(place);
                self.sink(place);
            }
            (Some(place), None) => self.remove(place),
        }
    }

    fn remove(&mut self, place: usize) {
        let last = self.heap.len() - 1;
        self.swap(place, last);
        if let Some((_, slot)) = self.heap.pop() {
            self.places[slot] = None;
        }
        if place < last {
            self.rise(place);
            self.sink(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= self.heap[place] {
                return;
            }
            self.swap(parent, place);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let children = (2 * place + 1)..(2 * place + 3).min(self.heap.len());
            let Some(least) = children.min_by_key(|&child| self.heap[child]) else {
                return;
            };
            if self.heap[place] <= self.heap[least] {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for place in [a, b] {
            let (_, slot) = self.heap[place];
            self.places[slot] = Some(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_always_the_earliest(
            edits in prop::collection::vec((0_usize..12, prop::option::of(0_u64..50)), 1..200)
        ) {
            let mut deadlines = Deadlines::default();
            let mut model = [None; 12];
            for (slot, at) in edits {
                let at = at.map(Time::from_nanos);
                deadlines.set(slot, at);
                model[slot] = at;
                let earliest = model.iter().flatten().min().copied();
                prop_assert_eq!(deadlines.first().map(|(at, _)| at), earliest);
                if let Some((at, slot)) = deadlines.first() {
                    prop_assert_eq!(model[slot], Some(at));
                }
            }
        }
    }
}
