//! A probe of a real server as an agent runs it: with every default.

use std::net::IpAddr;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::duration::Duration;
use crate::server::{BodyDigest, DnsType, HttpHeader, HttpMethod, HttpVersion};

/// A way to judge a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeProbe {
    /// Its name among those of the server.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What is asked, and what is a good answer.
    #[schemars(schema_with = "schema::probe_kind")]
    pub kind: ProbeKind,
    /// From the beginning of a probe to that of the next, 100 ms to 1 h.
    pub interval: Duration,
    /// The longest that one may take, 10 ms to 10 min.
    pub timeout: Duration,
    /// Successes in a row that bring a real server back, 1..=100.
    #[schemars(range(min = 1, max = 100))]
    pub rise: u8,
    /// Failures in a row that take one out, 1..=100.
    #[schemars(range(min = 1, max = 100))]
    pub fall: u8,
    /// The interval after a failure of one that is not out yet; at most `interval`.
    pub delay_after_failure: Duration,
    /// Asks this address; `None` for the real server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 45))]
    pub address: Option<IpAddr>,
    /// Asks this port; `None` for the real server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
    /// The source address; `None` for the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 45))]
    pub source: Option<IpAddr>,
    /// The interface, 1 to 15 bytes; `None` for the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub interface: Option<String>,
    /// The firewall mark; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub mark: Option<NonZeroU32>,
}

/// What is asked, and what is a good answer. Two that are equal, of the same target, are one probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum ProbeKind {
    /// A connection is accepted.
    #[serde(rename = "TCP")]
    Tcp,
    /// An HTTP request, over TLS if `tls` is there.
    #[serde(rename = "HTTP")]
    Http {
        /// The method.
        method: HttpMethod,
        /// Path and query, beginning with `/`.
        path: String,
        /// The host asked for; `None` for the target's address and port.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// More headers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        headers: Vec<HttpHeader>,
        /// The statuses that are good; at least one range.
        statuses: Vec<StatusRange>,
        /// The digest of the body; `None` if any is good. In lower case.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body_digest: Option<BodyDigest>,
        /// A regular expression, which can be compiled, that the body matches.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body_regex: Option<String>,
        /// The version of HTTP.
        version: HttpVersion,
        /// Over TLS.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<NodeTls>,
    },
    /// A datagram.
    #[serde(rename = "UDP")]
    Udp {
        /// What is sent, as hexadecimal digits.
        payload: String,
        /// What the answer begins with: hexadecimal digits, or `X` for any; `None` if silence is good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply: Option<String>,
    },
    /// A question by DNS over UDP.
    #[serde(rename = "DNS")]
    Dns {
        /// The type of record; the field `type` is the probe's.
        record: DnsType,
        /// The name.
        name: String,
        /// The response code that is good, 0..=15.
        code: u8,
    },
    /// A greeting.
    #[serde(rename = "SMTP")]
    Smtp {
        /// The name to greet with.
        helo: String,
    },
    /// ICMP echo.
    Ping,
    /// The health protocol of gRPC.
    #[serde(rename = "GRPC")]
    Grpc {
        /// The service asked about; empty for the server as a whole.
        service: String,
    },
    /// A file of the node.
    File {
        /// Its absolute path.
        path: String,
        /// Whether a number in it is the weight.
        dynamic_weight: bool,
    },
    /// A script of the node.
    Exec {
        /// Its name.
        script: String,
        /// Whether exit codes from 2 say the weight.
        dynamic_weight: bool,
    },
}

/// What is asked of a TLS server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeTls {
    /// The name asked for and expected; `None` for the target's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether the certificate is looked at.
    pub verify: bool,
    /// The authorities as PEM; `None` for those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
}

/// Statuses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusRange {
    /// 100..=999.
    pub first: u16,
    /// At least `first`, at most 999.
    pub last: u16,
}
