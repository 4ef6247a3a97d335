//! A process that asks a running agent for a takeover and then does with it as a test likes: it speaks the protocol
//! and stops anywhere.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::Node;

/// What today's agents speak.
pub const PROTOCOL: &str = "vipkeeper-takeover/2.3";

/// One that was let in.
#[derive(Debug)]
pub struct Successor(UnixStream);

impl Successor {
    /// Asks the agent of `node` by its socket: the status and what it says it speaks, and the connection.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(node: &Node, protocol: &str) -> Result<(u16, String, Self)> {
        let mut stream = UnixStream::connect(node.directory().join("run/agent.sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "POST /takeover HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
             Connection: upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).context("no answer")?;
            head.extend(byte);
        }
        let head = String::from_utf8(head)?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let speaks = head.lines().find_map(|line| line.strip_prefix("upgrade: "));
        let status = status.with_context(|| format!("no status in {head:?}"))?;
        Ok((status, speaks.unwrap_or_default().to_owned(), Self(stream)))
    }

    /// Says a word, as JSON.
    ///
    /// # Errors
    /// When the agent hung up.
    pub fn say(&mut self, word: &str) -> Result<()> {
        let length = u32::try_from(word.len())?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(word.as_bytes())?;
        Ok(())
    }

    /// Hears the estate; the descriptors behind it are dropped.
    ///
    /// # Errors
    /// When it is none.
    pub fn estate(&mut self) -> Result<serde_json::Value> {
        let estate = self.word()?;
        let links = estate["links"].as_array().context("no links")?.len();
        ensure!(links > 0, "an estate without links");
        Ok(estate)
    }

    /// Hears that it is to go. Bytes that came with descriptors are skipped.
    ///
    /// # Errors
    /// When it hears something else.
    pub fn go(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\"Go\"") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).context("no Go")?;
            bytes.extend(byte);
            if bytes.len() > 64 {
                bail!("something else than Go: {bytes:?}");
            }
        }
        Ok(())
    }

    fn word(&mut self) -> Result<serde_json::Value> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        self.0.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body)?)
    }
}
