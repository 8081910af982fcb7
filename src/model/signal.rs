//! The operator's signals that a latency is correlated with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number of the operator's, over a step's window, of the controller that serves the kind.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Seconds that one reconcile took, on average.
    ReconcileSeconds,
    /// Reconciles a second.
    ReconcileRate,
    /// Seconds that one item waited in the queue, on average.
    QueueSeconds,
    /// Items in the queue, as seen at the window's ends: the larger.
    QueueDepth,
    /// Workers at work, as seen at the window's ends: the larger.
    ActiveWorkers,
    /// Seconds that one read of Vault took, on average, over the canary's own connection.
    VaultReadSeconds,
    /// Logins to Vault.
    VaultLogins,
    /// Requests to Vault that failed.
    VaultErrors,
    /// Clients of Vault that were not in the operator's cache.
    CacheMisses,
    /// Requests to the API server that it refused as too many.
    ApiThrottled,
    /// Seconds of CPU a second: their sum would be the larger the longer the step takes, whatever keeps it.
    CpuSeconds,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 11] = [
        Self::ReconcileSeconds,
        Self::ReconcileRate,
        Self::QueueSeconds,
        Self::QueueDepth,
        Self::ActiveWorkers,
        Self::VaultReadSeconds,
        Self::VaultLogins,
        Self::VaultErrors,
        Self::CacheMisses,
        Self::ApiThrottled,
        Self::CpuSeconds,
    ];

    /// Whether it counts events over the step's window, so that it is the larger the longer that is.
    pub const fn is_count(self) -> bool {
        match self {
            Self::VaultLogins | Self::VaultErrors | Self::CacheMisses | Self::ApiThrottled => true,
            Self::ReconcileSeconds
            | Self::ReconcileRate
            | Self::QueueSeconds
            | Self::QueueDepth
            | Self::ActiveWorkers
            | Self::VaultReadSeconds
            | Self::CpuSeconds => false,
        }
    }

    /// Whether it is a time that a step waits for: then it can make the step longer by no more than it is longer itself.
    pub const fn is_wait(self) -> bool {
        matches!(
            self,
            Self::ReconcileSeconds | Self::QueueSeconds | Self::VaultReadSeconds
        )
    }

    /// The one spelling, used as label and JSON value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReconcileSeconds => "reconcile_seconds",
            Self::ReconcileRate => "reconcile_rate",
            Self::QueueSeconds => "queue_seconds",
            Self::QueueDepth => "queue_depth",
            Self::ActiveWorkers => "active_workers",
            Self::VaultReadSeconds => "vault_read_seconds",
            Self::VaultLogins => "vault_logins",
            Self::VaultErrors => "vault_errors",
            Self::CacheMisses => "cache_misses",
            Self::ApiThrottled => "api_throttled",
            Self::CpuSeconds => "cpu_seconds",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
