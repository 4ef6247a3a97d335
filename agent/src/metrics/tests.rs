use super::*;
use crate::state::tests::state;

/// The page of the state of `crate::state::tests`: each line of it was read and found right.
const GOLDEN: &str = include_str!("tests/golden.txt");

#[test]
fn a_state_renders_to_the_golden_page() {
    assert_eq!(render(&state()).unwrap(), GOLDEN);
}

#[test]
fn every_metric_has_our_prefix_and_a_help_line() {
    let page = render(&state()).unwrap();
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
    let page = render(&state()).unwrap();
    let allowed = [
        "router",
        "family",
        "interface",
        "reason",
        "state",
        "activity",
        "version",
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
    let page = render(&state).unwrap();
    assert!(page.contains("vipkeeper_election_alive 1\n"));
    assert!(!page.contains("router=\""));
}
