//! YAML (and JSON, which is YAML) to values with the place of each. Nobody else reads YAML.
//!
//! Aliases and merge keys are resolved, where they are used counts as their place; the reader's limits keep a
//! hostile file from growing. Never says what a document should contain.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Spanned};

use crate::places::{Located, Place, Places};

/// A place in a text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column in characters.
    pub column: u64,
}

impl Position {
    /// The first character.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        Self {
            line: location.line().max(1),
            column: location.column().max(1),
        }
    }
}

/// A document of a file, or an item of a List.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// What it says.
    pub(crate) value: Value,
    /// Where it says it.
    pub(crate) places: Places,
}

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SyntaxError {
    /// Where.
    pub(crate) position: Position,
    /// What, without the place.
    pub(crate) message: String,
}

/// The documents of `text`; empty ones are left out. Each becomes a value when it is its turn: all at once would need
/// some fifty bytes of memory for each byte of text.
pub(crate) fn read(text: &str) -> Result<impl Iterator<Item = Document>, SyntaxError> {
    let roots: Vec<Plain> = trees(text)?;
    let documents = roots.into_iter().zip(Places::of(text));
    let documents = documents.map(|(root, places)| Document {
        value: root.into(),
        places,
    });
    Ok(documents.filter(|document| !document.value.is_null()))
}

/// Where everything is in `text`, which can be read: of each document, empty ones as well.
pub(crate) fn locate(text: &str) -> Vec<Located> {
    let roots: Vec<Spanned<Node>> = trees(text).unwrap_or_default();
    let located = roots.into_iter().map(|root| {
        let start = root.referenced.into();
        let mut fields = BTreeMap::new();
        place(root.value, "", &mut fields);
        Located { start, fields }
    });
    located.collect()
}

fn trees<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, SyntaxError> {
    // Where nothing can be merged the reader need not remember the keys of each map, which is a fifth of its time.
    let merge_keys = match text.contains("<<") {
        true => MergeKeyPolicy::Merge,
        false => MergeKeyPolicy::AsOrdinary,
    };
    let options = serde_saphyr::options! {
        // A file is bounded by its size; the reader's own bound is reached by a thousand small objects.
        budget: serde_saphyr::budget! {max_documents: 65_536},
        alias_limits: serde_saphyr::alias_limits! {max_total_replayed_events: 100_000},
        // `Fresh` refuses what comes twice.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: merge_keys,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| SyntaxError::from(&error))
}

/// Adds the places below `path` of what is in `node`.
fn place(node: Node, path: &str, fields: &mut BTreeMap<String, Place>) {
    match node {
        Node::Scalar => {}
        Node::List(items) => {
            for (i, item) in items.into_iter().enumerate() {
                let path = format!("{path}[{i}]");
                let at = item.referenced.into();
                fields.insert(path.clone(), Place { key: at, value: at });
                place(item.value, &path, fields);
            }
        }
        Node::Map(entries) => {
            for (key, value) in entries {
                let path = match path {
                    "" => key.value,
                    _ => format!("{path}.{}", key.value),
                };
                let at = Place {
                    key: key.referenced.into(),
                    value: value.referenced.into(),
                };
                fields.insert(path.clone(), at);
                place(value.value, &path, fields);
            }
        }
    }
}

impl From<&serde_saphyr::Error> for SyntaxError {
    fn from(error: &serde_saphyr::Error) -> Self {
        let position = error.location().map_or(Position::START, Position::from);
        let text = error.without_snippet().to_string();
        // The place is said once, in front.
        let suffix = format!(" at line {}, column {}", position.line, position.column);
        let prefix = format!("line {} column {}: ", position.line, position.column);
        let message = text.strip_suffix(&suffix).unwrap_or(&text);
        let message = message.strip_prefix(&prefix).unwrap_or(message);
        Self {
            position,
            message: message.replace('\n', " "),
        }
    }
}

/// What a document is read into.
trait Tree: Sized {
    type Key: DeserializeOwned;
    type Item: DeserializeOwned;

    fn name(key: &Self::Key) -> &str;
    fn scalar(value: Value) -> Self;
    fn list(items: Vec<Self::Item>) -> Self;
    fn map(entries: Vec<(Self::Key, Self::Item)>) -> Self;
}

/// A value without places, packed.
enum Plain {
    /// Neither a list nor a map.
    Scalar(Value),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Tree for Plain {
    type Key = String;
    type Item = Self;

    fn name(key: &String) -> &str {
        key
    }

    fn scalar(value: Value) -> Self {
        Self::Scalar(value)
    }

    fn list(items: Vec<Self>) -> Self {
        Self::List(items)
    }

    fn map(entries: Vec<(String, Self)>) -> Self {
        Self::Map(entries)
    }
}

impl From<Plain> for Value {
    fn from(plain: Plain) -> Self {
        match plain {
            Plain::Scalar(value) => value,
            Plain::List(items) => items.into_iter().map(Self::from).collect(),
            Plain::Map(entries) => {
                let entries = entries.into_iter();
                Self::Object(entries.map(|(key, item)| (key, item.into())).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor(PhantomData))
    }
}

/// Places without values.
enum Node {
    Scalar,
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl Tree for Node {
    type Key = Spanned<String>;
    type Item = Spanned<Self>;

    fn name(key: &Spanned<String>) -> &str {
        &key.value
    }

    fn scalar(_: Value) -> Self {
        Self::Scalar
    }

    fn list(items: Vec<Spanned<Self>>) -> Self {
        Self::List(items)
    }

    fn map(entries: Vec<(Spanned<String>, Spanned<Self>)>) -> Self {
        Self::Map(entries)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor(PhantomData))
    }
}

struct TreeVisitor<T>(PhantomData<T>);

impl<'de, T: Tree + Deserialize<'de>> Visitor<'de> for TreeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        let number = serde_json::Number::from_f64(value);
        let number = number.ok_or_else(|| E::custom("not a finite number"))?;
        Ok(T::scalar(number.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<T, E> {
        Ok(T::scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        list.shrink_to_fit();
        Ok(T::list(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<T, A::Error> {
        let (mut map, mut many) = (Vec::new(), HashSet::new());
        loop {
            let fresh = Fresh::<T> {
                entries: &map,
                many: &mut many,
            };
            let Some(key) = entries.next_key_seed(fresh)? else {
                // Most have two or three, and there are many.
                map.shrink_to_fit();
                return Ok(T::map(map));
            };
            map.push((key, entries.next_value()?));
        }
    }
}

/// So many keys are looked through faster than hashed.
const FEW: usize = 16;

/// Reads a key that is not among those of the map's `entries`.
struct Fresh<'a, T: Tree> {
    entries: &'a [(T::Key, T::Item)],
    /// Their keys, once they are more than [`FEW`].
    many: &'a mut HashSet<String>,
}

impl<'de, T: Tree> DeserializeSeed<'de> for Fresh<'_, T> {
    type Value = T::Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Key, D::Error> {
        let key = T::Key::deserialize(deserializer)?;
        let name = T::name(&key);
        let mut known = self.entries.iter().map(|(key, _)| T::name(key));
        let is_fresh = if self.entries.len() < FEW {
            known.all(|known| known != name)
        } else {
            if self.many.is_empty() {
                self.many.extend(known.map(str::to_owned));
            }
            self.many.insert(name.to_owned())
        };
        if is_fresh {
            Ok(key)
        } else {
            let message = format!("`{name}` is here a second time: remove one of the two");
            Err(de::Error::custom(message))
        }
    }
}
