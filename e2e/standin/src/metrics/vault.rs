//! The operator's own metrics: calls to Vault, and the clients they are made with.

use std::time::Instant;

use prometheus::{Counter, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::{counters, histograms};

const VAULT_BUCKETS: [f64; 33] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0,
];
/// The operator's own: calls to Vault, and the clients they are made with.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    operation_times: HistogramVec,
    operations: IntCounterVec,
    operation_errors: IntCounterVec,
    factory_times: Histogram,
    factory_requests: IntCounter,
    factory_errors: IntCounter,
    /// `vso_client_cache_hits`.
    pub(crate) hits: Counter,
    /// `vso_client_cache_misses`.
    pub(crate) misses: Counter,
    /// `vso_client_cache_length`.
    pub(crate) length: Gauge,
}

/// What is asked of Vault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// A login with all that belongs to it.
    Login,
    /// A read.
    Read,
    /// A write.
    Write,
    /// A renewal of the client's own token.
    Renew,
}

impl Vault {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by = &["operation", "vault_connection"][..];
        let factory = histograms(
            registry,
            "vso_client_factory_operations_time_seconds",
            &VAULT_BUCKETS,
            &["component", "operation"],
        )?;
        let requests = counters(
            registry,
            "vso_client_factory_requests_total",
            &["operation"],
        )?;
        let errors = counters(
            registry,
            "vso_client_factory_requests_errors_total",
            &["operation"],
        )?;
        let counter = |name: &str| {
            let counter = Counter::new(name, "A test double's.")?;
            registry
                .register(Box::new(counter.clone()))
                .map(|()| counter)
        };
        let gauge = |name: &str| {
            let gauge = Gauge::new(name, "A test double's.")?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        gauge("vso_client_cache_size")?.set(10_000.0);
        // Counts what a full cache throws out: never here.
        gauge("vso_client_cache_evictions")?;
        Ok(Self {
            operation_times: histograms(
                registry,
                "vso_client_operations_time_seconds",
                &VAULT_BUCKETS,
                by,
            )?,
            operations: counters(registry, "vso_client_operations_total", by)?,
            operation_errors: counters(registry, "vso_client_operations_errors_total", by)?,
            factory_times: factory.with_label_values(&["client_factory", "get"]),
            factory_requests: requests.with_label_values(&["get"]),
            factory_errors: errors.with_label_values(&["get"]),
            hits: counter("vso_client_cache_hits")?,
            misses: counter("vso_client_cache_misses")?,
            length: gauge("vso_client_cache_length")?,
        })
    }

    /// An operation has ended; a failed renewal is counted but not timed.
    pub(crate) fn operation(
        &self,
        operation: Operation,
        connection: &str,
        since: Instant,
        failed: bool,
    ) {
        let name = match operation {
            Operation::Login => "login",
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Renew => "renew",
        };
        let labels = [name, connection];
        self.operations.with_label_values(&labels).inc();
        if failed {
            self.operation_errors.with_label_values(&labels).inc();
        }
        if !(failed && matches!(operation, Operation::Renew)) {
            self.operation_times
                .with_label_values(&labels)
                .observe(since.elapsed().as_secs_f64());
        }
    }

    /// A client was asked for.
    pub(crate) fn factory(&self, since: Instant, failed: bool) {
        self.factory_times.observe(since.elapsed().as_secs_f64());
        if failed {
            self.factory_errors.inc();
        } else {
            self.factory_requests.inc();
        }
    }
}
