use vipkeeper_vrrp::{Command, Plan, Replay};

use super::*;

fn recording(ports: &Ports, capacity: usize) -> Arc<Recording> {
    let recording = Arc::new(Recording::new(capacity, Wake::new().unwrap()));
    ports.recordings.replace(Arc::clone(&recording));
    recording
}

/// One turn: a plan with nothing in it, and the timeout.
fn turn(recorder: &mut Recorder, ports: &Ports, election: &mut Election, second: u64) {
    recorder.begin_turn(ports, election);
    let now = Time::from_nanos(second * 1_000_000_000);
    let plan = Command::Apply(Arc::new(Plan::default()));
    for input in [Input::Command(plan), Input::Timeout] {
        recorder.input(now, &input);
        election.handle(now, input);
    }
    while let Some(output) = election.poll_output() {
        recorder.output(&output);
    }
    recorder.end_turn();
}

fn drain(recording: &Recording) -> Vec<Line> {
    std::iter::from_fn(|| recording.pop()).collect()
}

#[test]
fn a_recording_begins_with_the_election_and_ends_between_turns() {
    let (ports, mut election) = (Ports::new().unwrap(), Election::new());
    let mut recorder = Recorder::new();
    turn(&mut recorder, &ports, &mut election, 1);
    assert!(!recorder.is_on());
    let recording = recording(&ports, 16);
    turn(&mut recorder, &ports, &mut election, 2);
    recording.end();
    turn(&mut recorder, &ports, &mut election, 3);
    assert!(!recorder.is_on());
    assert_eq!(Arc::strong_count(&recording), 1);
    let lines = drain(&recording);
    assert!(matches!(
        lines.as_slice(),
        [
            Line::Begin { .. },
            Line::In { .. },
            Line::In { .. },
            Line::End {}
        ]
    ));
}

#[test]
fn what_does_not_fit_is_counted_and_the_election_told_anew() {
    let (ports, mut election) = (Ports::new().unwrap(), Election::new());
    let mut recorder = Recorder::new();
    let recording = recording(&ports, 4);
    for second in 1..=3 {
        turn(&mut recorder, &ports, &mut election, second);
    }
    let mut lines = drain(&recording);
    turn(&mut recorder, &ports, &mut election, 4);
    lines.extend(drain(&recording));
    // Beginning, three inputs; the fourth and both of the third turn are lost.
    let gap = lines
        .iter()
        .position(|l| matches!(l, Line::Gap { lost: 3 }));
    assert_eq!(gap, Some(4), "{lines:?}");
    assert!(matches!(lines.get(5), Some(Line::Begin { .. })));
    assert_eq!(lines.len(), 8);
    let mut replay = Replay::new();
    for line in lines {
        replay.take(line).unwrap();
    }
    assert_eq!((replay.inputs(), replay.gaps()), (5, 1));
}

#[test]
fn an_end_that_does_not_fit_comes_later() {
    let (ports, mut election) = (Ports::new().unwrap(), Election::new());
    let mut recorder = Recorder::new();
    let recording = recording(&ports, 3);
    turn(&mut recorder, &ports, &mut election, 1);
    recording.end();
    turn(&mut recorder, &ports, &mut election, 2);
    assert!(recorder.is_on());
    drain(&recording);
    turn(&mut recorder, &ports, &mut election, 3);
    assert!(matches!(drain(&recording).as_slice(), [Line::End {}]));
}
