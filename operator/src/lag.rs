//! Whether the node that holds the addresses of a VirtualServer is about to report on an edit, or goes on with what it
//! had. Pure.

use std::time::Duration;

use crate::change::Now;

/// Within this an agent reports on an edit: it composes its reports every ten seconds at the latest, and may have to
/// write one again.
const PATIENCE: Duration = Duration::from_secs(15);

/// That a node reports on an earlier edit than the one it was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    /// The generation on which it reports.
    generation: i64,
    /// Since when it reports on that and no other.
    since: Duration,
}

impl Lag {
    /// That of a node which reports on `generation`, after `before`. A node that follows many edits, each a little
    /// late, begins anew with each.
    pub(crate) fn of(generation: i64, before: Option<Self>, now: &Now) -> Self {
        let same = before.filter(|before| before.generation == generation);
        same.unwrap_or(Self {
            generation,
            since: now.clock,
        })
    }

    /// While the report may be on its way: until when. `None` if the lag lasts.
    pub(crate) fn passing(self, now: &Now) -> Option<Duration> {
        let until = self.since.saturating_add(PATIENCE);
        (now.clock < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn a_lag_passes_or_lasts_and_one_that_moves_begins_anew() {
        let at = |second| Now {
            date: Time(Timestamp::UNIX_EPOCH),
            clock: Duration::from_secs(second),
        };
        let mut lag = None;
        let mut look = |generation, second| {
            let now = Lag::of(generation, lag, &at(second));
            lag = Some(now);
            now.passing(&at(second)).map(|until| until.as_secs())
        };
        assert_eq!(look(1, 5), Some(20));
        assert_eq!(look(1, 19), Some(20));
        assert_eq!(look(2, 19), Some(34));
        assert_eq!(look(2, 34), None);
        assert_eq!(look(2, 99), None);
    }
}
