//! The moment by which the operator promised to act.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When the effect of a step is due.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// At once: the operator is told of the stimulus.
    AtOnce,
    /// At its next poll; this is the `refreshAfter` that the resource asks for.
    NextPoll(Duration),
    /// When the operator itself said that it would be back.
    Announced {
        /// The longest that it may stay away where it said nothing.
        bound: Duration,
    },
    /// So long before the end of the certificate that the Secret held before the step, and then a share of the
    /// time until then later. What the operator announces when it issues one is only when it looks next.
    BeforeEnd(Duration),
}
