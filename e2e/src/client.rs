//! A client of a service: connections and datagrams from a node, counted by the real server that answers.
//!
//! Owns the sockets. Every connection that is asked is asked for a name, as [`RealServer`](crate::RealServer) gives it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::Node;

/// What an answer may take: more than three times the first retransmission of a SYN.
const PATIENCE: Duration = Duration::from_secs(4);
/// So many failures in a row, and no more is tried: the rest would fail in the same way, after the same wait.
const ENOUGH: usize = 5;
/// Where the ports of associations begin.
const SCTP_PORTS: u16 = 20_000;
/// Between two questions of a load on one connection.
const PAUSE: Duration = Duration::from_millis(5);

/// Where connections come from.
#[derive(Clone, Debug)]
pub struct Client {
    node: Node,
    source: Option<IpAddr>,
    patience: Duration,
}

/// How often each real server answered, and how often nobody did, by what was seen instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By the name that was answered.
    pub answers: BTreeMap<String, usize>,
    /// By error.
    pub failures: BTreeMap<String, usize>,
}

/// An open connection that is answered by lines.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Who answered first.
    server: String,
}

/// Where datagrams come from: to a director all that come from one port are one connection.
#[derive(Debug)]
pub struct Port(UdpSocket);

/// Open connections that are asked all the time, in a thread of their own.
#[derive(Debug)]
pub struct Load {
    ended: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Course>>,
}

/// How a load went.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// Answers that came.
    pub answers: usize,
    /// The connections that broke, each with its server and how.
    pub broken: Vec<String>,
    /// The longest time that a question waited for its answer.
    pub longest: Duration,
}

impl Client {
    /// A client at `node`.
    #[must_use]
    pub fn at(node: &Node) -> Self {
        Self {
            node: node.clone(),
            source: None,
            patience: PATIENCE,
        }
    }

    /// The same from an address that the node has: what persistence and source hashing tell apart.
    #[must_use]
    pub fn from(&self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self.clone()
        }
    }

    /// The same, but a connection or answer may take so long; four seconds else.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// Opens `count` connections to `target`, one after the other, each closed after its answer, or until five in a row
    /// have failed.
    ///
    /// # Errors
    /// Only when no socket can be made; what happens to connections is in the tally.
    pub fn tcp(&self, target: SocketAddr, count: usize) -> Result<Tally> {
        self.node.namespace().run(|| {
            Ok(Tally::of_all(count, |_number| {
                self.connect(target).map(|connection| connection.server)
            }))
        })
    }

    /// Opens `count` associations of SCTP from `source`, as [`tcp`](Self::tcp) does connections, each from a port of its
    /// own. Without a source a socket tells its peer every address that this node has; and the connection tracking of a
    /// director refuses a port whose last association it has not forgotten.
    ///
    /// # Errors
    /// As [`tcp`](Self::tcp).
    pub fn sctp(&self, source: IpAddr, target: SocketAddr, count: usize) -> Result<Tally> {
        self.node.namespace().run(|| {
            let mut ports = SCTP_PORTS..;
            Ok(Tally::of_all(count, |_number| {
                let source = ports.next().map(|port| SocketAddr::new(source, port));
                let stream = self.stream(source, target, Protocol::SCTP)?;
                Ok(Connection::over(stream)?.server)
            }))
        })
    }

    /// Sends `count` datagrams to `target`, each from a port of its own, and waits for each answer, or until five in a
    /// row have not come.
    ///
    /// # Errors
    /// Only when no socket can be made; what happens to datagrams is in the tally.
    pub fn udp(&self, target: SocketAddr, count: usize) -> Result<Tally> {
        self.node.namespace().run(|| {
            Ok(Tally::of_all(count, |number| {
                Port(self.datagram_socket(target)?).ask_once(number)
            }))
        })
    }

    /// A port of its own for datagrams to `target`.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn port(&self, target: SocketAddr) -> Result<Port> {
        let socket = self
            .node
            .namespace()
            .run(|| Ok(self.datagram_socket(target)?))?;
        Ok(Port(socket))
    }

    /// Opens `count` connections to `target` and keeps them open.
    ///
    /// # Errors
    /// When one of them cannot be opened or is not answered.
    pub fn open(&self, target: SocketAddr, count: usize) -> Result<Vec<Connection>> {
        self.node.namespace().run(|| {
            (0..count)
                .map(|number| {
                    let connection = self.connect(target);
                    connection.with_context(|| format!("connection {number} to {target}"))
                })
                .collect()
        })
    }

    /// Reads the body of `GET path` from `target` to its end, and says how many bytes it was.
    ///
    /// # Errors
    /// When the connection breaks before, or the status is not 200.
    pub fn get(&self, target: SocketAddr, path: &str) -> Result<usize> {
        self.node.namespace().run(|| {
            let mut stream = self.stream(self.own(), target, Protocol::TCP)?;
            stream.set_nodelay(true)?;
            write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            let text = String::from_utf8_lossy(&answer);
            let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
            if !head.starts_with("HTTP/1.1 200 ") {
                bail!("{head}");
            }
            Ok(body.len())
        })
    }

    fn connect(&self, target: SocketAddr) -> io::Result<Connection> {
        let stream = self.stream(self.own(), target, Protocol::TCP)?;
        stream.set_nodelay(true)?;
        Connection::over(stream)
    }

    fn stream(
        &self,
        source: Option<SocketAddr>,
        target: SocketAddr,
        protocol: Protocol,
    ) -> io::Result<TcpStream> {
        let socket = self.socket(source, target, Type::STREAM, protocol)?;
        socket.connect_timeout(&target.into(), self.patience)?;
        Ok(socket.into())
    }

    fn datagram_socket(&self, target: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.socket(self.own(), target, Type::DGRAM, Protocol::UDP)?;
        socket.connect(&target.into())?;
        Ok(socket.into())
    }

    /// Any port of the source.
    fn own(&self) -> Option<SocketAddr> {
        self.source.map(|source| SocketAddr::new(source, 0))
    }

    fn socket(
        &self,
        source: Option<SocketAddr>,
        target: SocketAddr,
        kind: Type,
        protocol: Protocol,
    ) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(target), kind, Some(protocol))?;
        if let Some(source) = source {
            socket.bind(&source.into())?;
        }
        socket.set_read_timeout(Some(self.patience))?;
        Ok(socket)
    }
}

impl Port {
    /// Sends `count` datagrams and waits for each answer, or until five in a row have not come.
    #[must_use]
    pub fn ask(&self, count: usize) -> Tally {
        Tally::of_all(count, |number| self.ask_once(number))
    }

    fn ask_once(&self, number: usize) -> io::Result<String> {
        self.0.send(number.to_string().as_bytes())?;
        let mut buffer = [0; 2048];
        let length = self.0.recv(&mut buffer)?;
        let answer = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        match answer.split_once(' ') {
            Some((server, rest)) if rest == number.to_string() => Ok(server.to_owned()),
            Some(_) | None => Err(io::Error::other(format!("an odd answer: {answer}"))),
        }
    }
}

impl Connection {
    fn over(stream: TcpStream) -> io::Result<Self> {
        let mut connection = Self {
            stream,
            server: String::new(),
        };
        connection.server = connection.ask()?;
        Ok(connection)
    }

    /// Who answered first.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Asks once more who is there.
    ///
    /// # Errors
    /// When the connection is broken or nobody answers in time.
    pub fn ask(&mut self) -> io::Result<String> {
        self.stream.write_all(b"who\n")?;
        let mut answer = Vec::new();
        let mut buffer = [0; 128];
        while answer.last() != Some(&b'\n') {
            let length = self.stream.read(&mut buffer)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
        Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
    }
}

impl Load {
    /// Asks `connections` in turn, all the time.
    #[must_use]
    pub fn on(mut connections: Vec<Connection>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicUsize::new(0));
        let (until, counted) = (Arc::clone(&ended), Arc::clone(&answers));
        let thread = thread::spawn(move || {
            let mut course = Course::default();
            while !until.load(Ordering::Relaxed) && !connections.is_empty() {
                connections.retain_mut(|connection| {
                    let goes_on = course.ask(connection);
                    counted.store(course.answers, Ordering::Relaxed);
                    goes_on
                });
                thread::sleep(PAUSE);
            }
            course
        });
        Self {
            ended,
            answers,
            thread: Some(thread),
        }
    }

    /// How many answers have come so far.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Ends it and says how it went.
    ///
    /// # Errors
    /// When its thread panicked.
    pub fn stop(mut self) -> Result<Course> {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it was stopped before")?;
        thread.join().map_err(|_| anyhow::anyhow!("a panic"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Course {
    /// Asks once; whether the connection goes on.
    fn ask(&mut self, connection: &mut Connection) -> bool {
        let asked = Instant::now();
        let answer = connection.ask();
        self.longest = self.longest.max(asked.elapsed());
        match answer {
            Ok(name) if name == connection.server => {
                self.answers += 1;
                true
            }
            Ok(other) => {
                let server = &connection.server;
                self.broken.push(format!("{server} became {other}"));
                false
            }
            Err(error) => {
                let server = &connection.server;
                self.broken.push(format!("{server}: {error}"));
                false
            }
        }
    }
}

impl Tally {
    /// How many were answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answers.values().sum()
    }

    /// How many were not.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// How often `server` answered.
    #[must_use]
    pub fn of(&self, server: &str) -> usize {
        self.answers.get(server).copied().unwrap_or_default()
    }

    fn of_all(count: usize, mut ask: impl FnMut(usize) -> io::Result<String>) -> Self {
        let mut tally = Self::default();
        let mut in_a_row = 0;
        for number in 0..count {
            let outcome = ask(number);
            in_a_row = if outcome.is_ok() { 0 } else { in_a_row + 1 };
            tally.note(outcome);
            if in_a_row == ENOUGH {
                break;
            }
        }
        tally
    }

    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        for (server, count) in &other.answers {
            *self.answers.entry(server.clone()).or_default() += count;
        }
        for (error, count) in &other.failures {
            *self.failures.entry(error.clone()).or_default() += count;
        }
    }

    fn note(&mut self, outcome: io::Result<String>) {
        match outcome {
            Ok(name) => *self.answers.entry(name).or_default() += 1,
            Err(error) => *self.failures.entry(error.to_string()).or_default() += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "answers {:?}, failures {:?}",
            self.answers, self.failures
        )
    }
}
