//! Operations that the kernel refused: each is told again after a while, and not before, unless something else is
//! wanted of the same service or real server.
//!
//! Pure: told the time.

use std::collections::BTreeMap;
use std::time::Duration;

use vipkeeper_ipvs::{DestinationKey, ServiceKey};
use vipkeeper_vrrp::Time;

use super::kernel::Operation;
use super::report::Trouble;

/// How long a refused operation waits at first; twice as long each time.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
/// The longest that it waits.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// What an operation is about.
type Subject = (ServiceKey, Option<DestinationKey>);

#[derive(Debug)]
struct Hold {
    operation: Operation,
    trouble: Trouble,
    until: Time,
    delay: Duration,
}

/// The refused operations by what they are about.
#[derive(Debug, Default)]
pub(super) struct Holds {
    held: BTreeMap<Subject, Hold>,
}

impl Holds {
    /// Those of `needed` that may be told at `now`. Forgets refusals of what is not needed any more.
    pub(super) fn admit(&mut self, needed: Vec<Operation>, now: Time) -> Vec<Operation> {
        let wanted: BTreeMap<Subject, Operation> = needed
            .iter()
            .map(|operation| (subject(operation), *operation))
            .collect();
        self.held
            .retain(|subject, hold| wanted.get(subject) == Some(&hold.operation));
        let admitted = needed.into_iter().filter(|operation| {
            let its_service = self.of_absent(operation.service());
            let own = self.held.get(&subject(operation));
            ![own, its_service]
                .into_iter()
                .flatten()
                .any(|hold| hold.until > now)
        });
        admitted.collect()
    }

    /// `operation` was refused at `now`. Says whether that is news.
    pub(super) fn refused(&mut self, operation: Operation, trouble: Trouble, now: Time) -> bool {
        let before = self.held.get(&subject(&operation));
        let is_news = before.is_none_or(|hold| hold.trouble != trouble);
        let delay = before.map_or(SHORTEST, |hold| LONGEST.min(hold.delay * 2));
        self.held.insert(
            subject(&operation),
            Hold {
                operation,
                trouble,
                until: now + delay,
                delay,
            },
        );
        is_news
    }

    /// `operation` was carried out.
    pub(super) fn done(&mut self, operation: &Operation) {
        self.held.remove(&subject(operation));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// When the next may be told again.
    pub(super) fn next_due(&self) -> Option<Time> {
        let held = self.held.iter();
        let told = held.filter(|((service, destination), _)| {
            // With its service, which may be long after its own time: that time would be in the past for as long.
            destination.is_none() || self.of_absent(*service).is_none()
        });
        told.map(|(_, hold)| hold.until).min()
    }

    /// The refusal to add the service of `key`: as long as it is not there, its real servers cannot be added either.
    fn of_absent(&self, key: ServiceKey) -> Option<&Hold> {
        let hold = self.held.get(&(key, None));
        hold.filter(|hold| matches!(hold.operation, Operation::AddService(_)))
    }

    /// What is wrong with the service of `key`: itself under `None`, its real servers under their keys.
    pub(super) fn of(
        &self,
        key: ServiceKey,
    ) -> impl Iterator<Item = (Option<DestinationKey>, &Trouble)> {
        self.held
            .range((key, None)..)
            .take_while(move |((service, _), _)| *service == key)
            .map(|((_, destination), hold)| (*destination, &hold.trouble))
    }
}

fn subject(operation: &Operation) -> Subject {
    (operation.service(), operation.destination())
}

#[cfg(test)]
mod tests {
    use super::super::fake::examples::{destination, entry, key};
    use super::*;

    fn refuse(holds: &mut Holds, operation: Operation, now: Time) -> bool {
        holds.refused(operation, Trouble::Refused("EINVAL".to_owned()), now)
    }

    fn seconds(number: u64) -> Time {
        Time::ZERO + Duration::from_secs(number)
    }

    #[test]
    fn a_refused_operation_waits_twice_as_long_each_time_but_a_minute_at_most() {
        let mut holds = Holds::default();
        let operation = Operation::AddDestination(key(80), destination(1, 1));
        let mut now = Time::ZERO;
        let mut waits = Vec::new();
        for _ in 0..8 {
            refuse(&mut holds, operation, now);
            let due = holds.next_due().unwrap();
            waits.push(due.since(now).as_secs());
            let before = due - Duration::from_nanos(1);
            assert_eq!(holds.admit(vec![operation], before), []);
            assert_eq!(holds.admit(vec![operation], due), [operation]);
            now = due;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn another_operation_on_the_same_is_told_at_once() {
        let mut holds = Holds::default();
        let operation = Operation::AddDestination(key(80), destination(1, 1));
        assert!(refuse(&mut holds, operation, Time::ZERO));
        assert!(!refuse(&mut holds, operation, seconds(1)), "no news");
        let other = Operation::AddDestination(key(80), destination(1, 2));
        assert_eq!(holds.admit(vec![other], seconds(1)), [other]);
        assert_eq!(holds.next_due(), None, "the refused one is not wanted now");
    }

    #[test]
    fn a_service_that_cannot_be_added_holds_its_real_servers() {
        let mut holds = Holds::default();
        let service = Operation::AddService(*entry(80, &[]).service());
        let needed = vec![
            service,
            Operation::AddDestination(key(80), destination(1, 1)),
            Operation::AddService(*entry(81, &[]).service()),
        ];
        refuse(&mut holds, service, Time::ZERO);
        assert_eq!(holds.admit(needed.clone(), Time::ZERO), needed[2..]);
        assert_eq!(holds.admit(needed.clone(), seconds(1)), needed);
        let troubles: Vec<_> = holds.of(key(80)).map(|(subject, _)| subject).collect();
        assert_eq!(troubles, [None]);
        holds.done(&service);
        assert_eq!(holds.of(key(80)).count(), 0);
    }

    #[test]
    fn a_real_server_below_a_service_that_cannot_be_added_is_due_with_its_service() {
        let mut holds = Holds::default();
        let service = Operation::AddService(*entry(80, &[]).service());
        let below = Operation::AddDestination(key(80), destination(1, 1));
        refuse(&mut holds, below, Time::ZERO);
        // Somebody removed the service, which cannot be added now.
        refuse(&mut holds, service, seconds(1));
        refuse(&mut holds, service, seconds(2));
        assert_eq!(holds.admit(vec![service, below], seconds(3)), []);
        assert_eq!(holds.next_due(), Some(seconds(4)));
        assert_eq!(
            holds.admit(vec![service, below], seconds(4)),
            [service, below]
        );
        holds.done(&service);
        assert_eq!(holds.next_due(), Some(seconds(1)), "at once");
    }
}
