//! The health protocol of gRPC (grpc.health.v1, `Health/Check`) over HTTP/2 without TLS.
//!
//! Owns the two messages, which are one field each, and their frame. Reads no more of an answer than they can be long.

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, TE};
use hyper::{HeaderMap, Method, Request, Version};

use super::engine::Asked;
use super::http2::{self, Sender};
use super::outcome::{Answer, Failure, Stage, Stop};
use super::socket;

/// The longest answer: the frame's head, and a message of one field with room for fields to come.
const LONGEST: usize = 1024;
/// Before each message: whether it is compressed, and its length.
const HEAD: usize = 5;
/// The key of field 1 as a length and bytes: the service.
const SERVICE: u8 = 1 << 3 | 2;
/// `SERVING`; 0 is unknown, 2 not serving, 3 an unknown service.
const SERVING: u64 = 1;

/// The request's body.
#[derive(Debug)]
pub(super) struct Question {
    message: Bytes,
}

impl Question {
    pub(super) fn of(service: &str) -> Self {
        Self {
            message: frame(service).into(),
        }
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Answer {
        let stream = socket::connect(asked).await?;
        asked.progress.reach(Stage::Waiting);
        http2::exchange(stream, |sender| self.exchange(asked, sender)).await
    }

    async fn exchange(&self, asked: &Asked<'_>, mut sender: Sender) -> Answer {
        let (answer, mut request) = sender.send_request(head(asked)?, false)?;
        request.send_data(self.message.clone(), true)?;
        let answer = answer.await?;
        if answer.status() != 200 {
            return Err(Failure::Status(answer.status().as_u16()).into());
        }
        // With an error there is only a header, which then is the trailer too.
        if let Some(status) = status(answer.headers())? {
            return Err(if status == 0 {
                Failure::Malformed
            } else {
                Failure::Grpc(status)
            }
            .into());
        }
        asked.progress.reach(Stage::Reading);
        let mut stream = answer.into_body();
        let mut content = Vec::new();
        while let Some(part) = stream.data().await {
            let part = part?;
            content.extend(&part);
            if content.len() > LONGEST {
                return Err(Failure::TooLong.into());
            }
            stream.flow_control().release_capacity(part.len())?;
        }
        let trailers = stream.trailers().await?.unwrap_or_default();
        match status(&trailers)? {
            Some(0) => {}
            Some(status) => return Err(Failure::Grpc(status).into()),
            None => return Err(Failure::Malformed.into()),
        }
        serving(&content)?;
        Ok(None)
    }
}

fn head(asked: &Asked<'_>) -> Result<Request<()>, Stop> {
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!(
            "http://{}/grpc.health.v1.Health/Check",
            asked.address
        ))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(());
    request.map_err(|_| Failure::Internal.into())
}

/// The field `grpc-status`, if there is one.
fn status(headers: &HeaderMap) -> Result<Option<u16>, Failure> {
    let Some(status) = headers.get("grpc-status") else {
        return Ok(None);
    };
    let number = status.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or(Failure::Malformed)
}

/// `HealthCheckRequest { service }` in its frame.
fn frame(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(SERVICE);
        push_varint(&mut message, service.len() as u64);
        message.extend(service.as_bytes());
    }
    let mut frame = vec![0];
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    frame.extend(length.to_be_bytes());
    frame.extend(message);
    frame
}

/// Whether the frame holds a `HealthCheckResponse` that says `SERVING`.
fn serving(frame: &[u8]) -> Result<(), Failure> {
    match answered(frame).ok_or(Failure::Malformed)? {
        SERVING => Ok(()),
        2 => Err(Failure::Serving("not serving")),
        3 => Err(Failure::Serving("unknown service")),
        _ => Err(Failure::Serving("serving status unknown")),
    }
}

/// Field 1 of the message in `frame`, 0 if it is not there; `None` if it is malformed or compressed.
fn answered(frame: &[u8]) -> Option<u64> {
    let (head, mut message) = frame.split_at_checked(HEAD)?;
    let length = u32::from_be_bytes(head.get(1..)?.try_into().ok()?);
    if head.first() != Some(&0) || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = pull_varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                let value = pull_varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(pull_varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(length..)?;
    }
    Some(status)
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn pull_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_a_frame_with_the_service_as_field_1() {
        assert_eq!(frame(""), [0, 0, 0, 0, 0]);
        assert_eq!(frame("web"), [0, 0, 0, 0, 5, 0x0a, 3, b'w', b'e', b'b']);
        let long = frame(&"x".repeat(253));
        assert_eq!(long[..8], [0, 0, 0, 1, 0, 0x0a, 0xfd, 0x01]);
    }

    #[test]
    fn only_field_1_with_the_value_1_is_serving() {
        assert_eq!(serving(&[0, 0, 0, 0, 2, 0x08, 1]), Ok(()));
        assert_eq!(serving(&[0, 0, 0, 0, 6, 0x12, 2, 9, 9, 0x08, 1]), Ok(()));
        assert_eq!(
            serving(&[0, 0, 0, 0, 0]),
            Err(Failure::Serving("serving status unknown"))
        );
        assert_eq!(
            serving(&[0, 0, 0, 0, 2, 0x08, 2]),
            Err(Failure::Serving("not serving"))
        );
        for malformed in [
            &[][..],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 0x08, 1],
            &[0, 0, 0, 0, 3, 0x08, 1],
            &[0, 0xff, 0xff, 0xff, 0xff, 0x08, 1],
            &[0, 0, 0, 0, 1, 0x08],
            &[0, 0, 0, 0, 2, 0x0f, 1],
            &[0, 0, 0, 0, 3, 0x12, 0xff, 0x7f],
        ] {
            assert_eq!(serving(malformed), Err(Failure::Malformed), "{malformed:?}");
        }
    }

    proptest! {
        #[test]
        fn no_frame_breaks_the_reader(frame in prop::collection::vec(any::<u8>(), 0..64)) {
            let _verdict = serving(&frame);
        }
    }
}
