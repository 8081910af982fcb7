//! A finding: what a rule says of some requests, and how sure it is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::address::Mode;
use super::identity::Shown;
use super::presence::Stay;
use crate::model::text::Text;

/// The form of a finding.
pub const SCHEMA: &str = "vso-prober/finding/v1";
/// No finding holds more requests; the earliest are kept.
const REQUESTS: usize = 10;

/// The name of a rule.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleName {
    /// A canary or a decoy was touched by somebody who has no reason to.
    Honey,
    /// The operator's identity was used while the operator was not there.
    Absent,
    /// The operator's identity was used from an address that is not the operator's.
    Address,
    /// One token was used from two addresses.
    Moved,
    /// A token was used that is older than the operator.
    Revenant,
    /// A login with a ServiceAccount's token that the operator did not ask for.
    Unbacked,
    /// The operator's account asked for a ServiceAccount's token from an address that is not the operator's.
    Issuer,
    /// Vault's log holds more than the operator did.
    Books,
    /// The operator's identity was used by another program.
    Agent,
}

impl RuleName {
    /// Every rule.
    pub const ALL: [Self; 9] = [
        Self::Honey,
        Self::Absent,
        Self::Address,
        Self::Moved,
        Self::Revenant,
        Self::Unbacked,
        Self::Issuer,
        Self::Books,
        Self::Agent,
    ];

    /// Its name in findings, labels and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Honey => "honey",
            Self::Absent => "absent",
            Self::Address => "address",
            Self::Moved => "moved",
            Self::Revenant => "revenant",
            Self::Unbacked => "unbacked",
            Self::Issuer => "issuer",
            Self::Books => "books",
            Self::Agent => "agent",
        }
    }

    /// Whether it waits for nothing to be confirmed.
    pub(super) const fn at_once(self) -> bool {
        matches!(self, Self::Honey)
    }

    /// What to do about a finding of it.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Honey => {
                "find out who this is, revoke their tokens by accessor or by entity, and rotate what they may read; if they may touch canaries, add them to `audit.readers`"
            }
            Self::Absent | Self::Address | Self::Moved | Self::Revenant => {
                "revoke the tokens of this identity by accessor or by entity, and rotate what it may read; if the address is the operator's by another name, add it to `audit.trusted`"
            }
            Self::Unbacked => {
                "find out in the API server's log who had a token of this ServiceAccount issued, revoke the Vault tokens of this entity, and rotate what it may read"
            }
            Self::Issuer => {
                "the operator's ServiceAccount token is used elsewhere: delete the operator's Pods and ServiceAccount tokens, and rotate what its identities may read"
            }
            Self::Books => {
                "compare Vault's audit log with the operator's own log for this time, and look for an identity that is used twice"
            }
            Self::Agent => "find out which program this is, and whether it may use this identity",
        }
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Worth a look.
    Low,
    /// Likely.
    Medium,
    /// As good as certain.
    High,
}

impl Confidence {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::High, Self::Medium, Self::Low];

    /// Its name in findings and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    pub(super) const fn lower(self) -> Self {
        match self {
            Self::High => Self::Medium,
            Self::Medium | Self::Low => Self::Low,
        }
    }

    pub(super) const fn higher(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium | Self::High => Self::High,
        }
    }
}

/// Where a finding stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may still be explained.
    Suspect,
    /// Nothing has explained it in time.
    Confirmed,
    /// It was explained.
    Dismissed,
}

impl State {
    /// Its name in findings and queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Confirmed => "confirmed",
            Self::Dismissed => "dismissed",
        }
    }
}

/// A request of a finding.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Request {
    /// Its ID in the log.
    pub id: Text,
    /// When, by the log's clock.
    pub time: Timestamp,
    /// What was asked.
    pub operation: Text,
    /// The path.
    pub path: Text,
    /// Whether it was granted.
    pub granted: bool,
    /// From where.
    pub address: Option<IpAddr>,
    /// Six digits that tell its token from others of the same audit device.
    pub token: Option<String>,
    /// The client's User-Agent, where the device writes it.
    pub user_agent: Option<Text>,
}

impl Request {
    /// Takes in the other line of the same request.
    fn join(&mut self, other: Self) {
        let granted = self.granted || other.granted;
        // The first line has the time, the second may know who it was.
        let (mut first, second) = if other.time < self.time {
            (other, self.clone())
        } else {
            (self.clone(), other)
        };
        first.granted = granted;
        first.token = first.token.or(second.token);
        first.user_agent = first.user_agent.or(second.user_agent);
        *self = first;
    }
}

/// What was known of the operator.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Operator {
    /// Whether one of its Pods was there.
    pub present: bool,
    /// Which.
    pub pods: Vec<Stay>,
    /// As which address Vault sees it.
    pub address_mode: Mode,
}

/// What a rule says of one line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Hit {
    /// Which rule.
    pub rule: RuleName,
    /// How sure.
    pub confidence: Confidence,
    /// Whether other workloads use the identity.
    pub shared: bool,
    /// The source of the line.
    pub source: Text,
    /// Whose it is.
    pub identity: Shown,
    /// When, by the cluster's clock.
    pub at: Timestamp,
    /// The request.
    pub request: Option<Request>,
    /// What was known of the operator.
    pub operator: Operator,
    /// What happened, in a sentence.
    pub text: Text,
}

/// What tells one finding from another within `remember`.
pub type Key = (RuleName, Shown, Option<IpAddr>);

impl Hit {
    /// What its finding is known by.
    pub fn key(&self) -> Key {
        let address = self.request.as_ref().and_then(|request| request.address);
        (self.rule, self.identity.clone(), address)
    }
}

/// What a rule says of some requests of one identity from one address.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Finding {
    /// [`SCHEMA`].
    pub schema: String,
    /// Its ID.
    pub id: String,
    /// Which rule.
    pub rule: RuleName,
    /// Where it stands.
    pub state: State,
    /// How sure it is.
    pub confidence: Confidence,
    /// Whether other workloads use the identity.
    pub shared: bool,
    /// When the first request was made, by the cluster's clock.
    pub first: Timestamp,
    /// When the last was made.
    pub last: Timestamp,
    /// How many requests there were.
    pub count: u64,
    /// The source of the first.
    pub source: Text,
    /// Whose they are.
    pub identity: Shown,
    /// The first ten of them.
    pub requests: Vec<Request>,
    /// What was known of the operator at the first.
    pub operator: Operator,
    /// What happened, in a sentence.
    pub text: Text,
    /// What to do.
    pub advice: Text,
}

/// The hits that make one finding.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Hits {
    pub(super) first: Hit,
    pub(super) last: Timestamp,
    pub(super) requests: BTreeMap<String, Request>,
}

impl Hits {
    pub(super) fn new(hit: Hit) -> Self {
        let mut new = Self {
            last: hit.at,
            requests: BTreeMap::new(),
            first: hit.clone(),
        };
        new.add(hit);
        new
    }

    /// Whether a request is one of them.
    pub(super) fn has(&self, id: &str) -> bool {
        self.requests.contains_key(id)
    }

    /// Takes in another of the same key.
    pub(super) fn add(&mut self, hit: Hit) {
        self.last = self.last.max(hit.at);
        if let Some(request) = &hit.request {
            let id = request.id.to_string();
            match self.requests.get_mut(&id) {
                Some(known) => known.join(request.clone()),
                None => drop(self.requests.insert(id, request.clone())),
            }
        }
        let confidence = self.first.confidence.max(hit.confidence);
        if rank(&hit) < rank(&self.first) {
            self.first = hit;
        }
        self.first.confidence = confidence;
    }

    /// Takes in others of the same key.
    pub(super) fn join(&mut self, other: Self) {
        let mut requests = other.requests;
        requests.append(&mut self.requests);
        self.requests = requests;
        self.last = self.last.max(other.last);
        let confidence = self.first.confidence.max(other.first.confidence);
        if rank(&other.first) < rank(&self.first) {
            self.first = other.first;
        }
        self.first.confidence = confidence;
    }

    /// The finding that they make.
    pub(super) fn finding(&self, id: String, state: State) -> Finding {
        let first = &self.first;
        let mut requests: Vec<_> = self.requests.values().cloned().collect();
        requests.sort_by(|one, other| (one.time, &one.id).cmp(&(other.time, &other.id)));
        requests.truncate(REQUESTS);
        Finding {
            schema: SCHEMA.to_owned(),
            id,
            rule: first.rule,
            state,
            confidence: first.confidence,
            shared: first.shared,
            first: first.at,
            last: self.last,
            count: u64::try_from(self.requests.len())
                .unwrap_or(u64::MAX)
                .max(1),
            source: first.source.clone(),
            identity: first.identity.clone(),
            requests,
            operator: first.operator.clone(),
            text: first.text.clone(),
            advice: first.rule.advice().into(),
        }
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
