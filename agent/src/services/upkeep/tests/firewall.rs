//! Our table of nftables beside the services.

use vipkeeper_nft::{Endpoint, Protocol, Ruleset, Table as NftTable, Traffic};

use super::*;

fn full_nat(port: u16) -> Ruleset {
    let endpoint = Endpoint {
        address: [192, 0, 2, 1].into(),
        protocol: Protocol::Tcp,
        port,
    };
    Ruleset {
        masqueraded: [Traffic::from(endpoint)].into(),
        ..Ruleset::default()
    }
}

fn guarded(port: u16) -> Arc<Table> {
    let mut table = Table::from_iter([entry(port, &[(1, 1)])]);
    table.set_firewall(full_nat(port));
    Arc::new(table)
}

fn is_programmed(bench: &Bench) -> bool {
    bench.upkeep.observed().firewall.is_programmed
}

fn ledger_has_it(bench: &Bench) -> bool {
    ledger(&bench.directory).rows().has_firewall
}

#[test]
fn it_is_there_before_its_services_and_written_once() {
    let mut bench = Bench::new(&[], &[]);
    bench.upkeep.want(guarded(80));
    bench.turn();
    let expected = NftTable::new(name(), &full_nat(80));
    assert_eq!(bench.kernel().firewall, Some(expected));
    assert!(is_programmed(&bench) && ledger_has_it(&bench));
    for _ in 0..3 {
        bench.pass(2);
    }
    assert_eq!(bench.kernel().replaced, 1);
    let compared = bench.kernel().compared;
    assert_eq!(compared, 2, "once before it was written and once after");
}

#[test]
fn what_is_right_after_a_restart_is_not_rewritten() {
    let mut bench = Bench::new(&[], &[]);
    bench.kernel().firewall = Some(NftTable::new(name(), &full_nat(80)));
    bench.upkeep.want(guarded(80));
    bench.turn();
    assert_eq!((bench.kernel().replaced, is_programmed(&bench)), (0, true));
}

#[test]
fn what_somebody_removed_is_put_back_and_counted() {
    let mut bench = Bench::new(&[], &[]);
    bench.upkeep.want(guarded(80));
    bench.turn();
    bench.kernel().firewall = None;
    bench.kernel().generation += 1;
    bench.pass(2);
    assert!(bench.kernel().firewall.is_some());
    assert_eq!(bench.upkeep.observed().counts.repairs, 1);
}

#[test]
fn it_goes_when_nothing_is_left_to_do_and_when_all_is_finished() {
    let mut bench = Bench::new(&[], &[]);
    bench.upkeep.want(guarded(80));
    bench.turn();
    bench.upkeep.want(table(&[entry(80, &[])]));
    bench.turn();
    assert_eq!(bench.kernel().firewall, None);
    assert!(is_programmed(&bench) && !ledger_has_it(&bench));
    bench.upkeep.want(guarded(80));
    bench.turn();
    let now = bench.now;
    bench.upkeep.finish(|| now);
    assert_eq!(bench.kernel().firewall, None);
    assert!(!ledger_has_it(&bench));
}

#[test]
fn a_refusal_waits_ever_longer_and_keeps_no_service_away() {
    let mut bench = Bench::new(&[], &[]);
    for _ in 0..3 {
        let refusal = Unavailable::Refused(Errno::EOPNOTSUPP.into());
        bench.kernel().firewall_failures.push_back(refusal);
    }
    bench.upkeep.want(guarded(80));
    bench.turn();
    assert!(bench.report(80).is_programmed);
    let report = bench.upkeep.observed().firewall;
    assert!(!report.is_programmed && report.trouble.is_some());
    for seconds in [1, 2, 4] {
        bench.pass(seconds);
    }
    assert!(is_programmed(&bench));
    assert_eq!(bench.upkeep.observed().counts.failures, 3);
}

#[test]
fn without_ipvs_it_does_its_part() {
    let mut bench = Bench::new(&[], &[]);
    bench.kernel().failures.push_back(Unavailable::Missing);
    bench.upkeep.want(guarded(80));
    bench.turn();
    assert_eq!(bench.upkeep.observed().trouble, Some(Trouble::IpvsMissing));
    assert!(is_programmed(&bench));
}

#[test]
fn a_table_of_nobody_who_wants_one_is_left_alone() {
    let mut bench = Bench::new(&[], &[]);
    bench.kernel().firewall = Some(NftTable::new(name(), &full_nat(80)));
    bench.upkeep.want(Arc::default());
    bench.turn();
    assert!(bench.kernel().firewall.is_some());
}
