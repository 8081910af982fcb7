//! The trace of a canary in Vault's audit log: who asked for its secret, and when, by the clock of Vault's node.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Mark;
use super::text::Text;

/// A request for a canary's secret, as the log has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Call {
    /// The request's ID.
    pub id: Text,
    /// What was asked: `read`, `update`, …
    pub operation: Text,
    /// Who asked.
    pub by: Caller,
    /// When its first line was written, by the clock of Vault's node.
    pub asked: Timestamp,
    /// When the line of its answer was, if it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Timestamp>,
}

/// Who made a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// One of the operator's identities.
    Operator,
    /// Somebody else, as the prober.
    Other,
}

/// A write of the prober's own: Vault wrote its lines between the two moments.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Trip {
    /// Just before it was sent.
    pub sent: Mark,
    /// When its answer was received.
    pub received: Mark,
}

/// All that is known of a canary from Vault's log.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct VaultLog {
    /// The prober's own writes of its secret, in order.
    pub trips: Vec<Trip>,
    /// The requests for its secret, in the order of their lines; empty where no log is asked.
    pub calls: Vec<Call>,
}

/// The operator's requests in a step, by the run's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// At least one, in order.
    pub requests: Vec<TracedCall>,
    /// By how much their moments may be wrong.
    pub error: Duration,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct TracedCall {
    /// Its ID.
    pub id: Text,
    /// What was asked.
    pub operation: Text,
    /// When Vault took it.
    pub at: Mark,
    /// How long Vault took, where the answer's line has come.
    pub took: Option<Duration>,
}

/// The same, as it is claimed. All times are in seconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Trace {
    /// The operator's requests to Vault for the canary's secret, in order.
    pub requests: Vec<TraceRequest>,
    /// By how much `at` may be wrong: how far Vault's clock is from the prober's is told from the prober's own writes.
    pub clock_error_seconds: f64,
}

/// A request to Vault.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TraceRequest {
    /// From the start of the step to the moment when Vault took it.
    pub at: f64,
    /// How long Vault took; none where its answer left no line.
    pub seconds: Option<f64>,
    /// What was asked.
    pub operation: Text,
    /// Its ID in the log.
    pub id: Text,
}

impl Traced {
    /// What is claimed of them, in a step that started then.
    pub fn told(&self, started: Mark) -> Trace {
        let requests = self.requests.iter().map(|call| TraceRequest {
            at: call.at.since(started).as_secs_f64(),
            seconds: call.took.map(|took| took.as_secs_f64()),
            operation: call.operation.clone(),
            id: call.id.clone(),
        });
        Trace {
            requests: requests.collect(),
            clock_error_seconds: self.error.as_secs_f64(),
        }
    }
}
