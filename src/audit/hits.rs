//! The hits that make one finding: what a rule says of requests of one identity from one address.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::finding::{Finding, Hit, Request, SCHEMA, State};
use super::key::short_digest;
use crate::model::text::Text;

/// No finding holds more requests; the earliest are kept.
const REQUESTS: usize = 10;
/// So many are kept for it as long as others may come, and so many are counted: whoever floods the log must not fill the memory.
const KEPT: usize = 32;
const COUNTED: usize = 100_000;

/// The hits that make one finding.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Hits {
    pub(super) first: Hit,
    pub(super) last: Timestamp,
    /// The earliest requests, by time and ID.
    #[serde(with = "as_list")]
    requests: BTreeMap<(Timestamp, Text), Request>,
    /// All of them, by the digests of their IDs, as long as they are counted.
    seen: BTreeSet<u64>,
    /// How many they were when the count was closed.
    #[serde(default)]
    closed: Option<usize>,
}

impl Hits {
    pub(super) fn new(hit: Hit) -> Self {
        let mut new = Self {
            last: hit.at,
            requests: BTreeMap::new(),
            seen: BTreeSet::new(),
            closed: None,
            first: hit.clone(),
        };
        new.add(hit);
        new
    }

    /// Whether a request is one of them.
    pub(super) fn has(&self, id: &str) -> bool {
        self.seen.contains(&short_digest(id))
    }

    /// Takes in another of the same key.
    pub(super) fn add(&mut self, hit: Hit) {
        self.last = self.last.max(hit.at);
        if let Some(request) = hit.request.clone() {
            if self.counts() {
                self.seen.insert(short_digest(&request.id));
            }
            self.add_request(request);
        }
        self.begin(hit);
    }

    fn counts(&self) -> bool {
        self.closed.is_none() && self.seen.len() < COUNTED
    }

    /// How many digests it takes to count them.
    pub(super) fn digests(&self) -> usize {
        self.seen.len()
    }

    /// Counts no more of them: what is kept is what is shown.
    pub(super) fn close(&mut self) {
        self.closed.get_or_insert(self.seen.len());
        self.seen = BTreeSet::new();
        self.keep_requests();
    }

    fn keep_requests(&mut self) {
        let kept = if self.closed.is_some() {
            REQUESTS
        } else {
            KEPT
        };
        while self.requests.len() > kept {
            self.requests.pop_last();
        }
    }

    fn add_request(&mut self, mut request: Request) {
        let known = self
            .requests
            .iter()
            .find(|(_, known)| known.id == request.id);
        if let Some(known) = known.map(|(key, _)| key.clone())
            && let Some(known) = self.requests.remove(&known)
        {
            request.join(known);
        }
        self.requests
            .insert((request.time, request.id.clone()), request);
        self.keep_requests();
    }

    fn begin(&mut self, hit: Hit) {
        let confidence = self.first.confidence.max(hit.confidence);
        if rank(&hit) < rank(&self.first) {
            self.first = hit;
        }
        self.first.confidence = confidence;
    }

    /// Takes in others of the same key.
    pub(super) fn join(&mut self, mut other: Self) {
        self.last = self.last.max(other.last);
        if self.counts() {
            self.seen.append(&mut other.seen);
        }
        for (_, request) in other.requests {
            self.add_request(request);
        }
        self.begin(other.first);
    }

    /// The finding that they make.
    pub(super) fn finding(&self, id: String, state: State) -> Finding {
        let first = &self.first;
        let count = self.closed.unwrap_or(self.seen.len()).max(1);
        let requests = self.requests.values().take(REQUESTS).cloned();
        Finding {
            schema: SCHEMA.to_owned(),
            id,
            rule: first.rule,
            state,
            confidence: first.confidence,
            shared: first.shared,
            first: first.at,
            last: self.last,
            count: u64::try_from(count).unwrap_or(u64::MAX),
            source: first.source.clone(),
            identity: first.identity.clone(),
            requests: requests.collect(),
            operator: first.operator.clone(),
            text: first.text.clone(),
            advice: first.rule.advice().into(),
        }
    }
}

/// Requests, which stand in a file without their keys.
mod as_list {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{BTreeMap, Request, Text, Timestamp};

    type Requests = BTreeMap<(Timestamp, Text), Request>;

    pub(super) fn serialize<S: Serializer>(requests: &Requests, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(requests.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Requests, D::Error> {
        let requests = Vec::<Request>::deserialize(from)?.into_iter();
        Ok(requests
            .map(|request| ((request.time, request.id.clone()), request))
            .collect())
    }
}

/// The order of hits, so that it does not matter in which they came.
fn rank(hit: &Hit) -> (Timestamp, &str, &str, &str) {
    let id = hit
        .request
        .as_ref()
        .map_or("", |request| request.id.as_str());
    (hit.at, id, &hit.source, &hit.text)
}
