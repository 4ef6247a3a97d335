//! The rules of HTTP and HTTPS probes: what can be sent, and what an answer can be held against.

use regex::bytes::RegexBuilder;
use vipkeeper_crds::node_server::{NodeTls, ProbeKind, StatusRange};
use vipkeeper_crds::server::{
    BodyDigest, ConfigMapKey, DigestAlgorithm, HttpHeader, HttpMethod, HttpProbe, HttpsProbe,
};

use super::others::host;
use crate::finding::Remarks;

/// The most memory, in bytes, that a compiled regular expression for a body may take. Who compiles it again says the
/// same limit. What it takes to match grows with it: with this one, seconds for 64 KiB.
pub const BODY_REGEX_SIZE: usize = 256 << 10;

/// The longest path, regular expression, header name and value, in characters.
const MAX_PATH: usize = 2048;
const MAX_REGEX: usize = 1024;
const MAX_HEADER_NAME: usize = 127;
const MAX_HEADER_VALUE: usize = 1024;
/// The most headers, and the most ranges of statuses.
const MAX_LIST: usize = 16;
/// Headers that the request has of itself (RFC 9110 §7.2, RFC 9112 §6, §9).
const OWN_HEADERS: [&str; 5] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn https(
    given: &HttpsProbe,
    path: &str,
    remarks: &mut Remarks,
) -> Option<(ProbeKind, Option<ConfigMapKey>)> {
    let server_name = match &given.server_name {
        None => Some(None),
        Some(name) => host(name, &format!("{path}.serverName"), remarks).map(Some),
    };
    let key = match &given.ca_ref {
        None => Some(None),
        Some(_) if given.insecure_skip_verify => {
            let message = "`insecureSkipVerify` asks nobody: remove one of the two";
            remarks.error(format!("{path}.caRef"), message);
            None
        }
        Some(key) => config_map(key, &format!("{path}.caRef"), remarks).map(Some),
    };
    let request = http(&given.http, path, remarks);
    let (kind, key) = (request?, key?);
    let tls = NodeTls {
        server_name: server_name?,
        verify: !given.insecure_skip_verify,
        authorities: None,
    };
    Some((over_tls(kind, tls), key))
}

/// `kind` with `tls`, where that is of HTTP.
fn over_tls(mut kind: ProbeKind, tls: NodeTls) -> ProbeKind {
    if let ProbeKind::Http { tls: own, .. } = &mut kind {
        *own = Some(tls);
    }
    kind
}

fn config_map(key: &ConfigMapKey, path: &str, remarks: &mut Remarks) -> Option<ConfigMapKey> {
    if let Some(message) = crate::address::bad_object_name(&key.name) {
        remarks.error(format!("{path}.name"), message);
        return None;
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if key.key.is_empty() || key.key.len() > 253 || !key.key.chars().all(inner) {
        let message = "a key has 1 to 253 letters, digits, `-`, `_` and `.`";
        remarks.error(format!("{path}.key"), message);
        return None;
    }
    Some(key.clone())
}

pub(super) fn http(given: &HttpProbe, path: &str, remarks: &mut Remarks) -> Option<ProbeKind> {
    let good_path = request_path(&given.path, &format!("{path}.path"), remarks);
    let asked = match &given.host {
        None => Some(None),
        Some(name) => authority(name, &format!("{path}.host"), remarks).map(Some),
    };
    let headers = headers(&given.headers, &format!("{path}.headers"), remarks);
    let statuses = statuses(&given.statuses, &format!("{path}.statuses"), remarks);
    let digest = match &given.body_digest {
        None => Some(None),
        Some(digest) => body_digest(digest, &format!("{path}.bodyDigest"), remarks).map(Some),
    };
    let regex = match &given.body_regex {
        None => Some(None),
        Some(regex) => body_regex(regex, &format!("{path}.bodyRegex"), remarks).map(Some),
    };
    if given.method == HttpMethod::Head {
        let asked = [
            (given.body_digest.is_some(), "bodyDigest"),
            (given.body_regex.is_some(), "bodyRegex"),
        ];
        for (_, field) in asked.into_iter().filter(|(set, _)| *set) {
            let message = "an answer to HEAD has no body: choose `method: GET`, or remove this";
            remarks.error(format!("{path}.{field}"), message);
        }
    }
    Some(ProbeKind::Http {
        method: given.method,
        path: good_path?,
        host: asked?,
        headers: headers?,
        statuses: statuses?,
        body_digest: digest?,
        body_regex: regex?,
        version: given.version,
        tls: None,
    })
}

fn request_path(text: &str, path: &str, remarks: &mut Remarks) -> Option<String> {
    let visible = text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !text.starts_with('/') || text.len() > MAX_PATH || !visible {
        let message = format!(
            "`{text}`: a path begins with `/` and has at most {MAX_PATH} characters, without spaces, `#` and what is not ASCII: write `%20` and the like"
        );
        remarks.error(path, message);
        return None;
    }
    Some(text.to_owned())
}

/// A host with or without a port.
fn authority(text: &str, path: &str, remarks: &mut Remarks) -> Option<String> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        Some(_) | None => (text, None),
    };
    if port.is_some_and(|p| p.parse::<u16>().is_err()) {
        let message = format!("`{text}`: what follows `:` is no port");
        remarks.error(path, message);
        return None;
    }
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    host(bare.unwrap_or(name), path, remarks)?;
    Some(text.to_owned())
}

fn headers(given: &[HttpHeader], path: &str, remarks: &mut Remarks) -> Option<Vec<HttpHeader>> {
    if given.len() > MAX_LIST {
        let message = format!("{} headers: at most {MAX_LIST}", given.len());
        remarks.error(path, message);
        return None;
    }
    let mut good = true;
    for (i, header) in given.iter().enumerate() {
        let HttpHeader { name, value } = header;
        let mut refuse = |field: &str, message: String| {
            remarks.error(format!("{path}[{i}].{field}"), message);
            good = false;
        };
        if name.is_empty() || name.len() > MAX_HEADER_NAME || !name.bytes().all(token) {
            let message = format!(
                "`{name}` cannot be a header: 1 to {MAX_HEADER_NAME} letters, digits and `-` (RFC 9110 §5.1)"
            );
            refuse("name", message);
        } else if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let message = format!(
                "the request has its own {name}: remove this, and set `host` where that is meant"
            );
            refuse("name", message);
        }
        let plain = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
        if value.len() > MAX_HEADER_VALUE || !value.bytes().all(plain) {
            let message = format!(
                "at most {MAX_HEADER_VALUE} characters of ASCII without controls (RFC 9110 §5.5)"
            );
            refuse("value", message);
        }
    }
    good.then(|| given.to_vec())
}

/// A character of a token (RFC 9110 §5.6.2).
const fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn statuses(given: &[String], path: &str, remarks: &mut Remarks) -> Option<Vec<StatusRange>> {
    if given.is_empty() || given.len() > MAX_LIST {
        let message = format!("{} ranges: list 1 to {MAX_LIST}", given.len());
        remarks.error(path, message);
        return None;
    }
    let mut good = Vec::with_capacity(given.len());
    for (i, text) in given.iter().enumerate() {
        match range(text) {
            Some(range) => good.push(range),
            None => {
                let message = format!("`{text}`: write a status as `200`, or some as `200-299`");
                remarks.error(format!("{path}[{i}]"), message);
            }
        }
    }
    (good.len() == given.len()).then_some(good)
}

fn range(text: &str) -> Option<StatusRange> {
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        let status: u16 = text.parse().ok().filter(|_| digits)?;
        (status >= 100).then_some(status)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some(StatusRange { first, last })
}

fn body_digest(given: &BodyDigest, path: &str, remarks: &mut Remarks) -> Option<BodyDigest> {
    let digits = match given.algorithm {
        DigestAlgorithm::Md5 => 32,
        DigestAlgorithm::Sha256 => 64,
    };
    let hex = given.value.bytes().all(|b| b.is_ascii_hexdigit());
    if given.value.len() != digits || !hex {
        let message = format!("a digest of this algorithm has {digits} hexadecimal digits");
        remarks.error(format!("{path}.value"), message);
        return None;
    }
    Some(BodyDigest {
        algorithm: given.algorithm,
        value: given.value.to_ascii_lowercase(),
    })
}

fn body_regex(text: &str, path: &str, remarks: &mut Remarks) -> Option<String> {
    if text.is_empty() || text.chars().count() > MAX_REGEX {
        remarks.error(path, format!("write 1 to {MAX_REGEX} characters"));
        return None;
    }
    let compiled = RegexBuilder::new(text).size_limit(BODY_REGEX_SIZE).build();
    if let Err(error) = compiled {
        let message = if matches!(error, regex::Error::CompiledTooBig(_)) {
            "the expression grows too big: repeat less in it, or say it with fewer alternatives"
                .to_owned()
        } else {
            // The reader draws a picture of several lines; its last is the reason.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            let reason = reason.trim_start_matches("error: ");
            format!("cannot be read: {reason}; the syntax is that of RE2")
        };
        remarks.error(path, message);
        return None;
    }
    Some(text.to_owned())
}
