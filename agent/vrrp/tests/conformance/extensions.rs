//! What goes beyond the RFCs: preemption delays (X01), simultaneous promotions (X03), healing (X04), stalls (X05).

use vipkeeper_vrrp::{Output, Preemption, Priority, Reason, RouterConfig, StateName, Time};

use crate::bench::{
    Bench, IFINDEX, Log, SECOND, deeds, down, millis, nanos, router, running, sent, skew, story,
};
use crate::forge::{Frame, from, peer};

fn delayed(priority: u8) -> RouterConfig {
    RouterConfig {
        preemption: Preemption::Delayed(10 * SECOND),
        ..router(priority)
    }
}

/// Hears `frame` every second for `seconds`, until it is not Backup any more.
fn beside(bench: &mut Bench, frame: &Frame, seconds: u64) -> Log {
    let mut log = Log::new();
    for _ in 0..seconds {
        log.extend(bench.hear(frame));
        log.extend(bench.advance(SECOND));
        if bench.state() != StateName::Backup {
            break;
        }
    }
    log
}

#[test]
fn x01_a_lower_active_is_left_in_peace_until_the_delay_ends_and_then_preempted_at_once() {
    let mut bench = Bench::new(&[delayed(100)]);
    bench.advance(millis(400));
    let first_heard = bench.now;
    let log = beside(&mut bench, &from(1, 50), 60);
    assert_eq!(deeds(&log)[0], "send 100");
    assert_eq!(sent(&log)[0].at, first_heard + 10 * SECOND);
    assert_eq!(bench.status().reason, Reason::Preempted);
}

#[test]
fn x01_a_higher_or_equal_priority_ends_the_delay_and_a_lower_one_begins_it_anew() {
    for priority in [100, 200] {
        let mut bench = Bench::new(&[delayed(100)]);
        beside(&mut bench, &from(1, 50), 9);
        bench.hear(&from(2, priority));
        let log = beside(&mut bench, &from(1, 50), 9);
        assert_eq!(sent(&log), [], "{priority}");
        let log = beside(&mut bench, &from(1, 50), 1);
        assert_eq!(sent(&log).len(), 1);
    }
}

#[test]
fn x01_where_nobody_is_active_the_delay_delays_nothing() {
    assert_eq!(Bench::new(&[delayed(100)]).timeout(), down(100));
    let mut bench = Bench::new(&[delayed(100)]);
    beside(&mut bench, &from(1, 50), 2);
    bench.hear(&from(1, 50));
    assert_eq!(
        bench.timeout(),
        down(100),
        "the lower Active dies meanwhile"
    );
    bench.hear(&from(1, 0));
    assert_eq!(bench.timeout(), skew(100), "or leaves");
}

#[test]
fn x01_the_lower_actives_interval_is_learned_meanwhile() {
    let mut bench = Bench::new(&[delayed(100)]);
    bench.hear(&from(1, 50).centiseconds(20));
    assert_eq!(bench.timeout(), down(100) / 5);
}

#[test]
fn x01_another_mode_ends_the_delay() {
    let mut bench = Bench::new(&[delayed(100)]);
    beside(&mut bench, &from(1, 50), 9);
    bench.hear(&from(1, 50));
    let never = RouterConfig {
        preemption: Preemption::Never,
        ..router(100)
    };
    bench.apply(&[never]);
    assert_eq!(beside(&mut bench, &from(1, 50), 60), []);
}

#[test]
fn x03_equal_routers_that_are_promoted_at_once_become_one_in_a_round_trip() {
    let mut lan = Lan::new(&[100, 100, 100]);
    lan.run(5 * SECOND);
    assert_eq!(lan.actives(), [2], "the greatest address");
    let (first, last) = (lan.promotions[0], *lan.promotions.last().unwrap());
    assert_eq!(lan.promotions.len(), 3, "all three were Active");
    assert_eq!(first, last, "at the same moment");
    assert!(lan.alone_since.since(last) <= 2 * LATENCY);
}

#[test]
fn x03_different_priorities_are_promoted_one_after_the_other() {
    let mut lan = Lan::new(&[100, 150, 200]);
    lan.run(10 * SECOND);
    assert_eq!(lan.actives(), [2]);
    assert_eq!(lan.promotions.len(), 1, "the skew spared the others");
}

#[test]
fn x04_two_sides_of_a_partition_become_one_when_it_heals() {
    for cut in [&[0][..], &[2], &[0, 1]] {
        let mut lan = Lan::new(&[100, 150, 200]);
        lan.run(10 * SECOND);
        lan.partition(cut);
        lan.run(10 * SECOND);
        assert_eq!(lan.actives().len(), 2, "one on each side");
        lan.partition(&[]);
        let healed = lan.now();
        lan.run(10 * SECOND);
        assert_eq!(lan.actives(), [2]);
        assert!(lan.alone_since.since(healed) <= SECOND + LATENCY, "{cut:?}");
    }
}

#[test]
fn x04_a_router_that_dies_is_replaced_within_the_active_down_interval() {
    for offset in [0, 1, 250, 999] {
        let mut lan = Lan::new(&[100, 150, 200]);
        lan.run(10 * SECOND + millis(offset));
        let died = lan.now();
        lan.partition(&[2]);
        lan.run(10 * SECOND);
        assert!(lan.actives().contains(&1));
        let taken_over = *lan.promotions.last().unwrap();
        assert!(taken_over.since(died) <= down(150) + LATENCY);
        assert!(taken_over.since(died) >= down(150) - SECOND - LATENCY);
    }
}

#[test]
fn x04_without_preemption_the_active_stays_after_healing_unless_two_met() {
    let mut lan = Lan::with(&[100, 200], |router| RouterConfig {
        preemption: Preemption::Never,
        ..router
    });
    lan.partition(&[1]);
    lan.run(millis(10));
    lan.benches[1].link(IFINDEX, vipkeeper_vrrp::InterfaceState::default());
    lan.run(10 * SECOND);
    assert_eq!(lan.actives(), [0]);
    lan.partition(&[]);
    let log = lan.benches[1].link(IFINDEX, running());
    lan.carry(1, &log);
    lan.run(30 * SECOND);
    assert_eq!(
        lan.actives(),
        [0],
        "the higher one came back and left it in peace"
    );
}

#[test]
fn x05_an_active_that_stalled_listens_before_it_sends() {
    let mut bench = Bench::active(router(100));
    // Just after an advertisement: until its peers give it up there is silence of Active_Down_Interval.
    bench.fire();
    bench.stall(down(100) + nanos(1));
    let log = bench.settle();
    assert_eq!(
        story(&log),
        ["withdraw", "Active > Backup: Stalled", "stalled"]
    );
    assert_eq!(
        bench.timeout(),
        SECOND + skew(100),
        "whoever is Active is heard within it"
    );
    let log = bench.fire();
    assert_eq!(deeds(&log)[0], "send 100");
}

#[test]
fn x05_a_pause_that_its_peers_bear_is_none() {
    let mut bench = Bench::active(router(100));
    bench.fire();
    bench.stall(down(100));
    assert_eq!(deeds(&bench.settle()), ["send 100"]);
    assert_eq!(bench.state(), StateName::Active);
}

#[test]
fn x05_less_than_an_interval_of_lateness_is_no_stall_however_impatient_the_peers() {
    let impatient = RouterConfig {
        down_advertisements: std::num::NonZeroU8::MIN,
        ..router(254)
    };
    let mut bench = Bench::active(impatient);
    bench.fire();
    bench.stall(2 * SECOND);
    assert_eq!(deeds(&bench.settle()), ["send 254"]);
    bench.stall(2 * SECOND + nanos(1));
    assert_eq!(deeds(&bench.settle()), ["withdraw"]);
}

#[test]
fn x05_frames_that_waited_are_heard_before_timers_fire() {
    // Within the stall it can bear: what the queue holds decides, not the timer that ended meanwhile.
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200));
    bench.stall(down(100) + millis(500));
    let arrival = bench.now - millis(200);
    let log = bench.hear_late(&from(1, 200), arrival);
    assert_eq!(log, []);
    assert_eq!(bench.timeout(), down(100) - millis(200));
}

#[test]
fn x05_an_active_that_stalled_obeys_who_took_over() {
    let mut bench = Bench::active(router(100));
    bench.fire();
    bench.stall(60 * SECOND);
    let arrival = bench.now - millis(100);
    let log = bench.hear_late(&from(1, 50), arrival);
    assert!(sent(&log).is_empty());
    assert_eq!(bench.state(), StateName::Backup);
    let log = bench.hear(&from(1, 200));
    assert!(sent(&log).is_empty());
    assert_eq!(bench.timeout(), down(100));
}

#[test]
fn x05_a_backup_that_stalled_listens_before_it_is_promoted() {
    let mut bench = Bench::new(&[router(100)]);
    bench.stall(down(100) + SECOND + nanos(1));
    assert_eq!(story(&bench.settle()), ["stalled"]);
    assert_eq!(bench.state(), StateName::Backup);
    assert_eq!(bench.timeout(), SECOND + skew(100));
    assert_eq!(deeds(&bench.fire())[0], "send 100");
}

#[test]
fn x05_a_suspended_machine_notices_every_router_that_stalled() {
    let fast = RouterConfig {
        name: "fast".into(),
        vrid: vipkeeper_wire::Vrid::new(11).unwrap(),
        protocol: crate::bench::v3(10),
        ..router(100)
    };
    let mut bench = Bench::new(&[fast, router(100)]);
    bench.advance(10 * SECOND);
    // More than the fast one bears and less than the other.
    bench.stall(2 * SECOND);
    let log = bench.settle();
    assert_eq!(bench.status_of("fast").state, StateName::Backup);
    assert_eq!(bench.status_of("fast").reason, Reason::Stalled);
    assert_eq!(bench.status_of("web").state, StateName::Active);
    let reports = story(&log).into_iter().filter(|line| line == "stalled");
    assert_eq!(reports.count(), 1);
}

#[test]
fn x05_time_does_not_go_back() {
    let mut bench = Bench::active(router(100));
    let before = (bench.now, bench.untouched());
    bench.now = bench.now - 5 * SECOND;
    assert_eq!(bench.settle(), []);
    bench.now = before.0;
    assert_eq!(bench.untouched(), before.1);
    bench.now = Time::ZERO;
    bench.hear_late(&from(1, 200), before.0);
    bench.now = before.0;
    assert_eq!(
        bench.timeout(),
        down(100),
        "heard at the latest moment that was known"
    );
}

#[test]
fn c100_a_delay_of_our_own_that_peers_take_for_our_death_is_reported() {
    let mut bench = Bench::active(router(100));
    bench.fire();
    bench.stall(10 * SECOND);
    let log = bench.settle();
    let told = log.iter().find_map(|(_, output)| match output {
        Output::Report(vipkeeper_vrrp::Report::Stalled { late, .. }) => Some(*late),
        _ => None,
    });
    assert_eq!(told, Some(9 * SECOND), "from the first missed deadline");
    assert!(
        !story(&bench.advance(60 * SECOND)).contains(&"stalled".into()),
        "once"
    );
}

/// How long a frame is on its way.
const LATENCY: std::time::Duration = millis(1);

/// A LAN of benches that hear each other.
struct Lan {
    benches: Vec<Bench>,
    /// Frames on their way: when they arrive, from whom, and what.
    wire: Vec<(Time, usize, Frame)>,
    /// Those who are cut off from the others.
    cut: Vec<usize>,
    promotions: Vec<Time>,
    /// Since when one is Active.
    alone_since: Time,
}

impl Lan {
    /// Node n has 10.77.0.(n + 1) and the n-th priority.
    fn new(priorities: &[u8]) -> Self {
        Self::with(priorities, |router| router)
    }

    fn with(priorities: &[u8], edit: impl Fn(RouterConfig) -> RouterConfig) -> Self {
        let bench = |(place, &priority): (usize, &u8)| {
            let config = RouterConfig {
                source: Some(peer(place as u8 + 1)),
                priority: Priority::new(priority).unwrap(),
                ..router(priority)
            };
            Bench::new(&[edit(config)])
        };
        Self {
            benches: priorities.iter().enumerate().map(bench).collect(),
            wire: Vec::new(),
            cut: Vec::new(),
            promotions: Vec::new(),
            alone_since: Time::ZERO,
        }
    }

    fn now(&self) -> Time {
        self.benches[0].now
    }

    fn partition(&mut self, cut: &[usize]) {
        self.cut = cut.to_vec();
    }

    fn actives(&self) -> Vec<usize> {
        (0..self.benches.len())
            .filter(|&n| self.benches[n].state() == StateName::Active)
            .collect()
    }

    fn run(&mut self, span: std::time::Duration) {
        let end = self.now() + span;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.set_clock(next);
            self.deliver(next);
            for n in 0..self.benches.len() {
                let log = self.benches[n].settle();
                self.carry(n, &log);
            }
            if self.actives().len() != 1 {
                self.alone_since = next;
            }
        }
        self.set_clock(end);
    }

    fn next(&self) -> Option<Time> {
        let timers = self
            .benches
            .iter()
            .filter_map(|b| b.election.next_timeout());
        timers.chain(self.wire.iter().map(|w| w.0)).min()
    }

    fn set_clock(&mut self, now: Time) {
        for bench in &mut self.benches {
            bench.now = now;
        }
    }

    fn deliver(&mut self, now: Time) {
        let (due, later) = self.wire.drain(..).partition(|w| w.0 <= now);
        self.wire = later;
        let due: Vec<(Time, usize, Frame)> = due;
        for (_, sender, frame) in due {
            for n in 0..self.benches.len() {
                let apart = self.cut.contains(&n) != self.cut.contains(&sender);
                if n != sender && !apart {
                    let log = self.benches[n].hear(&frame);
                    self.carry(n, &log);
                }
            }
        }
    }

    /// Puts on the wire what `sender` sent.
    fn carry(&mut self, sender: usize, log: &Log) {
        for advertisement in sent(log) {
            let frame = from(sender as u8 + 1, advertisement.priority);
            self.wire.push((advertisement.at + LATENCY, sender, frame));
        }
        for line in story(log) {
            if line.contains("> Active") {
                self.promotions.push(self.benches[sender].now);
            }
        }
    }
}

#[test]
fn a_backup_that_reads_within_its_patience_decides_as_if_it_had_read_at_once() {
    let mut bench = Bench::new(&[router(100)]);
    bench.hear(&from(1, 200));
    let patience = bench.election.patience();
    assert_eq!(patience, SECOND / 16);
    let arrival = bench.now;
    bench.advance(patience);
    bench.hear_late(&from(1, 200), arrival);
    assert_eq!(bench.now + bench.timeout(), arrival + down(100));
}

#[test]
fn a_node_with_an_active_router_has_no_patience() {
    let mut bench = Bench::active(router(100));
    assert!(bench.election.patience().is_zero());
    bench.hear(&from(1, 200));
    assert_eq!(bench.state(), StateName::Backup);
    assert!(!bench.election.patience().is_zero());
}
