//! The memory of a reconciler: what it keeps of each resource between reconciles.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use super::content::{self, Data};
use super::faults::Content;
use super::horizon::Backoff;

/// What is remembered of resources, by their keys.
pub(crate) struct Memory<K> {
    backoffs: HashMap<K, Backoff>,
    written: HashMap<K, Data>,
    /// To be synced although nothing has changed.
    pub(crate) forced: HashSet<K>,
}

impl<K> Default for Memory<K> {
    fn default() -> Self {
        Self {
            backoffs: HashMap::new(),
            written: HashMap::new(),
            forced: HashSet::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Memory<K> {
    /// What is gone is remembered no more.
    pub(crate) fn forget(&mut self, key: &K) {
        self.succeeded(key);
        self.written.remove(key);
        self.forced.remove(key);
    }

    /// Vault refused: how long to wait before the next try.
    pub(crate) fn failed(&mut self, key: &K) -> Duration {
        let backoff = self.backoffs.entry(key.clone()).or_default();
        backoff.next(&mut rand::rng())
    }

    /// Vault answered: the next failure is the first.
    pub(crate) fn succeeded(&mut self, key: &K) {
        self.backoffs.remove(key);
    }

    /// What is to be written in place of the truth, by the fault that is in force.
    pub(crate) fn distorted(&self, key: &K, fresh: Data, content: Option<Content>) -> Data {
        match content {
            None => fresh,
            Some(Content::Wrong) => content::spoil(&fresh),
            Some(Content::Old) => self.written.get(key).cloned().unwrap_or(fresh),
        }
    }

    /// This was written.
    pub(crate) fn wrote(&mut self, key: K, data: Data) {
        self.written.insert(key, data);
    }
}
