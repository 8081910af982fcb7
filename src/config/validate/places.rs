//! The places of keys and values in the file.

use std::collections::{BTreeMap, BTreeSet};

use super::super::problem::Position;

/// Where each path of the file stands: `probes[0].every`.
#[derive(Debug, Default)]
pub(in crate::config) struct Places {
    pub(super) known: BTreeMap<String, Place>,
    /// Paths that a misspelt key was probably meant for; to call them missing would be noise.
    pub(super) presumed: BTreeSet<String>,
}

/// Where a key and its value begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) key: Position,
    pub(super) value: Position,
}

impl Places {
    /// Whether the user wrote something there, right or wrong.
    pub(in crate::config) fn written(&self, path: &str) -> bool {
        self.known.contains_key(path) || self.presumed.contains(path)
    }

    /// Where the value stands, or else what encloses it.
    pub(in crate::config) fn value(&self, path: &str) -> Position {
        self.known
            .get(path)
            .map_or_else(|| self.enclosing(path), |place| place.value)
    }

    /// Where the key stands, or else what encloses it.
    pub(in crate::config) fn key(&self, path: &str) -> Position {
        self.known
            .get(path)
            .map_or_else(|| self.enclosing(path), |place| place.key)
    }

    fn enclosing(&self, path: &str) -> Position {
        path.rfind(['.', '['])
            .map_or(Position::START, |end| self.key(&path[..end]))
    }
}
