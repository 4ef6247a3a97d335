//! The course of probes on a virtual clock, asked of somebody whose answers the test says.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use vipkeeper_crds::node_server::NodeProbe;

use super::super::outcome::Stage;
use super::super::tests::probe;
use super::*;

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(3);
const RISE: u32 = 2;
const FALL: u32 = 3;
/// The runtime's timers are of whole milliseconds.
const TICKS: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, Default)]
enum Behaviour {
    #[default]
    Answers,
    Weighs(u32),
    Refuses,
    Hangs,
    Lacks,
    Breaks,
}

/// Real servers by port.
#[derive(Clone, Default)]
struct Servers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    behaviour: Mutex<HashMap<u16, Behaviour>>,
    asked: Mutex<Vec<(u16, Instant)>>,
    underway: AtomicUsize,
}

impl Servers {
    fn set(&self, port: u16, behaviour: Behaviour) {
        self.0.behaviour.lock().unwrap().insert(port, behaviour);
    }

    fn asked(&self, port: u16) -> Vec<Instant> {
        let asked = self.0.asked.lock().unwrap();
        let of_port = asked.iter().filter(|(asked, _)| *asked == port);
        of_port.map(|(_, when)| *when).collect()
    }

    fn underway(&self) -> usize {
        self.0.underway.load(Ordering::Relaxed)
    }
}

struct Underway(Servers);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.0.underway.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ask for Servers {
    type Engine = Self;

    fn engine(&mut self, _shape: &Arc<Shape>) -> Self {
        self.clone()
    }

    async fn ask(engine: Self, target: Target, _nonce: u64) -> Outcome {
        let port = target.port();
        engine.0.asked.lock().unwrap().push((port, Instant::now()));
        engine.0.underway.fetch_add(1, Ordering::Relaxed);
        let _underway = Underway(engine.clone());
        let behaviour = engine.0.behaviour.lock().unwrap().get(&port).copied();
        match behaviour.unwrap_or_default() {
            Behaviour::Answers => Outcome::Success { weight: None },
            Behaviour::Weighs(weight) => Outcome::Success {
                weight: Some(weight),
            },
            Behaviour::Refuses => Outcome::Failure(Failure::Refused),
            Behaviour::Hangs => {
                let limit = target.shape().timeout();
                sleep(limit).await;
                let stage = Stage::Waiting;
                Outcome::Failure(Failure::Late { stage, limit })
            }
            Behaviour::Lacks => Outcome::Unable(Lack::Descriptors),
            Behaviour::Breaks => panic!("as the test wants it"),
        }
    }
}

/// A course under way, which ends with the test.
struct Run {
    servers: Servers,
    targets: watch::Sender<Arc<Targets>>,
    changes: mpsc::Receiver<Change>,
    statistics: Arc<Statistics>,
    course: JoinHandle<()>,
}

impl Run {
    fn new() -> Self {
        Self::with(HashMap::new(), Places::new(1_000, 4), 64)
    }

    fn with(known: HashMap<Target, Judgement>, places: Places, capacity: usize) -> Self {
        let servers = Servers::default();
        let (targets, wanted) = watch::channel(Arc::default());
        let (told, changes) = mpsc::channel(capacity);
        let statistics = Arc::<Statistics>::default();
        let course = Course::new(servers.clone(), 7, known, statistics.clone(), places);
        Self {
            servers,
            targets,
            changes,
            statistics,
            course: tokio::spawn(course.run(wanted, told)),
        }
    }

    fn want(&self, targets: &[&Target]) {
        let targets = targets.iter().map(|target| (*target).clone());
        let next = self.targets.borrow().followed_by(targets);
        if let Some(next) = next {
            self.targets.send_replace(Arc::new(next));
        }
    }

    async fn change(&mut self) -> Change {
        let change = timeout(Duration::from_secs(3_600), self.changes.recv());
        change.await.unwrap().unwrap()
    }

    /// What is told within `span`.
    async fn silent_for(&mut self, span: Duration) -> bool {
        timeout(span, self.changes.recv()).await.is_err()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.course.abort();
    }
}

fn target_of(port: u16, edit: impl FnOnce(&mut NodeProbe)) -> Target {
    let mut probe = probe(json!({"type": "TCP"}));
    probe.rise = RISE as u8;
    probe.fall = FALL as u8;
    edit(&mut probe);
    Target::of(&probe, ([192, 0, 2, 1], port).into())
}

fn target(port: u16) -> Target {
    target_of(port, |_| ())
}

fn up() -> Judgement {
    Judgement {
        healthy: true,
        weight: None,
        reason: "".into(),
    }
}

fn down(reason: &str) -> Judgement {
    Judgement {
        healthy: false,
        weight: None,
        reason: reason.into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_real_server_is_out_within_interval_by_fall_and_timeout_and_back_within_interval_by_rise()
 {
    for step in 0..12 {
        let mut run = Run::new();
        let target = target(80);
        run.want(&[&target]);
        assert_eq!(run.change().await, (target.clone(), up()));
        sleep(INTERVAL * step / 8).await;

        let died = Instant::now();
        run.servers.set(80, Behaviour::Hangs);
        assert_eq!(
            run.change().await,
            (target.clone(), down("TCP: no answer in 3s"))
        );
        let took = died.elapsed();
        assert!(
            took <= INTERVAL * FALL + TIMEOUT + TICKS,
            "out after {took:?}"
        );

        let returned = Instant::now();
        run.servers.set(80, Behaviour::Answers);
        assert_eq!(run.change().await, (target, up()));
        let took = returned.elapsed();
        assert!(took <= INTERVAL * RISE + TICKS, "back after {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_asked_after_at_their_own_delay_until_one_is_out() {
    let mut run = Run::new();
    let target = target_of(80, |p| {
        p.delay_after_failure = vipkeeper_crds::Duration::from_secs(1);
    });
    run.want(&[&target]);
    run.change().await;
    run.servers.set(80, Behaviour::Refuses);
    let died = Instant::now();
    assert_eq!(run.change().await.1, down("TCP: refused"));
    let second = Duration::from_secs(1);
    assert!(died.elapsed() <= INTERVAL + 2 * second + TICKS);
    let asked = run.servers.asked(80).len();
    sleep(2 * INTERVAL + TICKS).await;
    let since = run.servers.asked(80).len() - asked;
    assert_eq!(since, 2, "once it is out the interval counts again");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_never_judged_is_out_at_its_first_failure() {
    let mut run = Run::new();
    run.servers.set(80, Behaviour::Refuses);
    run.want(&[&target(80)]);
    let began = Instant::now();
    assert_eq!(run.change().await.1, down("TCP: refused"));
    assert!(began.elapsed() < TICKS, "one target is asked at once");
}

#[tokio::test(start_paused = true)]
async fn only_changes_are_told_and_another_reason_is_one() {
    let mut run = Run::new();
    run.want(&[&target(80)]);
    run.change().await;
    assert!(run.silent_for(10 * INTERVAL).await);
    run.servers.set(80, Behaviour::Refuses);
    assert_eq!(run.change().await.1, down("TCP: refused"));
    assert!(run.silent_for(10 * INTERVAL).await);
    run.servers.set(80, Behaviour::Hangs);
    assert_eq!(run.change().await.1, down("TCP: no answer in 3s"));
}

#[tokio::test(start_paused = true)]
async fn a_weight_is_told_when_it_changes_and_outlives_a_failure_that_takes_nobody_out() {
    let weighing = |weight| Judgement {
        weight: Some(weight),
        ..up()
    };
    let mut run = Run::new();
    run.servers.set(80, Behaviour::Weighs(5));
    run.want(&[&target(80)]);
    assert_eq!(run.change().await.1, weighing(5));
    run.servers.set(80, Behaviour::Weighs(9));
    assert_eq!(run.change().await.1, weighing(9));
    run.servers.set(80, Behaviour::Refuses);
    assert_eq!(run.change().await.1, down("TCP: refused"));
    run.servers.set(80, Behaviour::Weighs(1));
    assert_eq!(run.change().await.1, weighing(1));
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_set_restarts_nobody_and_ends_who_left() {
    let mut run = Run::new();
    let (stays, leaves) = (target(80), target(81));
    run.servers.set(81, Behaviour::Hangs);
    run.want(&[&stays, &leaves]);
    run.change().await;
    sleep(2 * INTERVAL).await;
    while run.servers.underway() == 0 {
        sleep(TICKS).await;
    }
    for port in 100..120 {
        run.want(&[&stays, &target(port)]);
        sleep(Duration::from_millis(700)).await;
        assert_eq!(
            run.servers.underway(),
            0,
            "the probe of one that left goes on"
        );
    }
    let gone = run.servers.asked(81).len();
    sleep(3 * INTERVAL).await;
    assert_eq!(run.servers.asked(81).len(), gone);
    let asked = run.servers.asked(80);
    for pair in asked[1..].windows(2) {
        let span = pair[1] - pair[0];
        assert!(span >= INTERVAL && span <= INTERVAL + TICKS, "{span:?}");
    }
    assert_eq!(run.statistics.read().kinds[0].targets, 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_returns_is_judged_anew() {
    let mut run = Run::new();
    let target = target(80);
    run.want(&[&target]);
    assert_eq!(run.change().await.1, up());
    run.want(&[]);
    assert!(run.silent_for(2 * INTERVAL).await);
    run.servers.set(80, Behaviour::Refuses);
    run.want(&[&target]);
    assert_eq!(
        run.change().await.1,
        down("TCP: refused"),
        "at its first failure"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_left_and_returned_unseen_is_told_again_and_no_other() {
    let mut run = Run::new();
    let (stays, returns) = (target(80), target(81));
    run.want(&[&stays, &returns]);
    run.change().await;
    run.change().await;
    assert!(run.silent_for(2 * INTERVAL).await);
    let asked = run.servers.asked(81).len();
    // Nothing awaits in between: the prober sees the last set alone.
    run.want(&[&stays]);
    run.want(&[&stays, &returns]);
    let returned = Instant::now();
    assert_eq!(run.change().await, (returns, up()));
    assert!(returned.elapsed() < TICKS, "it is known already");
    assert_eq!(run.servers.asked(81).len(), asked);
    assert!(run.silent_for(10 * INTERVAL).await);
}

#[tokio::test(start_paused = true)]
async fn one_that_returns_unseen_before_its_first_probe_ended_is_told_once() {
    let mut run = Run::new();
    run.servers.set(80, Behaviour::Hangs);
    run.want(&[&target(80)]);
    sleep(TICKS).await;
    assert_eq!(run.servers.underway(), 1);
    run.want(&[]);
    run.want(&[&target(80)]);
    assert_eq!(run.change().await.1, down("TCP: no answer in 3s"));
    assert!(run.silent_for(10 * INTERVAL).await);
    assert_eq!(run.statistics.read().kinds[0].targets, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_known_before_a_restart_goes_on_with_a_whole_rise_and_fall() {
    let known = HashMap::from([(target(80), up()), (target(81), down("TCP: reset"))]);
    let mut run = Run::with(known, Places::new(10, 1), 64);
    run.servers.set(80, Behaviour::Refuses);
    run.want(&[&target(80), &target(81)]);
    let mut first = [run.change().await, run.change().await];
    first.sort_by_key(|(target, _)| target.port());
    let confirmed = first.map(|(_, judgement)| judgement);
    assert_eq!(
        confirmed,
        [up(), down("TCP: reset")],
        "after one probe nothing has changed"
    );
    let mut then = [run.change().await, run.change().await];
    then.sort_by_key(|(target, _)| target.port());
    assert_eq!(
        then.map(|(_, judgement)| judgement),
        [down("TCP: refused"), up()]
    );
    assert_eq!(run.servers.asked(80).len(), FALL as usize);
}

#[tokio::test(start_paused = true)]
async fn what_was_known_long_ago_is_not_known() {
    let known = HashMap::from([(target(80), up())]);
    let mut run = Run::with(known, Places::new(10, 1), 64);
    sleep(KNOWN_FOR + TICKS).await;
    run.servers.set(80, Behaviour::Refuses);
    run.want(&[&target(80)]);
    assert_eq!(run.change().await.1, down("TCP: refused"));
}

#[tokio::test(start_paused = true)]
async fn what_the_node_lacks_judges_nobody_and_is_counted() {
    let mut run = Run::new();
    run.want(&[&target(80)]);
    run.change().await;
    run.servers.set(80, Behaviour::Lacks);
    assert!(run.silent_for(20 * INTERVAL).await);
    let unable = run.statistics.read().kinds[0].results[3];
    assert!((19..=21).contains(&unable), "{unable}");
}

#[tokio::test(start_paused = true)]
async fn a_broken_engine_is_a_failure_of_one_target_alone() {
    let mut run = Run::new();
    run.servers.set(80, Behaviour::Breaks);
    run.want(&[&target(80)]);
    assert_eq!(run.change().await.1, down("TCP: internal error"));
    run.servers.set(80, Behaviour::Answers);
    assert_eq!(run.change().await.1, up());
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_delays_no_probe_and_gets_the_latest() {
    let mut run = Run::with(HashMap::new(), Places::new(10, 1), 1);
    run.want(&[&target(80), &target(81)]);
    for round in 0..5 {
        let behaviour = [Behaviour::Refuses, Behaviour::Answers][round % 2];
        run.servers.set(80, behaviour);
        run.servers.set(81, behaviour);
        sleep(4 * INTERVAL).await;
    }
    for port in [80, 81] {
        let asked = run.servers.asked(port);
        assert!(asked.len() >= 20, "{}", asked.len());
    }
    let mut last = HashMap::new();
    for _ in 0..3 {
        if let Ok(Some((target, judgement))) = timeout(TICKS, run.changes.recv()).await {
            last.insert(target.port(), judgement);
        }
    }
    assert_eq!(last.get(&80), Some(&down("TCP: refused")));
    assert_eq!(last.get(&81), Some(&down("TCP: refused")));
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_waits_for_one_and_is_counted() {
    let mut run = Run::with(HashMap::new(), Places::new(1, 1), 64);
    let targets = [80, 81, 82].map(target);
    for target in &targets {
        run.servers.set(target.port(), Behaviour::Hangs);
    }
    run.want(&targets.each_ref());
    sleep(Duration::from_millis(100)).await;
    let figures = run.statistics.read();
    assert_eq!(
        (figures.running, figures.waiting, figures.delayed),
        (1, 2, 2)
    );
    for _ in 0..3 {
        assert_eq!(run.change().await.1, down("TCP: no answer in 3s"));
    }
    run.want(&[]);
    sleep(TICKS).await;
    let figures = run.statistics.read();
    assert_eq!((figures.running, figures.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_leaves_while_it_waits_takes_no_place() {
    let mut run = Run::with(HashMap::new(), Places::new(1, 1), 64);
    run.servers.set(80, Behaviour::Hangs);
    run.want(&[&target(80)]);
    sleep(TICKS).await;
    run.want(&[&target(80), &target(81)]);
    sleep(TICKS).await;
    assert_eq!(run.statistics.read().waiting, 1);
    run.want(&[&target(80)]);
    run.change().await;
    assert_eq!(run.servers.asked(81).len(), 0);
    assert_eq!(run.statistics.read().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_either_channel() {
    let mut run = Run::new();
    run.changes.close();
    (&mut run.course).await.unwrap();

    let mut run = Run::new();
    // Nobody can change the set any more.
    run.targets = watch::channel(Arc::default()).0;
    (&mut run.course).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_targets_are_asked_evenly() {
    let mut run = Run::with(HashMap::new(), Places::new(1_000, 4), 64);
    let targets: Vec<Target> = (1..=10_000).map(target).collect();
    run.want(&targets.iter().collect::<Vec<_>>());
    let drained = async {
        let mut told = 0;
        while told < 10_000 {
            run.change().await;
            told += 1;
        }
    };
    drained.await;
    let began = Instant::now();
    let before = run.servers.0.asked.lock().unwrap().len();
    sleep(4 * INTERVAL).await;
    let asked = run.servers.0.asked.lock().unwrap();
    let mut per_second = [0_u32; 20];
    for (_, when) in &asked[before..] {
        let second = (*when - began).as_secs() as usize;
        if let Some(count) = per_second.get_mut(second) {
            *count += 1;
        }
    }
    assert!(
        per_second
            .iter()
            .all(|count| (1_600..2_400).contains(count)),
        "{per_second:?}"
    );
}
