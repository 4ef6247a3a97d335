//! YAML (and JSON, which is YAML) to values with the place of each. Nobody else reads YAML.
//!
//! Aliases and merge keys are resolved, where they are used counts as their place; the reader's limits keep a
//! hostile file from growing. Never says what a document should contain.

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
        alias_limits: serde_saphyr::alias_limits! {max_total_replayed_events: 100_000},
        // `Known` refuses what comes twice.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(line: u64, column: u64) -> Position {
        Position { line, column }
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "# a comment\nkind: X\nspec:\n  list:\n  - name: a\n  - {name: b, n: 2}\n---\n{\"kind\": \"Y\", \"spec\": {\"a\": [true, null]}}\n";
        let documents: Vec<_> = read(text).unwrap().collect();
        let [first, second] = &documents[..] else {
            panic!("{documents:?}");
        };
        assert_eq!(
            first.value,
            json!({"kind": "X", "spec": {"list": [{"name": "a"}, {"name": "b", "n": 2}]}})
        );
        for (path, value, key) in [
            ("kind", at(2, 7), at(2, 1)),
            ("spec.list[0].name", at(5, 11), at(5, 5)),
            ("spec.list[1].n", at(6, 18), at(6, 15)),
            ("spec.list[1].missing", at(6, 5), at(6, 5)),
            ("spec.list[7]", at(4, 3), at(4, 3)),
            ("spec.missing.deeper", at(3, 1), at(3, 1)),
            ("missing", at(2, 1), at(2, 1)),
        ] {
            assert_eq!(first.places.value(path), value, "{path}");
            assert_eq!(first.places.key(path), key, "{path}");
        }
        assert_eq!(second.places.value("spec.a[1]"), at(8, 36));
        assert_eq!(second.places.below("spec").value("a[0]"), at(8, 30));
    }

    #[test]
    fn empty_documents_and_files_are_nothing() {
        for text in [
            "",
            "\n",
            "# only a comment\n",
            "---\n",
            "---\n---\n# x\n---\n",
            "null\n",
        ] {
            assert_eq!(read(text).map(Iterator::count), Ok(0), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        for (text, line) in [
            ("a: [1, 2\nb: 3\n", 2),
            ("a: 1\na: 2\n", 2),
            ("a:\n\t- b\n", 2),
            ("kind: X\n---\na: 'open\n", 3),
            ("a: *nowhere\n", 1),
            ("a: .nan\n", 1),
        ] {
            let error = read(text).err().unwrap();
            assert_eq!(error.position.line, line, "{text:?}: {error:?}");
            assert!(!error.message.contains('\n'), "{error:?}");
            assert!(
                !error.message.contains("line "),
                "the place twice: {error:?}"
            );
        }
    }

    #[test]
    fn words_stay_words() {
        let text = "a: yes\nb: on\nc: 192.0.2.1\nd: 2001:db8::1\ne: 1s\nf: 0755\n";
        let value = only(text).value;
        for (key, expected) in [
            ("a", "yes"),
            ("b", "on"),
            ("c", "192.0.2.1"),
            ("d", "2001:db8::1"),
            ("e", "1s"),
        ] {
            assert_eq!(value[key], expected, "{value}");
        }
    }

    #[test]
    fn foreign_line_ends_and_byte_order_marks_are_no_mistake() {
        let document = only("\u{feff}a: 1\r\nb:\r\n- 2\r\n");
        assert_eq!(document.value, json!({"a": 1, "b": [2]}));
        assert_eq!(document.places.value("b[0]"), at(3, 3));
    }

    #[test]
    fn a_key_that_comes_twice_is_refused_in_its_place() {
        let many: String = (0..100).map(|i| format!("k{i}: 1\n")).collect();
        for (text, position) in [
            ("a: 1\nb: {c: 1, d: 2, c: 3}\n".to_owned(), at(2, 17)),
            (format!("{many}k0: 2\n"), at(101, 1)),
            (format!("{many}k99: 2\n"), at(101, 1)),
            (
                "a: &x {n: 1}\nb: {<<: *x, n: 2, n: 3}\n".to_owned(),
                at(2, 19),
            ),
        ] {
            let error = read(&text).err().unwrap();
            assert_eq!(error.position, position, "{error:?}");
            let twice = "is here a second time: remove one of the two";
            assert!(error.message.ends_with(twice), "{error:?}");
        }
        assert_eq!(only(&many).value.as_object().unwrap().len(), 100);
    }

    #[test]
    fn what_is_written_counts_more_than_what_is_merged() {
        for text in [
            "a: &x {n: 1, m: 1}\nb: {<<: *x, n: 2}\n",
            "a: &x {n: 1, m: 1}\nb: {n: 2, <<: *x}\n",
        ] {
            assert_eq!(only(text).value["b"], json!({"n": 2, "m": 1}), "{text}");
        }
    }

    #[test]
    fn an_alias_has_the_place_of_its_use() {
        let document = only("a: &x {n: 1}\nb: *x\nc:\n  <<: *x\n  m: 2\n");
        assert_eq!(document.value["b"]["n"], 1);
        assert_eq!(document.value["c"], json!({"n": 1, "m": 2}));
        assert_eq!(document.places.value("b").line, 2);
        assert_eq!(document.places.value("c.n").line, 4);
    }

    #[test]
    fn a_file_that_explodes_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let previous = format!("*a{}, ", i - 1).repeat(10);
            text.push_str(&format!("a{i}: &a{i} [{previous}]\n"));
        }
        assert!(read(&text).is_err());
        let deep = "[".repeat(10_000);
        assert!(read(&deep).is_err());
    }

    /// The document of `text`, which has one.
    fn only(text: &str) -> Document {
        let mut documents = read(text).unwrap();
        let document = documents.next().unwrap();
        assert!(documents.next().is_none(), "{text:?}");
        document
    }
}
