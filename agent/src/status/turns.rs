//! Whose status is written now, where there may not be as many writes as there is to write. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use vipkeeper_crds::status::NodeConfigStatus;

use super::bucket::{Bucket, Granted};

/// One write.
pub(super) struct Due {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) status: Arc<NodeConfigStatus>,
}

/// See the module.
pub(super) struct Turns {
    bucket: Bucket,
    /// When each object had its last turn, by name, whatever became of it.
    last: BTreeMap<String, Instant>,
}

impl Turns {
    /// With a full bucket.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            bucket: Bucket::new(now),
            last: BTreeMap::new(),
        }
    }

    /// Those of `due` that are written at `now`, and when to ask for the others. Who is Active is first; then who
    /// waits for longest, so that what changes all the time leaves turns to the others.
    pub(super) fn grant(&mut self, mut due: Vec<Due>, now: Instant) -> (Vec<Due>, Option<Instant>) {
        due.sort_by_key(|due| (!due.status.is_active(), self.last.get(&due.name).copied()));
        let more_at = match self.bucket.take(due.len(), now) {
            Granted::All => None,
            Granted::Some { count, more_at } => {
                due.truncate(count);
                Some(more_at)
            }
        };
        let names = due.iter().map(|due| due.name.clone());
        self.last.extend(names.map(|name| (name, now)));
        (due, more_at)
    }

    /// Forgets the objects that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.last.retain(|name, _| is_there(name));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    /// More often than the bucket fills.
    const LOOK: Duration = Duration::from_millis(50);

    fn due(name: &str, state: &str) -> Due {
        let family = json!({"family": "IPv4", "state": state, "effectivePriority": 100});
        let status = json!({"families": [family]});
        Due {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            status: Arc::new(serde_json::from_value(status).unwrap()),
        }
    }

    /// Those of `all` that are written, in order.
    fn granted(turns: &mut Turns, all: &[(&str, &str)], now: Instant) -> Vec<String> {
        let all = all.iter().map(|(name, state)| due(name, state));
        let (granted, _) = turns.grant(all.collect(), now);
        granted.into_iter().map(|due| due.name).collect()
    }

    /// `a` was written so often that the bucket is empty.
    fn exhausted(now: Instant) -> Turns {
        let mut turns = Turns::new(now);
        while !granted(&mut turns, &[("a", "Backup")], now).is_empty() {}
        turns
    }

    #[test]
    fn what_changes_all_the_time_keeps_no_other_from_its_turn() {
        let mut now = Instant::now();
        let mut turns = exhausted(now);
        let mut written = Vec::new();
        while written.len() < 6 {
            now += LOOK;
            // Each of the others changes once.
            let others = ["b", "c"].into_iter();
            let others = others.filter(|name| !written.iter().any(|w| w == name));
            let all: Vec<_> = ["a"].into_iter().chain(others).collect();
            let all: Vec<_> = all.into_iter().map(|name| (name, "Backup")).collect();
            written.extend(granted(&mut turns, &all, now));
        }
        assert_eq!(written, ["b", "c", "a", "a", "a", "a"]);
    }

    #[test]
    fn two_that_change_all_the_time_take_turns_after_who_is_active() {
        let mut now = Instant::now();
        let mut turns = exhausted(now);
        let mut written = Vec::new();
        while written.len() < 4 {
            now += LOOK;
            let both = [("a", "Backup"), ("b", "Backup")];
            written.extend(granted(&mut turns, &both, now));
        }
        assert_eq!(written, ["b", "a", "b", "a"]);
        now += Duration::from_secs(1);
        let all = [("a", "Backup"), ("b", "Backup"), ("c", "Active")];
        assert_eq!(granted(&mut turns, &all, now), ["c", "b", "a"]);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let now = Instant::now();
        let mut turns = exhausted(now);
        turns.retain(|name| name != "a");
        assert!(turns.last.is_empty());
    }
}
