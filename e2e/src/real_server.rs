//! A real server of a lab: a process in a node's namespace that answers over TCP, HTTP, SCTP and UDP with its name.
//!
//! Owns its process. Never touches addresses or routes: [`DirectorLan`](crate::DirectorLan) does.

mod answers;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::lab::Node;
use crate::process::Process;
use crate::program;
use crate::wait::{self, Seen};

pub use answers::{has_sctp, serve};

/// Time for a start or one answer.
const SOON: Duration = Duration::from_secs(10);

/// A running real server. Dropping it kills it.
#[derive(Debug)]
pub struct RealServer {
    process: Process,
    node: Node,
    listens: Vec<SocketAddr>,
}

impl RealServer {
    /// Starts one in `node` that answers with the node's name, at `port` of each of `addresses`, which the node must
    /// have, and waits until it does.
    ///
    /// # Errors
    /// When it is not built, or does not answer in ten seconds.
    pub fn start(node: &Node, addresses: &[IpAddr], port: u16) -> Result<Self> {
        let listens = addresses.iter().map(|&address| (address, port).into());
        Self::launch(node, listens.collect())
    }

    fn launch(node: &Node, listens: Vec<SocketAddr>) -> Result<Self> {
        let mut command = Command::new(program::built(
            "VIPKEEPER_REAL_SERVER",
            "vipkeeper-real-server",
        )?);
        command.args(["--name", node.name()]);
        command.args(listens.iter().map(SocketAddr::to_string));
        let name = format!("real-server-{}", node.name());
        let server = Self {
            process: Process::start(&name, command, node.namespace(), node.directory())?,
            node: node.clone(),
            listens,
        };
        wait::until(&format!("{name} answers"), SOON, || {
            Ok(match server.get("/") {
                Ok((status, _)) => Seen::when(status, |status| *status == 200).map(|_| ()),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        })?;
        Ok(server)
    }

    /// Starts it again after [`die`](Self::die), as it was.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn again(&self) -> Result<Self> {
        Self::launch(&self.node, self.listens.clone())
    }

    /// Its node, whose name it answers with.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its death: connections to it are reset, new ones refused.
    ///
    /// # Errors
    /// When it survives.
    pub fn die(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// It hangs: the kernel still takes connections, and nobody answers.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn hang(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    /// It goes on after [`hang`](Self::hang).
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn go_on(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    /// Makes it answer `GET /health` with `status` from now on; 200 at the start.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn set_health(&self, status: u16) -> Result<()> {
        let (answer, _) = self.get(&format!("/set-health/{status}"))?;
        ensure!(answer == 200, "health {status}: answer {answer}");
        Ok(())
    }

    /// Asks it directly, from its own node: status and body.
    fn get(&self, path: &str) -> Result<(u16, String)> {
        let first = self.listens.first().context("it listens nowhere")?;
        let answer = self.node.namespace().run(|| {
            let mut stream = TcpStream::connect(first)?;
            stream.set_read_timeout(Some(SOON))?;
            write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("no HTTP status in {head:?}"))?;
        Ok((status, body.to_owned()))
    }
}
