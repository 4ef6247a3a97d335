//! Inputs that were written down and told again.

use std::sync::Arc;

use vipkeeper_vrrp::{Command, Election, Fact, Input, Output, Plan, Time};
use vipkeeper_wire::ip::ipv4_header;

use crate::bench::{Bench, IFINDEX, SECOND, millis, router, running};
use crate::forge::from;

/// What the election does when it is told `inputs`, one wake-up each.
fn run(inputs: impl Iterator<Item = (Time, Input)>) -> Vec<Output> {
    let mut election = Election::new();
    let mut outputs = Vec::new();
    for (now, input) in inputs {
        election.handle(now, input);
        election.handle(now, Input::Timeout);
        outputs.extend(std::iter::from_fn(|| election.poll_output()));
    }
    outputs
}

fn datagram(frame: &crate::forge::Frame, arrival: Time) -> Input {
    frame.with(arrival, |received| {
        let (source, destination) = match (received.source, received.destination) {
            (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) => {
                (source, destination)
            }
            _ => panic!("not IPv4"),
        };
        let length = u16::try_from(received.payload.len()).unwrap();
        let header = ipv4_header(source, destination, 112, length, 255, 0xc0, 0);
        Input::Datagram {
            interface: received.interface,
            arrival,
            source_mac: received.source_mac,
            bytes: [&header, received.payload].concat().into(),
        }
    })
}

#[test]
fn inputs_that_were_written_down_have_the_same_outputs_when_they_are_told_again() {
    let mut bench = Bench::empty();
    let began = bench.now;
    let plan = Arc::new(Plan {
        routers: vec![router(100)],
        ..Plan::default()
    });
    let fact = Fact::Interface {
        interface: IFINDEX,
        state: running(),
    };
    let inputs = [
        (began, Input::Command(Command::Apply(plan))),
        (began, Input::Fact(fact)),
        (began + SECOND, datagram(&from(1, 200), began + SECOND)),
        // Three intervals and the skew of 156/256.
        (began + 5 * SECOND, Input::Timeout),
        (
            began + 5 * SECOND + millis(3),
            datagram(&from(1, 200), began + 5 * SECOND),
        ),
        (began + 6 * SECOND, Input::Command(Command::Shutdown)),
    ];
    let written: Vec<String> = inputs
        .iter()
        .map(|input| serde_json::to_string(input).unwrap())
        .collect();
    let read = written
        .iter()
        .map(|line| serde_json::from_str(line).unwrap());
    let outputs = run(inputs.iter().cloned());
    assert!(outputs.iter().any(|o| matches!(o, Output::Send(_))));
    assert_eq!(run(read), outputs);

    // One and the same as the calls that a driver makes.
    let mut directly = Vec::new();
    for (now, input) in inputs {
        bench.now = now;
        let election = &mut bench.election;
        match input {
            Input::Datagram {
                interface,
                arrival,
                source_mac,
                bytes,
            } => election.handle_datagram(now, interface, arrival, source_mac, &bytes),
            Input::Fact(fact) => election.handle_fact(now, fact),
            Input::Command(command) => election.handle_command(now, command),
            Input::Timeout => {}
        }
        election.handle_timeout(now);
        directly.extend(std::iter::from_fn(|| election.poll_output()));
    }
    assert_eq!(directly, outputs);
}
