//! The operator's own numbers at one moment, and what they say of the time between two.

use std::collections::BTreeMap;

use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::delta::OperatorDelta;
use super::text::Text;
use super::{Kind, Mark};

/// A look at the operator's metrics, whatever came of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reading {
    /// No number is older than this.
    pub asked: Mark,
    /// No number is younger than this.
    pub received: Mark,
    /// By how much both lie before the run's epoch, which a mark can't tell.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub before: Duration,
    /// The numbers, or what was tried and what came back.
    pub what: Result<Snapshot, Text>,
}

impl Reading {
    /// The moment that its numbers are taken to be of, in seconds since the run's epoch.
    fn moment(&self) -> f64 {
        let asked = self.asked.elapsed().as_secs_f64() - self.before.as_secs_f64();
        asked + self.received.since(self.asked).as_secs_f64() / 2.0
    }

    /// What the operator did from this reading to a `later` one, over `connection` where that is known.
    ///
    /// # Errors
    /// The numbers of the two can't be compared, or there are none. They are never corrected.
    pub fn delta(
        &self,
        later: &Self,
        kind: Kind,
        connection: Option<&str>,
    ) -> Result<OperatorDelta, Void> {
        let (Ok(from), Ok(to)) = (&self.what, &later.what) else {
            return Err(Void::ScrapeFailed);
        };
        let window = (later.moment() - self.moment()).max(0.0);
        from.delta(to, window, kind, connection)
    }
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
    /// Whether its tokens for Vault outlive its Pod, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps_tokens: Option<bool>,
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

impl Snapshot {
    /// Adds what another process of the operator says at the same moment.
    pub fn add(&mut self, other: Self) {
        self.processes.extend(other.processes);
        self.leader = self.leader.take().or(other.leader);
        self.version = self.version.take().or(other.version);
        self.keeps_tokens = self.keeps_tokens.max(other.keeps_tokens);
        for (kind, controller) in other.controllers {
            *self.controllers.entry(kind).or_default() += controller;
        }
        for (name, connection) in other.connections {
            *self.connections.entry(name).or_default() += connection;
        }
        add(&mut self.cache_misses, other.cache_misses);
        add(&mut self.api_throttled, other.api_throttled);
        add(&mut self.cpu_seconds, other.cpu_seconds);
    }

    /// What was done from here to a `later` snapshot, a `window` in seconds after this one.
    ///
    /// # Errors
    /// Its counters are not those that count on from here.
    pub fn delta(
        &self,
        later: &Self,
        window: f64,
        kind: Kind,
        connection: Option<&str>,
    ) -> Result<OperatorDelta, Void> {
        if self.processes != later.processes {
            return Err(Void::Restart);
        }
        if let (Some(from), Some(to)) = (&self.leader, &later.leader)
            && from != to
        {
            return Err(Void::LeaderChanged);
        }
        let controller = |at: &Self| at.controllers.get(&kind).copied().unwrap_or_default();
        let connection = |at: &Self| {
            let named = connection.and_then(|name| at.connections.get(name));
            named.copied().unwrap_or_default()
        };
        let (from, to) = (controller(self), controller(later));
        let (vault_from, vault_to) = (connection(self), connection(later));
        let reconciles = grown(from.reconciles, to.reconciles)?;
        let queue = grown(from.queue, to.queue)?;
        let reads = grown(vault_from.reads, vault_to.reads)?;
        let logins = grown(vault_from.logins, vault_to.logins)?;
        Ok(OperatorDelta {
            window_seconds: window,
            reconciles: reconciles.count,
            reconcile_seconds: reconciles.seconds,
            queued: queue.count,
            queue_seconds: queue.seconds,
            queue_depth: from.depth.max(to.depth),
            active_workers: from.active_workers.max(to.active_workers),
            vault_reads: reads.count,
            vault_read_seconds: reads.seconds,
            logins: logins.count,
            login_seconds: logins.seconds,
            vault_errors: growth(vault_from.errors, vault_to.errors)?,
            errors: growth(from.errors, to.errors)?,
            cache_misses: growth(self.cache_misses, later.cache_misses)?,
            api_throttled: growth(self.api_throttled, later.api_throttled)?,
            cpu_seconds: growth(self.cpu_seconds, later.cpu_seconds)?,
        })
    }
}

/// By how much a counter has grown.
fn growth(from: f64, to: f64) -> Result<f64, Void> {
    let growth = to - from;
    // The sums of several processes are rounded; a counter that starts over falls by more.
    if growth < -1e-12 * from {
        return Err(Void::CounterReset);
    }
    Ok(growth.max(0.0))
}

fn grown(from: Sum, to: Sum) -> Result<Sum, Void> {
    Ok(Sum {
        count: growth(from.count, to.count)?,
        seconds: growth(from.seconds, to.seconds)?,
    })
}

/// Adds a number of an exposition to a sum. What is no number, or negative, is of no counter.
pub fn add(sum: &mut f64, value: f64) {
    if value.is_finite() && value > 0.0 {
        *sum = (*sum + value).min(f64::MAX);
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        add(&mut self.count, other.count);
        add(&mut self.seconds, other.seconds);
    }
}

impl AddAssign for Controller {
    fn add_assign(&mut self, other: Self) {
        self.reconciles += other.reconciles;
        self.queue += other.queue;
        add(&mut self.errors, other.errors);
        add(&mut self.depth, other.depth);
        add(&mut self.active_workers, other.active_workers);
    }
}

impl AddAssign for Connection {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.logins += other.logins;
        add(&mut self.errors, other.errors);
    }
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
