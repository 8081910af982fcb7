//! A key of a request: what tells one from another, in little room.

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The ID of a request, which is a UUID, as a number; of another text the beginning of its digest.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(from = "String")]
pub(super) struct Key(u128);

impl Key {
    /// That of a request with this ID.
    pub(super) fn of(id: &str) -> Self {
        let digits: String = id.chars().filter(|digit| *digit != '-').collect();
        let number = u128::from_str_radix(&digits, 16).ok();
        let uuid = number.filter(|_| digits.len() == 32 && !digits.starts_with('+'));
        Self(uuid.unwrap_or_else(|| digest(id)))
    }
}

/// The beginning of a text's digest.
fn digest(text: &str) -> u128 {
    let digest = Sha256::digest(text);
    let first = digest.iter().take(16);
    first.fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// A shorter one.
pub(super) fn short_digest(text: &str) -> u64 {
    u64::try_from(digest(text) >> 64).unwrap_or_default()
}

/// As it is saved, and as the ID itself was before.
impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::of(&text)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_saved_and_as_the_id_was() {
        let id = "ea08eaa7-548e-c55d-ea72-79e4800acf05";
        for id in [
            id,
            "2026-11-29T23:58:18.876Z",
            "",
            "+a08eaa7548ec55dea7279e4800acf05",
        ] {
            let key = Key::of(id);
            let saved = serde_json::to_string(&key).expect("JSON");
            let read: Key = serde_json::from_str(&saved).expect("what was saved");
            assert_eq!(read, key, "{id}");
        }
        assert_eq!(Key::of(id), Key::from(id.replace('-', "")));
        assert_ne!(Key::of(id), Key::of("ea08eaa7-548e-c55d-ea72-79e4800acf06"));
    }
}
