//! The content of a Secret, made from Vault's answer, and the HMAC that shows a change of either.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use k8s_openapi::ByteString;
use ring::hmac;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vso_prober::operator::RAW_KEY;

/// A Secret's data.
pub(crate) type Data = BTreeMap<String, ByteString>;

/// The data of a Secret: each of Vault's `values`, and beside them the whole `raw` answer.
pub(crate) fn data(
    values: Option<&Map<String, Value>>,
    raw: &Map<String, Value>,
    exclude_raw: bool,
) -> Result<Data, String> {
    let mut data = Data::new();
    if !exclude_raw {
        if values.is_some_and(|values| values.contains_key(RAW_KEY)) {
            return Err("key '_raw' not permitted in Secret data".into());
        }
        data.insert(
            RAW_KEY.into(),
            ByteString(go_json(&Value::Object(raw.clone()))),
        );
    }
    for (key, value) in values.into_iter().flatten() {
        let bytes = match value {
            Value::String(text) => text.clone().into_bytes(),
            other => go_json(other),
        };
        data.entry(key.clone()).or_insert(ByteString(bytes));
    }
    Ok(data)
}

/// The values inside a KV v2 answer; none if the newest version was deleted.
pub(crate) fn kv2(raw: &Map<String, Value>) -> Option<&Map<String, Value>> {
    raw.get("data").and_then(Value::as_object)
}

/// The same keys with nothing true in them.
pub(crate) fn spoil(data: &Data) -> Data {
    data.keys()
        .map(|key| (key.clone(), ByteString(b"wrong".to_vec())))
        .collect()
}

/// JSON as Go writes it: sorted keys, and `<`, `>`, `&` escaped.
fn go_json(value: &Value) -> Vec<u8> {
    let escaped = value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    escaped.into_bytes()
}

/// The key that HMACs are made with.
#[derive(Clone)]
pub(crate) struct MacKey(pub(crate) Vec<u8>);

impl MacKey {
    /// The HMAC-SHA256 of the data, in base64.
    pub(crate) fn of(&self, data: &Data) -> String {
        let message = serde_json::to_vec(data).expect("a map of strings has a JSON form");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        BASE64_STANDARD.encode(hmac::sign(&key, &message))
    }
}

/// The first bytes of a SHA-256, in hex.
pub(crate) fn hex_digest(text: &str, bytes: usize) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let start = digest.iter().take(bytes);
    start.fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn each_key_and_the_whole_are_written() {
        let raw = object(
            &json!({"data": {"user": "u", "n": 7, "html": {"a": "<&>"}}, "metadata": {"version": 2}}),
        );
        let data = data(kv2(&raw), &raw, false).expect("no `_raw` inside");
        let text = |key: &str| String::from_utf8_lossy(&data[key].0).into_owned();
        assert_eq!(text("user"), "u");
        assert_eq!(text("n"), "7");
        assert_eq!(text("html"), r#"{"a":"\u003c\u0026\u003e"}"#);
        assert!(text("_raw").starts_with(r#"{"data":{"html":"#));
    }

    #[test]
    fn a_deleted_version_leaves_only_raw() {
        let raw = object(&json!({"data": null, "metadata": {"deletion_time": "x"}}));
        let data = data(kv2(&raw), &raw, false).expect("nothing inside");
        assert_eq!(data.keys().collect::<Vec<_>>(), ["_raw"]);
        assert!(String::from_utf8_lossy(&data["_raw"].0).contains(r#""data":null"#));
    }

    #[test]
    fn raw_inside_is_refused_unless_left_out() {
        let raw = object(&json!({"_raw": "x"}));
        assert!(data(Some(&raw), &raw, false).is_err());
        assert!(data(Some(&raw), &raw, true).is_ok());
    }

    #[test]
    fn the_hmac_goes_by_key_and_data() {
        let one = MacKey(vec![1; 16]);
        let data = Data::from([("a".to_owned(), ByteString(b"b".to_vec()))]);
        assert_eq!(one.of(&data), one.of(&data.clone()));
        assert_ne!(one.of(&data), one.of(&Data::new()));
        assert_ne!(one.of(&data), MacKey(vec![2; 16]).of(&data));
        assert_eq!(one.of(&data).len(), 44);
    }
}
