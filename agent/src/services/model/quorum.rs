//! Whether enough real servers of a listener are healthy. Pure.

use vipkeeper_crds::node_server::NodeQuorum;

/// The weights of a listener's real servers, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weights {
    /// Of those that are healthy.
    pub(super) healthy: u64,
    /// Of those that nobody has judged yet.
    pub(super) unjudged: u64,
}

/// Whether there is a quorum after `before`; `None` while that cannot be told yet. What is not judged may be healthy, so
/// it never costs a quorum; and it brings none.
pub(super) fn next(before: Option<bool>, quorum: &NodeQuorum, weights: Weights) -> Option<bool> {
    let Weights { healthy, unjudged } = weights;
    let (weight, hysteresis) = (u64::from(quorum.weight), u64::from(quorum.hysteresis));
    let possible = healthy + unjudged;
    match before {
        Some(true) => Some(possible > 0 && possible >= weight.saturating_sub(hysteresis)),
        Some(false) => Some(healthy >= weight + hysteresis),
        None if healthy >= weight => Some(true),
        None if possible < weight || unjudged == 0 => Some(false),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorum(weight: u32, hysteresis: u32) -> NodeQuorum {
        NodeQuorum {
            weight,
            hysteresis,
            sorry: true,
        }
    }

    fn after(before: Option<bool>, healthy: u64, unjudged: u64) -> Option<bool> {
        next(before, &quorum(3, 1), Weights { healthy, unjudged })
    }

    #[test]
    fn a_quorum_is_lost_below_and_regained_above_the_hysteresis() {
        let expected = [
            // before, healthy, unjudged, after
            (Some(true), 3, 0, Some(true)),
            (Some(true), 2, 0, Some(true)),
            (Some(true), 1, 0, Some(false)),
            (Some(true), 0, 0, Some(false)),
            (Some(false), 2, 0, Some(false)),
            (Some(false), 3, 0, Some(false)),
            (Some(false), 4, 0, Some(true)),
        ];
        for (before, healthy, unjudged, expected) in expected {
            assert_eq!(
                after(before, healthy, unjudged),
                expected,
                "{before:?} {healthy}+{unjudged}"
            );
        }
    }

    #[test]
    fn what_is_not_judged_costs_no_quorum_and_brings_none() {
        assert_eq!(after(Some(true), 0, 2), Some(true));
        assert_eq!(after(Some(true), 0, 1), Some(false));
        assert_eq!(after(Some(false), 3, 9), Some(false));
    }

    #[test]
    fn in_the_beginning_it_is_told_as_soon_as_it_can_be() {
        assert_eq!(after(None, 0, 5), None);
        assert_eq!(after(None, 3, 2), Some(true));
        assert_eq!(after(None, 2, 1), None);
        assert_eq!(after(None, 2, 0), Some(false));
        assert_eq!(after(None, 1, 1), Some(false));
    }

    #[test]
    fn the_last_real_server_is_needed_whatever_the_hysteresis() {
        let weights = Weights::default();
        assert_eq!(next(Some(true), &quorum(2, 1), weights), Some(false));
        assert_eq!(next(Some(true), &quorum(1, 0), weights), Some(false));
    }
}
