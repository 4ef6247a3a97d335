//! Records without secrets: each password becomes a word of its own, in plans, in states and in frames, so that a
//! record replays to the same decisions without telling anybody a password.
//!
//! The election compares passwords with each other and does nothing else with them: what is equal stays equal,
//! and what differs from a router's password still does. Of frames that no router could accept, only what
//! decides their refusal is kept; a checksum that was right or wrong stays so.

use std::sync::Arc;

use vipkeeper_wire::ip::Datagram;

use crate::config::{Plan, Protocol, RouterConfig};
use crate::election::Election;
use crate::input::{Command, Input};
use crate::output::Output;
use crate::receive::AUTHENTICATION_HEADER;
use crate::record::Line;

/// A simple text password of version 2.
type Password = [u8; 8];

/// What a password that no router has becomes.
const UNKNOWN: Password = *b"unknown\0";
/// VRRP's IP protocol number.
const VRRP: u8 = vipkeeper_wire::vrrp::PROTOCOL;
/// Bytes before the address list, in both versions.
const HEADER: usize = 8;
/// Where the checksum is.
const CHECKSUM: usize = 6;

/// The words in the place of passwords, of one record. Its lines must come in order.
#[derive(Debug, Default)]
pub struct Redaction {
    /// The passwords of routers so far.
    known: Vec<Password>,
}

impl Redaction {
    /// One that has not seen a password.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `line` without passwords.
    #[must_use]
    pub fn redact(&mut self, line: Line) -> Line {
        match line {
            Line::Begin {
                version,
                mut election,
            } => {
                self.election(&mut election);
                Line::Begin { version, election }
            }
            Line::In { now, input } => {
                let input = self.input(input);
                Line::In { now, input }
            }
            Line::Out(output) => Line::Out(self.output(output)),
            same @ (Line::Gap { lost: _ } | Line::End {}) => same,
        }
    }

    fn election(&mut self, election: &mut Election) {
        election.for_each_config(|config| self.config(config));
    }

    fn input(&mut self, input: Input) -> Input {
        match input {
            Input::Datagram {
                interface,
                arrival,
                source_mac,
                bytes,
            } => Input::Datagram {
                interface,
                arrival,
                source_mac,
                bytes: self.datagram(&bytes),
            },
            Input::Command(Command::Apply(plan)) => {
                Input::Command(Command::Apply(Arc::new(self.plan(&plan))))
            }
            same @ (Input::Command(Command::Shutdown) | Input::Fact(_) | Input::Timeout) => same,
        }
    }

    /// Of what the election wants done, advertisements alone may carry a password.
    fn output(&self, mut output: Output) -> Output {
        if let Output::Send(transmit) = &mut output {
            let mut payload = transmit.payload.to_vec();
            self.message(&mut payload);
            transmit.payload = payload.into();
        }
        output
    }

    fn plan(&mut self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        for config in &mut plan.routers {
            self.config(config);
        }
        plan
    }

    fn config(&mut self, config: &mut RouterConfig) {
        match &mut config.protocol {
            Protocol::V2 {
                seconds: _,
                password: Some(password),
            } => {
                if !self.known.contains(password) {
                    self.known.push(*password);
                }
                *password = self.word(password);
            }
            Protocol::V2 {
                seconds: _,
                password: None,
            }
            | Protocol::V3 { .. } => {}
        }
    }

    /// What is written in the place of `password`.
    fn word(&self, password: &Password) -> Password {
        match self.known.iter().position(|known| known == password) {
            Some(place) => {
                let mut word = *b"key-0000";
                // Never so many that digits are missing: each is a router's.
                for (digit, byte) in word.iter_mut().rev().take(4).enumerate() {
                    let value = (place >> (4 * digit)) & 0xf;
                    *byte = b"0123456789abcdef".get(value).copied().unwrap_or(b'0');
                }
                word
            }
            None => UNKNOWN,
        }
    }

    fn datagram(&self, bytes: &Arc<[u8]>) -> Arc<[u8]> {
        let Ok(datagram) = Datagram::parse(bytes) else {
            // Not to be read, whole or cut: a version and no header.
            return bytes.iter().take(HEADER).copied().collect();
        };
        let mut message = datagram.payload.to_vec();
        match datagram.protocol {
            VRRP => self.message(&mut message),
            AUTHENTICATION_HEADER => {
                let words = message.get(1).copied().unwrap_or(0);
                let header = (usize::from(words) + 2) * 4;
                blank(&mut message, header + HEADER);
            }
            _ => blank(&mut message, 0),
        }
        [datagram.header, &message].concat().into()
    }

    /// What is behind the addresses of a version 2 message is a password, if it is one.
    fn message(&self, message: &mut [u8]) {
        let (version, count) = match *message {
            [first, _, _, count, ..] => (first >> 4, usize::from(count)),
            _ => return,
        };
        if version == 3 {
            return;
        }
        let old = sum(message);
        let place = HEADER + 4 * count;
        let whole = message.len() == place + size_of::<Password>();
        match message.last_chunk_mut::<8>() {
            Some(password) if version == 2 && whole && *password != [0; 8] => {
                *password = self.word(password);
            }
            Some(_) if version == 2 && whole => {}
            Some(_) | None => blank(message, HEADER),
        }
        amend(message, old);
    }
}

/// Makes everything from `place` on zero.
fn blank(bytes: &mut [u8], place: usize) {
    bytes.iter_mut().skip(place).for_each(|byte| *byte = 0);
}

/// Changes the checksum so that it is as right or wrong as it was when the message summed up to `old`
/// (RFC 1624).
fn amend(message: &mut [u8], old: u16) {
    let new = sum(message);
    let field = message
        .get_mut(CHECKSUM..)
        .and_then(<[u8]>::first_chunk_mut);
    let Some(field) = field else { return };
    // The checksum loses what the rest has won.
    let checksum = match add(add(!new, old), u16::from_be_bytes(*field)) {
        // Both are zero in one's complement, and senders write the other.
        0xffff => 0,
        checksum => checksum,
    };
    *field = checksum.to_be_bytes();
}

/// The one's complement sum of `bytes`.
fn sum(bytes: &[u8]) -> u16 {
    vipkeeper_wire::checksum::Sum::new().bytes(bytes).fold()
}

fn add(left: u16, right: u16) -> u16 {
    let (sum, carry) = left.overflowing_add(right);
    sum + u16::from(carry)
}

#[cfg(test)]
mod tests;
