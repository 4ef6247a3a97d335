//! Probes: how it is found out whether a real server is healthy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::rules::server as rules;

/// A way to find out whether a real server is healthy. Exactly the member that `type` asks for is set; `TCP` and `Ping`
/// have none, and every other may be left out where all its fields have defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::probe()))]
pub struct Probe {
    /// Its name among the probes, 1 to 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// `TCP`: a connection is accepted. `HTTP`, `HTTPS`, `SMTP`, `GRPC`, `DNS`, `UDP`: it answers as it should. `Ping`:
    /// it answers ICMP echo. `File`: a file of the node says so. `Exec`: a script of the node says so.
    #[serde(rename = "type")]
    pub kind: ProbeType,
    /// With `type: HTTP`. Default: `GET /`, status 200 to 299.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// With `type: HTTPS`. Default: `GET /`, status 200 to 299, a certificate that the system's authorities vouch for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsProbe>,
    /// With `type: UDP`. Default: an empty datagram that is not refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<UdpProbe>,
    /// With `type: DNS`. Default: the SOA record of `.`, answered without an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsProbe>,
    /// With `type: SMTP`. Default: a greeting and an answer to `HELO vipkeeper`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpProbe>,
    /// With `type: GRPC`. Default: the health of the server as a whole, without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcProbe>,
    /// With `type: File`, and required there; the router's `attach.trusted` must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileProbe>,
    /// With `type: Exec`, and required there; the router's `attach.trusted` must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecProbe>,
    /// From the beginning of a probe to that of the next, `100ms` to `1h`. Default: `5s`.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// How long it may take from its beginning to its last byte, `10ms` to `10m`. Default: `3s`.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// How many successes in a row bring a real server back, 1 to 100. Default: 1.
    #[serde(default = "default_rise")]
    #[schemars(range(min = 1, max = 100))]
    pub rise: i64,
    /// How many failures in a row take a real server out, 1 to 100. Default: 3.
    #[serde(default = "default_fall")]
    #[schemars(range(min = 1, max = 100))]
    pub fall: i64,
    /// The interval after a failure of one that is not out yet, `100ms` to `interval`. Default: `interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_after_failure: Option<Duration>,
    /// Another address than the real server's, in canonical form. Default: the real server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    pub address: Option<String>,
    /// Another port than the real server's, 1 to 65535. Default: the real server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i64>,
    /// The source address, which the node must have, in canonical form. Default: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    pub source: Option<String>,
    /// The interface to send by, 1 to 15 bytes. Default: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub interface: Option<String>,
    /// The firewall mark of the packets, 1 to 4294967295. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub mark: Option<i64>,
}

fn default_interval() -> Duration {
    Duration::from_secs(5)
}

fn default_timeout() -> Duration {
    Duration::from_secs(3)
}

fn default_rise() -> i64 {
    1
}

fn default_fall() -> i64 {
    3
}

/// The kinds of probes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ProbeType {
    /// A connection.
    #[serde(rename = "TCP")]
    Tcp,
    /// A request and its answer.
    #[serde(rename = "HTTP")]
    Http,
    /// The same over TLS.
    #[serde(rename = "HTTPS")]
    Https,
    /// A datagram.
    #[serde(rename = "UDP")]
    Udp,
    /// A question.
    #[serde(rename = "DNS")]
    Dns,
    /// A greeting.
    #[serde(rename = "SMTP")]
    Smtp,
    /// ICMP echo.
    Ping,
    /// The health protocol of gRPC.
    #[serde(rename = "GRPC")]
    Grpc,
    /// A file of the node.
    File,
    /// A script of the node.
    Exec,
}

/// An HTTP request, and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::http()))]
pub struct HttpProbe {
    /// Default: `GET`.
    #[serde(default)]
    pub method: HttpMethod,
    /// The path with its query, at most 2048 characters, beginning with `/`. Default: `/`.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 2048))]
    pub path: String,
    /// The host asked for, at most 253 characters. Default: the real server's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// More headers, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub headers: Vec<HttpHeader>,
    /// The statuses that are good, each `200` or `200-299`, at most 16. Default: `["200-299"]`.
    #[serde(default = "default_statuses")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 3, max = 7)), extend("x-kubernetes-list-type" = "atomic"))]
    pub statuses: Vec<String>,
    /// What the body must be, by its digest; the first 1 MiB is looked at. Default: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_digest: Option<BodyDigest>,
    /// A regular expression that must match somewhere in the first 64 KiB of the body, at most 1024 characters, with the
    /// syntax of RE2. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub body_regex: Option<String>,
    /// `HTTP/1.1`, or `HTTP/2` (without TLS: with prior knowledge). Default: `HTTP/1.1`.
    #[serde(default)]
    pub version: HttpVersion,
}

fn default_path() -> String {
    "/".to_owned()
}

fn default_statuses() -> Vec<String> {
    vec!["200-299".to_owned()]
}

impl Default for HttpProbe {
    fn default() -> Self {
        Self {
            method: HttpMethod::default(),
            path: default_path(),
            host: None,
            headers: Vec::new(),
            statuses: default_statuses(),
            body_digest: None,
            body_regex: None,
            version: HttpVersion::default(),
        }
    }
}

/// The methods of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HttpMethod {
    /// `GET`.
    #[default]
    #[serde(rename = "GET")]
    Get,
    /// `HEAD`.
    #[serde(rename = "HEAD")]
    Head,
    /// `OPTIONS`.
    #[serde(rename = "OPTIONS")]
    Options,
    /// `POST`, without a body.
    #[serde(rename = "POST")]
    Post,
}

/// The versions of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HttpVersion {
    /// RFC 9112.
    #[default]
    #[serde(rename = "HTTP/1.1")]
    Http1,
    /// RFC 9113.
    #[serde(rename = "HTTP/2")]
    Http2,
}

/// A header of a request.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::header()))]
pub struct HttpHeader {
    /// Its name, at most 127 characters.
    #[schemars(length(min = 1, max = 127))]
    pub name: String,
    /// Its value, at most 1024 characters; everybody who may read the object reads it.
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// The digest of a body.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::digest()))]
pub struct BodyDigest {
    /// Default: `SHA256`.
    #[serde(default)]
    pub algorithm: DigestAlgorithm,
    /// 32 or 64 hexadecimal digits.
    #[schemars(length(min = 32, max = 64))]
    pub value: String,
}

/// The digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DigestAlgorithm {
    /// MD5, as keepalived has it.
    #[serde(rename = "MD5")]
    Md5,
    /// SHA-256.
    #[default]
    #[serde(rename = "SHA256")]
    Sha256,
}

/// An HTTP request over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::https()))]
pub struct HttpsProbe {
    /// The request.
    #[serde(flatten)]
    pub http: HttpProbe,
    /// The name that is asked for (SNI) and that the certificate must have, at most 253 characters. Default: `host`, or
    /// the real server's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// Takes any certificate: the connection then proves nothing about who answers. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
    /// The authorities that are believed, as PEM in a ConfigMap beside the VirtualServer. Default: those of the
    /// system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<ConfigMapKey>,
}

/// A key of a ConfigMap in the namespace of the VirtualServer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::config_map_key()))]
pub struct ConfigMapKey {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its `data`. Default: `ca.crt`.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn default_key() -> String {
    "ca.crt".to_owned()
}

/// A datagram and its answer, as hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::udp()))]
pub struct UdpProbe {
    /// What is sent, an even number of hexadecimal digits, at most 2048. Default: nothing, an empty datagram.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2048))]
    pub payload: String,
    /// What the answer begins with, as hexadecimal digits, `X` for any one digit, at most 2048. Default: no answer is
    /// needed, and silence for the whole of `timeout` is success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub reply: Option<String>,
}

/// A question by DNS over UDP.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::dns()))]
pub struct DnsProbe {
    /// The type asked for. Default: `SOA`.
    #[serde(rename = "type", default)]
    pub kind: DnsType,
    /// The name asked for, at most 253 characters. Default: `.`.
    #[serde(default = "default_name")]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The response code that is good, 0 to 15 (RFC 1035 §4.1.1). Default: 0, no error.
    #[serde(default)]
    #[schemars(range(min = 0, max = 15))]
    pub code: i64,
}

fn default_name() -> String {
    ".".to_owned()
}

impl Default for DnsProbe {
    fn default() -> Self {
        Self {
            kind: DnsType::default(),
            name: default_name(),
            code: 0,
        }
    }
}

/// The types of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DnsType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    #[serde(rename = "AAAA")]
    Aaaa,
    /// Another name.
    #[serde(rename = "CNAME")]
    Cname,
    /// Mail servers.
    #[serde(rename = "MX")]
    Mx,
    /// Name servers.
    #[serde(rename = "NS")]
    Ns,
    /// The zone's authority.
    #[default]
    #[serde(rename = "SOA")]
    Soa,
    /// Text.
    #[serde(rename = "TXT")]
    Txt,
}

/// A greeting by SMTP: 220, HELO, 250, QUIT.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::smtp()))]
pub struct SmtpProbe {
    /// The name that the node greets with, at most 253 characters. Default: `vipkeeper`.
    #[serde(default = "default_helo")]
    #[schemars(length(min = 1, max = 253))]
    pub helo: String,
}

fn default_helo() -> String {
    "vipkeeper".to_owned()
}

impl Default for SmtpProbe {
    fn default() -> Self {
        Self {
            helo: default_helo(),
        }
    }
}

/// The health protocol of gRPC (grpc.health.v1): `SERVING` is good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::grpc()))]
pub struct GrpcProbe {
    /// The service asked about, at most 253 characters. Default: none, the server as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub service: String,
}

/// A file of the node: good while it is there and does not begin with `0` or `down`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::file()))]
pub struct FileProbe {
    /// Its absolute path, at most 1024 bytes.
    #[schemars(length(min = 2, max = 1024))]
    pub path: String,
    /// A number from 1 to 65535 in it is the real server's weight. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dynamic_weight: bool,
}

/// A script of the node, run as `SCRIPT ADDRESS PORT`: exit code 0 is good, any other is not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::exec()))]
pub struct ExecProbe {
    /// The name of a file in the agent's `--scripts-dir`, 1 to 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub script: String,
    /// Exit codes from 2 to 255 are good as well, and the real server's weight is that code less 2. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dynamic_weight: bool,
}
