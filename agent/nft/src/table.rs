//! The table: sets, chains and rules as the kernel takes them. What they do is said in `table/chains.rs`.

mod chains;

use std::collections::BTreeSet;
use std::fmt;

use vipkeeper_netlink::Draft;

use crate::expression::Expressions;
use crate::layout::{Field, KeyType, Layout};
use crate::numbers::{LIST_MEMBER, chain, rule, set};
use crate::ruleset::Ruleset;

/// `NF_ACCEPT`, of what no rule of a base chain drops.
const ACCEPT: u32 = 1;

/// The name of a table: 1..=100 letters, digits, `-` and `_`, the first a letter, as `nft` can write it without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(String);

/// A text that cannot be the name of a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a table is 1 to 100 letters, digits, `-` and `_`, the first a letter; not `{0}`"
)]
pub struct InvalidTableName(String);

impl TableName {
    /// `name` as the name of a table.
    ///
    /// # Errors
    ///
    /// It cannot be one.
    pub fn new(name: &str) -> Result<Self, InvalidTableName> {
        let letters = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        let begins = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic());
        if letters && begins && name.len() <= 100 {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidTableName(name.to_owned()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table of the family `inet`: what a [`Ruleset`] wants, as sets, chains and rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub(crate) name: TableName,
    pub(crate) sets: Vec<Set>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) rules: Vec<Rule>,
}

/// A set with its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) attributes: Vec<u8>,
    pub(crate) elements: BTreeSet<Element>,
}

/// An element of a set: a key, or the keys between two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) attributes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) chain: &'static str,
    pub(crate) attributes: Vec<u8>,
}

impl Table {
    /// The table `name` that does what `ruleset` wants.
    #[must_use]
    pub fn new(name: TableName, ruleset: &Ruleset) -> Self {
        let mut table = Self {
            name,
            sets: Vec::new(),
            chains: Vec::new(),
            rules: Vec::new(),
        };
        table.full_nat(ruleset);
        table.source_ranges(ruleset);
        table.accept_mode(ruleset);
        table
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &TableName {
        &self.name
    }

    /// It does nothing, and is better [removed](crate::Batch::removal).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// A set of addresses with protocol and port; its name.
    fn port_set(&mut self, name: &str, layout: &Layout, elements: BTreeSet<Element>) -> String {
        let fields = [layout.destination, Field::PROTOCOL, Field::DESTINATION_PORT];
        let types = [layout.address_type, KeyType::PROTOCOL, KeyType::PORT];
        self.set(name, layout, &fields, &types, elements)
    }

    /// A set of which an element is `fields`, of the lengths that these have; its name.
    fn set(
        &mut self,
        name: &str,
        layout: &Layout,
        fields: &[Field],
        types: &[KeyType],
        elements: BTreeSet<Element>,
    ) -> String {
        let name = format!("{name}{}", layout.suffix);
        // Six bits each.
        let key_type = types.iter().fold(0, |all, kind| all << 6 | kind.0);
        let key_len = match fields {
            [only] => only.length(),
            several => several.iter().map(|field| field.words() * 4).sum(),
        };
        let ranges = elements.iter().any(|element| element.end.is_some());
        let attributes = self.named(set::TABLE, |draft| {
            draft.text(set::NAME, &name);
            if ranges {
                draft.be32(set::FLAGS, set::INTERVAL | set::CONCATENATED);
            }
            draft
                .be32(set::KEY_TYPE, key_type)
                .be32(set::KEY_LEN, key_len);
            if ranges {
                draft.nest(set::DESCRIPTION, |draft| put_fields(draft, fields));
            }
        });
        self.sets.push(Set {
            name: name.clone(),
            attributes,
            elements,
        });
        name
    }

    fn base_chain(&mut self, name: &'static str, kind: &str, hook: u32, priority: u32) {
        let attributes = self.named(chain::TABLE, |draft| {
            draft
                .text(chain::NAME, name)
                .be32(chain::POLICY, ACCEPT)
                .text(chain::TYPE, kind)
                .nest(chain::HOOK, |draft| {
                    draft
                        .be32(chain::HOOK_NUMBER, hook)
                        .be32(chain::HOOK_PRIORITY, priority);
                });
        });
        self.chains.push(Chain { name, attributes });
    }

    fn rule(&mut self, chain: &'static str, fill: impl FnOnce(&mut Expressions<'_, '_>)) {
        let attributes = self.named(rule::TABLE, |draft| {
            draft
                .text(rule::CHAIN, chain)
                .nest(rule::EXPRESSIONS, |draft| fill(&mut Expressions(draft)));
        });
        self.rules.push(Rule { chain, attributes });
    }

    /// Attributes that begin with the table's name.
    #[expect(
        clippy::expect_used,
        reason = "the longest rule has a dozen expressions of at most 60 bytes"
    )]
    fn named(&self, kind: u16, fill: impl FnOnce(&mut Draft<'_>)) -> Vec<u8> {
        Draft::attributes(|draft| {
            draft.text(kind, self.name.as_str());
            fill(draft);
        })
        .expect("an object of ours is at most 1,500 bytes")
    }
}

impl Element {
    const fn exactly(key: Vec<u8>) -> Self {
        Self { key, end: None }
    }
}

/// The lengths of the fields of a concatenation with ranges.
fn put_fields(draft: &mut Draft<'_>, fields: &[Field]) {
    draft.nest(set::CONCATENATION, |draft| {
        for field in fields {
            draft.nest(LIST_MEMBER, |draft| {
                draft.be32(set::FIELD_LEN, field.length());
            });
        }
    });
}
