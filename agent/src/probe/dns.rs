//! DNS over UDP (RFC 1035): a question, and the response code of its answer.
//!
//! Owns its few bytes of codec. Never looks at the records of an answer.

use vipkeeper_crds::server::DnsType;

use super::engine::Asked;
use super::outcome::{Answer, Failure};
use super::socket;

/// The longest message over UDP (§4.2.1).
const LONGEST: usize = 512;
/// The header (§4.1.1).
const HEADER: usize = 12;
/// The bits of the second flags' byte that are the response code.
const CODE: u8 = 0x0f;
/// QR: the message is a response.
const RESPONSE: u8 = 0x80;
/// OPCODE, which is 0 for a query.
const OPCODE: u8 = 0x78;
/// RD: recursion desired.
const RECURSION: u8 = 0x01;
/// The class of the Internet (§3.2.4).
const INTERNET: u16 = 1;

/// What is asked, and the response code that is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Name, type and class, as they are sent and come back.
    question: Vec<u8>,
    code: u8,
}

impl Question {
    pub(super) fn of(record: DnsType, name: &str, code: u8) -> Result<Self, Failure> {
        let mut question = labels(name).ok_or(Failure::Unaskable("the name is none of DNS"))?;
        question.extend(number(record).to_be_bytes());
        question.extend(INTERNET.to_be_bytes());
        Ok(Self { question, code })
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Answer {
        let socket = socket::datagrams(asked)?;
        let id = (asked.nonce & 0xffff) as u16;
        socket.send(&self.query(id)).await?;
        let mut message = [0; LONGEST];
        loop {
            let length = socket.recv(&mut message).await?;
            let message = message.get(..length).unwrap_or_default();
            match self.judge(id, message) {
                // Not to us: it must not spoil the answer that is still under way.
                None => {}
                Some(Ok(())) => return Ok(None),
                Some(Err(failure)) => return Err(failure.into()),
            }
        }
    }

    /// The message that asks, numbered `id`.
    fn query(&self, id: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + self.question.len());
        message.extend(id.to_be_bytes());
        message.extend([RECURSION, 0]);
        // One question; no answer, authority or additional record.
        message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        message.extend(&self.question);
        message
    }

    /// What `message` says; nothing if it is not the answer to query `id`.
    fn judge(&self, id: u16, message: &[u8]) -> Option<Result<(), Failure>> {
        if message.get(..2)? != id.to_be_bytes() {
            return None;
        }
        let (&[_, _, flags, more, ..], true) = (message, message.len() >= HEADER) else {
            return Some(Err(Failure::Malformed));
        };
        if flags & RESPONSE == 0 || flags & OPCODE != 0 {
            return Some(Err(Failure::Malformed));
        }
        // A server that could not read the question may leave it out (§4.1.1, QDCOUNT).
        let repeated = message.get(HEADER..HEADER + self.question.len());
        let questions = message.get(4..6);
        if questions == Some(&[0, 1])
            && !repeated.is_some_and(|q| q.eq_ignore_ascii_case(&self.question))
        {
            return Some(Err(Failure::Malformed));
        }
        let code = more & CODE;
        Some(if code == self.code {
            Ok(())
        } else {
            Err(Failure::Code(code))
        })
    }
}

/// `name` as labels with their lengths (§3.1); `None` if it has an empty or too long one, or is too long.
fn labels(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    let name = name.strip_suffix('.').unwrap_or(name);
    if !name.is_empty() {
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok()?;
            if !(1..=63).contains(&length) {
                return None;
            }
            bytes.push(length);
            bytes.extend(label.as_bytes());
        }
    }
    bytes.push(0);
    (bytes.len() <= 255).then_some(bytes)
}

/// The number of a type of record (§3.2.2, RFC 3596).
const fn number(record: DnsType) -> u16 {
    match record {
        DnsType::A => 1,
        DnsType::Ns => 2,
        DnsType::Cname => 5,
        DnsType::Soa => 6,
        DnsType::Mx => 15,
        DnsType::Txt => 16,
        DnsType::Aaaa => 28,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question() -> Question {
        Question::of(DnsType::Aaaa, "www.example.", 0).unwrap()
    }

    /// The query as RFC 1035 §4.1 lays it out.
    const QUERY: [u8; 29] = [
        0x12, 0x34, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 3, b'w', b'w',
        b'w', 7, b'e', b'x', b'a', b'm', b'p', b'l', b'e', 0, 0x00, 0x1c, 0x00, 0x01,
    ];

    #[test]
    fn a_query_is_as_rfc_1035_4_1_lays_it_out() {
        assert_eq!(question().query(0x1234), QUERY);
        let root = Question::of(DnsType::Soa, ".", 0).unwrap();
        assert_eq!(root.query(1)[HEADER..], [0, 0, 6, 0, 1]);
    }

    fn answered(edit: impl FnOnce(&mut [u8])) -> Option<Result<(), Failure>> {
        let mut message = QUERY;
        message[2] = 0x81;
        message[3] = 0x80;
        edit(&mut message);
        question().judge(0x1234, &message)
    }

    #[test]
    fn an_answer_is_judged_by_its_id_its_flags_its_question_and_its_code() {
        assert_eq!(answered(|_| ()), Some(Ok(())));
        assert_eq!(answered(|m| m[13] = b'W'), Some(Ok(())));
        assert_eq!(answered(|m| m[1] = 0x35), None);
        assert_eq!(answered(|m| m[2] = 0x01), Some(Err(Failure::Malformed)));
        assert_eq!(answered(|m| m[2] = 0xa8), Some(Err(Failure::Malformed)));
        assert_eq!(answered(|m| m[13] = b'x'), Some(Err(Failure::Malformed)));
        assert_eq!(answered(|m| m[3] = 0x83), Some(Err(Failure::Code(3))));
        assert_eq!(
            question().judge(0x1234, &QUERY[..11]),
            Some(Err(Failure::Malformed))
        );
        assert_eq!(question().judge(0x1234, &[0x12]), None);
    }

    #[test]
    fn a_name_that_dns_cannot_say_cannot_be_asked() {
        let long = "x".repeat(64);
        let many = vec!["xxxxxxx"; 40].join(".");
        for name in ["a..b", ".a", &long, &many] {
            assert!(Question::of(DnsType::A, name, 0).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_message_breaks_the_judge(message in prop::collection::vec(any::<u8>(), 0..600)) {
            let id = u16::from_be_bytes([
                message.first().copied().unwrap_or(0),
                message.get(1).copied().unwrap_or(0),
            ]);
            let _verdict = question().judge(id, &message);
        }
    }
}
