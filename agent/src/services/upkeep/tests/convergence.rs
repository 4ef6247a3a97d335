//! From any state to any other, whatever is refused on the way and whoever writes beside us.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use vipkeeper_ipvs::{
    Destination, DestinationKey, Family, Forwarding, Netmask, Persistence, Service,
};

use super::*;

/// Services that tables may name.
const OURS: u16 = 4;
/// Services that no table names, and no ledger.
const THEIRS: u16 = 2;

/// The `number`th service: the last is one of a mark.
fn nth(number: u16) -> ServiceKey {
    match NonZeroU32::new(7) {
        Some(mark) if number == OURS - 1 => ServiceKey::Mark {
            family: Family::V4,
            mark,
        },
        _ => key(8_000 + number),
    }
}

fn services(key: ServiceKey) -> impl Strategy<Value = Service> {
    let schedulers = prop::sample::select(vec!["rr", "wlc", "mh"]);
    (schedulers, any::<bool>(), option::of(1u32..4)).prop_map(move |(scheduler, flag, timeout)| {
        let mut service = service(key);
        service.scheduler = scheduler.parse().unwrap();
        service.flags.scheduler_1 = flag;
        service.persistence = timeout.map(|timeout| Persistence {
            timeout,
            netmask: Netmask::whole(key.family()),
        });
        service
    })
}

fn destinations() -> impl Strategy<Value = Destination> {
    let forwarding = prop::sample::select(vec![Forwarding::Masquerade, Forwarding::DirectRoute]);
    (1u8..=4, 0u32..3, 0u32..2, forwarding).prop_map(|(number, weight, upper, forwarding)| {
        Destination {
            forwarding,
            upper_threshold: upper,
            ..destination(number, weight)
        }
    })
}

fn entries(number: u16) -> impl Strategy<Value = Entry> {
    let destinations = vec(destinations(), 0..5);
    (services(nth(number)), destinations)
        .prop_map(|(service, destinations)| Entry::with(service, destinations))
}

/// Any of the services `from..from + count`.
fn tables(from: u16, count: u16) -> impl Strategy<Value = Vec<Entry>> {
    let each = (from..from + count).map(|number| option::of(entries(number)));
    let each: Vec<_> = each.collect();
    each.prop_map(|entries| entries.into_iter().flatten().collect())
}

fn errors() -> impl Strategy<Value = Vec<Option<Errno>>> {
    let any = vec![
        Errno::EEXIST,
        Errno::ESRCH,
        Errno::ENOENT,
        Errno::ENOMEM,
        Errno::EINVAL,
        Errno::EPERM,
    ];
    vec(option::weighted(0.3, prop::sample::select(any)), 0..40)
}

fn intrusions() -> impl Strategy<Value = Vec<Option<Intrusion>>> {
    let numbers = 0..OURS;
    let kinds = prop_oneof![
        Just(Intrusion::Flush),
        numbers
            .clone()
            .prop_map(|number| Intrusion::Delete(nth(number))),
        (numbers.clone(), destinations())
            .prop_map(|(number, destination)| Intrusion::AddDestination(nth(number), destination)),
        (numbers, 1u8..=4)
            .prop_map(|(number, to)| Intrusion::DeleteDestination(nth(number), address(to))),
    ];
    vec(option::weighted(0.2, kinds), 0..40)
}

/// A kernel with services of ours and others', a ledger that may lack some of ours, and tables to come.
fn worlds() -> impl Strategy<Value = (Vec<Entry>, Vec<bool>, Vec<Entry>, Vec<Vec<Entry>>)> {
    (
        tables(0, OURS),
        vec(prop::bool::weighted(0.8), usize::from(OURS)),
        tables(OURS, THEIRS),
        vec(tables(0, OURS), 1..4),
    )
}

fn ours_of(there: &[Entry], is_ours: &[bool]) -> BTreeSet<ServiceKey> {
    let known = there.iter().zip(is_ours).filter(|(_, is_ours)| **is_ours);
    known.map(|(entry, _)| entry.service().key).collect()
}

fn bench(there: &[Entry], ours: &BTreeSet<ServiceKey>) -> Bench {
    let mut bench = Bench::new(there, &[]);
    let mut ledger = ledger(&bench.directory);
    let services = ours.clone();
    ledger
        .save(Rows {
            services,
            ..Rows::default()
        })
        .unwrap();
    let mut kernel = std::mem::take(bench.kernel());
    kernel.ledger = None;
    bench.upkeep = Upkeep::new(kernel, ledger, name());
    bench
}

fn healthy(destinations: impl Iterator<Item = Destination>) -> BTreeSet<DestinationKey> {
    let healthy = destinations.filter(|destination| destination.weight > 0);
    healthy.map(|destination| destination.key).collect()
}

/// At each step, every service that is there before and after has all real servers that are healthy in both.
fn nothing_is_interrupted(
    before: &BTreeMap<ServiceKey, PresentService>,
    after: &[Entry],
    history: &[BTreeMap<ServiceKey, PresentService>],
) -> Result<(), TestCaseError> {
    for entry in after {
        let key = entry.service().key;
        let Some(there) = before.get(&key) else {
            continue;
        };
        let there = healthy(there.destinations.values().map(|there| there.destination));
        let wanted = healthy(entry.destinations().values().copied());
        for step in history {
            prop_assert!(step.contains_key(&key), "{key} is gone for a while");
            let now = step[&key].destinations.values();
            let now = healthy(now.map(|there| there.destination));
            let missing: Vec<_> = there
                .intersection(&wanted)
                .filter(|it| !now.contains(it))
                .collect();
            prop_assert!(missing.is_empty(), "{key} lacks {missing:?} for a while");
        }
    }
    Ok(())
}

/// Turns until nothing is refused and nobody interferes any more, and then once more.
fn settle(bench: &mut Bench) {
    for _ in 0..400 {
        bench.turn();
        bench.now = bench
            .upkeep
            .next_due()
            .unwrap_or(bench.now + Duration::from_secs(2))
            .max(bench.now);
        let kernel = bench.kernel();
        kernel.failures.pop_front();
        if kernel.told.is_empty() {
            // Nothing was told that these could have met.
            kernel.refusals.pop_front();
            kernel.intrusions.pop_front();
        }
        let is_quiet = kernel.refusals.is_empty() && kernel.intrusions.is_empty();
        if kernel.take_told().is_empty() && is_quiet && bench.upkeep.holds.next_due().is_none() {
            break;
        }
    }
    bench.pass(60);
    bench.pass(60);
}

fn converged(
    bench: &mut Bench,
    wanted: &[Entry],
    foreign: &BTreeMap<ServiceKey, PresentService>,
) -> Result<(), TestCaseError> {
    for entry in wanted {
        let key = entry.service().key;
        let there = bench.kernel().present.services.get(&key);
        let is_foreign = foreign.contains_key(&key);
        prop_assert!(
            there.is_some_and(|there| there.is(entry)) || is_foreign,
            "{key}: {there:?} is not {entry:?}"
        );
        let report = bench.upkeep.observed().services[&key].clone();
        prop_assert_eq!(report.is_programmed, !is_foreign);
    }
    let expected = wanted.iter().map(|entry| entry.service().key);
    let expected: BTreeSet<_> = expected.chain(foreign.keys().copied()).collect();
    let there: BTreeSet<_> = bench.kernel().present.services.keys().copied().collect();
    prop_assert_eq!(there, expected);
    bench.kernel().take_told();
    bench.pass(60);
    prop_assert_eq!(bench.kernel().take_told(), []);
    Ok(())
}

proptest! {
    #[test]
    fn it_converges_without_interruption_whatever_is_refused(
        (there, is_ours, theirs, tables) in worlds(),
        refusals in errors(),
        unavailable in 0usize..3,
    ) {
        let ours = ours_of(&there, &is_ours);
        let all: Vec<_> = there.iter().chain(&theirs).cloned().collect();
        let mut bench = bench(&all, &ours);
        let mut foreign = bench.kernel().present.services.clone();
        foreign.retain(|key, _| !ours.contains(key));
        bench.kernel().refusals = refusals.into();
        for _ in 0..unavailable {
            let lost = Unavailable::Netlink(std::io::ErrorKind::TimedOut.into());
            bench.kernel().failures.push_back(lost);
        }
        for wanted in tables {
            let before = bench.kernel().present.services.clone();
            bench.kernel().history.clear();
            bench.upkeep.want(table(&wanted));
            settle(&mut bench);
            let history = std::mem::take(&mut bench.kernel().history);
            nothing_is_interrupted(&before, &wanted, &history)?;
            converged(&mut bench, &wanted, &foreign)?;
            for (key, service) in &foreign {
                let now = bench.kernel().present.services.get(key);
                prop_assert_eq!(now, Some(service), "somebody else's");
            }
        }
    }

    #[test]
    fn it_converges_beside_others_who_write(
        (there, _, theirs, tables) in worlds(),
        intrusions in intrusions(),
    ) {
        let ours = ours_of(&there, &[true; OURS as usize]);
        let all: Vec<_> = there.iter().chain(&theirs).cloned().collect();
        let mut bench = bench(&all, &ours);
        bench.kernel().intrusions = intrusions.into();
        for wanted in tables {
            bench.upkeep.want(table(&wanted));
            bench.turn();
            bench.pass(1);
        }
        let wanted = bench.upkeep.desired.clone().unwrap_or_default();
        let wanted: Vec<_> = wanted.services().values().cloned().collect();
        settle(&mut bench);
        let mut foreign = bench.kernel().present.services.clone();
        let theirs: BTreeSet<_> = theirs.iter().map(|entry| entry.service().key).collect();
        foreign.retain(|key, _| theirs.contains(key));
        converged(&mut bench, &wanted, &foreign)?;
        let touched = bench.kernel().told.iter().any(|(operation, _)| theirs.contains(&operation.service()));
        prop_assert!(!touched);
    }
}
