//! SMTP (RFC 5321): the greeting, and an answer to HELO.
//!
//! Owns the reading of replies. Never hands over mail, and looks at nothing of a reply but its code.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::engine::Asked;
use super::outcome::{Answer, Failure, Stage, Stop};
use super::socket;

/// The most bytes of one reply that are read: 32 lines of the longest (§4.5.3.1.5).
const LONGEST: usize = 32 * 512;
/// Service ready (§4.2.2).
const READY: u16 = 220;
/// Requested mail action okay, completed (§4.2.2).
const COMPLETED: u16 = 250;

/// The name to greet with.
#[derive(Debug)]
pub(super) struct Question {
    hello: String,
}

impl Question {
    pub(super) fn of(helo: &str) -> Result<Self, Failure> {
        if helo.is_empty() || helo.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(Failure::Unaskable("the name to greet with is none"));
        }
        Ok(Self {
            hello: format!("HELO {helo}\r\n"),
        })
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Answer {
        let mut stream = socket::connect(asked).await?;
        asked.progress.reach(Stage::Waiting);
        match reply(&mut stream).await? {
            READY => {}
            code => return Err(Failure::Greeting(code).into()),
        }
        stream.write_all(self.hello.as_bytes()).await?;
        match reply(&mut stream).await? {
            COMPLETED => {}
            code => return Err(Failure::Helo(code).into()),
        }
        // Politeness: whether it is heard changes nothing.
        let _goodbye = stream.write_all(b"QUIT\r\n").await;
        Ok(None)
    }
}

/// The code of a reply, which is one line or several (§4.2.1).
async fn reply(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16, Stop> {
    let mut code = None;
    let mut line = Vec::new();
    // A byte at a time: nothing of the next reply may be taken, and what is read here is short.
    for _ in 0..LONGEST {
        let byte = stream.read_u8().await?;
        if byte != b'\n' {
            line.push(byte);
            continue;
        }
        let (this, last) = parse(&line).ok_or(Failure::Malformed)?;
        if *code.get_or_insert(this) != this {
            return Err(Failure::Malformed.into());
        }
        if last {
            return Ok(this);
        }
        line.clear();
    }
    Err(Failure::TooLong.into())
}

/// The code of a line, and whether it is the last of its reply.
fn parse(line: &[u8]) -> Option<(u16, bool)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let digits = line.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match line.get(3) {
        None | Some(b' ') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut text: &[u8]) -> Result<u16, Stop> {
        reply(&mut text).await
    }

    #[tokio::test]
    async fn a_reply_is_one_line_or_several_of_one_code() {
        assert_eq!(read(b"220 mx.example ESMTP\r\n").await, Ok(220));
        assert_eq!(read(b"250\r\n").await, Ok(250));
        assert_eq!(read(b"250-a\r\n250-b\r\n250 c\r\nrest").await, Ok(250));
        for malformed in [
            &b"220-a\r\n250 b\r\n"[..],
            b"hello\r\n",
            b"22\r\n",
            b"220x\r\n",
        ] {
            assert_eq!(read(malformed).await, Err(Failure::Malformed.into()));
        }
        assert_eq!(
            read(b"220 without an end").await,
            Err(Failure::Closed.into())
        );
        assert_eq!(
            read(&vec![b'2'; LONGEST + 1]).await,
            Err(Failure::TooLong.into())
        );
    }

    #[test]
    fn a_name_cannot_bring_a_command_of_its_own() {
        assert!(Question::of("a\r\nMAIL FROM:<>").is_err());
        assert!(Question::of("a b").is_err());
        assert!(Question::of("").is_err());
        assert_eq!(Question::of("node-a").unwrap().hello, "HELO node-a\r\n");
    }
}
