//! Values as YAML: a line a key, everything below it in flow style, and no text that could be taken for anything else.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// One document: an object with a line a key, and lists of objects with an item a paragraph.
pub fn document(value: &Value) -> String {
    let Some(object) = value.as_object().filter(|object| !object.is_empty()) else {
        return flow(value) + "\n";
    };
    let mut text = String::new();
    for (key, value) in object {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if items.is_empty() || !items.iter().all(Value::is_object) {
            let _ = writeln!(text, "{}: {}", plain(key), flow(value));
            continue;
        }
        let _ = writeln!(text, "{}:", plain(key));
        for item in items.iter().filter_map(Value::as_object) {
            text.push_str(&paragraph(item));
        }
    }
    text
}

/// A value in JSON of nothing but ASCII, in which no shell finds anything to expand, not even between double
/// quotes.
pub fn json(value: &Value) -> String {
    ascii(&value.to_string(), |c, text| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    })
}

fn paragraph(item: &Map<String, Value>) -> String {
    let simple = |value: &Value| !value.is_array() && !value.is_object();
    if item.values().all(simple) {
        return format!("- {}\n", members(item));
    }
    let mut text = String::new();
    for (place, (key, value)) in item.iter().enumerate() {
        let lead = if place == 0 { "- " } else { "  " };
        let _ = writeln!(text, "{lead}{}: {}", plain(key), flow(value));
    }
    text
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Array(items) => {
            let item = |item: &Value| item.as_str().map_or_else(|| flow(item), quoted);
            format!(
                "[{}]",
                items.iter().map(item).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Object(object) => members(object),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn members(object: &Map<String, Value>) -> String {
    let member = |(key, value): (&String, &Value)| format!("{}: {}", plain(key), flow(value));
    format!(
        "{{{}}}",
        object.iter().map(member).collect::<Vec<_>>().join(", ")
    )
}

/// A text without quotes, where every reader takes it for a text.
fn plain(text: &str) -> String {
    /// What some reader takes for something else than a text.
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let simple = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(inner)
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if simple {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A text between double quotes.
fn quoted(text: &str) -> String {
    ascii(&Value::from(text).to_string(), |c, text| {
        let code = u32::from(c);
        let _ = if code > 0xffff {
            write!(text, "\\U{code:08x}")
        } else {
            write!(text, "\\u{code:04x}")
        };
    })
}

/// JSON with all that is not plain ASCII, or that a shell expands, as `escape` writes it. In JSON such a character
/// stands in texts alone.
fn ascii(json: &str, escape: impl Fn(char, &mut String)) -> String {
    let odd = |c: char| !(' '..='~').contains(&c) || matches!(c, '$' | '`');
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if odd(c) {
            escape(c, &mut text);
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use saphyr_parser::{Event, Parser, ScalarStyle};
    use serde_json::json;

    use super::*;

    #[test]
    fn it_reads_as_people_write_it() {
        let role = json!({
            "kind": "Role", "metadata": {"name": "true", "namespace": "vso-probe"},
            "rules": [{"apiGroups": [""], "verbs": ["get", "list"]}],
            "subjects": [{"kind": "User", "name": "a: b"}], "none": [],
        });
        let text = "kind: Role\nmetadata: {name: \"true\", namespace: vso-probe}\n\"none\": []\n";
        let text = text.replace("\"none\"", "none")
            + "rules:\n- apiGroups: [\"\"]\n  verbs: [\"get\", \"list\"]\nsubjects:\n- {kind: User, name: \"a: b\"}\n";
        assert_eq!(document(&role), text);
    }

    /// Reads one node, as every reader of YAML does.
    fn node<'a>(events: &mut impl Iterator<Item = Event<'a>>) -> Option<Value> {
        match events.next()? {
            Event::Scalar(text, ScalarStyle::Plain, ..) => Some(match text.as_ref() {
                "null" => Value::Null,
                "true" | "false" => (text == "true").into(),
                text => text
                    .parse::<i64>()
                    .map_or_else(|_| text.into(), Value::from),
            }),
            Event::Scalar(text, ..) => Some(text.as_ref().into()),
            Event::SequenceStart(..) => Some(
                std::iter::from_fn(|| node(events))
                    .collect::<Vec<_>>()
                    .into(),
            ),
            Event::MappingStart(..) => {
                let pairs = std::iter::from_fn(|| {
                    let key = node(events)?;
                    Some((key.as_str().map(str::to_owned)?, node(events)?))
                });
                Some(Value::Object(pairs.collect()))
            }
            Event::SequenceEnd | Event::MappingEnd => None,
            _ => node(events),
        }
    }

    fn read(yaml: &str) -> Value {
        let events: Result<Vec<_>, _> = Parser::new_from_str(yaml).collect();
        let events = events.unwrap_or_else(|error| panic!("{error}:\n{yaml}"));
        node(&mut events.into_iter().map(|(event, _)| event)).expect("a document")
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            r"[\s\S]{0,12}",
            "[a-z:{}\\[\\],#&*!|>'\"%@`~$ -]{0,12}",
            "(yes|null|1e3|0x1f|EOF|---|\n)"
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_in_it_comes_back(value in any_value()) {
            let text = document(&value);
            prop_assert_eq!(read(&text), value.clone());
            prop_assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
            let json = json(&value);
            prop_assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), value);
            prop_assert!(!json.contains(['$', '`', '\n']) && json.is_ascii());
        }
    }
}
