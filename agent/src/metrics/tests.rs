use std::time::Duration;

use vipkeeper_vrrp::Reason;

use super::*;
use crate::distribution::Distribution;
use crate::election::Vitals;
use crate::probe::OfKind;
use crate::state::tests::state;

/// The page of the state of `crate::state::tests`: each line of it was read and found right.
const GOLDEN: &str = include_str!("tests/golden.txt");

/// Where the metrics are documented.
const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

fn distributions() -> Distributions {
    let vitals = Vitals::default();
    let millis = Duration::from_millis;
    vitals.lateness_distribution.observe(millis(1));
    vitals.failovers.observe(Reason::NoResponse, millis(812));
    Distributions::of(&vitals)
}

fn probes() -> Figures {
    const BOUNDS: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];
    let durations = Distribution::new(&BOUNDS);
    durations.observe(Duration::from_micros(300));
    durations.observe(Duration::from_millis(3_000));
    let http = OfKind {
        kind: "HTTP",
        targets: 3,
        results: [41, 2, 1, 5],
        durations: durations.read(),
    };
    Figures {
        kinds: vec![http],
        running: 1,
        waiting: 4,
        delayed: 17,
    }
}

fn page() -> String {
    render(&state(), &distributions(), &probes()).unwrap()
}

/// Name, type and help of every metric.
fn described(page: &str) -> Vec<[&str; 3]> {
    let mut lines = page.lines();
    let mut all = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            let kind = lines.next().unwrap().rsplit(' ').next().unwrap();
            all.push([name, kind, help]);
        }
    }
    all
}

#[test]
fn a_state_renders_to_the_golden_page() {
    assert_eq!(page(), GOLDEN);
}

#[test]
fn every_metric_has_our_prefix_and_a_help_line() {
    let page = page();
    for line in page.lines() {
        let name = line
            .trim_start_matches("# HELP ")
            .trim_start_matches("# TYPE ");
        assert!(name.starts_with("vipkeeper_"), "{line}");
    }
    let count = |what: &str| page.lines().filter(|l| l.starts_with(what)).count();
    assert_eq!(count("# HELP"), count("# TYPE"));
}

#[test]
fn labels_are_bounded() {
    let page = page();
    let allowed = [
        "router",
        "namespace",
        "server",
        "service",
        "real_server",
        "family",
        "interface",
        "reason",
        "state",
        "from",
        "to",
        "activity",
        "condition",
        "outcome",
        "kind",
        "result",
        "version",
        "le",
    ];
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, labels)) = line.split_once('{') else {
            continue;
        };
        let (labels, _) = labels.split_once('}').unwrap();
        for label in labels.split(',') {
            let (name, _) = label.split_once('=').unwrap();
            assert!(allowed.contains(&name), "{line}");
        }
    }
}

#[test]
fn an_idle_agent_has_a_page_too() {
    let mut state = state();
    state.routers.clear();
    let page = render(&state, &distributions(), &Figures::default()).unwrap();
    assert!(page.contains("vipkeeper_election_alive 1\n"));
    assert!(!page.contains("router=\""));
}

/// The rules of `promtool check metrics` that apply, and ours.
#[test]
fn names_and_help_follow_the_conventions_of_prometheus() {
    let page = page();
    for [name, kind, help] in described(&page) {
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        let last = name.trim_end_matches("_total");
        let last = last.rsplit('_').next().unwrap();
        for unit in [
            "milliseconds",
            "microseconds",
            "ms",
            "us",
            "nanoseconds",
            "kb",
            "percent",
        ] {
            assert_ne!(last, unit, "{name}: seconds and bytes are the units");
        }
        for reserved in ["count", "sum", "bucket", "gauge", "counter", "histogram"] {
            assert_ne!(last, reserved, "{name}: Prometheus' own word");
        }
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(fits), "{name}");
        if last == "seconds" {
            let says = help.contains("seconds") || help.contains("Seconds");
            assert!(says, "{name}: {help}: say the unit");
        }
        assert!(kind != "histogram" || last == "seconds", "{name}");
    }
}

#[test]
fn the_document_describes_exactly_the_metrics_that_exist() {
    let page = page();
    let rows = described(&page).into_iter();
    let rows: Vec<String> = rows
        .map(|[name, kind, help]| format!("| `{name}` | {kind} | {help} |"))
        .collect();
    let documented = DOCUMENT
        .lines()
        .filter(|line| line.starts_with("| `vipkeeper_"))
        .filter(|line| !line.starts_with("| `vipkeeper_operator_"));
    let documented: Vec<&str> = documented.collect();
    assert_eq!(
        documented,
        rows,
        "docs/metrics.md has to have these rows:\n{}",
        rows.join("\n")
    );
}
