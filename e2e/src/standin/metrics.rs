//! What the stand-in counts: the names, labels and buckets of the real operator, as far as a prober reads them.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::process::Process;

/// What stands in `vso_build_info`: no real version, so that nobody takes one for the other.
pub const VERSION: &str = "0.0.0-standin";

/// Every controller of the real operator and its workers: their series exist from the start.
const CONTROLLERS: [(&str, i64); 9] = [
    ("hcpauth", 1),
    ("hcpvaultsecretsapp", 100),
    ("secrettransformation", 1),
    ("vaultauth", 1),
    ("vaultauthglobal", 1),
    ("vaultconnection", 1),
    ("vaultdynamicsecret", 100),
    ("vaultpkisecret", 100),
    ("vaultstaticsecret", 100),
];

const RESULTS: [&str; 4] = ["error", "requeue", "requeue_after", "success"];

const RECONCILE_BUCKETS: [f64; 39] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 60.0,
];
const VAULT_BUCKETS: [f64; 33] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0,
];
/// Ten times ten nanoseconds, and so on, with Go's rounding.
const QUEUE_BUCKETS: [f64; 12] = [
    1e-8,
    1e-7,
    1e-6,
    9.999_999_999_999_999e-6,
    9.999_999_999_999_999e-5,
    0.001,
    0.01,
    0.1,
    1.0,
    10.0,
    100.0,
    1000.0,
];

/// All of it.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    process: Arc<Process>,
    before_gather: Arc<Mutex<Vec<Box<dyn Fn() + Send>>>>,
    runtime: Runtime,
    /// Calls to Vault and the clients they are made with.
    pub vault: Vault,
    /// `rest_client_requests_total`.
    pub requests: IntCounterVec,
    /// `controller_resource_status`.
    pub resource_status: IntGaugeVec,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers everything in a registry of its own.
    pub fn register() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            process: Arc::new(Process::register(&registry)?),
            before_gather: Arc::default(),
            runtime: Runtime::register(&registry)?,
            vault: Vault::register(&registry)?,
            requests: counters(
                &registry,
                "rest_client_requests_total",
                &["code", "host", "method"],
            )?,
            resource_status: gauges(
                &registry,
                "controller_resource_status",
                &["controller", "name", "namespace"],
            )?,
            registry,
        };
        metrics.info()?;
        Ok(metrics)
    }

    fn info(&self) -> Result<(), prometheus::Error> {
        let constant = |name: &str, labels: &[(&str, &str)]| {
            let mut opts = Opts::new(name, "A test double's.");
            for (label, value) in labels {
                opts = opts.const_label(*label, *value);
            }
            let gauge = Gauge::with_opts(opts)?;
            gauge.set(1.0);
            self.registry.register(Box::new(gauge))
        };
        constant(
            "vso_build_info",
            &[
                ("build_date", ""),
                ("compiler", ""),
                ("git_commit", ""),
                ("git_tree_state", ""),
                ("git_version", VERSION),
                ("go_version", ""),
                ("major", ""),
                ("minor", ""),
                ("platform", ""),
            ],
        )?;
        constant(
            "vso_runtime_config",
            &[
                ("backoffInitialInterval", "5s"),
                ("backoffMaxElapsedTime", "0s"),
                ("backoffMaxInterval", "1m0s"),
                ("backoffMultiplier", "1.50"),
                ("backoffRandomizationFactor", "0.50"),
                ("clientCachePersistenceModel", "none"),
                ("clientCacheSize", "10000"),
                ("globalTransformationOptions", ""),
                ("globalVaultAuthOptions", "allow-default-globals"),
                ("maxConcurrentReconciles", "100"),
            ],
        )
    }

    /// The series of one controller.
    pub fn controller(&self, name: &'static str) -> Controller {
        self.runtime.controller(name)
    }

    /// Has `refresh` called before every scrape, for what is only known by looking.
    pub fn before_gather(&self, refresh: impl Fn() + Send + 'static) {
        self.before_gather
            .lock()
            .expect("no holder panics")
            .push(Box::new(refresh));
    }

    /// The exposition, Prometheus text 0.0.4.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        self.process.refresh();
        self.before_gather
            .lock()
            .expect("no holder panics")
            .iter()
            .for_each(|refresh| refresh());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// controller-runtime's: reconciles and queues.
#[derive(Clone)]
struct Runtime {
    times: HistogramVec,
    totals: IntCounterVec,
    errors: IntCounterVec,
    active: IntGaugeVec,
    depth: IntGaugeVec,
    queued: HistogramVec,
    worked: HistogramVec,
    adds: IntCounterVec,
    retries: IntCounterVec,
}

impl Runtime {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by_controller = &["controller"][..];
        let by_queue = &["controller", "name"][..];
        let workers = gauges(
            registry,
            "controller_runtime_max_concurrent_reconciles",
            by_controller,
        )?;
        let runtime = Self {
            times: histograms(
                registry,
                "controller_runtime_reconcile_time_seconds",
                &RECONCILE_BUCKETS,
                by_controller,
            )?,
            totals: counters(
                registry,
                "controller_runtime_reconcile_total",
                &["controller", "result"],
            )?,
            errors: counters(
                registry,
                "controller_runtime_reconcile_errors_total",
                by_controller,
            )?,
            active: gauges(registry, "controller_runtime_active_workers", by_controller)?,
            depth: gauges(
                registry,
                "workqueue_depth",
                &["controller", "name", "priority"],
            )?,
            queued: histograms(
                registry,
                "workqueue_queue_duration_seconds",
                &QUEUE_BUCKETS,
                by_queue,
            )?,
            worked: histograms(
                registry,
                "workqueue_work_duration_seconds",
                &QUEUE_BUCKETS,
                by_queue,
            )?,
            adds: counters(registry, "workqueue_adds_total", by_queue)?,
            retries: counters(registry, "workqueue_retries_total", by_queue)?,
        };
        for (name, count) in CONTROLLERS {
            workers.with_label_values(&[name]).set(count);
            runtime.active.with_label_values(&[name]).set(0);
            runtime.errors.with_label_values(&[name]);
            for result in RESULTS {
                runtime.totals.with_label_values(&[name, result]);
            }
            let queue = [name, name];
            runtime.queued.with_label_values(&queue);
            runtime.worked.with_label_values(&queue);
            runtime.adds.with_label_values(&queue);
            runtime.retries.with_label_values(&queue);
        }
        Ok(runtime)
    }

    fn controller(&self, name: &'static str) -> Controller {
        let queue = [name, name];
        let total = |result| self.totals.with_label_values(&[name, result]);
        Controller {
            times: self.times.with_label_values(&[name]),
            success: total("success"),
            requeue_after: total("requeue_after"),
            error: total("error"),
            errors: self.errors.with_label_values(&[name]),
            active: self.active.with_label_values(&[name]),
            depth: self.depth.with_label_values(&[name, name, "0"]),
            queued: self.queued.with_label_values(&queue),
            worked: self.worked.with_label_values(&queue),
            adds: self.adds.with_label_values(&queue),
            retries: self.retries.with_label_values(&queue),
        }
    }
}

/// The series of one controller.
#[derive(Clone, Debug)]
pub struct Controller {
    times: Histogram,
    success: IntCounter,
    requeue_after: IntCounter,
    error: IntCounter,
    errors: IntCounter,
    active: IntGauge,
    queued: Histogram,
    worked: Histogram,
    /// `workqueue_depth`.
    pub depth: IntGauge,
    /// `workqueue_adds_total`.
    pub adds: IntCounter,
    /// `workqueue_retries_total`.
    pub retries: IntCounter,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Well, and nothing is due.
    Success,
    /// Well or ill; it comes again at a known time.
    RequeueAfter,
    /// With an error of Kubernetes, or given up.
    Error,
}

impl Controller {
    /// A reconcile begins that waited in the queue that long; it counts once the guard goes.
    pub fn begin(&self, queued: Duration) -> Reconciling {
        self.queued.observe(queued.as_secs_f64());
        self.active.inc();
        Reconciling {
            series: self.clone(),
            started: Instant::now(),
            ending: Ending::Error,
        }
    }
}

/// A reconcile under way; one that is dropped before its end was told counts as an error.
#[derive(Debug)]
pub struct Reconciling {
    series: Controller,
    started: Instant,
    ending: Ending,
}

impl Reconciling {
    /// Tells how it ended.
    pub fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Reconciling {
    fn drop(&mut self) {
        let took = self.started.elapsed().as_secs_f64();
        self.series.times.observe(took);
        self.series.worked.observe(took);
        self.series.active.dec();
        match self.ending {
            Ending::Success => self.series.success.inc(),
            Ending::RequeueAfter => self.series.requeue_after.inc(),
            Ending::Error => {
                self.series.error.inc();
                self.series.errors.inc();
            }
        }
    }
}

/// The operator's own: calls to Vault, and the clients they are made with.
#[derive(Clone, Debug)]
pub struct Vault {
    operation_times: HistogramVec,
    operations: IntCounterVec,
    operation_errors: IntCounterVec,
    factory_times: Histogram,
    factory_requests: IntCounter,
    factory_errors: IntCounter,
    /// `vso_client_cache_hits`.
    pub hits: Counter,
    /// `vso_client_cache_misses`.
    pub misses: Counter,
    /// `vso_client_cache_evictions`.
    pub evictions: Gauge,
    /// `vso_client_cache_length`.
    pub length: Gauge,
}

/// What is asked of Vault.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
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
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
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
            evictions: gauge("vso_client_cache_evictions")?,
            length: gauge("vso_client_cache_length")?,
        })
    }

    /// An operation has ended; a failed renewal is counted but not timed.
    pub fn operation(&self, operation: Operation, connection: &str, since: Instant, failed: bool) {
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
    pub fn factory(&self, since: Instant, failed: bool) {
        self.factory_times.observe(since.elapsed().as_secs_f64());
        if failed {
            self.factory_errors.inc()
        } else {
            self.factory_requests.inc()
        }
    }
}

fn counters(
    registry: &Registry,
    name: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, "A test double's."), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn gauges(
    registry: &Registry,
    name: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let gauges = IntGaugeVec::new(Opts::new(name, "A test double's."), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

fn histograms(
    registry: &Registry,
    name: &str,
    buckets: &[f64],
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let opts = HistogramOpts::new(name, "A test double's.").buckets(buckets.to_vec());
    let histograms = HistogramVec::new(opts, labels)?;
    registry.register(Box::new(histograms.clone()))?;
    Ok(histograms)
}
