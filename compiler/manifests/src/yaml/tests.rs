//! Reading YAML.

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
fn a_file_may_have_thousands_of_documents() {
    let text = "---\nkind: X\n".repeat(20_000);
    assert_eq!(read(&text).map(Iterator::count), Ok(20_000));
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
