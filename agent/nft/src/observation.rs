//! What the kernel has of our table, as far as it was asked, and whether that is what it should be.
//!
//! Whoever wants to know asks [`Question::Generation`], then all of [`Table::questions`], and hands every answer to
//! [`Observation::take`]; then [`Table::compare`] tells. While the generation stays as it was, nobody has changed any table
//! and there is no need to ask again.

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper_netlink::{Attribute, Draft, attributes, flags};

use crate::answer::{Answer, Content, Observed, Part};
use crate::numbers::{INET, elements, message, rule, set, table};
use crate::table::{Element, Table, TableName};

/// A question to the kernel. Each but the first is answered by [`Observed`](Content::Observed) parts and ends with
/// [`Done`](Content::Done), [`Acknowledged`](Content::Acknowledged) or [`Refused`](Content::Refused); ENOENT is an answer
/// too: what is asked for does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The number of the ruleset, answered by [`Generation`](Content::Generation) and an acknowledgement.
    Generation,
    /// Whether the table exists.
    Table(TableName),
    /// Its chains; the kernel sends those of other tables too.
    Chains,
    /// Its sets.
    Sets(TableName),
    /// Its rules.
    Rules(TableName),
    /// The elements of one of its sets.
    Elements(TableName, String),
}

impl Question {
    /// Appends the message to `buffer`.
    pub fn emit(&self, sequence: u32, buffer: &mut Vec<u8>) {
        let (kind, dump) = match self {
            Self::Generation => (message::GET_GENERATION, false),
            Self::Table(_) => (message::GET_TABLE, false),
            Self::Chains => (message::GET_CHAIN, true),
            Self::Sets(_) => (message::GET_SET, true),
            Self::Rules(_) => (message::GET_RULE, true),
            Self::Elements(..) => (message::GET_ELEMENTS, true),
        };
        let dump = if dump { flags::DUMP } else { flags::ACK };
        let mut draft = Draft::begin(buffer, kind, flags::REQUEST | dump, sequence);
        draft.header(&[INET, 0, 0, 0]);
        match self {
            Self::Generation | Self::Chains => {}
            Self::Table(name) => {
                draft.text(table::NAME, name.as_str());
            }
            Self::Sets(name) => {
                draft.text(set::TABLE, name.as_str());
            }
            Self::Rules(name) => {
                draft.text(rule::TABLE, name.as_str());
            }
            Self::Elements(name, set) => {
                draft
                    .text(elements::TABLE, name.as_str())
                    .text(elements::SET, set);
            }
        }
        finish(draft);
    }
}

/// What the kernel has of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    name: TableName,
    exists: bool,
    chains: BTreeMap<String, Vec<u8>>,
    sets: BTreeMap<String, Vec<u8>>,
    rules: BTreeMap<String, Vec<Vec<u8>>>,
    elements: BTreeMap<String, BTreeSet<Element>>,
}

impl Observation {
    /// Nothing yet of the table `name`.
    #[must_use]
    pub const fn new(name: TableName) -> Self {
        Self {
            name,
            exists: false,
            chains: BTreeMap::new(),
            sets: BTreeMap::new(),
            rules: BTreeMap::new(),
            elements: BTreeMap::new(),
        }
    }

    /// The table exists.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.exists
    }

    /// Takes what an answer says of the table.
    pub fn take(&mut self, answer: Answer) {
        let Ok(Content::Observed(Observed { table, part })) = answer.content else {
            return;
        };
        if table != self.name.as_str() {
            return;
        }
        match part {
            Part::Table => self.exists = true,
            Part::Chain { name, attributes } => {
                self.chains.insert(name, attributes);
            }
            Part::Set { name, attributes } => {
                self.sets.insert(name, attributes);
            }
            Part::Rule { chain, attributes } => {
                self.rules.entry(chain).or_default().push(attributes)
            }
            Part::Elements { set, elements } => {
                self.elements.entry(set).or_default().extend(elements)
            }
        }
    }
}

/// The first thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The table does not exist.
    #[error("the table does not exist")]
    Table,
    /// A chain is not there, is another, or is there though it should not be.
    #[error("the chain `{0}` differs")]
    Chain(String),
    /// The same of a set.
    #[error("the set `{0}` differs")]
    Set(String),
    /// The same of a set's elements.
    #[error("the elements of the set `{0}` differ")]
    Elements(String),
    /// The same of a chain's rules.
    #[error("the rules of the chain `{0}` differ")]
    Rules(String),
}

impl Table {
    /// What must be asked to compare it with what the kernel has.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let name = || self.name.clone();
        let mut questions = vec![
            Question::Table(name()),
            Question::Chains,
            Question::Sets(name()),
            Question::Rules(name()),
        ];
        let elements = self
            .sets
            .iter()
            .map(|set| Question::Elements(name(), set.name.clone()));
        questions.extend(elements);
        questions
    }

    /// Whether the kernel has exactly this table. What the kernel says besides what was written, as handles and counters,
    /// does not count; the table's comment neither, for Linux before 5.10 does not keep it.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn compare(&self, observed: &Observation) -> Result<(), Difference> {
        if !observed.exists {
            return Err(Difference::Table);
        }
        self.compare_sets(observed)?;
        self.compare_chains(observed)
    }

    fn compare_sets(&self, observed: &Observation) -> Result<(), Difference> {
        let none = BTreeSet::new();
        for set in &self.sets {
            let theirs = observed.sets.get(&set.name);
            if !theirs.is_some_and(|theirs| says(theirs, &set.attributes)) {
                return Err(Difference::Set(set.name.clone()));
            }
            if *observed.elements.get(&set.name).unwrap_or(&none) != set.elements {
                return Err(Difference::Elements(set.name.clone()));
            }
        }
        let ours: BTreeSet<_> = self.sets.iter().map(|set| set.name.as_str()).collect();
        match observed
            .sets
            .keys()
            .find(|name| !ours.contains(name.as_str()))
        {
            Some(more) => Err(Difference::Set(more.clone())),
            None => Ok(()),
        }
    }

    fn compare_chains(&self, observed: &Observation) -> Result<(), Difference> {
        for chain in &self.chains {
            let theirs = observed.chains.get(chain.name);
            if !theirs.is_some_and(|theirs| says(theirs, &chain.attributes)) {
                return Err(Difference::Chain(chain.name.to_owned()));
            }
            let ours: Vec<_> = self
                .rules
                .iter()
                .filter(|rule| rule.chain == chain.name)
                .collect();
            let theirs = observed
                .rules
                .get(chain.name)
                .map_or(&[][..], Vec::as_slice);
            let same = ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(ours, theirs)| says(theirs, &ours.attributes));
            if !same {
                return Err(Difference::Rules(chain.name.to_owned()));
            }
        }
        let ours: BTreeSet<_> = self.chains.iter().map(|chain| chain.name).collect();
        match observed
            .chains
            .keys()
            .find(|name| !ours.contains(name.as_str()))
        {
            Some(more) => Err(Difference::Chain(more.clone())),
            None => Ok(()),
        }
    }
}

/// Attributes `theirs` say all that `ours` say: each kind of ours is there as often, with the same value, or with one that
/// says all that ours says. Bytes that are no attributes say nothing.
fn says(theirs: &[u8], ours: &[u8]) -> bool {
    let theirs: Vec<_> = attributes(theirs).flatten().collect();
    let ours: Vec<_> = attributes(ours).flatten().collect();
    let kinds: BTreeSet<_> = ours.iter().map(|attribute| attribute.kind).collect();
    kinds.into_iter().all(|kind| {
        let of_kind = |attribute: &&Attribute<'_>| attribute.kind == kind;
        let (theirs, ours) = (theirs.iter().filter(of_kind), ours.iter().filter(of_kind));
        theirs.clone().count() == ours.clone().count()
            && theirs.zip(ours).all(|(theirs, ours)| {
                theirs.value == ours.value || (ours.nested && says(theirs.value, ours.value))
            })
    })
}

#[expect(clippy::expect_used, reason = "two names are all that a question has")]
fn finish(draft: Draft<'_>) {
    draft.finish().expect("a question is at most 200 bytes");
}
