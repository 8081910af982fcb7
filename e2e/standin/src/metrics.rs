//! The metrics of the stand-in: names, labels and buckets of the real operator, as far as a prober reads them.

mod controller;
mod vault;

use std::fmt;
use std::sync::{Arc, Mutex};

use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::options::Options;
use super::process::Process;
use controller::Controllers;
pub(crate) use controller::{Controller, Ending, Reconciling};
pub(crate) use vault::{Operation, Vault};

/// What stands in `vso_build_info`: no real version, so that nobody takes one for the other.
pub(crate) const VERSION: &str = "0.0.0-standin";

/// Looks at what is only known by looking, and sets a gauge.
type Refresh = Box<dyn Fn() + Send>;

/// All of it.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    process: Arc<Process>,
    before_gather: Arc<Mutex<Vec<Refresh>>>,
    controllers: Controllers,
    /// Calls to Vault and the clients they are made with.
    pub(crate) vault: Vault,
    /// `rest_client_requests_total`.
    pub(crate) requests: IntCounterVec,
    /// `controller_resource_status`.
    pub(crate) resource_status: IntGaugeVec,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers everything in a registry of its own. The options say how many workers each controller has
    /// that writes Secrets, and whether tokens are kept.
    pub(crate) fn register(options: &Options) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            process: Arc::new(Process::register(&registry)?),
            before_gather: Arc::default(),
            controllers: Controllers::register(&registry, options.workers)?,
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
        metrics.info(options.persists)?;
        Ok(metrics)
    }

    fn info(&self, persists: bool) -> Result<(), prometheus::Error> {
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
        let model = if persists {
            "direct-unencrypted"
        } else {
            "none"
        };
        constant(
            "vso_runtime_config",
            &[
                ("backoffInitialInterval", "5s"),
                ("backoffMaxElapsedTime", "0s"),
                ("backoffMaxInterval", "1m0s"),
                ("backoffMultiplier", "1.50"),
                ("backoffRandomizationFactor", "0.50"),
                ("clientCachePersistenceModel", model),
                ("clientCacheSize", "10000"),
                ("globalTransformationOptions", ""),
                ("globalVaultAuthOptions", "allow-default-globals"),
                ("maxConcurrentReconciles", "100"),
            ],
        )
    }

    /// The series of one controller.
    pub(crate) fn controller(&self, name: &'static str) -> Controller {
        self.controllers.one(name)
    }

    /// Has `refresh` called before every scrape, for what is only known by looking.
    pub(crate) fn before_gather(&self, refresh: impl Fn() + Send + 'static) {
        self.before_gather
            .lock()
            .expect("no holder panics")
            .push(Box::new(refresh));
    }

    /// The exposition, Prometheus text 0.0.4.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        self.process.refresh();
        for refresh in self.before_gather.lock().expect("no holder panics").iter() {
            refresh();
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
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
