use std::num::NonZeroU8;
use std::time::Duration;

use vipkeeper_wire::ip::ipv4_header;
use vipkeeper_wire::{Family, MacAddr, Vrid};

use super::*;
use crate::config::{Ifindex, Preemption, Priority, Transport, VirtualAddress};
use crate::input::{Fact, InterfaceState};
use crate::output::Report;
use crate::record::Replay;
use crate::time::Time;

const OURS: Password = *b"swordfis";
const THEIRS: Password = *b"trombone";
const INTERFACE: Ifindex = Ifindex(std::num::NonZeroU32::MIN);

/// Version 2, VRID 10, priority 100, one address, type 1, 1 s, and a checksum that fits.
fn message(password: Password) -> Vec<u8> {
    let mut message = vec![0x21, 10, 100, 1, 1, 1, 0, 0, 192, 0, 2, 100];
    message.extend(password);
    let checksum = !sum(&message);
    message[6..8].copy_from_slice(&checksum.to_be_bytes());
    message
}

fn datagram(protocol: u8, message: &[u8]) -> Arc<[u8]> {
    let (source, group) = ([10, 0, 0, 1].into(), [224, 0, 0, 18].into());
    let length = u16::try_from(message.len()).unwrap();
    let header = ipv4_header(source, group, protocol, length, 255, 0xc0, 0);
    [&header, message].concat().into()
}

fn config(password: Password) -> RouterConfig {
    RouterConfig {
        name: "web".into(),
        family: Family::V4,
        vrid: Vrid::new(10).unwrap(),
        interface: Some(INTERFACE),
        protocol: Protocol::V2 {
            seconds: NonZeroU8::MIN,
            password: Some(password),
        },
        priority: Priority::new(90).unwrap(),
        addresses: [VirtualAddress {
            address: [192, 0, 2, 100].into(),
            prefix_length: 32,
            interface: None,
        }]
        .into(),
        address_lifetime: None,
        transport: Transport::Multicast {
            group: [224, 0, 0, 18].into(),
            extra_peers: Vec::new(),
        },
        source: None,
        preemption: Preemption::Always,
        down_advertisements: NonZeroU8::new(3).unwrap(),
        strict: false,
        linger: Duration::from_secs(1),
        drained: false,
        sync: None,
    }
}

fn apply(password: Password) -> Input {
    Input::Command(Command::Apply(Arc::new(Plan {
        routers: vec![config(password)],
        ..Plan::default()
    })))
}

/// What one wake-up at `now` adds to a record.
fn wake(election: &mut Election, lines: &mut Vec<Line>, now: Time, inputs: Vec<Input>) {
    for input in inputs.into_iter().chain([Input::Timeout]) {
        lines.push(Line::In {
            now,
            input: input.clone(),
        });
        election.handle(now, input);
    }
    lines.extend(std::iter::from_fn(|| election.poll_output()).map(Line::Out));
}

fn begin(election: &Election) -> Line {
    Line::Begin {
        version: "test".to_owned(),
        election: Box::new(election.clone()),
    }
}

/// A router with a password, from its first plan on: it hears right and wrong passwords, becomes Active, and is
/// frozen half-way.
fn record() -> Vec<Line> {
    let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
    let mut election = Election::new();
    let mut lines = vec![begin(&election)];
    let state = InterfaceState {
        running: true,
        mac: Some(MacAddr([2, 0, 0, 0, 0, 9])),
        ipv4: Some([10, 0, 0, 9].into()),
        ..InterfaceState::default()
    };
    let fact = Fact::Interface {
        interface: INTERFACE,
        state,
    };
    let hear = |now, protocol, message: &[u8]| Input::Datagram {
        interface: INTERFACE,
        arrival: now,
        source_mac: None,
        bytes: datagram(protocol, message),
    };
    wake(
        &mut election,
        &mut lines,
        at(100),
        vec![apply(OURS), Input::Fact(fact)],
    );
    let mut wrong_sum = message(OURS);
    wrong_sum[6] ^= 1;
    let mut other_version = message(OURS);
    other_version[0] = 0x11;
    let behind = [&[112, 4, 0, 0][..], &[7; 20], &message(OURS)].concat();
    let now = at(101);
    let inputs = vec![
        hear(now, VRRP, &message(OURS)),
        hear(now, VRRP, &message(THEIRS)),
        hear(now, VRRP, &message(OURS)[..18]),
        hear(now, VRRP, &wrong_sum),
        hear(now, VRRP, &other_version),
        hear(now, AUTHENTICATION_HEADER, &behind),
        Input::Datagram {
            interface: INTERFACE,
            arrival: now,
            source_mac: None,
            bytes: datagram(VRRP, &message(OURS))[..36].into(),
        },
    ];
    wake(&mut election, &mut lines, now, inputs);
    lines.push(Line::Gap { lost: 3 });
    lines.push(begin(&election));
    // Three seconds and the skew of 166/256 after what was heard.
    wake(&mut election, &mut lines, at(105), Vec::new());
    wake(&mut election, &mut lines, at(106), vec![apply(THEIRS)]);
    let now = at(107);
    let inputs = vec![
        hear(now, VRRP, &message(OURS)),
        hear(now, VRRP, &message(THEIRS)),
    ];
    wake(&mut election, &mut lines, now, inputs);
    lines.push(Line::End {});
    lines
}

fn replay(lines: Vec<Line>) -> Replay {
    let mut replay = Replay::new();
    for line in lines {
        replay.take(line).unwrap();
    }
    replay
}

#[test]
fn a_record_without_passwords_replays_to_the_same_outputs() {
    let lines = record();
    let promoted = |line: &&Line| matches!(line, Line::Out(Output::Send(_)));
    assert!(lines.iter().filter(promoted).count() >= 2);
    let refused = |line: &&Line| matches!(line, Line::Out(Output::Report(Report::Refused { .. })));
    assert!(lines.iter().filter(refused).count() >= 4);
    let mut redaction = Redaction::new();
    let redacted: Vec<String> = lines
        .iter()
        .map(|line| serde_json::to_string(&redaction.redact(line.clone())).unwrap())
        .collect();
    let inputs = lines.iter().filter(|l| matches!(l, Line::In { .. }));
    let inputs = inputs.count() as u64;
    let read = redacted
        .iter()
        .map(|text| serde_json::from_str(text).unwrap());
    let replayed = replay(read.collect());
    assert_eq!((replayed.inputs(), replayed.gaps()), (inputs, 1));
    assert_eq!(replay(lines).outputs(), replayed.outputs());
}

#[test]
fn no_password_is_in_a_record_in_any_form() {
    let lines = record();
    let text = |lines: &[Line]| {
        let lines = lines
            .iter()
            .map(|line| serde_json::to_string(line).unwrap());
        lines.collect::<String>()
    };
    let forms = |password: Password| {
        let hexadecimal: String = password[..4].iter().map(|b| format!("{b:02x}")).collect();
        let list = password.map(|b| b.to_string()).join(",");
        [hexadecimal, list]
    };
    let mut redaction = Redaction::new();
    let redacted: Vec<Line> = lines.iter().map(|l| redaction.redact(l.clone())).collect();
    for password in [OURS, THEIRS] {
        for form in forms(password) {
            assert!(text(&lines).contains(&form), "the test looks for {form}");
            assert!(!text(&redacted).contains(&form), "{form}");
        }
    }
}

#[test]
fn a_checksum_stays_as_right_or_wrong_as_it_was() {
    let mut redaction = Redaction::new();
    redaction.config(&mut config(OURS));
    for password in [OURS, THEIRS, [0xff; 8]] {
        let mut right = message(password);
        redaction.message(&mut right);
        assert_eq!(sum(&right), 0xffff);
        assert_ne!(right, message(password));
        let mut wrong = message(password);
        wrong[6] ^= 0x40;
        redaction.message(&mut wrong);
        assert_ne!(sum(&wrong), 0xffff);
    }
}

#[test]
fn a_replay_that_does_something_else_is_told_apart() {
    let mut lines = record();
    let place = lines.iter().rposition(|l| matches!(l, Line::Out(_)));
    let mut missing = lines.clone();
    missing.remove(place.unwrap());
    let mut replay = Replay::new();
    let outcome = missing.into_iter().try_for_each(|line| replay.take(line));
    assert!(matches!(
        outcome,
        Err(crate::record::Divergence::Surplus(_))
    ));
    lines.remove(1);
    let mut replay = Replay::new();
    let outcome = lines.into_iter().try_for_each(|line| replay.take(line));
    assert!(matches!(
        outcome,
        Err(crate::record::Divergence::Output { .. })
    ));
    let headless = Replay::new().take(Line::In {
        now: Time::ZERO,
        input: Input::Timeout,
    });
    assert_eq!(headless, Err(crate::record::Divergence::Headless));
}
