//! The body of an HTTP answer, as far as something is wanted of it.
//!
//! Owns its digest and its beginning while a probe lasts. Nothing of a body is kept or shown.

use md5::Md5;
use regex::bytes::{Regex, RegexBuilder};
use sha2::{Digest as _, Sha256};
use vipkeeper_crds::server::{BodyDigest, DigestAlgorithm};

use super::outcome::Failure;

/// How much of a body is looked at, in bytes.
const LONGEST: usize = 1 << 20;
/// The most memory that an expression may take once it is compiled, in bytes.
const EXPRESSION: usize = 1 << 20;

/// What is wanted of bodies.
#[derive(Debug)]
pub(super) struct Wanted {
    digest: Option<(DigestAlgorithm, String)>,
    regex: Option<Regex>,
}

/// What of one body was seen.
pub(super) struct Body<'a> {
    wanted: &'a Wanted,
    content: Vec<u8>,
}

impl Wanted {
    pub(super) fn of(digest: Option<&BodyDigest>, regex: Option<&str>) -> Result<Self, Failure> {
        let regex = regex.map(|regex| RegexBuilder::new(regex).size_limit(EXPRESSION).build());
        let unaskable = |_| Failure::Unaskable("the expression cannot be compiled");
        Ok(Self {
            digest: digest.map(|digest| (digest.algorithm, digest.value.to_ascii_lowercase())),
            regex: regex.transpose().map_err(unaskable)?,
        })
    }

    /// A body of which nothing was seen; `None` if nothing is wanted of it.
    pub(super) fn begin(&self) -> Option<Body<'_>> {
        (self.digest.is_some() || self.regex.is_some()).then_some(Body {
            wanted: self,
            content: Vec::new(),
        })
    }
}

impl Body<'_> {
    /// Takes the next part, and says whether more is wanted.
    pub(super) fn take(&mut self, part: &[u8]) -> bool {
        let room = LONGEST - self.content.len();
        self.content.extend(part.iter().take(room));
        self.content.len() < LONGEST
    }

    /// Whether it is as it should be.
    pub(super) fn judge(&self) -> Result<(), Failure> {
        if let Some((algorithm, digest)) = &self.wanted.digest {
            let made = match algorithm {
                DigestAlgorithm::Md5 => hexadecimal(&Md5::digest(&self.content)),
                DigestAlgorithm::Sha256 => hexadecimal(&Sha256::digest(&self.content)),
            };
            if made != *digest {
                return Err(Failure::Digest);
            }
        }
        match &self.wanted.regex {
            Some(regex) if !regex.is_match(&self.content) => Err(Failure::Regex),
            Some(_) | None => Ok(()),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(algorithm: DigestAlgorithm, value: &str) -> BodyDigest {
        BodyDigest {
            algorithm,
            value: value.to_owned(),
        }
    }

    fn judged(wanted: &Wanted, parts: &[&[u8]]) -> Result<(), Failure> {
        let mut body = wanted.begin().unwrap();
        for part in parts {
            body.take(part);
        }
        body.judge()
    }

    #[test]
    fn a_digest_is_of_all_parts() {
        // RFC 1321 appendix A.5 and FIPS 180-2 appendix B.1: "abc".
        for wanted in [
            digest(DigestAlgorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            digest(
                DigestAlgorithm::Sha256,
                "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
            ),
        ] {
            let wanted = Wanted::of(Some(&wanted), None).unwrap();
            assert_eq!(judged(&wanted, &[b"a", b"", b"bc"]), Ok(()));
            assert_eq!(judged(&wanted, &[b"abd"]), Err(Failure::Digest));
        }
    }

    #[test]
    fn an_expression_matches_across_parts_and_bytes_that_are_no_text() {
        let wanted = Wanted::of(None, Some("status: (ok|fine)")).unwrap();
        assert_eq!(judged(&wanted, &[b"\xff sta", b"tus: fine"]), Ok(()));
        assert_eq!(judged(&wanted, &[b"status: bad"]), Err(Failure::Regex));
    }

    #[test]
    fn no_more_is_kept_than_is_looked_at() {
        let wanted = Wanted::of(None, Some("end$")).unwrap();
        let mut body = wanted.begin().unwrap();
        assert!(body.take(&vec![b'x'; LONGEST - 3]));
        assert!(!body.take(b"endless"));
        assert!(!body.take(b"more"));
        assert_eq!(body.content.len(), LONGEST);
        assert_eq!(body.judge(), Ok(()));
    }

    #[test]
    fn without_a_wish_no_body_is_begun_and_a_bad_one_cannot_be_asked() {
        assert!(Wanted::of(None, None).unwrap().begin().is_none());
        for regex in ["(", "(?:a{1000}){1000}"] {
            assert!(Wanted::of(None, Some(regex)).is_err());
        }
    }
}
