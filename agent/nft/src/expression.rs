//! The expressions of a rule. Each loads something into registers, or judges what is there; a rule ends at the first that
//! does not match.

use vipkeeper_netlink::Draft;

use crate::layout::Field;
use crate::numbers::{LIST_MEMBER, data, rule};

/// A rule's expressions, being written.
#[derive(Debug)]
pub(crate) struct Expressions<'d, 'b>(pub(crate) &'d mut Draft<'b>);

/// What is done with a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    Drop,
    Accept,
    /// On with this chain, and back.
    Jump(&'static str),
}

/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;
/// `NFT_CMP_EQ`, `NFT_CMP_NEQ`.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
/// `NFT_LOOKUP_F_INV`.
const INVERTED: u32 = 1;

impl Expressions<'_, '_> {
    /// The fields are, one after another, an element of `set`.
    pub(crate) fn within(&mut self, fields: &[Field], set: &str) -> &mut Self {
        self.load_all(fields).lookup(set, false)
    }

    /// They are not.
    pub(crate) fn not_within(&mut self, fields: &[Field], set: &str) -> &mut Self {
        self.load_all(fields).lookup(set, true)
    }

    /// The field is `value`.
    pub(crate) fn is(&mut self, field: Field, value: &[u8]) -> &mut Self {
        self.load(field, 0).compare(EQUAL, value)
    }

    /// The field is something else.
    pub(crate) fn is_not(&mut self, field: Field, value: &[u8]) -> &mut Self {
        self.load(field, 0).compare(NOT_EQUAL, value)
    }

    /// Gives the connection an address of this node as source.
    pub(crate) fn masquerade(&mut self) {
        self.put("masq", |_| {});
    }

    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        // NF_DROP, NF_ACCEPT, NFT_JUMP.
        let (code, chain) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Jump(chain) => (u32::MAX - 2, Some(chain)),
        };
        self.put("immediate", |draft| {
            draft.be32(1, VERDICT_REGISTER).nest(2, |draft| {
                draft.nest(data::VERDICT, |draft| {
                    draft.be32(data::VERDICT_CODE, code);
                    if let Some(chain) = chain {
                        draft.text(data::VERDICT_CHAIN, chain);
                    }
                });
            });
        });
    }

    fn load_all(&mut self, fields: &[Field]) -> &mut Self {
        let mut word = 0;
        for field in fields {
            self.load(*field, word);
            word += field.words();
        }
        self
    }

    fn load(&mut self, field: Field, word: u32) -> &mut Self {
        let register = register(word);
        match field {
            Field::Meta { key, .. } => self.put("meta", |draft| {
                draft.be32(2, key).be32(1, register);
            }),
            Field::Connection { key, direction, .. } => self.put("ct", |draft| {
                draft
                    .be32(2, key)
                    .be32(1, register)
                    .attribute(3, &[direction]);
            }),
            Field::Payload {
                base,
                offset,
                length,
            } => self.put("payload", |draft| {
                draft
                    .be32(1, register)
                    .be32(2, base)
                    .be32(3, offset)
                    .be32(4, length);
            }),
        }
    }

    fn lookup(&mut self, set: &str, inverted: bool) -> &mut Self {
        self.put("lookup", |draft| {
            // Said also if it is 0, so that a comparison finds it changed.
            let flags = if inverted { INVERTED } else { 0 };
            draft.be32(2, register(0)).text(1, set).be32(5, flags);
        })
    }

    fn compare(&mut self, operation: u32, value: &[u8]) -> &mut Self {
        self.put("cmp", |draft| {
            draft
                .be32(1, register(0))
                .be32(2, operation)
                .nest(3, |draft| {
                    draft.attribute(data::VALUE, value);
                });
        })
    }

    fn put(&mut self, name: &str, fill: impl FnOnce(&mut Draft<'_>)) -> &mut Self {
        self.0.nest(LIST_MEMBER, |draft| {
            draft
                .text(rule::EXPRESSION_NAME, name)
                .nest(rule::EXPRESSION_DATA, |draft| fill(draft));
        });
        self
    }
}

/// The register that begins at a word of four bytes. Those at each fourth word have two numbers; the kernel answers with
/// this one.
const fn register(word: u32) -> u32 {
    if word.is_multiple_of(4) {
        1 + word / 4
    } else {
        8 + word
    }
}
