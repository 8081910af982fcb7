//! The operator's own numbers for the time of a step.

use serde::{Deserialize, Serialize};

use super::signal::Signal;

/// The operator's own numbers over a step, of the controller that serves the kind; Vault's are those of the
/// canary's own connection. Seconds are sums.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct OperatorDelta {
    /// How long the window is.
    pub window_seconds: f64,
    /// Reconciles.
    pub reconciles: f64,
    /// Seconds in them.
    pub reconcile_seconds: f64,
    /// Items taken from the queue.
    pub queued: f64,
    /// Seconds that they had waited.
    pub queue_seconds: f64,
    /// Items in the queue at the window's ends: the larger.
    pub queue_depth: f64,
    /// Workers at work at the window's ends: the larger.
    pub active_workers: f64,
    /// Reads of Vault.
    pub vault_reads: f64,
    /// Seconds in them.
    pub vault_read_seconds: f64,
    /// Logins to Vault.
    pub logins: f64,
    /// Seconds in them.
    pub login_seconds: f64,
    /// Requests to Vault that failed.
    pub vault_errors: f64,
    /// Reconciles that ended in an error.
    pub errors: f64,
    /// Clients of Vault that were not in the cache.
    pub cache_misses: f64,
    /// Requests to the API server that it refused as too many.
    pub api_throttled: f64,
    /// Seconds of CPU.
    pub cpu_seconds: f64,
}

impl OperatorDelta {
    /// The value of a signal over the window. A mean of nothing, and a rate over no time, are none.
    pub fn signal(&self, signal: Signal) -> Option<f64> {
        let value = match signal {
            Signal::ReconcileSeconds => self.reconcile_seconds / self.reconciles,
            Signal::ReconcileRate => self.reconciles / self.window_seconds,
            Signal::QueueSeconds => self.queue_seconds / self.queued,
            Signal::QueueDepth => self.queue_depth,
            Signal::ActiveWorkers => self.active_workers,
            Signal::VaultReadSeconds => self.vault_read_seconds / self.vault_reads,
            Signal::VaultLogins => self.logins,
            Signal::VaultErrors => self.vault_errors,
            Signal::CacheMisses => self.cache_misses,
            Signal::ApiThrottled => self.api_throttled,
            Signal::CpuSeconds => self.cpu_seconds / self.window_seconds,
        };
        value.is_finite().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_mean_where_something_happened() {
        let delta = OperatorDelta {
            window_seconds: 4.0,
            reconciles: 2.0,
            reconcile_seconds: 0.5,
            logins: 3.0,
            cpu_seconds: 0.2,
            ..OperatorDelta::default()
        };
        assert_eq!(delta.signal(Signal::ReconcileSeconds), Some(0.25));
        assert_eq!(delta.signal(Signal::ReconcileRate), Some(0.5));
        assert_eq!(delta.signal(Signal::VaultLogins), Some(3.0));
        assert_eq!(delta.signal(Signal::CpuSeconds), Some(0.05));
        assert_eq!(delta.signal(Signal::VaultReadSeconds), None);
        let nothing = OperatorDelta::default();
        let told = Signal::ALL.map(|signal| nothing.signal(signal));
        assert_eq!(told.iter().flatten().count(), 6);
        assert_eq!(nothing.signal(Signal::ReconcileRate), None);
    }
}
