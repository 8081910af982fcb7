//! Changes to a sample: of its bytes, and of its values where it is JSON.

use std::path::PathBuf;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _};
use serde_json::{Value, json};

/// What parsers fall over.
const ODD: &[&str] = &[
    "",
    "0",
    "-1",
    "-0",
    "1e999",
    "-1e999",
    "NaN",
    "+Inf",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "-9223372036854775808",
    "10000000000000000000s",
    "99999999999999999999999h",
    "1.7976931348623157e308",
    "9999-12-31T23:59:59.999999Z",
    "0000-01-01T00:00:00Z",
    "-262143-01-01T00:00:00Z",
    "horizon=",
    "lease_id=\"",
    "\u{0}",
    "\u{1b}[2J",
    "\u{202e}",
    "\u{feff}",
    "\r\n",
    "\n\n",
    "{",
    "}",
    "[[[[[[[[",
    "\"",
    "\\",
    "\\u0000",
    "'",
    "${IFS}",
    "../../",
    "/",
    ":",
    "&a *a",
    "!!binary",
    "%",
    "\u{10ffff}",
    "é",
    "-----BEGIN CERTIFICATE-----",
    "-----END CERTIFICATE-----",
    "true",
    "null",
    "µs",
    "1m30s",
    "#",
    ",",
    "=",
    ";q=",
    "*/*",
];
/// No case is longer, in bytes.
const LONGEST: usize = 64 * 1024;

/// A sample with one to six changes.
pub(crate) fn mutated(samples: &[(PathBuf, Vec<u8>)], chance: &mut SmallRng) -> Vec<u8> {
    let pick = |chance: &mut SmallRng| samples.choose(chance).map_or(&[][..], |(_, sample)| sample);
    let sample = pick(chance);
    let changes = chance.random_range(1..=6);
    if chance.random_bool(0.6)
        && let Ok(mut value) = serde_json::from_slice::<Value>(sample)
    {
        for _ in 0..changes {
            change(&mut value, chance);
        }
        return value.to_string().into_bytes();
    }
    let mut case = sample.to_vec();
    for _ in 0..changes {
        let at = chance.random_range(0..=case.len());
        let most = at + 1 + chance.random_range(0..64);
        let end = chance.random_range(at..=case.len().min(most));
        match chance.random_range(0..7) {
            0 => drop(case.drain(at..end)),
            1 => {
                let odd = ODD.choose(chance).copied().unwrap_or_default();
                case.splice(at..end, odd.bytes());
            }
            2 => {
                let more = case[at..end].repeat(chance.random_range(1..40));
                case.splice(at..at, more);
            }
            3 => case.truncate(at),
            4 => {
                let other = pick(chance);
                let from = chance.random_range(0..=other.len());
                let to = chance.random_range(from..=other.len().min(from + 400));
                case.splice(at..end, other[from..to].iter().copied());
            }
            5 => {
                for byte in &mut case[at..end] {
                    *byte = chance.random();
                }
            }
            _ => {
                if let Some(byte) = case.get_mut(at) {
                    *byte ^= 1 << chance.random_range(0..8);
                }
            }
        }
        case.truncate(LONGEST);
    }
    case
}

/// Changes one value somewhere in a document.
fn change(value: &mut Value, chance: &mut SmallRng) {
    let deeper = chance.random_bool(0.85);
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let at = chance.random_range(0..fields.len());
            let key = fields.keys().nth(at).cloned().unwrap_or_default();
            if chance.random_bool(0.03) {
                fields.remove(&key);
            } else if let Some(field) = fields.get_mut(&key) {
                change(field, chance);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let at = chance.random_range(0..items.len());
            match chance.random_range(0..20) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                2 => items.reverse(),
                _ => change(&mut items[at], chance),
            }
        }
        Value::Number(_) => *value = number(chance),
        Value::String(text) if chance.random_bool(0.5) => {
            let odd = ODD.choose(chance).copied().unwrap_or_default();
            text.push_str(odd);
        }
        Value::Bool(bool) => *bool = !*bool,
        _ => *value = odd(chance),
    }
}

fn number(chance: &mut SmallRng) -> Value {
    match chance.random_range(0..8) {
        0 => json!(u64::MAX),
        1 => json!(i64::MIN),
        2 => json!(i64::MAX),
        3 => json!(1e308),
        4 => json!(0),
        5 => json!(-1),
        6 => json!(999_999_999),
        _ => json!(chance.next_u64() >> chance.random_range(0..64)),
    }
}

fn odd(chance: &mut SmallRng) -> Value {
    match chance.random_range(0..8) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!("x".repeat(5_000)),
        4 => json!([[[[{"a": []}]]]]),
        5 => number(chance),
        _ => json!(ODD.choose(chance)),
    }
}
