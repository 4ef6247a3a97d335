//! Settings of the network namespace beside the services.

use super::*;

fn value(bench: &Bench, setting: Setting) -> String {
    let path = bench.directory.path().join("sys").join(setting.path());
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn with_policy(policy: Policy) -> Bench {
    let mut bench = Bench::new(&[], &[]);
    bench.kernel().settings.policy = policy;
    bench
}

#[test]
fn what_is_not_as_it_should_be_is_told_and_not_touched() {
    let mut bench = with_policy(Policy::Verify);
    bench.upkeep.want(table(&[entry(80, &[(1, 1)])]));
    bench.turn();
    let lacks = bench.upkeep.observed().lacks;
    let settings: Vec<_> = lacks.iter().map(|lack| lack.setting).collect();
    assert_eq!(
        settings,
        [
            Setting::ExpireNodestConn,
            Setting::SloppyTcp,
            Setting::Ipv4Forwarding
        ]
    );
    assert!(bench.report(80).is_programmed);
    for setting in Setting::ALL {
        assert_eq!(value(&bench, setting), "0");
    }
}

#[test]
fn what_is_written_is_put_back_at_the_end_unless_somebody_changed_it() {
    let mut bench = with_policy(Policy::Write);
    bench.upkeep.want(table(&[entry(80, &[(1, 1)])]));
    bench.turn();
    assert_eq!(bench.upkeep.observed().lacks, []);
    assert_eq!(value(&bench, Setting::Ipv4Forwarding), "1");
    assert_eq!(value(&bench, Setting::Conntrack), "0", "nobody needs it");
    let originals = ledger(&bench.directory).rows().originals.len();
    assert_eq!(originals, 3);
    let sloppy = bench.directory.path().join("sys");
    std::fs::write(sloppy.join(Setting::SloppyTcp.path()), "7\n").unwrap();
    let now = bench.now;
    let finished = bench.upkeep.finish(|| now);
    let restored = [Setting::ExpireNodestConn, Setting::Ipv4Forwarding];
    assert_eq!(finished.restored, restored);
    assert!(finished.is_complete());
    assert_eq!(value(&bench, Setting::Ipv4Forwarding), "0");
    assert_eq!(value(&bench, Setting::SloppyTcp), "7");
    assert!(ledger(&bench.directory).rows().originals.is_empty());
}

#[test]
fn a_process_after_this_one_knows_what_was_there_before() {
    let mut bench = with_policy(Policy::Write);
    let wanted = table(&[entry(80, &[(1, 1)])]);
    bench.upkeep.want(Arc::clone(&wanted));
    bench.turn();
    let kernel = std::mem::take(bench.kernel());
    bench.upkeep = Upkeep::new(kernel, ledger(&bench.directory), name());
    bench.upkeep.want(wanted);
    bench.turn();
    let now = bench.now;
    assert_eq!(bench.upkeep.finish(|| now).restored.len(), 3);
}
