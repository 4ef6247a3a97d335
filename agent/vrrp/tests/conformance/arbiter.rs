//! Evidence besides advertisements: heartbeats, neighbours, refused peers. What it does, and that nothing happens
//! without it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use vipkeeper_vrrp::{
    Evidence, Fact, HeartbeatPeer, HeartbeatPlan, HeartbeatRouter, Output, Plan, Reason,
    RouterConfig, SplitCause, StateName, Time,
};
use vipkeeper_wire::heartbeat::{Authenticity, Heartbeat, Row, State, hash};
use vipkeeper_wire::{Family, MacAddr, Vrid};

use crate::bench::{
    Bench, IFINDEX, Kernel, Log, OWN_MAC, SECOND, VIP, addresses, deeds, down, millis, router,
    skew, story, v3,
};
use crate::forge::{from, peer};

const US: u64 = 7;
const THEM: u64 = 8;
const INCARNATION: u64 = 70;
const BEAT: Duration = Duration::from_millis(250);
const STRANGER: MacAddr = MacAddr([2, 9, 9, 9, 9, 9]);

/// A plan with heartbeats to and from node 8 at 10.77.0.9.
fn surroundings() -> Plan {
    Plan {
        heartbeat: Some(Arc::new(HeartbeatPlan {
            node: US,
            incarnation: INCARNATION,
            interval: BEAT,
            peers: vec![HeartbeatPeer {
                node: THEM,
                address: peer(9),
                routers: vec![shared("web")],
            }],
        })),
        ..Plan::default()
    }
}

fn shared(name: &str) -> HeartbeatRouter {
    HeartbeatRouter {
        router: hash(name),
        family: Family::V4,
        on_link: true,
    }
}

/// `config` on a running interface, with heartbeats.
fn bench(config: RouterConfig) -> Bench {
    let mut bench = Bench::empty();
    bench.surroundings = surroundings();
    bench.apply(&[config]);
    bench.link(IFINDEX, crate::bench::running());
    bench
}

fn active(config: RouterConfig) -> Bench {
    bench(config).settled()
}

/// What node 8 says.
#[derive(Clone)]
struct Said {
    state: State,
    priority: u8,
    sequence: u64,
    incarnation: u64,
    echo: u64,
    authenticity: Authenticity,
    from: IpAddr,
    node: u64,
    vrid: u8,
}

fn said(state: State, priority: u8, now: Time) -> Said {
    Said {
        state,
        priority,
        sequence: now.as_nanos(),
        incarnation: 80,
        echo: INCARNATION,
        authenticity: Authenticity::Proven,
        from: peer(9),
        node: THEM,
        vrid: 10,
    }
}

impl Said {
    fn fact(&self, arrival: Time) -> Fact {
        Fact::Heartbeat {
            from: self.from,
            arrival,
            authenticity: self.authenticity,
            heartbeat: Heartbeat {
                node: self.node,
                incarnation: self.incarnation,
                sequence: self.sequence,
                echo: self.echo,
                interval_ms: 250,
                rows: vec![Row {
                    router: hash("web"),
                    family: Family::V4,
                    vrid: Vrid::new(self.vrid).unwrap(),
                    state: self.state,
                    priority: self.priority,
                    heard_ms: None,
                    interval_ms: 1000,
                    mac: Some(MacAddr([2, 0, 0, 0, 0, 9])),
                    source: Some(peer(9)),
                }],
            },
        }
    }
}

fn hear(bench: &mut Bench, state: State, priority: u8) -> Log {
    let said = said(state, priority, bench.now);
    tell(bench, &said)
}

fn tell(bench: &mut Bench, said: &Said) -> Log {
    let fact = said.fact(bench.now);
    bench.fact(fact)
}

/// Lets `span` pass while node 8 beats and says the same.
fn beaten(bench: &mut Bench, span: Duration, how: &Said) -> Log {
    let end = bench.now + span;
    let mut log = Log::new();
    while bench.now < end {
        let said = Said {
            sequence: bench.now.as_nanos(),
            ..how.clone()
        };
        log.extend(tell(bench, &said));
        let rest = end.since(bench.now).min(BEAT);
        log.extend(bench.advance(rest));
    }
    log
}

/// What was done but for heartbeats.
fn deeds_but_beats(log: &Log) -> Vec<String> {
    let deeds = deeds(log).into_iter();
    deeds.filter(|deed| !deed.starts_with("beat")).collect()
}

fn told(log: &Log) -> Vec<String> {
    let story = story(log).into_iter();
    story
        .filter(|line| line.contains('>') || line.starts_with("evidence"))
        .collect()
}

fn promoted_at(log: &Log) -> Option<Time> {
    let installs = log.iter().find(|(_, o)| matches!(o, Output::Install(_)));
    installs.map(|(at, _)| *at)
}

fn neighbour(bench: &mut Bench, mac: MacAddr) -> Log {
    let fact = Fact::Neighbour {
        interface: IFINDEX,
        arrival: bench.now,
        address: VIP,
        mac,
    };
    bench.fact(fact)
}

/// A Backup that heard node 8 once, at a priority above its own, and nothing since.
fn deafened(priority: u8) -> (Bench, Time) {
    let mut bench = bench(router(priority));
    bench.advance(SECOND);
    bench.hear(&from(9, 254));
    let heard = bench.now;
    (bench, heard)
}

#[test]
fn without_evidence_a_promotion_waits_for_nothing() {
    for how in [
        None,
        Some((State::Backup, Authenticity::Proven)),
        Some((State::Initialize, Authenticity::Proven)),
        Some((State::Active, Authenticity::Unproven)),
    ] {
        let (mut bench, heard) = deafened(100);
        let log = match how {
            None => bench.advance(5 * SECOND),
            Some((state, authenticity)) => {
                let how = Said {
                    authenticity,
                    ..said(state, 200, bench.now)
                };
                beaten(&mut bench, 5 * SECOND, &how)
            }
        };
        assert_eq!(promoted_at(&log), Some(heard + down(100)), "{how:?}");
    }
}

#[test]
fn evidence_counts_two_intervals_after_the_last_advertisement_and_not_before() {
    for (at, holds) in [(2 * SECOND, false), (2 * SECOND + millis(1), true)] {
        let (mut bench, heard) = deafened(254);
        // Nearly three intervals: a heartbeat of a second's interval is fresh until then.
        bench.advance(at);
        let mut fact = said(State::Active, 200, bench.now).fact(bench.now);
        if let Fact::Heartbeat { heartbeat, .. } = &mut fact {
            heartbeat.interval_ms = 1000;
        }
        let mut log = bench.fact(fact);
        log.extend(bench.advance(4 * SECOND));
        let promoted = promoted_at(&log).unwrap();
        assert_eq!(promoted > heard + down(254), holds, "{at:?}");
    }
}

#[test]
fn a_peer_that_proves_to_be_active_holds_a_promotion_for_five_seconds_at_most() {
    let (mut bench, heard) = deafened(100);
    let how = said(State::Active, 200, bench.now);
    let log = beaten(&mut bench, down(100) + 5 * SECOND + millis(1), &how);
    assert_eq!(promoted_at(&log), Some(heard + down(100) + 5 * SECOND));
    assert_eq!(
        told(&log)[..2],
        ["evidence: PromotionHeld", "Backup > Active: HoldEnded"]
    );
}

#[test]
fn a_hold_lasts_two_active_down_intervals_where_that_is_shorter() {
    let config = RouterConfig {
        protocol: v3(25),
        ..router(254)
    };
    let mut bench = bench(config);
    bench.advance(SECOND / 2);
    let mut frame = from(9, 254);
    frame.body = vipkeeper_wire::vrrp::Body::V3 {
        centiseconds: 25,
        form: vipkeeper_wire::vrrp::ChecksumForm::Rfc9568,
    };
    bench.hear(&frame);
    let heard = bench.now;
    let expiry = heard + millis(750) + Duration::from_nanos(1_953_125);
    let how = said(State::Active, 254, bench.now);
    let log = beaten(&mut bench, 3 * SECOND, &how);
    assert_eq!(
        promoted_at(&log),
        Some(expiry + 2 * expiry.since(heard)),
        "{:?}",
        told(&log)
    );
}

#[test]
fn a_hold_ends_when_the_peer_says_that_it_is_not_active_any_more() {
    let (mut bench, _) = deafened(100);
    let how = said(State::Active, 200, bench.now);
    let log = beaten(&mut bench, down(100) + SECOND, &how);
    assert_eq!(promoted_at(&log), None);
    let log = hear(&mut bench, State::Backup, 200);
    assert_eq!(promoted_at(&log), Some(bench.now));
    assert_eq!(bench.status().reason, Reason::NoResponse);
}

#[test]
fn a_hold_ends_when_the_peers_heartbeat_stays_out_for_three_of_its_intervals() {
    let (mut bench, _) = deafened(100);
    let how = said(State::Active, 200, bench.now);
    beaten(&mut bench, down(100) + SECOND, &how);
    hear(&mut bench, State::Active, 200);
    let last = bench.now;
    let log = bench.advance(4 * SECOND);
    assert_eq!(promoted_at(&log), Some(last + 3 * BEAT));
}

#[test]
fn an_advertisement_ends_a_hold_and_sets_the_timer() {
    let (mut bench, _) = deafened(100);
    let how = said(State::Active, 200, bench.now);
    beaten(&mut bench, down(100) + SECOND, &how);
    assert!(!bench.status().evidence.is_empty());
    bench.hear(&from(9, 200));
    assert_eq!(bench.status().evidence, []);
    let heard = bench.now;
    let log = bench.advance(5 * SECOND);
    assert_eq!(promoted_at(&log), Some(heard + down(100)));
}

#[test]
fn a_crash_is_never_held_back_by_what_was_said_before_it() {
    let mut bench = bench(router(100));
    let mut log = Log::new();
    for _ in 0..20 {
        bench.hear(&from(9, 200));
        let how = said(State::Active, 200, bench.now);
        log.extend(beaten(&mut bench, SECOND, &how));
    }
    bench.hear(&from(9, 200));
    hear(&mut bench, State::Active, 200);
    let heard = bench.now;
    log.extend(bench.advance(5 * SECOND));
    assert_eq!(promoted_at(&log), Some(heard + down(100)));
}

#[test]
fn replays_strangers_and_words_for_an_earlier_start_are_no_evidence() {
    let right = |now| said(State::Active, 200, now);
    let (mut bench, heard) = deafened(100);
    let repeated = Said {
        sequence: 5,
        ..right(bench.now)
    };
    tell(&mut bench, &repeated);
    let cases = [
        ("a replay", repeated.clone()),
        (
            "an earlier sequence",
            Said {
                sequence: 4,
                ..repeated.clone()
            },
        ),
        (
            "an earlier start of theirs",
            Said {
                incarnation: 79,
                sequence: 9,
                ..repeated.clone()
            },
        ),
        (
            "an earlier start of ours",
            Said {
                echo: INCARNATION - 1,
                ..right(bench.now)
            },
        ),
        (
            "a stranger",
            Said {
                node: 99,
                ..right(bench.now)
            },
        ),
        (
            "another VRID",
            Said {
                vrid: 11,
                ..right(bench.now)
            },
        ),
    ];
    bench.advance(2 * SECOND + millis(100));
    let mut log = Log::new();
    for (_, mut how) in cases.clone() {
        if how.sequence > 9 {
            how.sequence = bench.now.as_nanos();
        }
        log.extend(tell(&mut bench, &how));
        log.extend(bench.advance(millis(100)));
    }
    log.extend(bench.advance(2 * SECOND));
    assert_eq!(promoted_at(&log), Some(heard + down(100)));
    let counters = bench.election.snapshot(bench.now).heartbeat;
    assert_eq!(
        (counters.replayed, counters.stale, counters.unknown),
        (3, 1, 1)
    );
}

#[test]
fn an_active_yields_to_a_higher_one_that_speaks_by_heartbeat_alone() {
    let mut bench = active(router(100));
    let log = hear(&mut bench, State::Active, 200);
    assert_eq!(deeds_but_beats(&log), ["withdraw"]);
    assert_eq!(told(&log), ["Active > Backup: PeerActive"]);
    // From the address that it advertises from: its heartbeats are its advertisements now.
    let how = said(State::Active, 200, bench.now);
    let log = beaten(&mut bench, 60 * SECOND, &how);
    assert_eq!(told(&log), [""; 0]);
    // Until they stop: the longer of both intervals counts.
    let last = bench.now;
    hear(&mut bench, State::Active, 200);
    let log = bench.advance(5 * SECOND);
    assert_eq!(promoted_at(&log), Some(last + down(100)));
}

#[test]
fn a_peer_that_speaks_by_heartbeat_alone_and_leaves_is_followed_within_the_skew() {
    let mut bench = active(router(100));
    hear(&mut bench, State::Active, 200);
    let how = said(State::Active, 200, bench.now);
    beaten(&mut bench, 10 * SECOND, &how);
    hear(&mut bench, State::Initialize, 200);
    let left = bench.now;
    let log = bench.advance(SECOND);
    assert_eq!(promoted_at(&log), Some(left + skew(100)));
    assert_eq!(bench.status().reason, Reason::Released);
}

#[test]
fn where_the_link_itself_carries_no_heartbeat_a_spent_hold_is_not_repeated() {
    let (mut bench, _) = deafened(100);
    let how = Said {
        from: "192.0.2.9".parse().unwrap(),
        ..said(State::Active, 200, bench.now)
    };
    let log = beaten(&mut bench, 120 * SECOND, &how);
    assert_eq!(
        told(&log),
        [
            "evidence: PromotionHeld",
            "Backup > Active: HoldEnded",
            "evidence: SplitBrain"
        ]
    );
}

#[test]
fn by_the_link_itself_two_actives_become_one_after_the_hold_for_good() {
    let (mut bench, _) = deafened(100);
    let how = said(State::Active, 200, bench.now);
    let log = beaten(&mut bench, 120 * SECOND, &how);
    assert_eq!(
        told(&log),
        [
            "evidence: PromotionHeld",
            "Backup > Active: HoldEnded",
            "Active > Backup: PeerActive"
        ]
    );
}

#[test]
fn an_active_stays_and_tells_when_a_lower_one_speaks_by_heartbeat() {
    let mut bench = active(router(200));
    let how = said(State::Active, 100, bench.now);
    let log = beaten(&mut bench, 10 * SECOND, &how);
    assert_eq!(told(&log), ["evidence: SplitBrain"]);
    let [standing] = bench.status().evidence[..] else {
        panic!("{:?}", bench.status().evidence);
    };
    let expected = Evidence::SplitBrain {
        peer: peer(9),
        cause: SplitCause::Heartbeat,
        proven: true,
    };
    assert_eq!(standing.evidence, expected);
    assert_eq!(bench.counters().split_brains, 1);
}

#[test]
fn whoever_stays_announces_again_when_the_other_has_left() {
    let mut bench = active(router(200));
    let how = said(State::Active, 100, bench.now);
    beaten(&mut bench, 10 * SECOND, &how);
    let log = hear(&mut bench, State::Backup, 100);
    assert_eq!(told(&log), ["evidence: SplitBrain over"]);
    assert_eq!(deeds_but_beats(&log), ["announce 10.77.0.100"]);
    assert_eq!(bench.status().evidence, []);
}

#[test]
fn without_a_key_two_actives_are_told_of_and_nobody_yields() {
    let mut bench = active(router(100));
    let how = Said {
        authenticity: Authenticity::Unproven,
        echo: 0,
        ..said(State::Active, 200, bench.now)
    };
    let log = beaten(&mut bench, 60 * SECOND, &how);
    assert_eq!(told(&log), ["evidence: SplitBrain"]);
    assert_eq!(bench.state(), StateName::Active);
}

#[test]
fn a_failover_is_no_split_brain() {
    let mut bench = bench(router(100));
    bench.hear(&from(9, 200));
    hear(&mut bench, State::Active, 200);
    let mut log = bench.advance(down(100));
    assert_eq!(bench.state(), StateName::Active);
    // The old one's last words overtook nothing, but are late.
    log.extend(hear(&mut bench, State::Active, 200));
    log.extend(bench.advance(10 * SECOND));
    assert_eq!(told(&log), ["Backup > Active: NoResponse"]);
}

#[test]
fn an_active_that_hears_a_higher_one_goes_by_its_advertisements() {
    let mut bench = active(router(100));
    bench.hear(&from(9, 100));
    let log = hear(&mut bench, State::Active, 200);
    assert_eq!(bench.state(), StateName::Backup);
    assert_eq!(told(&log), [""; 0]);
    assert_eq!(bench.status().reason, Reason::HigherAddress);
}

#[test]
fn advertisements_of_a_lower_one_that_go_on_are_a_split_brain() {
    let mut bench = active(router(200));
    let mut log = Log::new();
    for _ in 0..5 {
        log.extend(bench.hear(&from(9, 100)));
        log.extend(bench.advance(SECOND));
    }
    assert_eq!(told(&log), ["evidence: SplitBrain"]);
    assert_eq!(
        bench.status().evidence[0].evidence,
        Evidence::SplitBrain {
            peer: peer(9),
            cause: SplitCause::Advertisements,
            proven: false
        }
    );
    let log = bench.advance(3 * SECOND);
    assert_eq!(told(&log), ["evidence: SplitBrain over"]);
    assert!(deeds(&log).contains(&"announce 10.77.0.100".to_owned()));
}

#[test]
fn a_duel_that_the_protocol_ends_is_none() {
    let mut bench = active(router(200));
    let mut log = bench.hear(&from(9, 100));
    log.extend(bench.advance(SECOND));
    log.extend(bench.hear(&from(9, 100)));
    log.extend(bench.advance(60 * SECOND));
    log.extend(bench.hear(&from(9, 100)));
    assert_eq!(told(&log), [""; 0]);
}

#[test]
fn a_strangers_use_of_an_address_is_told_and_defended_once_in_ten_seconds() {
    let mut bench = active(router(100));
    let mut log = Log::new();
    let start = bench.now;
    for _ in 0..1_000 {
        log.extend(neighbour(&mut bench, STRANGER));
        log.extend(bench.advance(millis(25)));
    }
    assert_eq!(told(&log), ["evidence: AddressConflict"]);
    let announced = log.iter().filter(|(_, o)| matches!(o, Output::Announce(_)));
    let announced: Vec<_> = announced.map(|(at, _)| at.since(start)).collect();
    assert_eq!(announced, [0, 10, 20].map(Duration::from_secs));
    assert_eq!(bench.counters().address_conflicts, 1_000);
    let expected = Evidence::AddressConflict {
        address: VIP,
        mac: STRANGER,
    };
    assert_eq!(bench.status().evidence[0].evidence, expected);
    assert_eq!(bench.state(), StateName::Active);
    let log = bench.advance(61 * SECOND);
    assert_eq!(told(&log), ["evidence: AddressConflict over"]);
}

#[test]
fn our_own_announcement_that_comes_back_is_no_conflict() {
    let mut bench = active(router(100));
    let log = neighbour(&mut bench, OWN_MAC);
    assert_eq!(story(&log), [""; 0]);
    assert_eq!(bench.counters().address_conflicts, 0);
}

#[test]
fn the_last_words_of_the_active_before_us_are_no_conflict() {
    let mut bench = bench(router(100));
    bench.until_active();
    bench.advance(2 * SECOND);
    neighbour(&mut bench, STRANGER);
    assert_eq!(bench.counters().address_conflicts, 0);
    bench.advance(millis(1));
    neighbour(&mut bench, STRANGER);
    assert_eq!(bench.counters().address_conflicts, 1);
}

#[test]
fn a_peers_use_of_an_address_is_a_split_brain_and_no_address_conflict() {
    let known_by_heartbeat = |bench: &mut Bench| drop(hear(bench, State::Backup, 50));
    let known_by_advertisement = |bench: &mut Bench| drop(bench.hear(&from(9, 50)));
    for known in [known_by_heartbeat, known_by_advertisement] {
        let mut bench = active(router(100));
        known(&mut bench);
        let log = neighbour(&mut bench, MacAddr([2, 0, 0, 0, 0, 9]));
        assert_eq!(told(&log), ["evidence: SplitBrain"]);
        let expected = Evidence::SplitBrain {
            peer: peer(9),
            cause: SplitCause::Neighbour,
            proven: false,
        };
        assert_eq!(bench.status().evidence[0].evidence, expected);
    }
}

#[test]
fn a_backup_minds_no_neighbour_that_has_the_addresses() {
    let (mut bench, _) = deafened(100);
    let log = neighbour(&mut bench, STRANGER);
    assert_eq!(story(&log), [""; 0]);
    assert_eq!(bench.status().evidence, []);
}

#[test]
fn an_active_tells_of_a_peer_that_it_refuses_and_a_backup_does_not() {
    let mut bench = active(router(100));
    bench.hear(&from(9, 200).ttl(64));
    let expected = Evidence::PeerRejected {
        source: peer(9),
        reason: vipkeeper_vrrp::Refusal::Ttl,
    };
    assert_eq!(bench.status().evidence[0].evidence, expected);
    bench.advance(61 * SECOND);
    assert_eq!(bench.status().evidence, []);
    let (mut bench, _) = deafened(100);
    bench.hear(&from(9, 200).ttl(64));
    assert_eq!(bench.status().evidence, []);
}

fn probing(config: RouterConfig) -> (Bench, Log) {
    let mut bench = Bench::empty();
    bench.surroundings = Plan {
        probes: true,
        ..Plan::default()
    };
    let mut log = bench.apply(&[config]);
    log.extend(bench.link(IFINDEX, crate::bench::running()));
    (bench, log)
}

#[test]
fn a_first_claim_asks_twice_while_it_listens_and_is_not_delayed() {
    let (mut bench, mut log) = probing(router(100));
    let start = bench.now;
    log.extend(bench.until_active());
    let probes = log.iter().filter(|(_, o)| matches!(o, Output::Probe(_)));
    let probes: Vec<_> = probes.map(|(at, _)| at.since(start)).collect();
    assert_eq!(probes, [Duration::ZERO, down(100) / 2]);
    assert_eq!(bench.now, start + down(100));
}

#[test]
fn a_stranger_that_answers_holds_the_first_claim_back_until_it_is_gone() {
    let (mut bench, _) = probing(router(100));
    neighbour(&mut bench, STRANGER);
    let mut log = bench.advance(down(100));
    assert_eq!(told(&log), ["evidence: ClaimHeld"]);
    let expected = Evidence::ClaimHeld {
        address: VIP,
        mac: STRANGER,
    };
    assert_eq!(bench.status().evidence[0].evidence, expected);
    // Asked after 1 s, and answering; then after 2 s, and 4 s.
    for wait in [1, 2, 4] {
        log = bench.advance(wait * SECOND);
        assert_eq!(story(&log), ["probe 10.77.0.100"], "after {wait} s");
        neighbour(&mut bench, STRANGER);
        log = bench.advance(millis(250));
        assert_eq!(story(&log), [""; 0]);
    }
    log = bench.advance(8 * SECOND);
    assert_eq!(story(&log), ["probe 10.77.0.100"]);
    log = bench.advance(millis(250));
    assert_eq!(told(&log), ["Backup > Active: NoResponse"]);
    assert_eq!(bench.status().evidence, []);
}

#[test]
fn an_answer_means_nothing_once_an_advertisement_was_heard() {
    for answers_first in [true, false] {
        let (mut bench, _) = probing(router(100));
        if answers_first {
            neighbour(&mut bench, STRANGER);
        }
        bench.hear(&from(9, 200));
        if !answers_first {
            neighbour(&mut bench, STRANGER);
        }
        let heard = bench.now;
        let log = bench.advance(5 * SECOND);
        assert_eq!(promoted_at(&log), Some(heard + down(100)));
    }
}

#[test]
fn an_advertisement_ends_a_held_first_claim() {
    let (mut bench, _) = probing(router(100));
    neighbour(&mut bench, STRANGER);
    bench.advance(down(100) + SECOND / 2);
    bench.hear(&from(9, 200));
    assert_eq!(bench.status().evidence, []);
    let heard = bench.now;
    let log = bench.advance(5 * SECOND);
    assert_eq!(promoted_at(&log), Some(heard + down(100)));
}

#[test]
fn a_failover_never_asks() {
    let (mut bench, _) = probing(router(100));
    bench.hear(&from(9, 200));
    let mut log = bench.advance(5 * SECOND);
    bench.hear(&from(9, 200));
    log.extend(bench.advance(5 * SECOND));
    assert_eq!(bench.state(), StateName::Active);
    bench.hear(&from(9, 200));
    log.extend(bench.advance(5 * SECOND));
    assert!(!story(&log).iter().any(|line| line.starts_with("probe")));
}

#[test]
fn an_owner_claims_without_asking() {
    let (mut bench, mut log) = probing(router(255));
    log.extend(bench.host(IFINDEX, &[VIP]));
    assert_eq!(told(&log), ["Initialize > Active: AddressOwner"]);
    assert!(!story(&log).iter().any(|line| line.starts_with("probe")));
}

#[test]
fn heartbeats_leave_at_their_interval_and_early_when_a_state_changes() {
    let mut bench = bench(router(100));
    let log = bench.advance(SECOND);
    let beats = |log: &Log| -> Vec<(Time, Heartbeat)> {
        let beat = |(at, output): &(Time, Output)| match output {
            Output::Beat(beat) => Some((*at, beat.heartbeat.clone())),
            _ => None,
        };
        log.iter().filter_map(beat).collect()
    };
    assert_eq!(beats(&log).len(), 4);
    let log = bench.until_active();
    let now = bench.now;
    let told: Vec<_> = beats(&log)
        .into_iter()
        .filter(|(_, beat)| beat.rows[0].state == State::Active)
        .collect();
    let at = told.first().map(|(at, _)| at.since(now));
    assert!(at.is_none_or(|late| late <= millis(20)), "{at:?}");
    hear(&mut bench, State::Backup, 50);
    let log = bench.advance(SECOND);
    let last = beats(&log).pop().unwrap().1;
    assert_eq!(
        (last.node, last.incarnation, last.echo),
        (US, INCARNATION, 80)
    );
    assert_eq!(
        (last.rows[0].priority, last.rows[0].state),
        (100, State::Active)
    );
    let log = bench.command(vipkeeper_vrrp::Command::Shutdown);
    let farewell = beats(&log).pop().unwrap().1;
    assert_eq!(farewell.rows[0].state, State::Initialize);
}

#[test]
fn many_routers_take_several_heartbeats_of_26() {
    let mut bench = Bench::empty();
    let named: Vec<RouterConfig> = (1..=60)
        .map(|n| RouterConfig {
            name: format!("r{n}").into(),
            vrid: Vrid::new(n).unwrap(),
            addresses: addresses(&[IpAddr::from([10, 77, 1, n])]),
            ..router(100)
        })
        .collect();
    bench.surroundings = surroundings();
    if let Some(plan) = bench.surroundings.heartbeat.as_mut().map(Arc::make_mut) {
        let all = named.iter().map(|r| shared(&r.name));
        plan.peers[0].routers = all.collect();
    }
    bench.kernel = Kernel::Confirms;
    let log = bench.apply(&named);
    let beat = |(_, output): &(Time, Output)| match output {
        Output::Beat(beat) => Some((beat.heartbeat.sequence, beat.heartbeat.rows.len())),
        _ => None,
    };
    let rows: Vec<_> = log.iter().filter_map(beat).collect();
    assert_eq!(rows, [(1, 26), (2, 26), (3, 8)]);
}

#[test]
fn a_priority_that_falls_while_a_promotion_is_held_lets_the_timer_decide_again() {
    let (mut bench, heard) = deafened(254);
    let how = said(State::Active, 200, bench.now);
    beaten(&mut bench, down(254) + millis(5), &how);
    bench.weight(-253);
    let log = bench.advance(5 * SECOND);
    assert_eq!(promoted_at(&log), Some(heard + down(1)));
}
