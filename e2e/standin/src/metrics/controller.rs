//! controller-runtime's metrics: reconciles, workers and queues.

use std::time::{Duration, Instant};

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::{counters, gauges, histograms};

/// Every controller of the real operator, and whether it writes Secrets: their series exist from the start.
const CONTROLLERS: [(&str, bool); 9] = [
    ("hcpauth", false),
    ("hcpvaultsecretsapp", true),
    ("secrettransformation", false),
    ("vaultauth", false),
    ("vaultauthglobal", false),
    ("vaultconnection", false),
    ("vaultdynamicsecret", true),
    ("vaultpkisecret", true),
    ("vaultstaticsecret", true),
];

const RESULTS: [&str; 4] = ["error", "requeue", "requeue_after", "success"];

const RECONCILE_BUCKETS: [f64; 40] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 50.0, 60.0,
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

/// controller-runtime's: reconciles and queues.
#[derive(Clone)]
pub(super) struct Controllers {
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

impl Controllers {
    pub(super) fn register(registry: &Registry, workers: u16) -> Result<Self, prometheus::Error> {
        let by_controller = &["controller"][..];
        let by_queue = &["controller", "name"][..];
        let most = gauges(
            registry,
            "controller_runtime_max_concurrent_reconciles",
            by_controller,
        )?;
        let all = Self {
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
        for (name, syncs) in CONTROLLERS {
            let count = if syncs { i64::from(workers) } else { 1 };
            most.with_label_values(&[name]).set(count);
            all.active.with_label_values(&[name]).set(0);
            all.errors.with_label_values(&[name]);
            for result in RESULTS {
                all.totals.with_label_values(&[name, result]);
            }
            let queue = [name, name];
            all.queued.with_label_values(&queue);
            all.worked.with_label_values(&queue);
            all.adds.with_label_values(&queue);
            all.retries.with_label_values(&queue);
        }
        Ok(all)
    }

    pub(super) fn one(&self, name: &'static str) -> Controller {
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
pub(crate) struct Controller {
    times: Histogram,
    success: IntCounter,
    requeue_after: IntCounter,
    error: IntCounter,
    errors: IntCounter,
    active: IntGauge,
    queued: Histogram,
    worked: Histogram,
    /// `workqueue_depth`.
    pub(crate) depth: IntGauge,
    /// `workqueue_adds_total`.
    pub(crate) adds: IntCounter,
    /// `workqueue_retries_total`.
    pub(crate) retries: IntCounter,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Well, and nothing is due.
    Success,
    /// Well or ill; it comes again at a known time.
    RequeueAfter,
    /// With an error of Kubernetes, or given up.
    Error,
}

impl Controller {
    /// A reconcile begins that waited in the queue that long; it counts once the guard goes.
    pub(crate) fn begin(&self, queued: Duration) -> Reconciling {
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
pub(crate) struct Reconciling {
    series: Controller,
    started: Instant,
    ending: Ending,
}

impl Reconciling {
    /// Tells how it ended.
    pub(crate) fn end(mut self, ending: Ending) {
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
