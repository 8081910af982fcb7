//! The words of a structural problem.

use serde_json::{Number, Value as Json};

use super::{accepts, listed, quoted};
use crate::config::tree::Value;

/// What is wrong with a value, and what is allowed in its place. Strings are not repeated where
/// they don't belong: a secret may have been put there by mistake.
pub(super) fn misfit(value: &Value, schema: &Json, resolved: &Json) -> String {
    let found = match value {
        Value::Null => return "has no value; set one or remove the key".to_owned(),
        Value::Text(text) if text.trim().is_empty() => {
            return "is empty; set a value or remove the key".to_owned();
        }
        Value::List(items) if items.is_empty() && accepts(resolved, "array") => {
            return "is empty; it must have at least one item".to_owned();
        }
        Value::Bool(value) => format!("is `{value}`"),
        Value::Number(_, text) => format!("is the number {}", quoted(text)),
        Value::Text(text) if allowed(resolved).is_some() || is_old_boolean(text) => {
            format!("is {}", quoted(text))
        }
        Value::Text(_) => "is a string".to_owned(),
        Value::List(_) => "is a list".to_owned(),
        Value::Map(_) => "is a mapping".to_owned(),
    };
    let manner = match value {
        Value::Text(text) if is_numeric(resolved) && text.parse::<f64>().is_ok() => {
            ", without quotes"
        }
        Value::Number(..) | Value::Bool(_)
            if accepts(resolved, "string")
                && allowed(resolved).is_none()
                && !example(schema).is_some_and(lacks_only_a_unit) =>
        {
            ", or be put in quotes"
        }
        _ => "",
    };
    format!("{found}; it must be {}{manner}", expected(schema, resolved))
}

/// The values that an enumeration allows.
pub(super) fn allowed(resolved: &Json) -> Option<Vec<&str>> {
    if let Some(values) = resolved.get("enum").and_then(Json::as_array) {
        return Some(values.iter().filter_map(Json::as_str).collect());
    }
    let alternatives = resolved.get("oneOf").and_then(Json::as_array)?;
    let values: Vec<&str> = alternatives
        .iter()
        .filter_map(|one| one.get("const").and_then(Json::as_str))
        .collect();
    (!values.is_empty()).then_some(values)
}

/// Whether a number is of the type and in the range.
pub(super) fn fits(number: &Number, resolved: &Json) -> bool {
    let of_the_type = accepts(resolved, "number")
        || accepts(resolved, "integer") && (number.is_u64() || number.is_i64());
    let value = number.as_f64().unwrap_or(f64::NAN);
    let bound = |name| resolved.get(name).and_then(Json::as_f64);
    of_the_type
        && bound("minimum").is_none_or(|bound| value >= bound)
        && bound("maximum").is_none_or(|bound| value <= bound)
        && bound("exclusiveMinimum").is_none_or(|bound| value > bound)
        && bound("exclusiveMaximum").is_none_or(|bound| value < bound)
}

/// A path as the subject of a message.
pub(super) fn named(path: &str) -> String {
    if path.is_empty() {
        "the configuration".to_owned()
    } else {
        format!("`{path}`")
    }
}

/// A path as a place.
pub(super) fn inside(path: &str) -> String {
    if path.is_empty() {
        "at the top level".to_owned()
    } else {
        format!("in `{path}`")
    }
}

/// A key as a literal, if it looks like one: a value that slipped into a key's place may be a secret.
pub(super) fn shown(key: &str) -> Option<String> {
    const LONGEST: usize = 32;
    let word = key.len() <= LONGEST
        && key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (word || key == "<<").then(|| format!("`{key}`"))
}

/// The first sentence of a description, put behind a name.
pub(super) fn in_passing(description: &str) -> String {
    let sentence = description
        .split(['.', ';', '\n'])
        .next()
        .unwrap_or_default();
    let (first, rest) = sentence.split_at(sentence.find(' ').unwrap_or(sentence.len()));
    // `Vault` and `URL` stay as they are.
    let ordinary = matches!(
        first,
        "A" | "An" | "How" | "The" | "When" | "Where" | "Whether"
    );
    let first = if ordinary {
        first.to_lowercase()
    } else {
        first.to_owned()
    };
    format!(": {first}{rest}")
}

/// The key that was probably meant.
pub(super) fn nearest<'a>(key: &str, allowed: &[&'a str]) -> Option<&'a str> {
    // `refresh_after`, `refreshafter` and `RefreshAfter` are all near.
    let plain = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    let key = plain(key);
    let distance = |name: &&str| strsim::damerau_levenshtein(&key, &plain(name));
    let nearest = allowed.iter().copied().min_by_key(distance)?;
    let tolerated = nearest.len().div_ceil(4);
    (distance(&nearest) <= tolerated).then_some(nearest)
}

fn expected(schema: &Json, resolved: &Json) -> String {
    if let Some(allowed) = allowed(resolved) {
        return listed(&allowed, " or ");
    }
    let bound = |name| resolved.get(name).and_then(Json::as_f64);
    let range = match (
        bound("minimum"),
        bound("maximum"),
        bound("exclusiveMinimum"),
        bound("exclusiveMaximum"),
    ) {
        (Some(least), Some(most), ..) => format!(" from {least} to {most}"),
        (.., Some(below), Some(above)) => format!(" above {below} and below {above}"),
        _ => String::new(),
    };
    if accepts(resolved, "object") {
        let mut keys: Vec<&str> = resolved
            .get("properties")
            .and_then(Json::as_object)
            .into_iter()
            .flat_map(|properties| properties.keys().map(String::as_str))
            .collect();
        keys.sort_unstable();
        format!("a mapping; allowed: {}", listed(&keys, ", "))
    } else if accepts(resolved, "array") {
        "a list".to_owned()
    } else if accepts(resolved, "boolean") {
        "`true` or `false`".to_owned()
    } else if accepts(resolved, "integer") {
        format!("a whole number{range}")
    } else if accepts(resolved, "number") {
        format!("a number{range}")
    } else {
        example(schema).map_or_else(
            || "a string".to_owned(),
            |one| format!("a string, such as `{one}`"),
        )
    }
}

fn example(schema: &Json) -> Option<&str> {
    schema
        .get("default")
        .or_else(|| schema.pointer("/examples/0"))
        .and_then(Json::as_str)
}

/// Whether a number is on the way to what is asked for, as to `60s`, so that quotes would not help.
fn lacks_only_a_unit(example: &str) -> bool {
    example.starts_with(|first: char| first.is_ascii_digit())
}

fn is_numeric(resolved: &Json) -> bool {
    accepts(resolved, "integer") || accepts(resolved, "number")
}

/// Whether YAML 1.1 would have made a boolean of it, so that people still write it.
fn is_old_boolean(text: &str) -> bool {
    matches!(
        text.to_lowercase().as_str(),
        "yes" | "no" | "on" | "off" | "y" | "n"
    )
}
