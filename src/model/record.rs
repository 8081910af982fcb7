//! The record: everything that was seen of a run. Judging needs nothing else, so a saved record is a test.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::name::{ObjectRef, ProbeId, RunId};
use super::promise::Promise;
use super::proof::Proof;
use super::reply::{Distrust, Reply};
use super::run::Context;
use super::snapshot::Reading;
use super::text::Text;
use super::timeline::{Content, Resource, Timeline};
use super::trace::VaultLog;
use super::{Kind, Mark, Step};

/// A run, as it was seen.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// The probe's name.
    pub probe: ProbeId,
    /// Its kind.
    pub kind: Kind,
    /// The run's ID.
    pub run: RunId,
    /// The canary.
    pub canary: ObjectRef,
    /// Where the run comes from, but for the operator's version, which its readings tell.
    #[serde(default)]
    pub context: Context,
    /// The wall clock at the run's epoch.
    pub started: Timestamp,
    /// When the run ended.
    pub finished: Mark,
    /// Its steps, in the order in which they were to be taken.
    pub steps: Vec<StepRecord>,
    /// What was seen on the watches.
    pub timeline: Timeline,
    /// The operator's own numbers, as they were read at the edges of the steps; empty where they are not read.
    #[serde(default)]
    pub readings: Vec<Reading>,
    /// The VaultConnection that the canary uses, where it is known.
    #[serde(default)]
    pub connection: Option<ObjectRef>,
    /// What Vault's audit log says of the canary.
    #[serde(default)]
    pub vault_log: VaultLog,
    /// Every lease the canary got, with what Vault said of it at the end.
    pub leases: Vec<(String, LeaseState)>,
    /// What could not be removed.
    pub leftovers: Vec<String>,
}

/// A step, as it was seen.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StepRecord {
    /// Which step.
    pub step: Step,
    /// The threshold that makes it good.
    pub within: Duration,
    /// How long it may take beyond its due moment.
    pub timeout: Duration,
    /// What proves it.
    pub proof: Proof,
    /// When its effect is due.
    pub promise: Promise,
    /// Just before the stimulus was sent.
    pub started: Mark,
    /// When the stimulus was acknowledged.
    pub submitted: Mark,
    /// When the step ended, well or not.
    pub ended: Mark,
    /// When it was left, with all questions answered. What is seen later may be the prober's own doing,
    /// as it cleans up.
    pub left: Mark,
    /// How it ended.
    pub end: End,
    /// What was found out beyond the watches.
    pub findings: Findings,
}

/// How a step ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The proof was seen on the watch.
    Proven,
    /// The time was up.
    TimedOut,
    /// The prober itself met an obstacle.
    Met(Obstacle),
    /// The prober was told to stop.
    Interrupted,
}

impl End {
    /// A word for the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::TimedOut => "timed out",
            Self::Met(_) => "obstructed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What stopped the prober itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Obstacle {
    /// Who stopped it.
    pub at: Peer,
    /// In which way.
    pub how: Hindrance,
    /// What was tried, on what, and what came back. Never a secret value.
    pub text: Text,
    /// What came back, where something was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
}

impl Obstacle {
    /// An obstacle for which nothing was sent, or of which nothing but the text counts.
    pub fn new(at: Peer, how: Hindrance, text: impl Into<Text>) -> Self {
        Self {
            at,
            how,
            text: text.into(),
            reply: None,
        }
    }

    /// The same, with what came back.
    #[must_use]
    pub fn with(self, reply: Reply) -> Self {
        Self {
            reply: Some(reply),
            ..self
        }
    }

    /// The status code that came back, if one did.
    pub fn status(&self) -> Option<u16> {
        self.reply.as_ref().and_then(Reply::status)
    }

    /// Why TLS failed, if it did.
    pub fn distrust(&self) -> Option<Distrust> {
        self.reply.as_ref().and_then(Reply::distrust)
    }
}

/// The other end of a request of the prober's.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// Vault.
    Vault,
    /// The API server.
    Kubernetes,
    /// The PostgreSQL server that a credential is tried at.
    Postgres,
    /// Nobody: the prober itself is at fault.
    Prober,
}

/// How a request of the prober's failed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hindrance {
    /// No answer.
    Unreachable,
    /// An answer that refuses.
    Denied,
    /// Vault understood the request and would not do it as asked.
    Rejected,
    /// An answer that there are too many requests.
    Limited,
    /// Vault is sealed.
    Sealed,
    /// A server error.
    Failed,
    /// What is the canary's was removed, or changed, by somebody else.
    Removed,
    /// What was found does not fit what the probe is configured to do.
    Unfit,
}

/// An answer to a question of the prober's, or why there is none.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// It was not asked.
    #[default]
    NotAsked,
    /// The answer.
    Is(T),
    /// It was asked and could not be told.
    Obstructed(Obstacle),
}

impl<T> Answer<T> {
    /// The answer, if there is one.
    pub const fn get(&self) -> Option<&T> {
        match self {
            Self::Is(answer) => Some(answer),
            Self::NotAsked | Self::Obstructed(_) => None,
        }
    }

    /// The same, with another answer in place of this one.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::NotAsked => Answer::NotAsked,
            Self::Is(answer) => Answer::Is(to(answer)),
            Self::Obstructed(obstacle) => Answer::Obstructed(obstacle),
        }
    }

    /// What stood in the way of an answer, if something did.
    pub const fn obstacle(&self) -> Option<&Obstacle> {
        match self {
            Self::Obstructed(obstacle) => Some(obstacle),
            Self::NotAsked | Self::Is(_) => None,
        }
    }
}

/// What was found out beyond the watches; most of it only after a step that was not proven.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Findings {
    /// The Secret, asked for directly: UID and content, or that it is not there.
    pub secret: Answer<Option<(String, Content)>>,
    /// The resource, asked for directly, or that it is not there.
    pub resource: Answer<Option<Resource>>,
    /// The certificate in it, where it should hold one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Contents that the Secret rightly had earlier in the run.
    pub earlier: Vec<Content>,
    /// The events about the resource.
    pub events: Answer<Vec<Event>>,
    /// The VaultAuth and the VaultConnection that the probe relies on.
    pub references: Vec<Reference>,
    /// The operator's pods.
    pub pods: Answer<Vec<Pod>>,
    /// Vault's health, as the prober sees it.
    pub vault: Answer<VaultHealth>,
    /// Whether the lease of the credential in the Secret is valid, where a credential was asked for.
    pub lease: Answer<bool>,
    /// Whether Vault, too, says that the lease was prolonged.
    #[serde(default)]
    pub prolonged: Answer<bool>,
    /// The logins with what the Secret held, in order.
    #[serde(default)]
    pub logins: Vec<Logins>,
    /// When the credential or certificate that a rotation replaces comes to its end.
    #[serde(default)]
    pub old_ends: Option<Mark>,
    /// Whoever else wrote the Secret's data last, by the manager of its fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<Text>,
    /// The finalizers of others that hold the resource or its Secret, each with what it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<Text>,
    /// Whether another canary of this kind was reconciled during the step.
    pub others_reconciled: bool,
}

/// Logins with one content of the Secret that came out alike, one after the other.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Logins {
    /// The content of the Secret.
    pub content: Content,
    /// When the first of them was answered.
    pub first: Mark,
    /// When the last of them was answered.
    pub last: Mark,
    /// How many there were.
    pub count: u32,
    /// How they came out.
    pub outcome: Login,
}

/// How a login came out.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// The credential is good.
    In,
    /// The credential is refused: the SQLSTATE.
    Refused(Text),
    /// Nothing can be said of the credential.
    Untold(Obstacle),
}

/// An event about the resource.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Event {
    /// `Warning` or `Normal`.
    pub kind: Text,
    /// Its reason.
    pub reason: Text,
    /// Its message.
    pub message: Text,
    /// How often it came.
    pub count: i32,
}

/// An object that the probe relies on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reference {
    /// E.g. `VaultAuth vso-probe/probe`.
    pub name: Text,
    /// Whether it exists.
    pub exists: Answer<bool>,
    /// Whether the operator says that it works, where its word is worth something: of a VaultConnection.
    pub valid: Option<bool>,
    /// Why not, as the operator says, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Text>,
}

/// A pod of the operator.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Pod {
    /// Its name.
    pub name: Text,
    /// Its phase, and why it is not ready.
    pub state: Text,
    /// Whether it is ready.
    pub ready: bool,
}

/// Vault's health, as the prober sees it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VaultHealth {
    /// It serves.
    Active,
    /// It is sealed.
    Sealed,
    /// It answers, but not as one that serves (standby, not initialised, 5xx): its status code.
    Other(u16),
}

/// What Vault says of a lease.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// It lives, although its resource is gone; whether the prober could revoke it.
    Leaked {
        /// Whether the prober revoked it.
        revoked: bool,
    },
    /// It lives, but a rotation had replaced it in time, and it would have ended by itself; whether the
    /// prober could revoke it.
    Replaced {
        /// Whether the prober revoked it.
        revoked: bool,
    },
    /// Vault has been told to revoke it and is still at it.
    Ending,
    /// It is revoked or dead.
    Ended,
    /// Vault would not say.
    Untold(Obstacle),
}
