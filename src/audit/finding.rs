//! A finding: what a rule says of some requests, and how sure it is.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::address::Mode;
use super::identity::Shown;
use super::presence::Stay;
use crate::model::text::Text;

/// The form of a finding.
pub const SCHEMA: &str = "vso-prober/finding/v1";

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
    pub(super) fn join(&mut self, other: Self) {
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
        (self.rule, self.identity.clone(), self.address())
    }

    /// From where the request was made.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.request.as_ref()?.address
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
