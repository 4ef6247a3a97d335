//! HTTP and HTTPS: a request, its status, and where that is wanted its body.
//!
//! Owns the request, the client of HTTP/1.1, and the choice of what a probe speaks. Never follows a redirection, and
//! reads a body only if something is wanted of it.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use vipkeeper_crds::node_server::{NodeTls, ProbeKind, StatusRange};
use vipkeeper_crds::server::{HttpMethod, HttpVersion};

use super::body::{Body, Matchers, Wanted};
use super::engine::Asked;
use super::http2::{self, beside};
use super::outcome::{Answer, Failure, Stage, Stop};
use super::socket;
use super::tls::Session;

/// The longest header that is read, in bytes.
const HEADER: usize = 64 << 10;

/// A request, and what its answer must be.
pub(super) struct Question {
    method: Method,
    path: String,
    host: Option<String>,
    headers: HeaderMap,
    statuses: Vec<StatusRange>,
    wanted: Wanted,
    version: HttpVersion,
    tls: Option<Session>,
}

impl Question {
    pub(super) fn of(kind: &ProbeKind, matchers: &Matchers) -> Result<Self, Failure> {
        let ProbeKind::Http {
            method,
            path,
            host,
            headers,
            statuses,
            body_digest,
            body_regex,
            version,
            tls,
        } = kind
        else {
            return Err(Failure::Internal);
        };
        let mut map = HeaderMap::new();
        for header in headers {
            let unaskable = Failure::Unaskable("a header is none of HTTP");
            let name = HeaderName::try_from(&header.name).map_err(|_| unaskable.clone())?;
            let value = HeaderValue::try_from(&header.value).map_err(|_| unaskable)?;
            map.append(name, value);
        }
        let question = Self {
            method: match method {
                HttpMethod::Get => Method::GET,
                HttpMethod::Head => Method::HEAD,
                HttpMethod::Options => Method::OPTIONS,
                HttpMethod::Post => Method::POST,
            },
            path: path.clone(),
            host: host.clone(),
            headers: map,
            statuses: statuses.clone(),
            wanted: Wanted::of(body_digest.as_ref(), body_regex.as_deref(), matchers)?,
            version: *version,
            tls: tls.as_ref().map(|tls| session(tls, *version)).transpose()?,
        };
        // What no target can be asked is known now.
        question.request(SocketAddr::from(([0, 0, 0, 0], 80)))?;
        Ok(question)
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Answer {
        let stream = socket::connect(asked).await?;
        let Some(session) = &self.tls else {
            return self.ask_over(asked, stream).await;
        };
        asked.progress.reach(Stage::Handshaking);
        let stream = session.connect(asked.address.ip(), stream).await?;
        if self.version == HttpVersion::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(Failure::Version.into());
        }
        self.ask_over(asked, stream).await
    }

    async fn ask_over(
        &self,
        asked: &Asked<'_>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    ) -> Answer {
        asked.progress.reach(Stage::Waiting);
        let request = self.request(asked.address)?;
        let body = match self.version {
            HttpVersion::Http1 => self.ask_http1(asked, stream, request).await?,
            HttpVersion::Http2 => self.ask_http2(asked, stream, request).await?,
        };
        // Without the connection, which it may outlast.
        if let Some(body) = body {
            body.judge(asked.progress).await?;
        }
        Ok(None)
    }

    async fn ask_http2(
        &self,
        asked: &Asked<'_>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
        request: Request<()>,
    ) -> Result<Option<Body<'_>>, Stop> {
        let ask = async |mut sender: http2::Sender| {
            let (answer, _stream) = sender.send_request(request, true)?;
            let answer = answer.await?;
            let Some(mut body) = self.body_of(asked, &answer)? else {
                return Ok(None);
            };
            let mut stream = answer.into_body();
            while let Some(chunk) = stream.data().await {
                let chunk = chunk?;
                if !body.take(&chunk) {
                    break;
                }
                stream.flow_control().release_capacity(chunk.len())?;
            }
            Ok(Some(body))
        };
        http2::exchange(stream, ask).await
    }

    async fn ask_http1(
        &self,
        asked: &Asked<'_>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
        request: Request<()>,
    ) -> Result<Option<Body<'_>>, Stop> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEADER);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| stop(&error))?;
        let exchange = async {
            let request = request.map(|()| Empty::<Bytes>::new());
            let answer = sender.send_request(request).await;
            let answer: Response<Incoming> = answer.map_err(|error| stop(&error))?;
            let Some(mut body) = self.body_of(asked, &answer)? else {
                return Ok(None);
            };
            let mut stream = answer.into_body();
            while let Some(frame) = stream.frame().await {
                let frame = frame.map_err(|error| stop(&error))?;
                if frame.data_ref().is_some_and(|chunk| !body.take(chunk)) {
                    break;
                }
            }
            Ok(Some(body))
        };
        beside(connection, exchange).await
    }

    /// The request to a server at `address`.
    fn request(&self, address: SocketAddr) -> Result<Request<()>, Failure> {
        let unaskable = |_| Failure::Unaskable("the path or the host is none of HTTP");
        let authority = self.host.clone().unwrap_or_else(|| address.to_string());
        let mut request = Request::builder().method(self.method.clone());
        match self.version {
            HttpVersion::Http1 => {
                let uri = Uri::try_from(&self.path)
                    .map_err(|_| Failure::Unaskable("the path is none of HTTP"))?;
                request = request.uri(uri).header(CONNECTION, "close");
                if self.method == Method::POST {
                    // A method that may have a body says that it has none (RFC 9110 §8.6).
                    request = request.header(CONTENT_LENGTH, 0);
                }
                if !self.headers.contains_key(HOST) {
                    request = request.header(HOST, authority);
                }
            }
            HttpVersion::Http2 => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let uri = format!("{scheme}://{authority}{}", self.path);
                request = request.uri(uri).version(Version::HTTP_2);
            }
        }
        let mut request = request.body(()).map_err(unaskable)?;
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }

    /// What is still wanted of the body after the header of an answer.
    fn body_of<T>(
        &self,
        asked: &Asked<'_>,
        answer: &Response<T>,
    ) -> Result<Option<Body<'_>>, Stop> {
        let status = answer.status().as_u16();
        let fits = |range: &StatusRange| (range.first..=range.last).contains(&status);
        if !self.statuses.iter().any(fits) {
            return Err(Failure::Status(status).into());
        }
        asked.progress.reach(Stage::Reading);
        Ok(self.wanted.begin())
    }
}

fn session(tls: &NodeTls, version: HttpVersion) -> Result<Session, Failure> {
    Session::of(
        tls,
        match version {
            HttpVersion::Http1 => "http/1.1",
            HttpVersion::Http2 => "h2",
        },
    )
}

fn stop(error: &hyper::Error) -> Stop {
    if let Some(io) =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>())
    {
        return Failure::from(io).into();
    }
    let failure = if error.is_parse_too_large() {
        Failure::TooLong
    } else if error.is_parse() {
        Failure::Malformed
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Failure::Closed
    } else {
        Failure::Malformed
    };
    failure.into()
}
