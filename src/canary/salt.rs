//! A run's salt: values that can be compared and not read.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::model::timeline::Content;

/// How many keys of a Secret are told apart: no canary has as many.
const KEYS: usize = 32;

/// A run's own salt: makes digests of values that can be compared within the run only.
#[derive(Clone, Copy)]
pub struct Salt([u8; 16]);

impl Salt {
    /// A salt that chance made.
    pub(super) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The digests of a Secret's data, without the whole response that the operator puts beside it. Of very many keys the
    /// last are digested as one.
    pub fn content<'a>(self, data: impl IntoIterator<Item = (&'a String, &'a [u8])>) -> Content {
        let mut digests = BTreeMap::new();
        let mut rest = String::new();
        let mut more = 0;
        for (key, value) in data
            .into_iter()
            .filter(|(key, _)| *key != crate::operator::RAW_KEY)
        {
            if digests.len() < KEYS {
                digests.insert(key.clone(), self.digest(value));
            } else {
                more += 1;
                rest = self.digest(&[rest.as_bytes(), key.as_bytes(), value].concat());
            }
        }
        if more > 0 {
            digests.insert(format!("… {more} more"), rest);
        }
        Content(digests)
    }

    pub(super) fn digest(self, value: &[u8]) -> String {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(value)
            .finalize();
        digest
            .iter()
            .take(12)
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_keys_the_last_are_digested_as_one() {
        let salt = Salt::new([7; 16]);
        let data = |last: &str| -> BTreeMap<String, Vec<u8>> {
            let value = |number: u32| (format!("{number:06}"), vec![1]);
            let more = (last.to_owned(), vec![2]);
            (0..20_000).map(value).chain([more]).collect()
        };
        let content = |data: &BTreeMap<String, Vec<u8>>| {
            salt.content(data.iter().map(|(key, value)| (key, value.as_slice())))
        };
        let (one, other) = (content(&data("x")), content(&data("y")));
        assert_eq!(one.0.len(), KEYS + 1);
        assert_ne!(one, other);
        assert_eq!(one, content(&data("x")));
    }
}
