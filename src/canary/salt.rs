//! A run's salt: values that can be compared and not read.

use sha2::{Digest as _, Sha256};

use crate::model::timeline::Content;

/// A run's own salt: makes digests of values that can be compared within the run only.
#[derive(Clone, Copy)]
pub struct Salt([u8; 16]);

impl Salt {
    /// A salt that chance made.
    pub(super) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The digests of a Secret's data, without the whole response that the operator puts beside it.
    pub fn content<'a>(self, data: impl IntoIterator<Item = (&'a String, &'a [u8])>) -> Content {
        let digests = data
            .into_iter()
            .filter(|(key, _)| *key != crate::operator::RAW_KEY)
            .map(|(key, value)| (key.clone(), self.digest(value)));
        Content(digests.collect())
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
