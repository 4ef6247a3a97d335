//! What the prober is asked: the targets, each with the number of the set in which it entered.
//!
//! Pure. The prober looks at the latest set alone. The numbers show it who left and returned between two looks: of such a
//! target whoever asks has forgotten the judgement, and has to be told again.

use std::collections::HashMap;

use super::Target;

/// A set of targets, one of several that follow each other.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    entered: HashMap<Target, u64>,
    number: u64,
}

impl Targets {
    /// The set of `targets` that comes after this one; nothing if it has the same. A target that is in both keeps its
    /// number, and one that is not in this set gets a number greater than all before.
    #[must_use]
    pub fn followed_by(&self, targets: impl IntoIterator<Item = Target>) -> Option<Self> {
        let number = self.number + 1;
        let entered = targets.into_iter().map(|target| {
            let entered = self.entered(&target).unwrap_or(number);
            (target, entered)
        });
        let entered: HashMap<Target, u64> = entered.collect();
        let is_same = entered.len() == self.entered.len()
            && entered.values().all(|entered| *entered < number);
        (!is_same).then_some(Self { entered, number })
    }

    /// The number of the set in which `target` entered, if it is in this one.
    #[must_use]
    pub fn entered(&self, target: &Target) -> Option<u64> {
        self.entered.get(target).copied()
    }

    /// All, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Target, u64)> {
        self.entered
            .iter()
            .map(|(target, entered)| (target, *entered))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::probe;
    use super::*;

    fn target(port: u16) -> Target {
        Target::of(
            &probe(json!({"type": "TCP"})),
            ([192, 0, 2, 1], port).into(),
        )
    }

    #[test]
    fn who_stays_keeps_its_number_and_who_returns_has_a_greater_one() {
        let first = Targets::default()
            .followed_by([target(80), target(81)])
            .unwrap();
        let second = first.followed_by([target(80)]).unwrap();
        let third = second.followed_by([target(81), target(80)]).unwrap();
        assert_eq!(second.entered(&target(81)), None);
        assert_eq!(third.entered(&target(80)), first.entered(&target(80)));
        assert!(third.entered(&target(81)) > first.entered(&target(81)));
    }

    #[test]
    fn the_same_targets_are_no_other_set() {
        assert!(Targets::default().followed_by([]).is_none());
        let first = Targets::default().followed_by([target(80)]).unwrap();
        assert!(first.followed_by([target(80)]).is_none());
    }
}
