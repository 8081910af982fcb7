//! The operator's own numbers at one moment, and what they say of the time between two.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Kind, Mark};

/// A look at the operator's metrics, whatever came of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reading {
    /// No number is older than this.
    pub asked: Mark,
    /// No number is younger than this.
    pub received: Mark,
    /// The numbers, or what was tried and what came back.
    pub what: Result<Snapshot, String>,
}

/// The operator's numbers at one moment; counters are summed over its processes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Snapshot {
    /// When each process started, in seconds of Unix time, by the name of its pod; of a single URL the name
    /// is empty.
    pub processes: BTreeMap<String, f64>,
    /// Who holds the operator's Lease, where that was asked.
    pub leader: Option<String>,
    /// The operator's version, where it tells one.
    pub version: Option<String>,
    /// Its controllers, by the kind that they serve.
    pub controllers: BTreeMap<Kind, Controller>,
    /// What it did in Vault, by VaultConnection (`namespace/name`).
    pub connections: BTreeMap<String, Connection>,
    /// Clients of Vault that were not in its cache.
    pub cache_misses: f64,
    /// Requests to the API server that were refused as too many (429).
    pub api_throttled: f64,
    /// Seconds of CPU.
    pub cpu_seconds: f64,
}

/// A controller's numbers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Controller {
    /// Reconciles, and the seconds they took together.
    pub reconciles: Sum,
    /// Reconciles that ended in an error.
    pub errors: f64,
    /// Items taken from the queue, and the seconds they had waited together.
    pub queue: Sum,
    /// Items in the queue now.
    pub depth: f64,
    /// Workers at work now.
    pub active_workers: f64,
}

/// What was done over one VaultConnection.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Connection {
    /// Reads; those of a login are none.
    pub reads: Sum,
    /// Logins.
    pub logins: Sum,
    /// Requests that failed.
    pub errors: f64,
}

/// How often something happened, and how long it took together.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Sum {
    /// How often.
    pub count: f64,
    /// Seconds.
    pub seconds: f64,
}

/// Why a window between two readings says nothing. Never corrected, always counted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Void {
    /// A process of the operator started, or ended, in it.
    Restart,
    /// Another replica became the leader in it.
    LeaderChanged,
    /// A counter fell.
    CounterReset,
    /// The metrics could not be read.
    ScrapeFailed,
    /// No readings enclose it.
    NotEnclosed,
}

impl Void {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Restart,
        Self::LeaderChanged,
        Self::CounterReset,
        Self::ScrapeFailed,
        Self::NotEnclosed,
    ];

    /// The one spelling, used as label and JSON value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::LeaderChanged => "leader_changed",
            Self::CounterReset => "counter_reset",
            Self::ScrapeFailed => "scrape_failed",
            Self::NotEnclosed => "not_enclosed",
        }
    }
}
