//! Which version 3 checksum forms are sent over IPv4 when the policy is Auto: what the peers have taught.
//!
//! A Backup is silent and teaches nothing, so a router that knows no form sends both, one after the other:
//! each receiver drops the one it dislikes and nobody becomes a second Active for a checksum's sake.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{ChecksumForm, ChecksumPolicy};
use crate::router::Heard;
use crate::time::Time;

/// How long a lesson lasts.
const MEMORY: Duration = Duration::from_secs(3600);

/// More senders of one VRID than any virtual router has candidates; beyond it the oldest is forgotten.
const SENDERS: usize = 32;

/// What was heard from each sender of a virtual router.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lessons {
    senders: Vec<Sender>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sender {
    address: IpAddr,
    rfc9568: Option<Time>,
    rfc5798: Option<Time>,
    /// The last advertisement, while the same in the other form may follow.
    unpaired: Option<(ChecksumForm, Heard)>,
}

impl Lessons {
    /// Notes that `heard` came in `form`. Says whether it is the second of two forms of one advertisement.
    pub(crate) fn note(&mut self, heard: &Heard, form: ChecksumForm) -> bool {
        let place = self.senders.iter().position(|s| s.address == heard.source);
        let place = place.unwrap_or_else(|| {
            if self.senders.len() == SENDERS {
                self.forget_oldest();
            }
            let address = heard.source;
            let sender = Sender {
                address,
                rfc9568: None,
                rfc5798: None,
                unpaired: None,
            };
            self.senders.push(sender);
            self.senders.len() - 1
        });
        self.senders[place].note(heard, form)
    }

    /// The forms to send now, in the order to send them, for peers that advertise every `interval`.
    pub(crate) fn forms(
        &self,
        policy: ChecksumPolicy,
        interval: Duration,
        now: Time,
    ) -> &'static [ChecksumForm] {
        const BOTH: &[ChecksumForm] = &[ChecksumForm::Rfc9568, ChecksumForm::Rfc5798];
        const RFC9568: &[ChecksumForm] = &[ChecksumForm::Rfc9568];
        const RFC5798: &[ChecksumForm] = &[ChecksumForm::Rfc5798];
        match policy {
            ChecksumPolicy::Only(ChecksumForm::Rfc9568) => return RFC9568,
            ChecksumPolicy::Only(ChecksumForm::Rfc5798) => return RFC5798,
            ChecksumPolicy::Auto => {}
        }
        let taught = |form| {
            self.senders
                .iter()
                .filter_map(|s| s.teaches(interval, now))
                .any(|taught| taught == form)
        };
        match (taught(ChecksumForm::Rfc9568), taught(ChecksumForm::Rfc5798)) {
            (true, false) => RFC9568,
            (false, true) => RFC5798,
            (true, true) | (false, false) => BOTH,
        }
    }

    fn forget_oldest(&mut self) {
        let last_heard = |s: &Sender| s.rfc9568.max(s.rfc5798);
        let oldest = (0..self.senders.len()).min_by_key(|&i| last_heard(&self.senders[i]));
        if let Some(oldest) = oldest {
            self.senders.swap_remove(oldest);
        }
    }
}

impl Sender {
    fn note(&mut self, heard: &Heard, form: ChecksumForm) -> bool {
        match form {
            ChecksumForm::Rfc9568 => self.rfc9568 = Some(heard.arrival),
            ChecksumForm::Rfc5798 => self.rfc5798 = Some(heard.arrival),
        }
        let is_second = self.unpaired.take().is_some_and(|(other, first)| {
            other != form
                && first.priority == heard.priority
                && heard.arrival.since(first.arrival) < heard.interval / 2
        });
        if !is_second {
            self.unpaired = Some((form, *heard));
        }
        is_second
    }

    /// The one form this sender uses: none if it used both within three intervals, the later one otherwise.
    fn teaches(&self, interval: Duration, now: Time) -> Option<ChecksumForm> {
        let fresh = |at: Option<Time>| at.filter(|&at| now.since(at) <= MEMORY);
        match (fresh(self.rfc9568), fresh(self.rfc5798)) {
            (None, None) => None,
            (Some(_), None) => Some(ChecksumForm::Rfc9568),
            (None, Some(_)) => Some(ChecksumForm::Rfc5798),
            (Some(a), Some(b)) => {
                let apart = a.since(b).max(b.since(a));
                let later = if a > b {
                    ChecksumForm::Rfc9568
                } else {
                    ChecksumForm::Rfc5798
                };
                (apart > interval.saturating_mul(3)).then_some(later)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChecksumForm::{Rfc5798, Rfc9568};

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn heard(sender: u8, arrival: Time) -> Heard {
        let source = IpAddr::from([192, 0, 2, sender]);
        Heard {
            source,
            source_mac: None,
            priority: 100,
            interval: SECOND,
            arrival,
        }
    }

    fn auto(lessons: &Lessons, now: Time) -> &'static [ChecksumForm] {
        lessons.forms(ChecksumPolicy::Auto, SECOND, now)
    }

    #[test]
    fn both_forms_are_sent_until_a_peer_has_taught_one() {
        let mut lessons = Lessons::default();
        assert_eq!(auto(&lessons, at(0)), [Rfc9568, Rfc5798]);
        lessons.note(&heard(1, at(1)), Rfc5798);
        assert_eq!(auto(&lessons, at(2)), [Rfc5798]);
    }

    #[test]
    fn a_sender_of_both_forms_teaches_nothing() {
        let mut lessons = Lessons::default();
        lessons.note(&heard(1, at(10)), Rfc9568);
        lessons.note(&heard(1, at(10)), Rfc5798);
        assert_eq!(auto(&lessons, at(11)), [Rfc9568, Rfc5798]);
    }

    #[test]
    fn the_second_form_of_an_advertisement_is_told_from_the_next_advertisement() {
        let mut lessons = Lessons::default();
        assert!(!lessons.note(&heard(1, at(10)), Rfc9568));
        assert!(lessons.note(&heard(1, at(10)), Rfc5798));
        assert!(!lessons.note(&heard(1, at(11)), Rfc9568));
        assert!(
            !lessons.note(&heard(1, at(12)), Rfc5798),
            "the first of this pair was lost"
        );
        assert!(!lessons.note(&heard(2, at(12)), Rfc9568), "another sender");
        let release = Heard {
            priority: 0,
            ..heard(1, at(12))
        };
        assert!(!lessons.note(&release, Rfc9568), "another message");
    }

    #[test]
    fn a_sender_that_changed_its_form_teaches_the_new_one() {
        let mut lessons = Lessons::default();
        lessons.note(&heard(1, at(10)), Rfc5798);
        lessons.note(&heard(1, at(14)), Rfc9568);
        assert_eq!(auto(&lessons, at(15)), [Rfc9568]);
    }

    #[test]
    fn peers_of_different_forms_keep_both() {
        let mut lessons = Lessons::default();
        lessons.note(&heard(1, at(10)), Rfc5798);
        lessons.note(&heard(2, at(10)), Rfc9568);
        assert_eq!(auto(&lessons, at(11)), [Rfc9568, Rfc5798]);
    }

    #[test]
    fn a_lesson_lasts_an_hour() {
        let mut lessons = Lessons::default();
        lessons.note(&heard(1, at(10)), Rfc5798);
        assert_eq!(auto(&lessons, at(3_610)), [Rfc5798]);
        assert_eq!(auto(&lessons, at(3_611)), [Rfc9568, Rfc5798]);
    }

    #[test]
    fn a_configured_form_is_not_taught_away() {
        let mut lessons = Lessons::default();
        lessons.note(&heard(1, at(10)), Rfc5798);
        let forms = lessons.forms(ChecksumPolicy::Only(Rfc9568), SECOND, at(11));
        assert_eq!(forms, [Rfc9568]);
    }

    #[test]
    fn the_table_of_senders_is_bounded() {
        let mut lessons = Lessons::default();
        for last in 0..=255 {
            lessons.note(&heard(last, at(u64::from(last))), Rfc5798);
        }
        assert_eq!(lessons.senders.len(), SENDERS);
        assert!(lessons.senders.iter().all(|s| s.rfc5798 >= Some(at(224))));
    }
}
