//! From Vault's answer to a Secret's data, and the HMAC that tells whether either has changed.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vso_prober::operator::RAW_KEY;

/// A Secret's data.
pub type Data = BTreeMap<String, ByteString>;

/// The data of a Secret: each of Vault's `values`, and beside them the whole `raw` answer.
pub fn data(
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
pub fn kv2(raw: &Map<String, Value>) -> Option<&Map<String, Value>> {
    raw.get("data").and_then(Value::as_object)
}

/// The same keys with nothing true in them.
pub fn spoil(data: &Data) -> Data {
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
pub struct MacKey(pub Vec<u8>);

impl MacKey {
    /// The HMAC-SHA256 of the data, in base64.
    pub fn of(&self, data: &Data) -> String {
        let message = serde_json::to_vec(data).expect("a map of strings has a JSON form");
        base64(hmac(&self.0, &message))
    }
}

/// HMAC (RFC 2104) over SHA-256, for keys of at most one block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |filler: u8| {
        let mut block = [filler; 64];
        block
            .iter_mut()
            .zip(key)
            .for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

fn base64(bytes: Vec<u8>) -> String {
    match serde_json::to_value(ByteString(bytes)) {
        Ok(Value::String(text)) => text,
        _ => unreachable!("a ByteString is written as a base64 string"),
    }
}

/// The first bytes of a SHA-256, in hex.
pub fn hex_digest(text: &str, bytes: usize) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(bytes)
        .map(|byte| format!("{byte:02x}"))
        .collect()
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
    fn the_hmac_is_the_standard_one() {
        // RFC 4231, test case 2.
        let mac: String = hmac(b"Jefe", b"what do ya want for nothing?")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            mac,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(MacKey(vec![1; 16]).of(&Data::new()).len(), 44);
    }
}
