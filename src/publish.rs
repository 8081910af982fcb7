//! The publisher of all that happens, for people and for programs: facts are folded into metrics, in one place.

mod audit;
mod encoder;
mod format;
mod histogram;
pub mod junit;
mod label;
mod metrics;
pub mod one_shot;
mod probe_stats;
pub mod progress;
mod state;
mod status;
pub mod table;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;
use prometheus_client::registry::Registry;

use crate::config::{Config, Probe};
use crate::model::Step;
use crate::model::correlation::Coefficient;
use crate::model::name::ProbeId;
use crate::model::run::Run;
use crate::model::standing::Standing;
pub use audit::{AuditFigures, SourceFigures, Word};
use encoder::Encoder;
use format::Format;
use state::State;
pub use status::{ProbeStatus, RunStatus, StepStatus};

/// Something that happened and is to be published.
#[derive(Clone, Debug)]
pub enum Fact {
    /// These probes are in force from now on: the series of others go, theirs exist.
    Configured {
        /// The probes.
        probes: Vec<Probe>,
        /// Whether the operator's metrics are read.
        operator_metrics: bool,
    },
    /// A run is over.
    Run {
        /// The run.
        run: Arc<Run>,
        /// By step, what its latencies move with, the strongest first.
        correlations: BTreeMap<Step, Vec<Coefficient>>,
    },
    /// A run of an earlier process, of which is told when each step last succeeded. It is not counted.
    Recalled(Arc<Run>),
    /// The operator's metrics were read, or could not be.
    Scrape {
        /// Whether they were.
        up: bool,
        /// How long it took.
        seconds: f64,
        /// The operator's version, if it told one.
        version: Option<String>,
    },
    /// A run was due while the one before it was still under way.
    Skipped {
        /// The probe's name.
        probe: ProbeId,
    },
    /// A run began.
    Begun {
        /// The probe's name.
        probe: ProbeId,
        /// How long after it was due.
        lag_seconds: f64,
    },
    /// This replica leads from now on, or follows.
    Standing(Standing),
    /// The configuration was read again.
    Reload {
        /// Whether it could be used.
        successful: bool,
    },
    /// What the audit has to tell now.
    Audit(Option<Box<AuditFigures>>),
}

impl Fact {
    /// This configuration is in force from now on.
    pub fn configured(config: &Config) -> Self {
        Self::Configured {
            probes: config.probes.clone(),
            operator_metrics: config.operator.metrics.is_some(),
        }
    }
}

/// Holds everything that is published, and tells it to whoever asks.
#[derive(Debug, Default)]
pub struct Publisher {
    state: Arc<Mutex<State>>,
    /// By format, the metrics as they were last asked for, and after how many facts that was.
    exposed: Mutex<HashMap<Format, (u64, Exposition)>>,
}

/// Metrics, in the format that was asked for.
#[derive(Clone, Debug)]
pub struct Exposition {
    /// The media type.
    pub content_type: &'static str,
    /// The text, or the messages.
    pub body: Bytes,
}

impl Publisher {
    /// Takes in what happened. Of a probe that is not configured (any more), nothing is taken in.
    pub fn publish(&self, fact: Fact) {
        self.state().fold(fact);
    }

    /// The metrics, in the format that the header `Accept` prefers. They are written once a fact, however many ask.
    #[expect(
        clippy::missing_panics_doc,
        reason = "nothing is written to but memory"
    )]
    pub fn expose(&self, accept: Option<&str>) -> Exposition {
        let format = Format::preferred(accept);
        // Held while they are written: whoever asks meanwhile gets the same.
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        let facts = self.state().facts;
        if let Some((then, exposition)) = exposed.get(&format)
            && *then == facts
        {
            return exposition.clone();
        }
        let body = format.encode(&self.registry(format == Format::Protobuf));
        let exposition = Exposition {
            content_type: format.content_type(),
            body: body.expect("a write to memory does not fail").into(),
        };
        exposed.insert(format, (facts, exposition.clone()));
        exposition
    }

    /// The probes that are in force, and how they fare.
    pub fn probes(&self) -> Vec<ProbeStatus> {
        let state = self.state();
        let probes = state.probes.iter();
        probes
            .map(|(name, probe)| ProbeStatus::new(name, probe))
            .collect()
    }

    /// The metrics as messages: classic histograms only.
    #[expect(
        clippy::missing_panics_doc,
        reason = "nothing is written to but memory"
    )]
    pub fn families(&self) -> Vec<MetricFamily> {
        format::families(&self.registry(false)).expect("a write to memory does not fail")
    }

    /// Whether this replica leads, or who does.
    pub fn standing(&self) -> Standing {
        self.state().standing.clone()
    }

    fn registry(&self, native: bool) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Collected {
            state: self.state.clone(),
            native,
        }));
        registry
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a registry asks for the metrics.
#[derive(Debug)]
struct Collected {
    state: Arc<Mutex<State>>,
    native: bool,
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.write(&mut Encoder::new(encoder, self.native))
    }
}
