//! UDP: a datagram that is answered, or at least not refused.
//!
//! Owns the comparison with the answer that is wanted. What the datagrams mean is the user's.

use super::engine::Asked;
use super::outcome::{Answer, Failure};
use super::socket;

/// The longest answer that is looked at: as long as a `reply` can be.
const LONGEST: usize = 1024;

/// What is sent, and what an answer begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    payload: Vec<u8>,
    reply: Option<Vec<Pattern>>,
}

/// A byte: its bits where `mask` has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pattern {
    mask: u8,
    bits: u8,
}

impl Question {
    pub(super) fn of(payload: &str, reply: Option<&str>) -> Result<Self, Failure> {
        let bytes = patterns(payload).filter(|bytes| bytes.iter().all(|byte| byte.mask == 0xff));
        let payload = bytes.ok_or(Failure::Unaskable("the payload is not hexadecimal"))?;
        let reply = reply
            .map(|reply| patterns(reply).ok_or(Failure::Unaskable("the reply is not hexadecimal")))
            .transpose()?;
        Ok(Self {
            payload: payload.iter().map(|byte| byte.bits).collect(),
            reply,
        })
    }

    /// Whether no answer is a good answer.
    pub(super) const fn takes_silence(&self) -> bool {
        self.reply.is_none()
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Answer {
        let socket = socket::datagrams(asked)?;
        socket.send(&self.payload).await?;
        let mut answer = [0; LONGEST];
        let length = socket.recv(&mut answer).await?;
        let answer = answer.get(..length).unwrap_or_default();
        let wanted = self.reply.as_deref().unwrap_or_default();
        if answer.len() >= wanted.len()
            && wanted
                .iter()
                .zip(answer)
                .all(|(pattern, byte)| pattern.fits(*byte))
        {
            Ok(None)
        } else {
            Err(Failure::Reply.into())
        }
    }
}

impl Pattern {
    const fn fits(self, byte: u8) -> bool {
        byte & self.mask == self.bits
    }
}

/// The bytes that `digits` are; `None` if they are odd, or not hexadecimal or `X`.
fn patterns(digits: &str) -> Option<Vec<Pattern>> {
    let digits: Vec<Pattern> = digits.chars().map(digit).collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(Pattern {
            mask: high.mask << 4 | low.mask,
            bits: high.bits << 4 | low.bits,
        }),
        _ => None,
    });
    pairs.collect()
}

fn digit(digit: char) -> Option<Pattern> {
    if digit.eq_ignore_ascii_case(&'x') {
        return Some(Pattern { mask: 0, bits: 0 });
    }
    let bits = u8::try_from(digit.to_digit(16)?).ok()?;
    Some(Pattern { mask: 0xf, bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_bytes_and_x_any_digit() {
        let patterns = patterns("0aXf").unwrap();
        let fits = |bytes: [u8; 2]| patterns.iter().zip(bytes).all(|(p, byte)| p.fits(byte));
        assert!(fits([0x0a, 0x1f]) && fits([0x0a, 0xff]));
        assert!(!fits([0x0b, 0x1f]) && !fits([0x0a, 0x1e]));
    }

    #[test]
    fn what_is_no_bytes_cannot_be_asked() {
        for (payload, reply) in [
            ("0", None),
            ("zz", None),
            ("XX", None),
            ("", Some("0")),
            ("", Some("é0")),
        ] {
            assert!(Question::of(payload, reply).is_err(), "{payload} {reply:?}");
        }
    }
}
