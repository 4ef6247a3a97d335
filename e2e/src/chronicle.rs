//! Who advertised which virtual router when, told from a capture in one pass: for many routers at once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::capture::Frame;
use crate::clock::Moment;
use crate::frame::Content;

/// A virtual router of a segment: whether it is IPv4's, and its VRID.
pub type Key = (bool, u8);

/// The advertisements of each virtual router in order of time; those of priority 0, by which somebody leaves,
/// left out.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    routers: BTreeMap<Key, Vec<(Moment, [u8; 6])>>,
}

impl Chronicle {
    /// What `frames` tell from `since` on.
    #[must_use]
    pub fn of(frames: &[Frame], since: Moment) -> Self {
        let mut chronicle = Self::default();
        for frame in frames.iter().filter(|frame| frame.at >= since) {
            if let Content::Advertisement(advertisement) = &frame.content
                && advertisement.priority > 0
            {
                let key = (advertisement.source.is_ipv4(), advertisement.vrid);
                let sent = chronicle.routers.entry(key).or_default();
                sent.push((frame.at, frame.source_mac));
            }
        }
        chronicle
    }

    /// How many virtual routers were advertised.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routers.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routers.is_empty()
    }

    /// For each virtual router that two nodes advertised, for how long both did: from the first advertisement of
    /// the second one to the last of whoever stopped first.
    #[must_use]
    pub fn overlaps(&self) -> BTreeMap<Key, Duration> {
        let overlaps = self.routers.iter();
        overlaps
            .filter_map(|(key, sent)| Some((*key, overlap(sent)?)))
            .collect()
    }

    /// The longest time between two advertisements of a virtual router, over all but `except`.
    #[must_use]
    pub fn longest_gap(&self, except: &[Key]) -> Duration {
        let others = self.routers.iter().filter(|(key, _)| !except.contains(key));
        others
            .flat_map(|(_, sent)| sent.iter().zip(sent.iter().skip(1)))
            .map(|((earlier, _), (later, _))| later.since(*earlier))
            .max()
            .unwrap_or_default()
    }

    /// When each virtual router was advertised first, by whomever.
    #[must_use]
    pub fn first(&self) -> BTreeMap<Key, Moment> {
        self.edge(|sent| sent.first())
    }

    /// When `sender` first advertised each virtual router that it did.
    #[must_use]
    pub fn first_of(&self, sender: [u8; 6]) -> BTreeMap<Key, Moment> {
        self.edge(|sent| sent.iter().find(|(_, mac)| *mac == sender))
    }

    /// When `sender` last advertised each virtual router that it did.
    #[must_use]
    pub fn last_of(&self, sender: [u8; 6]) -> BTreeMap<Key, Moment> {
        self.edge(|sent| sent.iter().rfind(|(_, mac)| *mac == sender))
    }

    fn edge<'a>(
        &'a self,
        of: impl Fn(&'a [(Moment, [u8; 6])]) -> Option<&'a (Moment, [u8; 6])>,
    ) -> BTreeMap<Key, Moment> {
        let routers = self.routers.iter();
        routers
            .filter_map(|(key, sent)| Some((*key, of(sent)?.0)))
            .collect()
    }
}

fn overlap(sent: &[(Moment, [u8; 6])]) -> Option<Duration> {
    let (_, one) = sent.first()?;
    let (begun, other) = sent.iter().find(|(_, mac)| mac != one)?;
    let last = |of: &[u8; 6]| sent.iter().rfind(|(_, mac)| mac == of);
    let ended = last(one)?.0.min(last(other)?.0);
    Some(ended.since(*begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 6] = [1; 6];
    const B: [u8; 6] = [2; 6];

    fn at(millis: u64) -> Moment {
        Moment::BOOT + Duration::from_millis(millis)
    }

    #[test]
    fn an_overlap_ends_with_the_last_word_of_whoever_gives_way() {
        let sent = [
            (at(0), B),
            (at(100), B),
            (at(130), A),
            (at(200), B),
            (at(230), A),
            (at(330), A),
        ];
        assert_eq!(overlap(&sent), Some(Duration::from_millis(70)));
        // The second takes over for good: nothing overlaps.
        assert_eq!(overlap(&sent[..3]), Some(Duration::ZERO));
        assert_eq!(overlap(&sent[..2]), None);
    }

    #[test]
    fn gaps_and_edges_are_of_each_router() {
        let routers = BTreeMap::from([
            ((true, 1), vec![(at(0), A), (at(100), A), (at(260), B)]),
            ((false, 1), vec![(at(0), A), (at(500), A)]),
        ]);
        let chronicle = Chronicle { routers };
        assert_eq!(chronicle.longest_gap(&[]), Duration::from_millis(500));
        let without = chronicle.longest_gap(&[(false, 1)]);
        assert_eq!(without, Duration::from_millis(160));
        assert_eq!(
            chronicle.first_of(B),
            BTreeMap::from([((true, 1), at(260))])
        );
        assert_eq!(chronicle.last_of(A)[&(true, 1)], at(100));
    }
}
