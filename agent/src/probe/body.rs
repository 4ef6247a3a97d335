//! The body of an HTTP answer, as far as something is wanted of it.
//!
//! Owns its digest and its beginning while a probe lasts. Nothing of a body is kept or shown, and no expression is matched
//! by a thread that others wait for.

use std::sync::Arc;

use md5::Md5;
use regex::bytes::{Regex, RegexBuilder};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vipkeeper_compiler::BODY_REGEX_SIZE;
use vipkeeper_crds::server::{BodyDigest, DigestAlgorithm};

use super::outcome::{Failure, Lack, Progress, Stage, Stop};

/// How much of a body a digest is of, in bytes.
const HASHED: usize = 1 << 20;
/// How much of a body an expression is matched with, in bytes. The largest expression needs seconds for as much.
const MATCHED: usize = 64 << 10;
/// How many bodies are matched at once.
const MATCHERS: usize = 2;

/// Turns at matching bodies, of which a node has few: a match cannot be ended, and may keep a core busy for seconds.
#[derive(Clone, Debug)]
pub(super) struct Matchers(Arc<Semaphore>);

/// What is wanted of bodies.
#[derive(Debug)]
pub(super) struct Wanted {
    digest: Option<(DigestAlgorithm, String)>,
    regex: Option<Arc<Regex>>,
    matchers: Matchers,
}

/// What of one body was seen.
pub(super) struct Body<'a> {
    wanted: &'a Wanted,
    digest: Option<(Hasher, &'a str)>,
    /// The bytes that were taken.
    length: usize,
    /// The beginning, for an expression alone.
    content: Vec<u8>,
}

enum Hasher {
    Md5(Md5),
    Sha256(Sha256),
}

impl Default for Matchers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MATCHERS)))
    }
}

impl Matchers {
    /// A turn, which ends when it goes.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let turn = self.0.clone().acquire_owned();
        // Nobody closes it.
        turn.await.map_err(|_| Failure::Internal)
    }
}

impl Wanted {
    pub(super) fn of(
        digest: Option<&BodyDigest>,
        regex: Option<&str>,
        matchers: &Matchers,
    ) -> Result<Self, Failure> {
        let compiled = |regex| {
            RegexBuilder::new(regex)
                .size_limit(BODY_REGEX_SIZE)
                .build()
                .map(Arc::new)
        };
        let unaskable = |_| Failure::Unaskable("the expression cannot be compiled");
        Ok(Self {
            digest: digest.map(|digest| (digest.algorithm, digest.value.to_ascii_lowercase())),
            regex: regex.map(compiled).transpose().map_err(unaskable)?,
            matchers: matchers.clone(),
        })
    }

    /// A body of which nothing was seen; `None` if nothing is wanted of it.
    pub(super) fn begin(&self) -> Option<Body<'_>> {
        let digest = self.digest.as_ref();
        (digest.is_some() || self.regex.is_some()).then(|| Body {
            wanted: self,
            digest: digest.map(|(algorithm, digest)| (Hasher::of(*algorithm), digest.as_str())),
            length: 0,
            content: Vec::new(),
        })
    }
}

impl Body<'_> {
    /// Takes the next part, and says whether more is wanted.
    pub(super) fn take(&mut self, part: &[u8]) -> bool {
        if let Some((hasher, _)) = &mut self.digest {
            hasher.take(beginning(part, HASHED.saturating_sub(self.length)));
        }
        if self.wanted.regex.is_some() {
            let room = MATCHED.saturating_sub(self.length);
            self.content.extend_from_slice(beginning(part, room));
        }
        self.length = self.length.saturating_add(part.len());
        let enough = if self.digest.is_some() {
            HASHED
        } else {
            MATCHED
        };
        self.length < enough
    }

    /// Whether it is as it should be.
    pub(super) async fn judge(self, progress: &Progress) -> Result<(), Stop> {
        if let Some((hasher, digest)) = self.digest
            && hasher.finish() != digest
        {
            return Err(Failure::Digest.into());
        }
        let Some(regex) = self.wanted.regex.clone() else {
            return Ok(());
        };
        progress.reach(Stage::Queued);
        let turn = self.wanted.matchers.turn().await?;
        progress.reach(Stage::Matching);
        let content = self.content;
        let found = tokio::task::spawn_blocking(move || {
            let found = regex.is_match(&content);
            // Not before: a match goes on when its probe is late.
            drop(turn);
            found
        });
        let found = found.await.map_err(|_| Stop::Lack(Lack::Processes))?;
        found.then_some(()).ok_or_else(|| Failure::Regex.into())
    }
}

impl Hasher {
    fn of(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Md5 => Self::Md5(Md5::new()),
            DigestAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    fn take(&mut self, part: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(part),
            Self::Sha256(hasher) => hasher.update(part),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Md5(hasher) => hexadecimal(&hasher.finalize()),
            Self::Sha256(hasher) => hexadecimal(&hasher.finalize()),
        }
    }
}

/// At most the first `most` bytes.
fn beginning(part: &[u8], most: usize) -> &[u8] {
    part.get(..most).unwrap_or(part)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt as _;

    use super::*;

    fn digest(algorithm: DigestAlgorithm, value: &str) -> BodyDigest {
        BodyDigest {
            algorithm,
            value: value.to_owned(),
        }
    }

    fn wanted(digest: Option<&BodyDigest>, regex: Option<&str>) -> Result<Wanted, Failure> {
        Wanted::of(digest, regex, &Matchers::default())
    }

    async fn judged(wanted: &Wanted, parts: &[&[u8]]) -> Result<(), Stop> {
        let mut body = wanted.begin().unwrap();
        for part in parts {
            body.take(part);
        }
        body.judge(&Progress::default()).await
    }

    #[tokio::test]
    async fn a_digest_is_of_all_parts() {
        // RFC 1321 appendix A.5 and FIPS 180-2 appendix B.1: "abc".
        for digest in [
            digest(DigestAlgorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            digest(
                DigestAlgorithm::Sha256,
                "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
            ),
        ] {
            let wanted = wanted(Some(&digest), None).unwrap();
            assert_eq!(judged(&wanted, &[b"a", b"", b"bc"]).await, Ok(()));
            let other = judged(&wanted, &[b"abd"]).await;
            assert_eq!(other, Err(Failure::Digest.into()));
        }
    }

    #[tokio::test]
    async fn a_digest_is_of_the_first_mebibyte_and_keeps_none_of_it() {
        // Of 1,048,576 times `x`, by sha256sum.
        let digest = digest(
            DigestAlgorithm::Sha256,
            "8f990ba0b577b51cf009ea049368c16bbda1b21e1b93be07a824758bb253c39b",
        );
        let wanted = wanted(Some(&digest), None).unwrap();
        let mut body = wanted.begin().unwrap();
        assert!(body.take(&vec![b'x'; HASHED - 1]));
        assert!(!body.take(b"xyz"));
        assert!(!body.take(b"more"));
        assert_eq!(body.content.capacity(), 0);
        assert_eq!(body.judge(&Progress::default()).await, Ok(()));
    }

    #[tokio::test]
    async fn an_expression_matches_across_parts_and_bytes_that_are_no_text() {
        let wanted = wanted(None, Some("status: (ok|fine)")).unwrap();
        let judged = async |parts: &[&[u8]]| judged(&wanted, parts).await;
        assert_eq!(judged(&[b"\xff sta", b"tus: fine"]).await, Ok(()));
        let other = judged(&[b"status: bad"]).await;
        assert_eq!(other, Err(Failure::Regex.into()));
    }

    #[tokio::test]
    async fn an_expression_looks_at_the_first_64_kib_also_beside_a_digest() {
        let regex = Some("end$");
        let alone = wanted(None, regex).unwrap();
        let mut body = alone.begin().unwrap();
        assert!(body.take(&vec![b'x'; MATCHED - 3]));
        assert!(!body.take(b"endless"));
        assert!(!body.take(b"more"));
        assert_eq!(body.content.len(), MATCHED);
        assert_eq!(body.judge(&Progress::default()).await, Ok(()));
        let digest = digest(DigestAlgorithm::Md5, "");
        let both = wanted(Some(&digest), regex).unwrap();
        let mut body = both.begin().unwrap();
        assert!(body.take(&vec![b'x'; HASHED - 1]));
        assert_eq!(body.content.len(), MATCHED);
    }

    #[test]
    fn a_match_does_not_hold_its_probes_thread_up() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (release, released) = std::sync::mpsc::channel::<()>();
            // The only other thread is busy, so that no match is done before it is looked at.
            let busy = tokio::task::spawn_blocking(move || released.recv());
            let wanted = wanted(None, Some("ok")).unwrap();
            let progress = Progress::default();
            let mut judging = pin!(wanted.begin().unwrap().judge(&progress));
            assert_eq!(judging.as_mut().now_or_never(), None, "it is away");
            assert_eq!(progress.stage(), Stage::Matching);
            release.send(()).unwrap();
            assert_eq!(judging.await, Err(Failure::Regex.into()));
            busy.await.unwrap().unwrap();
        });
    }

    #[tokio::test]
    async fn a_match_waits_for_its_turn_and_a_digest_for_nothing() {
        let matchers = Matchers::default();
        let first = matchers.turn().await.unwrap();
        let _second = matchers.turn().await.unwrap();
        let begun = |wanted: &Wanted| {
            let progress = Progress::default();
            let body = wanted.begin().unwrap();
            let judged = body.judge(&progress).now_or_never();
            (judged, progress.stage())
        };
        let digest = digest(DigestAlgorithm::Md5, "d41d8cd98f00b204e9800998ecf8427e");
        let hashed = Wanted::of(Some(&digest), None, &matchers).unwrap();
        assert_eq!(begun(&hashed).0, Some(Ok(())));
        let matched = Wanted::of(None, Some("^$"), &matchers).unwrap();
        assert_eq!(begun(&matched), (None, Stage::Queued));
        drop(first);
        assert_eq!(judged(&matched, &[]).await, Ok(()));
    }

    #[test]
    fn without_a_wish_no_body_is_begun_and_a_bad_one_cannot_be_asked() {
        assert!(wanted(None, None).unwrap().begin().is_none());
        for regex in ["(", "(?:a{1000}){1000}", "[a-z]{4000}[0-9]"] {
            assert!(wanted(None, Some(regex)).is_err(), "{regex}");
        }
    }

    #[test]
    fn what_health_pages_are_asked_for_is_not_too_big() {
        for regex in [
            r#"(?i)"status"\s*:\s*"(ok|up|green)""#,
            r"(?s)^\{.*ready.:\s*true.*\}\s*$",
            r"\bversion: \d{1,5}\.\d{1,5}\.\d{1,5}\b",
            r"<title>.{0,200}</title>",
            r"<h1>\w+ \w+ \w+ \w+</h1>",
            r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
        ] {
            assert!(wanted(None, Some(regex)).is_ok(), "{regex}");
        }
    }
}
