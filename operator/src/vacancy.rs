//! Whether nobody is Active for a router, or the old one has reported that it is not any more and the new one is about
//! to report that it is. Pure.

use std::time::Duration;

use vipkeeper_crds::NodeConfigSpec;

use crate::change::Now;

/// Reports take this long, beyond what the election does.
const REPORTS: Duration = Duration::from_secs(2);

/// Since when nobody claims some family of a router.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vacancy {
    since: Option<Duration>,
}

impl Vacancy {
    /// While the vacancy may be passing: until when. `None` if there is none, or it lasts.
    pub(crate) fn passing(
        &mut self,
        is_vacant: bool,
        patience: Duration,
        now: &Now,
    ) -> Option<Duration> {
        if !is_vacant {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now.clock);
        let until = since.saturating_add(patience);
        (now.clock < until).then_some(until)
    }
}

/// How long an election may take until somebody is known to be Active: Active_Down_Interval with the largest skew
/// (RFC 9568 §6.1), and the reports.
pub(crate) fn patience(config: &NodeConfigSpec) -> Duration {
    let intervals = config.election.down_advertisements.saturating_add(1);
    let millis = config.advertisement_interval.as_millis();
    let down = millis.saturating_mul(u64::try_from(intervals).unwrap_or(0));
    Duration::from_millis(down).saturating_add(REPORTS)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn a_vacancy_passes_or_lasts() {
        let at = |second| Now {
            date: Time(Timestamp::UNIX_EPOCH),
            clock: Duration::from_secs(second),
        };
        let patience = Duration::from_secs(3);
        let mut vacancy = Vacancy::default();
        let mut look = |is_vacant, second| vacancy.passing(is_vacant, patience, &at(second));
        assert_eq!(look(false, 0), None);
        assert_eq!(look(true, 1), Some(Duration::from_secs(4)));
        assert_eq!(look(true, 3), Some(Duration::from_secs(4)));
        assert_eq!(look(true, 4), None);
        assert_eq!(look(false, 5), None);
        assert_eq!(look(true, 9), Some(Duration::from_secs(12)));
    }
}
