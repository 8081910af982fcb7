//! A key of a request: what tells one from another, in little room.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The ID of a request, which is a UUID, as a number; of another text the beginning of its digest.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "String", into = "String")]
pub struct Key(u128);

impl Key {
    /// That of a request with this ID.
    pub fn of(id: &str) -> Self {
        let digits: String = id.chars().filter(|digit| *digit != '-').collect();
        let number = u128::from_str_radix(&digits, 16).ok();
        let uuid = number.filter(|_| digits.len() == 32 && !digits.starts_with('+'));
        Self(uuid.unwrap_or_else(|| {
            let digest = Sha256::digest(id);
            let first = digest.iter().take(16);
            first.fold(0, |number, byte| number << 8 | u128::from(*byte))
        }))
    }
}

/// As it is saved, and as the ID itself was before.
impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::of(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        format!("{:032x}", key.0)
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
            assert_eq!(Key::from(String::from(key)), key, "{id}");
        }
        assert_eq!(Key::of(id), Key::from(id.replace('-', "")));
        assert_ne!(Key::of(id), Key::of("ea08eaa7-548e-c55d-ea72-79e4800acf06"));
    }
}
